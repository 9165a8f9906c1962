// Evaluation: a graph run node by node on the host, by the references. Nothing is fused, packed or threaded: it is the judge, not the
// engine, and what verification and the test suites compare with.
#pragma once
#include "ir/graph.h"

// inputs: one for each graph input; outputs: one for each graph output, allocated in the arena. Symbolic dims take their
// values from the inputs; operators that waited for run-time operands are translated when reached; if, loop and scan run their
// graphs. The graph itself stays as it is. Errors name the node.
// translate: translate_deferred of onnx/translate.h, or NULL, and then such operators are refused.
typedef Status (*TranslateDeferred)(Node *node, bool *done);
MUST_CHECK Status graph_evaluate(const Graph *graph, TranslateDeferred translate, Arena *arena, const Tensor *const *inputs,
                                 Tensor *outputs);
