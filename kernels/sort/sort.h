// Order and choice: top-k, nonzero, unique, non-maximum suppression.
#pragma once
#include "ir/op.h"

extern const OpDef op_topk, op_nonzero, op_unique, op_nms;
