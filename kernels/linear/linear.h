// Linear algebra beyond products.
#pragma once
#include "kernels/op.h"

extern const OpDef op_det;
