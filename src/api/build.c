// Models and the building of engines: import, passes, tuning. Part of libingot, not of libingot-runtime.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/targets.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "ir/op.h"
#include "onnx/absent.h"
#include "onnx/import.h"
#include "onnx/model.h"
#include "onnx/ops/translate.h"
#include "passes/rule_log.h"
#include "passes/selection.h"
#include "run/tune_graph.h"
#include "lower/database.h"

// ---- models ------------------------------------------------------------------------------------------------------------------

static Status import(const Model *source, ingot_model *model) {
  budget_stage("opening", 0.5, -1);
  TRY(budget_poll());
  model->source = source;
  return onnx_import(source, model->arena, &model->graph);
}

static Status open_path(const char *path, const ingot_config *given, ingot_model *model) {
  ingot_config config;
  TRY(api_config(given, &config));
  Log log = api_log(&config);
  OnnxLimits limits = {.file_bytes = api_size_limit(&config)};
  Model *source;
  budget_stage("opening", 0, -1);
  TRY(onnx_model_open(path, &limits, model->arena, &log, &source));
  return import(source, model);
}

static Status open_bytes(const void *bytes, size_t size, const char *folder, const ingot_config *given, ingot_model *model) {
  ingot_config config;
  TRY(api_config(given, &config));
  Log log = api_log(&config);
  OnnxLimits limits = {.file_bytes = api_size_limit(&config)};
  Model *source;
  void *copy;
  budget_stage("opening", 0, -1);
  TRY(arena_try_alloc(model->arena, size, 64, &copy));
  memcpy(copy, bytes, size);
  TRY(onnx_model_open_bytes((Bytes){copy, size}, folder, &limits, model->arena, &log, &source));
  return import(source, model);
}

static ingot_error *finish_open(Status status, ingot_model *model, ingot_model **out) {
  if (status) ingot_model_free(model);
  else *out = model;
  return api_error(status);
}

static ingot_model *model_new(void) {
  ingot_model *model = calloc(1, sizeof *model);
  if (model) model->arena = arena_try_new();
  if (model && model->arena) return model;
  free(model);
  return NULL;
}

ingot_error *ingot_model_open(const char *path, const ingot_config *config, ingot_model **out) {
  Status status = api_require("ingot_model_open", "path", path, "out", out, NULL);
  if (status) return api_error(status);
  ingot_model *model = model_new();
  if (!model) return api_error(status_out_of_memory());
  return finish_open(API_LIMITED(config, open_path(path, config, model)), model, out);
}

ingot_error *ingot_model_open_memory(const void *bytes, size_t size, const char *folder, const ingot_config *config,
                                     ingot_model **out) {
  Status status = api_require("ingot_model_open_memory", "bytes", bytes, "out", out, NULL);
  if (status) return api_error(status);
  ingot_model *model = model_new();
  if (!model) return api_error(status_out_of_memory());
  return finish_open(API_LIMITED(config, open_bytes(bytes, size, folder, config, model)), model, out);
}

void ingot_model_free(ingot_model *model) {
  if (!model) return;
  arena_free(model->arena);
  free(model);
}

char *ingot_model_text(const ingot_model *model) { return model ? api_graph_text(model->graph) : NULL; }

// A row a property, in the order of ingot_property.
static const size_t properties[] = {
    [INGOT_MODEL_PRODUCER] = offsetof(Model, producer), [INGOT_MODEL_PRODUCER_VERSION] = offsetof(Model, producer_version),
    [INGOT_MODEL_DOMAIN] = offsetof(Model, domain),     [INGOT_MODEL_DESCRIPTION] = offsetof(Model, doc),
    [INGOT_MODEL_GRAPH] = offsetof(Model, graph_name),  [INGOT_MODEL_GRAPH_DESCRIPTION] = offsetof(Model, graph_doc),
};

const char *ingot_model_property(const ingot_model *model, ingot_property property) {
  if (!model || (unsigned)property >= COUNT_OF(properties)) return "";
  return *(const char *const *)(const void *)((const char *)model->source + properties[property]);
}

int64_t ingot_model_version(const ingot_model *model) { return model ? model->source->version : 0; }

const char *ingot_model_note(const ingot_model *model, int index, const char **value) {
  const char *text = "", *name = model ? onnx_model_note(model->source, index, &text) : NULL;
  if (value) *value = text;
  return name;
}

// ---- engines -----------------------------------------------------------------------------------------------------------------

