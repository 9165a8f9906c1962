// Typing a graph that a node holds; see body.h. The symbols that stand for what iterations change are named "carried", which is how a
// later inference recognises and keeps them.
#include "kernels/control/body.h"
#include <string.h>

static const char carried[] = "carried";

static bool is_carried(const Node *node, Dim dim) {
  const DimTable *table = node->graph->dims;
  return !dim_is_static(dim) && dim_op(table, dim) == DIM_SYMBOL &&
         strncmp(dim_symbol_name(table, dim), carried, sizeof carried - 1) == 0;
}

Status body_read(const Node *node, const char *attribute, int input_count, Graph **out) {
  *out = node_graph(node, attribute);
  if (!*out) FAIL(ERROR_INVALID_MODEL, "'%s' is missing", attribute);
  if ((*out)->input_count != input_count)
    FAIL(ERROR_INVALID_MODEL, "'%s' takes %d inputs where %d are given", attribute, (*out)->input_count, input_count);
  return OK;
}

void body_set_type(Value *input, DType dtype, int rank, const Dim *dims, bool *changed) {
  bool same = input->dtype == dtype && input->rank == rank;
  for (int i = 0; same && i < rank; i++) same = input->dims[i] == dims[i];
  if (same) return;
  value_set_type(input, dtype, rank, dims);
  *changed = true;
}

void body_set_input(Value *input, const Value *like, bool *changed) {
  if (!like) return;
  if (input->kind != like->kind) *changed = true;
  input->kind = like->kind;
  body_set_type(input, like->dtype, like->rank, like->dims, changed);
}

Status body_infer(Graph *body) {
  FOR_NODES(node, body) TRY(node_infer(node));
  return OK;
}

// An entry type that still holds after an earlier inference generalised it: its carried dims stay, and so does a kind that changes.
static void enter_state(const Node *node, Value *input, const Value *initial, bool *changed) {
  Dim dims[MAX_RANK];
  if (input->kind == VALUE_OPTIONAL) return;
  bool known = input->rank == initial->rank && input->dtype == initial->dtype;
  for (int i = 0; i < initial->rank; i++)
    dims[i] = known && is_carried(node, input->dims[i]) ? input->dims[i] : initial->dims[i];
  if (input->kind != initial->kind) *changed = true;
  input->kind = initial->kind;
  if (input->rank < 0 && input->dtype == initial->dtype) return;  // a rank that is known to change stays unknown
  body_set_type(input, initial->dtype, initial->rank, dims, changed);
}

static Status generalise(const Node *node, Value *input, const Value *initial, const Value *result, bool *changed) {
  if (input->kind == VALUE_OPTIONAL) return OK;
  if (result->kind != input->kind) {
    input->kind = VALUE_OPTIONAL;
    *changed = true;
    body_set_type(input, DTYPE_COUNT, -1, NULL, changed);
    return OK;
  }
  if (input->kind == VALUE_SEQUENCE) return OK;
  if (result->dtype != input->dtype && input->dtype < DTYPE_COUNT && result->dtype < DTYPE_COUNT)
    FAIL(ERROR_INVALID_MODEL, "state '%s' is %s, and %s after an iteration", input->name, dtype_name(input->dtype),
         dtype_name(result->dtype));
  if (input->rank < 0) return OK;
  // A result whose rank only the run knows is taken to keep it: the body was built for that rank.
  bool guessed = result->rank < 0;
  if (!guessed && result->rank != input->rank) {
    body_set_type(input, input->dtype, -1, NULL, changed);
    return OK;
  }
  Dim dims[MAX_RANK];
  for (int i = 0; i < input->rank; i++) {
    bool generalised = is_carried(node, input->dims[i]) && input->dims[i] != initial->dims[i];
    bool stays = generalised || (!guessed && input->dims[i] == result->dims[i]);
    dims[i] = stays ? input->dims[i] : dim_fresh(node->graph->dims, carried);
  }
  body_set_type(input, input->dtype, input->rank, dims, changed);
  return OK;
}

Dim body_own_dim(const Node *node, int output, int axis) {
  const Value *value = node->outputs[output];
  if (axis < value->rank && is_carried(node, value->dims[axis])) return value->dims[axis];
  return dim_fresh(node->graph->dims, carried);
}

static void type_final_state(Node *node, int output, const Value *initial, const Value *input, const Value *result) {
  Value *value = node->outputs[output];
  Dim dims[MAX_RANK];
  value->kind = input->kind;
  DType dtype = input->dtype < DTYPE_COUNT ? input->dtype : result->dtype;
  if (input->rank < 0 || initial->rank < 0 || result->rank < 0) {
    value_set_type(value, dtype, -1, NULL);
    return;
  }
  for (int i = 0; i < input->rank; i++) {
    bool kept = input->dims[i] == initial->dims[i];
    dims[i] = kept ? initial->dims[i] : body_own_dim(node, output, i);
  }
  value_set_type(value, dtype, input->rank, dims);
}

Status body_infer_states(Node *node, Graph *body, BodyStates states, bool changed) {
  for (int i = 0; i < states.count; i++) {
    const Value *initial = meaning_input(node, states.first + i);
    if (!initial) FAIL(ERROR_INVALID_MODEL, "state %d is missing", i);
    enter_state(node, body->inputs[states.in + i], initial, &changed);
  }
  if (changed) TRY(body_infer(body));
  // Every round turns a dim or a rank into an unknown one, so the rounds end.
  do {
    changed = false;
    for (int i = 0; i < states.count; i++)
      TRY(generalise(node, body->inputs[states.in + i], meaning_input(node, states.first + i), body->outputs[states.out + i],
                     &changed));
    if (changed) TRY(body_infer(body));
  } while (changed);
  for (int i = 0; i < states.count; i++)
    type_final_state(node, i, meaning_input(node, states.first + i), body->inputs[states.in + i],
                     body->outputs[states.out + i]);
  return OK;
}

static bool contains(const DimTable *table, Dim dim, Dim symbol) {
  if (dim == symbol) return true;
  if (dim_is_static(dim) || dim_op(table, dim) == DIM_SYMBOL || dim_op(table, dim) == DIM_CONSTANT) return false;
  return contains(table, dim_operand(table, dim, 0), symbol) || contains(table, dim_operand(table, dim, 1), symbol);
}

static bool value_mentions(const DimTable *table, const Value *value, Dim symbol) {
  for (int i = 0; i < value->rank; i++)
    if (contains(table, value->dims[i], symbol)) return true;
  return false;
}

// All symbols of the dim occur in the types of the node's inputs or its graph's inputs.
static bool is_outer(const Node *node, Dim dim) {
  const DimTable *table = node->graph->dims;
  if (dim_is_static(dim) || dim_op(table, dim) == DIM_CONSTANT) return true;
  if (dim_op(table, dim) != DIM_SYMBOL)
    return is_outer(node, dim_operand(table, dim, 0)) && is_outer(node, dim_operand(table, dim, 1));
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && value_mentions(table, node->inputs[i], dim)) return true;
  for (int i = 0; i < node->graph->input_count; i++)
    if (value_mentions(table, node->graph->inputs[i], dim)) return true;
  return false;
}

Dim body_outer_dim(const Node *node, Dim dim, int output, int axis) {
  return is_outer(node, dim) ? dim : body_own_dim(node, output, axis);
}
