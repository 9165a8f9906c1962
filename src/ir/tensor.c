// Host tensors: making, reading and comparing them. Conversions of single elements are in element.c.
#include "ir/tensor.h"
#include <math.h>
#include <string.h>
#include "base/checked.h"

enum { TENSOR_ALIGNMENT = 64 };

int64_t tensor_count(const Tensor *tensor) {
  int64_t count = 1;
  for (int i = 0; i < tensor->rank; i++) count *= tensor->dims[i];
  return count;
}

size_t tensor_bytes(const Tensor *tensor) { return (size_t)tensor_count(tensor) * dtype_size(tensor->dtype); }

bool dims_fit(DType dtype, int rank, const int64_t *dims) {
  int64_t bytes = (int64_t)dtype_size(dtype);
  for (int i = 0; i < rank; i++)
    if (!checked_mul_i64(bytes, MAX(dims[i], 1), &bytes) || bytes > TENSOR_MAX_BYTES) return false;
  return true;
}

Status tensor_new(Arena *arena, DType dtype, int rank, const int64_t *dims, Tensor *out) {
  if (rank < 0 || rank > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "a tensor of rank %d: at most %d is supported", rank, MAX_RANK);
  *out = (Tensor){.dtype = dtype, .rank = rank};
  for (int i = 0; i < rank; i++) {
    if (dims[i] < 0) FAIL(ERROR_INVALID_MODEL, "a tensor has the negative dimension %lld", (long long)dims[i]);
    out->dims[i] = dims[i];
  }
  if (!dims_fit(dtype, rank, dims))
    FAIL(ERROR_OUT_OF_MEMORY, "a tensor would take more than %lld bytes", (long long)TENSOR_MAX_BYTES);
  return arena_try_alloc(arena, tensor_bytes(out), TENSOR_ALIGNMENT, &out->data);
}

// For the few elements of a scalar or vector: running out unwinds like any small allocation.
static Tensor *small_tensor(Arena *arena, DType dtype, int rank, int64_t count) {
  Tensor *tensor = arena_new_of(arena, Tensor);
  *tensor = (Tensor){.dtype = dtype, .rank = rank, .dims = {count}};
  if (rank == 0) tensor->dims[0] = 0;
  tensor->data = arena_alloc_array(arena, dtype_size(dtype), (size_t)count);
  return tensor;
}

Tensor *tensor_scalar_i64(Arena *arena, int64_t value) {
  Tensor *tensor = small_tensor(arena, DTYPE_I64, 0, 1);
  memcpy(tensor->data, &value, sizeof value);
  return tensor;
}

Tensor *tensor_vector_i64(Arena *arena, const int64_t *values, int count) {
  Tensor *tensor = small_tensor(arena, DTYPE_I64, 1, count);
  if (count) memcpy(tensor->data, values, (size_t)count * sizeof *values);
  return tensor;
}

Tensor *tensor_scalar_f(Arena *arena, DType dtype, double value) {
  Tensor *tensor = small_tensor(arena, dtype, 0, 1);
  element_set_f(dtype, tensor->data, value);
  return tensor;
}

static void *element_at(const Tensor *tensor, int64_t index) {
  return (char *)tensor->data + (size_t)index * dtype_size(tensor->dtype);
}

double tensor_get_f(const Tensor *tensor, int64_t index) { return element_get_f(tensor->dtype, element_at(tensor, index)); }
int64_t tensor_get_i(const Tensor *tensor, int64_t index) { return element_get_i(tensor->dtype, element_at(tensor, index)); }
void tensor_set_f(Tensor *tensor, int64_t index, double value) {
  element_set_f(tensor->dtype, element_at(tensor, index), value);
}
void tensor_set_i(Tensor *tensor, int64_t index, int64_t value) {
  element_set_i(tensor->dtype, element_at(tensor, index), value);
}

static bool same_dims(const Tensor *a, const Tensor *b) {
  return a->rank == b->rank && (a->rank == 0 || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0);
}

static const char *string_at(const Tensor *tensor, int64_t index) {
  const char *string = ((const char *const *)tensor->data)[index];
  return string ? string : "";
}

