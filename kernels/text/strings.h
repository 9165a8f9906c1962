// Operators on strings, and tables and counts over them. They run on the host only.
#pragma once
#include "ir/op.h"

extern const OpDef op_string_concat, op_string_equal, op_string_split, op_string_normalize, op_string_match, op_string_cast;
extern const OpDef op_lookup, op_ngrams;
