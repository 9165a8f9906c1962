// Puts a graph that a node holds, a branch or the body of a region, in the node's place; symbols of the node's recorded types stand for what the graph gives.
#pragma once
#include "ir/bindings.h"

enum { MAX_REWRITES = 200000 };  // nested translations and inlined branches: a bound against models that never end

void put_in_place(Bindings *bindings, Arena *arena, Node *node, const Graph *inner, Value *const *arguments);
// Of an `if`: the branch that it takes.
Graph *branch_of(const Node *node, bool condition);
