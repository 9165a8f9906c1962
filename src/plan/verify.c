// Checks a plan from what it says alone; it shares nothing with the planner and the packing that it judges. Places lie inside of their buffers,
// buffers have the sizes of what they hold, launches name operands that are there; and, followed step by step, what a step reads must
// still be what the step that made it wrote. Takes steps times buffers.
#include "base/budget.h"
#include "base/checked.h"
#include "plan/plan.h"

typedef struct Follower {
  const Plan *plan;
  bool *holds;  // by buffer: it was written, and no other buffer's writes have touched its bytes since
} Follower;

// ---- buffers and places ------------------------------------------------------------------------------------------------------

static Status check_given(const Plan *plan, const PlanBuffer *buffer) {
  const Graph *graph = plan->graph;
  bool input = buffer->kind == PLAN_INPUT;
  int64_t dims[MAX_RANK];
  if (buffer->index < 0 || buffer->index >= (input ? graph->input_count : graph->output_count))
    FAIL(ERROR_INTERNAL, "the graph has no %s %d", input ? "input" : "output", buffer->index);
  const Value *value = (input ? graph->inputs : graph->outputs)[buffer->index];
  if (value->kind != VALUE_TENSOR || value->dtype == DTYPE_COUNT || !value_get_dims(value, dims))
    FAIL(ERROR_INTERNAL, "the type of '%s' is not known", value->name);
  TRY(value_check_size(value));
  size_t bytes = dtype_size(value->dtype);
  for (int i = 0; i < value->rank; i++) bytes *= (size_t)dims[i];
  if (bytes != buffer->bytes) FAIL(ERROR_INTERNAL, "'%s' has %zu bytes, its buffer %zu", value->name, bytes, buffer->bytes);
  return OK;
}

static Status check_buffer(const Plan *plan, const PlanBuffer *buffer) {
  if (buffer->kind == PLAN_CONSTANT) {
    if (buffer->bytes != tensor_bytes(buffer->constant)) FAIL(ERROR_INTERNAL, "the constant has other bytes");
    return OK;
  }
  if (buffer->kind != PLAN_ARENA) return check_given(plan, buffer);
  if (buffer->first_step >= 0 && (buffer->offset % PLAN_ALIGNMENT || buffer->offset > plan->arena_bytes ||
                                  buffer->bytes > plan->arena_bytes - buffer->offset))
    FAIL(ERROR_INTERNAL, "it is not in the arena");
  return OK;
}

// The elements between which a tensor's lie, both included; false where there are too many for the numbers.
static bool find_extent(const TensorDesc *desc, int64_t offset, int64_t *low, int64_t *high) {
  *low = *high = offset;
  for (int i = 0; i < desc->rank; i++) {
    int64_t reach, *end = desc->strides[i] < 0 ? low : high;
    if (!checked_mul_i64(desc->dims[i] - 1, desc->strides[i], &reach) || !checked_add_i64(*end, reach, end)) return false;
  }
  return true;
}

static Status check_input(const Plan *plan, const PlanPlace *place, const TensorDesc *desc, int number) {
  int64_t low, high;
  if (desc->absent != (place->buffer < 0) || place->buffer >= (int)plan->buffer_count)
    FAIL(ERROR_INTERNAL, "operand %d is not in a buffer", number);
  if (desc->absent || !desc_count(desc)) return OK;
  const PlanBuffer *buffer = &plan->buffers[place->buffer];
  if (!find_extent(desc, place->offset, &low, &high) || low < 0 || (uint64_t)high >= buffer->bytes / dtype_size(desc->dtype))
    FAIL(ERROR_INTERNAL, "operand %d reaches beyond the buffer of '%s'", number, buffer->name);
  return OK;
}

static Status check_output(const Plan *plan, const PlanPlace *place, const TensorDesc *desc, int number) {
  if (place->buffer < 0 || place->buffer >= (int)plan->buffer_count)
    FAIL(ERROR_INTERNAL, "result %d is not in a buffer", number);
  const PlanBuffer *buffer = &plan->buffers[place->buffer];
  if (place->offset || !desc_is_dense(desc) || desc_bytes(desc) != buffer->bytes)
    FAIL(ERROR_INTERNAL, "result %d has %zu bytes, the buffer of '%s' %zu", number, desc_bytes(desc), buffer->name,
         buffer->bytes);
  return OK;
}

// ---- launches ----------------------------------------------------------------------------------------------------------------

