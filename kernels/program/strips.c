// Decides how a program walks its domain: the order and boxes of the axes, what happens once, for each group of rows and for
// each strip, and where registers lie. strips_run.c carries it out.
#include "kernels/program/strips.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"

enum {
  STRIP_ELEMENTS = 1024,  // several registers of a strip fit into the first-level cache
  ROW_ELEMENTS = 4096,    // rows up to this stay whole: computing in the second-level cache beats computing twice
  SIDE_BY_SIDE = 16,      // the fewest rows that are worth walking together
  TILE_INNER = 64,        // a transposing strip: TILE_OUTER along what is contiguous in the input
  TILE_OUTER = 16,
};

// Uniform values do not depend on the place at all; row-level ones on the row; element-level ones on the element.
typedef enum Scope { SCOPE_UNIFORM, SCOPE_ROW, SCOPE_ELEMENT } Scope;

typedef struct Planner {
  Arena *arena;
  Strips *strips;
  const Program *program;
  Scope *scope;
  int *phase;         // of each instruction: how many reductions in a row it stands behind
  bool *invariant;    // element-level, but the same in every strip
  bool *has_element;  // wanted: an element register
  bool *done;         // element register computed in this pass over the strips
  bool *wanted;
  int *operand_of;  // of inputs and indices
} Planner;

// --- Operands

static StripOperand *add_operand(Planner *p, StripOperand operand) {
  Strips *strips = p->strips;
  StripOperand *added = ARENA_PUSH(p->arena, strips->operands, strips->operand_count, strips->operand_capacity);
  *added = operand;
  return added;
}

static bool looks_alike(DType dtype, RegisterClass class) {
  return (dtype == DTYPE_F32 && class == REGISTER_F32) || (dtype == DTYPE_F64 && class == REGISTER_F64) ||
         (dtype == DTYPE_I64 && class == REGISTER_I64) || (dtype == DTYPE_U64 && class == REGISTER_U64);
}

// Strides along the domain's axes: 0 where the tensor broadcasts.
static void tensor_strides(const TensorDesc *desc, int rank, const int64_t *dims, int64_t *strides) {
  for (int i = 0; i < rank; i++) {
    int axis = i - (rank - desc->rank);
    strides[i] = axis < 0 || desc->dims[axis] == 1 ? 0 : desc->strides[axis];
  }
}

static void add_input(Planner *p, int instruction, int rank, const int64_t *dims, const TensorDesc *inputs) {
  const Instruction *code = &p->program->code[instruction];
  const StripProgram *program = &p->strips->program;
  RegisterClass class = program->classes[instruction];
  p->operand_of[instruction] = (int)p->strips->operand_count;
  StripOperand *operand = add_operand(p, (StripOperand){.instruction = instruction, .class = class});
  if (code->op == OP_index) {
    operand->kind = OPERAND_INDEX;
    if (code->args[0] < rank) operand->strides[code->args[0]] = 1;
    return;
  }
  const TensorDesc *desc = &inputs[code->args[0]];
  operand->kind = OPERAND_INPUT;
  operand->number = code->args[0];
  operand->dtype = desc->dtype;
  operand->in_place = looks_alike(desc->dtype, class);
  if (dtype_bits(code->dtype) < dtype_bits(desc->dtype)) operand->narrow = program->table->narrow[code->dtype][class];
  tensor_strides(desc, rank, dims, operand->strides);
}

// The instruction whose register an output is stored from: before a cast that the store does as well.
static int stored_instruction(const Planner *p, int output, DType dtype) {
  const StripProgram *program = &p->strips->program;
  int instruction = p->program->outputs[output];
  const Instruction *cast = &p->program->code[instruction];
  bool direct = cast->op == OP_cast && cast->dtype == dtype && dtype_is_integer(dtype) && cast->integer == 0 &&
                program->classes[cast->args[0]] == REGISTER_F32 && program->table->store[dtype][REGISTER_F32];
  return direct ? cast->args[0] : instruction;
}

