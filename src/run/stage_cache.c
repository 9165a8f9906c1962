// See stage_cache.h. One list holds all stages of a session in the order of their use. A stage is moved to its end when it is left, behind
// those that it ran inside; so what is let go first are leaves, and a stage goes before what it hangs on.
#include "run/shared_stage.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "kernels/control/control.h"
#include "kernels/sort/sort.h"
#include "run/call_memory.h"
#include "run/stage_reads.h"

// ---- the order of use --------------------------------------------------------------------------------------------------------

static void unlink_entry(StageMemory *memory, StageEntry *entry) {
  *(entry->older ? &entry->older->newer : &memory->oldest) = entry->newer;
  *(entry->newer ? &entry->newer->older : &memory->newest) = entry->older;
}

static void link_newest(StageMemory *memory, StageEntry *entry) {
  entry->older = memory->newest;
  entry->newer = NULL;
  *(memory->newest ? &memory->newest->newer : &memory->oldest) = entry;
  memory->newest = entry;
}

static void count_bytes(StageMemory *memory, StageEntry *entry) {
  size_t bytes = sizeof *entry + arena_held(entry->arena);
  memory->bytes += bytes - entry->bytes;
  entry->bytes = bytes;
}

// ---- letting go --------------------------------------------------------------------------------------------------------------

static size_t loops_bytes(const StageEntry *entry) {
  size_t bytes = 0;
  for (uint32_t i = 0; entry->loops && i < entry->stage->action_count; i++)
    if (entry->loops[i]) bytes += loop_memory_bytes(entry->loops[i]);
  return bytes;
}

static void free_loops(StageEntry *entry) {
  for (uint32_t i = 0; entry->loops && i < entry->stage->action_count; i++) {
    loop_memory_free(entry->loops[i]);
    entry->loops[i] = NULL;
  }
}

static void entry_free(StageMemory *memory, StageEntry *entry) {
  if (entry->shared) shared_stage_unbind(memory, entry);
  if (entry->stage) {
    call_memory_drop(entry->inputs, entry->stage->ready->input_count);
    call_memory_drop(entry->outputs, entry->stage->ready->output_count);
  }
  for (uint32_t i = 0; entry->bodies && i < entry->stage->action_count; i++) stage_cache_free(memory, entry->bodies[i]);
  free_loops(entry);
  if (!entry->shared || !entry->shared->rest) stage_cache_free(memory, entry->rest);
  if (entry->executable) memory->device->discard(memory->device, entry->executable);
  shared_stage_leave(memory, entry->shared);
  arena_free(entry->arena);
  free(entry);
}

static void forget(StageMemory *memory, StageEntry *entry) {
  unlink_entry(memory, entry);
  memory->bytes -= entry->bytes;
  entry_free(memory, entry);
}

void stage_cache_free(StageMemory *memory, StageCache *cache) {
  if (!cache) return;
  for (size_t i = 0; i < cache->count; i++) forget(memory, cache->slots[i].entry);
  shared_stages_forget(memory, cache);
  stage_reads_free(memory, cache->reads);
  free(cache->slots);
  free(cache->known);
  free(cache);
}

static StageSlot *find_slot(const StageCache *cache, Hash128 key) {
  for (size_t i = 0; i < cache->count; i++)
    if (cache->slots[i].key.low == key.low && cache->slots[i].key.high == key.high) return &cache->slots[i];
  return NULL;
}

static void evict(StageMemory *memory, StageEntry *entry) {
  StageCache *home = entry->home;
  *find_slot(home, entry->key) = home->slots[home->count - 1];
  home->count--;
  if (home->last == entry) home->last = NULL;
  forget(memory, entry);
}

static size_t shared_bytes(Device *device) { return device->shared_bytes ? device->shared_bytes(device) : 0; }

