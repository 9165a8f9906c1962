// Building for GPUs that are not here.
#pragma once
#include "api/api.h"

// Plans and kernels of the engine's graph for each of the configuration's targets become the engine's.
MUST_CHECK Status api_build_targets(Engine *engine, const ingot_config *config, const ShapeProfile *profile, const Log *log);
