// Nodes that the host carries out between stages.
#pragma once
#include "run/runner.h"

// By its reference. Bytes of strings that it gives are kept in `strings`.
MUST_CHECK Status host_node_run(Device *device, const Node *node, Arena *strings, const RunTensor *inputs, RunTensor *outputs);
// `counted`: reads how many there are; the rest stays where it is.
MUST_CHECK Status host_node_count(const Node *node, const RunTensor *inputs, RunTensor *out);
