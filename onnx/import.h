// A model becomes a graph of core operators.
#pragma once
#include "ir/graph.h"
#include "onnx/model.h"

// Validates first and reports all problems in one status. The graph is made in `arena`; its constants point into the model's
// memory and file, so the model's arena must outlive it (it may be the same one). Graph inputs and outputs keep the order and
// the names of the model's; initializers that are also inputs are constants. Nodes that nothing uses are gone.
MUST_CHECK Status onnx_import(const Model *model, Arena *arena, Graph **out);
// The operator of the ONNX node of this name, or of whose first output it is the name, graphs inside of nodes and functions included; NULL: the model has none.
const char *onnx_operator_of(const Model *model, const char *name);
