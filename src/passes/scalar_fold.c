// See scalar_fold.h. The references compute: a program of one instruction over tensors of one element, which hold constants as kernels do.
#include "passes/scalar_fold.h"

#include "kernels/program/domain.h"

static bool rounds_well(const Instruction *instruction) {
  if (!dtype_is_float(instruction->dtype)) return true;
  switch (instruction->op) {
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_div:
    case OP_recip:
    case OP_sqrt:
    case OP_neg:
    case OP_abs:
    case OP_sign:
    case OP_min:
    case OP_max:
    case OP_floor:
    case OP_ceil:
    case OP_round:
    case OP_trunc:
    case OP_select:
    case OP_cast: return true;
    default: return false;
  }
}

static bool of_two_zeros(const Program *program, const Instruction *instruction) {
  if ((instruction->op != OP_min && instruction->op != OP_max) || !dtype_is_float(instruction->dtype)) return false;
  return program->code[instruction->args[0]].number == 0 && program->code[instruction->args[1]].number == 0;
}

Fold scalar_foldable(const Program *program, int at) {
  const Instruction *instruction = &program->code[at];
  const OpcodeInfo *info = opcode_info(instruction->op);
  if (info->arity == 0 || info->reduces) return FOLD_NOTHING;
  for (int k = 0; k < info->arity; k++)
    if (program->code[instruction->args[k]].op != OP_const) return FOLD_NOTHING;
  if (of_two_zeros(program, instruction)) return FOLD_NOTHING;
  return rounds_well(instruction) ? FOLD_EXACTLY : FOLD_ROUNDED;
}

// Floats are computed in f32 or f64, whatever they are stored as; only casts round to narrower types.
static DType held_in(DType dtype) { return dtype_is_float(dtype) && dtype != DTYPE_F64 ? DTYPE_F32 : dtype; }

static Status compute(Arena *arena, const Program *program, const Instruction *instruction, Tensor *result) {
  const int64_t one[] = {1};
  const bool kept[] = {false};
  int count = opcode_info(instruction->op)->arity;
  Tensor tensors[3];
  const Tensor *inputs[3];
  Program *alone = program_new(arena, count);
  Instruction made = *instruction;
  if (made.op != OP_cast) made.dtype = held_in(made.dtype);
  for (int k = 0; k < count; k++) {
    const Instruction *constant = &program->code[instruction->args[k]];
    TRY(tensor_new(arena, held_in(constant->dtype), 1, one, &tensors[k]));
    if (dtype_is_float(constant->dtype)) tensor_set_f(&tensors[k], 0, constant->number);
    else tensor_set_i(&tensors[k], 0, constant->integer);
    inputs[k] = &tensors[k];
    made.args[k] = program_instruction(alone, (Instruction){.op = OP_input, .dtype = tensors[k].dtype, .args = {k}});
  }
  program_output(alone, program_instruction(alone, made));
  TRY(tensor_new(arena, held_in(instruction->dtype), 1, one, result));
  return domain_compute(arena, alone, 1, one, kept, inputs, count, result);
}

int scalar_fold(Program *program, int at) {
  if (scalar_foldable(program, at) == FOLD_NOTHING) return -1;
  const Instruction instruction = program->code[at];
  Arena *arena = arena_scratch();
  Tensor result;
  Status status = compute(arena, program, &instruction, &result);
  int made = -1;
  if (!status && dtype_is_float(instruction.dtype))
    made = program_const_f(program, instruction.dtype, tensor_get_f(&result, 0));
  else if (!status) made = program_const_i(program, instruction.dtype, tensor_get_i(&result, 0));
  status_free(status);
  arena_free(arena);
  return made;
}
