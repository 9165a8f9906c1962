// Engines and sessions: load, save, describe, run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/recover.h"
#include "ir/graph_text.h"
#include "kernels/op.h"
#include "onnx/translate.h"
#include "passes/passes.h"
#include "tune/database.h"

// ---- engines -----------------------------------------------------------------------------------------------------------------

static void describe(Engine *engine, Value *const *values, int count, ingot_binding *out) {
  for (int i = 0; i < count; i++) {
    const Value *value = values[i];
    out[i] =
        (ingot_binding){.name = value->name, .rank = value->rank, .dtype = api_dtype(value->dtype), .dtype_name = "unknown"};
    if (value->dtype != DTYPE_COUNT) out[i].dtype_name = dtype_name(value->dtype);
    for (int k = 0; k < value->rank; k++) out[i].dims[k] = dim_is_static(value->dims[k]) ? value->dims[k] : -1;
  }
}

static void name_dims(Engine *engine, Value *const *values, int count, const char **out) {
  for (int i = 0; i < count; i++)
    for (int k = 0; k < MAX_RANK; k++) {
      out[i * MAX_RANK + k] = "";
      if (k >= values[i]->rank || dim_is_static(values[i]->dims[k])) continue;
      Text text = text_new(engine->arena);
      dim_print(&text, engine->graph->dims, values[i]->dims[k]);
      out[i * MAX_RANK + k] = text_get(&text);
    }
}

Status api_engine_wrap(Engine *engine, ingot_engine **out) {
  Arena *arena = engine->arena;
  Graph *graph = engine->graph;
  TuningDatabase *tuning;
  TRY(tuning_parse(arena, engine->tuning, &tuning));
  ingot_engine wrapped = {.engine = engine, .tuning = tuning};
  wrapped.inputs = arena_array(arena, ingot_binding, graph->input_count);
  wrapped.outputs = arena_array(arena, ingot_binding, graph->output_count);
  wrapped.dim_names = arena_array(arena, const char *, (size_t)(graph->input_count + graph->output_count) * MAX_RANK);
  describe(engine, graph->inputs, graph->input_count, wrapped.inputs);
  describe(engine, graph->outputs, graph->output_count, wrapped.outputs);
  name_dims(engine, graph->inputs, graph->input_count, wrapped.dim_names);
  name_dims(engine, graph->outputs, graph->output_count, wrapped.dim_names + (size_t)graph->input_count * MAX_RANK);
  atomic_init(&wrapped.references, 1);
  TRY(weight_store_new(&wrapped.weights));
  *out = malloc(sizeof **out);
  if (*out) {
    memcpy(*out, &wrapped, sizeof wrapped);
    return OK;
  }
  weight_store_free(wrapped.weights);
  return status_out_of_memory();
}

static Status load(const char *path, ingot_engine **out) {
  Engine *engine;
  TRY(engine_read(path, core_ops, &engine));
  Status status = RECOVER_GUARD(api_engine_wrap(engine, out));
  if (status) engine_free(engine);
  return status;
}

ingot_error *ingot_engine_load(const char *path, const ingot_config *config, ingot_engine **out) {
  if (!path || !out) return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_engine_load: path or out is NULL"));
  return api_error(RECOVER_GUARD(load(path, out)));
}

ingot_error *ingot_engine_save(const ingot_engine *engine, const char *path) {
  if (!engine || !path) return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_engine_save: engine or path is NULL"));
  return api_error(RECOVER_GUARD(engine_write(engine->engine, path)));
}

void ingot_engine_free(ingot_engine *engine) {
  if (!engine || atomic_fetch_sub(&engine->references, 1) > 1) return;
  weight_store_free(engine->weights);
  engine_free(engine->engine);
  free(engine);
}

int ingot_engine_input_count(const ingot_engine *engine) { return engine->engine->graph->input_count; }
int ingot_engine_output_count(const ingot_engine *engine) { return engine->engine->graph->output_count; }

