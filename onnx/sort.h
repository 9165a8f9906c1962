// The order of nodes. The specification asks for a topological one; some exporters and editors write another.
#pragma once
#include "onnx/model.h"

// Puts the nodes of every graph and function into topological order, those that are in order left as they are, and warns where
// it had to. What lies on a cycle stays out of order, for onnx_validate to report.
void onnx_sort_nodes(Model *model);
