// Loops and scans, driven from the host: the body is a graph that the caller runs; this file keeps the iteration, the states and
// the stacking of what each iteration yields. Semantics: ONNX Loop and Scan.
#pragma once
#include "run/runner.h"

typedef Status (*BodyRun)(void *context, const RunTensor *inputs, RunTensor *outputs);
MUST_CHECK Status loop_run(Device *device, const Node *node, BodyRun body, void *context, const RunTensor *inputs,
                           RunTensor *outputs);
