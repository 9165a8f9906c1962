// See runner.h. Stages come from stage_cache.h; here they are run, one after the other, and what lies between them.
#include "run/runner.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "kernels/sort/sort.h"
#include "run/host_node.h"
#include "run/loop.h"
#include "run/runner_inside.h"

enum { MAX_DEPTH = 64 };  // nested loops and rests

// The tensors among the values, the elements of a sequence in its place: what ready's inputs are. *flat is to be freed where it is not
// `values` itself, which is handed back if it holds nothing else.
static Status flatten(const RunTensor *values, int count, const RunTensor **flat) {
  int leaves = 0, other = 0;
  for (int i = 0; i < count; i++) {
    other += values[i].kind != VALUE_TENSOR;
    leaves += values[i].kind == VALUE_TENSOR ? 1 : values[i].list ? values[i].list->count : 0;
  }
  *flat = values;
  if (!other) return OK;
  RunTensor *out = calloc((size_t)leaves + 1, sizeof *out), *at = out;
  if (!out) return status_out_of_memory();
  for (int i = 0; i < count; i++) {
    if (values[i].kind == VALUE_TENSOR) *at++ = values[i];
    for (int k = 0; values[i].list && k < values[i].list->count; k++) *at++ = values[i].list->items[k];
  }
  *flat = out;
  return OK;
}

static void free_flat(const RunTensor *flat, const RunTensor *values) {
  if (flat != values) free((void *)(uintptr_t)flat);
}

// Whether results are what the caller believes, who wants them somewhere. Where one is not, nothing may be written there.
static bool are_as_wanted(const StageEntry *entry, const RunTensor *outputs) {
  for (int i = 0; i < entry->stage->ready->output_count; i++) {
    const RunTensor *wanted = &outputs[i], *type = &entry->output_types[i];
    if (!wanted->storage) continue;
    if (wanted->dtype != type->dtype || wanted->rank != type->rank) return false;
    if (memcmp(wanted->dims, type->dims, (size_t)type->rank * sizeof *type->dims)) return false;
  }
  return true;
}

// Addresses of the inputs. What comes on the host goes where the same input of other calls went (NULL: to memory of its own).
static Status place_inputs(Device *device, StageEntry *entry, CallMemory *memory, const RunTensor *inputs, void **in) {
  const Graph *ready = entry->stage->ready;
  for (int i = 0; i < ready->input_count; i++) {
    if (!value_use_count(ready->inputs[i])) continue;
    const Storage *storage = inputs[i].storage;
    if (!storage) FAIL(ERROR_INVALID_MODEL, "'%s' is used, but absent", ready->inputs[i]->name);
    if (!memory || device->info.kind == DEVICE_CPU || storage->device_memory) {
      TRY(run_tensor_device(&inputs[i], &in[i]));
      continue;
    }
    TRY(call_memory_place(device, &entry->input_types[i], &memory->inputs[i], &entry->inputs[i]));
    in[i] = entry->inputs[i].storage->device_memory;
    TRY(device->upload(device, in[i], storage->host_memory, storage->bytes));
  }
  return OK;
}

// Where a stage runs.
typedef struct Where {
  int depth;         // the number of loops and rests around it
  bool top;          // in the chain of stages that a call runs through, not inside of a loop
  LoopMemory *loop;  // whose body it is, or a part of it; NULL: none's
  int body;          // the body's depth
} Where;
static const Where at_top = {.top = true};

static Where behind(Where where) {
  where.depth++;
  return where;
}

// Where results of a loop's body go, one for each: its last stage's, or what another leaves for those behind.
static Status body_places(const Where *where, const StageEntry *entry, Places **out) {
  *out = NULL;
  if (!where->loop) return OK;
  *out = where->loop->results;
  if (entry->stage->complete && entry->stage->direct) return OK;
  return loop_memory_of_stage(where->loop, where->depth - where->body, entry->stage->ready->output_count, out);
}

// Results go where the caller wants them, or where they went in other calls or iterations (NULL: to memory of their own).
static Status place_outputs(Device *device, StageEntry *entry, CallMemory *memory, Places *places, RunTensor *outputs,
                            void **out) {
  for (int i = 0; i < entry->stage->ready->output_count; i++) {
    const RunTensor *type = &entry->output_types[i];
    if (!outputs[i].storage && memory) {
      TRY(call_memory_place(device, type, &memory->outputs[i], &entry->outputs[i]));
      run_tensor_share(&outputs[i], &entry->outputs[i]);
    } else if (!outputs[i].storage && places) {
      TRY(places_take(&places[i], device, type, &outputs[i]));
    } else if (!outputs[i].storage) {
      TRY(run_tensor_allocate(device, type, run_tensor_bytes(type), &outputs[i]));
    }
    TRY(run_tensor_device(&outputs[i], &out[i]));
  }
  return OK;
}

