// Modules loaded into a context; private to src/cuda.
#pragma once
#include "cuda/context.h"
void modules_unload(CudaContext *context);
