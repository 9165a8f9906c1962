// The last word of tuning: the whole plan is measured with what was found for its sites, and without, and keeps what is faster there.
#pragma once
#include "run/runner.h"
#include "lower/database.h"

typedef struct LastWord {
  const Graph *graph;
  Device *device;  // a GPU
  const RunnerHooks *hooks;
  const RunTensor *inputs;  // their types
  const Plan *untuned;      // as it was planned before
  double seconds;           // after which no other comparison is begun but the first and the last
  const Log *log;
} LastWord;

// before: what was known when `untuned` was planned. Entries of the database that are not of use in the plan become what was chosen without them.
MUST_CHECK Status last_word(const LastWord *options, const TuningDatabase *before, TuningDatabase *database);
