// Matrix products.
#pragma once
#include "ir/op.h"

extern const OpDef op_matmul;
