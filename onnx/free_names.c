// Free names of a graph, found by walking it and the graphs inside with the names that each of them makes.
#include "onnx/free_names.h"
#include "base/map.h"

typedef struct Locals {
  StringMap *names;
  const struct Locals *outer;
} Locals;

typedef struct Walk {
  Arena *arena;
  void (*found)(void *context, const char *name);
  void *context;
} Walk;

static bool is_local(const Locals *locals, const char *name) {
  for (; locals; locals = locals->outer)
    if (string_map_get(locals->names, name)) return true;
  return false;
}

static void read_name(const Walk *walk, const Locals *locals, const char *name) {
  if (name && name[0] && !is_local(locals, name)) walk->found(walk->context, name);
}

static void add_local(StringMap *names, const char *name) {
  if (name && name[0]) string_map_set(names, name, (void *)name);
}

static void walk_graph(const Walk *walk, const Onnx__Graph *graph, const Locals *outer) {
  Locals locals = {.names = string_map_new(walk->arena), .outer = outer};
  for (size_t i = 0; i < graph->n_input; i++) add_local(locals.names, graph->input[i]->name);
  for (size_t i = 0; i < graph->n_initializer; i++) add_local(locals.names, graph->initializer[i]->name);
  for (size_t i = 0; i < graph->n_sparse_initializer; i++)
    if (graph->sparse_initializer[i]->values) add_local(locals.names, graph->sparse_initializer[i]->values->name);
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_output; k++) add_local(locals.names, graph->node[i]->output[k]);
  for (size_t i = 0; i < graph->n_node; i++) {
    const Onnx__Node *node = graph->node[i];
    for (size_t k = 0; k < node->n_input; k++) read_name(walk, &locals, node->input[k]);
    for (size_t k = 0; k < node->n_attribute; k++)
      if (node->attribute[k]->g) walk_graph(walk, node->attribute[k]->g, &locals);
  }
  for (size_t i = 0; i < graph->n_output; i++) read_name(walk, &locals, graph->output[i]->name);
}

void graph_free_names(Arena *arena, const Onnx__Graph *graph, void (*found)(void *context, const char *name), void *context) {
  walk_graph(&(Walk){arena, found, context}, graph, NULL);
}
