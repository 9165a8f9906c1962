// A launch that only looks whether indices are inside.
#pragma once
#include "kernels/implementation.h"

// Of the operand's indices against the sizes of input 0's axes from `first` on: one axis for all, or one for each place along the operand's last axis.
// Negative ones count from the end. Nothing is launched where there are no indices.
MUST_CHECK Status emit_index_check(Emission *out, const Site *site, int operand, int first, int axes);
