// A model becomes a graph of core operators.
#pragma once
#include "ir/graph.h"
#include "onnx/model.h"

// Validates first and reports all problems in one status. The graph is made in `arena`; its constants point into the model's
// memory and file, so the model's arena must outlive it (it may be the same one). Graph inputs and outputs keep the order and
// the names of the model's; initializers that are also inputs are constants. Nodes that nothing uses are gone.
MUST_CHECK Status onnx_import(const Model *model, Arena *arena, Graph **out);
