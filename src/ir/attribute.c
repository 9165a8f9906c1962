// Attributes of nodes: one setter, into which every kind's content is copied, and getters that answer with a default where
// the attribute is absent or of another kind.
#include <string.h>
#include "ir/graph.h"

Attribute *node_attribute(const Node *node, const char *name) {
  for (int i = 0; i < node->attribute_count; i++)
    if (strcmp(node->attributes[i].name, name) == 0) return &node->attributes[i];
  return NULL;
}

static Attribute *set_attribute(Node *node, const char *name, AttributeKind kind, int count) {
  Arena *arena = node->graph->arena;
  Attribute *attribute = node_attribute(node, name);
  if (!attribute) {
    uint32_t pushed = (uint32_t)node->attribute_count;
    attribute = ARENA_PUSH(arena, node->attributes, pushed, node->attribute_capacity);
    node->attribute_count = (int)pushed;
  }
  *attribute = (Attribute){.name = arena_string(arena, name), .kind = kind, .count = count};
  return attribute;
}

void node_set_ints(Node *node, const char *name, const int64_t *values, int count) {
  const int64_t *copy = arena_copy(node->graph->arena, values, (size_t)count * sizeof *values);
  set_attribute(node, name, ATTR_INTS, count)->ints = copy;
}

void node_set_int(Node *node, const char *name, int64_t value) { node_set_ints(node, name, &value, 1); }

void node_set_floats(Node *node, const char *name, const double *values, int count) {
  const double *copy = arena_copy(node->graph->arena, values, (size_t)count * sizeof *values);
  set_attribute(node, name, ATTR_FLOATS, count)->floats = copy;
}

void node_set_float(Node *node, const char *name, double value) { node_set_floats(node, name, &value, 1); }

void node_set_string(Node *node, const char *name, const char *value) {
  const char *copy = arena_string(node->graph->arena, value);
  set_attribute(node, name, ATTR_STRING, 1)->string = copy;
}

void node_set_strings(Node *node, const char *name, const char *const *values, int count) {
  const char **copy = arena_array(node->graph->arena, const char *, (size_t)count);
  for (int i = 0; i < count; i++) copy[i] = arena_string(node->graph->arena, values[i]);
  set_attribute(node, name, ATTR_STRINGS, count)->strings = copy;
}

void node_set_dims(Node *node, const char *name, const Dim *values, int count) {
  const Dim *copy = arena_copy(node->graph->arena, values, (size_t)count * sizeof *values);
  set_attribute(node, name, ATTR_DIMS, count)->dims = copy;
}

void node_set_program(Node *node, const char *name, Program *program) {
  set_attribute(node, name, ATTR_PROGRAM, 1)->program = program;
}
void node_set_graph(Node *node, const char *name, Graph *graph) { set_attribute(node, name, ATTR_GRAPH, 1)->graph = graph; }
void node_set_tensor(Node *node, const char *name, Tensor *tensor) {
  set_attribute(node, name, ATTR_TENSOR, 1)->tensor = tensor;
}

void node_take_attributes(Node *node, const Node *from) {
  node->attributes = arena_copy(node->graph->arena, from->attributes, (size_t)from->attribute_count * sizeof *from->attributes);
  node->attribute_count = from->attribute_count;
  node->attribute_capacity = (uint32_t)from->attribute_count;
}

void node_drop_attribute(Node *node, const char *name) {
  Attribute *attribute = node_attribute(node, name);
  if (!attribute) return;
  int index = (int)(attribute - node->attributes);
  node->attribute_count--;
  memmove(attribute, attribute + 1, (size_t)(node->attribute_count - index) * sizeof *attribute);
}

static const Attribute *find(const Node *node, const char *name, AttributeKind kind) {
  const Attribute *attribute = node_attribute(node, name);
  return attribute && attribute->kind == kind ? attribute : NULL;
}

int64_t node_int(const Node *node, const char *name, int64_t otherwise) {
  const Attribute *attribute = find(node, name, ATTR_INTS);
  return attribute && attribute->count ? attribute->ints[0] : otherwise;
}

double node_float(const Node *node, const char *name, double otherwise) {
  const Attribute *attribute = find(node, name, ATTR_FLOATS);
  return attribute && attribute->count ? attribute->floats[0] : otherwise;
}

const char *node_string(const Node *node, const char *name, const char *otherwise) {
  const Attribute *attribute = find(node, name, ATTR_STRING);
  return attribute ? attribute->string : otherwise;
}

const int64_t *node_ints(const Node *node, const char *name, int *count) {
  const Attribute *attribute = find(node, name, ATTR_INTS);
  *count = attribute ? attribute->count : 0;
  return attribute ? attribute->ints : NULL;
}

const double *node_floats(const Node *node, const char *name, int *count) {
  const Attribute *attribute = find(node, name, ATTR_FLOATS);
  *count = attribute ? attribute->count : 0;
  return attribute ? attribute->floats : NULL;
}

const char *const *node_strings(const Node *node, const char *name, int *count) {
  const Attribute *attribute = find(node, name, ATTR_STRINGS);
  *count = attribute ? attribute->count : 0;
  return attribute ? attribute->strings : NULL;
}

const Dim *node_dims(const Node *node, const char *name, int *count) {
  const Attribute *attribute = find(node, name, ATTR_DIMS);
  *count = attribute ? attribute->count : 0;
  return attribute ? attribute->dims : NULL;
}

Program *node_program(const Node *node, const char *name) {
  const Attribute *attribute = find(node, name, ATTR_PROGRAM);
  return attribute ? attribute->program : NULL;
}

Graph *node_graph(const Node *node, const char *name) {
  const Attribute *attribute = find(node, name, ATTR_GRAPH);
  return attribute ? attribute->graph : NULL;
}

Tensor *node_tensor(const Node *node, const char *name) {
  const Attribute *attribute = find(node, name, ATTR_TENSOR);
  return attribute ? attribute->tensor : NULL;
}
