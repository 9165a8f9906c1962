// ONNX nodes that an import leaves nothing of.
#pragma once
#include "onnx/model.h"

// Why nothing is left of the node of this name (or of whose first output it is the name, graphs inside of nodes and functions included), given that nothing is;
// NULL: the model has no such node.
const char *onnx_why_absent(const Model *model, const char *name, const char **op_type);
