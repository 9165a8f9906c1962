// What both executors do alike with a plan: addresses of places, steps in their order, what is said of a step that fails or is timed.
#pragma once
#include "lower/launches.h"
#include "run/device.h"

typedef struct Steps {
  const Plan *plan;
  Machine machine;
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
MUST_CHECK Status steps_run_one(const Steps *steps, uint32_t step, CudaStream stream);
MUST_CHECK Status steps_run(const Steps *steps, CudaStream stream);
Status step_context(Status status, const Node *node);  // "running 'y' (conv)"
StepReport step_report(const PlanStep *step, double milliseconds, Arena *arena);
