// The gathers: elements or slices of x chosen by an integer tensor. Negative indices count from the end; indices outside
// are an error of the model's data, reported by the reference.
#include "base/budget.h"
#include "kernels/gather/gather.h"
#include <string.h>
#include "kernels/meaning.h"

static Status wrap_index(const Reference *r, int64_t index, int64_t size, int64_t *out) {
  *out = index < 0 ? index + size : index;
  if (*out < 0 || *out >= size)
    FAIL(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld", (long long)index, (long long)size);
  return OK;
}

Status indices_fit(const Value *x, const Value *indices, int axis) {
  for (int i = 0; i < x->rank; i++)
    if (i != axis && dim_is_static(x->dims[i]) && dim_is_static(indices->dims[i]) && indices->dims[i] > x->dims[i])
      FAIL(ERROR_INVALID_MODEL, "axis %d of the indices has size %lld, that of the data %lld", i, (long long)indices->dims[i],
           (long long)x->dims[i]);
  return OK;
}

// ---- gather: y[before, indices..., after] = x[before, indices[...], after]

static Status infer_gather(Node *node) {
  Value *x, *indices;
  int axis;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_require_integer(node, 1, &indices));
  TRY(meaning_axis(node, "axis", x->rank, &axis));
  int rank = x->rank + indices->rank - 1;
  if (rank > MAX_RANK) FAIL(ERROR_INVALID_MODEL, "the result would have rank %d, more than %d", rank, MAX_RANK);
  Dim dims[MAX_RANK];
  int n = 0;
  for (int i = 0; i < axis; i++) dims[n++] = x->dims[i];
  for (int i = 0; i < indices->rank; i++) dims[n++] = indices->dims[i];
  for (int i = axis + 1; i < x->rank; i++) dims[n++] = x->dims[i];
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  return OK;
}

static Status reference_gather(Reference *r) {
  const Tensor *x = r->inputs[0];
  int axis = (int)node_int(r->node, "axis", 0), n = 0;
  const int64_t *indices;
  int64_t dims[MAX_RANK], count = tensor_count(r->inputs[1]);
  AxisView view = axis_view(x->rank, x->dims, axis);
  for (int i = 0; i < axis; i++) dims[n++] = x->dims[i];
  for (int i = 0; i < r->inputs[1]->rank; i++) dims[n++] = r->inputs[1]->dims[i];
  for (int i = axis + 1; i < x->rank; i++) dims[n++] = x->dims[i];
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, n, dims, &out));
  TRY(reference_ints(r, r->inputs[1], &indices));
  int64_t at;
  for (int64_t i = 0; i < count; i++) TRY(wrap_index(r, indices[i], view.size, &at));
  size_t bytes = dtype_size(x->dtype) * (size_t)view.inner;
  char *to = out->data;
  for (int64_t o = 0; o < view.outer; o++)
    for (int64_t i = 0; i < count; i++, to += bytes) {
      budget_step(bytes / 8 + 8);
      TRY(wrap_index(r, indices[i], view.size, &at));
      if (bytes) memcpy(to, (const char *)x->data + (size_t)(o * view.size + at) * bytes, bytes);
    }
  return OK;
}

int indexed_axis(const Node *node, int *axes) {
  axes[0] = (int)node_int(node, "axis", 0);
  return 1;
}

int coordinate_axes(const Node *node, int *axes) {
  const Value *x = node->inputs[0], *indices = node->inputs[1];
  int batch = (int)node_int(node, "batch_dims", 0);
  if (x->rank < 0 || indices->rank < 1 || !dim_is_static(indices->dims[indices->rank - 1])) return 0;
  int depth = (int)MIN(indices->dims[indices->rank - 1], (Dim)(x->rank - batch));
  for (int k = 0; k < depth; k++) axes[k] = batch + k;
  return MAX(depth, 0);
}

const OpDef op_gather = {
    .name = "gather",
    .help = "slices of x along an axis, chosen by indices",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, true}, {0}},
    .infer = infer_gather,
    .reference = reference_gather,
    .index_operand = 1,
    .indexed_axes = indexed_axis,
};

// ---- gather_elements: y[i] = x[i with its axis coordinate replaced by indices[i]]

static Status infer_gather_elements(Node *node) {
  Value *x, *indices;
  int axis;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_require_integer(node, 1, &indices));
  TRY(meaning_axis(node, "axis", x->rank, &axis));
  if (indices->rank != x->rank) FAIL(ERROR_INVALID_MODEL, "indices of rank %d for a tensor of rank %d", indices->rank, x->rank);
  TRY(indices_fit(x, indices, axis));
  value_set_type(node->outputs[0], x->dtype, indices->rank, indices->dims);
  return OK;
}

