// See inline.h. The replacement of symbols is simultaneous: a size of an argument may speak of a symbol that the body uses for
// something else.
#include "kernels/control/inline.h"

#include "kernels/control/control.h"

typedef struct Inlining {
  Graph *into;
  Value **map;   // by id in the body
  IntMap *dims;  // symbol -> Dim, boxed
  IntMap *done;  // the same of what was substituted in: sizes share their parts
  int count;
  bool take;
} Inlining;

static bool is_symbol(const Inlining *in, Dim dim) { return !dim_is_static(dim) && dim_op(in->into->dims, dim) == DIM_SYMBOL; }

static void replace_symbol(Inlining *in, Dim symbol, Dim by) {
  if (int_map_get(in->dims, (uint64_t)symbol)) return;
  int_map_set(in->dims, (uint64_t)symbol, arena_copy(in->into->arena, &by, sizeof by));
  in->count += symbol != by;
}

static Dim substitute(const Inlining *in, Dim dim) {
  DimTable *table = in->into->dims;
  int64_t value;
  if (dim_get_constant(table, dim, &value)) return dim;
  if (dim_op(table, dim) == DIM_SYMBOL) {
    const Dim *by = int_map_get(in->dims, (uint64_t)dim);
    return by ? *by : dim;
  }
  const Dim *known = int_map_get(in->done, (uint64_t)dim);
  if (known) return *known;
  Dim a = substitute(in, dim_operand(table, dim, 0)), b = substitute(in, dim_operand(table, dim, 1));
  Dim made = dim_make(table, dim_op(table, dim), a, b);
  int_map_set(in->done, (uint64_t)dim, arena_copy(in->into->arena, &made, sizeof made));
  return made;
}

static const Dim *substitute_all(const Inlining *in, const Dim *dims, int count) {
  Dim *out = arena_array(in->into->arena, Dim, (size_t)count + 1);
  for (int i = 0; i < count; i++) out[i] = substitute(in, dims[i]);
  return out;
}

static void note_argument(Inlining *in, const Value *formal, const Value *actual) {
  for (int i = 0; i < formal->rank; i++)
    if (is_symbol(in, formal->dims[i]))
      replace_symbol(in, formal->dims[i], actual && actual->rank == formal->rank ? actual->dims[i] : formal->dims[i]);
}

static bool is_size_of_input(const Node *node, Dim dim) {
  for (int i = 0; i < node->input_count; i++)
    for (int k = 0; node->inputs[i] && k < node->inputs[i]->rank; k++)
      if (node->inputs[i]->dims[k] == dim) return true;
  return false;
}

static void note_own_sizes(Inlining *in, const Node *node) {
  bool gives = node->op->data_dependent || node->op->is_control;
  for (int i = 0; gives && i < node->output_count; i++)
    for (int k = 0; k < node->outputs[i]->rank; k++) {
      Dim dim = node->outputs[i]->dims[k];
      if (is_symbol(in, dim) && !is_size_of_input(node, dim) && !int_map_get(in->dims, (uint64_t)dim))
        replace_symbol(in, dim, dim_fresh(in->into->dims, "own"));
    }
}

static void replace_in_value(const Inlining *in, Value *value) {
  if (value->constant) return;
  for (int i = 0; i < value->rank; i++) value->dims[i] = substitute(in, value->dims[i]);
  if (value->contents) value->contents = substitute_all(in, value->contents, value->contents_count);
}

static void replace_in_node(const Inlining *in, Node *node) {
  for (int i = 0; i < node->output_count; i++) replace_in_value(in, node->outputs[i]);
  for (int i = 0; i < node->attribute_count; i++) {
    Attribute *attribute = &node->attributes[i];
    if (attribute->kind == ATTR_DIMS) attribute->dims = substitute_all(in, attribute->dims, attribute->count);
    if (attribute->kind != ATTR_GRAPH) continue;
    for (int k = 0; k < attribute->graph->input_count; k++) replace_in_value(in, attribute->graph->inputs[k]);
    FOR_NODES(inner, attribute->graph) replace_in_node(in, inner);
  }
}

static Value *value_in(Inlining *in, Value *value) {
  if (!value) return NULL;
  Value **slot = &in->map[value->id];
  if (!*slot && value->constant) *slot = graph_add_constant(in->into, value->name, value->constant);
  return *slot;
}

static void copy_node(Inlining *in, const Node *node, Node *at) {
  for (int i = 0; i < node->input_count; i++) value_in(in, node->inputs[i]);
  Node *copy = in->take ? node_take(in->into, node, in->map) : node_copy(in->into, node, in->map);
  if (at) node_move_before(copy, at);
  for (int i = 0; i < node->output_count; i++) in->map[node->outputs[i]->id] = copy->outputs[i];
  if (in->count) replace_in_node(in, copy);
}

void inline_graph(Graph *into, Node *at, const Graph *body, bool take, Value *const *arguments, Value **results) {
  Inlining in = {.into = into,
                 .take = take,
                 .done = int_map_new(into->arena),
                 .map = arena_array(into->arena, Value *, (size_t)body->next_value_id + 1),
                 .dims = int_map_new(into->arena)};
  for (int i = 0; i < body->input_count; i++) {
    in.map[body->inputs[i]->id] = arguments[i];
    note_argument(&in, body->inputs[i], arguments[i]);
  }
  FOR_NODES(node, body) note_own_sizes(&in, node);
  FOR_NODES(node, body) copy_node(&in, node, at);
  for (int i = 0; i < body->output_count; i++) results[i] = value_in(&in, body->outputs[i]);
}
