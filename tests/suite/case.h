// One case of the ONNX backend suite: a folder with model.onnx and test_data_set_K/{input,output}_I.pb.
#pragma once
#include "base/arena.h"
#include "kernels/site.h"

// Imports and optimises the model, runs every data set on the device and compares: same types, same shapes, values within rtol 1e-3 and
// atol 1e-7. The status says at which stage it failed and why. *host names an operator that a GPU run left to the host, or is "".
MUST_CHECK Status suite_case_run(const char *folder, DeviceKind device, Arena *arena, const char **host);
