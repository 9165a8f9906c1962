// Why a step of a plan is computed as it is: every implementation for its site, in the order in which they are asked, with what it lacks or the ways it offers; and what failed of these.
#pragma once
#include "lower/plan.h"

typedef struct ExplainedWay {
  Way way;
  const char *failure;  // why it cannot be had here, though its implementation takes the site; NULL: it can
  bool chosen;
} ExplainedWay;

typedef struct ExplainedImplementation {
  const Implementation *implementation;
  const char *refusal;  // why it does not take the site; NULL: it does
  ExplainedWay *ways;
  int way_count;
} ExplainedImplementation;

typedef struct Explanation {
  ExplainedImplementation *implementations;
  int count;
  const char *order;  // in which they are asked, in words
} Explanation;

// Each way is made, as for a plan, in memory of the arena; nothing runs.
MUST_CHECK Status explain_step(const PlanStep *step, const SelectOptions *options, Arena *arena, Explanation *out);
