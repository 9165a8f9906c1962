// Padding.
#pragma once
#include "ir/op.h"

extern const OpDef op_pad;

// Fills coordinates[0 .. out): which coordinate of x, of size `in`, each of y shows along an axis with `begin` elements in front; -1: the
// constant.
MUST_CHECK Status pad_axis(const Node *node, int64_t in, int64_t begin, int64_t out, int64_t *coordinates);