// Runs the stage's static part.
static Status run_ready(Runner *runner, StageEntry *entry, Where where, const RunTensor *inputs, RunTensor *outputs) {
  Graph *ready = entry->stage->ready;
  Device *device = runner->device;
  CallMemory *memory = NULL;
  Places *places;
  TRY(body_places(&where, entry, &places));
  if (where.top) TRY(call_memory_of(&runner->memories, where.depth, ready->input_count, ready->output_count, &memory));
  void **in = calloc((size_t)(ready->input_count + ready->output_count) + 1, sizeof *in);
  if (!in) return status_out_of_memory();
  Status status = OK;
  TRY_GOTO(place_inputs(device, entry, memory, inputs, in));
  if (!are_as_wanted(entry, outputs))
    for (int i = 0; i < ready->output_count; i++) run_tensor_drop(&outputs[i]);
  TRY_GOTO(place_outputs(device, entry, memory, places, outputs, in + ready->input_count));
  budget_stage("running", 0, -1);
  TRY_GOTO(budget_poll());
  TRY_GOTO(device->run(device, entry->executable, in, in + ready->input_count));
done:
  free(in);
  return status;
}

// What slots refer to.
typedef struct Made {
  const RunTensor *inputs, *ready;
  RunTensor *const *actions;
} Made;

static Status slot_tensor(Runner *runner, const Slot *slot, const Made *made, RunTensor *out) {
  *out = (RunTensor){0};
  switch (slot->kind) {
    case SLOT_INPUT: run_tensor_share(out, &made->inputs[slot->index]); return OK;
    case SLOT_READY: run_tensor_share(out, &made->ready[slot->index]); return OK;
    case SLOT_ACTION: run_tensor_share(out, &made->actions[slot->index][slot->output]); return OK;
    case SLOT_NOTHING: out->kind = VALUE_OPTIONAL; return OK;
    case SLOT_CONSTANT: return slot->constant ? run_tensor_borrow_host(runner->device, slot->constant, out) : OK;
    case SLOT_SEQUENCE: break;
  }
  TRY(run_sequence_new(slot->dtype, slot->count, out));
  for (int i = 0; i < slot->count; i++) {
    Status status = slot_tensor(runner, &slot->items[i], made, &out->list->items[i]);
    if (status) run_tensor_drop(out);
    TRY(status);
  }
  return OK;
}

static Status cache_run(Runner *runner, StageCache *cache, Where where, const RunTensor *inputs, RunTensor *outputs);

typedef struct BodyCall {
  Runner *runner;
  StageCache *cache;
  Where where;
} BodyCall;

static Status run_body(void *context, const RunTensor *inputs, RunTensor *outputs) {
  BodyCall *call = context;
  return cache_run(call->runner, call->cache, call->where, inputs, outputs);
}

static Status run_loop(Runner *runner, StageEntry *entry, int index, int depth, const RunTensor *inputs, RunTensor *outputs) {
  LoopMemory **memory = &entry->loops[index];
  StageCache *cache = entry->bodies[index];
  const LoopBody *body = entry->trimmed[index];
  if (!*memory) TRY(loop_memory_new(body->whole, memory));
  BodyCall context = {runner, cache, {.depth = depth + 1, .loop = *memory, .body = depth + 1}};
  Status status = loop_run(&(LoopCall){.device = runner->device,
                                       .node = entry->stage->actions[index].node,
                                       .body = body,
                                       .memory = *memory,
                                       .known = cache->known,
                                       .run = run_body,
                                       .context = &context},
                           inputs, outputs);
  stage_trim_loops(&runner->stages);
  return status;
}

static Status run_action(Runner *runner, StageEntry *entry, int index, int depth, const RunTensor *inputs, RunTensor *outputs) {
  const Node *node = entry->stage->actions[index].node;
  if (node->op == &op_counted) return host_node_count(node, inputs, outputs);
  if (!entry->bodies[index]) {
    if (runner->device->info.kind != DEVICE_CPU) runner->stats.host_operator = node->op->name;
    return RECOVER_GUARD(host_node_run(runner->device, node, runner->strings[runner->turn], inputs, outputs));
  }
  return run_loop(runner, entry, index, depth, inputs, outputs);
}

