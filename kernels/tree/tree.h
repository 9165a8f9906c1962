// Decision trees. They run on the host only.
#pragma once
#include "ir/op.h"

extern const OpDef op_trees;
