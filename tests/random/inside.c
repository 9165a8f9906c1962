// See inside.h.
#include "tests/random/inside.h"

#include <float.h>

static bool is_exact(Opcode op) {
  switch (op) {
    case OP_const:
    case OP_input:
    case OP_index:
    case OP_extent:
    case OP_row_extent:
    case OP_cast:
    case OP_reduce_max:
    case OP_reduce_min:
    case OP_mod:
    case OP_fmod:
    case OP_min:
    case OP_max:
    case OP_neg:
    case OP_abs:
    case OP_sign:
    case OP_select:
    case OP_floor:
    case OP_ceil:
    case OP_round:
    case OP_trunc:
    case OP_relu: return true;
    default: return false;
  }
}

static int add_factor(Inside *inside, Program *program, int value, DType dtype) {
  // A number of its own keeps it from being shared with a constant that is like it.
  int factor = program_const_f(program, dtype, -0x1p500 * (inside->count + 1.0));
  double unit = (dtype == DTYPE_F64 ? DBL_EPSILON : (double)FLT_EPSILON) / 2;
  *ARENA_PUSH(inside->arena, inside->factors, inside->count, inside->capacity) = (InsideFactor){program, factor, unit};
  return program_op2(program, OP_mul, value, factor);
}

Program *inside_open(Inside *inside, const Program *program) {
  Program *out = program_new(inside->arena, program->input_count);
  uint32_t first = inside->count;
  int *map = arena_array(inside->arena, int, program->count);
  for (int i = 0; i < program->count; i++) {
    Instruction in = program->code[i];
    for (int k = 0; k < opcode_info(in.op)->arity; k++) in.args[k] = map[in.args[k]];
    map[i] = program_instruction(out, in);
    if (dtype_is_float(in.dtype) && !is_exact(in.op)) map[i] = add_factor(inside, out, map[i], in.dtype);
  }
  for (int i = 0; i < program->output_count; i++) program_output(out, map[program->outputs[i]]);
  for (uint32_t i = first; i < inside->count; i++) out->code[inside->factors[i].instruction].number = 1;
  return out;
}

void inside_shake(const Inside *inside, Draw *draw, double units) {
  for (uint32_t i = 0; i < inside->count; i++) {
    const InsideFactor *factor = &inside->factors[i];
    factor->program->code[factor->instruction].number = 1 + draw_direction(draw) * units * factor->unit;
  }
}
