// See clocks.h.
#include "lower/clocks.h"

#include "base/checked.h"

void clock_join(StepClock *clock, const StepClock *other) {
  for (int i = 0; i < PLAN_STREAMS; i++) clock->done[i] = MAX(clock->done[i], other->done[i]);
}

bool clock_within(const StepClock *clock, const StepClock *limit) {
  bool within = true;
  for (int i = 0; i < PLAN_STREAMS && within; i++) within = clock->done[i] <= limit->done[i];
  return within;
}

// What is over when the step is, too.
static void clock_add(StepClock *clock, const PlanClocks *clocks, uint32_t step) {
  int stream = clocks->plan->steps[step].stream;
  clock_join(clock, &clocks->begins[step]);
  clock->done[stream] = MAX(clock->done[stream], clocks->places[step] + 1);
}

bool clock_has(const StepClock *clock, const PlanClocks *clocks, uint32_t step) {
  return clocks->places[step] < clock->done[clocks->plan->steps[step].stream];
}

static Status check_step(const Plan *plan, uint32_t number) {
  const PlanStep *step = &plan->steps[number];
  if (step->stream < 0 || step->stream >= PLAN_STREAMS)
    FAIL(ERROR_INTERNAL, "the plan's step %u is on stream %d, of %d", number, step->stream, PLAN_STREAMS);
  if (step->wait_count < 0 || step->wait_count >= PLAN_STREAMS)
    FAIL(ERROR_INTERNAL, "the plan's step %u waits for %d others", number, step->wait_count);
  for (int i = 0; i < step->wait_count; i++) {
    if (step->waits[i] >= number)
      FAIL(ERROR_INTERNAL, "the plan's step %u waits for step %u, which is not before it", number, step->waits[i]);
    if (plan->steps[step->waits[i]].stream == step->stream)
      FAIL(ERROR_INTERNAL, "the plan's step %u waits for step %u of its own stream", number, step->waits[i]);
  }
  return OK;
}

PlanClocks clocks_new(const Plan *plan, Arena *arena) {
  return (PlanClocks){
      plan, arena_array(arena, StepClock, plan->step_count), arena_array(arena, uint32_t, plan->step_count), {{{0}}}};
}

void clocks_take(PlanClocks *clocks, uint32_t number) {
  const PlanStep *step = &clocks->plan->steps[number];
  StepClock *own = &clocks->ends[step->stream];
  clocks->places[number] = own->done[step->stream];
  for (int i = 0; i < step->wait_count; i++) clock_add(own, clocks, step->waits[i]);
  clocks->begins[number] = *own;
  clock_add(own, clocks, number);
}

Status clocks_find(const Plan *plan, Arena *arena, PlanClocks *out) {
  *out = clocks_new(plan, arena);
  for (uint32_t s = 0; s < plan->step_count; s++) {
    TRY(check_step(plan, s));
    clocks_take(out, s);
  }
  return OK;
}

bool clocks_is_before(const PlanClocks *clocks, uint32_t first, uint32_t second) {
  return clock_has(&clocks->begins[second], clocks, first);
}

BufferSpan span_empty(void) {
  BufferSpan span = {{{0}}, {{0}}};
  for (int i = 0; i < PLAN_STREAMS; i++) span.behind.done[i] = UINT32_MAX;
  return span;
}

void span_add(BufferSpan *span, const PlanClocks *clocks, uint32_t step) {
  uint32_t *until = &span->until.done[clocks->plan->steps[step].stream];
  *until = MAX(*until, clocks->places[step] + 1);
  for (int i = 0; i < PLAN_STREAMS; i++) span->behind.done[i] = MIN(span->behind.done[i], clocks->begins[step].done[i]);
}

bool span_is_before(const BufferSpan *first, const BufferSpan *second) { return clock_within(&first->until, &second->behind); }
