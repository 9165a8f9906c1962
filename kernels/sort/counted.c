// counted: of a flat result with room to spare its first elements, as rows or columns of `width`, so many as a run has counted. axis: that along which they are counted.
// The host reads the count, and who reads the rest finds it where it is.
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/sort/reserved.h"
#include "kernels/sort/sort.h"

Status reserved_output(Reference *r, const int64_t *values, int64_t filled, int64_t room, int64_t count) {
  Tensor *out, *counted;
  TRY(reference_output(r, 0, DTYPE_I64, 1, &room, &out));
  TRY(reference_output(r, 1, DTYPE_I64, 1, (int64_t[]){1}, &counted));
  if (filled) memcpy(out->data, values, (size_t)filled * sizeof *values);
  if (room > filled) memset((int64_t *)out->data + filled, 0, (size_t)(room - filled) * sizeof *values);
  tensor_set_i(counted, 0, count);
  return OK;
}

static Status infer_counted(Node *node) {
  Value *x, *count;
  int axis;
  TRY(meaning_require_rank(node, 0, 1, &x));
  TRY(meaning_require_integer(node, 1, &count));
  TRY(meaning_axis(node, "axis", 2, &axis));
  Dim dims[2], width = meaning_const(node, node_int(node, "width", 0));
  dims[axis] = meaning_data_dim(node, 0, x->dtype, 2, axis, "counted");
  dims[1 - axis] = width;
  value_set_type(node->outputs[0], x->dtype, 2, dims);
  return OK;
}

Status counted_dims(const Node *node, int64_t room, int64_t count, int64_t dims[2]) {
  int64_t width = node_int(node, "width", 0), axis = node_int(node, "axis", 0), elements;
  if (count < 0 || !checked_mul_i64(count, width, &elements) || elements > room)
    FAIL(ERROR_INTERNAL, "%lld counted where there is room for %lld", (long long)count, (long long)room);
  dims[axis] = count;
  dims[1 - axis] = width;
  return OK;
}

static Status reference_counted(Reference *r) {
  const Tensor *x = r->inputs[0];
  int64_t dims[2];
  TRY(counted_dims(r->node, tensor_count(x), tensor_get_i(r->inputs[1], 0), dims));
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, 2, dims, &out));
  if (tensor_bytes(out)) memcpy(out->data, x->data, tensor_bytes(out));
  return OK;
}

const OpDef op_counted = {
    .name = "counted",
    .help = "of a result with room to spare the part that there is",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"width", ATTR_INTS, true}, {"axis", ATTR_INTS, true}, {0}},
    .infer = infer_counted,
    .reference = reference_counted,
    .data_dependent = true,
};

Value *counted_of(Builder *b, Value *room, int64_t width, int axis) {
  if (!room) return NULL;
  Node *node = graph_add(b->graph, b->at, &op_counted, 2, room->producer->outputs, 1);
  node_set_int(node, "width", width);
  node_set_int(node, "axis", axis);
  return build_finish(b, node);
}
