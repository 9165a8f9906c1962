// Rowwise: a scalar program whose reductions run over some axes of a broadcast domain.
#pragma once
#include "ir/op.h"

extern const OpDef op_rowwise;
