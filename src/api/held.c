// Plans that an engine holds: taking one for a session's call, and keeping one when an engine is built. A plan is kept for the shapes that the model
// declares, or that are given to tune for, where nothing else decides about a call.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "plan/plan.h"

// ---- taking ------------------------------------------------------------------------------------------------------------------

static const void *find_content(void *context, Hash128 name, size_t bytes) {
  const EngineContent *content = engine_content(context, name);
  return content && content->tensor.dims[0] == (int64_t)bytes ? content->tensor.data : NULL;
}

static bool takes(const Graph *graph, const Graph *whole, const StageInput *inputs) {
  if (graph->input_count != whole->input_count || graph->output_count != whole->output_count) return false;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    int64_t dims[MAX_RANK];
    if (inputs[i].kind != VALUE_TENSOR || inputs[i].dtype != value->dtype || inputs[i].rank != value->rank) return false;
    if (!value_get_dims(value, dims) || memcmp(dims, inputs[i].dims, (size_t)value->rank * sizeof *dims)) return false;
  }
  return true;
}

// "plan for sm_90" of a plan for another kind of device is none for this one, and nothing to speak of.
static bool is_for(const EnginePlan *plan, const DeviceInfo *device) {
  char target[32];
  if (device->kind == DEVICE_CPU) snprintf(target, sizeof target, "plan for the CPU");
  else snprintf(target, sizeof target, "plan for sm_%d", device->sm);
  size_t length = strlen(target);
  return plan->length > length && !memcmp(plan->text, target, length) && strchr(":,", plan->text[length]);
}

static const EnginePlan *find_nearest(const Engine *engine, const DeviceInfo *device) {
  const EnginePlan *nearest = NULL;
  for (uint32_t i = 0; i < engine->plan_count; i++) {
    const EnginePlan *plan = &engine->plans[i];
    int off = abs(plan->multiprocessors - device->multiprocessors);
    if (is_for(plan, device) && (!nearest || off < abs(nearest->multiprocessors - device->multiprocessors))) nearest = plan;
  }
  return nearest;
}

static Status load(const Engine *engine, const EnginePlan *held, const StageInput *inputs, Device *device, Arena *arena,
                   Plan **plan, Executable **executable) {
  const PlanContents contents = {.constant = find_content, .context = (void *)(uintptr_t)engine};
  TRY(plan_parse(held->text, held->length, &device->info, &contents, arena, plan));
  const char *needs = plan_needs(*plan, arena);
  if (strcmp(needs, held->needs)) FAIL(ERROR_UNSUPPORTED, "it was made for '%s', and here is '%s'", held->needs, needs);
  if ((*plan)->tf32 != device->tf32) FAIL(ERROR_UNSUPPORTED, "it was made %s tf32", (*plan)->tf32 ? "with" : "without");
  if (!takes((*plan)->graph, engine->graph, inputs)) return OK;
  return device->load(device, *plan, arena, executable);
}

static bool refuses_the_plan(Status status) {
  switch (status_code(status)) {
    case ERROR_UNSUPPORTED:
    case ERROR_INVALID_MODEL:
    case ERROR_CORRUPT: return true;
    default: return false;
  }
}

Status api_take_plan(void *context, const StageInput *inputs, Device *device, Arena *arena, Plan **plan,
                     Executable **executable) {
  HeldPlans *held = context;
  const Engine *engine = held->engine;
  *executable = NULL;
  const EnginePlan *nearest = held->refused ? NULL : find_nearest(engine, &device->info);
  if (!nearest) return OK;
  Status status = load(engine, nearest, inputs, device, arena, plan, executable);
  if (status && !refuses_the_plan(status)) return status;
  held->refused = status != OK;
  if (status) log_add(device->log, LOG_INFO, "the engine's plan is not used, and made anew: %s", status_message(status));
  status_free(status);
  if (*executable) log_add(device->log, LOG_VERBOSE, "running by the engine's plan");
  return OK;
}

// ---- keeping -----------------------------------------------------------------------------------------------------------------

// Whether the types of a call are all that decides about it.
static bool is_settled(const Graph *graph, Arena *scratch) {
  bool *known = arena_array(scratch, bool, (size_t)graph->input_count + 1);
  graph_shape_inputs(graph, api_is_deferred, known);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    if (known[i] || input->initial || input->kind != VALUE_TENSOR || input->dtype == DTYPE_STRING ||
        input->dtype == DTYPE_COUNT || input->rank < 0)
      return false;
  }
  return true;
}

typedef struct Keeping {
  Engine *engine;
  IntMap *owned;  // the engine's own constants, by address
} Keeping;

static void keep_content(void *context, Hash128 name, const Tensor *tensor) {
  Keeping *keeping = context;
  Engine *engine = keeping->engine;
  size_t bytes = tensor_bytes(tensor);
  if (engine_content(engine, name)) return;
  Tensor flat = {.dtype = DTYPE_U8, .rank = 1, .dims = {(int64_t)bytes}, .data = tensor->data};
  if (!int_map_get(keeping->owned, (uintptr_t)tensor->data)) {
    flat.data = arena_alloc(engine->arena, bytes + 1);
    memcpy(flat.data, tensor->data, bytes);
  }
  engine_add_content(engine, name, &flat);
}

static void note_owned(IntMap *owned, const Graph *graph) {
  FOR_NODES(node, graph)
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (value && value->constant) int_map_set(owned, (uintptr_t)value->constant->data, owned);
  }
}

void api_keep_plan(Engine *engine, const Stage *stage, const Plan *plan, const Compiler *compiler) {
  Arena *scratch = arena_scratch();
  if (stage->complete && stage->direct && is_settled(engine->graph, scratch)) {
    Keeping keeping = {engine, int_map_new(scratch)};
    note_owned(keeping.owned, engine->graph);
    Text text = text_new(engine->arena);
    plan_print(&text, plan, compiler, &(PlanWitness){.constant = keep_content, .context = &keeping});
    *ARENA_PUSH(engine->arena, engine->plans, engine->plan_count, engine->plan_capacity) =
        (EnginePlan){plan_needs(plan, engine->arena), plan->device->multiprocessors, text_get(&text), text.length};
  }
  arena_free(scratch);
}
