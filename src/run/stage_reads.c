// See stage_reads.h.
#include "run/stage_reads.h"

#include <stdlib.h>

#include "base/recover.h"
#include "kernels/control/control.h"
#include "lower/reads.h"

enum { MOST_GRAPHS = 4 };  // of one cache

struct StageReads {
  Arena *arena;
  GraphReads made;
  size_t bytes;
  StageReads *next;
};

bool is_of_the_sizes(Status status) {
  ErrorCode code = status ? status_code(status) : ERROR_INTERNAL;
  return code == ERROR_UNSUPPORTED || code == ERROR_INVALID_MODEL || code == ERROR_INVALID_ARGUMENT || code == ERROR_MISMATCH;
}

static void free_one(StageMemory *memory, StageReads *reads) {
  memory->bytes -= reads->bytes;
  arena_free(reads->arena);
  free(reads);
}

void stage_reads_free(StageMemory *memory, StageReads *reads) {
  while (reads) {
    StageReads *next = reads->next;
    free_one(memory, reads);
    reads = next;
  }
}

static Status make(StageMemory *memory, const StageCache *cache, const SpecialiseHooks *hooks, const StageInput *inputs,
                   StageReads *reads) {
  TRY(graph_with_reads(cache->graph, inputs, hooks, cache->known, reads->arena, &reads->made));
  Graph *graph = reads->made.graph;
  return graph && memory->hooks.optimise ? memory->hooks.optimise(graph, memory->hooks.optimise_context) : OK;
}

// Without numbers an operator may be refused that is none with them.
static Status make_guarded(StageMemory *memory, const StageCache *cache, const SpecialiseHooks *hooks, const StageInput *inputs,
                           StageReads *reads) {
  Status status = RECOVER_GUARD(make(memory, cache, hooks, inputs, reads));
  if (!is_of_the_sizes(status)) return status;
  log_add(memory->device->log, LOG_VERBOSE, "sizes that are read stay numbers: %s", status_message(status));
  status_free(status);
  reads->made.graph = NULL;
  return OK;
}

static Status add(StageMemory *memory, StageCache *cache, const SpecialiseHooks *hooks, const StageInput *inputs,
                  StageReads **out) {
  StageReads *reads = calloc(1, sizeof *reads);
  *out = NULL;
  if (!reads) return status_out_of_memory();
  reads->arena = arena_try_new();
  if (!reads->arena) {
    free(reads);
    return status_out_of_memory();
  }
  Status status = make_guarded(memory, cache, hooks, inputs, reads);
  if (status || reads->made.of_this_call) {
    free_one(memory, reads);
    return status;
  }
  reads->bytes = sizeof *reads + arena_held(reads->arena);
  memory->bytes += reads->bytes;
  reads->next = cache->reads;
  *out = cache->reads = reads;
  return OK;
}

static bool has_branches(const Graph *graph) {
  bool found = false;
  FOR_NODES(node, graph) found |= node->op == &op_if;
  return found;
}

Status stage_reads_graph(StageMemory *memory, StageCache *cache, const SpecialiseHooks *hooks, StageInput *inputs,
                         const Graph **out) {
  int count = cache->graph->input_count, graphs = 0;
  bool known = false;
  *out = cache->graph;
  for (int i = 0; i < count; i++) known |= cache->known[i] && inputs[i].known;
  if (!known && !has_branches(cache->graph)) return OK;
  StageReads *reads = cache->reads;
  for (; reads && !reads_hold(&reads->made, inputs); reads = reads->next) graphs++;
  if (!reads && graphs < MOST_GRAPHS) TRY(add(memory, cache, hooks, inputs, &reads));
  if (!reads || !reads->made.graph) return OK;
  for (int i = 0; i < count; i++) inputs[i].read = reads->made.read[i];
  *out = reads->made.graph;
  return OK;
}

void stage_reads_forget(StageCache *cache, const Graph *graph) {
  for (StageReads *reads = cache->reads; reads; reads = reads->next)
    if (reads->made.graph == graph) reads->made.graph = NULL;
}
