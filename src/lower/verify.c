// Checks a plan from what it says alone; it shares nothing with the planner and the packing that it judges. Places lie inside of their buffers,
// buffers have the sizes of what they hold, launches name operands that are there; and, followed step by step, what a step reads must
// still be what the step that made it wrote. Where steps run side by side, each use of memory must be behind those that it follows by what streams and waits promise, whatever
// comes first: what reads behind what wrote, and what writes behind all that used the place before.
#include "base/checked.h"
#include "lower/clocks.h"
#include "lower/owners.h"
#include "lower/pieces.h"

// A piece of a buffer that holds what a step wrote.
typedef struct Held {
  Piece piece;
  uint32_t writer;
  StepClock until;  // of each stream's steps, what may use it, so far
  struct Held *next;
} Held;

typedef struct Follower {
  const Plan *plan;
  Arena *arena;
  Held **held;        // by buffer
  StepClock *until;   // by buffer: of each stream's steps, what may use any of it, so far
  StepClock *behind;  // by buffer: what may have used its memory before it did
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
  Piece piece;
  bool empty = !desc_count(desc) && !buffer->bytes;
  if (!empty && (!desc_count(desc) || !piece_of(desc, place->offset, buffer->bytes, &piece)))
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
  Follower *f;
  uint32_t step;
  int buffer;
} Writing;

// Whether whoever used a buffer of the same memory so far is done when the step begins.
static bool is_over(void *context, int number) {
  const Writing *writing = context;
  Follower *f = writing->f;
  clock_join(&f->behind[writing->buffer], &f->until[number]);
  return clock_within(&f->until[number], &f->clocks.begins[writing->step]);
}

// The first step to write into the buffer takes its memory.
static Status take_memory(Follower *f, int number, uint32_t step) {
  const PlanBuffer *buffers = f->plan->buffers, *buffer = &buffers[number];
  Writing writing = {f, step, number};
  f->held[number] = NULL;
  if (!is_over(&writing, number)) FAIL(ERROR_INTERNAL, "'%s' is written while another stream may use it", buffer->name);
  if (buffer->kind != PLAN_ARENA) return OK;
  int other = owners_ask(f->owners, number, is_over, &writing);
  if (other != OWNER_NONE)
    FAIL(ERROR_INTERNAL, "'%s' is written where another stream may still use '%s'", buffer->name, buffers[other].name);
  owners_write(f->owners, number);
  return OK;
}

// What the piece replaces must be all over, and nothing of it stay.
static Status drop_replaced(Follower *f, int number, uint32_t step, const Piece *piece) {
  const char *name = f->plan->buffers[number].name;
  int count = 0;
  for (Held **at = &f->held[number]; *at;) {
    Held *held = *at;
    if (held->piece.row != piece->row)
      FAIL(ERROR_INTERNAL, "'%s' is written in rows of %zu and of %zu bytes", name, held->piece.row, piece->row);
    if (++count == MOST_PIECES) FAIL(ERROR_INTERNAL, "'%s' is written in more than %d pieces", name, MOST_PIECES);
    if (!pieces_meet(&held->piece, piece)) {
      at = &held->next;
      continue;
    }
    if (!clock_within(&held->until, &f->clocks.begins[step]))
      FAIL(ERROR_INTERNAL, "'%s' is written while another stream may use it", name);
    if (held->piece.low < piece->low || held->piece.high > piece->high)
      FAIL(ERROR_INTERNAL, "'%s' is written where it holds another step's result in part", name);
    *at = held->next;
  }
  return OK;
}

static Status take(Follower *f, int number, uint32_t step, const Piece *piece) {
  const PlanBuffer *buffer = &f->plan->buffers[number];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT)
    FAIL(ERROR_INTERNAL, "the plan writes over '%s'", buffer->name);
  bool kept = f->held[number] && (buffer->kind != PLAN_ARENA || owners_find(f->owners, number) == number);
  if (!kept) TRY(take_memory(f, number, step));
  else if (!clock_within(&f->behind[number], &f->clocks.begins[step]))
    FAIL(ERROR_INTERNAL, "'%s' is written where another stream may still use what was there before", buffer->name);
  TRY(drop_replaced(f, number, step, piece));
  Held *held = arena_new_of(f->arena, Held);
  *held = (Held){.piece = *piece, .writer = step, .next = f->held[number]};
  f->held[number] = held;
  return OK;
}

static Status take_result(Follower *f, const PlanStep *step, int output, uint32_t number) {
  const PlanPlace *place = &step->outputs[output];
  const TensorDesc *desc = &step->site.outputs[output];
  Piece piece = {0};
  if (desc_count(desc)) piece_of(desc, place->offset, f->plan->buffers[place->buffer].bytes, &piece);
  return take(f, place->buffer, number, &piece);
}

static const Held *held_at(const Follower *f, int number, size_t at) {
  const Held *held = f->held[number];
  while (held && (at < held->piece.low || at >= held->piece.high)) held = held->next;
  return held;
}

