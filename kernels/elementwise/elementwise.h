// Elementwise: a scalar program at every point of a broadcast domain.
#pragma once
#include "ir/op.h"

extern const OpDef op_elementwise;
