// The last word of tuning: the whole plan is measured with what was found for its sites, and without, and keeps what is faster there.
#pragma once
#include "run/runner.h"
#include "lower/database.h"

typedef struct LastWord {
  const Graph *graph;
  Device *device;  // a GPU
  const RunnerHooks *hooks;
  const RunTensor *inputs;  // their types
  const Plan
      *untuned;    // made by what was kept before, and else without measuring: by a view of the database with nothing unjudged
  double seconds;  // after which no other comparison is begun but the first and the last
  const Log *log;
} LastWord;

// Says of each entry that the plan would take now whether a run keeps it, and records that.
MUST_CHECK Status last_word(const LastWord *options, TuningDatabase *database);
// A view of the database that chooses what was kept, and of what is unjudged nothing but at the sites of these keys.
TuningDatabase *last_word_view(const TuningDatabase *database, StringMap *unjudged, Arena *arena);
