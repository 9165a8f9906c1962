// Plans that an engine holds: taking one for a session's call, and keeping one when an engine is built. A plan is kept for the shapes that the model
// declares, or that are given to tune for, where nothing else decides about a call.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/thread.h"
#include "lower/plan.h"

// ---- taking ------------------------------------------------------------------------------------------------------------------

static const void *find_content(void *context, Hash128 name, size_t bytes) {
  const EngineContent *content = engine_content(context, name);
  return content && content->tensor.dims[0] == (int64_t)bytes ? content->tensor.data : NULL;
}

// "plan for sm_90" of a plan for another kind of device is none for this one, and nothing to speak of.
static bool is_for(const EnginePlan *plan, const DeviceInfo *device) {
  char target[32];
  if (device->kind == DEVICE_CPU) snprintf(target, sizeof target, "plan for the CPU");
  else snprintf(target, sizeof target, "plan for sm_%d", device->sm);
  size_t length = strlen(target);
  return plan->length > length && !memcmp(plan->text, target, length) && strchr(":,", plan->text[length]);
}

// "f32[1,3,224,224] i64[1]"
static void add_type(Text *text, DType dtype, int rank, const int64_t *dims) {
  text_add(text, "%s%s[", text->length ? " " : "", dtype_name(dtype));
  for (int i = 0; i < rank; i++) text_add(text, i ? ",%lld" : "%lld", (long long)dims[i]);
  text_add(text, "]");
}

// Of a call; "" where an input is no tensor.
static const char *types_of_call(const Graph *graph, const StageInput *inputs, Arena *arena) {
  Text text = text_new(arena);
  for (int i = 0; i < graph->input_count; i++) {
    if (inputs[i].kind != VALUE_TENSOR || inputs[i].dtype == DTYPE_COUNT) return "";
    add_type(&text, inputs[i].dtype, inputs[i].rank, inputs[i].dims);
  }
  return text_get(&text);
}

static const EnginePlan *find_nearest(const Engine *engine, const DeviceInfo *device, const char *inputs) {
  const EnginePlan *nearest = NULL;
  for (uint32_t i = 0; i < engine->plan_count; i++) {
    const EnginePlan *plan = &engine->plans[i];
    int off = abs(plan->multiprocessors - device->multiprocessors);
    if (is_for(plan, device) && !strcmp(plan->inputs, inputs) &&
        (!nearest || off < abs(nearest->multiprocessors - device->multiprocessors)))
      nearest = plan;
  }
  return nearest;
}

// Of a plan's graph.
static const char *types_of_graph(const Graph *graph, Arena *arena) {
  Text text = text_new(arena);
  for (int i = 0; i < graph->input_count; i++) {
    int64_t dims[MAX_RANK] = {0};
    value_get_dims(graph->inputs[i], dims);
    add_type(&text, graph->inputs[i]->dtype, graph->inputs[i]->rank, dims);
  }
  return text_get(&text);
}

static Status load(const Engine *engine, const EnginePlan *held, Device *device, Arena *arena, Plan **plan,
                   Executable **executable) {
  double start = time_now();
  const PlanContents contents = {.constant = find_content, .context = (void *)(uintptr_t)engine};
  TRY(plan_parse(held->text, held->length, &device->info, &contents, arena, plan));
  const char *needs = plan_needs(*plan, arena);
  if (strcmp(needs, held->needs)) FAIL(ERROR_UNSUPPORTED, "it was made for '%s', and here is '%s'", held->needs, needs);
  if ((*plan)->tf32 != device->tf32) FAIL(ERROR_UNSUPPORTED, "it was made %s tf32", (*plan)->tf32 ? "with" : "without");
  const Graph *graph = (*plan)->graph;
  if (graph->output_count != engine->graph->output_count || strcmp(types_of_graph(graph, arena), held->inputs))
    FAIL(ERROR_UNSUPPORTED, "its graph is for other calls than it says");
  device->opening.seconds[OPENING_PLAN] += time_now() - start;
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
  if (!engine->plan_count || held->refused) return OK;
  const EnginePlan *nearest = find_nearest(engine, &device->info, types_of_call(engine->graph, inputs, arena));
  if (!nearest) return OK;
  Status status = load(engine, nearest, device, arena, plan, executable);
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
        (EnginePlan){types_of_graph(plan->graph, engine->arena), plan_needs(plan, engine->arena), plan->device->multiprocessors,
                     text_get(&text), text.length};
  }
  arena_free(scratch);
}
