// Whether a node can be handed to its translation, which looks at no more than it needs: what it has is counted and compared with what
// the specification says. Asked of every node: one of a model is known better when it is translated than when the file was validated, one
// that has waited may come from an engine that a stranger wrote.
#pragma once
#include "onnx/ops/translate.h"

MUST_CHECK Status node_check(const Translation *t, const OnnxOp *op);
