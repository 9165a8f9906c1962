// Pooling.
#pragma once
#include "kernels/op.h"

extern const OpDef op_pool;

// A kernel far larger than what it slides over. Only the reference takes it, for it visits no tap outside. dims: of the operand.
bool pool_exceeds_input(const Node *node, const int64_t *dims);
