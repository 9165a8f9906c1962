// Sizes that show only when a node has run are symbols which that node introduces. Others may speak of them in their attributes
// without reading the node's results: then it must run all the same, or nobody could say how large they are.
#include "ir/op.h"

void node_note_symbols(const Node *node, StringMap *names) {
  for (int i = 0; i < node->attribute_count; i++) {
    const Attribute *attribute = &node->attributes[i];
    if (attribute->kind == ATTR_GRAPH) FOR_NODES(inside, attribute->graph) node_note_symbols(inside, names);
    for (int k = 0; attribute->kind == ATTR_DIMS && k < attribute->count; k++)
      dim_note_symbols(node->graph->dims, attribute->dims[k], names);
  }
}

StringMap *graph_attribute_symbols(const Graph *graph, Arena *arena) {
  StringMap *names = string_map_new(arena);
  FOR_NODES(node, graph) node_note_symbols(node, names);
  return names;
}

static void forget_symbols(const Graph *graph, const Dim *dims, int count, StringMap *names) {
  for (int i = 0; i < count; i++)
    if (dim_is_symbol(graph->dims, dims[i])) string_map_set(names, dim_symbol_name(graph->dims, dims[i]), NULL);
}

StringMap *graph_late_symbols(const Graph *graph, Arena *arena) {
  StringMap *names = graph_attribute_symbols(graph, arena);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    forget_symbols(graph, value->dims, value->rank, names);
    forget_symbols(graph, value->contents, value->contents_count, names);
  }
  return names;
}

bool value_shows_symbol(const Value *value, const StringMap *names) {
  for (int k = 0; k < value->rank; k++) {
    Dim dim = value->dims[k];
    if (dim_is_static(dim) || dim_op(value->graph->dims, dim) != DIM_SYMBOL) continue;
    if (string_map_get(names, dim_symbol_name(value->graph->dims, dim))) return true;
  }
  return false;
}

// Bodies that the node computes itself count, those that are run for it may have what they speak of from the node.
static bool speaks_of(const Node *node, Dim dim) {
  for (int i = 0; i < node->attribute_count; i++) {
    const Attribute *attribute = &node->attributes[i];
    for (int k = 0; attribute->kind == ATTR_DIMS && k < attribute->count; k++)
      if (attribute->dims[k] == dim) return true;
    if (attribute->kind == ATTR_GRAPH && node->op->reference)
      FOR_NODES(inside, attribute->graph) if (speaks_of(inside, dim)) return true;
  }
  return false;
}

bool node_introduces_symbol(const Node *node, const StringMap *names) {
  for (int o = 0; o < node->output_count; o++) {
    const Value *output = node->outputs[o];
    for (int k = 0; k < output->rank; k++) {
      Dim dim = output->dims[k];
      if (dim_is_static(dim) || dim_op(node->graph->dims, dim) != DIM_SYMBOL) continue;
      if (!string_map_get(names, dim_symbol_name(node->graph->dims, dim))) continue;
      bool taken_over = false;
      for (int i = 0; i < node->input_count && !taken_over; i++)
        for (int j = 0; node->inputs[i] && j < node->inputs[i]->rank; j++) taken_over |= node->inputs[i]->dims[j] == dim;
      if (!taken_over && !speaks_of(node, dim)) return true;
    }
  }
  return false;
}

// From the end, so that whole chains go in one walk.
int graph_remove_unused(Graph *graph) {
  Arena *scratch = arena_scratch();
  const StringMap *symbols = graph_late_symbols(graph, scratch);
  int removed = 0;
  for (Node *node = graph->last, *previous; node; node = previous) {
    previous = node->previous;
    bool used = false;
    for (int i = 0; i < node->output_count; i++) used |= value_use_count(node->outputs[i]) > 0;
    if (used || node_introduces_symbol(node, symbols)) continue;
    node_remove(node);
    removed++;
  }
  arena_free(scratch);
  return removed;
}
