// Which of a graph's inputs decide shapes; see specialise.h.
#include <string.h>

#include "kernels/control/control.h"
#include "ir/op.h"
#include "lower/specialise.h"

static void mark_back(const Graph *graph, const Value *value, bool *seen, bool *mask) {
  if (!value || seen[value->id]) return;
  seen[value->id] = true;
  if (value->is_input) {
    bool small = value->rank <= 1 && (dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL);
    for (int i = 0; small && i < graph->input_count; i++) mask[i] |= graph->inputs[i] == value;
  }
  if (!value->producer) return;
  bool shape_like = dtype_is_integer(value->dtype) || value->dtype == DTYPE_BOOL || value->dtype == DTYPE_COUNT;
  if (!shape_like || value->rank > 1) return;  // big data: known only by running it
  for (int i = 0; i < value->producer->input_count; i++) mark_back(graph, value->producer->inputs[i], seen, mask);
}

void graph_shape_inputs(const Graph *graph, bool (*is_deferred)(const Node *), bool *mask) {
  Arena *scratch = arena_scratch();
  bool *seen = arena_array(scratch, bool, graph->next_value_id);
  memset(mask, 0, (size_t)graph->input_count * sizeof *mask);
  FOR_NODES(node, graph) {
    if (node->op == &op_if) {
      mark_back(graph, node->inputs[0], seen, mask);
      // What the branches decide by comes in through their captures.
      for (int b = 0; b < 2; b++) {
        Graph *branch = node_graph(node, b ? "else_branch" : "then_branch");
        bool *inner = arena_array(scratch, bool, branch->input_count);
        graph_shape_inputs(branch, is_deferred, inner);
        for (int i = 0; i < branch->input_count; i++)
          if (inner[i]) mark_back(graph, node->inputs[1 + i], seen, mask);
      }
    } else if (node->op == &op_loop) {
      for (int i = 0; i < 2 && i < node->input_count; i++) mark_back(graph, node->inputs[i], seen, mask);
    } else if (is_deferred && is_deferred(node)) {
      for (int i = 0; i < node->input_count; i++) mark_back(graph, node->inputs[i], seen, mask);
    }
  }
  arena_free(scratch);
}
