// Operator cases as a model would have them whose sizes are symbols: what the planner takes for open (Value.open) though every size is known.
#pragma once
#include "ir/graph.h"

// "all" sizes; "leading": those that are no value's last; "images": all but channels and those of filters; "lengths": all but the last of the first input and of
// the outputs. A size that is a symbol is the same one wherever it occurs.
bool open_sizes_known(const char *name);
void open_sizes(Graph *graph, const char *name);
