// matmul: y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n], batch axes broadcast as numpy does. Integers of 8 bits may have zero points.
// The reference walks b by rows, so that its inner loop is contiguous and vectorises: it also serves whole small networks.
#include "base/budget.h"
#include "kernels/matmul/matmul.h"
#include <string.h>
#include "kernels/meaning.h"

static DType result_dtype(const Node *node, DType a) {
  DType natural = dtype_is_integer(a) && dtype_bits(a) <= 8 ? DTYPE_I32 : a;
  return (DType)node_int(node, "dtype", natural);
}

static Status infer_matmul(Node *node) {
  Value *a, *b;
  TRY(meaning_require(node, 0, &a));
  TRY(meaning_require(node, 1, &b));
  if (a->rank < 2 || b->rank < 2) FAIL(ERROR_INVALID_MODEL, "ranks %d and %d; both must be at least 2", a->rank, b->rank);
  if (dtype_is_float(a->dtype) != dtype_is_float(b->dtype) || dtype_is_integer(a->dtype) != dtype_is_integer(b->dtype) ||
      dtype_kind(a->dtype) == KIND_STRING || dtype_kind(a->dtype) == KIND_BOOL)
    FAIL(ERROR_INVALID_MODEL, "no product of %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
  int64_t dtype = node_int(node, "dtype", DTYPE_F32);
  if (dtype < 0 || dtype >= DTYPE_COUNT) FAIL(ERROR_INVALID_MODEL, "no dtype %lld", (long long)dtype);
  int rank = MAX(a->rank, b->rank);
  Dim dims[MAX_RANK], inner;
  TRY(meaning_same_dim(node, "the summed axis", a->dims[a->rank - 1], b->dims[b->rank - 2], &inner));
  for (int i = 0; i < rank - 2; i++) {
    int in_a = i - (rank - a->rank), in_b = i - (rank - b->rank);
    TRY(meaning_broadcast_dim(node, in_a < 0 ? 1 : a->dims[in_a], in_b < 0 ? 1 : b->dims[in_b], &dims[i]));
  }
  dims[rank - 2] = a->dims[a->rank - 2];
  dims[rank - 1] = b->dims[b->rank - 1];
  TRY(meaning_zero_points(node, b->rank - 1));
  value_set_type(node->outputs[0], result_dtype(node, a->dtype), rank, dims);
  return OK;
}

// One row of the product: sum[n] += a[k] * b[k][n].
#define DEFINE_ROW(name, In, Sum)                                                                                     \
  static void name(int64_t k_count, int64_t n_count, const In *restrict a, const In *restrict b, Sum *restrict sum) { \
    memset(sum, 0, (size_t)n_count * sizeof *sum);                                                                    \
    for (int64_t k = 0; k < k_count; k++) {                                                                           \
      Sum factor = (Sum)a[k];                                                                                         \
      const In *row = b + k * n_count;                                                                                \
      for (int64_t n = 0; n < n_count; n++) sum[n] += factor * (Sum)row[n];                                           \
    }                                                                                                                 \
  }
DEFINE_ROW(row_floats, float, double)
DEFINE_ROW(row_doubles, double, double)
DEFINE_ROW(row_ints, uint64_t, uint64_t)  // unsigned, so that overflow wraps

typedef enum Arithmetic { IN_FLOATS, IN_DOUBLES, IN_INTS } Arithmetic;

static Status convert(const Reference *r, Arithmetic arithmetic, const Tensor *tensor, const char **out) {
  const float *floats = NULL;
  const double *doubles = NULL;
  const int64_t *ints = NULL;
  if (arithmetic == IN_FLOATS) TRY(reference_floats(r, tensor, &floats));
  if (arithmetic == IN_DOUBLES) TRY(reference_doubles(r, tensor, &doubles));
  if (arithmetic == IN_INTS) TRY(reference_ints(r, tensor, &ints));
  *out = floats ? (const char *)floats : doubles ? (const char *)doubles : (const char *)ints;
  return OK;
}

static Status reference_matmul(Reference *r) {
  const Tensor *a, *b;
  TRY(reference_less_zero(r, 0, &a));
  TRY(reference_less_zero(r, 1, &b));
  int rank = MAX(a->rank, b->rank), batch_rank = rank - 2;
  int64_t dims[MAX_RANK], a_strides[MAX_RANK] = {0}, b_strides[MAX_RANK] = {0}, strides[MAX_RANK];
  int64_t m_count = a->dims[a->rank - 2], k_count = a->dims[a->rank - 1], n_count = b->dims[b->rank - 1];
  if (b->dims[b->rank - 2] != k_count)
    FAIL(ERROR_INVALID_MODEL, "the summed axis: sizes %lld and %lld differ", (long long)k_count,
         (long long)b->dims[b->rank - 2]);
  for (int i = 0; i < batch_rank; i++) {
    int in_a = i - (rank - a->rank), in_b = i - (rank - b->rank);
    int64_t size_a = in_a < 0 ? 1 : a->dims[in_a], size_b = in_b < 0 ? 1 : b->dims[in_b];
    if (size_a != size_b && size_a != 1 && size_b != 1)
      FAIL(ERROR_INVALID_MODEL, "batch sizes %lld and %lld do not broadcast", (long long)size_a, (long long)size_b);
    dims[i] = size_a == 1 ? size_b : size_a;
  }
  dims_strides(a->rank, a->dims, strides);
  for (int i = 0; i < a->rank - 2; i++) a_strides[rank - a->rank + i] = a->dims[i] == 1 ? 0 : strides[i];
  dims_strides(b->rank, b->dims, strides);
  for (int i = 0; i < b->rank - 2; i++) b_strides[rank - b->rank + i] = b->dims[i] == 1 ? 0 : strides[i];
  dims[rank - 2] = m_count;
  dims[rank - 1] = n_count;

  Tensor *out;
  void *sums;
  const char *a_data, *b_data;
  Arithmetic arithmetic = dtype_computes_in_int(a->dtype)                            ? IN_INTS
                          : dtype_fits_float(a->dtype) && dtype_fits_float(b->dtype) ? IN_FLOATS
                                                                                     : IN_DOUBLES;
  size_t size = arithmetic == IN_FLOATS ? sizeof(float) : sizeof(double);
  TRY(reference_output(r, 0, result_dtype(r->node, a->dtype), rank, dims, &out));
  TRY(reference_scratch(r, sizeof(double), n_count, &sums));
  TRY(convert(r, arithmetic, a, &a_data));
  TRY(convert(r, arithmetic, b, &b_data));
  if (tensor_count(out) == 0) return OK;
  int64_t index[MAX_RANK] = {0}, written = 0;
  do {
    int64_t a_offset = 0, b_offset = 0;
    for (int i = 0; i < batch_rank; i++) {
      a_offset += index[i] * a_strides[i];
      b_offset += index[i] * b_strides[i];
    }
    const char *b_matrix = b_data + b_offset * (int64_t)size;
    for (int64_t m = 0; m < m_count; m++, written += n_count) {
      budget_step((uint64_t)(k_count * n_count));
      const char *a_row = a_data + (a_offset + m * k_count) * (int64_t)size;
      if (arithmetic == IN_FLOATS) row_floats(k_count, n_count, (const float *)a_row, (const float *)b_matrix, sums);
      if (arithmetic == IN_DOUBLES) row_doubles(k_count, n_count, (const double *)a_row, (const double *)b_matrix, sums);
      if (arithmetic == IN_INTS) row_ints(k_count, n_count, (const uint64_t *)a_row, (const uint64_t *)b_matrix, sums);
      if (arithmetic == IN_INTS) reference_store_ints(out, written, n_count, sums);
      else reference_store_doubles(out, written, n_count, sums);
    }
  } while (index_next(batch_rank, dims, index));
  return OK;
}

static void channels_of_matmul(const Node *node, Channels *out) {
  int rank = node->inputs[1]->rank;
  *out = (Channels){.result_axis = node->outputs[0]->rank - 1, .weight_axis = rank - 1, .groups = 1, .scattered = rank > 2};
}

static int64_t terms_of_matmul(const Node *node) {
  const Value *b = node->inputs[1];
  return b->rank >= 2 && dim_is_static(b->dims[b->rank - 2]) ? b->dims[b->rank - 2] : 0;
}

const OpDef op_matmul = {
    .name = "matmul",
    .help = "matrix product, batch axes broadcast; of 8-bit integers less zero points, where given",
    .min_inputs = 2,
    .max_inputs = 4,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"dtype", ATTR_INTS, false}, {0}},
    .infer = infer_matmul,
    .reference = reference_matmul,
    .takes_epilogue = true,
    .takes_zero_points = true,
    .channels = channels_of_matmul,
    .terms = terms_of_matmul,
};
