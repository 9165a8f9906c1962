// Checks a plan from what it says alone; it shares nothing with the planner and the packing that it judges. Places lie inside of their buffers,
// buffers have the sizes of what they hold, launches name operands that are there; and, followed step by step, what a step reads must
// still be what the step that made it wrote. Where steps run side by side, each use of memory must be behind those that it follows by what streams and waits promise, whatever
// comes first: what reads behind what wrote, and what writes behind all that used the place before.
#include "base/checked.h"
#include "lower/clocks.h"
#include "lower/owners.h"

typedef struct Follower {
  const Plan *plan;
  bool *written;      // by buffer
  uint32_t *writers;  // by buffer that is written: the step
  StepClock *until;   // by buffer: of each stream's steps, what may use it, so far
  Owners *owners;
  PlanClocks clocks;
} Follower;

// ---- buffers and places ------------------------------------------------------------------------------------------------------

// What callers give and take is tensors of known types.
static Status check_type(const Value *value, size_t *bytes) {
  int64_t dims[MAX_RANK];
  if (value->kind != VALUE_TENSOR || value->dtype == DTYPE_COUNT || !value_get_dims(value, dims))
    FAIL(ERROR_INTERNAL, "the type of '%s' is not known", value->name);
  TRY(value_check_size(value));
  *bytes = dtype_size(value->dtype);
  for (int i = 0; i < value->rank; i++) *bytes *= (size_t)dims[i];
  return OK;
}

static Status check_types(const Graph *graph) {
  size_t bytes;
  for (int i = 0; i < graph->input_count; i++) TRY(check_type(graph->inputs[i], &bytes));
  for (int i = 0; i < graph->output_count; i++) TRY(check_type(graph->outputs[i], &bytes));
  return OK;
}

static Status check_given(const Plan *plan, const PlanBuffer *buffer) {
  const Graph *graph = plan->graph;
  bool input = buffer->kind == PLAN_INPUT;
  size_t bytes;
  if (buffer->index < 0 || buffer->index >= (input ? graph->input_count : graph->output_count))
    FAIL(ERROR_INTERNAL, "the graph has no %s %d", input ? "input" : "output", buffer->index);
  const Value *value = (input ? graph->inputs : graph->outputs)[buffer->index];
  TRY(check_type(value, &bytes));
  if (bytes != buffer->bytes) FAIL(ERROR_INTERNAL, "'%s' has %zu bytes, its buffer %zu", value->name, bytes, buffer->bytes);
  return OK;
}

Status plan_verify_buffer(const Plan *plan, const PlanBuffer *buffer) {
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
  int64_t limit = arg->buffer.kind == BUFFER_INPUT    ? site_input_count(&step->site)
                  : arg->buffer.kind == BUFFER_OUTPUT ? step->node->output_count
                  : arg->buffer.kind == BUFFER_PACKED ? (int64_t)emission->packed_count
                                                      : 1;
  if (arg->buffer.index < 0 || arg->buffer.index >= limit)
    FAIL(ERROR_INTERNAL, "an argument of number %d, of %lld that there are", arg->buffer.index, (long long)limit);
  if (arg->buffer.kind == BUFFER_WORKSPACE && arg->buffer.offset > emission->workspace_bytes)
    FAIL(ERROR_INTERNAL, "an argument at %zu of %zu bytes of workspace", arg->buffer.offset, emission->workspace_bytes);
  return OK;
}

// What waits for each other has to be in place at once; that a multiprocessor takes a block is what the device's limits of a block say.
static Status check_cooperative(const Launch *launch, const DeviceInfo *device) {
  uint64_t blocks = 1;
  for (int i = 0; i < 3; i++) {
    if (launch->cluster[i]) FAIL(ERROR_INTERNAL, "a cooperative launch in clusters");
    if (launch->grid[i] > (uint64_t)device->multiprocessors / blocks)
      FAIL(ERROR_UNSUPPORTED, "%s needs all of its %u x %u x %u blocks at once, and the device has %d multiprocessors",
           launch->entry, launch->grid[0], launch->grid[1], launch->grid[2], device->multiprocessors);
    blocks *= launch->grid[i];
  }
  return OK;
}

