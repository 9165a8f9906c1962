// Order and choice.
#pragma once
#include "kernels/op.h"

extern const OpDef op_topk, op_nonzero;
