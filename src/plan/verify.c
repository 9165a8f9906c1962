// Checks a plan by following its memory step by step, from the addresses alone: what a step reads must still be what the step that made it
// wrote. It shares nothing with the packing it judges. Takes steps times buffers; plan_make runs it in debug builds.
#include "plan/plan.h"

#include "base/checked.h"

typedef struct Follower {
  const Plan *plan;
  bool *holds;  // by buffer: it was written, and no other buffer's writes have touched its bytes since
} Follower;

static bool overlap(const PlanBuffer *a, const PlanBuffer *b) {
  return a->bytes && b->bytes && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static Status take(Follower *f, const PlanStep *step, int number) {
  const PlanBuffer *buffer = &f->plan->buffers[number];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT)
    FAIL(ERROR_INTERNAL, "the plan writes over '%s'", buffer->name);
  f->holds[number] = true;
  if (buffer->kind != PLAN_ARENA) return OK;
  if (buffer->offset % PLAN_ALIGNMENT || buffer->offset > f->plan->arena_bytes ||
      buffer->bytes > f->plan->arena_bytes - buffer->offset)
    FAIL(ERROR_INTERNAL, "the buffer of '%s' is not in the arena", buffer->name);
  for (uint32_t b = 0; b < f->plan->buffer_count; b++) {
    const PlanBuffer *other = &f->plan->buffers[b];
    if ((int)b == number || other->kind != PLAN_ARENA || !overlap(buffer, other)) continue;
    f->holds[b] = false;
    // What the same step reads or writes elsewhere is in use at the same time.
    for (int i = 0; i < step->node->input_count; i++)
      if (step->inputs[i].buffer == (int)b)
        FAIL(ERROR_INTERNAL, "the plan lets '%s' overwrite '%s' while it is read", buffer->name, other->name);
    for (int i = 0; i < step->node->output_count; i++)
      if (step->outputs[i].buffer == (int)b)
        FAIL(ERROR_INTERNAL, "the plan gives '%s' and '%s' the same memory", buffer->name, other->name);
  }
  return OK;
}

static Status follow_step(Follower *f, const PlanStep *step) {
  for (int i = 0; i < step->node->input_count; i++) {
    int number = step->inputs[i].buffer;
    if (number < 0) continue;
    const PlanBuffer *buffer = &f->plan->buffers[number];
    bool given = buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT;
    if (!given && buffer->bytes && !f->holds[number])
      FAIL(ERROR_INTERNAL, "'%s' is read when its memory is not written, or no longer holds it", buffer->name);
  }
  if (step->workspace_buffer >= 0) TRY(take(f, step, step->workspace_buffer));
  for (int i = 0; i < step->node->output_count; i++) {
    int number = step->outputs[i].buffer;
    if (number >= 0) TRY(take(f, step, number));
  }
  return OK;
}

Status plan_verify(const Plan *plan, Arena *scratch) {
  Follower f = {plan, arena_array(scratch, bool, plan->buffer_count)};
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    TRY(status_context(follow_step(&f, step), "the plan's step %u (%s)", s, step->node->op->name));
  }
  return OK;
}
