// Carries out what strips.c decided, for a range of groups of rows.
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/program/strips.h"

// One thread's place in the walk.
typedef struct Walk {
  const Strips *strips;
  void *const *inputs, *const *outputs;
  char *scratch;
  void **element, **row;      // registers of instructions
  int64_t at[MAX_RANK];       // first coordinate of the strip
  int64_t extents[MAX_RANK];  // of the strip: boxes, cut at the ends of axes
  int64_t rows, length;
} Walk;

// --- Loads and stores

// A strip as an operand sees it: runs of run[0] elements, `stride` apart, in nested loops over the others.
typedef struct Segments {
  int count;
  int64_t extent[MAX_RANK], stride[MAX_RANK];  // innermost first
} Segments;

static Segments segments_of(const Walk *walk, const StripOperand *operand) {
  const Strips *strips = walk->strips;
  Segments segments;
  segments.count = 0;
  segments.extent[0] = segments.stride[0] = 1;
  for (int i = strips->rank - 1; i >= 0; i--) {
    int64_t extent = walk->extents[i], stride = operand->strides[i];
    if (extent == 1 || (operand->row_level && strips->axes[i].reduced)) continue;
    int last = segments.count - 1;
    if (last >= 0 && stride == segments.stride[last] * segments.extent[last]) {
      segments.extent[last] *= extent;
      continue;
    }
    segments.extent[segments.count] = extent;
    segments.stride[segments.count++] = stride;
  }
  segments.count = MAX(segments.count, 1);
  return segments;
}

static int64_t offset_of(const Walk *walk, const StripOperand *operand) {
  int64_t offset = 0;
  for (int i = 0; i < walk->strips->rank; i++) offset += walk->at[i] * operand->strides[i];
  return offset;
}

// The next run after the loops over extent[1 ..]; false at the end. Moves *offset.
static bool next_segment(const Segments *segments, int64_t *counters, int64_t *offset) {
  for (int i = 1; i < segments->count; i++) {
    *offset += segments->stride[i];
    if (++counters[i] < segments->extent[i]) return true;
    *offset -= segments->stride[i] * segments->extent[i];
    counters[i] = 0;
  }
  return false;
}

static void count_up(RegisterClass class, void *out, int64_t start, int64_t stride, int64_t n) {
  switch (class) {
    case REGISTER_F32:
      for (int64_t i = 0; i < n; i++) ((float *)out)[i] = (float)(start + i * stride);
      break;
    case REGISTER_F64:
      for (int64_t i = 0; i < n; i++) ((double *)out)[i] = (double)(start + i * stride);
      break;
    default:
      for (int64_t i = 0; i < n; i++) ((int64_t *)out)[i] = start + i * stride;
  }
}

static void load_segments(const Walk *walk, const StripOperand *operand, const Segments *segments, int64_t offset, char *out) {
  const StripTable *table = walk->strips->program.table;
  size_t size = register_size(operand->class), item = operand->kind == OPERAND_INPUT ? dtype_size(operand->dtype) : 0;
  StripLoad *load = operand->kind == OPERAND_INPUT ? table->load[operand->dtype][operand->class] : NULL;
  const char *data = operand->kind == OPERAND_INPUT ? walk->inputs[operand->number] : NULL;
  if (segments->count == 2 && segments->stride[1] == 1 && operand->dtype == DTYPE_F32 && operand->class == REGISTER_F32 &&
      load) {
    table->transpose(out, data + offset * (int64_t)item, segments->stride[0], segments->extent[0], segments->extent[1]);
    return;
  }
  // The same run over and over: load it once and double it.
  bool repeats = segments->count == 2 && segments->stride[1] == 0;
  int64_t counters[MAX_RANK] = {0};
  size_t run = (size_t)segments->extent[0] * size;
  char *to = out;
  do {
    if (load) load(to, data + offset * (int64_t)item, segments->stride[0], segments->extent[0]);
    else count_up(operand->class, to, offset, segments->stride[0], segments->extent[0]);
    to += run;
  } while (!repeats && next_segment(segments, counters, &offset));
  if (!repeats) return;
  size_t total = run * (size_t)segments->extent[1];
  for (size_t done = run; done < total;) {
    size_t part = MIN(done, total - done);
    memcpy(out + done, out, part);
    done += part;
  }
}