static void add_operands(Planner *p, int rank, const int64_t *dims, const bool *reduced, const TensorDesc *inputs,
                         const TensorDesc *outputs) {
  const Program *program = p->program;
  bool searches = false;
  for (int i = 0; i < program->count; i++) {
    const OpcodeInfo *info = opcode_info(program->code[i].op);
    searches |= info->reduces && info->result == RESULT_DECLARED;
    if (program->code[i].op == OP_input || program->code[i].op == OP_index) add_input(p, i, rank, dims, inputs);
  }
  for (int i = 0; i < program->output_count; i++) {
    int instruction = stored_instruction(p, i, outputs[i].dtype);
    RegisterClass class = p->strips->program.classes[instruction];
    StripOperand *operand = add_operand(p, (StripOperand){.kind = OPERAND_OUTPUT, .instruction = instruction, .class = class});
    operand->number = i;
    operand->dtype = outputs[i].dtype;
    operand->row_level = p->scope[instruction] != SCOPE_ELEMENT;
    operand->in_place = looks_alike(outputs[i].dtype, class);
    tensor_strides(&outputs[i], rank, dims, operand->strides);
  }
  p->strips->position = -1;
  if (!searches) return;
  p->strips->position = (int)p->strips->operand_count;
  StripOperand *position = add_operand(p, (StripOperand){.kind = OPERAND_POSITION, .class = REGISTER_I64, .instruction = -1});
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    if (!reduced[i]) continue;
    position->strides[i] = stride;
    stride *= dims[i];
  }
}

// --- Axes

static int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

// The operand whose memory order the walk follows: the first element-level output, else the input that covers most.
static const StripOperand *leader(const Strips *strips, int rank, const int64_t *dims) {
  const StripOperand *best = NULL;
  int64_t covered = -1;
  for (uint32_t i = 0; i < strips->operand_count; i++) {
    const StripOperand *operand = &strips->operands[i];
    if (operand->kind == OPERAND_OUTPUT && !operand->row_level) return operand;
    if (operand->kind != OPERAND_INPUT) continue;
    int64_t elements = 1;
    for (int k = 0; k < rank; k++) elements *= operand->strides[k] ? dims[k] : 1;
    if (elements > covered) best = operand, covered = elements;
  }
  return best;
}

// Domain axes, outermost first. Axes that the leader does not move along stay where they are among the others.
static int order_axes(const Strips *strips, int rank, const int64_t *dims, const bool *reduced, int *order) {
  const StripOperand *lead = leader(strips, rank, dims);
  int count = 0;
  for (int i = 0; i < rank; i++) {
    if (dims[i] == 1) continue;
    int at = count++;
    for (; lead && at > 0; at--) {
      int64_t mine = magnitude(lead->strides[i]), other = magnitude(lead->strides[order[at - 1]]);
      if (mine == 0 || other == 0 || other >= mine) break;
      order[at] = order[at - 1];
    }
    order[at] = i;
  }
  if (count == 0) return 0;
  // Kinds apart, the innermost axis keeps its place.
  bool last_reduced = reduced[order[count - 1]];
  int sorted[MAX_RANK], n = 0;
  for (int i = 0; i < count; i++)
    if (reduced[order[i]] != last_reduced) sorted[n++] = order[i];
  for (int i = 0; i < count; i++)
    if (reduced[order[i]] == last_reduced) sorted[n++] = order[i];
  memcpy(order, sorted, sizeof(int) * (size_t)count);
  return count;
}

static bool can_collapse(const Strips *strips, int outer, int inner, int64_t extent) {
  for (uint32_t i = 0; i < strips->operand_count; i++) {
    const int64_t *strides = strips->operands[i].strides;
    if (strides[outer] != strides[inner] * extent) return false;
  }
  return true;
}