// Under a limit of the caller's, remembered plans may have half of what nothing else takes: the other half is for the call at hand.
static size_t limit_of(const StageMemory *memory) {
  size_t left = budget_left();
  return left == SIZE_MAX ? memory->limit : MIN(memory->limit, (left + memory->bytes) / 2);
}

// What is in use keeps what it hangs on in use. A call that was ended lets nothing go: the device may still use it, and waiting for that is
// what was to end.
static void trim(StageMemory *memory, bool even_newest) {
  if (budget_is_over(budget_current())) return;
  while (memory->bytes + shared_bytes(memory->device) > limit_of(memory)) {
    StageEntry *entry = memory->oldest;
    while (entry && entry->users) entry = entry->newer;
    if (!entry || (entry == memory->newest && !even_newest)) return;
    evict(memory, entry);
  }
}

// It is no part of the plans' memory: a loop over large states would leave room for none of its stages.
void stage_trim_loops(StageMemory *memory) {
  enum { SHARE = 8 };
  size_t bytes = 0, most = memory->limit / SHARE;
  if (budget_is_over(budget_current())) return;
  for (StageEntry *entry = memory->oldest; entry; entry = entry->newer) bytes += loops_bytes(entry);
  for (StageEntry *entry = memory->oldest; entry && bytes > most; entry = entry->newer) {
    if (entry->users) continue;
    bytes -= loops_bytes(entry);
    free_loops(entry);
  }
}

// ---- making ------------------------------------------------------------------------------------------------------------------

Status stage_cache_new(StageMemory *memory, const Graph *graph, const bool *known, StageCache **out) {
  StageCache *cache = *out = calloc(1, sizeof *cache);
  if (!cache) return status_out_of_memory();
  cache->graph = graph;
  cache->known = calloc((size_t)graph->input_count + 1, sizeof *cache->known);
  if (!cache->known) return status_out_of_memory();
  if (known) memcpy(cache->known, known, (size_t)graph->input_count * sizeof *known);
  else graph_shape_inputs(graph, memory->hooks.is_deferred, cache->known);
  cache->by_type = true;
  for (int i = 0; i < graph->input_count; i++)
    if (cache->known[i] || graph->inputs[i]->initial || graph->inputs[i]->kind != VALUE_TENSOR) cache->by_type = false;
  return OK;
}

// A plan at hand is a stage of its own, without anything behind it.
static Status take_held(StageMemory *memory, const StageCache *cache, const StageInput *inputs, StageEntry *entry) {
  Plan *plan;
  if (!memory->hooks.held || cache->graph != memory->whole) return OK;
  TRY(memory->hooks.held(memory->hooks.held_context, inputs, memory->device, entry->arena, &plan, &entry->executable));
  if (!entry->executable) return OK;
  entry->stage = arena_new_of(entry->arena, Stage);
  *entry->stage = (Stage){.ready = plan->graph, .complete = true, .direct = true};
  return OK;
}

static RunTensor *types_of(Value *const *values, int count, Arena *arena) {
  RunTensor *types = arena_array(arena, RunTensor, (size_t)count + 1);
  for (int i = 0; i < count; i++) {
    types[i] = (RunTensor){.dtype = values[i]->dtype, .rank = values[i]->rank};
    value_get_dims(values[i], types[i].dims);
  }
  return types;
}

static Status add_body(StageMemory *memory, StageEntry *entry, uint32_t action, const Node *node, const Graph *body) {
  int condition = node->op == &op_loop && loop_body_goes_on(body) ? 0 : -1;
  entry->trimmed[action] = loop_body_new(body, condition, entry->arena);
  return stage_cache_new(memory, entry->trimmed[action]->graph, NULL, &entry->bodies[action]);
}

static Status give_rest(StageMemory *memory, StageEntry *entry) {
  const Stage *stage = entry->stage;
  SharedStage *shared = entry->shared;
  if (!stage->rest_is_open) return stage_cache_new(memory, stage->rest, stage->fetch, &entry->rest);
  if (!shared->rest) TRY(stage_cache_new(memory, stage->rest, stage->fetch, &shared->rest));
  entry->rest = shared->rest;
  return OK;
}

