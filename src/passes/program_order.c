// See program_order.h. Everything is decided by what instructions compute, nothing by where they stand, so that programs that say the same come out the same.
#include "passes/program_order.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum { COMPARED_DEPTH = 6 };  // of two as deep and alike in what is above this, the one that stood first stays first

typedef struct Order {
  const Program *from;
  Program *to;
  Arena *arena;
  const int *place;
  int *depth, *map;      // by instruction
  int *number, *listed;  // of inputs: -1 or the new one; the old ones in the new order
  int inputs;
} Order;

bool opcode_commutes(Opcode op, DType dtype) {
  switch (op) {
    case OP_add:
    case OP_mul:
    case OP_eq:
    case OP_ne:
    case OP_and:
    case OP_or:
    case OP_xor: return true;
    case OP_min:  // of two zeros either may be the result
    case OP_max: return !dtype_is_float(dtype);
    default: return false;
  }
}

static int64_t leaf_key(const Order *o, const Instruction *i) { return i->op == OP_input ? o->place[i->args[0]] : i->args[0]; }

// -0 before 0, and what is no number last: instructions that differ have an order.
static int compare_numbers(double a, double b) {
  if (isnan(a) || isnan(b)) return !!isnan(a) - !!isnan(b);
  if (a != b) return a < b ? -1 : 1;
  return !!signbit(b) - !!signbit(a);
}

// Below zero where a stands first.
static int compare(const Order *o, int a, int b, int depth) {
  const Instruction *x = &o->from->code[a], *y = &o->from->code[b];
  if (a == b || depth > COMPARED_DEPTH) return 0;
  if (o->depth[a] != o->depth[b]) return o->depth[b] - o->depth[a];
  if ((x->op == OP_const) != (y->op == OP_const)) return x->op == OP_const ? 1 : -1;
  if (x->op != y->op) return (int)x->op - (int)y->op;
  if (x->dtype != y->dtype) return (int)x->dtype - (int)y->dtype;
  int numbers = x->op == OP_const ? compare_numbers(x->number, y->number) : 0;
  if (numbers) return numbers;
  if (x->integer != y->integer) return x->integer < y->integer ? -1 : 1;
  int arity = opcode_info(x->op)->arity;
  if (arity == 0) return leaf_key(o, x) < leaf_key(o, y) ? -1 : leaf_key(o, x) > leaf_key(o, y);
  for (int k = 0; k < arity; k++) {
    int difference = compare(o, x->args[k], y->args[k], depth + 1);
    if (difference) return difference;
  }
  return 0;
}

static void measure(Order *o) {
  for (int i = 0; i < o->from->count; i++) {
    const Instruction *instruction = &o->from->code[i];
    for (int k = 0; k < opcode_info(instruction->op)->arity; k++)
      o->depth[i] = MAX(o->depth[i], o->depth[instruction->args[k]] + 1);
  }
}

// Operands in their order, in a copy of the instruction.
static Instruction ordered(const Order *o, int at) {
  Instruction instruction = o->from->code[at];
  if (opcode_info(instruction.op)->arity != 2) return instruction;
  int a = instruction.args[0], b = instruction.args[1];
  const DType type = o->from->code[a].dtype;
  // The first operand decides the type of the result.
  if (!opcode_commutes(instruction.op, type) || type != o->from->code[b].dtype || compare(o, a, b, 0) <= 0) return instruction;
  instruction.args[0] = b;
  instruction.args[1] = a;
  return instruction;
}

static void write(Order *o, int at, Instruction instruction) {
  for (int k = 0; k < opcode_info(instruction.op)->arity; k++) instruction.args[k] = o->map[instruction.args[k]];
  if (instruction.op == OP_input) {
    int *number = &o->number[instruction.args[0]];
    if (*number < 0) {
      o->listed[o->inputs] = instruction.args[0];
      *number = o->inputs++;
    }
    instruction.args[0] = *number;
  }
  o->map[at] = program_instruction(o->to, instruction);
}

// Depth first, on a stack of its own: programs may be long.
static void list(Order *o, int result) {
  int *stack = NULL;
  uint32_t count = 0, capacity = 0;
  *ARENA_PUSH(o->arena, stack, count, capacity) = result;
  while (count) {
    int at = stack[count - 1], next = -1;
    Instruction instruction = ordered(o, at);
    for (int k = opcode_info(instruction.op)->arity; k-- > 0;)
      if (o->map[instruction.args[k]] < 0) next = instruction.args[k];
    if (next >= 0) {
      *ARENA_PUSH(o->arena, stack, count, capacity) = next;
      continue;
    }
    count--;
    if (o->map[at] < 0) write(o, at, instruction);
  }
}

Program *program_in_order(Arena *arena, const Program *program, const int *place, int fixed, int *listed) {
  size_t count = (size_t)program->count, inputs = (size_t)MAX(program->input_count, 1);
  Order o = {.from = program,
             .to = program_new(program->arena, program->input_count),
             .arena = arena,
             .place = place,
             .depth = arena_array(arena, int, count),
             .map = arena_array(arena, int, count),
             .number = arena_array(arena, int, inputs),
             .listed = listed};
  memset(o.map, -1, count * sizeof *o.map);
  memset(o.number, -1, inputs * sizeof *o.number);
  measure(&o);
  for (int i = 0; i < fixed; i++) o.listed[o.inputs] = i, o.number[i] = o.inputs++;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input && program->code[i].args[0] < fixed) write(&o, i, program->code[i]);
  for (int i = 0; i < program->output_count; i++) list(&o, program->outputs[i]);
  for (int i = 0; i < program->output_count; i++) program_output(o.to, o.map[program->outputs[i]]);
  for (int i = 0; i < program->input_count; i++)
    if (o.number[i] < 0) o.listed[o.inputs++] = i;
  return o.to;
}
