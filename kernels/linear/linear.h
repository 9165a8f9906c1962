// Linear algebra beyond products.
#pragma once
#include "ir/op.h"

extern const OpDef op_det;
