// Engines as the caller sees them: loading, saving, and what they say of themselves.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/recover.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "lower/database.h"

// ---- what an engine takes and gives ------------------------------------------------------------------------------------------

static ingot_binding describe(const Engine *engine, const Value *value) {
  static const ingot_kind kinds[] = {
      [VALUE_TENSOR] = INGOT_TENSOR, [VALUE_SEQUENCE] = INGOT_SEQUENCE, [VALUE_OPTIONAL] = INGOT_OPTIONAL};
  ingot_binding binding = {.name = value->given_as ? value->given_as : value->name,
                           .kind = kinds[value->kind],
                           .rank = value->rank,
                           .dtype = api_dtype(value->dtype),
                           .dtype_name = value->dtype == DTYPE_COUNT ? "unknown" : dtype_name(value->dtype)};
  binding.dims = arena_array(engine->arena, int64_t, (size_t)MAX(value->rank, 0));
  binding.dim_names = arena_array(engine->arena, const char *, (size_t)MAX(value->rank, 0));
  binding.has_default = value->initial != NULL;
  for (int k = 0; k < value->rank; k++) {
    binding.dims[k] = dim_is_static(value->dims[k]) ? value->dims[k] : -1;
    binding.dim_names[k] = "";
    if (binding.dims[k] >= 0) continue;
    Text text = text_new(engine->arena);
    dim_print(&text, engine->graph->dims, value->dims[k]);
    binding.dim_names[k] = text_get(&text);
  }
  return binding;
}

static ingot_binding *describe_all(const Engine *engine, Value *const *values, int count) {
  ingot_binding *bindings = arena_array(engine->arena, ingot_binding, count);
  for (int i = 0; i < count; i++) bindings[i] = describe(engine, values[i]);
  return bindings;
}

