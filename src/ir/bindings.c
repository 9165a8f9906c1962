// See bindings.h.
#include "ir/bindings.h"

#include <string.h>

Bindings bindings_new(Graph *graph) { return (Bindings){.graph = graph, .dims = string_map_new(graph->arena)}; }

static const Dim *bound(const Bindings *bindings, Dim symbol) {
  return string_map_get(bindings->dims, dim_symbol_name(bindings->graph->dims, symbol));
}

Dim bindings_resolve(const Bindings *bindings, Dim dim) {
  DimTable *table = bindings->graph->dims;
  if (dim_is_static(dim) || !bindings->count) return dim;
  DimOp op = dim_op(table, dim);
  if (op == DIM_CONSTANT) return dim;
  if (op == DIM_SYMBOL) {
    const Dim *value = bound(bindings, dim);
    return value ? bindings_resolve(bindings, *value) : dim;
  }
  Dim a = dim_operand(table, dim, 0), b = dim_operand(table, dim, 1);
  Dim new_a = bindings_resolve(bindings, a), new_b = bindings_resolve(bindings, b);
  return a == new_a && b == new_b ? dim : dim_make(table, op, new_a, new_b);
}

void bindings_learn(Bindings *bindings, Dim recorded, Dim found) {
  DimTable *table = bindings->graph->dims;
  recorded = bindings_resolve(bindings, recorded);
  found = bindings_resolve(bindings, found);
  if (dim_is_static(recorded) || dim_op(table, recorded) != DIM_SYMBOL || dim_mentions(table, found, recorded)) return;
  string_map_set(bindings->dims, dim_symbol_name(table, recorded), arena_copy(bindings->graph->arena, &found, sizeof found));
  bindings->count++;
}

void bindings_learn_type(Bindings *bindings, int rank, const Dim *recorded, const Value *found) {
  for (int i = 0; i < rank && rank == found->rank; i++) bindings_learn(bindings, recorded[i], found->dims[i]);
}

RecordedType *bindings_record(Arena *arena, const Node *node) {
  RecordedType *all = NULL;
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    if (value->rank < 0 || value_is_static(value)) continue;
    if (!all) all = arena_array(arena, RecordedType, (size_t)node->output_count);
    all[i].rank = value->rank;
    memcpy(all[i].dims, value->dims, sizeof all[i].dims);
  }
  return all;
}

void bindings_learn_recorded(Bindings *bindings, const RecordedType *recorded, int output, const Value *found) {
  if (recorded && found) bindings_learn_type(bindings, recorded[output].rank, recorded[output].dims, found);
}

static void apply_to_value(const Bindings *bindings, Value *value) {
  if (value->constant) return;
  for (int i = 0; i < value->rank; i++) {
    Dim dim = bindings_resolve(bindings, value->dims[i]);
    if (dim_is_static(dim) || dim_op(bindings->graph->dims, dim) != DIM_CONSTANT) value->dims[i] = dim;  // never negative
  }
  Dim *contents = NULL;
  for (int i = 0; i < value->contents_count; i++) {
    Dim dim = bindings_resolve(bindings, value->contents[i]);
    if (dim == value->contents[i]) continue;
    if (!contents)
      contents = arena_copy(value->graph->arena, value->contents, (size_t)value->contents_count * sizeof *contents);
    contents[i] = dim;
  }
  if (contents) value->contents = contents;
}

static bool apply_to_attribute(const Bindings *bindings, Graph *graph, Attribute *attribute) {
  bool known = true;
  Dim *dims = NULL;
  for (int k = 0; k < attribute->count; k++) {
    Dim dim = bindings_resolve(bindings, attribute->dims[k]);
    int64_t unused;
    known &= dim_get_constant(graph->dims, dim, &unused);
    if (dim == attribute->dims[k]) continue;
    if (!dims) dims = arena_copy(graph->arena, attribute->dims, (size_t)attribute->count * sizeof *dims);
    dims[k] = dim;
  }
  if (dims) attribute->dims = dims;
  return known;
}

bool bindings_apply(const Bindings *bindings, Node *node) {
  bool known = true;
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_DIMS) known &= apply_to_attribute(bindings, node->graph, &node->attributes[i]);
  for (int i = 0; i < node->output_count; i++) apply_to_value(bindings, node->outputs[i]);
  return known;
}

void bindings_apply_everywhere(const Bindings *bindings, Graph *graph) {
  if (!bindings->count) return;
  for (int i = 0; i < graph->input_count; i++) apply_to_value(bindings, graph->inputs[i]);
  FOR_NODES(node, graph) {
    bindings_apply(bindings, node);
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) bindings_apply_everywhere(bindings, node->attributes[i].graph);
  }
}
