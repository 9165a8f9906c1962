// Several sessions of one engine side by side.
#pragma once
#include "cli/cli.h"

typedef struct SessionTimes {
  int calls;
  double per_second, p50, p99;  // of all sessions' calls; milliseconds
} SessionTimes;

// Each session has a thread, and on a GPU a stream, of its own. inputs are read by all.
ingot_error *bench_sessions(ingot_engine *engine, const ingot_config *config, const InputSet *inputs, int count, double seconds,
                            SessionTimes *out);
