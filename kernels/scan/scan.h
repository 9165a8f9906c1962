// Running sums and products along an axis.
#pragma once
#include "kernels/op.h"

extern const OpDef op_cumulative;
