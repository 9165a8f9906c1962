// Nodes whose results nobody uses go, from the end, so that whole chains go in one walk.
#include "passes/passes.h"

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  for (Node *node = graph->last, *previous; node; node = previous) {
    previous = node->previous;
    bool used = false;
    for (int i = 0; i < node->output_count; i++) used |= value_use_count(node->outputs[i]) > 0;
    if (used) continue;
    node_remove(node);
    ++*changes;
  }
  return OK;
}

const Pass pass_dead_code = {"dead_code", "removes nodes whose results nobody uses", false, run};
