// What a plan's streams and waits promise, as numbers: which steps are over when a step begins, however the streams take turns. A stream's steps are
// over in their order, so that one number for each stream says it all.
#pragma once
#include "lower/plan.h"

typedef struct StepClock {
  uint32_t done[PLAN_STREAMS];  // of each stream the first so many steps
} StepClock;

typedef struct PlanClocks {
  const Plan *plan;
  StepClock *begins;             // by step: what is over when it begins
  uint32_t *places;              // by step: its number among those of its stream
  StepClock ends[PLAN_STREAMS];  // what is over when the last step of each stream is, of the steps so far
} PlanClocks;

// Fails where a step is on a stream that there is not, or waits for one that is not there, not before it, or on its own stream.
MUST_CHECK Status clocks_find(const Plan *plan, Arena *arena, PlanClocks *out);
// The same step by step, for whoever finds the waits: clocks_take once for each step in the plan's order, when its stream and its waits are known.
PlanClocks clocks_new(const Plan *plan, Arena *arena);
void clocks_take(PlanClocks *clocks, uint32_t step);
bool clocks_is_before(const PlanClocks *clocks, uint32_t first, uint32_t second);
void clock_join(StepClock *clock, const StepClock *other);          // what is over by either
bool clock_within(const StepClock *clock, const StepClock *limit);  // all of it is over by the limit
bool clock_has(const StepClock *clock, const PlanClocks *clocks, uint32_t step);

// When a buffer is in use: of each stream's steps the first `until` may use it, and of them the first `behind` are over before anyone does.
typedef struct BufferSpan {
  StepClock until, behind;
} BufferSpan;
BufferSpan span_empty(void);
void span_add(BufferSpan *span, const PlanClocks *clocks, uint32_t step);
bool span_is_before(const BufferSpan *first,
                    const BufferSpan *second);  // whoever uses the one is done before anyone uses the other
