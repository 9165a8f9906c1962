// Loops over strips: short runs of elements held in registers, which are arrays of one of five computation types. Every opcode,
// conversion and reduction is one function here, made from opcodes.inc; a program is run by calling one after the other
// while the strip stays in the first-level cache. The loops are compiled three times, for three instruction sets.
#pragma once
#include "ir/program.h"

// F32: floats of 32 bits and less. BOOL: int32_t, 0 or 1, as wide as the floats it is mostly used with.
typedef enum RegisterClass {
  REGISTER_F32,
  REGISTER_F64,
  REGISTER_I64,
  REGISTER_U64,
  REGISTER_BOOL,
  REGISTER_CLASSES
} RegisterClass;

typedef void StripCompute(void *out, const void *a, const void *b, const void *c, int64_t n);
// Integers of up to 32 bits but u32 load into floats and store from them too, as a cast does that does not saturate. Strides are in elements. Loads have fast paths for strides 1 and 0, stores for 1.
typedef void StripLoad(void *out, const void *data, int64_t stride, int64_t n);
typedef void StripStore(void *data, int64_t stride, const void *a, int64_t n);
// out[j * columns + i] = in[i * stride + j].
typedef void StripTranspose(void *out, const void *in, int64_t stride, int64_t columns, int64_t rows);
typedef void StripConvert(void *out, const void *a, int64_t n, int flags);
// Rows of a strip: element l of row r is a[r * length + l] (inner) or a[l * rows + r] (outer). Each row is combined with what
// total[r] holds. Sums and products of F32 are kept in double, the others in their own type.
typedef void StripReduce(void *total, const void *a, int64_t rows, int64_t length);
// best and where start as anything and INT64_MAX. Among equals the smallest position wins, or the largest.
typedef void StripSearch(void *best, int64_t *where, const void *a, const int64_t *positions, int64_t rows, int64_t length);
// out[r * length + l] or out[l * rows + r] = a[r].
typedef void StripExpand(void *out, const void *a, int64_t rows, int64_t length);

// Beside the flags of a cast of floats to integers, see program.h.
enum { STRIP_THROUGH_I32 = 1 << 8, STRIP_UPPER_HALF = 1 << 9 };
enum { REDUCE_SUM, REDUCE_PROD, REDUCE_MAX, REDUCE_MIN, REDUCE_COUNT };
enum { SEARCH_MAX_FIRST, SEARCH_MIN_FIRST, SEARCH_MAX_LAST, SEARCH_MIN_LAST, SEARCH_COUNT };  // as the opcodes are ordered

typedef struct StripTable {
  const char *name;
  StripCompute *compute[OPCODE_COUNT][REGISTER_CLASSES];  // by the class of the last operand
  StripLoad *load[DTYPE_COUNT][REGISTER_CLASSES];
  StripStore *store[DTYPE_COUNT][REGISTER_CLASSES];
  StripTranspose *transpose;                                  // a load of f32 whose outer loop is contiguous
  StripConvert *convert[REGISTER_CLASSES][REGISTER_CLASSES];  // from, to; flags of a cast
  StripConvert *narrow[DTYPE_COUNT][REGISTER_CLASSES];        // rounds or wraps to the dtype; flags of a cast; NULL: no change
  void (*clip)(float *data, int64_t n, float low, float high);  // NaN stays
  StripConvert *quantize[REGISTER_CLASSES];                // F32 to integers of up to 16 bits, saturated; flags: how many bits
  StripReduce *reduce[2][REDUCE_COUNT][REGISTER_CLASSES];  // inner, outer
  StripSearch *search[2][SEARCH_COUNT][REGISTER_CLASSES];
  StripExpand *expand[2][2];  // inner, outer; 4 and 8 bytes
} StripTable;

extern const StripTable strip_table_generic;
extern const StripTable *const strip_table_avx2, *const strip_table_avx512;  // NULL where not built
