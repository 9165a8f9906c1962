// What specialising made for calls of one size, bound to those of others where it can be (lower/rebind.h): then the entries of several sizes share a graph, in
// which the sizes stand that it was bound to last, and each has a plan of its own over it. See stage_cache.h.
#pragma once
#include "run/stage_cache.h"

struct SharedStage {
  Arena *arena;
  const Graph *of;    // what was specialised
  SharedStage *next;  // of the cache that keeps it
  Stage *stage;
  int users;
  size_t bytes, first_bytes;  // as counted last, and when made
  const StageEntry *bound;    // whose sizes and whose plan's copies stand in the graph; NULL: nobody's
  const Plan *copies_of;      // whose copies do; NULL: nobody's
  StageCache *rest;           // of all that are bound to it, where the stage's rest is open (lower/open_rest.h); else NULL
};

// What the cache keeps for the next sizes goes.
void shared_stages_forget(StageMemory *memory, StageCache *cache);
// Gives the entry its stage and executable, of a graph that is there or of one that is specialised for the inputs.
MUST_CHECK Status shared_stage_give(StageMemory *memory, StageCache *cache, StageInput *inputs, StageEntry *entry);
// The entry, which is whole, has been made: what it stands on is kept for the next sizes, as long as binding has not left too much behind.
void shared_stage_keep(StageMemory *memory, StageCache *cache, StageEntry *entry);
// The entry could not be made, and the graph may be anything: no more entries are given it.
void shared_stage_failed(StageMemory *memory, StageCache *cache, StageEntry *entry);
bool shared_stage_is_bound(const StageEntry *entry);
// The entry goes: its executable stops standing in the graph, before it is discarded; and one user fewer.
void shared_stage_unbind(const StageMemory *memory, const StageEntry *entry);
void shared_stage_leave(StageMemory *memory, SharedStage *shared);
