// Building and rearranging scalar programs. A program is an array of instructions whose operands are earlier instructions,
// so order is the only invariant and every walk is one loop. Programs have tens of instructions: identical ones are found by
// looking at all of them, and by an index in the few that are longer. Joining two programs rebuilds the consumer behind the producer's code.
#include "ir/program.h"
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/hash.h"
#include "ir/tensor.h"

// An empty expression makes a string of one byte.
#define EXPRESSION_OR_NULL(text) (sizeof(text) == 1 ? NULL : (text))
static const OpcodeInfo infos[OPCODE_COUNT] = {
#define OPCODE(name, arity, classes, result, expression) \
  [OP_##name] = {#name,                                  \
                 arity,                                  \
                 classes,                                \
                 result,                                 \
                 EXPRESSION_OR_NULL(#expression),        \
                 OP_##name >= OP_reduce_sum && OP_##name <= OP_reduce_argmin_last},
#include "ir/opcodes.inc"
#undef OPCODE
};

const OpcodeInfo *opcode_info(Opcode op) { return &infos[op]; }

bool opcode_chooses(Opcode op) {
  static const bool table[OPCODE_COUNT] = {
      [OP_neg] = true, [OP_abs] = true, [OP_min] = true, [OP_max] = true, [OP_relu] = true, [OP_select] = true};
  return table[op];
}

bool opcode_parse(const char *name, Opcode *out) {
  for (int op = 0; op < OPCODE_COUNT; op++) {
    if (strcmp(infos[op].name, name) != 0) continue;
    *out = (Opcode)op;
    return true;
  }
  return false;
}

Program *program_new(Arena *arena, int input_count) {
  Program *program = arena_new_of(arena, Program);
  program->arena = arena;
  program->input_count = input_count;
  return program;
}

Program *program_copy(Arena *arena, const Program *program) {
  Program *copy = program_new(arena, program->input_count);
  copy->count = program->count;
  copy->capacity = (uint32_t)program->count;
  copy->code = arena_array(arena, Instruction, (size_t)program->count);
  if (program->count) memcpy(copy->code, program->code, sizeof *copy->code * (size_t)program->count);
  for (int i = 0; i < program->output_count; i++) program_output(copy, program->outputs[i]);
  return copy;
}

// Bits, so that NaN equals itself and -0 differs from 0.
static bool instruction_equal(const Instruction *a, const Instruction *b) {
  return a->op == b->op && a->dtype == b->dtype && memcmp(a->args, b->args, sizeof a->args) == 0 &&
         memcmp(&a->number, &b->number, sizeof a->number) == 0 && a->integer == b->integer;
}

enum { LOOKED_THROUGH = 32 };  // so many instructions are compared one by one

static uint32_t instruction_hash(const Instruction *instruction) {
  uint64_t bits;
  memcpy(&bits, &instruction->number, sizeof bits);
  uint64_t hash =
      hash_mix((uint64_t)instruction->op << 32 | (uint64_t)instruction->dtype, bits ^ (uint64_t)instruction->integer);
  for (int i = 0; i < 3; i++) hash = hash_mix(hash, (uint64_t)instruction->args[i]);
  return (uint32_t)(hash >> 32);
}

bool program_has(const Program *program, Opcode op) {
  for (int i = 0; program && i < program->count; i++)
    if (program->code[i].op == op) return true;
  return false;
}

uint64_t program_hash(const Program *program, uint64_t seed) {
  for (int i = 0; i < program->count; i++) seed = hash_mix(seed, instruction_hash(&program->code[i]));
  return seed;
}

// The slot that holds the number (from 1) of an instruction like this, or the empty one where it belongs.
static int *index_slot(const Program *program, const Instruction *instruction) {
  uint32_t mask = program->index_size - 1, at = instruction_hash(instruction) & mask;
  while (program->index[at] && !instruction_equal(&program->code[program->index[at] - 1], instruction)) at = (at + 1) & mask;
  return &program->index[at];
}

static void index_all(Program *program) {
  if (program->index_size < 2 * ((uint32_t)program->count + 1)) {
    program->index_size = MAX(program->index_size * 2, (uint32_t)256);
    while (program->index_size < 2 * ((uint32_t)program->count + 1)) program->index_size *= 2;
    program->index = arena_array(program->arena, int, program->index_size);
    program->indexed = 0;
  }
  for (; program->indexed < program->count; program->indexed++)
    *index_slot(program, &program->code[program->indexed]) = program->indexed + 1;
}

// Whoever changes instructions or leaves some out drops the index.
static void drop_index(Program *program) {
  program->index = NULL;
  program->index_size = 0;
  program->indexed = 0;
}

static int find(Program *program, const Instruction *instruction) {
  if (program->count > LOOKED_THROUGH) {
    index_all(program);
    return *index_slot(program, instruction) - 1;
  }
  for (int i = 0; i < program->count; i++)
    if (instruction_equal(&program->code[i], instruction)) return i;
  return -1;
}

static int append(Program *program, Instruction instruction) {
  budget_step((uint64_t)MIN(program->count, LOOKED_THROUGH) / 4 + 4);
  int same = find(program, &instruction);
  if (same >= 0) return same;
  if (program->count == (int)program->capacity)
    program->code =
        arena_grow(program->arena, program->code, sizeof *program->code, (size_t)program->count, &program->capacity);
  program->code[program->count] = instruction;
  return program->count++;
}

int program_instruction(Program *program, Instruction instruction) { return append(program, instruction); }

int program_input(Program *program, int input, DType dtype) {
  program->input_count = MAX(program->input_count, input + 1);
  return append(program, (Instruction){.op = OP_input, .dtype = dtype, .args = {input}});
}

int program_const_f(Program *program, DType dtype, double value) {
  if (!dtype_is_float(dtype)) return program_const_i(program, dtype, (int64_t)value);
  return append(program, (Instruction){.op = OP_const, .dtype = dtype, .number = value});
}

// The value as the dtype holds it: wrapped, sign-extended.
static int64_t wrap(DType dtype, int64_t value) {
  if (dtype_kind(dtype) == KIND_BOOL) return value != 0;
  int unused = 64 - dtype_bits(dtype);
  uint64_t shifted = (uint64_t)value << unused;
  return dtype_kind(dtype) == KIND_SIGNED ? (int64_t)shifted >> unused : (int64_t)(shifted >> unused);
}

int program_const_i(Program *program, DType dtype, int64_t value) {
  if (dtype_is_float(dtype)) return program_const_f(program, dtype, (double)value);
  return append(program, (Instruction){.op = OP_const, .dtype = dtype, .integer = wrap(dtype, value)});
}

int program_const(Program *program, DType dtype, double value) {
  if (dtype_is_float(dtype)) return program_const_f(program, dtype, value);
  if (dtype_kind(dtype) == KIND_BOOL) return program_const_i(program, dtype, value != 0);
  // Above the range of int64_t only u64 makes sense.
  return program_const_i(program, dtype, value >= 0x1p63 ? (int64_t)(uint64_t)value : (int64_t)value);
}

int program_index(Program *program, DType dtype, int axis) {
  return append(program, (Instruction){.op = OP_index, .dtype = dtype, .args = {axis}});
}

int program_extent(Program *program, DType dtype, int axis) {
  return append(program, (Instruction){.op = OP_extent, .dtype = dtype, .args = {axis}});
}

int program_row_extent(Program *program, DType dtype) {
  return append(program, (Instruction){.op = OP_row_extent, .dtype = dtype});
}

int program_cast_with(Program *program, DType dtype, int a, int64_t flags) {
  if (program->code[a].dtype == dtype) return a;
  return append(program, (Instruction){.op = OP_cast, .dtype = dtype, .args = {a}, .integer = flags});
}

int program_cast(Program *program, DType dtype, int a) {
  bool narrow_float = dtype_is_float(dtype) && dtype_bits(dtype) <= 8;
  return program_cast_with(program, dtype, a, narrow_float ? CAST_SATURATE : 0);
}

static DType result_dtype(const Program *program, Opcode op, int a, int b) {
  switch (infos[op].result) {
    case RESULT_BOOL: return DTYPE_BOOL;
    case RESULT_SELECT: return program->code[b].dtype;
    default: return program->code[a].dtype;
  }
}

int program_op1(Program *program, Opcode op, int a) {
  return append(program, (Instruction){.op = op, .dtype = result_dtype(program, op, a, a), .args = {a}});
}

int program_op2(Program *program, Opcode op, int a, int b) {
  return append(program, (Instruction){.op = op, .dtype = result_dtype(program, op, a, b), .args = {a, b}});
}

int program_op3(Program *program, Opcode op, int a, int b, int c) {
  return append(program, (Instruction){.op = op, .dtype = result_dtype(program, op, a, b), .args = {a, b, c}});
}

int program_reduce(Program *program, Opcode op, int a, DType result) {
  DType dtype = infos[op].result == RESULT_SAME ? program->code[a].dtype : result;
  return append(program, (Instruction){.op = op, .dtype = dtype, .args = {a}});
}

void program_output(Program *program, int instruction) {
  int count = program->output_count;
  if ((count & (count - 1)) == 0) {  // full at powers of two
    int *outputs = arena_array(program->arena, int, (size_t)MAX(2 * count, 1));
    if (count) memcpy(outputs, program->outputs, sizeof(int) * (size_t)count);
    program->outputs = outputs;
  }
  program->outputs[program->output_count++] = instruction;
}

// Of input, index and extent, args[0] is something else.
static bool has_operands(Opcode op) { return infos[op].arity > 0; }

static Instruction renumbered(Instruction instruction, const int *map) {
  for (int k = 0; k < infos[instruction.op].arity; k++) instruction.args[k] = map[instruction.args[k]];
  return instruction;
}

void program_append(Program *program, const Program *other, const int *input_map, int *result_map) {
  for (int i = 0; i < other->count; i++) {
    Instruction instruction = other->code[i];
    if (instruction.op == OP_input) result_map[i] = program_input(program, input_map[instruction.args[0]], instruction.dtype);
    else result_map[i] = append(program, renumbered(instruction, result_map));
  }
}

void program_inline(Program *consumer, int replaced, const Program *producer, int output, const int *input_map) {
  Program old = *consumer;
  consumer->code = NULL;
  consumer->count = 0;
  consumer->capacity = 0;
  drop_index(consumer);
  int *map = arena_array(consumer->arena, int, (size_t)MAX(producer->count, old.count));
  program_append(consumer, producer, input_map, map);
  int result = map[producer->outputs[output]];
  for (int i = 0; i < old.count; i++) {
    Instruction instruction = old.code[i];
    if (instruction.op == OP_input && instruction.args[0] == replaced)
      map[i] = program_cast(consumer, instruction.dtype, result);
    else map[i] = append(consumer, renumbered(instruction, map));
  }
  for (int i = 0; i < consumer->output_count; i++) consumer->outputs[i] = map[consumer->outputs[i]];
}

int program_prune(Program *program, int *used) {
  int *map = arena_array(program->arena, int, (size_t)program->count);  // 1 where needed, then the new number
  for (int i = 0; i < program->output_count; i++) map[program->outputs[i]] = 1;
  for (int i = 0; i < program->input_count; i++) used[i] = -1;
  for (int i = program->count - 1; i >= 0; i--) {
    const Instruction *instruction = &program->code[i];
    if (!map[i]) continue;
    for (int k = 0; k < infos[instruction->op].arity; k++) map[instruction->args[k]] = 1;
    if (instruction->op == OP_input) used[instruction->args[0]] = 0;
  }
  int inputs = 0;
  for (int i = 0; i < program->input_count; i++)
    if (used[i] == 0) used[i] = inputs++;
  int kept = 0;
  for (int i = 0; i < program->count; i++) {
    if (!map[i]) continue;
    Instruction instruction = renumbered(program->code[i], map);
    if (instruction.op == OP_input) instruction.args[0] = used[instruction.args[0]];
    map[i] = kept;
    program->code[kept++] = instruction;
  }
  program->count = kept;
  drop_index(program);
  for (int i = 0; i < program->output_count; i++) program->outputs[i] = map[program->outputs[i]];
  program->input_count = inputs;
  return inputs;
}

bool program_is_identity(const Program *program) {
  if (program->output_count != 1) return false;
  const Instruction *result = &program->code[program->outputs[0]];
  return result->op == OP_input && result->args[0] == 0;
}

bool program_has_reduction(const Program *program) {
  for (int i = 0; i < program->count; i++)
    if (infos[program->code[i].op].reduces) return true;
  return false;
}

void program_levels(const Program *program, uint8_t *level) {
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    const OpcodeInfo *info = &infos[instruction->op];
    level[i] = instruction->op == OP_input || instruction->op == OP_index;
    if (info->reduces) continue;
    for (int k = 0; k < info->arity; k++) level[i] |= level[instruction->args[k]];
  }
}

static int dtype_class(DType dtype) {
  switch (dtype_kind(dtype)) {
    case KIND_FLOAT: return CLASS_F;
    case KIND_SIGNED: return CLASS_I;
    case KIND_UNSIGNED: return CLASS_U;
    case KIND_BOOL: return CLASS_B;
    default: return 0;
  }
}

// Floats of 32 bits and less are all computed in float, so they mix.
static bool agree(DType a, DType b) {
  if (a == b) return true;
  return dtype_is_float(a) && dtype_is_float(b) && dtype_bits(a) <= 32 && dtype_bits(b) <= 32;
}

static Status check_instruction(const Program *program, int i) {
  const Instruction *instruction = &program->code[i];
  if ((unsigned)instruction->op >= OPCODE_COUNT) FAIL(ERROR_INVALID_MODEL, "%%%d has no opcode", i);
  const OpcodeInfo *info = &infos[instruction->op];
  if ((unsigned)instruction->dtype >= DTYPE_COUNT || !dtype_class(instruction->dtype))
    FAIL(ERROR_INVALID_MODEL, "%%%d = %s cannot have this type: programs compute numbers and bools", i, info->name);
  const DType *operand[3] = {0};
  for (int k = 0; k < info->arity; k++) {
    if (instruction->args[k] < 0 || instruction->args[k] >= i)
      FAIL(ERROR_INVALID_MODEL, "%%%d = %s uses %%%d, which is not an earlier instruction", i, info->name,
           instruction->args[k]);
    operand[k] = &program->code[instruction->args[k]].dtype;
    bool condition = info->result == RESULT_SELECT && k == 0;
    int classes = condition ? CLASS_B : info->classes;
    if (!(dtype_class(*operand[k]) & classes))
      FAIL(ERROR_INVALID_MODEL, "%%%d = %s does not take an operand of type %s", i, info->name, dtype_name(*operand[k]));
    int first = info->result == RESULT_SELECT ? 1 : 0;
    if (k > first && !agree(*operand[first], *operand[k]))
      FAIL(ERROR_INVALID_MODEL, "%%%d = %s has operands of types %s and %s, which should agree", i, info->name,
           dtype_name(*operand[first]), dtype_name(*operand[k]));
  }
  if (has_operands(instruction->op) && info->result != RESULT_DECLARED) {
    DType expected = result_dtype(program, instruction->op, instruction->args[0], instruction->args[1]);
    if (instruction->dtype != expected)
      FAIL(ERROR_INVALID_MODEL, "%%%d = %s has type %s where its operands give %s", i, info->name,
           dtype_name(instruction->dtype), dtype_name(expected));
  }
  if (!has_operands(instruction->op) && !(dtype_class(instruction->dtype) & info->classes))
    FAIL(ERROR_INVALID_MODEL, "%%%d = %s cannot have type %s", i, info->name, dtype_name(instruction->dtype));
  if (instruction->op == OP_input && (instruction->args[0] < 0 || instruction->args[0] >= program->input_count))
    FAIL(ERROR_INVALID_MODEL, "%%%d reads input %d of %d", i, instruction->args[0], program->input_count);
  if ((instruction->op == OP_index || instruction->op == OP_extent) &&
      (instruction->args[0] < 0 || instruction->args[0] >= MAX_RANK))
    FAIL(ERROR_INVALID_MODEL, "%%%d = %s of axis %d: axes are 0 to %d", i, info->name, instruction->args[0], MAX_RANK - 1);
  if (info->reduces && info->result == RESULT_DECLARED && !(dtype_class(instruction->dtype) & CLASS_INT))
    FAIL(ERROR_INVALID_MODEL, "%%%d = %s gives an integer, not %s", i, info->name, dtype_name(instruction->dtype));
  return OK;
}

Status program_check(const Program *program) {
  for (int i = 0; i < program->count; i++) TRY(check_instruction(program, i));
  if (program->output_count < 1) FAIL(ERROR_INVALID_MODEL, "the program yields nothing");
  for (int i = 0; i < program->output_count; i++)
    if (program->outputs[i] < 0 || program->outputs[i] >= program->count)
      FAIL(ERROR_INVALID_MODEL, "the program yields %%%d, which it does not have", program->outputs[i]);
  return OK;
}

bool program_equal(const Program *a, const Program *b) {
  if (a->input_count != b->input_count || a->count != b->count || a->output_count != b->output_count) return false;
  for (int i = 0; i < a->count; i++)
    if (!instruction_equal(&a->code[i], &b->code[i])) return false;
  for (int i = 0; i < a->output_count; i++)
    if (a->outputs[i] != b->outputs[i]) return false;
  return true;
}
