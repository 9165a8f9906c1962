// See bindings.h. Each call draws sizes and inputs of its own; a quarter of them is the call before the last once more, whose plan is remembered. What the references refuse (a window
// larger than what it slides over) is run all the same: nothing may come of it but an error.
#include "tests/random/bindings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "onnx/import.h"
#include "base/checked.h"
#include "passes/passes.h"
#include "passes/rule_log.h"
#include "run/device.h"
#include "run/runner.h"
#include "tests/random/judge.h"
#include "tests/random/maker.h"
#include "tests/random/trial.h"

enum { SECONDS_A_GRAPH = 300, SECONDS_A_MODEL = 7200 };

typedef struct Work {
  uint64_t seed;
  const BindingsOptions *options;
} Work;

typedef struct Session {
  Arena *arena;
  Graph *graph;  // as made
  Device *device;
  Runner *runner;
  EngineOptions built;
  StagePasses passes;
  Exactness exactness;  // of what became of it
  RunTensor *inputs, *outputs;
} Session;

static Log no_log;

static DeviceKind device_kind(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  return driver && strstr(driver, "emulator") ? DEVICE_CUDA : DEVICE_CPU;
}

static bool is_open(const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++)
    for (int k = 0; k < graph->inputs[i]->rank; k++)
      if (!dim_is_static(graph->inputs[i]->dims[k])) return true;
  return false;
}

// Kernels add up in orders of their own, and round less often than the references between what they fuse.
static Status optimise(Session *s, Graph **out) {
  *out = graph_copy(s->arena, s->graph);
  RuleLog *log = rule_log_new(s->arena, false);
  PassOptions options = {.device = s->device->info.kind, .sm = s->device->info.sm, .precision = DTYPE_COUNT, .rules = log};
  TRY(passes_run(*out, &options, NULL, 0, NULL));
  s->exactness = FINITE | ROUNDED | ZERO_SIGNS | UNSTORED | OF_OPERANDS;
  for (uint32_t i = 0; i < log->count; i++)
    if (!log->events[i].refusal) s->exactness |= log->events[i].rule->exactness;
  return OK;
}

static Status open_session(Session *s, const Work *work) {
  Graph *optimised;
  DeviceOptions options = {.kind = device_kind(), .threads = 1, .log = &no_log};
  TRY(options.kind == DEVICE_CPU ? cpu_device_new(&options, &s->device) : cuda_device_new(&options, &s->device));
  TRY(optimise(s, &optimised));
  s->passes = (StagePasses){&s->device->info, &s->built, &no_log};
  RunnerHooks hooks = api_runner_hooks(&s->passes);
  TRY(runner_new(optimised, s->device, &hooks, 0, &s->runner));
  s->inputs = arena_array(s->arena, RunTensor, (size_t)s->graph->input_count + 1);
  s->outputs = arena_array(s->arena, RunTensor, (size_t)s->graph->output_count + 1);
  return OK;
}

static void close_session(Session *s) {
  runner_free(s->runner);
  if (s->device) s->device->free(s->device);
}

static Status give(Session *s, const Tensor *inputs) {
  for (int i = 0; i < s->graph->input_count; i++) TRY(run_tensor_borrow_host(s->device, &inputs[i], &s->inputs[i]));
  return OK;
}

static Status fetch(Session *s, Tensor *out) {
  for (int i = 0; i < s->graph->output_count; i++) {
    const RunTensor *from = &s->outputs[i];
    out[i] = (Tensor){.dtype = from->dtype, .rank = from->rank};
    memcpy(out[i].dims, from->dims, sizeof out[i].dims);
    TRY(run_tensor_host(from, &out[i].data));
  }
  return OK;
}

static void drop(Session *s) {
  run_tensors_drop(s->inputs, s->graph->input_count);
  run_tensors_drop(s->outputs, s->graph->output_count);
  memset(s->inputs, 0, (size_t)s->graph->input_count * sizeof *s->inputs);
  memset(s->outputs, 0, (size_t)s->graph->output_count * sizeof *s->outputs);
}

static Status run(Session *s, const Tensor *inputs, Tensor *results) {
  TRY(give(s, inputs));
  TRY(runner_run(s->runner, s->inputs, s->outputs));
  return fetch(s, results);
}

// Numbers among the constants that are none: padding times these is nothing to the references, and not a number to who multiplies it.
static int64_t strange_constants(const Graph *graph) {
  int64_t count = 0;
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) {
      const Tensor *constant = node->inputs[i] ? node->inputs[i]->constant : NULL;
      bool floats = constant && dtype_is_float(constant->dtype);
      for (int64_t k = 0; floats && k < tensor_count(constant); k++) count += !isfinite(tensor_get_f(constant, k));
    }
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) count += strange_constants(node->attributes[i].graph);
  }
  return count;
}