ingot_binding ingot_engine_input(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_input_count(engine) ? engine->inputs[index] : (ingot_binding){.rank = -1};
}
ingot_binding ingot_engine_output(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_output_count(engine) ? engine->outputs[index] : (ingot_binding){.rank = -1};
}

const char *ingot_engine_dim_name(const ingot_engine *engine, bool output, int index, int axis) {
  int inputs = ingot_engine_input_count(engine), count = output ? ingot_engine_output_count(engine) : inputs;
  if (index < 0 || index >= count || axis < 0 || axis >= MAX_RANK) return "";
  return engine->dim_names[(output ? inputs + index : index) * MAX_RANK + axis];
}

static Status print_graph(const Graph *graph, char **out) {
  Arena *scratch = arena_scratch();
  Text text = text_new(scratch);
  GraphTextOptions options = {.inline_limit = 16, .origins = true};
  graph_print(&text, graph, &options);
  *out = strdup(text_get(&text));
  arena_free(scratch);
  return *out ? OK : status_out_of_memory();
}

// A function of its own: nothing that lives across the guard's setjmp changes here.
static Status print_guarded(const Graph *graph, char **out) { return RECOVER_GUARD(print_graph(graph, out)); }

static char *graph_string(const Graph *graph) {
  char *text = NULL;
  status_free(print_guarded(graph, &text));
  return text;
}
char *ingot_engine_text(const ingot_engine *engine) { return graph_string(engine->engine->graph); }
char *ingot_model_text(const ingot_model *model) { return graph_string(model->graph); }

int ingot_engine_passes(const ingot_engine *engine, ingot_pass_report *out, int limit) {
  const Engine *e = engine->engine;
  for (int i = 0; i < (int)e->pass_count && i < limit; i++)
    out[i] = (ingot_pass_report){e->passes[i].name, e->passes[i].changes, e->passes[i].seconds, e->passes[i].nodes_after};
  return (int)e->pass_count;
}

// ---- sessions ----------------------------------------------------------------------------------------------------------------

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

// Operators translated at run time get fused like the rest.
static Status optimise_stage(Graph *graph, void *context) {
  const ingot_session *session = context;
  PassOptions options = {.device = session->device->info.kind,
                         .sm = session->device->info.sm,
                         .precision = DTYPE_COUNT,
                         .tf32 = session->engine->engine->tf32,
                         .log = &session->log};
  return passes_run(graph, &options, NULL, 0, NULL);
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
  ingot_config config = api_config(given);
  const Graph *graph = session->engine->engine->graph;
  session->log = api_log(&config);
  const ingot_engine *engine = session->engine;
  TRY(api_open_device(&config, &session->log, engine->engine->tf32, engine->weights, engine->tuning, &session->device));
  TRY(preload_kernels(session));
  const DeviceInfo *info = &session->device->info;
  if (info->kind == DEVICE_CUDA)
    snprintf(session->device_name, sizeof session->device_name, "%s (CUDA device %d, sm_%d)", info->name, config.device_index,
             info->sm);
  else snprintf(session->device_name, sizeof session->device_name, "%s (%d threads)", info->name, info->multiprocessors);
  log_add(&session->log, LOG_INFO, "running on %s", session->device_name);
  RunnerHooks hooks = {
      .translate = translate_deferred, .is_deferred = is_deferred, .optimise = optimise_stage, .optimise_context = session};
  TRY(runner_new(graph, session->device, &hooks, &session->runner));
  session->inputs = calloc((size_t)graph->input_count + 1, sizeof *session->inputs);
  session->outputs = calloc((size_t)graph->output_count + 1, sizeof *session->outputs);
  session->output_shapes = calloc((size_t)graph->output_count + 1, sizeof *session->output_shapes);
  session->handed_out = calloc((size_t)graph->output_count + 1, sizeof *session->handed_out);
  return session->inputs && session->outputs && session->output_shapes && session->handed_out ? OK : status_out_of_memory();
}