static void set_axes(Planner *p, int rank, const int64_t *dims, const bool *reduced) {
  Strips *strips = p->strips;
  int order[MAX_RANK];
  int count = order_axes(strips, rank, dims, reduced, order);
  for (uint32_t i = 0; i < strips->operand_count; i++) {
    int64_t old[MAX_RANK];
    memcpy(old, strips->operands[i].strides, sizeof old);
    for (int k = 0; k < count; k++) strips->operands[i].strides[k] = old[order[k]];
  }
  int kept = 0;
  for (int k = 0; k < count; k++) {
    StripAxis axis = {.extent = dims[order[k]], .box = 1, .reduced = reduced[order[k]]};
    bool collapse =
        kept > 0 && strips->axes[kept - 1].reduced == axis.reduced && can_collapse(strips, kept - 1, k, axis.extent);
    if (collapse) { axis.extent *= strips->axes[--kept].extent; }
    for (uint32_t i = 0; i < strips->operand_count; i++) strips->operands[i].strides[kept] = strips->operands[i].strides[k];
    strips->axes[kept++] = axis;
  }
  strips->rank = kept;
  strips->rows_inside = kept == 0 || !strips->axes[kept - 1].reduced;
}

// --- Boxes

// Takes up to `limit` elements of the axes of one kind, from the innermost outwards, in boxes of about the same size.
static int64_t fill_boxes(Strips *strips, bool reduced, int64_t limit) {
  int64_t taken = 1;
  for (int i = strips->rank - 1; i >= 0; i--) {
    StripAxis *axis = &strips->axes[i];
    if (axis->reduced != reduced || axis->extent <= 1) continue;
    int64_t room = MAX(limit / taken, 1);
    int64_t blocks = ceil_div(axis->extent, MIN(axis->extent, room));
    axis->box = ceil_div(axis->extent, blocks);
    taken *= axis->box;
    if (axis->box < axis->extent) break;
  }
  return taken;
}

// An input that is contiguous along another axis than the innermost is read in tiles, so that its cache lines are used whole.
static bool tile_transposed(Strips *strips) {
  int inner = strips->rank - 1;
  if (inner < 1 || strips->axes[inner].extent < 8) return false;
  for (uint32_t i = 0; i < strips->operand_count; i++) {
    const StripOperand *operand = &strips->operands[i];
    if (operand->kind != OPERAND_INPUT || magnitude(operand->strides[inner]) <= 1) continue;
    for (int k = 0; k < inner; k++) {
      if (operand->strides[k] != 1 || strips->axes[k].extent < 8) continue;
      strips->axes[inner].box = MIN(strips->axes[inner].extent, TILE_INNER);
      strips->axes[k].box = MIN(strips->axes[k].extent, TILE_OUTER);
      return true;
    }
  }
  return false;
}

static int64_t product_of(const Strips *strips, bool reduced, bool of_boxes) {
  int64_t product = 1;
  for (int i = 0; i < strips->rank; i++)
    if (strips->axes[i].reduced == reduced) product *= of_boxes ? strips->axes[i].box : strips->axes[i].extent;
  return product;
}

static int64_t box_count(const Strips *strips, bool reduced) {
  int64_t count = 1;
  for (int i = 0; i < strips->rank; i++)
    if (strips->axes[i].reduced == reduced) count *= ceil_div(strips->axes[i].extent, MAX(strips->axes[i].box, 1));
  return count;
}

