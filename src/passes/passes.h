// The pass manager: a literal list of passes (pipeline.c), run in order with verification after each in debug builds, and timed. A pass is a list of rules
// (rule.h), or a function over a graph that counts what it changed; subgraphs are visited before the graph that holds them. What nothing uses goes before the first pass
// and after each. Passes see symbolic shapes: two dims are the same when their words are equal.
#pragma once
#include "base/device.h"
#include "base/log.h"
#include "ir/op.h"

typedef struct Rule Rule;
typedef struct RuleLog RuleLog;

typedef struct PassOptions {
  DeviceKind device;
  int sm;           // of a CUDA device
  DType precision;  // DTYPE_F16 or DTYPE_BF16 where asked for; DTYPE_COUNT: as the model is written
  bool tf32;
  // Comma-separated: PASS, RULE or "all", everywhere or where an application touches what comes from one ONNX node: RULE@NODE.
  const char *disabled;    // these do not run; NULL or "": all do
  const char *only;        // no others run; NULL: all do
  const char *stop_after;  // nothing behind the first run of this PASS, or of the pass that has this RULE; NULL: all
  int *allowed;            // applications of rules that are left to be made, counted down; NULL: any number
  bool verify;             // after each pass; always in debug builds
  bool in_region;          // of the graph at hand: half precision has the digits of f32 in it; set for bodies
  const Log *log;
  RuleLog *rules;  // what rules did, and what they refused; see rule_log.h; NULL: nowhere
  void (*observe)(void *context, const char *pass, const Graph *graph);  // after each pass that changed something; NULL: nobody
  void *observe_context;
} PassOptions;

typedef struct Pass {
  const char *name;          // "fuse_epilogue"
  const char *help;          // one line
  const Rule *const *rules;  // NULL-terminated, each tried before those behind it; or NULL and
  Status (*run)(Graph *graph, const PassOptions *options, int *changes);
  bool needed;  // runs whatever is left out: what comes behind the passes does without what it removes
} Pass;

typedef struct PassReport {
  const char *name;
  int changes;
  double seconds;
  int nodes_before, nodes_after;
} PassReport;

extern const Pass *const pass_pipeline[];  // NULL-terminated; a pass may stand in it several times
// Each pass once: those of the pipeline in its order, then loaded ones (plugin.h); NULL behind the last.
const Pass *pass_at(int index);
const Pass *pass_named(const char *name, size_t length);  // NULL: there is none

// Runs the pipeline. reports may be NULL; fills at most `limit`, sets *count to how many there are.
MUST_CHECK Status passes_run(Graph *graph, const PassOptions *options, PassReport *reports, int limit, int *count);
// Runs the passes named in a comma-separated list, for tests and for `ingot inspect --passes`.
MUST_CHECK Status passes_run_named(Graph *graph, const char *names, const PassOptions *options);