static Status run_rest(Runner *runner, StageEntry *entry, Where where, const RunTensor *inputs, const RunTensor *ready,
                       RunTensor *outputs) {
  Stage *stage = entry->stage;
  RunTensor **actions = calloc(stage->action_count + 1, sizeof *actions);
  RunTensor *rest = calloc((size_t)stage->rest->input_count + 1, sizeof *rest);
  const Made made = {inputs, ready, actions};
  Status status = OK;
  if (!actions || !rest) TRY_GOTO(status_out_of_memory());
  for (uint32_t a = 0; a < stage->action_count; a++) {
    const Action *action = &stage->actions[a];
    actions[a] = calloc((size_t)action->node->output_count + 1, sizeof **actions);
    RunTensor *operands = calloc((size_t)action->node->input_count + 1, sizeof *operands);
    if (!actions[a] || !operands) status = status_out_of_memory();
    for (int i = 0; !status && i < action->node->input_count; i++)
      status = slot_tensor(runner, &action->inputs[i], &made, &operands[i]);
    if (!status)
      status = status_context(run_action(runner, entry, (int)a, where.depth, operands, actions[a]), "running '%s' (%s)",
                              action->node->outputs[0]->name, action->node->op->name);
    run_tensors_drop(operands, action->node->input_count);
    free(operands);
    if (status) goto done;
  }
  for (int i = 0; i < stage->rest->input_count; i++) TRY_GOTO(slot_tensor(runner, &stage->rest_inputs[i], &made, &rest[i]));
  TRY_GOTO(cache_run(runner, entry->rest, behind(where), rest, outputs));
done:
  for (uint32_t a = 0; actions && a < stage->action_count; a++) {
    run_tensors_drop(actions[a], stage->actions[a].node->output_count);
    free(actions[a]);
  }
  if (rest) run_tensors_drop(rest, stage->rest->input_count);
  free(actions);
  free(rest);
  return status;
}

static void note_stats(Runner *runner, const StageEntry *entry) {
  const Plan *plan = runner->device->plan(entry->executable);
  RunnerStats *stats = &runner->stats;
  stats->arena_bytes = MAX(stats->arena_bytes, plan->arena_bytes);
  stats->temporary_bytes = MAX(stats->temporary_bytes, plan->temporary_bytes);
  stats->constant_bytes = MAX(stats->constant_bytes, plan->constant_bytes);
  stats->stages++;
  if (!entry->stage->complete) stats->data_dependent = true;
}

// Some results are not the device's: strings and sequences are made of what is at hand once the rest has run.
static Status run_and_gather(Runner *runner, StageEntry *entry, int output_count, Where where, const RunTensor *inputs,
                             RunTensor *outputs) {
  const Stage *stage = entry->stage;
  int count = stage->ready->output_count;
  RunTensor *ready = calloc((size_t)count + 1, sizeof *ready);
  if (!ready) return status_out_of_memory();
  Status status = run_ready(runner, entry, where, inputs, ready);
  for (int i = 0; i < output_count && !status; i++) {
    run_tensor_drop(&outputs[i]);
    status = slot_tensor(runner, &stage->results[i], &(Made){inputs, ready, NULL}, &outputs[i]);
  }
  run_tensors_drop(ready, count);
  free(ready);
  return status;
}

static Status run_stages(Runner *runner, StageEntry *entry, Where where, const RunTensor *inputs, RunTensor *outputs) {
  int count = entry->stage->ready->output_count;
  RunTensor *ready = calloc((size_t)count + 1, sizeof *ready);
  if (!ready) return status_out_of_memory();
  Status status = run_ready(runner, entry, where, inputs, ready);
  if (!status) status = run_rest(runner, entry, where, inputs, ready, outputs);
  run_tensors_drop(ready, count);
  free(ready);
  return status;
}

static Status cache_run(Runner *runner, StageCache *cache, Where where, const RunTensor *inputs, RunTensor *outputs) {
  if (where.depth > MAX_DEPTH * 16) FAIL(ERROR_UNSUPPORTED, "control flow is nested deeper than %d", MAX_DEPTH * 16);
  StageEntry *entry;
  const RunTensor *flat;
  TRY(stage_enter(&runner->stages, cache, inputs, &entry));
  note_stats(runner, entry);
  Status status = flatten(inputs, cache->graph->input_count, &flat);
  if (status) goto done;
  status = !entry->stage->complete ? run_stages(runner, entry, where, flat, outputs)
           : entry->stage->direct  ? run_ready(runner, entry, where, flat, outputs)
                                   : run_and_gather(runner, entry, cache->graph->output_count, where, flat, outputs);
  free_flat(flat, inputs);
done:
  stage_leave(&runner->stages, entry);
  return status;
}

static Status runner_fill(Runner *runner, const Graph *graph) {
  for (int i = 0; i < 2; i++) runner->strings[i] = arena_new();
  return stage_cache_new(&runner->stages, graph, NULL, &runner->top);
}

