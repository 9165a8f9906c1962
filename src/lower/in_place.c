// See in_place.h.
#include "lower/in_place.h"

#include "kernels/control/inline.h"

void put_in_place(Bindings *bindings, Arena *arena, Node *node, const Graph *inner, Value *const *arguments) {
  Value **results = arena_array(arena, Value *, (size_t)inner->output_count + 1);
  inline_graph(node->graph, node, inner, true, arguments, results);
  const RecordedType *recorded = bindings_record(arena, node);
  for (int i = 0; i < node->output_count; i++) {
    bindings_learn_recorded(bindings, recorded, i, results[i]);
    value_replace(node->outputs[i], results[i]);
  }
  node_remove(node);
}

Graph *branch_of(const Node *node, bool condition) { return node_graph(node, condition ? "then_branch" : "else_branch"); }