static void set_boxes(Strips *strips) {
  int64_t length = product_of(strips, true, false);
  if (length <= 1) {
    if (!tile_transposed(strips)) fill_boxes(strips, false, STRIP_ELEMENTS);
    fill_boxes(strips, true, 1);
  } else if (!strips->rows_inside) {
    bool whole = length <= ROW_ELEMENTS;
    fill_boxes(strips, true, whole ? length : STRIP_ELEMENTS);
    fill_boxes(strips, false, whole ? MAX(STRIP_ELEMENTS / length, 1) : 1);
  } else if (length * SIDE_BY_SIDE <= ROW_ELEMENTS) {
    fill_boxes(strips, false, ROW_ELEMENTS / length);
    fill_boxes(strips, true, length);
  } else {
    int64_t rows = fill_boxes(strips, false, STRIP_ELEMENTS / 4);
    fill_boxes(strips, true, rows * length <= ROW_ELEMENTS ? length : MAX(STRIP_ELEMENTS * 2 / rows, 1));
  }
  strips->row_extent = length;
  strips->box_rows = product_of(strips, false, true);
  strips->box_length = product_of(strips, true, true);
  strips->group_count = box_count(strips, false);
  strips->chunk_count = box_count(strips, true);
}

// --- What is the same in every strip

// Whether strips that are cut short at the end of an axis are the front part of a whole one.
static bool cut_at_front(const Strips *strips) {
  bool outermost = true;
  for (int i = 0; i < strips->rank; i++) {
    const StripAxis *axis = &strips->axes[i];
    if (axis->box <= 1) continue;
    if (axis->extent % axis->box != 0 && !outermost) return false;
    outermost = false;
  }
  return true;
}

static bool operand_invariant(const Strips *strips, const StripOperand *operand, bool cut_fits) {
  bool constant = true;
  for (int i = 0; i < strips->rank; i++) {
    if (operand->strides[i] == 0) continue;
    constant = false;
    if (strips->axes[i].box < strips->axes[i].extent) return false;
  }
  return constant || cut_fits;
}

static void find_scopes(Planner *p) {
  for (int i = 0; i < p->program->count; i++) {
    const Instruction *instruction = &p->program->code[i];
    const OpcodeInfo *info = opcode_info(instruction->op);
    if (instruction->op == OP_input || instruction->op == OP_index) p->scope[i] = SCOPE_ELEMENT;
    for (int k = 0; k < info->arity; k++) {
      p->scope[i] = MAX(p->scope[i], p->scope[instruction->args[k]]);
      p->phase[i] = MAX(p->phase[i], p->phase[instruction->args[k]]);
    }
    if (!info->reduces) continue;
    p->scope[i] = SCOPE_ROW;
    p->phase[i]++;
  }
}

static void find_invariants(Planner *p) {
  const Strips *strips = p->strips;
  bool cut_fits = cut_at_front(strips);
  for (int i = 0; i < p->program->count; i++) {
    if (p->scope[i] != SCOPE_ELEMENT) continue;
    const Instruction *instruction = &p->program->code[i];
    bool invariant = true;
    for (int k = 0; k < opcode_info(instruction->op)->arity; k++) {
      int arg = instruction->args[k];
      invariant &= p->scope[arg] == SCOPE_UNIFORM || p->invariant[arg];
    }
    if (p->operand_of[i] >= 0) invariant = operand_invariant(strips, &strips->operands[p->operand_of[i]], cut_fits);
    p->invariant[i] = invariant;
  }
}

// --- Actions

static StripAction *add_action(Planner *p, ActionList *list, ActionKind kind, int index) {
  StripAction *action = ARENA_PUSH(p->arena, list->actions, list->count, list->capacity);
  *action = (StripAction){.kind = kind, .index = index, .direct = -1};
  return action;
}

// Makes the element register of an instruction available to the strips of a phase: everything it needs that is not there yet.
static void want_element(Planner *p, StripPhase *phase, int root) {
  memset(p->wanted, 0, (size_t)root + 1);
  p->wanted[root] = true;
  for (int i = root; i >= 0; i--) {
    if (!p->wanted[i]) continue;
    p->has_element[i] = true;
    // A uniform value is computed over its whole register, from whole registers.
    if (p->scope[i] == SCOPE_ROW || (p->done[i] && p->scope[i] == SCOPE_ELEMENT)) continue;
    const Instruction *instruction = &p->program->code[i];
    for (int k = 0; k < opcode_info(instruction->op)->arity; k++) p->wanted[instruction->args[k]] = true;
  }
  for (int i = 0; i <= root; i++) {
    if (!p->wanted[i] || p->done[i] || p->scope[i] != SCOPE_ELEMENT) continue;
    ActionList *list = p->invariant[i] ? &p->strips->once : &phase->body;
    if (p->operand_of[i] >= 0) add_action(p, list, ACTION_LOAD, p->operand_of[i]);
    else add_action(p, list, ACTION_COMPUTE, i);
    p->done[i] = true;
  }
}