Status api_engine_wrap(Engine *engine, ingot_engine **out) {
  const Graph *graph = engine->graph;
  TuningDatabase *tuning;
  TRY(tuning_parse(engine->arena, engine->tuning, &tuning));
  ingot_engine wrapped = {.engine = engine,
                          .tuning = tuning,
                          .inputs = describe_all(engine, graph->inputs, graph->input_count),
                          .outputs = describe_all(engine, graph->outputs, graph->output_count)};
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

int ingot_engine_input_count(const ingot_engine *engine) { return engine ? engine->engine->graph->input_count : 0; }
int ingot_engine_output_count(const ingot_engine *engine) { return engine ? engine->engine->graph->output_count : 0; }

const ingot_binding *ingot_engine_input(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_input_count(engine) ? &engine->inputs[index] : NULL;
}
const ingot_binding *ingot_engine_output(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_output_count(engine) ? &engine->outputs[index] : NULL;
}

const char *ingot_binding_name(const ingot_binding *binding) { return binding ? binding->name : ""; }
ingot_kind ingot_binding_kind(const ingot_binding *binding) { return binding ? binding->kind : INGOT_NOTHING; }
ingot_dtype ingot_binding_dtype(const ingot_binding *binding) { return binding ? binding->dtype : (ingot_dtype){0}; }
const char *ingot_binding_dtype_name(const ingot_binding *binding) { return binding ? binding->dtype_name : "unknown"; }
bool ingot_binding_has_default(const ingot_binding *binding) { return binding && binding->has_default; }
int ingot_binding_rank(const ingot_binding *binding) { return binding ? binding->rank : -1; }
const int64_t *ingot_binding_dims(const ingot_binding *binding) { return binding ? binding->dims : NULL; }
const char *ingot_binding_dim_name(const ingot_binding *binding, int axis) {
  return binding && axis >= 0 && axis < binding->rank ? binding->dim_names[axis] : "";
}

static Status print_graph(const Graph *graph, char **out) {
  Arena *scratch = arena_scratch();
  Text text = text_new(scratch);
  GraphTextOptions options = {.inline_limit = 16, .leave_out = true, .origins = true};
  graph_print(&text, graph, &options);
  *out = strdup(text_get(&text));
  arena_free(scratch);
  return *out ? OK : status_out_of_memory();
}

// A function of its own: nothing that lives across the guard's setjmp changes here.
static Status print_guarded(const Graph *graph, char **out) { return RECOVER_GUARD(print_graph(graph, out)); }

char *api_graph_text(const Graph *graph) {
  char *text = NULL;
  status_free(print_guarded(graph, &text));
  return text;
}
char *ingot_engine_text(const ingot_engine *engine) { return engine ? api_graph_text(engine->engine->graph) : NULL; }

// ---- passes ------------------------------------------------------------------------------------------------------------------

static const EnginePass *of_pass(const ingot_pass *pass) { return (const EnginePass *)pass; }

int ingot_engine_pass_count(const ingot_engine *engine) { return engine ? (int)engine->engine->pass_count : 0; }
const ingot_pass *ingot_engine_pass(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_pass_count(engine) ? (const ingot_pass *)&engine->engine->passes[index] : NULL;
}
const char *ingot_pass_name(const ingot_pass *pass) { return pass ? of_pass(pass)->name : ""; }
int ingot_pass_changes(const ingot_pass *pass) { return pass ? of_pass(pass)->changes : 0; }
int ingot_pass_nodes_before(const ingot_pass *pass) { return pass ? of_pass(pass)->nodes_before : 0; }
int ingot_pass_nodes_after(const ingot_pass *pass) { return pass ? of_pass(pass)->nodes_after : 0; }
double ingot_pass_seconds(const ingot_pass *pass) { return pass ? of_pass(pass)->seconds : 0; }

// ---- rewrites ----------------------------------------------------------------------------------------------------------------

static const EngineRewrite *of_rewrite(const ingot_rewrite *rewrite) { return (const EngineRewrite *)rewrite; }

int ingot_engine_rewrite_count(const ingot_engine *engine) { return engine ? (int)engine->engine->rewrite_count : 0; }
const ingot_rewrite *ingot_engine_rewrite(const ingot_engine *engine, int index) {
  return index >= 0 && index < ingot_engine_rewrite_count(engine) ? (const ingot_rewrite *)&engine->engine->rewrites[index]
                                                                  : NULL;
}
const char *ingot_rewrite_pass(const ingot_rewrite *rewrite) { return rewrite ? of_rewrite(rewrite)->pass : ""; }
const char *ingot_rewrite_rule(const ingot_rewrite *rewrite) { return rewrite ? of_rewrite(rewrite)->rule : ""; }
const char *ingot_rewrite_place(const ingot_rewrite *rewrite) { return rewrite ? of_rewrite(rewrite)->place : ""; }
const char *ingot_rewrite_before(const ingot_rewrite *rewrite) { return rewrite ? of_rewrite(rewrite)->before : ""; }
const char *ingot_rewrite_after(const ingot_rewrite *rewrite) { return rewrite ? of_rewrite(rewrite)->after : ""; }

// ---- files and memory --------------------------------------------------------------------------------------------------------

// What was read becomes an engine, if the configuration can be had from it.
static Status finish_load(Engine *engine, const ingot_config *config, ingot_engine **out) {
  Log log = api_log(config);
  TRY(api_config_finished(config, &engine->built));
  if (config->untrusted_engine && engine->kernel_count) {
    log_add(&log, LOG_INFO, "the engine's %u kernels are not trusted: they will be compiled anew", engine->kernel_count);
    engine->kernel_count = 0;
  }
  return api_engine_wrap(engine, out);
}

static Status load(const char *path, const ingot_config *given, ingot_engine **out) {
  ingot_config config;
  Engine *engine;
  TRY(api_config(given, &config));
  TRY(engine_read(path, api_size_limit(&config), config.threads, core_ops, &engine));
  Status status = RECOVER_GUARD(finish_load(engine, &config, out));
  if (status) engine_free(engine);
  return status;
}

ingot_error *ingot_engine_load(const char *path, const ingot_config *config, ingot_engine **out) {
  Status status = api_require("ingot_engine_load", "path", path, "out", out, NULL);
  return api_error(status ? status : API_LIMITED(config, load(path, config, out)));
}

static Status load_bytes(const void *bytes, size_t size, const ingot_config *given, Arena *arena, ingot_engine **out) {
  ingot_config config;
  Engine *engine;
  void *copy;
  TRY(api_config(given, &config));
  if (size > api_size_limit(&config))
    FAIL(ERROR_LIMIT, "the engine has %zu bytes, more than the limit of %zu", size, api_size_limit(&config));
  TRY(arena_try_alloc(arena, MAX(size, 1), 4096, &copy));
  if (size) memcpy(copy, bytes, size);
  TRY(engine_read_memory(copy, size, config.threads, core_ops, arena, &engine));
  return finish_load(engine, &config, out);
}

ingot_error *ingot_engine_load_memory(const void *bytes, size_t size, const ingot_config *config, ingot_engine **out) {
  Status status = api_require("ingot_engine_load_memory", "bytes", bytes, "out", out, NULL);
  if (status) return api_error(status);
  Arena *arena = arena_try_new();
  if (!arena) return api_error(status_out_of_memory());
  status = API_LIMITED(config, load_bytes(bytes, size, config, arena, out));
  if (status) arena_free(arena);
  return api_error(status);
}

ingot_error *ingot_engine_save(const ingot_engine *engine, const char *path) {
  Status status = api_require("ingot_engine_save", "engine", engine, "path", path, NULL);
  return api_error(status ? status : RECOVER_GUARD(engine_write(engine->engine, path)));
}

static Status save_bytes(const Engine *engine, void **bytes, size_t *size) {
  Arena *scratch = arena_scratch();
  Bytes file;
  Status status = engine_write_memory(engine, scratch, &file);
  void *copy = status ? NULL : malloc(file.size);
  if (copy) {
    memcpy(copy, file.data, file.size);
    *bytes = copy;
    *size = file.size;
  } else if (!status) {
    status = status_make(ERROR_OUT_OF_MEMORY, "%zu bytes for an engine were refused", file.size);
  }
  arena_free(scratch);
  return status;
}

ingot_error *ingot_engine_save_memory(const ingot_engine *engine, void **bytes, size_t *size) {
  Status status = api_require("ingot_engine_save_memory", "engine", engine, "bytes", bytes, "size", size, NULL);
  return api_error(status ? status : RECOVER_GUARD(save_bytes(engine->engine, bytes, size)));
}

void ingot_engine_free(ingot_engine *engine) {
  if (!engine || atomic_fetch_sub(&engine->references, 1) > 1) return;
  weight_store_free(engine->weights);
  engine_free(engine->engine);
  free(engine);
}
