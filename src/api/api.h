// What stands behind the public objects. A public error is an internal Status under another name, a public pass an EnginePass.
#pragma once
#include <stdatomic.h>
#include <sys/types.h>

#include "base/budget.h"
#include "base/recover.h"
#include "engine/engine.h"
#include "ingot/ingot.h"
#include "run/runner.h"

struct ingot_model {
  Arena *arena;
  const struct Model *source;  // as it was read; see onnx/model.h
  Graph *graph;
};

struct ingot_binding {
  const char *name, *dtype_name;
  ingot_dtype dtype;
  ingot_kind kind;
  int rank;
  int64_t *dims;
  const char **dim_names;
  bool has_default;
};

struct ingot_engine {
  atomic_int references;
  Engine *engine;
  WeightStore *weights;
  const struct TuningDatabase *tuning;  // what engine->tuning says, parsed once
  ingot_binding *inputs, *outputs;
};

// Where a result goes.
typedef struct Destination {
  bool callers, host;
  char *to;                // of the caller's memory
  size_t capacity;         // bytes there
  const Tensor *expected;  // the shape and type that the caller's memory was said to have; NULL: any that fits the capacity
} Destination;

struct ingot_cancellation {
  atomic_bool requested;
};

// What a stage's graph is optimised for when a call has shown its shapes.
typedef struct StagePasses {
  const DeviceInfo *device;
  const EngineOptions *built;
  const Log *log;
} StagePasses;

// The plans of an engine as a session takes them.
typedef struct HeldPlans {
  const Engine *engine;
  bool refused;  // one does not run here: it is not tried again
} HeldPlans;

struct ingot_session {
  pid_t process;  // that made it
  Budget budget;
  BudgetLimits limits;  // of each call
  ingot_engine *engine;
  Device *device;
  Runner *runner;
  Log log;
  int device_index;  // CUDA ordinal; -1 where the caller's context decides
  char device_name[192];
  RunTensor *inputs, *outputs;  // scratch of a run; outputs, and what the last run lent of them, stay until the next
  Arena *strings[2];            // those lent by this run and by the one before
  int strings_turn;
  Destination *destinations;
  Tensor *expected;
  RunnerStats stats;
  StagePasses passes;
  HeldPlans held;
};

// ingot_session_plan_text, with someone who is told what the text names. Arguments are there.
ingot_error *api_plan_text(ingot_session *session, const ingot_tensor *inputs, int input_count, const PlanWitness *witness,
                           char **out);

// The plan that a call with these inputs follows, as far as their shapes decide it; it lives until the session's next call.
ingot_error *api_plan(ingot_session *session, const ingot_tensor *inputs, int input_count, const Plan **out);

Opening api_opening(const ingot_session *session);  // of its engine's file, and its own so far

bool api_is_deferred(const Node *node);
RunnerHooks api_runner_hooks(StagePasses *passes);  // without held plans
// RunnerHooks.held, of HeldPlans.
MUST_CHECK Status api_take_plan(void *held, const StageInput *inputs, Device *device, Arena *arena, Plan **plan,
                                Executable **executable);
// The plan becomes the engine's, where it is good for every call. compiler: of its kernels; NULL on the CPU.
void api_keep_plan(Engine *engine, const Stage *stage, const Plan *plan, const Compiler *compiler);

Log api_log(const ingot_config *config);
// Fills in what the caller's (maybe older, shorter) struct does not have; refuses sizes that no version had.
MUST_CHECK Status api_config(const ingot_config *given, ingot_config *out);
// Refuses what a finished engine was not built with. The same configuration may serve for building, loading and running.
MUST_CHECK Status api_config_finished(const ingot_config *config, const EngineOptions *built);
size_t api_size_limit(const ingot_config *config);  // model_limit, or its default
// Whether the configuration is about a GPU, so that a CPU instead would not do.
bool api_wants_gpu(const ingot_config *config);
ingot_error *api_error(Status status);

