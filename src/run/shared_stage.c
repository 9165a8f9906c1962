// See shared_stage.h.
#include "run/shared_stage.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "lower/rebind.h"
#include "run/stage_reads.h"

static void count_shared(StageMemory *memory, SharedStage *shared) {
  size_t bytes = sizeof *shared + arena_held(shared->arena);
  memory->bytes += bytes - shared->bytes;
  shared->bytes = bytes;
}

void shared_stage_leave(StageMemory *memory, SharedStage *shared) {
  if (!shared || --shared->users) return;
  memory->bytes -= shared->bytes;
  stage_cache_free(memory, shared->rest);
  arena_free(shared->arena);
  free(shared);
}

static void forget_shared(StageMemory *memory, StageCache *cache, const SharedStage *shared) {
  for (SharedStage **at = &cache->shared; *at; at = &(*at)->next)
    if (*at == shared) {
      SharedStage *kept = *at;
      *at = kept->next;
      shared_stage_leave(memory, kept);
      return;
    }
}

void shared_stages_forget(StageMemory *memory, StageCache *cache) {
  while (cache->shared) forget_shared(memory, cache, cache->shared);
}

static SharedStage *kept_of(const StageCache *cache, const Graph *graph) {
  SharedStage *shared = cache->shared;
  while (shared && shared->of != graph) shared = shared->next;
  return shared;
}

bool shared_stage_is_bound(const StageEntry *entry) { return !entry->shared || entry->shared->bound == entry; }

