// See index_bound.h. Values are followed forward through views, arithmetic on integers, concatenation, and into bodies and branches; arithmetic is
// taken to keep them about where they are, as ids do that an exporter wraps or casts.
#include "cli/index_bound.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/deferred.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"

typedef struct Walk {
  Arena *arena;
  IntMap *met;  // by address
  int64_t bound;
} Walk;

static void follow(Walk *walk, const Value *value);

static void note_sizes(Walk *walk, const Node *node) {
  const Value *table = node->inputs[0];
  int axes[MAX_RANK], count = node->op->indexed_axes(node, axes);
  for (int i = 0; i < count && table->rank >= 0; i++) {
    Dim size = table->dims[axes[i]];
    if (dim_is_static(size) && size > 0 && (!walk->bound || size < walk->bound)) walk->bound = size;
  }
}

static void enter_graph(Walk *walk, const Graph *graph, int input) {
  if (graph && input >= 0 && input < graph->input_count) follow(walk, graph->inputs[input]);
}

static bool is_integer(const Value *value) {
  return value->dtype != DTYPE_COUNT && (dtype_kind(value->dtype) == KIND_SIGNED || dtype_kind(value->dtype) == KIND_UNSIGNED);
}

static void follow_use(Walk *walk, const Node *node, int index) {
  if (node->op->indexed_axes && index == node->op->index_operand) note_sizes(walk, node);
  else if (node->op == &op_if) {
    enter_graph(walk, node_graph(node, "then_branch"), index - 1);
    enter_graph(walk, node_graph(node, "else_branch"), index - 1);
  } else if (node->op->is_control) {
    enter_graph(walk, node_graph(node, "body"), index);
  } else if (node->op->view || node->op->has_program || node->op->indexed_axes || node->op->index_form ||
             node->op == &op_deferred || node->op == &op_region) {
    if (node->op == &op_region) enter_graph(walk, region_body(node), index);
    for (int i = 0; i < node->output_count; i++)
      if (is_integer(node->outputs[i])) follow(walk, node->outputs[i]);
  }
}

static void follow(Walk *walk, const Value *value) {
  uint64_t key = (uint64_t)(uintptr_t)value;
  if (int_map_get(walk->met, key)) return;
  int_map_set(walk->met, key, walk);
  for (const Use *use = value->uses; use; use = use->next) follow_use(walk, use->node, use->index);
}

int64_t input_index_bound(const Graph *graph, int input) {
  if (!is_integer(graph->inputs[input])) return 0;
  Walk walk = {.arena = arena_new()};
  walk.met = int_map_new(walk.arena);
  follow(&walk, graph->inputs[input]);
  arena_free(walk.arena);
  return walk.bound;
}
