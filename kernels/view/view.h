// Views: re-indexings without arithmetic, and `dims`, the shape arithmetic that the host computes.
#pragma once
#include "ir/op.h"

extern const OpDef op_dims, op_transpose, op_reshape, op_slice, op_expand, op_bitcast;