ingot_error *ingot_session_create(ingot_engine *engine, const ingot_config *config, ingot_session **out) {
  if (!engine || !out) return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_session_create: engine or out is NULL"));
  ingot_session *session = calloc(1, sizeof *session);
  if (!session) return api_error(status_out_of_memory());
  session->engine = engine;
  atomic_fetch_add(&engine->references, 1);
  Status status = RECOVER_GUARD(open_session(session, config));
  if (status) ingot_session_free(session);
  else *out = session;
  return api_error(status);
}

static void drop(RunTensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++)
    if (tensors[i].storage) run_tensor_drop(&tensors[i]);
}

void ingot_session_free(ingot_session *session) {
  if (!session) return;
  drop(session->inputs, ingot_engine_input_count(session->engine));
  drop(session->outputs, ingot_engine_output_count(session->engine));
  runner_free(session->runner);
  if (session->device) session->device->free(session->device);
  ingot_engine_free(session->engine);
  free(session->inputs);
  free(session->outputs);
  free(session->output_shapes);
  free(session->handed_out);
  for (int i = 0; i < 2; i++) arena_free(session->strings[i]);
  free(session);
}

const char *ingot_session_device(const ingot_session *session) { return session->device_name; }

static bool on_host(const ingot_tensor *tensor) {
  return tensor->device.device_type == kDLCPU || tensor->device.device_type == kDLCUDAHost;
}

static Status take_input(ingot_session *session, int index, const ingot_tensor *given, RunTensor *out) {
  const char *name = session->engine->inputs[index].name;
  Tensor tensor = {.rank = given->ndim};
  if (!api_dtype_from(given->dtype, &tensor.dtype))
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s': Ingot has no element type for DLPack code %d with %d bits", name,
         given->dtype.code, given->dtype.bits);
  if (given->ndim < 0 || given->ndim > MAX_RANK)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s': rank %d is not between 0 and %d", name, given->ndim, MAX_RANK);
  int64_t stride = 1;
  for (int k = given->ndim - 1; k >= 0; k--) {
    if (given->shape[k] < 0) FAIL(ERROR_INVALID_ARGUMENT, "input '%s': axis %d is negative", name, k);
    if (given->strides && given->shape[k] > 1 && given->strides[k] != stride)
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is not row-major", name);
    if (!checked_mul_i64(stride, MAX(given->shape[k], 1), &stride) || stride > INT64_MAX / 16)
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is too large", name);
    tensor.dims[k] = given->shape[k];
  }
  tensor.data = given->data ? (char *)given->data + given->byte_offset : NULL;
  if (!given->data && tensor_bytes(&tensor)) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no data", name);
  if (tensor.dtype == DTYPE_STRING) {
    if (!on_host(given)) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' holds strings, which live on the host", name);
    TRY(api_check_strings(&tensor, name));
  }
  if (on_host(given)) return run_tensor_borrow_host(session->device, &tensor, out);
  if (session->device->info.kind != DEVICE_CUDA)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' lies on a GPU, but the session runs on the CPU", name);
  return run_tensor_borrow_device(session->device, tensor.dtype, tensor.rank, tensor.dims, tensor.data, out);
}

static Status take_inputs(ingot_session *session, const ingot_tensor *inputs, int count) {
  int expected = ingot_engine_input_count(session->engine);
  if (count != expected) FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d were given", expected, count);
  drop(session->inputs, expected);
  for (int i = 0; i < count; i++) TRY(take_input(session, i, &inputs[i], &session->inputs[i]));
  return OK;
}

static void note_memory(ingot_session *session) {
  RunnerStats stats = runner_stats(session->runner);
  session->memory =
      (ingot_memory){.weights = stats.constant_bytes, .arena = stats.arena_bytes, .unpacked = stats.temporary_bytes};
}

