// Running sums and products along an axis.
#pragma once
#include "ir/op.h"

extern const OpDef op_cumulative;