// All of it was written, by steps that are over.
static Status check_written(const Follower *f, int number, uint32_t step, const Piece *read) {
  const char *name = f->plan->buffers[number].name;
  for (size_t at = read->low; at < read->high;) {
    const Held *held = held_at(f, number, at);
    if (!held) FAIL(ERROR_INTERNAL, "'%s' is read when its memory is not written, or no longer holds it", name);
    if (!clocks_is_before(&f->clocks, held->writer, step))
      FAIL(ERROR_INTERNAL, "'%s' is read without waiting for step %u, which writes it on another stream", name, held->writer);
    at = held->piece.high;
  }
  return OK;
}

static Status check_read(const Follower *f, const PlanPlace *place, const TensorDesc *desc, uint32_t step) {
  const PlanBuffer *buffer = &f->plan->buffers[place->buffer];
  const Held *held = f->held[place->buffer];
  if (buffer->kind == PLAN_CONSTANT || buffer->kind == PLAN_INPUT || !buffer->bytes || !desc_count(desc)) return OK;
  if (!held || owners_find(f->owners, place->buffer) != place->buffer)
    FAIL(ERROR_INTERNAL, "'%s' is read when its memory is not written, or no longer holds it", buffer->name);
  Piece read = piece_read(desc, place->offset, held->piece.row);
  return check_written(f, place->buffer, step, &read);
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

static void note_use(Follower *f, int number, uint32_t step, const Piece *piece) {
  int stream = f->plan->steps[step].stream;
  uint32_t end = f->clocks.places[step] + 1;
  f->until[number].done[stream] = end;
  for (Held *held = f->held[number]; held; held = held->next)
    if (!piece || pieces_meet(&held->piece, piece)) held->until.done[stream] = end;
}

static void note_uses(Follower *f, uint32_t number) {
  const PlanStep *step = &f->plan->steps[number];
  if (step->workspace_buffer >= 0) note_use(f, step->workspace_buffer, number, NULL);
  for (int i = 0; i < site_input_count(&step->site); i++) {
    int buffer = step->inputs[i].buffer;
    if (buffer < 0) continue;
    const TensorDesc *desc = &step->site.inputs[i];
    Piece read = {0};
    if (f->held[buffer] && desc_count(desc)) read = piece_read(desc, step->inputs[i].offset, f->held[buffer]->piece.row);
    note_use(f, buffer, number, &read);
  }
  for (int i = 0; i < step->node->output_count; i++) {
    int buffer = step->outputs[i].buffer;
    Piece written = f->held[buffer]->piece;  // the newest
    note_use(f, buffer, number, &written);
  }
}

static Status follow_step(Follower *f, uint32_t number) {
  const PlanStep *step = &f->plan->steps[number];
  int inputs = site_input_count(&step->site), outputs = step->node->output_count;
  for (int i = 0; i < inputs; i++)
    if (step->inputs[i].buffer >= 0) TRY(check_read(f, &step->inputs[i], &step->site.inputs[i], number));
  if (step->workspace_buffer >= 0) {
    size_t bytes = f->plan->buffers[step->workspace_buffer].bytes;
    TRY(take(f, step->workspace_buffer, number, &(Piece){bytes, 0, bytes}));
  }
  for (int i = 0; i < outputs; i++) TRY(take_result(f, step, i, number));
  for (int i = 0; i < inputs; i++)
    if (step->inputs[i].buffer >= 0) TRY(check_kept(f, step->inputs[i].buffer, true));
  if (step->workspace_buffer >= 0) TRY(check_kept(f, step->workspace_buffer, false));
  for (int i = 0; i < outputs; i++) TRY(check_kept(f, step->outputs[i].buffer, false));
  note_uses(f, number);
  return OK;
}

// All of every row.
static bool is_whole(const Follower *f, int number) {
  const Held *held = f->held[number];
  size_t row = held ? held->piece.row : 0, at = 0;
  while (held && at < row && (held = held_at(f, number, at))) at = held->piece.high;
  return held != NULL;
}

static Status check_outputs(const Follower *f, Arena *scratch) {
  const Graph *graph = f->plan->graph;
  bool *made = arena_array(scratch, bool, (size_t)graph->output_count);
  for (uint32_t b = 0; b < f->plan->buffer_count; b++) {
    const PlanBuffer *buffer = &f->plan->buffers[b];
    if (buffer->kind == PLAN_OUTPUT) made[buffer->index] |= is_whole(f, (int)b) || !buffer->bytes;
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
                .arena = scratch,
                .held = arena_array(scratch, Held *, plan->buffer_count),
                .until = arena_array(scratch, StepClock, plan->buffer_count),
                .behind = arena_array(scratch, StepClock, plan->buffer_count),
                .owners = owners_new(plan, scratch)};
  TRY(clocks_find(plan, scratch, &f.clocks));
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    Status status = plan_verify_step(plan, step);
    TRY(status_context(status ? status : follow_step(&f, s), "the plan's step %u (%s)", s, step->node->op->name));
  }
  return check_outputs(&f, scratch);
}
