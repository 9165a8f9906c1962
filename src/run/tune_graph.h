// Prepares a graph on a device for its declared shapes, so that its plan and its kernels can be stored, and on a GPU tunes its
// sites as far as the budget goes. A graph whose shapes are open is left for the first run.
#pragma once
#include "run/runner.h"
#include "lower/database.h"
#include "tune/tune.h"

typedef struct TuneGraphOptions {
  const int64_t *const *shapes;          // of each input; NULL, or one that is NULL: as the graph declares it
  double seconds;                        // 0: compile only
  const int64_t *const *const *samples;  // on a GPU: shapes for which kernels are compiled as well
  int sample_count;
  const Log *log;
  TuneReport *report;  // of tuning its sites, where they were; NULL: nobody wants it
  // Given the plan of the first stage at the end; NULL: nobody wants it.
  Status (*keep)(void *context, const Stage *stage, const Plan *plan, const Compiler *compiler);
  void *keep_context;
} TuneGraphOptions;

// The device was opened with this database; it sees what is added.
MUST_CHECK Status tune_graph(const Graph *graph, Device *device, const RunnerHooks *hooks, const TuneGraphOptions *options,
                             TuningDatabase *database);
// A driver is there and has a device with this number.
bool cuda_device_present(int index);
