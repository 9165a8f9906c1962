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

// Rows: y's row axis, then batch axes from the inside out while they extend it. Gives the first that is.
static int merge_rows(const TensorDesc *y, MatmulProblem *p) {
  int first_row = y->rank - 2;
  bool b_batched = false;
  for (int axis = 0; axis < y->rank - 2; axis++) b_batched |= !extent_is(p->b_batch[axis], 0);
  for (int axis = y->rank - 3; axis >= 0 && !b_batched; axis--) {
    Extent size = desc_extent_in(p->table, y, axis);
    bool one = extent_is(size, 1), row = extent_is(p->m, 1);
    if (!one && !row && !extent_equal(p->a_batch[axis], extent_mul(p->table, p->a_m, p->m))) break;
    if (!one && row) p->a_m = p->a_batch[axis];
    p->m = extent_mul(p->table, p->m, size);
    first_row = axis;
  }
  return first_row;
}

static bool describe(const Site *site, DimTable *table, MatmulProblem *p) {
  const TensorDesc *a = &site->inputs[0], *b = &site->inputs[1], *y = &site->outputs[0];
  REQUIRE(site, !site_has_zero_points(site), "it has zero points");
  REQUIRE(site, a->rank >= 2 && b->rank >= 2 && y->rank >= 2, "an operand is no matrix");
  REQUIRE(site, has_arithmetic(a->dtype) && has_arithmetic(b->dtype), "its elements are neither floats nor integers");
  int rank = y->rank;
  *p = (MatmulProblem){.table = table,
                       .m = desc_extent_in(table, y, rank - 2),
                       .n = desc_extent_in(table, y, rank - 1),
                       .k = desc_extent_in(table, a, a->rank - 1)};
  p->a_m = desc_stride_in(table, a, a->rank - 2), p->a_k = desc_stride_in(table, a, a->rank - 1);
  p->b_k = desc_stride_in(table, b, b->rank - 2), p->b_n = desc_stride_in(table, b, b->rank - 1);
  p->accumulator = accumulator_of(a->dtype, b->dtype, (DType)node_int(site->node, "dtype", a->dtype));
  broadcast_strides(table, a, y, p->a_batch);
  broadcast_strides(table, b, y, p->b_batch);
  // Walks are built outermost first.
  int first_row = merge_rows(y, p);
  for (int axis = 0; axis < first_row; axis++) walk_add_extent(&p->output.batch, axis, desc_extent_in(table, y, axis), 1);
  for (int axis = first_row; axis <= rank - 2; axis++) walk_add_extent(&p->output.row, axis, desc_extent_in(table, y, axis), 1);
  walk_add_extent(&p->output.column, rank - 1, p->n, 1);
  p->batch = walk_extent(table, &p->output.batch);
  int64_t most = p->batch.open ? INT32_MAX : (int64_t)65535 * 65535;
  REQUIRE(site, p->m.now <= INT32_MAX && p->n.now <= INT32_MAX && p->k.now <= INT32_MAX && p->batch.now <= most,
          "it has more rows, columns or products than launches count");
  return true;
}

// What a prologue reads lies in tables for k.
static bool takes_open(const Site *site) {
  const TensorDesc *a = &site->inputs[0];
  return site_is_open(site) && !(site->prologue && desc_extent(a, a->rank - 1).open);
}

bool matmul_problem_static(const Site *site, MatmulProblem *p) { return describe(site, NULL, p); }
bool matmul_problem(const Site *site, MatmulProblem *p) {
  return (takes_open(site) && describe(site, site->dims, p)) || matmul_problem_static(site, p);
}

TiledProduct matmul_product(const MatmulProblem *p, DType dtype, Rung rung) {
  return (TiledProduct){.m = extent_at(p->m, rung),
                        .n = extent_at(p->n, rung),
                        .k = extent_at(p->k, rung),
                        .batch = extent_at(p->batch, rung),
                        .k_open = p->k.open,
                        .dtype = dtype};
}

// The stride of the axis that is not contiguous and those of the batch axes decide the alignment. A line that is no whole number of
// vectors gets narrower ones, so that the last access of the last line stays inside the tensor.
static int operand_vector(const DimTable *table, const TensorDesc *desc, const Extent *batch, int batch_axes, Extent inner,
                          Extent outer_stride, Extent outer) {
  int64_t vector = 1;
  while (vector * 2 * (int)dtype_size(desc->dtype) <= 16) vector *= 2;
  vector = extent_factor(table, extent_static(desc->offset), vector);
  vector = extent_factor(table, inner, vector);
  if (outer.open || outer.now > 1) vector = extent_factor(table, outer_stride, vector);
  for (int i = 0; i < batch_axes; i++) vector = extent_factor(table, batch[i], vector);
  return (int)vector;
}

static int64_t reach(const DimTable *table, Extent stride) { return llabs(extent_typical(table, stride)); }

// An axis of one element counts as contiguous.
static int contiguous_vector(const DimTable *table, const TensorDesc *desc, const Extent *batch, int batch_axes,
                             Extent k_stride, Extent k, Extent other_stride, Extent other, bool *k_fast) {
  bool k_contiguous = extent_is(k_stride, 1) || extent_is(k, 1),
       other_contiguous = extent_is(other_stride, 1) || extent_is(other, 1);
  *k_fast =
      k_contiguous || (!other_contiguous && !extent_is(k_stride, 0) && reach(table, k_stride) < reach(table, other_stride));
  if (k_contiguous) return operand_vector(table, desc, batch, batch_axes, k, other_stride, other);
  if (other_contiguous) return operand_vector(table, desc, batch, batch_axes, other, k_stride, k);
  return 0;
}

int matmul_a_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(p->table, &site->inputs[0], p->a_batch, site->outputs[0].rank - 2, p->a_k, p->k, p->a_m, p->m,
                           k_fast);
}
int matmul_b_vector(const Site *site, const MatmulProblem *p, bool *k_fast) {
  return contiguous_vector(p->table, &site->inputs[1], p->b_batch, site->outputs[0].rank - 2, p->b_k, p->k, p->b_n, p->n,
                           k_fast);
}
