// A graph that a node holds, copied into the graph around it: a branch that is taken, the body of a map.
#pragma once
#include "ir/op.h"

// Copies the body's nodes before `at` (NULL: to the end). arguments stand for its inputs, results for its outputs. What its
// symbols are here is put in their place: the sizes of the arguments for those of its inputs, new symbols for sizes that its nodes give
// only when they run, since the same graph may be copied several times. Types are those of the body otherwise: infer them anew.
// take: nobody needs the body any more, which is of the same arena and DimTable; see node_take.
void inline_graph(Graph *into, Node *at, const Graph *body, bool take, Value *const *arguments, Value **results);
