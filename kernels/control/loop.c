// loop: a graph repeated a number of times, or while a condition holds, or both. What every iteration yields besides the states is
// stacked along a new first axis, whose size is the trip count where that is known beforehand.
#include "kernels/control/body.h"
#include "kernels/control/control.h"

static bool is_constant_true(const Value *value) {
  return value->constant && value->dtype == DTYPE_BOOL && tensor_count(value->constant) == 1 &&
         tensor_get_i(value->constant, 0) != 0;
}

// The trip count, where nothing can end the loop before it: false if it depends on data.
static bool known_trips(const Node *node, const Graph *body, Dim *out) {
  const Value *trips = meaning_input(node, 0), *condition = meaning_input(node, 1), *next = body->outputs[0];
  if (!trips || (condition && !is_constant_true(condition))) return false;
  if (next != body->inputs[1] && !is_constant_true(next)) return false;
  DimTable *table = node->graph->dims;
  if (trips->constant && tensor_count(trips->constant) == 1) *out = dim_constant(table, tensor_get_i(trips->constant, 0));
  else if (trips->contents && trips->contents_count == 1) *out = trips->contents[0];
  else return false;
  *out = dim_make(table, DIM_MAX, *out, dim_constant(table, 0));
  return true;
}

static Status type_scan_output(Node *node, int output, const Value *slice, Dim trips) {
  Value *value = node->outputs[output];
  if (slice->rank < 0) {
    value_set_type(value, slice->dtype, -1, NULL);
    return OK;
  }
  if (slice->rank == MAX_RANK) FAIL(ERROR_UNSUPPORTED, "stacked output %d would have rank %d", output, MAX_RANK + 1);
  Dim dims[MAX_RANK] = {trips};
  for (int i = 0; i < slice->rank; i++) dims[1 + i] = body_outer_dim(node, slice->dims[i], output, 1 + i);
  value_set_type(value, slice->dtype, slice->rank + 1, dims);
  return OK;
}

static Status infer_loop(Node *node) {
  int states = (int)node_int(node, "states", 0), inputs = node->input_count;
  Graph *body;
  bool changed = false;
  if (inputs < 2 || states < 0 || states > inputs - 2)
    FAIL(ERROR_INVALID_MODEL, "%d inputs, %d of them states", inputs, states);
  TRY(body_read(node, "body", inputs, &body));
  if (body->output_count != node->output_count + 1 || node->output_count < states)
    FAIL(ERROR_INVALID_MODEL, "the body has %d outputs, the node %d", body->output_count, node->output_count);
  body_set_type(body->inputs[0], DTYPE_I64, 0, NULL, &changed);
  body_set_type(body->inputs[1], DTYPE_BOOL, 0, NULL, &changed);
  for (int i = 2 + states; i < inputs; i++) body_set_input(body->inputs[i], meaning_input(node, i), &changed);
  TRY(body_infer_states(node, body, (BodyStates){.first = 2, .in = 2, .out = 1, .count = states}, changed));
  Dim trips;
  bool known = known_trips(node, body, &trips);
  for (int i = states; i < node->output_count; i++)
    TRY(type_scan_output(node, i, body->outputs[1 + i], known ? trips : body_own_dim(node, i, 0)));
  return OK;
}

const OpDef op_loop = {
    .name = "loop",
    .help = "a graph repeated, with carried states and stacked outputs",
    .min_inputs = 0,  // both of the first two may be absent
    .max_inputs = -1,
    .min_outputs = 0,
    .max_outputs = -1,
    .attributes = (const AttributeSpec[]){{"body", ATTR_GRAPH, true}, {"states", ATTR_INTS, true}, {0}},
    .infer = infer_loop,
    .is_control = true,
    .exact_values = true,
};
