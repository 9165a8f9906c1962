// Sessions: opening, planning ahead, what they say of themselves.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "ir/op.h"
#include "onnx/ops/translate.h"
#include "passes/passes.h"
#include "lower/database.h"

bool api_is_deferred(const Node *node) { return node->op == &op_deferred; }

// Operators translated at run time get fused like the rest.
static Status optimise_stage(Graph *graph, void *context) {
  const StagePasses *passes = context;
  PassOptions options = {.device = passes->device->kind,
                         .sm = passes->device->sm,
                         .precision = DTYPE_COUNT,
                         .tf32 = passes->built->tf32,
                         .disabled = passes->built->disabled,
                         .log = passes->log};
  return passes_run(graph, &options, NULL, 0, NULL);
}

RunnerHooks api_runner_hooks(StagePasses *passes) {
  return (RunnerHooks){
      .translate = translate_deferred, .is_deferred = api_is_deferred, .optimise = optimise_stage, .optimise_context = passes};
}

static Status preload_kernels(ingot_session *session) {
  const Engine *engine = session->engine->engine;
  for (uint32_t i = 0; session->device->preload && i < engine->kernel_count; i++) {
    const EngineKernel *kernel = &engine->kernels[i];
    if (kernel->sm == session->device->info.sm) TRY(session->device->preload(session->device, kernel->hash, kernel->cubin));
  }
  return OK;
}

static Status open_session(ingot_session *session, const ingot_config *given) {
  ingot_config config;
  TRY(api_config(given, &config));
  TRY(api_config_finished(&config, &session->engine->engine->built));
  const Graph *graph = session->engine->engine->graph;
  session->log = api_log(&config);
  const ingot_engine *engine = session->engine;
  double start = time_now();
  TRY(api_open_device(&config, &session->log, engine->engine->built.tf32, engine->weights, engine->tuning, &session->device));
  session->device->opening.seconds[OPENING_DEVICE] = time_now() - start;
  if (!config.untrusted_engine) TRY(preload_kernels(session));
  const DeviceInfo *info = &session->device->info;
  if (info->kind == DEVICE_CUDA)
    snprintf(session->device_name, sizeof session->device_name, "%s (CUDA device %d, sm_%d)", info->name, config.device_index,
             info->sm);
  else snprintf(session->device_name, sizeof session->device_name, "%s (%d threads)", info->name, info->multiprocessors);
  log_add(&session->log, LOG_INFO, "running on %s", session->device_name);
  if (info->kind == DEVICE_CPU && engine->engine->built.tf32)
    log_add(&session->log, LOG_INFO, "the engine may use tf32, which CPUs do not have: it runs in fp32");
  session->passes = (StagePasses){&session->device->info, &engine->engine->built, &session->log};
  session->held = (HeldPlans){.engine = engine->engine};
  RunnerHooks hooks = api_runner_hooks(&session->passes);
  hooks.held = config.untrusted_engine && info->kind != DEVICE_CPU ? NULL : api_take_plan;
  hooks.held_context = &session->held;
  TRY(runner_new(graph, session->device, &hooks, config.plan_cache_limit, &session->runner));
  session->inputs = calloc((size_t)graph->input_count + 1, sizeof *session->inputs);
  session->outputs = calloc((size_t)graph->output_count + 1, sizeof *session->outputs);
  session->destinations = calloc((size_t)graph->output_count + 1, sizeof *session->destinations);
  session->expected = calloc((size_t)graph->output_count + 1, sizeof *session->expected);
  session->device_index = config.cuda_context ? -1 : config.device_index;
  return session->inputs && session->outputs && session->destinations && session->expected ? OK : status_out_of_memory();
}

ingot_error *ingot_session_create(ingot_engine *engine, const ingot_config *config, ingot_session **out) {
  Status status = api_require("ingot_session_create", "engine", engine, "out", out, NULL);
  if (status) return api_error(status);
  ingot_session *session = calloc(1, sizeof *session);
  if (!session) return api_error(status_out_of_memory());
  session->process = getpid();
  session->engine = engine;
  atomic_fetch_add(&engine->references, 1);
  status = api_limits(config, &session->limits);
  if (!status) status = SESSION_CALL(session, open_session(session, config));
  if (status) ingot_session_free(session);
  else *out = session;
  return api_error(status);
}

Status api_check_process(const ingot_session *session) {
  if (session->process == getpid()) return OK;
  FAIL(ERROR_INVALID_ARGUMENT, "the session is of the process that this one was forked from");
}

