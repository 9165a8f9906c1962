// Loops and scans, driven from the host: the body is a graph that the caller runs; this file keeps the iteration and the states. On a GPU nothing but a condition that depends on
// data, and what decides shapes, comes to the host meanwhile: iterations are enqueued one behind the other, each reads what the one before left on the device. Semantics: ONNX Loop and Scan.
#pragma once
#include "run/loop_body.h"
#include "run/loop_memory.h"

typedef struct LoopCall {
  Device *device;
  const Node *node;
  const LoopBody *body;
  LoopMemory *memory;
  const bool *known;  // of which of the body's inputs the host looks at the content
  // Runs the body's graph. What lies on the device of its results is in the memory's places for them.
  Status (*run)(void *context, const RunTensor *inputs, RunTensor *outputs);
  void *context;
} LoopCall;
MUST_CHECK Status loop_run(const LoopCall *call, const RunTensor *inputs, RunTensor *outputs);
