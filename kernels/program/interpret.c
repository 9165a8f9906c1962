// See interpret.h. Everything that can be decided once per program is decided in strip_program_init.
#include "kernels/program/interpret.h"
#include "base/cpu_level.h"

RegisterClass register_class(DType dtype, bool precise) {
  switch (dtype_kind(dtype)) {
    case KIND_FLOAT: return precise || dtype == DTYPE_F64 ? REGISTER_F64 : REGISTER_F32;
    case KIND_SIGNED: return REGISTER_I64;
    case KIND_UNSIGNED: return REGISTER_U64;
    default: return REGISTER_BOOL;
  }
}

size_t register_size(RegisterClass class) { return class == REGISTER_F32 || class == REGISTER_BOOL ? 4 : 8; }

const StripTable *strip_table_best(void) {
  CpuLevel level = cpu_level();
  if (strip_table_avx512 && level >= CPU_AVX512) return strip_table_avx512;
  if (strip_table_avx2 && level >= CPU_AVX2) return strip_table_avx2;
  return &strip_table_generic;
}

// Results of these may not fit the integer type that their operands fit.
static bool may_overflow(Opcode op) {
  static const bool table[OPCODE_COUNT] = {
      [OP_add] = true, [OP_sub] = true, [OP_mul] = true, [OP_div] = true,       [OP_pow] = true,
      [OP_neg] = true, [OP_abs] = true, [OP_not] = true, [OP_shift_left] = true};
  return table[op];
}

// Double registers that hold values of f32 and less: steps in f32, see interpret.h.
static bool rounds_to_float(const StripProgram *strip, DType dtype) {
  return strip->precise && dtype_is_float(dtype) && dtype != DTYPE_F64;
}

// pow by a constant 2 or 3, the commonest uses, as products.
static bool power_by_products(const StripProgram *strip, const Instruction *instruction, StripStep *step) {
  if (instruction->op != OP_pow || strip->precise || !dtype_is_float(instruction->dtype)) return false;
  const Instruction *exponent = &strip->program->code[instruction->args[1]];
  if (exponent->op != OP_const || (exponent->number != 2 && exponent->number != 3)) return false;
  RegisterClass class = strip->classes[instruction->args[0]];
  step->compute = strip->table->compute[OP_mul][class];
  step->again = exponent->number == 3 ? step->compute : NULL;
  step->b = step->a;
  return true;
}

static StripStep step_of(const StripProgram *strip, const Instruction *instruction) {
  const OpcodeInfo *info = opcode_info(instruction->op);
  StripStep step = {.a = instruction->args[0], .b = instruction->args[1], .c = instruction->args[2]};
  RegisterClass from = strip->classes[instruction->args[info->arity - 1]];
  RegisterClass to = register_class(instruction->dtype, strip->precise);
  if (instruction->op == OP_cast) {
    bool from_float = from == REGISTER_F32 || from == REGISTER_F64;
    step.flags = from_float || dtype_is_float(instruction->dtype) ? (int)instruction->integer : 0;  // integers wrap
    if (from_float && dtype_is_integer(instruction->dtype)) {
      if (dtype_bits(instruction->dtype) <= 32) step.flags |= STRIP_THROUGH_I32;
      if (instruction->dtype == DTYPE_U32 || instruction->dtype == DTYPE_U64) step.flags |= STRIP_UPPER_HALF;
    }
    step.convert = strip->table->convert[from][to];
    step.narrow = strip->table->narrow[instruction->dtype][to];
    if (from == REGISTER_F32 && strip->table->quantize[to] && step.flags & CAST_SATURATE &&
        dtype_bits(instruction->dtype) <= 16) {
      step.convert = strip->table->quantize[to];
      step.narrow = NULL;
      step.flags = dtype_bits(instruction->dtype);
    }
  } else if (!power_by_products(strip, instruction, &step)) {
    step.compute = strip->table->compute[instruction->op][from];
    if (may_overflow(instruction->op) && dtype_is_integer(instruction->dtype))
      step.narrow = strip->table->narrow[instruction->dtype][to];
    if (rounds_to_float(strip, instruction->dtype) && !opcode_chooses(instruction->op))
      step.narrow = strip->table->narrow[DTYPE_F32][to];
  }
  return step;
}

void strip_program_init(StripProgram *strip, Arena *arena, const Program *program, bool precise) {
  size_t count = (size_t)program->count;
  *strip = (StripProgram){.program = program, .table = strip_table_best(), .precise = precise};
  strip->classes = arena_array(arena, RegisterClass, count);
  strip->steps = arena_array(arena, StripStep, count);
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    const OpcodeInfo *info = opcode_info(instruction->op);
    strip->classes[i] = register_class(instruction->dtype, precise);
    if (info->arity > 0 && !info->reduces) strip->steps[i] = step_of(strip, instruction);
  }
}

void program_run_strip(const StripProgram *strip, const int *list, int count, void *const *registers, int64_t n) {
  for (int k = 0; k < count; k++) {
    const Instruction *instruction = &strip->program->code[list[k]];
    void *out = registers[list[k]];
    if (instruction->op == OP_const) {
      double number = rounds_to_float(strip, instruction->dtype) ? (double)(float)instruction->number : instruction->number;
      strip_fill(strip->classes[list[k]], out, number, instruction->integer, n);
      continue;
    }
    const StripStep *step = &strip->steps[list[k]];
    const int arity = opcode_info(instruction->op)->arity;
    const void *a = registers[step->a];
    const void *b = arity > 1 ? registers[step->b] : NULL, *c = arity > 2 ? registers[step->c] : NULL;
    if (step->compute) step->compute(out, a, b, c, n);
    if (step->again) step->again(out, out, a, NULL, n);
    if (step->convert) step->convert(out, a, n, step->flags);
    if (step->narrow) step->narrow(out, out, n, step->flags);
  }
}

void strip_fill(RegisterClass class, void *out, double number, int64_t integer, int64_t n) {
  switch (class) {
    case REGISTER_F32:
      for (int64_t i = 0; i < n; i++) ((float *)out)[i] = (float)number;
      break;
    case REGISTER_F64:
      for (int64_t i = 0; i < n; i++) ((double *)out)[i] = number;
      break;
    case REGISTER_BOOL:
      for (int64_t i = 0; i < n; i++) ((int32_t *)out)[i] = integer != 0;
      break;
    default:
      for (int64_t i = 0; i < n; i++) ((int64_t *)out)[i] = integer;
  }
}
