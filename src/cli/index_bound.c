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

static void note_axis(Walk *walk, const Value *table, int64_t axis) {
  if (!table || table->rank < 1) return;
  if (axis < 0) axis += table->rank;
  if (axis < 0 || axis >= table->rank || !dim_is_static(table->dims[axis])) return;
  int64_t size = table->dims[axis];
  if (size > 0 && (!walk->bound || size < walk->bound)) walk->bound = size;
}

static void note_coordinates(Walk *walk, const Node *node) {
  int64_t batch = node_int(node, "batch_dims", 0);
  const Value *x = node->inputs[0], *indices = node->inputs[1];
  if (!x || indices->rank < 1 || !dim_is_static(indices->dims[indices->rank - 1])) return;
  for (int64_t k = 0; k < indices->dims[indices->rank - 1]; k++) note_axis(walk, x, batch + k);
}

static void enter_graph(Walk *walk, const Graph *graph, int input) {
  if (graph && input >= 0 && input < graph->input_count) follow(walk, graph->inputs[input]);
}

static bool is_integer(const Value *value) {
  return value->dtype != DTYPE_COUNT && (dtype_kind(value->dtype) == KIND_SIGNED || dtype_kind(value->dtype) == KIND_UNSIGNED);
}

static void follow_use(Walk *walk, const Node *node, int index) {
  if ((node->op == &op_gather || node->op == &op_gather_elements || node->op == &op_scatter_elements) && index == 1)
    note_axis(walk, node->inputs[0], node_int(node, "axis", 0));
  else if ((node->op == &op_gather_nd || node->op == &op_scatter_nd) && index == 1) note_coordinates(walk, node);
  else if (node->op == &op_if) {
    enter_graph(walk, node_graph(node, "then_branch"), index - 1);
    enter_graph(walk, node_graph(node, "else_branch"), index - 1);
  } else if (node->op == &op_loop || node->op == &op_scan) {
    enter_graph(walk, node_graph(node, "body"), index);
  } else if (node->op->is_view || node->op == &op_elementwise || node->op == &op_concat || node->op == &op_deferred ||
             node->op == &op_region || (node->op == &op_gather && index == 0)) {
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
