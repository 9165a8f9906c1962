// Trying ways on a graph in a process of its own: what a pass does to memory, or takes for ever over, is a failure like any other.
#pragma once
#include "tests/random/attempt.h"

typedef enum Outcome {
  HELD,
  REFUSED,  // not a graph that can be run
  DIFFERS,  // results are others
  BREAKS,   // a pass fails, or the verifier does after it
  DIES,     // the process is ended by a signal
} Outcome;

typedef struct Trial {
  Outcome outcome;
  RewriteWay way;  // the last one tried
  int nodes, ways, changed, bounded, unjudged, applied[MOST_RULES];
  char message[1000];
} Trial;

typedef struct Subject {
  const Graph *graph;
  uint64_t values;  // the inputs and sizes are drawn from it
  const RewriteWay *ways;
  int way_count;
} Subject;

// Runs work in a child, for at most so many seconds; what it notes in the trial is the parent's, too.
void trial_apart(void (*work)(void *context, Trial *trial), void *context, int seconds, Trial *out);
// The ways one after another until one fails, in the process it is called in.
void trial_ways(const Subject *subject, Trial *trial);
// The same in a process of its own.
void trial_run(const Subject *subject, Trial *out);
const char *outcome_name(Outcome outcome);

// The smallest case found that fails in the same way: changes graph, values and the one way. To be run apart.
void shrink(Arena *arena, Graph **graph, uint64_t *values, RewriteWay *way, Outcome outcome);
