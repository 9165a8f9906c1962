// Shared helpers of the operator translations; see common.h.
#include "onnx/ops/common.h"

Status translate_end(Translation *t, Builder *b) {
  if (!b->status) return OK;
  return status_context(b->status, "node '%s' (%s)", t->name, t->op_type);
}

Node *node_start(Builder *b, const char *op, int input_count, Value *const *inputs, int output_count) {
  const OpDef *def = op_find(b->graph->ops, op);
  if (!b->status && !def) b->status = status_make(ERROR_INTERNAL, "there is no core operator '%s'", op);
  if (b->status) {  // a node outside the graph takes the attributes
    Node *aside = arena_new_of(b->graph->arena, Node);
    aside->graph = b->graph;
    return aside;
  }
  return graph_add(b->graph, b->at, def, input_count, inputs, output_count);
}

Value *node_done(Builder *b, Node *node) { return b->status ? NULL : build_finish(b, node); }

Status normalise_axis(const Translation *t, int64_t axis, int rank, int *out) {
  if (axis < -rank || axis >= rank)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "axis %lld is outside a tensor of rank %d", (long long)axis, rank);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return OK;
}

Status normalise_axes(const Translation *t, int64_t *axes, int count, int rank) {
  bool seen[2 * MAX_RANK] = {false};
  for (int i = 0; i < count; i++) {
    int axis = 0;
    TRY(normalise_axis(t, axes[i], rank, &axis));
    if (seen[axis]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "axis %d is named twice", axis);
    seen[axis] = true;
    axes[i] = axis;
  }
  return OK;
}

Status ints_operand(Translation *t, const char *attribute, int input, const int64_t **values, int *count) {
  *values = NULL;
  *count = 0;
  if (translate_has(t, input)) NEED_INTS(t, input, values, count);
  else *values = node_ints(t->attributes, attribute, count);
  return OK;
}

Status check_sizes(const Translation *t, const Dim *sizes, int count, int least) {
  int64_t known;
  if (count < least) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%d sizes are given, expected at least %d", count, least);
  for (int i = 0; i < count; i++)
    if (dim_get_constant(t->graph->dims, sizes[i], &known) && known < 0)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size %d is %lld", i, (long long)known);
  return OK;
}