static Status entry_build(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry) {
  entry->arena = arena_new();
  budget_stage("compiling", 0, -1);
  TRY(budget_poll());
  TRY(take_held(memory, cache, inputs, entry));
  if (!entry->executable) TRY(shared_stage_give(memory, cache, inputs, entry));
  Stage *stage = entry->stage;
  shared_stage_keep(memory, cache, entry);
  entry->input_types = types_of(stage->ready->inputs, stage->ready->input_count, entry->arena);
  entry->output_types = types_of(stage->ready->outputs, stage->ready->output_count, entry->arena);
  entry->inputs = arena_array(entry->arena, RunTensor, stage->ready->input_count);
  entry->outputs = arena_array(entry->arena, RunTensor, stage->ready->output_count);
  if (stage->complete) return OK;
  TRY(give_rest(memory, entry));
  entry->bodies = arena_array(entry->arena, StageCache *, stage->action_count);
  entry->trimmed = arena_array(entry->arena, LoopBody *, stage->action_count);
  entry->loops = arena_array(entry->arena, LoopMemory *, stage->action_count);
  for (uint32_t i = 0; i < stage->action_count; i++) {
    const Node *node = stage->actions[i].node;
    const Graph *body = node_graph(node, "body");
    if (body) TRY(add_body(memory, entry, i, node, body));
    else if (memory->device->info.kind != DEVICE_CPU && node->op != &op_counted)
      log_add(memory->device->log, LOG_INFO, "'%s' (%s) runs on the host", node->outputs[0]->name, node->op->name);
  }
  return OK;
}

static bool has_content(const RunTensor *tensor) {
  return tensor->storage->host_memory || tensor->storage->device_memory || run_tensor_bytes(tensor) == 0;
}

// What specialising may know of a value: its type, and its content where that is part of the key.
static Status describe(Arena *scratch, const RunTensor *tensor, bool known, StageInput *out, Hash128 *key) {
  *out = (StageInput){.kind = tensor->kind, .dtype = tensor->dtype, .rank = tensor->rank};
  memcpy(out->dims, tensor->dims, sizeof out->dims);
  int count = tensor->list ? tensor->list->count : 0;
  int64_t head[4 + MAX_RANK] = {tensor->kind, tensor->dtype, tensor->rank, count};
  memcpy(head + 4, tensor->dims, (size_t)tensor->rank * sizeof *head);
  *key = hash128_combine(*key, hash128_bytes(head, sizeof head));
  StageInput *items = arena_array(scratch, StageInput, (size_t)count + 1);
  for (int i = 0; i < count; i++) TRY(describe(scratch, &tensor->list->items[i], false, &items[i], key));
  out->items = items;
  out->count = count;
  if (!known || !tensor->storage || tensor->dtype == DTYPE_STRING || !has_content(tensor)) return OK;
  Tensor *content = arena_new_of(scratch, Tensor);
  *content = (Tensor){.dtype = tensor->dtype, .rank = tensor->rank};
  memcpy(content->dims, tensor->dims, sizeof content->dims);
  if (run_tensor_bytes(tensor)) TRY(run_tensor_host(tensor, &content->data));
  else content->data = content;  // no byte of it is read
  out->known = content;
  *key = hash128_combine(*key, hash128_bytes(content->data, run_tensor_bytes(tensor)));
  return OK;
}

