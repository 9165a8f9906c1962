// See stage_cache.h. One list holds all stages of a session in the order of their use. A stage is moved to its end when it is left, behind
// those that it ran inside; so what is let go first are leaves, and a stage goes before what it hangs on.
#include "run/stage_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread.h"
#include "ir/op.h"
#include "lower/rebind.h"

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

static size_t staged_bytes(const RunTensor *tensors, int count) {
  size_t bytes = 0;
  for (int i = 0; tensors && i < count; i++) {
    const Storage *storage = tensors[i].storage;
    if (storage) bytes += storage->bytes * (size_t)((storage->device_memory != NULL) + (storage->host_memory != NULL));
  }
  return bytes;
}

static void count_bytes(StageMemory *memory, StageEntry *entry) {
  const Graph *ready = entry->stage->ready;
  size_t bytes = sizeof *entry + arena_held(entry->arena) + staged_bytes(entry->inputs, ready->input_count) +
                 staged_bytes(entry->outputs, ready->output_count);
  memory->bytes += bytes - entry->bytes;
  entry->bytes = bytes;
}

// ---- letting go --------------------------------------------------------------------------------------------------------------

static void drop_all(RunTensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++) run_tensor_drop(&tensors[i]);
}

static void count_shared(StageMemory *memory, SharedStage *shared) {
  size_t bytes = sizeof *shared + arena_held(shared->arena);
  memory->bytes += bytes - shared->bytes;
  shared->bytes = bytes;
}

static void leave_shared(StageMemory *memory, SharedStage *shared) {
  if (!shared || --shared->users) return;
  memory->bytes -= shared->bytes;
  arena_free(shared->arena);
  free(shared);
}

static void forget_shared(StageMemory *memory, StageCache *cache) {
  leave_shared(memory, cache->shared);
  cache->shared = NULL;
}

// The graph stands without the entry, which may be let go.
static void unbind(const StageMemory *memory, const StageEntry *entry) {
  SharedStage *shared = entry->shared;
  if (shared->bound == entry) shared->bound = NULL;
  if (!shared->copies_of || !entry->executable || shared->copies_of != memory->device->plan(entry->executable)) return;
  plan_take_copies_out(shared->copies_of);
  shared->copies_of = NULL;
}

static void entry_free(StageMemory *memory, StageEntry *entry) {
  if (entry->shared) unbind(memory, entry);
  if (entry->stage) {
    drop_all(entry->inputs, entry->stage->ready->input_count);
    drop_all(entry->outputs, entry->stage->ready->output_count);
    for (uint32_t i = 0; entry->bodies && i < entry->stage->action_count; i++) stage_cache_free(memory, entry->bodies[i]);
  }
  stage_cache_free(memory, entry->rest);
  if (entry->executable) memory->device->discard(memory->device, entry->executable);
  leave_shared(memory, entry->shared);
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
  forget_shared(memory, cache);
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
  forget(memory, entry);
}

static size_t shared_bytes(Device *device) { return device->shared_bytes ? device->shared_bytes(device) : 0; }

// What is in use keeps what it hangs on in use. A call that was ended lets nothing go: the device may still use it, and waiting for that is
// what was to end.
static void trim(StageMemory *memory) {
  if (budget_is_over(budget_current())) return;
  while (memory->bytes + shared_bytes(memory->device) > memory->limit) {
    StageEntry *entry = memory->oldest;
    while (entry->users && entry != memory->newest) entry = entry->newer;
    if (entry == memory->newest) return;
    evict(memory, entry);
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
  return OK;
}

static bool device_runs(void *context, const Node *node) {
  Device *device = context;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && node->inputs[i]->dtype == DTYPE_STRING) return false;
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->dtype == DTYPE_STRING) return false;  // the runner keeps the bytes
  return device->runs(device, node);
}

