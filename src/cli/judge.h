// The judge of `ingot verify`: what a model means. Its graph as it was imported, without passes, every node carried out by its reference.
#pragma once
#include "ir/graph.h"

// inputs: one for each graph input, on the host. *outputs: one for each graph output, in the arena; dtype DTYPE_COUNT where an output is no tensor.
MUST_CHECK Status judge_run(const Graph *graph, const Tensor *inputs, Arena *arena, Tensor **outputs);
