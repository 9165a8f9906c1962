// concat: the inputs one after another along an axis.
#include <string.h>
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"

static Status infer_concat(Node *node) {
  Value *first, *value;
  int axis;
  TRY(meaning_require(node, 0, &first));
  TRY(meaning_axis(node, "axis", first->rank, &axis));
  Dim dims[MAX_RANK];
  memcpy(dims, first->dims, sizeof dims);
  for (int i = 1; i < node->input_count; i++) {
    TRY(meaning_require_rank(node, i, first->rank, &value));
    if (value->dtype != first->dtype)
      FAIL(ERROR_INVALID_MODEL, "input %d is %s, input 0 %s", i, dtype_name(value->dtype), dtype_name(first->dtype));
    for (int k = 0; k < first->rank; k++)
      if (k == axis) dims[k] = dim_add(node->graph->dims, dims[k], value->dims[k]);
      else TRY(meaning_same_dim(node, "an axis that is not joined", dims[k], value->dims[k], &dims[k]));
  }
  value_set_type(node->outputs[0], first->dtype, first->rank, dims);
  return OK;
}

static Status reference_concat(Reference *r) {
  const Tensor *first = r->inputs[0];
  int axis = (int)node_int(r->node, "axis", 0), count = r->node->input_count;
  int64_t dims[MAX_RANK];
  memcpy(dims, first->dims, sizeof dims);
  for (int i = 1; i < count; i++) {
    for (int k = 0; k < first->rank; k++)
      if (k != axis && r->inputs[i]->dims[k] != dims[k])
        FAIL(ERROR_INVALID_MODEL, "axis %d: sizes %lld and %lld differ", k, (long long)dims[k],
             (long long)r->inputs[i]->dims[k]);
    dims[axis] += r->inputs[i]->dims[axis];
  }
  Tensor *out;
  TRY(reference_output(r, 0, first->dtype, first->rank, dims, &out));
  AxisView view = axis_view(first->rank, dims, axis);
  size_t bytes = dtype_size(first->dtype) * (size_t)view.inner;
  char *to = out->data;
  for (int64_t o = 0; o < view.outer; o++)
    for (int i = 0; i < count; i++) {
      size_t part = (size_t)r->inputs[i]->dims[axis] * bytes;
      memcpy(to, (const char *)r->inputs[i]->data + (size_t)o * part, part);
      to += part;
    }
  return OK;
}

// The second goes on where the first ends. Where the first is of one element, if the second has any, its own step is no matter.
static bool index_form_of_concat(const Node *node, const IndexForm *inputs, IndexForm *out) {
  DimTable *table = node->graph->dims;
  int axis = (int)node_int(node, "axis", 0);
  if (node->input_count == 1) return *out = inputs[0], true;
  Dim size = node->inputs[0]->dims[axis], step = inputs[1].steps[axis];
  if (size == dim_make(table, DIM_MIN, node->inputs[1]->dims[axis], 1)) size = 1;
  else if (inputs[0].steps[axis] != step) return false;
  for (int i = 0; i < node->outputs[0]->rank; i++)
    if (i != axis && inputs[0].steps[i] != inputs[1].steps[i]) return false;
  *out = inputs[0];
  out->steps[axis] = step;
  return node->input_count == 2 && inputs[1].base == dim_add(table, inputs[0].base, dim_mul(table, step, size));
}

static bool permute_concat(const Node *node, const int64_t *perm, Node *out) {
  if (out) node_set_int(out, "axis", perm[node_int(node, "axis", 0)]);
  return true;
}

const OpDef op_concat = {
    .name = "concat",
    .help = "the inputs one after another along an axis",
    .min_inputs = 1,
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, true}, {0}},
    .infer = infer_concat,
    .reference = reference_concat,
    .permute = permute_concat,
    .index_form = index_form_of_concat,
    .image = IMAGE_FOLLOWS,
};
