// Pooling.
#pragma once
#include "kernels/meaning.h"

extern const OpDef op_pool;

// A kernel far larger than what it slides over. Only the reference takes it, for it visits no tap outside. dims: of the operand.
bool pool_exceeds_input(const Node *node, const int64_t *dims);
bool pool_is_average(const Node *node);
MUST_CHECK Status pool_read_window(const Node *node, int axes, Window *out);
