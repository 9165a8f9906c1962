// The scatters: x with elements or slices replaced by, or combined with, updates. Where several updates meet at one
// place they apply in the order of the indices; with reduction "none" the last one stays.
#include <string.h>
#include "base/budget.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"

typedef enum Combine { COMBINE_NONE, COMBINE_ADD, COMBINE_MUL, COMBINE_MAX, COMBINE_MIN, COMBINE_COUNT } Combine;
static const char *const combine_names[COMBINE_COUNT] = {"none", "add", "mul", "max", "min"};

static Status read_combine(const Node *node, DType dtype, Combine *out) {
  const char *name = node_string(node, "reduction", "none");
  for (int i = 0; i < COMBINE_COUNT; i++)
    if (strcmp(name, combine_names[i]) == 0) {
      *out = (Combine)i;
      if (i != COMBINE_NONE && (dtype_kind(dtype) == KIND_STRING || dtype_kind(dtype) == KIND_COMPLEX))
        FAIL(ERROR_INVALID_MODEL, "reduction '%s' of %s", name, dtype_name(dtype));
      return OK;
    }
  FAIL(ERROR_INVALID_MODEL, "unknown reduction '%s'", name);
}

static void combine_doubles(Combine combine, Tensor *out, int64_t at, double update) {
  double old = tensor_get_f(out, at);
  switch (combine) {
    case COMBINE_ADD: update = old + update; break;
    case COMBINE_MUL: update = old * update; break;
    case COMBINE_MAX: update = old > update || old != old ? old : update; break;
    case COMBINE_MIN: update = old < update || old != old ? old : update; break;
    default: break;
  }
  tensor_set_f(out, at, update);
}

static void combine_ints(Combine combine, Tensor *out, int64_t at, int64_t update) {
  int64_t old = tensor_get_i(out, at);
  bool less = out->dtype == DTYPE_U64 ? (uint64_t)old < (uint64_t)update : old < update;
  switch (combine) {
    case COMBINE_ADD: update = (int64_t)((uint64_t)old + (uint64_t)update); break;
    case COMBINE_MUL: update = (int64_t)((uint64_t)old * (uint64_t)update); break;
    case COMBINE_MAX: update = less ? update : old; break;
    case COMBINE_MIN: update = less ? old : update; break;
    default: break;
  }
  if (out->dtype == DTYPE_BOOL) update = combine == COMBINE_ADD ? update != 0 : update & 1;
  tensor_set_i(out, at, update);
}

static void combine_block(Combine combine, Tensor *out, int64_t at, const Tensor *updates, int64_t from, int64_t count) {
  size_t size = dtype_size(out->dtype);
  if (combine == COMBINE_NONE)
    memcpy((char *)out->data + (size_t)at * size, (const char *)updates->data + (size_t)from * size, (size_t)count * size);
  else if (dtype_computes_in_int(out->dtype))
    for (int64_t i = 0; i < count; i++) combine_ints(combine, out, at + i, tensor_get_i(updates, from + i));
  else
    for (int64_t i = 0; i < count; i++) combine_doubles(combine, out, at + i, tensor_get_f(updates, from + i));
}

static Status copy_of_data(Reference *r, Tensor **out) {
  const Tensor *x = r->inputs[0];
  TRY(reference_output(r, 0, x->dtype, x->rank, x->dims, out));
  size_t bytes = tensor_bytes(x);
  if (bytes) memcpy((*out)->data, x->data, bytes);
  return OK;
}

static Status infer_scatter(Node *node, Value **x, Value **indices, Value **updates) {
  Combine combine;
  TRY(meaning_require(node, 0, x));
  TRY(meaning_require_integer(node, 1, indices));
  TRY(meaning_require(node, 2, updates));
  TRY(read_combine(node, (*x)->dtype, &combine));
  if ((*updates)->dtype != (*x)->dtype)
    FAIL(ERROR_INVALID_MODEL, "updates are %s, the data %s", dtype_name((*updates)->dtype), dtype_name((*x)->dtype));
  value_set_type(node->outputs[0], (*x)->dtype, (*x)->rank, (*x)->dims);
  return OK;
}

// ---- scatter_elements: y[i with its axis coordinate replaced by indices[i]] = updates[i]

static Status infer_scatter_elements(Node *node) {
  Value *x, *indices, *updates;
  int axis;
  TRY(infer_scatter(node, &x, &indices, &updates));
  TRY(meaning_axis(node, "axis", x->rank, &axis));
  if (indices->rank != x->rank || updates->rank != x->rank)
    FAIL(ERROR_INVALID_MODEL, "data, indices and updates have ranks %d, %d and %d", x->rank, indices->rank, updates->rank);
  for (int i = 0; i < x->rank; i++) {
    Dim same;
    TRY(meaning_same_dim(node, "indices and updates", indices->dims[i], updates->dims[i], &same));
  }
  return indices_fit(x, indices, axis);
}

