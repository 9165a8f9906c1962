// Operator cases whose results are parts of other tensors, as what is concatenated is (lower/lines.h).
#pragma once
#include "ir/graph.h"

// Along the first axis, or the last one, each result stands behind a copy of itself, which makes a plan write both where they are joined. "first" or "last".
bool join_results_known(const char *name);
MUST_CHECK Status join_results(Graph *graph, const char *name);
