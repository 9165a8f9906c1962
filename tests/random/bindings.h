// Random graphs whose sizes are open, run whole by a runner that stays, with other sizes at each call: what an engine of one model does for all shapes. The references say what
// comes out, of the graph as it was made, with the sizes of the call.
#pragma once
#include "passes/rule.h"

// On the CPU; where the driver is the emulated GPU's, on that. bindings: calls of each graph.
MUST_CHECK Status bindings_run(uint64_t seed, long count, int nodes, int bindings, int *result);