void shared_stage_unbind(const StageMemory *memory, const StageEntry *entry) {
  SharedStage *shared = entry->shared;
  if (shared->bound == entry) shared->bound = NULL;
  if (!shared->copies_of || !entry->executable || shared->copies_of != memory->device->plan(entry->executable)) return;
  plan_take_copies_out(shared->copies_of);
  shared->copies_of = NULL;
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
    if (!inputs[i].known || inputs[i].read || inputs[i].known == graph->inputs[i]->initial) continue;
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

static Status shared_new(StageMemory *memory, StageEntry *entry) {
  SharedStage *shared = entry->shared = calloc(1, sizeof *shared);
  if (!shared) return status_out_of_memory();
  shared->users = 1;
  shared->arena = arena_new();
  count_shared(memory, shared);
  return OK;
}

static SpecialiseHooks hooks_of(const StageMemory *memory) {
  return (SpecialiseHooks){.translate = memory->hooks.translate,
                           .is_deferred = memory->hooks.is_deferred,
                           .runs = device_runs,
                           .reserves = memory->device->info.kind != DEVICE_CPU,
                           .context = memory->device};
}

static Status specialise_graph(StageMemory *memory, const Graph *graph, StageInput *inputs, StageEntry *entry) {
  TRY(shared_new(memory, entry));
  Arena *arena = entry->shared->arena;
  TRY(own_contents(graph, inputs, arena));
  SpecialiseHooks hooks = hooks_of(memory);
  Stage *stage;
  TRY(specialise(graph, inputs, &hooks, arena, &stage));
  entry->shared->of = graph;
  entry->shared->stage = entry->stage = stage;           // whole, or none
  bool fresh = stage->rewritten || has_defaults(graph);  // whose passes wait until it is known what is given
  if (!fresh || !memory->hooks.optimise) return OK;
  TRY(memory->hooks.optimise(stage->ready, memory->hooks.optimise_context));
  specialise_regions(stage->ready, &hooks, arena);
  stage->rebinding = NULL;
  stage->closed = "passes went over it";
  return OK;
}

static Status bind_to(StageMemory *memory, SharedStage *shared, const StageInput *sizes, Arena *arena, bool *fits) {
  if (shared->copies_of) plan_take_copies_out(shared->copies_of);
  shared->copies_of = NULL;
  shared->bound = NULL;
  TRY(rebind(shared->stage->rebinding, sizes, arena, fits));
  count_shared(memory, shared);
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

// Takes the stage of other sizes, where it can be bound to these and the device runs it so. A stage that failed is bound no more.
static Status try_shared(StageMemory *memory, StageCache *cache, const Graph *graph, const StageInput *inputs,
                         StageEntry *entry) {
  SharedStage *shared = kept_of(cache, graph);
  if (!shared) return OK;
  double start = time_now();
  bool fits = false;
  shared->users++;
  entry->shared = shared;
  Status status = bind_to(memory, shared, inputs, entry->arena, &fits);
  double seconds = time_now() - start;
  memory->device->opening.seconds[OPENING_SPECIALISE] += seconds;
  if (!status && fits) status = compile_entry(memory, entry);
  if (!status && fits) {
    entry->stage = shared->stage;
    memory->device->opening.bound++;
    log_add(memory->device->log, LOG_VERBOSE, "bound to other sizes in %.2f ms", seconds * 1e3);
    return OK;
  }
  forget_shared(memory, cache, shared);
  shared_stage_leave(memory, shared);
  entry->shared = NULL;
  if (status && !is_of_the_sizes(status)) return status;
  status_free(status);
  return OK;
}

static Status give_new(StageMemory *memory, const Graph *graph, StageInput *inputs, StageEntry *entry) {
  double start = time_now();
  TRY(specialise_graph(memory, graph, inputs, entry));
  double seconds = time_now() - start;
  const Stage *stage = entry->stage;
  memory->device->opening.seconds[OPENING_SPECIALISE] += seconds;
  memory->device->opening.specialised++;
  log_add(memory->device->log, LOG_VERBOSE, "specialised in %.1f ms, %zu bytes computed; %s%s", seconds * 1e3,
          stage->folded_bytes,
          stage->rebinding ? "for other sizes too" : "for these sizes alone: ", stage->rebinding ? "" : stage->closed);
  return compile_entry(memory, entry);
}

// An entry that could not be made from a graph has nothing of it.
static void take_back(StageMemory *memory, StageEntry *entry) {
  if (entry->executable) memory->device->discard(memory->device, entry->executable);
  if (entry->shared) shared_stage_leave(memory, entry->shared);
  entry->executable = NULL, entry->shared = NULL, entry->stage = NULL;
}

Status shared_stage_give(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry) {
  const Graph *graph;
  SpecialiseHooks hooks = hooks_of(memory);
  TRY(stage_reads_graph(memory, cache, &hooks, inputs, &graph));
  TRY(try_shared(memory, cache, graph, inputs, entry));
  if (entry->executable) return OK;
  Status status = RECOVER_GUARD(give_new(memory, graph, inputs, entry));
  if (graph == cache->graph || !is_of_the_sizes(status)) return status;
  status_free(status);
  take_back(memory, entry);
  stage_reads_forget(cache, graph);
  for (int i = 0; i < cache->graph->input_count; i++) inputs[i].read = false;
  return give_new(memory, cache->graph, inputs, entry);
}

void shared_stage_keep(StageMemory *memory, StageCache *cache, StageEntry *entry) {
  enum { MOST_GROWTH = 1 << 20 };  // binding leaves some memory behind each time
  SharedStage *shared = entry->shared;
  if (!shared || !shared->stage->rebinding) return;
  if (!shared->first_bytes) shared->first_bytes = shared->bytes;
  bool fits = shared->bytes <= 2 * shared->first_bytes + MOST_GROWTH;
  SharedStage *kept = kept_of(cache, shared->of);
  if (kept && !fits) forget_shared(memory, cache, kept);
  if (kept || !fits) return;
  shared->next = cache->shared;
  cache->shared = shared;
  shared->users++;
}

void shared_stage_failed(StageMemory *memory, StageCache *cache, StageEntry *entry) {
  if (entry->shared) forget_shared(memory, cache, entry->shared);
}
