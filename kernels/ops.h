// The table of core operators, NULL-terminated.
#pragma once
#include "ir/op.h"

extern const OpDef *const core_ops[];