// What the command line has to say while passes run, and wants to know. All NULL: nothing.
typedef struct BuildHooks {
  const char *only, *stop_after;  // as in PassOptions
  int *allowed;
  struct RuleLog *rules;  // in place of the engine's own
  void (*observe)(void *context, const char *pass, const Graph *graph);
  void *context;
  struct TuneReport *tuned;  // what became of tuning, also where it was ended
} BuildHooks;
MUST_CHECK Status api_build(const ingot_model *model, const ingot_config *config, const BuildHooks *hooks, ingot_engine **out);
// "ingot_session_run: inputs is NULL" for the first of the NULL-terminated pairs of name and pointer that is.
MUST_CHECK Status api_require(const char *function, ...) __attribute__((sentinel));
MUST_CHECK Status api_limits(const ingot_config *config, BudgetLimits *out);  // config may be NULL
// Evaluates call, of type Status, under a guard and within limits: those of a configuration, or those that an object keeps. What is
// cancelled already does not begin.
#define API_CALL(budget, limits, call)                   \
  ({                                                     \
    budget_enter(budget, limits);                        \
    Status api_status_ = budget_poll();                  \
    if (!api_status_) api_status_ = RECOVER_GUARD(call); \
    budget_leave(budget);                                \
    api_status_;                                         \
  })
#define API_LIMITED(config, call)                                     \
  ({                                                                  \
    Budget api_budget_ = {0};                                         \
    BudgetLimits api_limits_;                                         \
    Status api_bad_ = api_limits(config, &api_limits_);               \
    api_bad_ ? api_bad_ : API_CALL(&api_budget_, &api_limits_, call); \
  })
#define SESSION_CALL(session, call)                                                     \
  ({                                                                                    \
    Status api_forked_ = api_check_process(session);                                    \
    api_forked_ ? api_forked_ : API_CALL(&(session)->budget, &(session)->limits, call); \
  })
// Threads do not live on in a child process: a session is of the process that made it.
MUST_CHECK Status api_check_process(const ingot_session *session);
MUST_CHECK Status api_order(ingot_session *session, void *stream, bool behind);  // as Device.order
MUST_CHECK Status api_engine_wrap(Engine *engine, ingot_engine **out);           // takes the engine over
char *api_graph_text(const Graph *graph);                                        // malloc'ed; NULL where memory is short
MUST_CHECK Status api_open_device(const ingot_config *config, const Log *log, bool tf32, WeightStore *weights,
                                  const struct TuningDatabase *tuning, Device **out);
// "ids:1x128,mask:1..8x16..128..512": of each input the sizes it may have, and those to tune for; what is given once for a symbol holds wherever it stands.
typedef struct ShapeRange {
  int64_t least[MAX_RANK], best[MAX_RANK], most[MAX_RANK];
} ShapeRange;
typedef const int64_t *const *InputShapes;  // of each input; NULL where it is not known
typedef struct ShapeProfile {
  const ShapeRange *const *ranges;  // of each input; NULL where none was given
  InputShapes best;
  InputShapes *
      samples;  // shapes that stand for all in the ranges: what is compiled for them serves them all. None where nothing is a range.
  int sample_count;
} ShapeProfile;
MUST_CHECK Status api_parse_shapes(const Graph *graph, const char *text, Arena *arena, ShapeProfile *out);
void api_sample_shapes(const Graph *graph, Arena *arena, ShapeProfile *profile);  // fills in best and samples
ingot_dtype api_dtype(DType dtype);
bool api_dtype_from(ingot_dtype type, DType *out);

// The caller's tensors as the runner's: the session's inputs of this run.
MUST_CHECK Status api_take_inputs(ingot_session *session, const ingot_tensor *inputs, int count);
bool api_on_host(const ingot_tensor *tensor);
// Whether the session runs where the tensor, which is not on the host, lies.
MUST_CHECK Status api_address(const ingot_tensor *given, size_t bytes, const char *what, const char *name,
                              void **out);  // where its elements begin; NULL without data
MUST_CHECK Status api_check_device(const ingot_session *session, const ingot_tensor *given, const char *what, const char *name);
// Whether the session lent some of these bytes at its last run.
bool api_is_lent(const ingot_session *session, const void *data, size_t bytes);
bool api_overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes);
// The tensor without its data: rank, shape, strides and type checked. what: "input" or "output".
MUST_CHECK Status api_read_shape(const ingot_tensor *given, const char *what, const char *name, Tensor *out);
void api_drop(RunTensor *tensors, int count);

// strings.c
MUST_CHECK Status api_check_strings(const Tensor *tensor, const char *name);
void api_turn_strings(ingot_session *session);  // at the start of a run
// Copies strings into the session's memory; to may be from.
void api_lend_strings(ingot_session *session, const char *const *from, const char **to, int64_t count);