// Known contents become constants of the stage: they have to live as long as it does.
static Status own_contents(const Graph *graph, StageInput *inputs, Arena *arena) {
  for (int i = 0; i < graph->input_count; i++) {
    if (!inputs[i].known || inputs[i].known == graph->inputs[i]->initial) continue;
    Tensor *content = arena_copy(arena, inputs[i].known, sizeof *content);
    void *copy;
    size_t bytes = tensor_bytes(content);
    TRY(arena_try_alloc(arena, MAX(bytes, 1), 64, &copy));
    memcpy(copy, content->data, bytes);
    content->data = copy;
    inputs[i].known = content;
  }
  return OK;
}

static bool has_defaults(const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++)
    if (graph->inputs[i]->initial) return true;
  return false;
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

// ---- one graph for several sizes ---------------------------------------------------------------------------------------------

static Status shared_new(StageMemory *memory, StageEntry *entry) {
  SharedStage *shared = entry->shared = calloc(1, sizeof *shared);
  if (!shared) return status_out_of_memory();
  shared->users = 1;
  shared->arena = arena_new();
  count_shared(memory, shared);
  return OK;
}

static Status specialise_entry(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry) {
  TRY(shared_new(memory, entry));
  Arena *arena = entry->shared->arena;
  TRY(own_contents(cache->graph, inputs, arena));
  SpecialiseHooks hooks = {.translate = memory->hooks.translate,
                           .is_deferred = memory->hooks.is_deferred,
                           .runs = device_runs,
                           .context = memory->device};
  Stage *stage;
  TRY(specialise(cache->graph, inputs, &hooks, arena, &stage));
  entry->shared->stage = entry->stage = stage;                  // whole, or none
  bool fresh = stage->rewritten || has_defaults(cache->graph);  // whose passes wait until it is known what is given
  if (!fresh || !memory->hooks.optimise) return OK;
  TRY(memory->hooks.optimise(stage->ready, memory->hooks.optimise_context));
  specialise_regions(stage->ready, &hooks, arena);
  stage->rebinding = NULL;
  stage->closed = "passes went over it";
  return OK;
}

static Status bind_to(StageMemory *memory, SharedStage *shared, const StageInput *sizes, StageEntry *entry, bool *fits) {
  if (shared->copies_of) plan_take_copies_out(shared->copies_of);
  shared->copies_of = NULL;
  shared->bound = entry;
  TRY(rebind(shared->stage->rebinding, sizes, entry->arena, fits));
  count_shared(memory, shared);
  return OK;
}

Status stage_bind(StageMemory *memory, StageEntry *entry) {
  bool fits = true;
  if (entry->shared && entry->shared->bound != entry && entry->shared->stage->rebinding)
    TRY(RECOVER_GUARD(bind_to(memory, entry->shared, entry->sizes, entry, &fits)));
  if (!fits) FAIL(ERROR_INTERNAL, "a stage does not fit the sizes it was made for");
  return OK;
}

static Status compile_entry(StageMemory *memory, StageEntry *entry) {
  SharedStage *shared = entry->shared;
  TRY(memory->device->compile(memory->device, shared->stage->ready, entry->arena, &entry->executable));
  shared->bound = entry;
  shared->copies_of = memory->device->plan(entry->executable);
  count_shared(memory, shared);
  return OK;
}

// What specialising for the sizes alone may not meet, or says itself.
static bool is_of_the_sizes(Status status) {
  ErrorCode code = status_code(status);
  return code == ERROR_UNSUPPORTED || code == ERROR_INVALID_MODEL || code == ERROR_INVALID_ARGUMENT || code == ERROR_MISMATCH;
}

// Takes the stage of other sizes, where it can be bound to these and the device runs it so. A stage that failed is bound no more.
static Status try_shared(StageMemory *memory, StageCache *cache, const StageInput *inputs, StageEntry *entry) {
  SharedStage *shared = cache->shared;
  if (!shared) return OK;
  double start = time_now();
  bool fits = false;
  shared->users++;
  entry->shared = shared;
  Status status = bind_to(memory, shared, inputs, entry, &fits);
  double seconds = time_now() - start;
  memory->device->opening.seconds[OPENING_SPECIALISE] += seconds;
  if (!status && fits) status = compile_entry(memory, entry);
  if (!status && fits) {
    entry->stage = shared->stage;
    memory->device->opening.bound++;
    log_add(memory->device->log, LOG_VERBOSE, "bound to other sizes in %.2f ms", seconds * 1e3);
    return OK;
  }
  shared->stage->rebinding = NULL;
  forget_shared(memory, cache);
  leave_shared(memory, shared);
  entry->shared = NULL;
  if (status && !is_of_the_sizes(status)) return status;
  status_free(status);
  return OK;
}

