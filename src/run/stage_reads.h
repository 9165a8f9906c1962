// The graphs of a stage cache in terms of what is read at each call, and of the branches that sizes take (lower/reads.h): one for the ways that calls have taken so far, a few at most.
#pragma once
#include "run/stage_cache.h"

typedef struct StageReads StageReads;
void stage_reads_free(StageMemory *memory, StageReads *reads);  // NULL is fine
// The graph that calls with these inputs are specialised from, and inputs[i].read of it: the cache's own, with nothing read, where nothing else serves.
MUST_CHECK Status stage_reads_graph(StageMemory *memory, StageCache *cache, const SpecialiseHooks *hooks, StageInput *inputs,
                                    const Graph **out);
// An error that specialising for other sizes, or for numbers in place of symbols, may not meet, or says itself.
bool is_of_the_sizes(Status status);
// Calls are specialised from the cache's own graph from here on, where that other one has proved to be of no use.
void stage_reads_forget(StageCache *cache, const Graph *graph);