static Status keep_plan(void *engine, const Stage *stage, const Plan *plan, const Compiler *compiler) {
  api_keep_plan(engine, stage, plan, compiler);
  return OK;
}

static void tell_stale(const TuningDatabase *database, const Log *log) {
  int sites, count = tuning_count_stale(database, &sites);
  if (count)
    log_add(
        log, LOG_WARNING,
        "%d of the tuning database's entries, of %d sites, were measured with other kernels or libraries than are here, and "
        "were left out: tune again",
        count, sites);
}

// The plan of the declared shapes, where they are known; on a GPU its sites are tuned first, and its kernels kept.
static Status prepare_on(Engine *engine, Device *device, TuneGraphOptions *options, TuningDatabase *database) {
  StagePasses passes = {&device->info, &engine->built, options->log};
  RunnerHooks hooks = api_runner_hooks(&passes);
  options->keep = keep_plan;
  options->keep_context = engine;
  TRY(tune_graph(engine->graph, device, &hooks, options, database));
  if (device->info.kind == DEVICE_CPU) return OK;
  engine->tuning = tuning_print_chosen(database, engine->arena);
  engine->tried = database;
  tell_stale(database, options->log);
  DeviceKernel *kernels;
  int count;
  TRY(cuda_device_kernels(device, engine->arena, &kernels, &count));
  for (int i = 0; i < count; i++)
    *ARENA_PUSH(engine->arena, engine->kernels, engine->kernel_count, engine->kernel_capacity) =
        (EngineKernel){.hash = kernels[i].hash, .sm = device->info.sm, .cubin = kernels[i].cubin};
  return OK;
}

static Status prepare(Engine *engine, const ingot_config *config, const BuildHooks *hooks, bool on_gpu,
                      const ShapeProfile *profile, const Log *log) {
  TuningDatabase *database;
  if (config->tuning_file) TRY(tuning_open(engine->arena, config->tuning_file, &database));
  else database = tuning_new(engine->arena);
  Device *device;
  ingot_config chosen = *config;
  chosen.device = on_gpu ? INGOT_DEVICE_CUDA : INGOT_DEVICE_CPU;
  chosen.parallel = NULL;  // sessions' threads
  TRY(api_open_device(&chosen, log, engine->built.tf32, NULL, database, &device));
  TuneGraphOptions options = {.shapes = profile->best,
                              .seconds = config->tuning_seconds,
                              .samples = profile->samples,
                              .sample_count = profile->sample_count,
                              .report = hooks->tuned,
                              .log = log};
  Status status = RECOVER_GUARD(prepare_on(engine, device, &options, database));
  device->free(device);
  if (!status && config->tuning_seconds > 0) status = tuning_compact(database);
  return status;
}

static bool measures(const ingot_config *config) {
  return config->tuning_seconds > 0 || config->tuning_file || config->tuning_shapes;
}

static Status choose_device(const ingot_config *config, bool *cuda) {
  *cuda = config->targets || config->device == INGOT_DEVICE_CUDA || api_wants_gpu(config) ||
          (config->device == INGOT_DEVICE_AUTO && cuda_device_present(config->device_index));
  if (!*cuda && measures(config))
    FAIL(ERROR_INVALID_ARGUMENT, "%s, and the engine is built for the CPU",
         config->tuning_seconds > 0 || config->tuning_file ? "tuning measures kernels of a GPU"
                                                           : "shapes are what kernels of a GPU are compiled for");
  return OK;
}

// There is nothing to measure before the shapes are known.
static Status check_tuned_shapes(const Graph *graph, const int64_t *const *shapes) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    if (shapes[i] || input->initial) continue;
    if (input->kind != VALUE_TENSOR || input->rank < 0)
      FAIL(ERROR_INVALID_ARGUMENT, "tuning needs known shapes, and only a run knows that of input '%s'", input->name);
    if (input->dtype == DTYPE_COUNT || !value_get_dims(input, dims))
      FAIL(ERROR_INVALID_ARGUMENT, "tuning needs known shapes, and that of input '%s' is open: say which in tuning_shapes",
           input->name);
  }
  return OK;
}

// Passes see more once it is known which inputs keep their defaults: they run in sessions then. Precisions are the engine's own.
static bool waits_for_inputs(const Graph *graph, DType precision) {
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i]->initial) return precision == DTYPE_COUNT;
  return false;
}