static void plan_reductions(Planner *p, StripPhase *phase, int number) {
  Strips *strips = p->strips;
  for (int i = 0; i < p->program->count; i++) {
    const Instruction *instruction = &p->program->code[i];
    if (!opcode_info(instruction->op)->reduces || p->phase[i] != number + 1) continue;
    want_element(p, phase, instruction->args[0]);
    strips->reductions[i] = (StripReduction){.instruction = i, .operand = p->program->code[instruction->args[0]].dtype};
    add_action(p, &phase->begin, ACTION_BEGIN, i);
    add_action(p, &phase->body, ACTION_REDUCE, i);
    add_action(p, &phase->end, ACTION_FINISH, i);
  }
  for (int i = 0; i < p->program->count; i++) {
    bool reduces = opcode_info(p->program->code[i].op)->reduces;
    if (p->scope[i] == SCOPE_ROW && !reduces && p->phase[i] == number + 1) add_action(p, &phase->end, ACTION_COMPUTE_ROW, i);
  }
}

static bool reads_position(const Planner *p, int number) {
  for (int i = 0; i < p->program->count; i++) {
    const OpcodeInfo *info = opcode_info(p->program->code[i].op);
    if (info->reduces && info->result == RESULT_DECLARED && p->phase[i] == number + 1) return true;
  }
  return false;
}

static void plan_stores(Planner *p, StripPhase *last) {
  Strips *strips = p->strips;
  for (uint32_t i = 0; i < strips->operand_count; i++) {
    StripOperand *operand = &strips->operands[i];
    if (operand->kind != OPERAND_OUTPUT || operand->row_level) continue;
    want_element(p, last, operand->instruction);
    add_action(p, &last->body, ACTION_STORE, (int)i);
  }
  for (uint32_t i = 0; i < strips->operand_count; i++)
    if (strips->operands[i].kind == OPERAND_OUTPUT && strips->operands[i].row_level)
      add_action(p, &last->end, ACTION_STORE_ROW, (int)i);
  // The last result goes to memory at once. Nothing is read after it, so that this is safe even where the output takes an
  // input's place.
  if (last->body.count < 2) return;
  StripAction *store = &last->body.actions[last->body.count - 1], *compute = store - 1;
  if (store->kind != ACTION_STORE || compute->kind != ACTION_COMPUTE) return;
  const StripOperand *operand = &strips->operands[store->index];
  if (operand->in_place && operand->instruction == compute->index && !strips->program.steps[compute->index].again)
    compute->direct = store->index;
}

static void plan_actions(Planner *p) {
  Strips *strips = p->strips;
  int last = 0;
  for (int i = 0; i < p->program->count; i++) last = MAX(last, p->phase[i]);
  strips->phase_count = last + 1;
  strips->phases = arena_array(p->arena, StripPhase, (size_t)strips->phase_count);
  for (int i = 0; i < p->program->count; i++) {
    if (p->scope[i] != SCOPE_UNIFORM) continue;
    p->done[i] = true;
    add_action(p, &strips->once, ACTION_COMPUTE_ROW, i);
  }
  for (int number = 0; number <= last; number++) {
    StripPhase *phase = &strips->phases[number];
    // Chunks of a row pass by again in each phase: nothing of the last one is left but invariants.
    if (strips->chunk_count > 1)
      for (int i = 0; i < p->program->count; i++) p->done[i] &= p->invariant[i] || p->scope[i] == SCOPE_UNIFORM;
    if (reads_position(p, number)) add_action(p, &phase->body, ACTION_LOAD, strips->position);
    if (number < last) plan_reductions(p, phase, number);
    else plan_stores(p, phase);
  }
  // Row-level values are expanded as soon as they exist; by now it is known which are wanted.
  for (int i = 0; i < p->program->count; i++)
    if (p->scope[i] == SCOPE_ROW && p->has_element[i]) add_action(p, &strips->phases[p->phase[i] - 1].end, ACTION_EXPAND, i);
}

