// Host tensors: constants, test data, what the reference computes on. Contiguous, row-major.
#pragma once
#include "base/arena.h"
#include "base/hash.h"
#include "ir/dtype.h"

enum { MAX_RANK = 16 };
// No tensor is larger: what would be comes from a broken model. The sizes of thousands still add up without overflow.
#define TENSOR_MAX_BYTES ((int64_t)1 << 46)

typedef struct TensorName TensorName;  // see tensor_name.c
typedef struct Tensor {
  DType dtype;
  int rank;
  int64_t dims[MAX_RANK];
  void *data;        // tensor_bytes() long; may point into a mapped file, then read-only
  TensorName *name;  // remembers the hash of the bytes; NULL: nobody does
} Tensor;

int64_t tensor_count(const Tensor *tensor);  // elements; 1 for rank 0
size_t tensor_bytes(const Tensor *tensor);
// Whether a tensor of these dims keeps to TENSOR_MAX_BYTES, empty axes taken for axes of one element, so that no product of some of the
// dims overflows either. No dim may be negative.
bool dims_fit(DType dtype, int rank, const int64_t *dims);
// Zeroed data in the arena, 64-byte aligned. Checks that dims fit, and each dim >= 0.
MUST_CHECK Status tensor_new(Arena *arena, DType dtype, int rank, const int64_t *dims, Tensor *out);
Tensor *tensor_scalar_i64(Arena *arena, int64_t value);
Tensor *tensor_vector_i64(Arena *arena, const int64_t *values, int count);
Tensor *tensor_scalar_f(Arena *arena, DType dtype, double value);  // any float, integer or bool type
// One element converted; index is the row-major linear index. Complex reads give the real part.
double tensor_get_f(const Tensor *tensor, int64_t index);
int64_t tensor_get_i(const Tensor *tensor, int64_t index);
void tensor_set_f(Tensor *tensor, int64_t index, double value);   // rounds to nearest even, saturates integers
void tensor_set_i(Tensor *tensor, int64_t index, int64_t value);  // wraps
bool tensor_equal(const Tensor *a, const Tensor *b);              // dtype, dims and bytes (strings by content)
Hash128 tensor_hash(const Tensor *tensor);                        // of its bytes, from its name where it has one
// From now on its hash, and that of its copies, is computed once, whichever thread asks first. The bytes stay as they are while the arena lives.
void tensor_give_name(Tensor *tensor, Arena *arena);

// dtype conversion of single elements, for loaders and interpreters: memory <-> double / int64.
double element_get_f(DType dtype, const void *element);
int64_t element_get_i(DType dtype, const void *element);
void element_set_f(DType dtype, void *element, double value);
void element_set_i(DType dtype, void *element, int64_t value);

// How an output compares with what was expected, for verify and tests: NaN equals NaN, inf equals the same inf. The dtypes
// may differ where both are numbers; other dims mismatch everywhere, with infinite errors.
typedef struct Comparison {
  int64_t count, mismatches, first_mismatch;  // first_mismatch: linear index, -1 if none
  double max_absolute, max_relative;          // over finite pairs; relative to |expected|
  double norm_error;                          // ||a - b|| / ||b||, 0 when both are zero
} Comparison;
Comparison tensor_compare(const Tensor *actual, const Tensor *expected, double rtol, double atol);

// Between row-major tensors and strided memory (strides in elements of the tensor's dtype).
void tensor_gather_strided(Tensor *to, const void *from, const int64_t *strides);   // fills `to` from strided memory
void tensor_scatter_strided(const Tensor *from, void *to, const int64_t *strides);  // the other way
void tensor_reorder(const Tensor *from, const uint8_t *order, void *to);            // dense, in this stride order
