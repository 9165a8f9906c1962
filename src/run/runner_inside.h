// What measuring a runner asks of it besides (runner_measure.c).
#pragma once
#include "run/call_memory.h"
#include "run/stage_cache.h"

struct Runner {
  Device *device;
  StageMemory stages;
  StageCache *top;
  CallMemories memories;
  Arena *strings[2];  // bytes of the strings made in this run and in the one before
  int turn;
  RunnerStats stats;
};

// With the first stage, after one run of its plan, and the addresses that this used.
typedef Status (*PlacedWork)(Runner *runner, StageEntry *entry, void **in, void **out, void *context);
MUST_CHECK Status runner_with_placed(Runner *runner, const RunTensor *inputs, PlacedWork work, void *context);
// All stages once more; strings of the run before are not given up.
MUST_CHECK Status runner_run_again(Runner *runner, const RunTensor *inputs, RunTensor *outputs);
