// Copying graphs and nodes across arenas and dimension tables. Everything small is copied; tensors' bytes are shared.
#include <string.h>
#include "ir/graph_value.h"

static const Dim *import_dims(Graph *into, const Graph *from, const Dim *dims, int count) {
  Dim *copy = arena_array(into->arena, Dim, (size_t)count);
  for (int i = 0; i < count; i++) copy[i] = dim_import(into->dims, from->dims, dims[i]);
  return copy;
}

static Tensor *copy_tensor(Arena *arena, const Tensor *tensor) {
  return tensor ? arena_copy(arena, tensor, sizeof *tensor) : NULL;
}

void value_copy_open(Value *to, const Value *from) {
  to->open = from->open ? import_dims(to->graph, from->graph, from->open, from->rank) : NULL;
}

// Type, order and what is known of the content; not name, producer, uses or marks.
static void copy_type(Graph *into, Value *to, const Value *from) {
  to->kind = from->kind;
  to->dtype = from->dtype;
  to->rank = from->rank;
  for (int i = 0; i < from->rank; i++) to->dims[i] = dim_import(into->dims, from->graph->dims, from->dims[i]);
  value_copy_open(to, from);
  memcpy(to->order, from->order, sizeof to->order);
  to->constant = copy_tensor(into->arena, from->constant);
  to->contents = from->contents ? import_dims(into, from->graph, from->contents, from->contents_count) : NULL;
  to->contents_count = from->contents_count;
}

// Nodes made from one ONNX node share their array of origins, and neighbours mostly do: the copies share it too.
static void copy_origins(Node *to, const Node *from) {
  const Node *previous = from->previous;
  if (to->previous && previous && previous->origins == from->origins && previous->origin_count == from->origin_count &&
      to->previous->origin_count == from->origin_count) {
    to->origins = to->previous->origins;
  } else {
    Arena *arena = to->graph->arena;
    to->origins = arena_array(arena, Origin, (size_t)from->origin_count);
    for (int i = 0; i < from->origin_count; i++) {
      to->origins[i].name = arena_string(arena, from->origins[i].name);
      to->origins[i].op_type = arena_string(arena, from->origins[i].op_type);
    }
  }
  to->origin_count = from->origin_count;
}

static void copy_contents(Graph *into, const Graph *from);

static void copy_attribute(Node *to, const Node *from, const Attribute *attribute, bool take) {
  Graph *into = to->graph;
  switch (attribute->kind) {
    case ATTR_INTS: node_set_ints(to, attribute->name, attribute->ints, attribute->count); break;
    case ATTR_FLOATS: node_set_floats(to, attribute->name, attribute->floats, attribute->count); break;
    case ATTR_STRING: node_set_string(to, attribute->name, attribute->string); break;
    case ATTR_STRINGS: node_set_strings(to, attribute->name, attribute->strings, attribute->count); break;
    case ATTR_DIMS:
      node_set_dims(to, attribute->name, import_dims(into, from->graph, attribute->dims, attribute->count), attribute->count);
      if (attribute->open)
        node_attribute(to, attribute->name)->open = import_dims(into, from->graph, attribute->open, attribute->count);
      break;
    case ATTR_PROGRAM: node_set_program(to, attribute->name, program_copy(into->arena, attribute->program)); break;
    case ATTR_TENSOR: node_set_tensor(to, attribute->name, copy_tensor(into->arena, attribute->tensor)); break;
    case ATTR_GRAPH: {
      if (take) {
        node_set_graph(to, attribute->name, attribute->graph);
        break;
      }
      Graph *inner = graph_new_inside(into, attribute->graph->name);
      copy_contents(inner, attribute->graph);
      node_set_graph(to, attribute->name, inner);
      break;
    }
  }
}

static Node *copy_node(Graph *into, const Node *node, Value *const *map, bool take) {
  Node *copy = graph_add_named(into, NULL, node->op, node->input_count, NULL, node->output_count, node->outputs);
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i]) node_set_input(copy, i, map[node->inputs[i]->id]);
  for (int i = 0; i < node->output_count; i++) copy_type(into, copy->outputs[i], node->outputs[i]);
  for (int i = 0; i < node->attribute_count; i++) copy_attribute(copy, node, &node->attributes[i], take);
  copy_origins(copy, node);
  return copy;
}

Node *node_copy(Graph *into, const Node *node, Value *const *map) { return copy_node(into, node, map, false); }
Node *node_take(Graph *into, const Node *node, Value *const *map) { return copy_node(into, node, map, true); }

// A constant or input, made where it is first met.
static Value *copy_root(Graph *into, const Value *value, Value **map) {
  if (map[value->id]) return map[value->id];
  Value *copy = graph_new_value(into, value->name);
  copy_type(into, copy, value);
  return map[value->id] = copy;
}

static void copy_contents(Graph *into, const Graph *from) {
  Value **map = arena_array(into->arena, Value *, from->next_value_id);
  for (int i = 0; i < from->input_count; i++) {
    const Value *input = from->inputs[i];
    Value *copy = map[input->id] = graph_add_input(into, input->name, input->dtype, 0, NULL);
    copy_type(into, copy, input);
    if (input->initial) copy->initial = arena_copy(into->arena, input->initial, sizeof *input->initial);
  }
  FOR_NODES(node, from) {
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i] && !node->inputs[i]->producer) copy_root(into, node->inputs[i], map);
    Node *copy = node_copy(into, node, map);
    for (int i = 0; i < node->output_count; i++) {
      map[node->outputs[i]->id] = copy->outputs[i];
      if (strcmp(copy->outputs[i]->name, node->outputs[i]->name)) value_rename(into, copy->outputs[i], node->outputs[i]->name);
    }
  }
  for (int i = 0; i < from->output_count; i++) {
    Value *output = from->outputs[i]->producer ? map[from->outputs[i]->id] : copy_root(into, from->outputs[i], map);
    graph_mark_output(into, output);
    if (from->outputs[i]->given_as) output->given_as = arena_string(into->arena, from->outputs[i]->given_as);
  }
}

Graph *graph_copy(Arena *arena, const Graph *graph) {
  Graph *copy = graph_new(arena, graph->ops, graph->name);
  copy_contents(copy, graph);
  return copy;
}
