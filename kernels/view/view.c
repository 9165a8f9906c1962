// Each view says where element i of its output lies in its input: an offset and a stride an axis. So one strided copy is
// the reference of them all, and an implementation that reads strides never runs it.
#include "kernels/view/view.h"
#include <string.h>
#include "kernels/meaning.h"

static Status infer_dims(Node *node) {
  int count;
  const Dim *values;
  TRY(meaning_dims(node, "values", INT32_MAX, &values, &count));
  int64_t size = count;
  value_set_static(node->outputs[0], DTYPE_I64, 1, &size);
  graph_set_contents(node->outputs[0], values, count);
  return OK;
}

static Status reference_of_dims(Reference *r) {
  int count;
  const Dim *values = node_dims(r->node, "values", &count);
  int64_t size = count;
  Tensor *out;
  TRY(reference_output(r, 0, DTYPE_I64, 1, &size, &out));
  for (int i = 0; i < count; i++)
    if (!dim_get_constant(r->node->graph->dims, values[i], &((int64_t *)out->data)[i]))
      FAIL(ERROR_INVALID_MODEL, "value %d is not known before the model runs", i);
  return OK;
}

const OpDef op_dims = {
    .name = "dims",
    .help = "shape arithmetic that the host computes",
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"values", ATTR_DIMS, true}, {0}},
    .infer = infer_dims,
    .reference = reference_of_dims,
};

static Status copy_view(Reference *r, int rank, const int64_t *dims, int64_t offset, const int64_t *strides) {
  const Tensor *x = r->inputs[0];
  size_t size = dtype_size(x->dtype);
  int64_t to_strides[MAX_RANK];
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, rank, dims, &out));
  dims_strides(rank, dims, to_strides);
  copy_block(size, rank, dims, out->data, to_strides, (const char *)x->data + offset * (int64_t)size, strides);
  return OK;
}

static Status read_perm(const Node *node, int rank, const int64_t **out) {
  int count;
  const int64_t *perm = node_ints(node, "perm", &count);
  if (count != rank) FAIL(ERROR_INVALID_MODEL, "'perm' has %d axes, the input %d", count, rank);
  unsigned seen = 0;
  for (int i = 0; i < rank; i++) {
    if (perm[i] < 0 || perm[i] >= rank || seen >> perm[i] & 1) FAIL(ERROR_INVALID_MODEL, "'perm' is no permutation");
    seen |= 1u << perm[i];
  }
  *out = perm;
  return OK;
}

static Status infer_transpose(Node *node) {
  Value *x;
  const int64_t *perm;
  Dim dims[MAX_RANK];
  TRY(meaning_require(node, 0, &x));
  TRY(read_perm(node, x->rank, &perm));
  for (int i = 0; i < x->rank; i++) dims[i] = x->dims[perm[i]];
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  return OK;
}

static Status reference_transpose(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *perm;
  int64_t dims[MAX_RANK], from[MAX_RANK], strides[MAX_RANK];
  TRY(read_perm(r->node, x->rank, &perm));
  dims_strides(x->rank, x->dims, from);
  for (int i = 0; i < x->rank; i++) {
    dims[i] = x->dims[perm[i]];
    strides[i] = from[perm[i]];
  }
  return copy_view(r, x->rank, dims, 0, strides);
}

static void view_of_transpose(const Node *node, ViewMap *out) {
  int rank;
  const int64_t *perm = node_ints(node, "perm", &rank);
  for (int i = 0; i < rank; i++) out->axes[i] = (ViewAxis){.source = (int)perm[i], .step = 1};
}

const OpDef op_transpose = {
    .name = "transpose",
    .help = "permutes axes: output axis i is input axis perm[i]",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"perm", ATTR_INTS, true}, {0}},
    .infer = infer_transpose,
    .reference = reference_transpose,
    .view = view_of_transpose,
};

static Status infer_reshape(Node *node) {
  Value *x;
  const Dim *dims;
  int rank;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_dims(node, "dims", MAX_RANK, &dims, &rank));
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  Dim before = value_count_dim(node->graph, x), after = value_count_dim(node->graph, node->outputs[0]);
  Dim same;
  return meaning_same_dim(node, "number of elements", before, after, &same);
}

static Status reference_reshape(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *dims;
  int rank;
  Tensor *out;
  TRY(reference_dims(r, "dims", &dims, &rank));
  if (dims_count(rank, dims) != tensor_count(x))
    FAIL(ERROR_INVALID_MODEL, "%lld elements cannot become %lld", (long long)tensor_count(x),
         (long long)dims_count(rank, dims));
  TRY(reference_output(r, 0, x->dtype, rank, dims, &out));
  if (tensor_bytes(out)) memcpy(out->data, x->data, tensor_bytes(out));
  return OK;
}

static void view_of_reshape(const Node *node, ViewMap *out) { out->regroups = true; }

const OpDef op_reshape = {
    .name = "reshape",
    .help = "row-major reinterpretation with other dims",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"dims", ATTR_DIMS, true}, {0}},
    .infer = infer_reshape,
    .reference = reference_reshape,
    .view = view_of_reshape,
};

static bool slice_fits(int64_t size, int64_t start, int64_t step, int64_t count) {
  int64_t last;
  return checked_mul_i64(count - 1, step, &last) && checked_add_i64(last, start, &last) && last >= 0 && last < size &&
         start < size;
}

