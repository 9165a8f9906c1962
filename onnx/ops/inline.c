// Graphs of a node copied into the graph around it.
#include "onnx/ops/common.h"

typedef struct Inlining {
  Graph *into;
  Value **map;  // by id in the body
  struct {
    Dim from, to;
  } * symbols;
  uint32_t count, capacity;
} Inlining;

static Dim substitute(const Inlining *in, Dim dim) {
  DimTable *table = in->into->dims;
  int64_t value;
  if (dim_get_constant(table, dim, &value)) return dim;
  for (uint32_t i = 0; i < in->count; i++)
    if (in->symbols[i].from == dim) return in->symbols[i].to;
  if (dim_op(table, dim) == DIM_SYMBOL) return dim;
  Dim a = substitute(in, dim_operand(table, dim, 0)), b = substitute(in, dim_operand(table, dim, 1));
  return dim_make(table, dim_op(table, dim), a, b);
}

static void learn_symbols(Inlining *in, const Value *formal, const Value *actual) {
  for (int i = 0; i < formal->rank && formal->rank == actual->rank; i++) {
    int64_t value;
    if (dim_get_constant(in->into->dims, formal->dims[i], &value) || formal->dims[i] == actual->dims[i]) continue;
    if (dim_op(in->into->dims, formal->dims[i]) != DIM_SYMBOL) continue;
    uint32_t last = in->count;
    ARENA_PUSH(in->into->arena, in->symbols, in->count, in->capacity);
    in->symbols[last].from = formal->dims[i];
    in->symbols[last].to = actual->dims[i];
  }
}

static Value *value_in(Inlining *in, Value *value) {
  if (!value) return NULL;
  Value **slot = &in->map[value->id];
  if (!*slot && value->constant) *slot = graph_add_constant(in->into, value->name, value->constant);
  return *slot;
}

static Status copy_node(Inlining *in, const Node *node, Node *at) {
  for (int i = 0; i < node->input_count; i++) value_in(in, node->inputs[i]);
  Node *copy = node_copy(in->into, node, in->map);
  if (at) node_move_before(copy, at);
  for (int i = 0; i < node->output_count; i++) in->map[node->outputs[i]->id] = copy->outputs[i];
  if (in->count == 0) return OK;
  for (int i = 0; i < copy->attribute_count; i++) {
    Attribute attribute = copy->attributes[i];
    if (attribute.kind != ATTR_DIMS) continue;
    Dim *dims = arena_array(in->into->arena, Dim, (size_t)attribute.count + 1);
    for (int k = 0; k < attribute.count; k++) dims[k] = substitute(in, attribute.dims[k]);
    node_set_dims(copy, attribute.name, dims, attribute.count);
  }
  return node_infer(copy);
}

Status translate_inline(Translation *t, Graph *body, Value *const *arguments, Value **results) {
  Inlining in = {.into = t->graph, .map = arena_array(t->graph->arena, Value *, (size_t)body->next_value_id + 1)};
  for (int i = 0; i < body->input_count; i++) {
    in.map[body->inputs[i]->id] = arguments[i];
    learn_symbols(&in, body->inputs[i], arguments[i]);
  }
  FOR_NODES(node, body) TRY(copy_node(&in, node, t->at));
  for (int i = 0; i < body->output_count; i++) results[i] = value_in(&in, body->outputs[i]);
  return OK;
}