static Status check_argument(const PlanStep *step, const LaunchArg *arg) {
  const Emission *emission = step->selection.emission;
  if (arg->kind != ARG_BUFFER) return OK;
  int64_t limit = arg->buffer.kind == BUFFER_INPUT    ? step->node->input_count
                  : arg->buffer.kind == BUFFER_OUTPUT ? step->node->output_count
                  : arg->buffer.kind == BUFFER_PACKED ? (int64_t)emission->packed_count
                                                      : 1;
  if (arg->buffer.index < 0 || arg->buffer.index >= limit)
    FAIL(ERROR_INTERNAL, "an argument of number %d, of %lld that there are", arg->buffer.index, (long long)limit);
  if (arg->buffer.kind == BUFFER_WORKSPACE && arg->buffer.offset > emission->workspace_bytes)
    FAIL(ERROR_INTERNAL, "an argument at %zu of %zu bytes of workspace", arg->buffer.offset, emission->workspace_bytes);
  return OK;
}

static Status check_launch(const Plan *plan, const PlanStep *step, const Launch *launch) {
  if ((launch->kind == LAUNCH_HOST) != (plan->device->kind == DEVICE_CPU)) FAIL(ERROR_INTERNAL, "a launch for another device");
  for (int i = 0; i < launch->arg_count; i++) {
    if (launch->kind == LAUNCH_LIBRARY && launch->args[i].kind != ARG_BUFFER)
      FAIL(ERROR_INTERNAL, "a library is given a number");
    TRY(check_argument(step, &launch->args[i]));
  }
  return OK;
}

static Status check_step(const Plan *plan, const PlanStep *step) {
  const Emission *emission = step->selection.emission;
  for (int i = 0; i < step->node->input_count; i++) TRY(check_input(plan, &step->inputs[i], &step->site.inputs[i], i));
  for (int i = 0; i < step->node->output_count; i++) TRY(check_output(plan, &step->outputs[i], &step->site.outputs[i], i));
  size_t room = step->workspace_buffer < 0 ? 0 : plan->buffers[step->workspace_buffer].bytes;
  if (emission->workspace_bytes > room)
    FAIL(ERROR_INTERNAL, "%zu bytes of workspace are needed, and %zu are there", emission->workspace_bytes, room);
  for (uint32_t i = 0; i < emission->launch_count; i++) TRY(check_launch(plan, step, &emission->launches[i]));
  return OK;
}

// ---- what is there when it is read -------------------------------------------------------------------------------------------

static bool overlap(const PlanBuffer *a, const PlanBuffer *b) {
  return a->bytes && b->bytes && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static Status take(Follower *f, const PlanStep *step, int number) {
  const PlanBuffer *buffer = &f->plan->buffers[number];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT)
    FAIL(ERROR_INTERNAL, "the plan writes over '%s'", buffer->name);
  f->holds[number] = true;
  if (buffer->kind != PLAN_ARENA) return OK;
  TRY(budget_spend(f->plan->buffer_count));
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
  for (int i = 0; i < step->node->output_count; i++) TRY(take(f, step, step->outputs[i].buffer));
  return OK;
}

static Status check_outputs(const Follower *f) {
  const Graph *graph = f->plan->graph;
  Arena *scratch = arena_scratch();
  bool *made = arena_array(scratch, bool, (size_t)graph->output_count);
  Status status = OK;
  for (uint32_t b = 0; b < f->plan->buffer_count; b++) {
    const PlanBuffer *buffer = &f->plan->buffers[b];
    if (buffer->kind == PLAN_OUTPUT) made[buffer->index] |= f->holds[b] || !buffer->bytes;
  }
  for (int i = 0; i < graph->output_count && !status; i++)
    if (!made[i]) status = status_make(ERROR_INTERNAL, "the plan does not make its output '%s'", graph->outputs[i]->name);
  arena_free(scratch);
  return status;
}

Status plan_verify(const Plan *plan, Arena *scratch) {
  Follower f = {plan, arena_array(scratch, bool, plan->buffer_count)};
  for (uint32_t b = 0; b < plan->buffer_count; b++)
    TRY(status_context(check_buffer(plan, &plan->buffers[b]), "the plan's buffer of '%s'", plan->buffers[b].name));
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    Status status = check_step(plan, step);
    TRY(status_context(status ? status : follow_step(&f, step), "the plan's step %u (%s)", s, step->node->op->name));
  }
  return check_outputs(&f);
}
