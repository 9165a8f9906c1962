// Sorting: a depth-first walk over what each node reads, in the order of the file, so that nothing moves without need. A node reads
// its inputs, and what the graphs in its attributes read from around them.
#include "onnx/sort.h"
#include <string.h>
#include "onnx.pb-c.h"
#include "onnx/free_names.h"

typedef struct Sorting {
  Arena *arena;
  StringMap *makers;  // name -> Onnx__Node **, its place in the list
  Onnx__Node **nodes;
  size_t count;
  uint32_t *edges;  // places of the nodes that a node reads, one list behind the other
  uint32_t edge_count, edge_capacity;
  uint32_t *first;  // of each node's list; one more at the end
} Sorting;

static void add_edge(void *context, const char *name) {
  Sorting *s = context;
  Onnx__Node **maker = string_map_get(s->makers, name);
  if (maker) *ARENA_PUSH(s->arena, s->edges, s->edge_count, s->edge_capacity) = (uint32_t)(maker - s->nodes);
}

// True where every node reads only earlier ones.
static bool find_edges(Sorting *s) {
  bool sorted = true;
  s->first = arena_array(s->arena, uint32_t, s->count + 1);
  for (size_t i = 0; i < s->count; i++) {
    const Onnx__Node *node = s->nodes[i];
    s->first[i] = s->edge_count;
    for (size_t k = 0; k < node->n_input; k++)
      if (node->input[k][0]) add_edge(s, node->input[k]);
    for (size_t k = 0; k < node->n_attribute; k++)
      if (node->attribute[k]->g) graph_free_names(s->arena, node->attribute[k]->g, add_edge, s);
    for (uint32_t k = s->first[i]; k < s->edge_count; k++) sorted &= s->edges[k] < i;
  }
  s->first[s->count] = s->edge_count;
  return sorted;
}

// Appends `root` and what it reads to the order, what is read first. The stack holds the nodes being visited.
static void visit(const Sorting *s, uint32_t root, bool *seen, uint32_t *next, uint32_t *stack, Onnx__Node **order,
                  size_t *done) {
  size_t depth = 0;
  if (seen[root]) return;
  seen[root] = true;
  stack[depth++] = root;
  while (depth) {
    uint32_t at = stack[depth - 1];
    if (next[at] == s->first[at + 1]) {
      order[(*done)++] = s->nodes[at];
      depth--;
      continue;
    }
    uint32_t read = s->edges[next[at]++];
    if (seen[read]) continue;
    seen[read] = true;
    stack[depth++] = read;
  }
}

static void sort_list(Model *model, const char *what, const char *name, size_t count, Onnx__Node **nodes) {
  Arena *arena = arena_scratch();
  Sorting s = {.arena = arena, .makers = string_map_new(arena), .nodes = nodes, .count = count};
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < nodes[i]->n_output; k++)
      if (!string_map_get(s.makers, nodes[i]->output[k])) string_map_set(s.makers, nodes[i]->output[k], &nodes[i]);
  if (count <= UINT32_MAX && !find_edges(&s)) {
    log_add(&model->log, LOG_WARNING, "%s '%s': its nodes are not in topological order and were sorted", what,
            name ? name : "");
    Onnx__Node **order = arena_array(arena, Onnx__Node *, count);
    bool *seen = arena_array(arena, bool, count);
    uint32_t *next = arena_copy(arena, s.first, sizeof *next * count), *stack = arena_array(arena, uint32_t, count);
    size_t done = 0;
    for (uint32_t i = 0; i < count; i++) visit(&s, i, seen, next, stack, order, &done);
    memcpy(nodes, order, sizeof *nodes * count);
  }
  arena_free(arena);
}

static void sort_inner(Model *model, size_t count, Onnx__Node *const *nodes);

static void sort_graph(Model *model, Onnx__Graph *graph) {
  sort_list(model, "graph", graph->name, graph->n_node, graph->node);
  sort_inner(model, graph->n_node, graph->node);
}

static void sort_inner(Model *model, size_t count, Onnx__Node *const *nodes) {
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < nodes[i]->n_attribute; k++)
      if (nodes[i]->attribute[k]->g) sort_graph(model, nodes[i]->attribute[k]->g);
}

void onnx_sort_nodes(Model *model) {
  sort_graph(model, model->proto->graph);
  for (size_t i = 0; i < model->proto->n_functions; i++) {
    Onnx__Function *function = model->proto->functions[i];
    sort_list(model, "function", function->name, function->n_node, function->node);
    sort_inner(model, function->n_node, function->node);
  }
}
