// Sequences of tensors.
#pragma once
#include "kernels/op.h"

extern const OpDef op_sequence;