// --- Registers

static size_t take(Strips *strips, size_t bytes) {
  size_t at = strips->scratch_bytes;
  strips->scratch_bytes += align_up(bytes, 64);
  return at;
}

typedef struct Slots {
  size_t *free_at[2];  // offsets of free registers of 4 and 8 bytes an element
  int free_count[2];
} Slots;

// The element registers that an action reads, at most three.
static int action_reads(const Strips *strips, const StripAction *action, int reads[3]) {
  const Instruction *code = strips->program.program->code;
  const Instruction *instruction = &code[action->index];
  switch (action->kind) {
    case ACTION_STORE: reads[0] = strips->operands[action->index].instruction; return 1;
    case ACTION_REDUCE: reads[0] = instruction->args[0]; return 1;
    case ACTION_COMPUTE: memcpy(reads, instruction->args, sizeof instruction->args); return opcode_info(instruction->op)->arity;
    default: return 0;
  }
}

static int action_writes(const Strips *strips, const StripAction *action) {
  if (action->kind == ACTION_LOAD) return strips->operands[action->index].instruction;
  return action->kind == ACTION_COMPUTE ? action->index : -1;
}

// Registers of strip bodies are used again once their value is dead, so that the set in use stays in the cache. Where rows come in
// chunks every value has its own.
static void assign_body_registers(Planner *p, size_t elements) {
  Strips *strips = p->strips;
  size_t count = (size_t)p->program->count;
  int *last_use = arena_array(p->arena, int, count);
  int time = 0;
  for (int f = 0; f < strips->phase_count; f++) {
    const ActionList *body = &strips->phases[f].body;
    for (uint32_t k = 0; k < body->count; k++, time++) {
      int reads[3], read_count = action_reads(strips, &body->actions[k], reads);
      for (int j = 0; j < read_count; j++) last_use[reads[j]] = time;
    }
  }
  Slots slots = {{arena_array(p->arena, size_t, count), arena_array(p->arena, size_t, count)}, {0, 0}};
  time = 0;
  for (int f = 0; f < strips->phase_count; f++) {
    const ActionList *body = &strips->phases[f].body;
    for (uint32_t k = 0; k < body->count; k++, time++) {
      const StripAction *action = &body->actions[k];
      int written = action_writes(strips, action);
      if (written >= 0 && strips->element_at[written] == SIZE_MAX) {
        size_t size = register_size(strips->program.classes[written]);
        int kind = size == 8;
        strips->element_at[written] =
            slots.free_count[kind] ? slots.free_at[kind][--slots.free_count[kind]] : take(strips, elements * size);
      }
      int reads[3], read_count = action_reads(strips, action, reads);
      for (int j = 0; j < read_count; j++) {
        int r = reads[j];
        bool repeated = (j > 0 && r == reads[0]) || (j > 1 && r == reads[1]);
        bool in_body = p->scope[r] == SCOPE_ELEMENT && !p->invariant[r];
        if (last_use[r] != time || repeated || !in_body || strips->chunk_count > 1) continue;
        int kind = register_size(strips->program.classes[r]) == 8;
        slots.free_at[kind][slots.free_count[kind]++] = strips->element_at[r];
      }
    }
  }
}