// Whether the caller brought memory, rather than what an earlier run lent.
static bool is_callers(const ingot_session *session, int index, const ingot_tensor *out) {
  return out->data && out->data != session->handed_out[index];
}

static Status give_strings(ingot_session *session, int index, ingot_tensor *out) {
  const RunTensor *result = &session->outputs[index];
  void *from;
  TRY(run_tensor_host(result, &from));
  memcpy(session->output_shapes[index], result->dims, sizeof *session->output_shapes);
  Tensor tensor = {.dtype = result->dtype, .rank = result->rank};
  memcpy(tensor.dims, result->dims, sizeof tensor.dims);
  int64_t count = tensor_count(&tensor);
  if (is_callers(session, index, out)) {
    session->handed_out[index] = NULL;
    api_lend_strings(session, from, (const char **)((char *)out->data + out->byte_offset), count);
    if (out->shape) memcpy(out->shape, result->dims, (size_t)result->rank * sizeof *out->shape);
  } else {
    const char **lent = arena_array(session->strings[session->strings_turn], const char *, (size_t)count);
    api_lend_strings(session, from, lent, count);
    session->handed_out[index] = out->data = lent;
    out->byte_offset = 0;
    out->shape = session->output_shapes[index];
  }
  out->device = (DLDevice){kDLCPU, 0};
  out->ndim = result->rank;
  out->dtype = api_dtype(result->dtype);
  out->strides = NULL;
  return OK;
}

static Status give_output(ingot_session *session, int index, ingot_tensor *out) {
  RunTensor *result = &session->outputs[index];
  if (result->dtype == DTYPE_STRING) return give_strings(session, index, out);
  memcpy(session->output_shapes[index], result->dims, sizeof *session->output_shapes);
  if (is_callers(session, index, out)) {
    session->handed_out[index] = NULL;
    // Device memory was written in place where its size was known beforehand.
    char *to = (char *)out->data + out->byte_offset;
    size_t bytes = run_tensor_bytes(result);
    if (!on_host(out)) {
      void *from;
      TRY(run_tensor_device(result, &from));
      if (from != to) TRY(session->device->copy(session->device, to, from, bytes));
    } else if (result->storage->host_memory) {
      memcpy(to, result->storage->host_memory, bytes);
    } else {
      TRY(session->device->download(session->device, to, result->storage->device_memory, bytes));
    }
    if (out->shape) memcpy(out->shape, result->dims, (size_t)result->rank * sizeof *out->shape);
  } else {
    if (on_host(out) || out->device.device_type == 0) {
      TRY(run_tensor_host(result, &out->data));
      out->device = (DLDevice){kDLCPU, 0};
    } else {
      TRY(run_tensor_device(result, &out->data));
    }
    out->byte_offset = 0;
    out->shape = session->output_shapes[index];
    session->handed_out[index] = out->data;
  }
  out->ndim = result->rank;
  out->dtype = api_dtype(result->dtype);
  out->strides = NULL;
  return OK;
}

// Device memory the caller brought for an output of static shape is written by the last kernel itself.
static Status place_output(ingot_session *session, int index, const ingot_tensor *out) {
  bool cuda = session->device->info.kind == DEVICE_CUDA, host = on_host(out) || out->device.device_type == 0;
  if (!cuda && !host)
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s' is wanted on a GPU, but the session runs on the CPU",
         session->engine->outputs[index].name);
  if (!cuda || host || !is_callers(session, index, out)) return OK;
  const Value *value = session->engine->engine->graph->outputs[index];
  if (value->dtype == DTYPE_STRING)
    FAIL(ERROR_INVALID_ARGUMENT, "output '%s' holds strings, which live on the host", value->name);
  int64_t dims[MAX_RANK];
  if (!value_get_dims(value, dims)) return OK;
  return run_tensor_borrow_device(session->device, value->dtype, value->rank, dims, (char *)out->data + out->byte_offset,
                                  &session->outputs[index]);
}

