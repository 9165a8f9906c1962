// What of a loop's body has to run. A result that is an input of the body handed on (its condition, a state that stays as it is), or another result over again, is at hand without
// a run: the graph that is planned does not give it, so that nothing copies it.
#pragma once
#include "ir/graph.h"

typedef struct LoopBody {
  const Graph *whole;  // as the node has it
  const Graph *graph;  // without those
  int *inputs;         // for each of whole's results: the input that it is, or -1
  int *outputs;        // else the number that it has among the graph's
} LoopBody;

// condition: the number of the result that says whether there is another iteration, where the body says itself that there is; else -1. It is no result then.
LoopBody *loop_body_new(const Graph *whole, int condition, Arena *arena);
// Whether a loop's body says itself that iterations go on: it hands on its own condition, or gives one that is always true.
bool loop_body_goes_on(const Graph *whole);