static void load_operand(Walk *walk, int index) {
  const Strips *strips = walk->strips;
  const StripOperand *operand = &strips->operands[index];
  Segments segments = segments_of(walk, operand);
  int64_t offset = offset_of(walk, operand), n = walk->rows * walk->length;
  if (operand->kind == OPERAND_POSITION) {
    load_segments(walk, operand, &segments, offset, walk->scratch + strips->position_at);
    return;
  }
  bool contiguous = segments.count == 1 && segments.stride[0] == 1;
  if (contiguous && operand->in_place && !operand->narrow) {
    walk->element[operand->instruction] = (char *)walk->inputs[operand->number] + offset * (int64_t)dtype_size(operand->dtype);
    return;
  }
  char *out = walk->scratch + strips->element_at[operand->instruction];
  walk->element[operand->instruction] = out;
  load_segments(walk, operand, &segments, offset, out);
  DType dtype = strips->program.program->code[operand->instruction].dtype;
  StripConvert *wrap = operand->kind == OPERAND_INDEX ? strips->program.table->narrow[dtype][operand->class] : operand->narrow;
  if (wrap) wrap(out, out, n, 0);
}

static void store_operand(const Walk *walk, const StripOperand *operand, const void *a) {
  char *data = walk->outputs[operand->number];
  size_t item = dtype_size(operand->dtype), size = register_size(operand->class);
  StripStore *store = walk->strips->program.table->store[operand->dtype][operand->class];
  Segments segments = segments_of(walk, operand);
  int64_t counters[MAX_RANK] = {0}, offset = offset_of(walk, operand);
  const char *from = a;
  do {
    store(data + offset * (int64_t)item, segments.stride[0], from, segments.extent[0]);
    from += (size_t)segments.extent[0] * size;
  } while (next_segment(&segments, counters, &offset));
}

// Where a result can be computed into memory at once; NULL if the output is not contiguous here.
static void *direct_target(const Walk *walk, const StripOperand *operand) {
  Segments segments = segments_of(walk, operand);
  if (segments.count != 1 || segments.stride[0] != 1) return NULL;
  return (char *)walk->outputs[operand->number] + offset_of(walk, operand) * (int64_t)dtype_size(operand->dtype);
}

// --- Reductions

static bool keeps_double(const Instruction *instruction, RegisterClass class) {
  return class == REGISTER_F32 && (instruction->op == OP_reduce_sum || instruction->op == OP_reduce_prod);
}

static void begin_reduction(const Walk *walk, int index) {
  const StripReduction *reduction = &walk->strips->reductions[index];
  const Instruction *instruction = &walk->strips->program.program->code[index];
  RegisterClass class = walk->strips->program.classes[instruction->args[0]];
  void *total = walk->scratch + reduction->total;
  if (opcode_info(instruction->op)->result == RESULT_DECLARED) {
    strip_fill(class, total, 0, 0, walk->rows);
    strip_fill(REGISTER_I64, walk->scratch + reduction->where, 0, INT64_MAX, walk->rows);
    return;
  }
  bool maximum = instruction->op == OP_reduce_max, product = instruction->op == OP_reduce_prod;
  if (!maximum && instruction->op != OP_reduce_min) {
    strip_fill(keeps_double(instruction, class) ? REGISTER_F64 : class, total, product, product, walk->rows);
    return;
  }
  // The end of the dtype's range that every element beats.
  int bits = dtype_bits(reduction->operand);
  int64_t most = class == REGISTER_BOOL  ? 1
                 : class == REGISTER_U64 ? (int64_t)(UINT64_MAX >> (64 - bits))
                                         : (int64_t)(UINT64_MAX >> (65 - bits));
  int64_t least = class == REGISTER_I64 ? -most - 1 : 0;
  strip_fill(class, total, maximum ? -INFINITY : INFINITY, maximum ? least : most, walk->rows);
}

static void reduce_strip(const Walk *walk, int index) {
  const Strips *strips = walk->strips;
  const StripReduction *reduction = &strips->reductions[index];
  const Instruction *instruction = &strips->program.program->code[index];
  const StripTable *table = strips->program.table;
  RegisterClass class = strips->program.classes[instruction->args[0]];
  const void *a = walk->element[instruction->args[0]];
  void *total = walk->scratch + reduction->total;
  int64_t *where = (int64_t *)(walk->scratch + reduction->where);
  const int64_t *positions = (const int64_t *)(walk->scratch + strips->position_at);
  if (opcode_info(instruction->op)->result == RESULT_DECLARED)
    table->search[strips->rows_inside][instruction->op - OP_reduce_argmax][class](total, where, a, positions, walk->rows,
                                                                                  walk->length);
  else table->reduce[strips->rows_inside][instruction->op - OP_reduce_sum][class](total, a, walk->rows, walk->length);
}