static Status check_launch(const Plan *plan, const PlanStep *step, const Launch *launch) {
  if ((launch->kind == LAUNCH_HOST) != (plan->device->kind == DEVICE_CPU)) FAIL(ERROR_INTERNAL, "a launch for another device");
  if (launch->cooperative) TRY(check_cooperative(launch, plan->device));
  int wanted = launch->kind == LAUNCH_LIBRARY ? launch->routine->arguments(launch->parameters) : launch->arg_count;
  if (launch->arg_count != wanted)
    FAIL(ERROR_INTERNAL, "%s is given %d addresses, and takes %d", launch->label, launch->arg_count, wanted);
  for (int i = 0; i < launch->arg_count; i++) {
    if (launch->kind == LAUNCH_LIBRARY && launch->args[i].kind != ARG_BUFFER)
      FAIL(ERROR_INTERNAL, "a library is given a number");
    TRY(check_argument(step, &launch->args[i]));
  }
  return OK;
}

Status plan_verify_step(const Plan *plan, const PlanStep *step) {
  const Emission *emission = step->selection.emission;
  for (int i = 0; i < site_input_count(&step->site); i++) TRY(check_input(plan, &step->inputs[i], &step->site.inputs[i], i));
  for (int i = 0; i < step->node->output_count; i++) TRY(check_output(plan, &step->outputs[i], &step->site.outputs[i], i));
  size_t room = step->workspace_buffer < 0 ? 0 : plan->buffers[step->workspace_buffer].bytes;
  if (emission->workspace_bytes > room)
    FAIL(ERROR_INTERNAL, "%zu bytes of workspace are needed, and %zu are there", emission->workspace_bytes, room);
  for (uint32_t i = 0; i < emission->launch_count; i++) TRY(check_launch(plan, step, &emission->launches[i]));
  return OK;
}

// ---- what is there when it is read -------------------------------------------------------------------------------------------

typedef struct Writing {
  const Follower *f;
  uint32_t step;
} Writing;

// Whether whoever used it so far is done when the step begins.
static bool is_over(void *context, int number) {
  const Writing *writing = context;
  const uint32_t *until = writing->f->until[number].done, *done = writing->f->clocks.begins[writing->step].done;
  bool over = true;
  for (int i = 0; i < PLAN_STREAMS && over; i++) over = until[i] <= done[i];
  return over;
}

static Status take(Follower *f, int number, uint32_t step) {
  const PlanBuffer *buffers = f->plan->buffers, *buffer = &buffers[number];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT)
    FAIL(ERROR_INTERNAL, "the plan writes over '%s'", buffer->name);
  Writing writing = {f, step};
  if (!is_over(&writing, number)) FAIL(ERROR_INTERNAL, "'%s' is written while another stream may use it", buffer->name);
  int other = buffer->kind == PLAN_ARENA ? owners_ask(f->owners, number, is_over, &writing) : OWNER_NONE;
  if (other != OWNER_NONE)
    FAIL(ERROR_INTERNAL, "'%s' is written where another stream may still use '%s'", buffer->name, buffers[other].name);
  f->written[number] = true;
  f->writers[number] = step;
  if (buffer->kind == PLAN_ARENA) owners_write(f->owners, number);
  return OK;
}

static Status check_read(const Follower *f, int number, uint32_t step) {
  const PlanBuffer *buffer = &f->plan->buffers[number];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT || !buffer->bytes) return OK;
  if (!f->written[number] || owners_find(f->owners, number) != number)
    FAIL(ERROR_INTERNAL, "'%s' is read when its memory is not written, or no longer holds it", buffer->name);
  if (!clocks_is_before(&f->clocks, f->writers[number], step))
    FAIL(ERROR_INTERNAL, "'%s' is read without waiting for step %u, which writes it on another stream", buffer->name,
         f->writers[number]);
  return OK;
}

