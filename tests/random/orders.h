// The same graph with unrelated nodes in other orders: what the pipeline makes of it, as text.
#pragma once
#include "tests/random/attempt.h"

// Counts graphs whose text differs, and how: only in the order of lines, or in what the lines say. Of a single graph, shows two texts.
MUST_CHECK Status orders_run(uint64_t seed, long count, int nodes, int orders, int *result);
// The graph in a drawn order, read from its text; draw NULL: in its own.
MUST_CHECK Status orders_draw(Arena *arena, const Graph *graph, Draw *draw, Graph **out);
