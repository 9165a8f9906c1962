// See open_rest.h.
#include "lower/open_rest.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "ir/op.h"

OpenRest open_rest_new(FromSizes *from, const ReadSymbols *reads, Arena *arena) {
  return (OpenRest){.from = from, .reads = reads, .made = int_map_new(arena)};
}

bool open_rest_holds_graphs(const Node *node) {
  bool holds = false;
  for (int i = 0; i < node->attribute_count; i++) {
    const Attribute *attribute = &node->attributes[i];
    if (attribute->kind != ATTR_GRAPH) continue;
    holds |= node->op != &op_region && node->op != &op_if;
    FOR_NODES(inside, attribute->graph) holds |= open_rest_holds_graphs(inside);
  }
  return holds;
}

bool open_rest_takes_action(const OpenRest *open, const Node *node) {
  bool takes = true;
  for (int i = 0; i < node->attribute_count; i++) takes &= !node->attributes[i].open;
  for (int i = 0; i < node->input_count; i++)
    takes &= !node->inputs[i] || !int_map_get(open->from->values, node->inputs[i]->id);
  return takes;
}

void open_rest_follow(OpenRest *open, Value *const *copies) {
  for (uint32_t i = 0; i < open->from->count; i++) {
    const MadeConstants *made = &open->from->list[i];
    for (int k = 0; k < made->node->output_count; k++)
      if (copies[made->constants[k]->id]) made->constants[k] = copies[made->constants[k]->id];
  }
}

// ---- back to what the model says ----------------------------------------------------------------------------------------------

static void open_value(Value *value) {
  if (value->open) memcpy(value->dims, value->open, (size_t)value->rank * sizeof *value->dims);
  value->open = NULL;
  graph_set_contents(value, NULL, 0);
}

static void open_body(const Graph *body) {
  for (int i = 0; i < body->input_count; i++) open_value(body->inputs[i]);
  FOR_NODES(node, body) open_rest_node(node);
}

void open_rest_node(Node *copy) {
  for (int i = 0; i < copy->output_count; i++) open_value(copy->outputs[i]);
  for (int i = 0; i < copy->attribute_count; i++) {
    Attribute *attribute = &copy->attributes[i];
    if (attribute->open) attribute->dims = attribute->open;
    attribute->open = NULL;
    if (attribute->kind == ATTR_GRAPH) open_body(attribute->graph);
  }
}

static Value *make_again(OpenRest *open, Graph *rest, const Value *value) {
  Value *made = int_map_get(open->made, value->id);
  if (made) return made;
  if (!value->producer) return graph_add_constant(rest, NULL, value->constant);
  const Node *node = value->producer;
  Value **map = arena_array(rest->arena, Value *, open->from->graph->next_value_id);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i]) map[node->inputs[i]->id] = make_again(open, rest, node->inputs[i]);
  Node *copy = node_copy(rest, node, map);
  open_rest_node(copy);
  for (int i = 0; i < node->output_count; i++) {
    copy->outputs[i]->constant = NULL;
    int_map_set(open->made, node->outputs[i]->id, copy->outputs[i]);
  }
  return int_map_get(open->made, value->id);
}

Value *open_rest_constant(OpenRest *open, Graph *rest, const Value *constant) {
  const Value *made = int_map_get(open->from->values, constant->id);
  return made ? make_again(open, rest, made) : NULL;
}

// ---- symbols -------------------------------------------------------------------------------------------------------------------

static void note_value(const Value *value, StringMap *names) {
  for (int i = 0; i < value->rank; i++) dim_note_symbols(value->graph->dims, value->dims[i], names);
}

static bool show(const DimTable *table, const Dim *dims, int count, StringMap *hidden) {
  bool shows = false;
  for (int i = 0; i < count; i++) {
    if (!dim_is_symbol(table, dims[i])) continue;
    const char *name = dim_symbol_name(table, dims[i]);
    shows |= string_map_get(hidden, name) != NULL;
    string_map_set(hidden, name, NULL);
  }
  return shows;
}

StringMap *open_rest_symbols(const Graph *rest, Arena *arena) {
  StringMap *names = graph_attribute_symbols(rest, arena);
  for (int i = 0; i < rest->input_count; i++) note_value(rest->inputs[i], names);
  for (int i = 0; i < rest->input_count; i++) show(rest->dims, rest->inputs[i]->dims, rest->inputs[i]->rank, names);
  return names;
}

bool open_rest_shows(const Value *value, StringMap *hidden) {
  const Dim *dims = value->open ? value->open : value->dims;
  return value->kind == VALUE_TENSOR && show(value->graph->dims, dims, value->rank, hidden);
}

