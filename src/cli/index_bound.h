// What the made-up integers of an input may be: where they choose rows of a table, the table's size bounds them.
#pragma once
#include "ir/graph.h"

// The smallest size of an axis that the input's values index, through whatever hands them on; 0 where they index nothing of known size.
int64_t input_index_bound(const Graph *graph, int input);
