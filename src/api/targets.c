// Building for GPUs that are not here: for each target the plan of the declared shapes, of Ingot's own ways, and the kernels that it names. Takes NVRTC
// and no driver.
#include "api/targets.h"

#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "base/recover.h"
#include "kernels/device_sources.h"
#include "lower/specialise.h"

enum { DEFAULT_WORKSPACE = 256 << 20 };

typedef struct Targets {
  Engine *engine;
  const ingot_config *config;
  const ShapeProfile *profile;
  const Log *log;
  Compiler *compiler;
} Targets;

static bool runs(void *context, const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->dtype == DTYPE_STRING) return false;  // as sessions leave them to the host
  return select_supports(node, context, false);
}

static Status describe_inputs(const Targets *t, InputShapes shapes, Arena *arena, StageInput **out) {
  const Graph *graph = t->engine->graph;
  *out = arena_array(arena, StageInput, (size_t)graph->input_count + 1);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    StageInput *input = &(*out)[i];
    *input = (StageInput){.dtype = value->dtype, .rank = value->rank, .known = value->initial};
    if (value->kind != VALUE_TENSOR || value->dtype == DTYPE_COUNT || value->rank < 0)
      FAIL(ERROR_INVALID_ARGUMENT, "plans are made for known shapes, and only a run knows that of input '%s'", value->name);
    if (value->initial) {
      input->rank = value->initial->rank;
      memcpy(input->dims, value->initial->dims, sizeof input->dims);
    } else if (shapes[i]) {
      memcpy(input->dims, shapes[i], (size_t)value->rank * sizeof *input->dims);
    } else if (!value_get_dims(value, input->dims)) {
      FAIL(ERROR_INVALID_ARGUMENT,
           "plans are made for known shapes, and that of input '%s' is open: say which in tuning_shapes", value->name);
    }
  }
  return OK;
}

static Status make_plan(const Targets *t, const DeviceInfo *info, InputShapes shapes, bool other_rung, Arena *arena,
                        Stage **stage, Plan **plan) {
  StageInput *inputs;
  StagePasses passes = {info, &t->engine->built, t->log};
  RunnerHooks hooks = api_runner_hooks(&passes);
  SpecialiseHooks special = {
      .translate = hooks.translate, .is_deferred = hooks.is_deferred, .runs = runs, .context = (void *)(uintptr_t)info};
  TRY(describe_inputs(t, shapes, arena, &inputs));
  TRY(specialise(t->engine->graph, inputs, &special, arena, stage));
  if ((*stage)->rewritten) {
    TRY(hooks.optimise((*stage)->ready, hooks.optimise_context));
    specialise_regions((*stage)->ready, &special, arena);
  }
  SelectOptions select = {.workspace_limit = t->config->workspace_limit ? t->config->workspace_limit : DEFAULT_WORKSPACE,
                          .log = t->log,
                          .other_rung = other_rung};
  return plan_make((*stage)->ready,
                   &(PlanTarget){info, t->engine->built.tf32, &select, t->config->streams ? t->config->streams : PLAN_STREAMS},
                   arena, plan);
}

static bool has_kernel(const Engine *engine, Hash128 key, int sm) {
  for (uint32_t i = 0; i < engine->kernel_count; i++)
    if (engine->kernels[i].hash.low == key.low && engine->kernels[i].hash.high == key.high && engine->kernels[i].sm == sm)
      return true;
  return false;
}

static void keep_kernels(Engine *engine, const Cubin *cubins, int count, int sm) {
  for (int i = 0; i < count; i++) {
    if (has_kernel(engine, cubins[i].key, sm)) continue;
    Bytes bytes = {arena_copy(engine->arena, cubins[i].data, cubins[i].size), cubins[i].size};
    *ARENA_PUSH(engine->arena, engine->kernels, engine->kernel_count, engine->kernel_capacity) =
        (EngineKernel){.hash = cubins[i].key, .sm = sm, .cubin = bytes};
  }
}

static Status compile(const Targets *t, const Plan *plan, Arena *arena) {
  int count = 0, most = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) most += (int)plan->steps[s].selection.emission->launch_count;
  KernelSource *sources = arena_array(arena, KernelSource, (size_t)most);
  Cubin *cubins = arena_array(arena, Cubin, (size_t)most);
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const Emission *emission = plan->steps[s].selection.emission;
    for (uint32_t i = 0; i < emission->launch_count; i++)
      if (emission->launches[i].kind == LAUNCH_KERNEL)
        sources[count++] = (KernelSource){
            .label = plan->steps[s].node->outputs[0]->name, .source = emission->launches[i].source, .sm = plan->device->sm};
  }
  TRY(compiler_compile_all(t->compiler, sources, count, t->config->threads, cubins));
  keep_kernels(t->engine, cubins, count, plan->device->sm);
  compiler_release(t->compiler, cubins, count);
  return OK;
}

// The kernels alone.
static Status compile_for(const Targets *t, const DeviceInfo *info, InputShapes shapes, bool other_rung) {
  Arena *scratch = arena_scratch();
  Stage *stage;
  Plan *plan;
  Status status = make_plan(t, info, shapes, other_rung, scratch, &stage, &plan);
  if (!status) status = compile(t, plan, scratch);
  arena_free(scratch);
  return status;
}

static Status build_for(const Targets *t, const char *name, Arena *arena) {
  DeviceInfo *info = arena_new_of(arena, DeviceInfo);
  Stage *stage;
  Plan *plan;
  TRY(chip_find(name, info));
  TRY(make_plan(t, info, t->profile->best, false, arena, &stage, &plan));
  if (t->config->check_plans) TRY(plan_reread(plan, t->compiler, arena, &plan));
  TRY(compile(t, plan, arena));
  api_keep_plan(t->engine, stage, plan, t->compiler);
  for (int i = 0; i < 2 * t->profile->sample_count; i++) TRY(compile_for(t, info, t->profile->samples[i / 2], i % 2));
  log_add(t->log, LOG_INFO, "for sm_%d (%s): %u steps", info->sm, info->name, plan->step_count);
  return OK;
}

static Status build_for_all(const Targets *t, const char *names) {
  for (const char *at = names; *at;) {
    size_t length = strcspn(at, ",");
    Arena *scratch = arena_scratch();
    const char *name = arena_string_n(scratch, at, length);
    Status status = status_context(build_for(t, name, scratch), "building for '%s'", name);
    arena_free(scratch);
    TRY(status);
    at += length + (at[length] == ',');
  }
  return OK;
}

Status api_build_targets(Engine *engine, const ingot_config *config, const ShapeProfile *profile, const Log *log) {
  Arena *arena = arena_scratch();
  const char *folder = config->cache_directory ? path_join(arena, config->cache_directory, "kernels") : NULL;
  Targets targets = {engine, config, profile, log, compiler_new(&(CompilerOptions){device_sources, folder, .log = *log})};
  Status status = RECOVER_GUARD(build_for_all(&targets, config->targets));
  compiler_free(targets.compiler);
  arena_free(arena);
  return status;
}