static Status compare(Session *s, const Judge *judge, Arena *arena, Trial *trial) {
  Verdict verdict;
  Tensor *results = arena_array(arena, Tensor, (size_t)s->graph->output_count + 1);
  TRY(run(s, judge->inputs, results));
  TRY(judge_results(judge, results, (Allowance){s->exactness, DTYPE_COUNT}, &verdict));
  trial->ways++;
  trial->bounded += verdict.bounded;
  trial->unjudged += verdict.unjudged;
  return OK;
}

static Status run_refused(Session *s, uint64_t values, Arena *arena) {
  const Graph *bound = evaluate_bind(arena, s->graph, values);
  Tensor *inputs = arena_array(arena, Tensor, (size_t)s->graph->input_count + 1);
  Tensor *results = arena_array(arena, Tensor, (size_t)s->graph->output_count + 1);
  TRY(evaluate_inputs(arena, bound, values, inputs));
  return run(s, inputs, results);
}

// Two sizes of a model may have to be equal that have two names.
static Status check_sizes(Arena *arena, const Graph *graph, uint64_t values) {
  Graph *bound = evaluate_bind(arena, graph, values);
  FOR_NODES(node, bound) TRY(node_infer(node));
  return OK;
}

static Status call(Session *s, uint64_t values, Trial *trial) {
  Arena *arena = arena_scratch();
  Judge judge;
  Status status = check_sizes(arena, s->graph, values);
  if (!status) status = judge_begin(arena, s->graph, values, &judge);
  if (!status) {
    judge.strange += strange_constants(s->graph);
    status = status_context(compare(s, &judge, arena, trial), "with sizes and inputs %llu", (unsigned long long)values);
  } else {
    status_free(status);
    status_free(run_refused(s, values, arena));
    status = OK;
  }
  drop(s);
  arena_free(arena);
  return status;
}

static Status call_all(Session *s, const Work *work, Trial *trial) {
  trial->nodes = s->graph->node_count;
  uint64_t before[2] = {hash_mix(work->seed, 1), hash_mix(work->seed, 2)};
  for (int i = 0; i < work->options->bindings; i++) {
    uint64_t values = i % 4 == 3 ? before[0] : hash_mix(work->seed, (uint64_t)i + 3);
    TRY(call(s, values, trial));
    before[0] = before[1], before[1] = values;
  }
  return OK;
}

static Status read_model(Arena *arena, const char *path, Graph **out) {
  Model *model;
  TRY(onnx_model_open(path, NULL, arena, &no_log, &model));
  return onnx_import(model, arena, out);
}

static Status take_graph(const Work *work, Arena *arena, Graph **out) {
  const BindingsOptions *options = work->options;
  return options->model ? read_model(arena, options->model, out) : make_graph(arena, work->seed, options->nodes, out);
}

static Status try_graph(const Work *work, Trial *trial) {
  Arena *arena = arena_scratch();
  Session s = {.arena = arena};
  Status status = take_graph(work, arena, &s.graph);
  trial->outcome = HELD;
  if (!status && is_open(s.graph)) {
    status = open_session(&s, work);
    if (!status) status = call_all(&s, work, trial);
    if (status) trial->outcome = status_code(status) == ERROR_MISMATCH ? DIFFERS : BREAKS;
  } else {
    trial->outcome = REFUSED;
  }
  snprintf(trial->message, sizeof trial->message, "%s", status ? status_message(status) : "no size is open");
  status_free(status);
  close_session(&s);
  arena_free(arena);
  return OK;
}

static void work_apart(void *context, Trial *trial) {
  Status status = RECOVER_GUARD(try_graph(context, trial));
  if (status) {
    trial->outcome = BREAKS;
    snprintf(trial->message, sizeof trial->message, "%s", status_message(status));
  }
  status_free(status);
}

Status bindings_run(const BindingsOptions *options, int *result) {
  uint64_t seed = options->seed;
  long count = options->model ? 1 : options->count, graphs = 0, calls = 0, bounded = 0, unjudged = 0, failed = 0;
  for (uint64_t i = seed; i < seed + (uint64_t)count; i++) {
    Work work = {i, options};
    Trial trial;
    trial_apart(work_apart, &work, options->model ? SECONDS_A_MODEL : SECONDS_A_GRAPH, &trial);
    if (trial.outcome == REFUSED && !options->model) continue;
    graphs++, calls += trial.ways, bounded += trial.bounded, unjudged += trial.unjudged;
    if (trial.outcome == HELD) continue;
    printf("seed %llu %s: %s\n", (unsigned long long)i, outcome_name(trial.outcome), trial.message);
    failed++;
  }
  printf(
      "seeds %llu to %llu: %ld graphs of open sizes, %ld calls; %ld gave other bits within the bound, %ld left the range of a "
      "type; %ld graphs failed\n",
      (unsigned long long)seed, (unsigned long long)seed + (uint64_t)count - 1, graphs, calls, bounded, unjudged, failed);
  *result = failed || !graphs;
  return OK;
}
