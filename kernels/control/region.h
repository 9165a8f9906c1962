// A region: a small graph that is computed as one step. Its inputs are its body's, in order; nothing comes in otherwise, constants
// included, so that putting the body back gives the graph that was there. What it means is its body run by the references, with values that the body
// calls f16 or bf16 kept in f32 between its nodes: a kernel that computes several steps does not round between them, so neither does its judge.
// Only the region's results are rounded to their types, and what a program casts to half precision, as in any program. f64 stays f64.
//
// A body holds what one step may compute: operators with a reference, whose sizes follow from those of what they read, without random numbers. So a
// region may hold regions, whose results are values inside of it like any others, but no branches, loops or operators that wait.
#pragma once
#include "ir/op.h"

extern const OpDef op_region;

static inline Graph *region_body(const Node *region) { return node_graph(region, "body"); }
int region_input(const Graph *body, const Value *value);  // which of the region's inputs the value is in the body; -1: none
// Why the node may not stand in a body; NULL: it may.
const char *region_refuses(const Node *node);
