// Random graphs whose sizes are open, run whole by a runner that stays, with other sizes at each call: what an engine of one model does for all shapes. The references say what
// comes out, of the graph as it was made, with the sizes of the call.
#pragma once
#include "passes/rule.h"

typedef struct BindingsOptions {
  uint64_t seed;
  long count;         // graphs
  int nodes;          // of each, at most
  int bindings;       // calls of each graph
  const char *model;  // an ONNX model, in the graphs' place; NULL: graphs of the generator
} BindingsOptions;

// On the CPU; where the driver is the emulated GPU's, on that.
MUST_CHECK Status bindings_run(const BindingsOptions *options, int *result);