static Status reference_scatter_elements(Reference *r) {
  const Tensor *x = r->inputs[0], *indices = r->inputs[1], *updates = r->inputs[2];
  int axis = (int)node_int(r->node, "axis", 0);
  int64_t strides[MAX_RANK], index[MAX_RANK] = {0}, n = 0;
  const int64_t *values;
  Combine combine;
  Tensor *out;
  TRY(read_combine(r->node, x->dtype, &combine));
  TRY(reference_ints(r, indices, &values));
  TRY(copy_of_data(r, &out));
  if (tensor_count(indices) == 0) return OK;
  for (int i = 0; i < x->rank; i++)
    if (indices->dims[i] != updates->dims[i] || (i != axis && indices->dims[i] > x->dims[i]))
      FAIL(ERROR_INVALID_MODEL, "axis %d: data, indices and updates have sizes %lld, %lld and %lld", i, (long long)x->dims[i],
           (long long)indices->dims[i], (long long)updates->dims[i]);
  dims_strides(x->rank, x->dims, strides);
  do {
    int64_t at = values[n] < 0 ? values[n] + x->dims[axis] : values[n], offset = 0;
    if (at < 0 || at >= x->dims[axis])
      FAIL(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld", (long long)values[n],
           (long long)x->dims[axis]);
    for (int i = 0; i < x->rank; i++) offset += (i == axis ? at : index[i]) * strides[i];
    combine_block(combine, out, offset, updates, n++, 1);
  } while (index_next(indices->rank, indices->dims, index));
  return OK;
}

const OpDef op_scatter_elements = {
    .name = "scatter_elements",
    .help = "x with elements along an axis replaced or combined",
    .min_inputs = 3,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, true}, {"reduction", ATTR_STRING, false}, {0}},
    .infer = infer_scatter_elements,
    .reference = reference_scatter_elements,
    .index_operand = 1,
    .indexed_axes = indexed_axis,
};

// ---- scatter_nd: y[coordinates, ...] = updates[...]

static Status infer_scatter_nd(Node *node) {
  Value *x, *indices, *updates;
  TRY(infer_scatter(node, &x, &indices, &updates));
  Dim depth = indices->rank > 0 ? indices->dims[indices->rank - 1] : 0, same;
  if (!dim_is_static(depth) || depth < 1 || depth > x->rank)
    FAIL(ERROR_INVALID_MODEL, "the last axis of the indices must have a known size of 1 to %d", x->rank);
  if (updates->rank != indices->rank - 1 + x->rank - (int)depth)
    FAIL(ERROR_INVALID_MODEL, "updates have rank %d where %d is expected", updates->rank,
         indices->rank - 1 + x->rank - (int)depth);
  for (int i = 0; i < updates->rank; i++) {
    Dim expected = i < indices->rank - 1 ? indices->dims[i] : x->dims[i - (indices->rank - 1) + (int)depth];
    TRY(meaning_same_dim(node, "updates", updates->dims[i], expected, &same));
  }
  return OK;
}

static Status reference_scatter_nd(Reference *r) {
  const Tensor *x = r->inputs[0], *indices = r->inputs[1], *updates = r->inputs[2];
  int depth = (int)indices->dims[indices->rank - 1];
  if (depth > x->rank) FAIL(ERROR_INVALID_MODEL, "coordinates of %d values for %d axes", depth, x->rank);
  int64_t strides[MAX_RANK], rows = dims_count(indices->rank - 1, indices->dims);
  int64_t block = dims_count(x->rank - depth, x->dims + depth);
  const int64_t *values;
  Combine combine;
  Tensor *out;
  TRY(read_combine(r->node, x->dtype, &combine));
  TRY(reference_ints(r, indices, &values));
  TRY(copy_of_data(r, &out));
  if (rows * block != tensor_count(updates)) FAIL(ERROR_INVALID_MODEL, "the updates do not match the indices");
  dims_strides(x->rank, x->dims, strides);
  for (int64_t i = 0; i < rows; i++) {
    budget_step(16);
    int64_t offset = 0;
    for (int k = 0; k < depth; k++) {
      int64_t value = values[i * depth + k], at = value < 0 ? value + x->dims[k] : value;
      if (at < 0 || at >= x->dims[k])
        FAIL(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld", (long long)value, (long long)x->dims[k]);
      offset += at * strides[k];
    }
    combine_block(combine, out, offset, updates, i * block, block);
  }
  return OK;
}

const OpDef op_scatter_nd = {
    .name = "scatter_nd",
    .help = "x with slices at coordinates replaced or combined",
    .min_inputs = 3,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"reduction", ATTR_STRING, false}, {0}},
    .infer = infer_scatter_nd,
    .reference = reference_scatter_nd,
    .index_operand = 1,
    .indexed_axes = coordinate_axes,
};
