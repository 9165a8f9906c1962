// Random regions: connected nodes that a seed draws become one, by a rule like any other.
#pragma once
#include "ir/op.h"

// A few, some of them in others. *made: how many; the draws that no region can hold are none.
MUST_CHECK Status regions_outline(Graph *graph, uint64_t seed, int *made);
// Of so many graphs: with regions each reads back from its text and gives what it gave; and where they are opened again, it is the text that it was.
// *result: not 0 where one does not.
MUST_CHECK Status regions_run(uint64_t seed, long count, int nodes, int *result);
