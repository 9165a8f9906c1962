// Nodes whose results nobody uses go; see graph_remove_unused.
#include "passes/passes.h"

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  *changes += graph_remove_unused(graph);
  return OK;
}

const Pass pass_dead_code = {"dead_code", "removes nodes whose results nobody uses", false, run};
