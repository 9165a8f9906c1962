// Sequences of tensors, and optionals without an element.
#pragma once
#include "ir/op.h"

extern const OpDef op_sequence, op_nothing;
