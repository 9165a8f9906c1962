// Element types: all of ONNX's, one row each in one table.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// DTYPE(enumerator, text name, bits, kind, ONNX TensorProto.DataType)
// The order is ours and stored in engine files: append only.
#define DTYPE_TABLE(DTYPE)                           \
  DTYPE(F32, "f32", 32, KIND_FLOAT, 1)               \
  DTYPE(F16, "f16", 16, KIND_FLOAT, 10)              \
  DTYPE(BF16, "bf16", 16, KIND_FLOAT, 16)            \
  DTYPE(F64, "f64", 64, KIND_FLOAT, 11)              \
  DTYPE(F8E4M3FN, "f8e4m3fn", 8, KIND_FLOAT, 17)     \
  DTYPE(F8E4M3FNUZ, "f8e4m3fnuz", 8, KIND_FLOAT, 18) \
  DTYPE(F8E5M2, "f8e5m2", 8, KIND_FLOAT, 19)         \
  DTYPE(F8E5M2FNUZ, "f8e5m2fnuz", 8, KIND_FLOAT, 20) \
  DTYPE(F8E8M0, "f8e8m0", 8, KIND_FLOAT, 24)         \
  DTYPE(F4E2M1, "f4e2m1", 4, KIND_FLOAT, 23)         \
  DTYPE(I8, "i8", 8, KIND_SIGNED, 3)                 \
  DTYPE(I16, "i16", 16, KIND_SIGNED, 5)              \
  DTYPE(I32, "i32", 32, KIND_SIGNED, 6)              \
  DTYPE(I64, "i64", 64, KIND_SIGNED, 7)              \
  DTYPE(U8, "u8", 8, KIND_UNSIGNED, 2)               \
  DTYPE(U16, "u16", 16, KIND_UNSIGNED, 4)            \
  DTYPE(U32, "u32", 32, KIND_UNSIGNED, 12)           \
  DTYPE(U64, "u64", 64, KIND_UNSIGNED, 13)           \
  DTYPE(I4, "i4", 4, KIND_SIGNED, 22)                \
  DTYPE(U4, "u4", 4, KIND_UNSIGNED, 21)              \
  DTYPE(I2, "i2", 2, KIND_SIGNED, 26)                \
  DTYPE(U2, "u2", 2, KIND_UNSIGNED, 25)              \
  DTYPE(BOOL, "bool", 8, KIND_BOOL, 9)               \
  DTYPE(C64, "c64", 64, KIND_COMPLEX, 14)            \
  DTYPE(C128, "c128", 128, KIND_COMPLEX, 15)         \
  DTYPE(STRING, "string", 64, KIND_STRING, 8)

typedef enum DTypeKind { KIND_FLOAT, KIND_SIGNED, KIND_UNSIGNED, KIND_BOOL, KIND_COMPLEX, KIND_STRING } DTypeKind;

#define DTYPE_ENUM(name, text, bits, kind, onnx) DTYPE_##name,
typedef enum DType { DTYPE_TABLE(DTYPE_ENUM) DTYPE_COUNT } DType;
#undef DTYPE_ENUM

// In memory every element takes whole bytes: 4- and 2-bit types are stored one to a byte (sign-extended for signed), and
// are packed only in files. A string element is a `const char *` owned by the tensor's arena; strings live on the host.
size_t dtype_size(DType dtype);  // bytes of one element in memory, at least 1
int dtype_bits(DType dtype);     // 32, 16, 8, 4, 2 ...
DTypeKind dtype_kind(DType dtype);
const char *dtype_name(DType dtype);  // "f32"
bool dtype_parse(const char *name, DType *out);
bool dtype_from_onnx(int onnx, DType *out);
int dtype_to_onnx(DType dtype);
static inline bool dtype_is_float(DType d) { return dtype_kind(d) == KIND_FLOAT; }
static inline bool dtype_is_integer(DType d) { return dtype_kind(d) == KIND_SIGNED || dtype_kind(d) == KIND_UNSIGNED; }