static Status make_stage(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry) {
  TRY(try_shared(memory, cache, inputs, entry));
  if (entry->executable) return OK;
  double start = time_now();
  TRY(specialise_entry(memory, cache, inputs, entry));
  double seconds = time_now() - start;
  const Stage *stage = entry->stage;
  memory->device->opening.seconds[OPENING_SPECIALISE] += seconds;
  memory->device->opening.specialised++;
  log_add(memory->device->log, LOG_VERBOSE, "specialised in %.1f ms, %zu bytes computed; %s%s", seconds * 1e3,
          stage->folded_bytes,
          stage->rebinding ? "for other sizes too" : "for these sizes alone: ", stage->rebinding ? "" : stage->closed);
  return compile_entry(memory, entry);
}

static RunTensor *types_of(Value *const *values, int count, Arena *arena) {
  RunTensor *types = arena_array(arena, RunTensor, (size_t)count + 1);
  for (int i = 0; i < count; i++) {
    types[i] = (RunTensor){.dtype = values[i]->dtype, .rank = values[i]->rank};
    value_get_dims(values[i], types[i].dims);
  }
  return types;
}

// What is bound to a stage's sizes now is let be bound to the next's, as long as binding has not left too much behind.
static void share(StageMemory *memory, StageCache *cache, StageEntry *entry, const StageInput *inputs) {
  enum { MOST_GROWTH = 1 << 20 };  // binding leaves some memory behind each time
  SharedStage *shared = entry->shared;
  if (!shared || !shared->stage->rebinding) return;
  entry->sizes = arena_copy(entry->arena, inputs, (size_t)cache->graph->input_count * sizeof *inputs);
  if (!shared->first_bytes) shared->first_bytes = shared->bytes;
  bool fits = shared->bytes <= 2 * shared->first_bytes + MOST_GROWTH;
  if (cache->shared && !fits) forget_shared(memory, cache);
  if (cache->shared || !fits) return;
  cache->shared = shared;
  shared->users++;
}

static Status entry_build(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry) {
  entry->arena = arena_new();
  budget_stage("compiling", 0, -1);
  TRY(budget_poll());
  TRY(take_held(memory, cache, inputs, entry));
  if (!entry->executable) TRY(make_stage(memory, cache, inputs, entry));
  Stage *stage = entry->stage;
  share(memory, cache, entry, inputs);
  entry->input_types = types_of(stage->ready->inputs, stage->ready->input_count, entry->arena);
  entry->output_types = types_of(stage->ready->outputs, stage->ready->output_count, entry->arena);
  entry->inputs = arena_array(entry->arena, RunTensor, stage->ready->input_count);
  entry->outputs = arena_array(entry->arena, RunTensor, stage->ready->output_count);
  if (stage->complete) return OK;
  TRY(stage_cache_new(memory, stage->rest, stage->fetch, &entry->rest));
  entry->bodies = arena_array(entry->arena, StageCache *, stage->action_count);
  for (uint32_t i = 0; i < stage->action_count; i++) {
    const Node *node = stage->actions[i].node;
    const Graph *body = node_graph(node, "body");
    if (body) TRY(stage_cache_new(memory, body, NULL, &entry->bodies[i]));
    else if (memory->device->info.kind != DEVICE_CPU)
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
    if (entry->shared && entry->shared == cache->shared) {  // its graph may be anything
      entry->shared->stage->rebinding = NULL;
      forget_shared(memory, cache);
    }
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

Status stage_enter(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out) {
  TRY(RECOVER_GUARD(enter(memory, cache, inputs, out)));
  (*out)->users++;
  return OK;
}

void stage_leave(StageMemory *memory, StageEntry *entry) {
  entry->users--;
  unlink_entry(memory, entry);
  link_newest(memory, entry);
  count_bytes(memory, entry);
  trim(memory);
}