// What a step reads and writes is in use at the same time.
static Status check_kept(const Follower *f, int number, bool read) {
  const PlanBuffer *buffers = f->plan->buffers, *buffer = &buffers[number];
  int owner = buffer->kind == PLAN_ARENA ? owners_find(f->owners, number) : number;
  if (owner == number) return OK;
  const char *other = owner < 0 ? "nothing" : buffers[owner].name;
  if (read) FAIL(ERROR_INTERNAL, "the plan lets '%s' overwrite '%s' while it is read", other, buffer->name);
  FAIL(ERROR_INTERNAL, "the plan gives '%s' and '%s' the same memory", other, buffer->name);
}

static void note_use(Follower *f, int number, uint32_t step) {
  if (number >= 0) f->until[number].done[f->plan->steps[step].stream] = f->clocks.places[step] + 1;
}

static void note_uses(Follower *f, uint32_t number) {
  const PlanStep *step = &f->plan->steps[number];
  note_use(f, step->workspace_buffer, number);
  for (int i = 0; i < site_input_count(&step->site); i++) note_use(f, step->inputs[i].buffer, number);
  for (int i = 0; i < step->node->output_count; i++) note_use(f, step->outputs[i].buffer, number);
}

static Status follow_step(Follower *f, uint32_t number) {
  const PlanStep *step = &f->plan->steps[number];
  int inputs = site_input_count(&step->site), outputs = step->node->output_count;
  for (int i = 0; i < inputs; i++)
    if (step->inputs[i].buffer >= 0) TRY(check_read(f, step->inputs[i].buffer, number));
  if (step->workspace_buffer >= 0) TRY(take(f, step->workspace_buffer, number));
  for (int i = 0; i < outputs; i++) TRY(take(f, step->outputs[i].buffer, number));
  for (int i = 0; i < inputs; i++)
    if (step->inputs[i].buffer >= 0) TRY(check_kept(f, step->inputs[i].buffer, true));
  if (step->workspace_buffer >= 0) TRY(check_kept(f, step->workspace_buffer, false));
  for (int i = 0; i < outputs; i++) TRY(check_kept(f, step->outputs[i].buffer, false));
  note_uses(f, number);
  return OK;
}

static Status check_outputs(const Follower *f, Arena *scratch) {
  const Graph *graph = f->plan->graph;
  bool *made = arena_array(scratch, bool, (size_t)graph->output_count);
  for (uint32_t b = 0; b < f->plan->buffer_count; b++) {
    const PlanBuffer *buffer = &f->plan->buffers[b];
    if (buffer->kind == PLAN_OUTPUT) made[buffer->index] |= f->written[b] || !buffer->bytes;
  }
  for (int i = 0; i < graph->output_count; i++)
    if (!made[i]) FAIL(ERROR_INTERNAL, "the plan does not make its output '%s'", graph->outputs[i]->name);
  return OK;
}

Status plan_verify(const Plan *plan, Arena *scratch) {
  TRY(check_types(plan->graph));
  for (uint32_t b = 0; b < plan->buffer_count; b++)
    TRY(status_context(plan_verify_buffer(plan, &plan->buffers[b]), "the plan's buffer of '%s'", plan->buffers[b].name));
  if (plan->arena_bytes > plan->temporary_bytes)
    FAIL(ERROR_INTERNAL, "the plan's arena has %zu bytes, for temporaries of %zu", plan->arena_bytes, plan->temporary_bytes);
  Follower f = {.plan = plan,
                .written = arena_array(scratch, bool, plan->buffer_count),
                .writers = arena_array(scratch, uint32_t, plan->buffer_count),
                .until = arena_array(scratch, StepClock, plan->buffer_count),
                .owners = owners_new(plan, scratch)};
  TRY(clocks_find(plan, scratch, &f.clocks));
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    Status status = plan_verify_step(plan, step);
    TRY(status_context(status ? status : follow_step(&f, s), "the plan's step %u (%s)", s, step->node->op->name));
  }
  return check_outputs(&f, scratch);
}