static Status run(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_tensor *outputs,
                  int output_count) {
  int expected = ingot_engine_output_count(session->engine);
  if (output_count != expected)
    FAIL(ERROR_INVALID_ARGUMENT, "the model has %d outputs, but room for %d was given", expected, output_count);
  drop(session->outputs, expected);
  api_turn_strings(session);
  TRY(take_inputs(session, inputs, input_count));
  for (int i = 0; i < expected; i++) TRY(place_output(session, i, &outputs[i]));
  TRY(runner_run(session->runner, session->inputs, session->outputs));
  note_memory(session);
  for (int i = 0; i < expected; i++) TRY(give_output(session, i, &outputs[i]));
  return OK;
}

ingot_error *ingot_session_run(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_tensor *outputs,
                               int output_count) {
  if (!session || (input_count && !inputs) || (output_count && !outputs))
    return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_session_run: an argument is NULL"));
  return api_error(RECOVER_GUARD(run(session, inputs, input_count, outputs, output_count)));
}

ingot_error *ingot_session_synchronize(ingot_session *session) {
  return api_error(session->device->synchronize(session->device));
}
ingot_memory ingot_session_memory(const ingot_session *session) { return session->memory; }

static Status set_shapes(ingot_session *session, const int64_t *const *shapes, int count) {
  const Graph *graph = session->engine->engine->graph;
  if (count != graph->input_count)
    FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d shapes were given", graph->input_count, count);
  drop(session->inputs, count);
  for (int i = 0; i < count; i++) {
    const Value *value = graph->inputs[i];
    if (value->rank < 0 || value->dtype == DTYPE_COUNT)
      FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no declared rank: run it once instead", value->name);
    TRY(run_tensor_borrow_device(session->device, value->dtype, value->rank, shapes[i], NULL, &session->inputs[i]));
  }
  Executable *executable;
  Stage *stage;
  TRY(runner_prepare(session->runner, session->inputs, &executable, &stage));
  note_memory(session);
  drop(session->inputs, count);
  return OK;
}

ingot_error *ingot_session_set_shapes(ingot_session *session, const int64_t *const *shapes, int count) {
  if (!session || (count && !shapes))
    return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_session_set_shapes: an argument is NULL"));
  return api_error(RECOVER_GUARD(set_shapes(session, shapes, count)));
}

static Status profile(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_step *out, int limit,
                      int *count) {
  TRY(take_inputs(session, inputs, input_count));
  Arena *scratch = arena_scratch();
  StepReport *reports = arena_array(scratch, StepReport, limit);
  Status status = runner_profile(session->runner, session->inputs, reports, limit, count);
  for (int i = 0; !status && i < limit && i < *count; i++)
    out[i] = (ingot_step){reports[i].name, reports[i].op, reports[i].tactic, reports[i].origins, reports[i].milliseconds};
  arena_free(scratch);
  note_memory(session);
  return status;
}

ingot_error *ingot_session_profile(ingot_session *session, const ingot_tensor *inputs, int input_count, ingot_step *out,
                                   int limit, int *count) {
  if (!session || (limit && !out) || !count)
    return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_session_profile: an argument is NULL"));
  return api_error(RECOVER_GUARD(profile(session, inputs, input_count, out, limit, count)));
}

static Status time_runs(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                        double *milliseconds) {
  TRY(take_inputs(session, inputs, input_count));
  double median;
  TRY(runner_time(session->runner, session->inputs, seconds, &median));
  note_memory(session);
  *milliseconds = median * 1e3;
  return OK;
}

ingot_error *ingot_session_time(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                                double *milliseconds) {
  if (!session || (input_count && !inputs) || !milliseconds)
    return api_error(status_make(ERROR_INVALID_ARGUMENT, "ingot_session_time: an argument is NULL"));
  return api_error(RECOVER_GUARD(time_runs(session, inputs, input_count, seconds, milliseconds)));
}
