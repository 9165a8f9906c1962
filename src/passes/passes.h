// The pass manager: a literal list of passes (pipeline.c), each in a file of its own, run in order with verification after
// each in debug builds, and timed. A pass is a function over a graph that counts what it changed; it recurses into subgraphs through
// passes_run, which visits them. Passes see symbolic shapes: two dims are the same when their words are equal.
#pragma once
#include "base/device.h"
#include "base/log.h"
#include "ir/op.h"

typedef struct PassOptions {
  DeviceKind device;
  int sm;           // of a CUDA device
  DType precision;  // DTYPE_F16 or DTYPE_BF16 where asked for; DTYPE_COUNT: as the model is written
  bool tf32;
  const char *disabled;  // comma-separated names; "all": every optional pass; NULL: none
  bool verify;           // after each pass; always in debug builds
  const Log *log;
  void (*observe)(void *context, const char *pass, const Graph *graph);  // after each pass that changed something; NULL: nobody
  void *observe_context;
} PassOptions;

typedef struct Pass {
  const char *name;  // "fuse_epilogue"
  const char *help;  // one line
  bool optional;     // may be switched off; the others are needed for a plan to exist
  Status (*run)(Graph *graph, const PassOptions *options, int *changes);
} Pass;

typedef struct PassReport {
  const char *name;
  int changes;
  double seconds;
  int nodes_after;
} PassReport;

extern const Pass *const pass_pipeline[];  // NULL-terminated; a pass may stand in it several times

// Whether `disabled` of PassOptions leaves this pass out.
bool passes_leave_out(const char *disabled, const char *name);
// Refuses a list with a name that no pass has, or one of a pass that is not optional; says which are.
MUST_CHECK Status passes_check_list(const char *disabled);
// Runs the pipeline. reports may be NULL; fills at most `limit`, sets *count to how many there are.
MUST_CHECK Status passes_run(Graph *graph, const PassOptions *options, PassReport *reports, int limit, int *count);
// Runs the passes named in a comma-separated list, for tests and for `ingot inspect --passes`.
MUST_CHECK Status passes_run_named(Graph *graph, const char *names, const PassOptions *options);
