// What the specification says in prose and the schemas do not hold: the values an attribute may have, the ranks of parameters.
#pragma once
#include "onnx/ops/schema.h"

MUST_CHECK Status rules_check_value(const Schema *schema, const GivenAttribute *given);
MUST_CHECK Status rules_check_rank(const Schema *schema, int input, const Value *value);