static void finish_reduction(const Walk *walk, int index) {
  const Strips *strips = walk->strips;
  const StripReduction *reduction = &strips->reductions[index];
  const Instruction *instruction = &strips->program.program->code[index];
  const StripTable *table = strips->program.table;
  RegisterClass from = strips->program.classes[instruction->args[0]], to = strips->program.classes[index];
  const void *total = walk->scratch + reduction->total;
  if (opcode_info(instruction->op)->result == RESULT_DECLARED) {
    int64_t *where = (int64_t *)(walk->scratch + reduction->where);
    for (int64_t r = 0; r < walk->rows; r++)
      if (where[r] == INT64_MAX) where[r] = 0;  // an empty row
    total = where;
    from = REGISTER_I64;
  } else if (keeps_double(instruction, from)) {
    from = REGISTER_F64;
  }
  table->convert[from][to](walk->row[index], total, walk->rows, 0);
  StripConvert *narrow = table->narrow[instruction->dtype][to];
  if (narrow && dtype_is_integer(instruction->dtype)) narrow(walk->row[index], walk->row[index], walk->rows, 0);
}

// --- The walk

static void compute_row(const Walk *walk, int index, int64_t n) {
  const Strips *strips = walk->strips;
  const Instruction *instruction = &strips->program.program->code[index];
  if (instruction->op != OP_extent && instruction->op != OP_row_extent) {
    program_run_strip(&strips->program, &index, 1, walk->row, n);
    return;
  }
  int64_t value = instruction->op == OP_extent ? strips->dims[instruction->args[0]] : strips->row_extent;
  strip_fill(strips->program.classes[index], walk->row[index], (double)value, value, n);
}

static void run_action(Walk *walk, const StripAction *action) {
  const Strips *strips = walk->strips;
  int64_t n = walk->rows * walk->length;
  int index = action->index;
  switch (action->kind) {
    case ACTION_LOAD: load_operand(walk, index); break;
    case ACTION_COMPUTE: {
      void *target = action->direct >= 0 ? direct_target(walk, &strips->operands[action->direct]) : NULL;
      walk->element[index] = target ? target : walk->scratch + strips->element_at[index];
      program_run_strip(&strips->program, &index, 1, walk->element, n);
      break;
    }
    case ACTION_COMPUTE_ROW: compute_row(walk, index, walk->rows); break;
    case ACTION_EXPAND: {
      // For whole boxes: strips that are cut use the front.
      RegisterClass class = strips->program.classes[index];
      strips->program.table->expand[strips->rows_inside][register_size(class) == 8](walk->element[index], walk->row[index],
                                                                                    walk->rows, strips->box_length);
      break;
    }
    case ACTION_BEGIN: begin_reduction(walk, index); break;
    case ACTION_REDUCE: reduce_strip(walk, index); break;
    case ACTION_FINISH: finish_reduction(walk, index); break;
    case ACTION_STORE: {
      const StripOperand *operand = &strips->operands[index];
      const void *from = walk->element[operand->instruction];
      if (!operand->in_place || from != direct_target(walk, operand)) store_operand(walk, operand, from);
      break;
    }
    case ACTION_STORE_ROW: store_operand(walk, &strips->operands[index], walk->row[strips->operands[index].instruction]); break;
  }
}

static void run_actions(Walk *walk, const ActionList *list) {
  for (uint32_t i = 0; i < list->count; i++) run_action(walk, &list->actions[i]);
}

// Places the walk at box number `number` of the axes of one kind; returns how many elements of that kind it has there.
static int64_t place(Walk *walk, bool reduced, int64_t number) {
  int64_t elements = 1;
  for (int i = walk->strips->rank - 1; i >= 0; i--) {
    const StripAxis *axis = &walk->strips->axes[i];
    if (axis->reduced != reduced) continue;
    int64_t blocks = ceil_div(axis->extent, axis->box), block = number % blocks;
    number /= blocks;
    walk->at[i] = block * axis->box;
    walk->extents[i] = MIN(axis->box, axis->extent - walk->at[i]);
    elements *= walk->extents[i];
  }
  return elements;
}

