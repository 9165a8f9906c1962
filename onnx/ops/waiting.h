// What is known of the outputs of an operator that waits for the content of its operands: from the operator's own rules, never from
// what a model declares, which exporters get wrong. What follows it can be translated as far as that goes.
#pragma once
#include "onnx/ops/translate.h"

// Types the outputs of the `deferred` node made for t; sizes are new symbols. What the rules do not tell stays unknown.
void waiting_types(const Translation *t, Node *deferred);