static Status reference_gather_elements(Reference *r) {
  const Tensor *x = r->inputs[0], *indices = r->inputs[1];
  int axis = (int)node_int(r->node, "axis", 0);
  size_t size = dtype_size(x->dtype);
  int64_t strides[MAX_RANK], index[MAX_RANK] = {0}, n = 0;
  const int64_t *values;
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, indices->rank, indices->dims, &out));
  TRY(reference_ints(r, indices, &values));
  if (tensor_count(out) == 0) return OK;
  dims_strides(x->rank, x->dims, strides);
  for (int i = 0; i < x->rank; i++)
    if (i != axis && indices->dims[i] > x->dims[i]) FAIL(ERROR_INVALID_MODEL, "axis %d of the indices is larger than x's", i);
  do {
    int64_t at, offset = 0;
    TRY(wrap_index(r, values[n], x->dims[axis], &at));
    for (int i = 0; i < x->rank; i++) offset += (i == axis ? at : index[i]) * strides[i];
    memcpy((char *)out->data + (size_t)n * size, (const char *)x->data + (size_t)offset * size, size);
    n++;
  } while (index_next(indices->rank, indices->dims, index));
  return OK;
}

const OpDef op_gather_elements = {
    .name = "gather_elements",
    .help = "elements of x chosen along an axis by an index for each",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, true}, {0}},
    .infer = infer_gather_elements,
    .reference = reference_gather_elements,
    .index_operand = 1,
    .indexed_axes = indexed_axis,
};

// ---- gather_nd: the last axis of indices holds coordinates

static Status infer_gather_nd(Node *node) {
  Value *x, *indices;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_require_integer(node, 1, &indices));
  int64_t batch = node_int(node, "batch_dims", 0);
  if (indices->rank < 1 || batch < 0 || batch >= x->rank || batch >= indices->rank)
    FAIL(ERROR_INVALID_MODEL, "batch_dims %lld with ranks %d and %d", (long long)batch, x->rank, indices->rank);
  Dim depth = indices->dims[indices->rank - 1];
  if (!dim_is_static(depth) || depth < 1 || depth > x->rank - batch)
    FAIL(ERROR_INVALID_MODEL, "the last axis of the indices must have a known size of 1 to %d", x->rank - (int)batch);
  int rank = indices->rank - 1 + x->rank - (int)batch - (int)depth;
  if (rank > MAX_RANK) FAIL(ERROR_INVALID_MODEL, "the result would have rank %d, more than %d", rank, MAX_RANK);
  Dim dims[MAX_RANK];
  int n = 0;
  for (int i = 0; i < batch; i++) TRY(meaning_same_dim(node, "a batch axis", x->dims[i], indices->dims[i], &dims[n++]));
  for (int i = (int)batch; i < indices->rank - 1; i++) dims[n++] = indices->dims[i];
  for (int i = (int)(batch + depth); i < x->rank; i++) dims[n++] = x->dims[i];
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  return OK;
}

static Status reference_gather_nd(Reference *r) {
  const Tensor *x = r->inputs[0], *indices = r->inputs[1];
  int batch = (int)node_int(r->node, "batch_dims", 0), depth = (int)indices->dims[indices->rank - 1], n = 0;
  if (depth > x->rank - batch) FAIL(ERROR_INVALID_MODEL, "coordinates of %d values for %d axes", depth, x->rank - batch);
  int64_t dims[MAX_RANK], strides[MAX_RANK];
  const int64_t *values;
  for (int i = 0; i < indices->rank - 1; i++) dims[n++] = indices->dims[i];
  for (int i = batch + depth; i < x->rank; i++) dims[n++] = x->dims[i];
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, n, dims, &out));
  TRY(reference_ints(r, indices, &values));
  dims_strides(x->rank, x->dims, strides);
  int64_t batches = dims_count(batch, x->dims), rows = dims_count(indices->rank - 1 - batch, indices->dims + batch);
  int64_t batch_size = dims_count(x->rank - batch, x->dims + batch);
  int64_t block = dims_count(x->rank - batch - depth, x->dims + batch + depth);
  size_t bytes = (size_t)block * dtype_size(x->dtype);
  char *to = out->data;
  for (int64_t i = 0; i < batches * rows; i++, to += bytes) {
    budget_step(bytes / 8 + 8);
    int64_t offset = i / rows * batch_size;
    for (int k = 0; k < depth; k++) {
      int64_t at;
      TRY(wrap_index(r, values[i * depth + k], x->dims[batch + k], &at));
      offset += at * strides[batch + k];
    }
    if (bytes) memcpy(to, (const char *)x->data + (size_t)offset * dtype_size(x->dtype), bytes);
  }
  return OK;
}

const OpDef op_gather_nd = {
    .name = "gather_nd",
    .help = "slices of x at coordinates",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"batch_dims", ATTR_INTS, false}, {0}},
    .infer = infer_gather_nd,
    .reference = reference_gather_nd,
    .index_operand = 1,
    .indexed_axes = coordinate_axes,
};