static void assign_registers(Planner *p) {
  Strips *strips = p->strips;
  const StripProgram *program = &strips->program;
  size_t count = (size_t)p->program->count, rows = (size_t)strips->box_rows, elements = rows * (size_t)strips->box_length;
  strips->element_at = arena_array(p->arena, size_t, count);
  strips->row_at = arena_array(p->arena, size_t, count);
  take(strips, 2 * count * sizeof(void *));  // the tables of registers
  for (int i = 0; i < p->program->count; i++) {
    size_t size = register_size(program->classes[i]);
    strips->element_at[i] = strips->row_at[i] = SIZE_MAX;
    if (p->scope[i] == SCOPE_UNIFORM) {
      strips->row_at[i] = take(strips, (p->has_element[i] ? elements : rows) * size);
      if (p->has_element[i]) strips->element_at[i] = strips->row_at[i];
    }
    if (p->scope[i] == SCOPE_ROW) {
      strips->row_at[i] = take(strips, rows * size);
      if (p->has_element[i]) strips->element_at[i] = take(strips, elements * size);
    }
    if (p->invariant[i] && p->has_element[i]) strips->element_at[i] = take(strips, elements * size);
    if (!opcode_info(p->program->code[i].op)->reduces) continue;
    strips->reductions[i].total = take(strips, rows * 8);
    strips->reductions[i].where = take(strips, rows * 8);
  }
  if (strips->position >= 0) strips->position_at = take(strips, elements * 8);
  assign_body_registers(p, elements);
}

// The program with casts of integers to f32 as part of the inputs' loads.
static const Program *load_as_floats(Arena *arena, const Program *program, bool precise, const TensorDesc *inputs) {
  Program *out = program_copy(arena, program);
  const StripTable *table = strip_table_best();
  for (int i = 0; i < program->count && !precise; i++) {
    const Instruction *cast = &program->code[i], *input = &program->code[cast->args[0]];
    if (cast->op != OP_cast || cast->dtype != DTYPE_F32 || input->op != OP_input) continue;
    DType dtype = inputs[input->args[0]].dtype;
    if (!dtype_is_integer(dtype) || input->dtype != dtype || !table->load[dtype][REGISTER_F32]) continue;
    out->code[i] = *input;
    out->code[i].dtype = DTYPE_F32;
  }
  return out;
}

// Reductions whose rows may be taken apart without another result.
static bool reduces_in_any_order(const Program *program) {
  for (int i = 0; i < program->count; i++) {
    Opcode op = program->code[i].op;
    if (opcode_info(op)->reduces && op != OP_reduce_max && op != OP_reduce_min) return false;
  }
  return true;
}

Strips *strips_new(Arena *arena, const Program *program, bool precise, int rank, const int64_t *dims, const bool *reduced,
                   const TensorDesc *inputs, int input_count, const TensorDesc *outputs) {
  Strips *strips = arena_new_of(arena, Strips);
  size_t count = (size_t)program->count;
  program = load_as_floats(arena, program, precise, inputs);
  strip_program_init(&strips->program, arena, program, precise);
  memcpy(strips->dims, dims, sizeof(int64_t) * (size_t)rank);
  strips->reductions = arena_array(arena, StripReduction, count);
  Planner p = {
      .arena = arena,
      .strips = strips,
      .program = program,
      .scope = arena_array(arena, Scope, count),
      .phase = arena_array(arena, int, count),
      .invariant = arena_array(arena, bool, count),
      .has_element = arena_array(arena, bool, count),
      .done = arena_array(arena, bool, count),
      .wanted = arena_array(arena, bool, count),
      .operand_of = arena_array(arena, int, count),
  };
  for (size_t i = 0; i < count; i++) p.operand_of[i] = -1;
  find_scopes(&p);
  add_operands(&p, rank, dims, reduced, inputs, outputs);
  set_axes(&p, rank, dims, reduced);
  set_boxes(strips);
  find_invariants(&p);
  plan_actions(&p);
  assign_registers(&p);
  strips->divisible = strips->phase_count > 1 && reduces_in_any_order(program);
  return strips;
}
