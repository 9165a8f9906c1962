// See matmul_problem.h.
#include "kernels/matmul/matmul_problem.h"

#include <stdlib.h>

static bool has_arithmetic(DType dtype) {
  DTypeKind kind = dtype_kind(dtype);
  return kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED;
}

// Wide enough for the operands and for the result asked for.
static DType accumulator_of(DType a, DType b, DType result) {
  if (dtype_is_float(a) || dtype_is_float(b))
    return a == DTYPE_F64 || b == DTYPE_F64 || result == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  if (dtype_bits(a) == 64 || dtype_bits(b) == 64 || dtype_bits(result) == 64) return a == DTYPE_U64 ? DTYPE_U64 : DTYPE_I64;
  return a == DTYPE_U32 ? DTYPE_U32 : DTYPE_I32;
}

bool matmul_problem(const Site *site, MatmulProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  if (site_has_zero_points(site)) return false;
  if (a->rank < 2 || b->rank < 2 || y->rank < 2 || !has_arithmetic(a->dtype) || !has_arithmetic(b->dtype)) return false;
  int rank = y->rank, batch_axes = rank - 2;
  *p = (MatmulProblem){.m = y->dims[rank - 2], .n = y->dims[rank - 1], .k = a->dims[a->rank - 1]};
  p->a_m = a->strides[a->rank - 2], p->a_k = a->strides[a->rank - 1];
  p->b_k = b->strides[b->rank - 2], p->b_n = b->strides[b->rank - 1];
  p->accumulator = accumulator_of(a->dtype, b->dtype, (DType)node_int(site->node, "dtype", a->dtype));
  broadcast_strides(a, rank, p->a_batch);
  broadcast_strides(b, rank, p->b_batch);

  // Rows: y's row axis, then batch axes from the inside out while they extend it. Walks are built outermost first.
  int first_row = rank - 2;
  int64_t rows = p->m;
  bool b_batched = false;
  for (int axis = 0; axis < batch_axes; axis++) b_batched |= p->b_batch[axis] != 0;
  for (int axis = batch_axes - 1; axis >= 0 && !b_batched; axis--) {
    if (y->dims[axis] != 1 && rows != 1 && p->a_batch[axis] != p->a_m * rows) break;
    if (y->dims[axis] != 1 && rows == 1) p->a_m = p->a_batch[axis];
    rows *= y->dims[axis];
    first_row = axis;
  }
  p->m = rows;
  p->batch = 1;
  for (int axis = 0; axis < first_row; axis++) {
    walk_add(&p->output.batch, axis, y->dims[axis], 1);
    p->batch *= y->dims[axis];
  }
  for (int axis = first_row; axis <= rank - 2; axis++) walk_add(&p->output.row, axis, y->dims[axis], 1);
  walk_add(&p->output.column, rank - 1, p->n, 1);
  return p->m <= INT32_MAX && p->n <= INT32_MAX && p->k <= INT32_MAX && p->batch <= (int64_t)65535 * 65535;
}

static bool is_open(const TensorDesc *desc, int axis) { return desc_extent(desc, axis).open; }

Extent matmul_rows(const Site *site, const MatmulProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  Extent rows = extent_static(1), fixed = extent_static(p->m);
  if (!site->dims || p->output.batch.count || !output_rows_are_plain(site, &p->output)) return fixed;
  if (is_open(a, a->rank - 1) || is_open(y, y->rank - 1)) return fixed;
  for (int i = 0; i < b->rank; i++)
    if (is_open(b, i)) return fixed;
  for (int i = 0; i < y->rank - 1; i++) rows = extent_mul(site->dims, rows, desc_extent(y, i));
  return rows;
}

// The stride of the axis that is not contiguous and those of the batch axes decide the alignment. A line that is no whole number of
// vectors gets narrower ones, so that the last access of the last line stays inside the tensor.
static int operand_vector(const TensorDesc *desc, const int64_t *batch, int batch_axes, int64_t inner_extent,
                          int64_t outer_stride, int64_t outer_extent) {
  int vector = 1;
  while (vector * 2 * (int)dtype_size(desc->dtype) <= 16) {
    int next = vector * 2;
    if (desc->offset % next || inner_extent % next || (outer_extent > 1 && outer_stride % next)) break;
    bool aligned = true;
    for (int i = 0; i < batch_axes; i++) aligned &= batch[i] % next == 0;
    if (!aligned) break;
    vector = next;
  }
  return vector;
}

// An axis of one element counts as contiguous.
static int contiguous_vector(const TensorDesc *desc, const int64_t *batch, int batch_axes, int64_t k_stride, int64_t k,
                             int64_t other_stride, int64_t other, bool *k_fast) {
  bool k_contiguous = k_stride == 1 || k == 1, other_contiguous = other_stride == 1 || other == 1;
  *k_fast = k_contiguous || (!other_contiguous && k_stride != 0 && llabs(k_stride) < llabs(other_stride));
  if (k_contiguous) return operand_vector(desc, batch, batch_axes, k, other_stride, other);
  if (other_contiguous) return operand_vector(desc, batch, batch_axes, other, k_stride, k);
  return 0;
}

int matmul_a_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(&site->inputs[0], p->a_batch, site->outputs[0].rank - 2, p->a_k, p->k, p->a_m, p->m, k_fast);
}
int matmul_b_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(&site->inputs[1], p->b_batch, site->outputs[0].rank - 2, p->b_k, p->k, p->b_n, p->n, k_fast);
}
