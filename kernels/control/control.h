// Operators that hold graphs. The executor runs them; they have no reference.
#pragma once
#include "ir/op.h"

extern const OpDef op_if, op_loop, op_scan;
