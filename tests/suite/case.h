// One case of the ONNX backend suite: a folder with model.onnx and test_data_set_K/{input,output}_I.pb, run as a user would: through
// ingot.h, the model freed before the first run, and all again from the engine saved to a file and loaded.
#pragma once
#include "base/arena.h"
#include "base/device.h"

typedef struct SuiteOptions {
  DeviceKind device;
  bool plan_text;  // plans run as they are read back from their text
  bool fp16;       // engines are built with INGOT_FP16, and results may be wider off
} SuiteOptions;

// Compares every data set's outputs: same types, same shapes, values within rtol 1e-3 and atol 1e-7, of fp16 engines both 1e-2. The
// status says at which stage it failed and why. *host names an operator that a GPU run left to the host, or is "".
MUST_CHECK Status suite_case_run(const char *folder, const SuiteOptions *options, Arena *arena, const char **host);
