// What both executors do alike with a plan: addresses of places, steps in their order, what is said of a step that fails or is timed.
#pragma once
#include "lower/launches.h"
#include "run/device.h"

typedef struct Steps {
  const Plan *plan;
  Machine machine;
  uint32_t *callers;  // the steps that read inputs or write outputs, which is all that other addresses of a call's concern
  uint32_t caller_count;
  void **constants;  // by buffer; the executor puts them there
  LaunchSet **sets;  // by step
  void **bound;      // addresses that are set: the block's, inputs', outputs'; NULL before
  void **room;       // for them
} Steps;

// Whether no step takes more workspace than the limit (0: none): of a plan that was not made with it. ERROR_UNSUPPORTED.
MUST_CHECK Status steps_check_workspace(const Plan *plan, size_t limit);
void steps_lay_out(Steps *steps, const Plan *plan, Machine machine, Arena *arena);
// Sets the addresses of a run, unless they are set: the session's block of temporaries, and the caller's buffers.
void steps_bind(Steps *steps, void *block, void *const *inputs, void *const *outputs);
// overlap: it may begin while what is before it on the stream ends.
MUST_CHECK Status steps_run_launch(const Steps *steps, uint32_t step, uint32_t launch, CudaStream stream, bool overlap);
MUST_CHECK Status steps_run_one(const Steps *steps, uint32_t step, CudaStream stream);
MUST_CHECK Status steps_run(const Steps *steps, CudaStream stream);  // all, in the plan's order, which is right on one stream
bool place_is_callers(const Plan *plan, const PlanPlace *place);     // an input's or an output's
Status step_context(Status status, const Node *node);                // "running 'y' (conv)"
StepReport step_report(const PlanStep *step, double milliseconds, Arena *arena);
