// Integer contents: what the host knows of a small tensor's elements, as symbolic dims. Private to the builders.
#pragma once
#include "ir/op.h"

enum { MAX_CONTENTS = 1024 };  // shape arithmetic is short; longer tensors are left to constant folding

// The elements of the node's only output, worked out from its inputs' elements, or NULL. The node is inferred.
const Dim *contents_of_node(Node *node, int *count);
// The elements of an integer, boolean or (integral) float value: its contents, or its constant's. NULL where unknown.
const Dim *contents_of_value(Graph *graph, const Value *value, int *count);
// As either, one program's output over small operands: dims[i] are the elements of input i. See contents_program.c.
const Dim *contents_of_program(Node *node, const Program *program, int *count);