// Uniform values and invariants, for whole boxes.
static void run_once(Walk *walk) {
  const Strips *strips = walk->strips;
  for (int i = 0; i < strips->rank; i++) walk->extents[i] = strips->axes[i].box;
  walk->rows = strips->box_rows;
  walk->length = strips->box_length;
  for (uint32_t i = 0; i < strips->once.count; i++) {
    const StripAction *action = &strips->once.actions[i];
    if (action->kind == ACTION_COMPUTE_ROW)
      compute_row(walk, action->index, strips->element_at[action->index] != SIZE_MAX ? walk->rows * walk->length : walk->rows);
    else if (strips->chunk_count) run_action(walk, action);  // empty rows have no elements
  }
}

static void start(Walk *walk, const Strips *strips, void *const *inputs, void *const *outputs, void *scratch) {
  int count = strips->program.program->count;
  *walk = (Walk){.strips = strips, .inputs = inputs, .outputs = outputs, .scratch = scratch};
  walk->element = scratch;
  walk->row = walk->element + count;
  for (int i = 0; i < count; i++) {
    walk->element[i] = strips->element_at[i] == SIZE_MAX ? NULL : walk->scratch + strips->element_at[i];
    walk->row[i] = strips->row_at[i] == SIZE_MAX ? NULL : walk->scratch + strips->row_at[i];
  }
  run_once(walk);
}

static void run_chunks(Walk *walk, const StripPhase *phase, int64_t begin, int64_t end) {
  for (int64_t chunk = begin; chunk < end && phase->body.count; chunk++) {
    walk->length = place(walk, true, chunk);
    run_actions(walk, &phase->body);
  }
}

void strips_run(const Strips *strips, void *const *inputs, void *const *outputs, void *scratch, int64_t begin, int64_t end) {
  Walk walk;
  if (begin >= end) return;
  start(&walk, strips, inputs, outputs, scratch);
  for (int64_t group = begin; group < end; group++) {
    walk.rows = place(&walk, false, group);
    for (int f = 0; f < strips->phase_count; f++) {
      const StripPhase *phase = &strips->phases[f];
      run_actions(&walk, &phase->begin);
      run_chunks(&walk, phase, 0, strips->chunk_count);
      run_actions(&walk, &phase->end);
    }
  }
}

void strips_share_phase(const Strips *strips, void *const *inputs, void *const *outputs, void *scratch, int64_t group,
                        int phase, bool (*take)(void *context, int64_t *begin, int64_t *end), void *context) {
  Walk walk;
  int64_t begin, end;
  start(&walk, strips, inputs, outputs, scratch);
  walk.rows = place(&walk, false, group);
  run_actions(&walk, &strips->phases[phase].begin);
  while (take(context, &begin, &end)) run_chunks(&walk, &strips->phases[phase], begin, end);
}

// Combines another area's totals with this walk's.
static void join_totals(const Walk *walk, const StripPhase *phase, const char *other) {
  const Strips *strips = walk->strips;
  for (uint32_t i = 0; i < phase->begin.count; i++) {
    const StripReduction *reduction = &strips->reductions[phase->begin.actions[i].index];
    const Instruction *instruction = &strips->program.program->code[reduction->instruction];
    RegisterClass class = strips->program.classes[instruction->args[0]];
    strips->program.table->reduce[strips->rows_inside][instruction->op - OP_reduce_sum][class](
        walk->scratch + reduction->total, other + reduction->total, walk->rows, 1);
  }
}

static void copy_totals(const Walk *walk, const StripPhase *phase, char *other) {
  for (uint32_t i = 0; i < phase->begin.count; i++) {
    size_t total = walk->strips->reductions[phase->begin.actions[i].index].total;
    memcpy(other + total, walk->scratch + total, (size_t)walk->rows * 8);
  }
}

void strips_join_phase(const Strips *strips, void *const *inputs, void *const *outputs, char *scratch, size_t area_bytes,
                       int area_count, int64_t group, int phase) {
  const StripPhase *done = &strips->phases[phase];
  bool last = phase == strips->phase_count - 1;
  Walk walk;
  start(&walk, strips, inputs, outputs, scratch);
  walk.rows = place(&walk, false, group);
  for (int i = 1; i < area_count && !last; i++) join_totals(&walk, done, scratch + (size_t)i * area_bytes);
  run_actions(&walk, &done->end);
  for (int i = 1; i < area_count && !last; i++) {
    copy_totals(&walk, done, scratch + (size_t)i * area_bytes);
    Walk other;
    start(&other, strips, inputs, outputs, scratch + (size_t)i * area_bytes);
    other.rows = place(&other, false, group);
    run_actions(&other, &done->end);
  }
}