bool tensor_equal(const Tensor *a, const Tensor *b) {
  if (a->dtype != b->dtype || !same_dims(a, b)) return false;
  int64_t count = tensor_count(a);
  if (a->dtype != DTYPE_STRING) return count == 0 || a->data == b->data || memcmp(a->data, b->data, tensor_bytes(a)) == 0;
  for (int64_t i = 0; i < count; i++)
    if (strcmp(string_at(a, i), string_at(b, i)) != 0) return false;
  return true;
}

// A sum of squares as scale^2 * sum, so that no square overflows or vanishes.
typedef struct Squares {
  double scale, sum;
} Squares;

static void squares_add(Squares *squares, double value) {
  if (value == 0) return;
  bool larger = value > squares->scale;
  double ratio = larger ? squares->scale / value : value / squares->scale;
  squares->sum = larger ? 1 + squares->sum * ratio * ratio : squares->sum + ratio * ratio;
  if (larger) squares->scale = value;
}

typedef struct ErrorSums {
  Squares difference, expected;
} ErrorSums;

static double norm_error(const ErrorSums *sums) {
  if (sums->difference.scale == 0) return 0;
  if (sums->expected.scale == 0) return INFINITY;
  return sums->difference.scale / sums->expected.scale * sqrt(sums->difference.sum / sums->expected.sum);
}

// One pair of numbers; false where it mismatches.
static bool compare_pair(double actual, double expected, double rtol, double atol, Comparison *result, ErrorSums *sums) {
  if (isnan(actual) || isnan(expected)) return isnan(actual) && isnan(expected);
  if (isinf(actual) || isinf(expected)) return actual == expected;
  double difference = fabs(actual - expected);
  squares_add(&sums->difference, difference);
  squares_add(&sums->expected, fabs(expected));
  result->max_absolute = fmax(result->max_absolute, difference);
  if (difference > 0 && expected != 0) result->max_relative = fmax(result->max_relative, difference / fabs(expected));
  return difference <= atol + (expected != 0 ? rtol * fabs(expected) : 0);  // rtol may be infinite
}

static bool is_complex(DType dtype) { return dtype_kind(dtype) == KIND_COMPLEX; }

static double imaginary_part(const Tensor *tensor, int64_t index) {
  const char *element = element_at(tensor, index);
  if (tensor->dtype == DTYPE_C64) return element_get_f(DTYPE_F32, element + sizeof(float));
  return element_get_f(DTYPE_F64, element + sizeof(double));
}

static bool is_exact(DType dtype) { return dtype_is_integer(dtype) || dtype == DTYPE_BOOL; }

static bool compare_at(const Tensor *actual, const Tensor *expected, int64_t i, double rtol, double atol, Comparison *result,
                       ErrorSums *sums) {
  if (actual->dtype == DTYPE_STRING) return strcmp(string_at(actual, i), string_at(expected, i)) == 0;
  bool same = compare_pair(tensor_get_f(actual, i), tensor_get_f(expected, i), rtol, atol, result, sums);
  if (is_complex(actual->dtype))
    return compare_pair(imaginary_part(actual, i), imaginary_part(expected, i), rtol, atol, result, sums) && same;
  // Integers beyond 2^53 may differ and still be the same double.
  if (rtol == 0 && atol == 0 && is_exact(actual->dtype) && actual->dtype == expected->dtype)
    return tensor_get_i(actual, i) == tensor_get_i(expected, i);
  return same;
}

Comparison tensor_compare(const Tensor *actual, const Tensor *expected, double rtol, double atol) {
  Comparison result = {.count = tensor_count(expected), .first_mismatch = -1};
  ErrorSums sums = {0};
  bool comparable = same_dims(actual, expected) && (actual->dtype == DTYPE_STRING) == (expected->dtype == DTYPE_STRING) &&
                    is_complex(actual->dtype) == is_complex(expected->dtype);
  if (!comparable) {
    result.mismatches = MAX(result.count, 1);
    result.first_mismatch = 0;
    result.max_absolute = result.max_relative = result.norm_error = INFINITY;
    return result;
  }
  for (int64_t i = 0; i < result.count; i++) {
    if (compare_at(actual, expected, i, rtol, atol, &result, &sums)) continue;
    if (result.mismatches++ == 0) result.first_mismatch = i;
  }
  result.norm_error = norm_error(&sums);
  return result;
}