Status check_present(const Translation *t) {
  for (int i = 0; i < t->input_count; i++)
    if (!t->inputs[i]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is missing", i);
  return OK;
}

Status check_channels(const Translation *t, int first, int last, Dim channels) {
  for (int i = first; i <= last; i++) {
    const Value *x = translate_input(t, i);
    if (!x) continue;
    if (x->rank != 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has rank %d, expected 1", i, x->rank);
    if (dim_is_static(channels) && dim_is_static(x->dims[0]) && x->dims[0] != channels)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has %lld elements, expected %lld", i, (long long)x->dims[0],
                     (long long)channels);
  }
  return OK;
}

Status dtype_attribute(const Translation *t, const char *name, DType otherwise, DType *out) {
  int64_t number = node_int(t->attributes, name, 0);
  *out = otherwise;
  if (number != 0 && !dtype_from_onnx((int)number, out))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s is %lld, which is no element type", name, (long long)number);
  return OK;
}

int reduce_mean(Program *p, int a) {
  DType dtype = program_dtype(p, a);
  return op2(p, OP_div, program_reduce(p, OP_reduce_sum, a, dtype), program_row_extent(p, dtype));
}

DType compute_dtype(DType dtype) { return dtype_is_float(dtype) && dtype != DTYPE_F64 ? DTYPE_F32 : dtype; }

// --- dims ---

bool dim_not_negative(const DimTable *table, Dim dim) { return dim_at_least(table, dim, 0); }
bool dim_at_most(const DimTable *table, Dim a, Dim b) { return dim_at_least(table, b, a); }

Dim dim_least(DimTable *table, Dim a, Dim b) { return dim_make(table, DIM_MIN, a, b); }
Dim dim_most(DimTable *table, Dim a, Dim b) { return dim_make(table, DIM_MAX, a, b); }

Dim dims_product(DimTable *table, const Dim *dims, int count) {
  Dim product = 1;
  for (int i = 0; i < count; i++) product = dim_mul(table, product, dims[i]);
  return product;
}

enum { MAX_FACTORS = 64 };

typedef struct Factors {
  int64_t constant;
  Dim items[MAX_FACTORS];
  int count;
  bool complete;  // else some did not fit
} Factors;

static void factors_add(const DimTable *table, Factors *factors, Dim dim) {
  int64_t value;
  if (dim_get_constant(table, dim, &value)) {
    factors->complete = factors->complete && checked_mul_i64(factors->constant, value, &factors->constant);
  } else if (dim_op(table, dim) == DIM_MUL) {
    factors_add(table, factors, dim_operand(table, dim, 0));
    factors_add(table, factors, dim_operand(table, dim, 1));
  } else if (factors->count < MAX_FACTORS) {
    factors->items[factors->count++] = dim;
  } else {
    factors->complete = false;
  }
}

Dim dims_quotient(DimTable *table, const Dim *numerator, int numerator_count, const Dim *denominator, int denominator_count) {
  Factors above = {.constant = 1, .complete = true}, below = above;
  for (int i = 0; i < numerator_count; i++) factors_add(table, &above, numerator[i]);
  for (int i = 0; i < denominator_count; i++) factors_add(table, &below, denominator[i]);
  if (!above.complete || !below.complete)
    return dim_div(table, dims_product(table, numerator, numerator_count), dims_product(table, denominator, denominator_count));
  for (int i = 0; i < below.count; i++) {
    for (int j = 0; j < above.count; j++) {
      if (above.items[j] != below.items[i]) continue;
      above.items[j] = above.items[--above.count];
      below.items[i--] = below.items[--below.count];
      break;
    }
  }
  if (below.constant != 0 && above.constant % below.constant == 0) {
    above.constant /= below.constant;
    below.constant = 1;
  }
  Dim top = dim_mul(table, dim_constant(table, above.constant), dims_product(table, above.items, above.count));
  Dim bottom = dim_mul(table, dim_constant(table, below.constant), dims_product(table, below.items, below.count));
  return bottom == 1 ? top : dim_div(table, top, bottom);
}

// --- small builds ---

Value *align_to_axis(Builder *b, Value *x, int axis, int rank) {
  if (!x || b->status) return NULL;
  Dim dims[MAX_RANK];
  if (axis == rank - 1 || x->rank == 0) return x;
  dims[0] = x->dims[0];
  for (int i = 1; i < rank - axis; i++) dims[i] = 1;
  return build_reshape(b, x, rank - axis, dims);
}

Value *build_slice_axis(Builder *b, Value *x, int axis, Dim start, Dim count) {
  if (!x || b->status) return NULL;
  if (start == 0 && count == x->dims[axis]) return x;
  Dim starts[MAX_RANK] = {0}, dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    steps[i] = 1;
    dims[i] = x->dims[i];
  }
  starts[axis] = start;
  dims[axis] = count;
  return build_slice(b, x, starts, steps, dims);
}

Value *build_concat2(Builder *b, Value *x, Value *y, int axis) { return build_concat(b, 2, (Value *[]){x, y}, axis); }
Value *build_mul(Builder *b, Value *x, Value *y) { return build_binary(b, OP_mul, x, y); }
Value *build_add(Builder *b, Value *x, Value *y) { return build_binary(b, OP_add, x, y); }

Value *build_scale(Builder *b, Value *x, double factor) {
  if (!x || b->status) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  int a = program_input(p, 0, x->dtype);
  program_output(p, op2(p, OP_mul, a, constant_like(p, a, factor)));
  return build_elementwise(b, p, 1, &x);
}

Value *build_swap(Builder *b, Value *x, int i, int j) {
  if (!x || b->status) return NULL;
  int perm[MAX_RANK];
  for (int k = 0; k < x->rank; k++) perm[k] = k;
  perm[i] = j;
  perm[j] = i;
  return build_transpose(b, x, perm);
}

Value *build_softmax(Builder *b, Value *x, int axis) {
  if (!x || b->status) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  DType dtype = x->dtype;
  int a = program_input(p, 0, dtype);
  int e = op1(p, OP_exp, op2(p, OP_sub, a, program_reduce(p, OP_reduce_max, a, dtype)));
  program_output(p, op2(p, OP_div, e, program_reduce(p, OP_reduce_sum, e, dtype)));
  int64_t axes[] = {axis};
  return build_rowwise(b, p, 1, &x, axes, 1);
}

Value *build_product(Builder *b, Value *x, Value *y) {
  if (b->status) return NULL;
  bool row = x->rank == 1, column = y->rank == 1;
  if (row) x = build_unsqueeze(b, x, (int64_t[]){0}, 1);
  if (column) y = build_unsqueeze(b, y, (int64_t[]){1}, 1);
  Value *z = build_matmul(b, x, y);
  if (!z) return NULL;
  int64_t axes[2];
  int count = 0;
  if (row) axes[count++] = z->rank - 2;
  if (column) axes[count++] = z->rank - 1;
  return count ? build_squeeze(b, z, axes, count) : z;
}
