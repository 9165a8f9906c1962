// The verifier: checks every rule that the rest of Ingot relies on, and names the node that breaks one.
#pragma once
#include "ir/graph.h"
// Use lists and producers agree, topological order, unique names, programs valid and typed, attributes of the kinds the
// operator's row declares, re-running inference gives the dims and dtypes recorded (where infer is set), orders are permutations,
// subgraphs likewise.
MUST_CHECK Status graph_verify(const Graph *graph);
