// scan: a graph run over the slices of its scan inputs, with carried states; what it yields is stacked. Axes are those of the
// stacked tensors, normalised; a direction of 1 runs from the end.
#include "kernels/control/body.h"
#include "kernels/control/control.h"

static int64_t axis_of(const Node *node, const char *name, int index) {
  int count;
  const int64_t *axes = node_ints(node, name, &count);
  return axes && index < count ? axes[index] : 0;
}

static Status enter_slice(const Node *node, int index, const Value *scanned, Value *input, Dim *length, bool *changed) {
  int64_t axis = axis_of(node, "input_axes", index);
  Dim dims[MAX_RANK];
  int rank = 0;
  if (axis < 0 || axis >= scanned->rank)
    FAIL(ERROR_INVALID_MODEL, "scan input %d has rank %d, its axis is %lld", index, scanned->rank, (long long)axis);
  for (int i = 0; i < scanned->rank; i++)
    if (i != axis) dims[rank++] = scanned->dims[i];
  if (index == 0) *length = scanned->dims[axis];
  else TRY(meaning_same_dim(node, "scanned axes", *length, scanned->dims[axis], length));
  body_set_type(input, scanned->dtype, rank, dims, changed);
  return OK;
}

static Status type_output(Node *node, int output, int index, const Value *slice, Dim length) {
  if (slice->rank < 0) {
    value_set_type(node->outputs[output], slice->dtype, -1, NULL);
    return OK;
  }
  int64_t axis = axis_of(node, "output_axes", index);
  if (slice->rank == MAX_RANK) FAIL(ERROR_UNSUPPORTED, "scan output %d would have rank %d", index, MAX_RANK + 1);
  if (axis < 0 || axis > slice->rank)
    FAIL(ERROR_INVALID_MODEL, "scan output %d has rank %d, its axis is %lld", index, slice->rank + 1, (long long)axis);
  Dim dims[MAX_RANK];
  for (int i = 0, from = 0; i <= slice->rank; i++)
    dims[i] = i == axis ? length : body_outer_dim(node, slice->dims[from++], output, i);
  value_set_type(node->outputs[output], slice->dtype, slice->rank + 1, dims);
  return OK;
}

static Status infer_scan(Node *node) {
  int states = (int)node_int(node, "states", 0), scanned = (int)node_int(node, "scan_inputs", 0);
  int inputs = node->input_count;
  Graph *body;
  bool changed = false;
  Dim length = 0;
  if (states < 0 || scanned < 1 || states > inputs || scanned > inputs - states)
    FAIL(ERROR_INVALID_MODEL, "%d inputs: %d states and %d scan inputs", inputs, states, scanned);
  TRY(body_read(node, "body", inputs, &body));
  if (body->output_count != node->output_count || node->output_count < states)
    FAIL(ERROR_INVALID_MODEL, "the body has %d outputs, the node %d", body->output_count, node->output_count);
  for (int i = 0; i < scanned; i++) {
    Value *value;
    TRY(meaning_require(node, states + i, &value));
    TRY(enter_slice(node, i, value, body->inputs[states + i], &length, &changed));
  }
  for (int i = states + scanned; i < inputs; i++) body_set_input(body->inputs[i], meaning_input(node, i), &changed);
  TRY(body_infer_states(node, body, (BodyStates){.count = states}, changed));
  for (int i = states; i < node->output_count; i++) TRY(type_output(node, i, i - states, body->outputs[i], length));
  return OK;
}

const OpDef op_scan = {
    .name = "scan",
    .help = "a graph run over slices, with carried states and stacked outputs",
    .min_inputs = 1,
    .max_inputs = -1,
    .min_outputs = 0,
    .max_outputs = -1,
    .attributes = (const AttributeSpec[]){{"body", ATTR_GRAPH, true},
                                          {"states", ATTR_INTS, true},
                                          {"scan_inputs", ATTR_INTS, true},
                                          {"input_axes", ATTR_INTS, false},
                                          {"input_directions", ATTR_INTS, false},
                                          {"output_axes", ATTR_INTS, false},
                                          {"output_directions", ATTR_INTS, false},
                                          {0}},
    .infer = infer_scan,
    .is_control = true,
    .exact_values = true,
};
