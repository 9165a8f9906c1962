// The rules of fold_scale that have files of their own.
#pragma once
#include "passes/rule.h"

extern const Rule rule_scale_before_conv, rule_scale_before_product, rule_merge_linear;
