// Order and choice: top-k, nonzero, unique, non-maximum suppression.
#pragma once
#include "ir/op.h"

extern const OpDef op_topk, op_nonzero, op_unique, op_nms;
// reserved.h
extern const OpDef op_nonzero_reserved, op_nms_reserved, op_counted;

// What `counted` gives of a result with so much room, where so many are counted.
MUST_CHECK Status counted_dims(const Node *node, int64_t room, int64_t count, int64_t dims[2]);