void ingot_session_free(ingot_session *session) {
  if (!session || session->process != getpid()) return;  // its threads and the driver's state are the other's
  api_drop(session->inputs, ingot_engine_input_count(session->engine));
  api_drop(session->outputs, ingot_engine_output_count(session->engine));
  runner_free(session->runner);
  if (session->device) session->device->free(session->device);
  ingot_engine_free(session->engine);
  free(session->inputs);
  free(session->outputs);
  free(session->destinations);
  free(session->expected);
  for (int i = 0; i < 2; i++) arena_free(session->strings[i]);
  free(session);
}

Opening api_opening(const ingot_session *session) {
  Opening opening = session->engine->engine->opening;
  const Opening *own = &session->device->opening;
  for (int i = 0; i < OPENING_PARTS; i++) opening.seconds[i] += own->seconds[i];
  opening.specialised = own->specialised;
  opening.bound = own->bound;
  return opening;
}

const char *ingot_session_device(const ingot_session *session) { return session ? session->device_name : ""; }

ingot_error *ingot_session_synchronize(ingot_session *session) {
  Status status = api_require("ingot_session_synchronize", "session", session, NULL);
  return api_error(status ? status : SESSION_CALL(session, session->device->synchronize(session->device)));
}

Status api_order(ingot_session *session, void *stream, bool behind) {
  Device *device = session->device;
  if (!device->order)
    FAIL(ERROR_INVALID_ARGUMENT, "a session on the CPU is done when its calls return: there is no stream to order it with");
  return device->order(device, stream, behind);
}

ingot_error *ingot_session_follow(ingot_session *session, void *cuda_stream) {
  Status status = api_require("ingot_session_follow", "session", session, NULL);
  return api_error(status ? status : SESSION_CALL(session, api_order(session, cuda_stream, true)));
}

ingot_error *ingot_session_precede(ingot_session *session, void *cuda_stream) {
  Status status = api_require("ingot_session_precede", "session", session, NULL);
  return api_error(status ? status : SESSION_CALL(session, api_order(session, cuda_stream, false)));
}

size_t ingot_session_memory(const ingot_session *session, ingot_memory kind) {
  if (!session) return 0;
  switch (kind) {
    case INGOT_MEMORY_WEIGHTS: return session->stats.constant_bytes;
    case INGOT_MEMORY_ARENA: return session->stats.arena_bytes;
    case INGOT_MEMORY_UNPACKED: return session->stats.temporary_bytes;
  }
  return 0;
}

static Status check_shape(const Value *value, const int64_t *shape) {
  if (value->kind != VALUE_TENSOR)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is %s, which has no shape: run it once instead", value->name,
         value->kind == VALUE_SEQUENCE ? "a sequence" : "an optional");
  if (value->rank < 0 || value->dtype == DTYPE_COUNT)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no declared rank: run it once instead", value->name);
  if (value->rank && !shape)
    FAIL(ERROR_INVALID_ARGUMENT, "ingot_session_set_shapes: the shape of input '%s' is NULL", value->name);
  size_t bytes = dtype_size(value->dtype);
  for (int k = 0; k < value->rank; k++)
    if (shape[k] < 0 || !checked_mul(bytes, (size_t)MAX(shape[k], 1), &bytes) || bytes > INT64_MAX / 16)
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s': its axis %d cannot be %lld", value->name, k, (long long)shape[k]);
  return OK;
}

static Status set_shapes(ingot_session *session, const int64_t *const *shapes, int count) {
  const Graph *graph = session->engine->engine->graph;
  if (count > graph->input_count)
    FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d shapes were given", graph->input_count, count);
  api_drop(session->inputs, graph->input_count);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    if (value->initial && (i >= count || !shapes[i])) continue;
    if (i >= count)
      FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d shapes were given", graph->input_count, count);
    TRY(check_shape(value, shapes[i]));
    TRY(run_tensor_borrow_device(session->device, value->dtype, value->rank, shapes[i], NULL, &session->inputs[i]));
  }
  TRY(runner_prepare(session->runner, session->inputs));
  session->stats = runner_stats(session->runner);
  api_drop(session->inputs, graph->input_count);
  return OK;
}

ingot_error *ingot_session_set_shapes(ingot_session *session, const int64_t *const *shapes, int count) {
  Status status =
      api_require("ingot_session_set_shapes", "session", session, "shapes", count ? shapes : (const void *)session, NULL);
  return api_error(status ? status : SESSION_CALL(session, set_shapes(session, shapes, count)));
}