static void keep_rewrites(Engine *engine, const RuleLog *log) {
  for (uint32_t i = 0; i < log->count; i++) {
    const RuleEvent *event = &log->events[i];
    if (event->refusal) continue;
    Arena *arena = engine->arena;
    *ARENA_PUSH(arena, engine->rewrites, engine->rewrite_count, engine->rewrite_capacity) = (EngineRewrite){
        arena_string(arena, event->pass), arena_string(arena, event->rule->name), arena_string(arena, event->place),
        arena_string(arena, event->before), arena_string(arena, event->after)};
  }
}

static const char *why_absent(const void *model, const char *name) {
  const char *op_type;
  return onnx_why_absent(model, name, &op_type);
}

static Status build(const ingot_model *model, const ingot_config *given, const BuildHooks *hooks, Engine *engine) {
  ingot_config config;
  TRY(api_config(given, &config));
  Log log = api_log(&config);
  double start = time_now();
  engine->graph = graph_copy(engine->arena, model->graph);
  engine->built = (EngineOptions){.tf32 = (config.precision & INGOT_TF32) != 0,
                                  .precision = config.precision & INGOT_FP16   ? DTYPE_F16
                                               : config.precision & INGOT_BF16 ? DTYPE_BF16
                                                                               : DTYPE_COUNT,
                                  .measured = measures(&config),
                                  .disabled = arena_string(engine->arena, config.disabled_passes)};
  bool cuda;
  TRY(choose_device(&config, &cuda));
  PassOptions options = {.device = cuda ? DEVICE_CUDA : DEVICE_CPU,
                         .sm = 0,
                         .precision = engine->built.precision,
                         .tf32 = engine->built.tf32,
                         .disabled = waits_for_inputs(engine->graph, engine->built.precision) ? "all" : engine->built.disabled,
                         .only = hooks->only,
                         .stop_after = hooks->stop_after,
                         .allowed = hooks->allowed,
                         .observe = hooks->observe,
                         .observe_context = hooks->context,
                         .log = &log,
                         .rules = hooks->rules};
  TRY(passes_check_list(hooks->only));
  TRY(passes_check_places(hooks->only, model->graph, why_absent, model->source));
  TRY(passes_check_places(config.disabled_passes, model->graph, why_absent, model->source));
  ShapeProfile profile;
  TRY(api_parse_shapes(engine->graph, config.tuning_shapes, engine->arena, &profile));
  if (config.tuning_seconds > 0) TRY(check_tuned_shapes(engine->graph, profile.best));
  PassReport reports[64];
  int count;
  TRY(passes_run(engine->graph, &options, reports, COUNT_OF(reports), &count));
  for (int i = 0; i < count; i++)
    *ARENA_PUSH(engine->arena, engine->passes, engine->pass_count, engine->pass_capacity) =
        (EnginePass){reports[i].name, reports[i].changes, reports[i].seconds, reports[i].nodes_before, reports[i].nodes_after};
  keep_rewrites(engine, hooks->rules);
  TRY(graph_own_tensors(engine->graph));  // the engine outlives its model
  graph_name_constants(engine->graph);
  log_add(&log, LOG_INFO, "%d nodes after the passes, %.0f ms", engine->graph->node_count, (time_now() - start) * 1e3);
  return config.targets ? api_build_targets(engine, &config, &profile, &log)
                        : prepare(engine, &config, hooks, cuda, &profile, &log);
}

static Status build_and_wrap(const ingot_model *model, const ingot_config *config, const BuildHooks *hooks, Arena *arena,
                             ingot_engine **out) {
  Engine *engine = engine_new(arena);
  Arena *scratch = arena_scratch();
  BuildHooks logged = *hooks;
  if (!logged.rules) logged.rules = rule_log_new(scratch, false);
  Status status = build(model, config, &logged, engine);
  arena_free(scratch);
  return status ? status : api_engine_wrap(engine, out);
}

Status api_build(const ingot_model *model, const ingot_config *config, const BuildHooks *hooks, ingot_engine **out) {
  Arena *arena = arena_try_new();
  if (!arena) return status_out_of_memory();
  Status status = API_LIMITED(config, build_and_wrap(model, config, hooks, arena, out));
  if (status) arena_free(arena);
  return status;
}

ingot_error *ingot_engine_build(const ingot_model *model, const ingot_config *config, ingot_engine **out) {
  Status status = api_require("ingot_engine_build", "model", model, "out", out, NULL);
  return api_error(status ? status : api_build(model, config, &(BuildHooks){0}, out));
}
