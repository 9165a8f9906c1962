// The element type table as functions. A type out of range (DTYPE_COUNT marks a type not known yet) has the name "?".
#include "ir/dtype.h"
#include <string.h>

typedef struct DTypeRow {
  const char *name;
  int bits;
  DTypeKind kind;
  int onnx;
} DTypeRow;

#define DTYPE_ROW(enumerator, text, bits, kind, onnx) {text, bits, kind, onnx},
static const DTypeRow rows[] = {DTYPE_TABLE(DTYPE_ROW){"?", 8, KIND_UNSIGNED, 0}};
#undef DTYPE_ROW

static const DTypeRow *row(DType dtype) { return &rows[(unsigned)dtype < DTYPE_COUNT ? dtype : DTYPE_COUNT]; }

size_t dtype_size(DType dtype) { return row(dtype)->bits < 8 ? 1 : (size_t)row(dtype)->bits / 8; }
int dtype_bits(DType dtype) { return row(dtype)->bits; }
DTypeKind dtype_kind(DType dtype) { return row(dtype)->kind; }
const char *dtype_name(DType dtype) { return row(dtype)->name; }
int dtype_to_onnx(DType dtype) { return row(dtype)->onnx; }

bool dtype_parse(const char *name, DType *out) {
  for (int i = 0; i < DTYPE_COUNT; i++)
    if (strcmp(rows[i].name, name) == 0) return *out = (DType)i, true;
  return false;
}

bool dtype_from_onnx(int onnx, DType *out) {
  for (int i = 0; i < DTYPE_COUNT; i++)
    if (rows[i].onnx == onnx) return *out = (DType)i, true;
  return false;
}
