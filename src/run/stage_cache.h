// The plans a session remembers. A StageCache stands for one graph (the model's, a stage's rest, a loop's body) and keeps its stages by the
// shapes and known contents of its inputs. All of a session's stages together are bounded by bytes: those least recently used go first,
// a stage with all that hangs on it, and never one that is in use or was the last to be.
#pragma once
#include "run/loop_body.h"
#include "run/loop_memory.h"

typedef struct SharedStage SharedStage;  // shared_stage.h

typedef struct StageEntry {
  Hash128 key;
  Arena *arena;
  SharedStage *shared;  // NULL: a plan that was at hand
  Stage *stage;
  RunTensor *input_types, *output_types;  // of ready, without memory
  Executable *executable;
  StageCache *rest;     // for stage->rest
  StageCache **bodies;  // one for each action that is a loop or scan: of what has to run of its body
  LoopBody **trimmed;   // the same: what that is
  LoopMemory **loops;   // the same; NULL until one ran
  // Where inputs and outputs of ready lie from call to call, where that is the runner's (call_memory.h); storage NULL until used.
  RunTensor *inputs, *outputs;
  StageCache *home;
  struct StageEntry *older, *newer;  // among all of the session's
  size_t bytes;                      // as counted last
  int users;
} StageEntry;

typedef struct StageSlot {
  Hash128 key;
  StageEntry *entry;
} StageSlot;

struct StageCache {
  const Graph *graph;
  bool *known;       // which inputs' contents are part of the key
  bool by_type;      // types of inputs are all there is to a key: no content is part of it, and none may be left out
  StageEntry *last;  // that was entered, where its key is of types alone; NULL: none, or it is gone
  SharedStage *
      shared;  // to be bound to the sizes of the next entry, one of each graph that entries are specialised from; NULL: none can be
  struct StageReads *reads;  // the graph in other terms (stage_reads.h); NULL: nobody has asked for it
  StageSlot *slots;
  size_t count, capacity;
};

typedef struct StageMemory {
  Device *device;
  RunnerHooks hooks;
  const Graph *whole;  // what held plans are of
  StageEntry *oldest, *newest;
  size_t bytes, limit;
} StageMemory;

// known NULL: the graph's shape inputs. *out is the caller's to free, whatever happens.
MUST_CHECK Status stage_cache_new(StageMemory *memory, const Graph *graph, const bool *known, StageCache **out);
void stage_cache_free(StageMemory *memory, StageCache *cache);
// The stage for these inputs, made if it is not there. It stays until stage_leave.
MUST_CHECK Status stage_enter(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out);
// The same, and the stage's graph says its sizes and has the nodes of its plan, until the next stage_enter: where it is bound to others, the
// stage, which nobody is in, is made anew.
MUST_CHECK Status stage_enter_bound(StageMemory *memory, StageCache *cache, const RunTensor *inputs, StageEntry **out);
// Counts the stage's memory anew, and lets others go where it is too much. The stage stays at least until the next stage_enter.
void stage_leave(StageMemory *memory, StageEntry *entry);
// What loops of stages that nobody is in keep from call to call goes, the oldest first, where all of it is much.
void stage_trim_loops(StageMemory *memory);
// All stages, of which nobody is in one, and what the top one keeps for the next.
void stage_forget_all(StageMemory *memory, StageCache *top);