static bool mentions(const DimTable *table, Dim dim, const StringMap *hidden) {
  if (dim_is_static(dim) || dim_op(table, dim) == DIM_CONSTANT) return false;
  if (dim_is_symbol(table, dim)) return string_map_get(hidden, dim_symbol_name(table, dim)) != NULL;
  return mentions(table, dim_operand(table, dim, 0), hidden) || mentions(table, dim_operand(table, dim, 1), hidden);
}

// The expression with those in the map, and in it, replaced.
static Dim renamed(DimTable *table, const IntMap *names, Dim dim) {
  const Dim *name = dim_is_static(dim) ? NULL : int_map_get(names, (uint64_t)dim);
  if (name) return *name;
  if (dim_is_static(dim) || dim_op(table, dim) == DIM_CONSTANT || dim_op(table, dim) == DIM_SYMBOL) return dim;
  Dim a = dim_operand(table, dim, 0), b = dim_operand(table, dim, 1);
  Dim new_a = renamed(table, names, a), new_b = renamed(table, names, b);
  return a == new_a && b == new_b ? dim : dim_make(table, dim_op(table, dim), new_a, new_b);
}

static void rename_value(const IntMap *names, Value *value) {
  for (int i = 0; i < value->rank; i++) value->dims[i] = renamed(value->graph->dims, names, value->dims[i]);
}

static void rename_all(const IntMap *names, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) rename_value(names, graph->inputs[i]);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->output_count; i++) rename_value(names, node->outputs[i]);
    for (int i = 0; i < node->attribute_count; i++) {
      Attribute *attribute = &node->attributes[i];
      if (attribute->kind == ATTR_GRAPH) rename_all(names, attribute->graph);
      if (attribute->kind != ATTR_DIMS) continue;
      Dim *dims = arena_copy(graph->arena, attribute->dims, (size_t)attribute->count * sizeof *dims);
      for (int k = 0; k < attribute->count; k++) dims[k] = renamed(graph->dims, names, dims[k]);
      attribute->dims = dims;
    }
  }
}

void open_rest_rename(Graph *rest, const StringMap *hidden, Arena *arena) {
  IntMap *names = int_map_new(arena);
  bool any = false;
  for (int i = 0; i < rest->input_count; i++)
    for (int k = 0; k < rest->inputs[i]->rank; k++) {
      Dim dim = rest->inputs[i]->dims[k];
      if (!mentions(rest->dims, dim, hidden) || int_map_get(names, (uint64_t)dim)) continue;
      Dim name = dim_fresh(rest->dims, "size");
      int_map_set(names, (uint64_t)dim, arena_copy(arena, &name, sizeof name));
      any = true;
    }
  if (any) rename_all(names, rest);
}

void open_rest_show_later(const Graph *rest, StringMap *hidden) {
  FOR_NODES(node, rest) {
    for (int i = 0; i < node->output_count && node_introduces_symbol(node, hidden); i++)
      open_rest_shows(node->outputs[i], hidden);
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) open_rest_show_later(node->attributes[i].graph, hidden);
  }
}

bool open_rest_reads(const OpenRest *open, int input, StringMap *hidden) {
  const DimTable *table = open->from->graph->dims;
  bool reads = false;
  for (uint32_t i = 0; i < open->reads->count; i++)
    if (open->reads->list[i].input == input) reads |= show(table, &open->reads->list[i].symbol, 1, hidden);
  return reads;
}

void open_rest_set_contents(const OpenRest *open, int input, Value *in_rest) {
  Dim contents[MAX_READ];
  int count = 0;
  for (uint32_t i = 0; i < open->reads->count; i++) {
    const ReadSymbol *read = &open->reads->list[i];
    if (read->input == input) contents[count++] = dim_import(in_rest->graph->dims, open->from->graph->dims, read->symbol);
  }
  graph_set_contents(in_rest, contents, count);
}

static bool node_mentions(const Node *node, const StringMap *hidden) {
  bool found = false;
  for (int i = 0; i < node->attribute_count; i++) {
    const Attribute *attribute = &node->attributes[i];
    for (int k = 0; attribute->kind == ATTR_DIMS && k < attribute->count; k++)
      found |= mentions(node->graph->dims, attribute->dims[k], hidden);
    if (attribute->kind == ATTR_GRAPH) FOR_NODES(inside, attribute->graph) found |= node_mentions(inside, hidden);
  }
  return found;
}

bool open_rest_says_all(const Graph *rest, const StringMap *hidden) {
  bool all = true;
  FOR_NODES(node, rest) all = all && !node_mentions(node, hidden);
  return all;
}
