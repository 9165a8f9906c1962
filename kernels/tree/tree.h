// Decision trees. They run on the host only.
#pragma once
#include "kernels/op.h"

extern const OpDef op_trees;