static Status entry_new(StageMemory *memory, StageCache *cache, StageInput *inputs, Hash128 key, StageEntry **out) {
  trim(memory, true);
  if (cache->count == cache->capacity) {
    size_t capacity = cache->capacity ? cache->capacity * 2 : 8;
    StageSlot *slots = realloc(cache->slots, capacity * sizeof *slots);
    if (!slots) return status_out_of_memory();
    cache->slots = slots;
    cache->capacity = capacity;
  }
  StageEntry *entry = calloc(1, sizeof *entry);
  if (!entry) return status_out_of_memory();
  entry->key = key;
  entry->home = cache;
  Status status = RECOVER_GUARD(entry_build(memory, cache, inputs, entry));
  if (status) {
    shared_stage_failed(memory, cache, entry);
    entry_free(memory, entry);
    return status;
  }
  cache->slots[cache->count++] = (StageSlot){key, entry};
  link_newest(memory, entry);
  *out = entry;
  return OK;
}

// An input that was left out is the constant it is by default.
static void describe_default(const Tensor *initial, StageInput *out, Hash128 *key) {
  *out = (StageInput){.dtype = initial->dtype, .rank = initial->rank, .known = initial};
  memcpy(out->dims, initial->dims, sizeof out->dims);
  *key = hash128_combine(*key, hash128_bytes("default", 7));
}

static Status describe_all(StageCache *cache, const RunTensor *inputs, Arena *scratch, StageInput **out, Hash128 *key) {
  int count = cache->graph->input_count;
  *out = arena_array(scratch, StageInput, (size_t)count + 1);
  *key = (Hash128){1, 2};
  for (int i = 0; i < count; i++) {
    const Tensor *initial = cache->graph->inputs[i]->initial;
    if (initial && inputs[i].kind == VALUE_TENSOR && !inputs[i].storage) describe_default(initial, &(*out)[i], key);
    else TRY(describe(scratch, &inputs[i], cache->known[i], &(*out)[i], key));
  }
  return OK;
}

static Status enter(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out) {
  Arena *scratch = arena_scratch();
  StageInput *described;
  Hash128 key;
  Status status = describe_all(cache, inputs, scratch, &described, &key);
  StageSlot *slot = status ? NULL : find_slot(cache, key);
  if (slot) *out = slot->entry;
  else if (!status) status = entry_new(memory, cache, described, key, out);
  arena_free(scratch);
  return status;
}

// An iteration of a loop has the stage of the one before, as a rule: where types are all there is to a key, they are compared with that one's.
static bool is_of_types(const StageCache *cache, const StageEntry *entry, const RunTensor *inputs) {
  for (int i = 0; i < cache->graph->input_count; i++) {
    const RunTensor *type = &entry->input_types[i], *given = &inputs[i];
    if (given->kind != VALUE_TENSOR || given->dtype != type->dtype || given->rank != type->rank) return false;
    if (memcmp(given->dims, type->dims, (size_t)type->rank * sizeof *type->dims)) return false;
  }
  return true;
}

static bool are_tensors(const StageCache *cache, const RunTensor *inputs) {
  for (int i = 0; i < cache->graph->input_count; i++)
    if (inputs[i].kind != VALUE_TENSOR) return false;
  return true;
}

Status stage_enter(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out) {
  if (cache->last && is_of_types(cache, cache->last, inputs)) {
    *out = cache->last;
  } else {
    TRY(RECOVER_GUARD(enter(memory, cache, inputs, out)));
    cache->last = cache->by_type && are_tensors(cache, inputs) ? *out : NULL;
  }
  (*out)->users++;
  return OK;
}

Status stage_enter_bound(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out) {
  TRY(stage_enter(memory, cache, inputs, out));
  if (shared_stage_is_bound(*out)) return OK;
  (*out)->users--;
  evict(memory, *out);
  return stage_enter(memory, cache, inputs, out);
}

void stage_leave(StageMemory *memory, StageEntry *entry) {
  entry->users--;
  unlink_entry(memory, entry);
  link_newest(memory, entry);
  count_bytes(memory, entry);
  trim(memory, false);
}

void stage_forget_all(StageMemory *memory, StageCache *top) {
  while (memory->oldest) evict(memory, memory->oldest);
  shared_stages_forget(memory, top);
}
