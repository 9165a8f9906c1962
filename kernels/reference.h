// Running operators by their references: plain loops on the host, which everything else is judged by.
#pragma once
#include "ir/op.h"

// Makes output `index`: if it was given with data and the same type and dims, that memory; else new memory in the arena.
MUST_CHECK Status reference_output(Reference *reference, int index, DType dtype, int rank, const int64_t *dims, Tensor **out);

// Runs a node on host tensors. Shapes are those of the actual tensors, so the node may be symbolic
// as long as its attributes are static. outputs[i].data NULL on entry: allocated in the arena.
MUST_CHECK Status reference_run(const Node *node, Arena *arena, const Tensor *const *inputs, Tensor *outputs);

// Runs all nodes of a graph in order. values, by id: those of the graph's inputs are there, the others are put there.
MUST_CHECK Status reference_run_graph(const Graph *graph, Arena *arena, const Tensor **values);