static Status infer_slice(Node *node) {
  Value *x;
  const Dim *starts, *dims;
  int start_count, step_count, rank;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_dims(node, "starts", MAX_RANK, &starts, &start_count));
  TRY(meaning_dims(node, "dims", MAX_RANK, &dims, &rank));
  const int64_t *steps = node_ints(node, "steps", &step_count);
  if (rank != x->rank || start_count != rank || step_count != rank)
    FAIL(ERROR_INVALID_MODEL, "%d starts, %d steps and %d dims for a tensor of rank %d", start_count, step_count, rank,
         x->rank);
  for (int i = 0; i < rank; i++) {
    if (steps[i] == 0) FAIL(ERROR_INVALID_MODEL, "the step of axis %d is 0", i);
    if (!dim_is_static(starts[i]) || !dim_is_static(dims[i]) || !dim_is_static(x->dims[i]) || dims[i] == 0) continue;
    if (!slice_fits(x->dims[i], starts[i], steps[i], dims[i]))
      FAIL(ERROR_INVALID_MODEL, "axis %d of size %lld: %lld elements from %lld by %lld lie outside", i, (long long)x->dims[i],
           (long long)dims[i], (long long)starts[i], (long long)steps[i]);
  }
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  return OK;
}

static Status reference_slice(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *starts, *dims;
  int rank, start_count, step_count;
  int64_t from[MAX_RANK], strides[MAX_RANK], offset = 0;
  TRY(reference_dims(r, "starts", &starts, &start_count));
  TRY(reference_dims(r, "dims", &dims, &rank));
  const int64_t *steps = node_ints(r->node, "steps", &step_count);
  if (rank != x->rank || start_count != rank || step_count != rank) FAIL(ERROR_INVALID_MODEL, "ranks differ");
  dims_strides(rank, x->dims, from);
  for (int i = 0; i < rank; i++) {
    if (dims[i] > 0 && !slice_fits(x->dims[i], starts[i], steps[i], dims[i]))
      FAIL(ERROR_INVALID_MODEL, "axis %d of size %lld: %lld elements from %lld by %lld lie outside", i, (long long)x->dims[i],
           (long long)dims[i], (long long)starts[i], (long long)steps[i]);
    strides[i] = dims[i] > 0 ? steps[i] * from[i] : 0;
    offset += dims[i] > 0 ? starts[i] * from[i] : 0;
  }
  return copy_view(r, rank, dims, dims_count(rank, dims) ? offset : 0, strides);
}

static void view_of_slice(const Node *node, ViewMap *out) {
  int rank;
  const Dim *starts = node_dims(node, "starts", &rank);
  const int64_t *steps = node_ints(node, "steps", &rank);
  for (int i = 0; i < rank; i++) out->axes[i] = (ViewAxis){.source = i, .start = starts[i], .step = steps[i]};
}

static bool permute_slice(const Node *node, const int64_t *perm, Node *out) {
  int rank = node->outputs[0]->rank;
  if (!out) return true;
  meaning_permute_ints(node, "steps", perm, rank, out);
  meaning_permute_dims(node, "starts", perm, rank, 1, out);
  meaning_permute_dims(node, "dims", perm, rank, 1, out);
  return true;
}

const OpDef op_slice = {
    .name = "slice",
    .help = "y[i] = x[starts + i * steps]; negative steps flip",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes =
        (const AttributeSpec[]){{"starts", ATTR_DIMS, true}, {"steps", ATTR_INTS, true}, {"dims", ATTR_DIMS, true}, {0}},
    .infer = infer_slice,
    .reference = reference_slice,
    .view = view_of_slice,
    .permute = permute_slice,
};

static Status infer_expand(Node *node) {
  Value *x;
  const Dim *dims;
  int rank;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_dims(node, "dims", MAX_RANK, &dims, &rank));
  if (rank < x->rank) FAIL(ERROR_INVALID_MODEL, "rank %d cannot expand to %d", x->rank, rank);
  for (int i = 0; i < x->rank; i++) {
    Dim from = x->dims[i], to = dims[rank - x->rank + i];
    if (from != 1 && dim_is_static(from) && dim_is_static(to) && from != to)
      FAIL(ERROR_INVALID_MODEL, "size %lld cannot expand to %lld", (long long)from, (long long)to);
  }
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  return OK;
}

static Status reference_expand(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *dims;
  int rank;
  int64_t from[MAX_RANK], strides[MAX_RANK] = {0};
  TRY(reference_dims(r, "dims", &dims, &rank));
  if (rank < x->rank) FAIL(ERROR_INVALID_MODEL, "rank %d cannot expand to %d", x->rank, rank);
  dims_strides(x->rank, x->dims, from);
  for (int i = 0; i < x->rank; i++) {
    int axis = rank - x->rank + i;
    if (x->dims[i] != 1 && x->dims[i] != dims[axis])
      FAIL(ERROR_INVALID_MODEL, "size %lld cannot expand to %lld", (long long)x->dims[i], (long long)dims[axis]);
    strides[axis] = x->dims[i] == 1 ? 0 : from[i];
  }
  return copy_view(r, rank, dims, 0, strides);
}

static void view_of_expand(const Node *node, ViewMap *out) {
  const Value *x = node->inputs[0], *y = node->outputs[0];
  int lead = y->rank - x->rank;
  for (int i = 0; i < y->rank; i++) {
    bool same = i >= lead && x->dims[i - lead] == y->dims[i];
    out->axes[i] = (ViewAxis){.source = same ? i - lead : -1, .step = 1};
  }
}

const OpDef op_expand = {
    .name = "expand",
    .help = "numpy broadcast to exactly these dims",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"dims", ATTR_DIMS, true}, {0}},
    .infer = infer_expand,
    .reference = reference_expand,
    .view = view_of_expand,
};
