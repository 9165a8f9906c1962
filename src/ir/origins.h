// Provenance as a person reads it.
#pragma once
#include "ir/graph.h"

// "conv1 (Conv), relu1 (Relu)"
const char *node_origins_text(const Node *node, Arena *arena);