Status runner_new(const Graph *graph, Device *device, const RunnerHooks *hooks, size_t cache_limit, Runner **out) {
  Runner *runner = calloc(1, sizeof *runner);
  if (!runner) return status_out_of_memory();
  runner->device = device;
  runner->stages =
      (StageMemory){.device = device, .whole = graph, .hooks = *hooks, .limit = cache_limit ? cache_limit : RUNNER_CACHE_LIMIT};
  runner->stats.host_operator = "";
  Status status = RECOVER_GUARD(runner_fill(runner, graph));
  if (status) runner_free(runner);
  else *out = runner;
  return status;
}

void runner_free(Runner *runner) {
  if (!runner) return;
  stage_cache_free(&runner->stages, runner->top);
  call_memories_free(&runner->memories);
  for (int i = 0; i < 2; i++) arena_free(runner->strings[i]);
  free(runner);
}

Status runner_run(Runner *runner, const RunTensor *inputs, RunTensor *outputs) {
  runner->stats = (RunnerStats){.host_operator = ""};
  runner->turn ^= 1;
  arena_reset(runner->strings[runner->turn]);
  return runner_run_again(runner, inputs, outputs);
}

Status runner_run_again(Runner *runner, const RunTensor *inputs, RunTensor *outputs) {
  return cache_run(runner, runner->top, at_top, inputs, outputs);
}

static void note_entry(Runner *runner, const StageEntry *entry) {
  runner->stats = (RunnerStats){.host_operator = ""};
  note_stats(runner, entry);
}

Status runner_prepare(Runner *runner, const RunTensor *inputs) {
  StageEntry *entry;
  TRY(stage_enter(&runner->stages, runner->top, inputs, &entry));
  note_entry(runner, entry);
  stage_leave(&runner->stages, entry);
  return OK;
}

Status runner_plan(Runner *runner, const RunTensor *inputs, Executable **executable, Stage **stage) {
  StageEntry *entry;
  TRY(stage_enter_bound(&runner->stages, runner->top, inputs, &entry));
  note_entry(runner, entry);
  *executable = entry->executable;
  *stage = entry->stage;
  stage_leave(&runner->stages, entry);
  return OK;
}

// Runs the stage's plan once and finds the addresses it used, so that it can be run again alone.
static Status place(Runner *runner, StageEntry *entry, const RunTensor *inputs, RunTensor *outputs, void **in, void **out) {
  Graph *ready = entry->stage->ready;
  CallMemory *memory;
  TRY(run_ready(runner, entry, at_top, inputs, outputs));
  TRY(call_memory_of(&runner->memories, 0, ready->input_count, ready->output_count, &memory));
  TRY(place_inputs(runner->device, entry, memory, inputs, in));
  return place_outputs(runner->device, entry, memory, NULL, outputs, out);
}

Status runner_with_placed(Runner *runner, const RunTensor *inputs, PlacedWork work, void *context) {
  StageEntry *entry;
  const RunTensor *flat = inputs;
  TRY(stage_enter_bound(&runner->stages, runner->top, inputs, &entry));
  note_entry(runner, entry);
  Graph *ready = entry->stage->ready;
  RunTensor *outputs = calloc((size_t)ready->output_count + 1, sizeof *outputs);
  void **in = calloc((size_t)(ready->input_count + ready->output_count) + 1, sizeof *in);
  Status status = OK;
  if (!outputs || !in) TRY_GOTO(status_out_of_memory());
  TRY_GOTO(flatten(inputs, runner->top->graph->input_count, &flat));
  TRY_GOTO(place(runner, entry, flat, outputs, in, in + ready->input_count));
  TRY_GOTO(work(runner, entry, in, in + ready->input_count, context));
done:
  if (outputs) run_tensors_drop(outputs, ready->output_count);
  free(outputs);
  free(in);
  free_flat(flat, inputs);
  stage_leave(&runner->stages, entry);
  return status;
}

bool runner_make_room(Runner *runner) {
  bool remembers = runner->stages.oldest || runner->memories.count;
  if (!remembers || !budget_begin_again()) return false;
  stage_forget_all(&runner->stages, runner->top);
  call_memories_free(&runner->memories);
  return true;
}

static void entry_let_go(StageEntry *entry, Storage *storage) {
  call_memory_let_go(entry->outputs, entry->stage->ready->output_count, storage);
  for (uint32_t i = 0; entry->loops && i < entry->stage->action_count; i++)
    if (entry->loops[i]) loop_memory_let_go(entry->loops[i], storage);
}

void runner_let_go(Runner *runner, Storage *storage) {
  for (StageEntry *entry = runner->stages.oldest; entry; entry = entry->newer) entry_let_go(entry, storage);
  call_memories_let_go(&runner->memories, storage);
}

RunnerStats runner_stats(const Runner *runner) { return runner->stats; }
