// Pooling.
#pragma once
#include "kernels/op.h"

extern const OpDef op_pool;
