// Instructions as text: one statement each, in SSA form, named by number. The expression of an opcode comes from the table
// in ir/opcodes.inc with its letters a, b, c replaced; casts and constants are spelled here because they depend on types.
#include "kernels/program/generate.h"
#include <ctype.h>
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/half.h"

const char *value_type(DType dtype) {
  static const char *const types[DTYPE_COUNT] = {
      [DTYPE_F64] = "double", [DTYPE_I8] = "int",    [DTYPE_I16] = "int",         [DTYPE_I32] = "int",
      [DTYPE_I64] = "i64",    [DTYPE_U8] = "u32",    [DTYPE_U16] = "u32",         [DTYPE_U32] = "u32",
      [DTYPE_U64] = "u64",    [DTYPE_I4] = "int",    [DTYPE_I2] = "int",          [DTYPE_U4] = "u32",
      [DTYPE_U2] = "u32",     [DTYPE_BOOL] = "bool", [DTYPE_C64] = "ElementPair", [DTYPE_C128] = "ElementQuad",
  };
  return types[dtype] ? types[dtype] : "float";
}

char *stored_expression(Arena *arena, DType to, DType from, const char *value) {
  const char *element = dtype_name(to);
  if (dtype_is_float(to) && strcmp(value_type(to), value_type(from)) != 0) {
    if (to == DTYPE_F16 && from == DTYPE_F64) return arena_printf(arena, "f16_from_double(%s)", value);
    return arena_printf(arena, "Element_%s::set((%s)%s)", element, value_type(to), value);
  }
  return arena_printf(arena, "Element_%s::set(%s)", element, value);
}

// --- Constants

// As bits, because printf's decimal point follows the process's locale; small whole numbers are written plainly.
static char *float_literal(Arena *arena, DType dtype, double value) {
  bool whole = fabs(value) < 1e6 && value == trunc(value) && !(value == 0 && signbit(value));
  if (whole) return arena_printf(arena, value < 0 ? "(%d.0%s)" : "%d.0%s", (int)value, dtype == DTYPE_F64 ? "" : "f");
  if (dtype != DTYPE_F64) return arena_printf(arena, "float_of_bits(0x%08xu /* %g */)", float_bits((float)value), value);
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return arena_printf(arena, "__longlong_as_double(0x%016llxll /* %g */)", (unsigned long long)bits, value);
}

static char *integer_literal(Arena *arena, DType dtype, int64_t value) {
  const char *type = value_type(dtype);
  if (dtype == DTYPE_BOOL) return arena_string(arena, value ? "true" : "false");
  if (strcmp(type, "u64") == 0) return arena_printf(arena, "%lluull", (unsigned long long)value);
  if (strcmp(type, "u32") == 0) return arena_printf(arena, "%uu", (unsigned)value);
  if (strcmp(type, "i64") == 0) {
    if (value == INT64_MIN) return arena_string(arena, "(-9223372036854775807ll - 1)");
    return arena_printf(arena, value < 0 ? "(%lldll)" : "%lldll", (long long)value);
  }
  if (value == INT32_MIN) return arena_string(arena, "(-2147483647 - 1)");
  return arena_printf(arena, value < 0 ? "(%d)" : "%d", (int)value);
}

// --- Expressions

// Replaces the identifiers a, b, c (the operands) and T (their type) in an opcode's expression.
static void add_expression(Text *text, const char *expression, const char *const operands[3], const char *type) {
  for (const char *p = expression; *p;) {
    if (!isalpha((unsigned char)*p) && *p != '_') {
      text_add_n(text, p++, 1);
      continue;
    }
    const char *end = p;
    while (isalnum((unsigned char)*end) || *end == '_') end++;
    if (end - p == 1 && *p >= 'a' && *p <= 'c' && operands[*p - 'a']) text_add(text, "%s", operands[*p - 'a']);
    else if (end - p == 1 && *p == 'T') text_add(text, "%s", type);
    else text_add_n(text, p, (size_t)(end - p));
    p = end;
  }
}

// Integers wrap to their width. Signed overflow is undefined in C++, so what can overflow is computed unsigned.
static bool overflows(Opcode op) { return op == OP_add || op == OP_sub || op == OP_mul || op == OP_neg; }

static bool jumps(const Program *program, const Instruction *instruction) {
  const OpcodeInfo *info = opcode_info(instruction->op);
  if (!info->arity || !dtype_is_float(program->code[instruction->args[0]].dtype)) return false;
  switch (instruction->op) {
    case OP_floor:
    case OP_ceil:
    case OP_round:
    case OP_trunc:
    case OP_sign:
    case OP_mod:
    case OP_fmod: return true;
    case OP_cast: return dtype_bits(instruction->dtype) < 16 || !dtype_is_float(instruction->dtype);
    default: return info->result == RESULT_BOOL || !dtype_is_float(instruction->dtype);
  }
}

bool program_is_narrow(const Program *program, int output_count, const TensorDesc *outputs) {
  for (int i = 0; i < output_count; i++)
    if (outputs[i].dtype != DTYPE_F16 && outputs[i].dtype != DTYPE_BF16) return false;
  for (int i = 0; program && i < program->count; i++)
    if (jumps(program, &program->code[i])) return false;
  return true;
}

// See scalar.cuh; NULL: there is none.
static const char *narrow_expression(Opcode op) {
  switch (op) {
    case OP_exp: return "narrow_exp(a)";
    case OP_tanh: return "narrow_tanh(a)";
    case OP_erf: return "narrow_erf(a)";
    case OP_sigmoid: return "narrow_sigmoid(a)";
    default: return NULL;
  }
}

static void add_operation(Text *text, const Program *program, const Instruction *instruction, bool narrow,
                          const char **values) {
  const OpcodeInfo *info = opcode_info(instruction->op);
  DType dtype = instruction->dtype;
  const char *operands[3] = {0};
  bool wraps = dtype_is_integer(dtype) && info->result == RESULT_SAME;
  bool as_unsigned = wraps && dtype_kind(dtype) == KIND_SIGNED && overflows(instruction->op);
  for (int k = 0; k < info->arity; k++) {
    operands[k] = values[instruction->args[k]];
    if (as_unsigned) operands[k] = arena_printf(text->arena, "(%s)%s", dtype == DTYPE_I64 ? "u64" : "u32", operands[k]);
  }
  const char *type = value_type(program->code[instruction->args[info->result == RESULT_SELECT]].dtype);
  if (wraps) text_add(text, "Element_%s::wrap((%s)(", dtype_name(dtype), as_unsigned && dtype != DTYPE_I64 ? "int" : "i64");
  bool single = dtype_is_float(dtype) && dtype != DTYPE_F64;
  const char *approximate = narrow && single ? narrow_expression(instruction->op) : NULL;
  add_expression(text, approximate ? approximate : info->expression, operands, type);
  if (wraps) text_add(text, "))");
}

static void add_float_cast(Text *text, DType to, DType from, const char *value, int64_t flags) {
  if (to == DTYPE_F32 || to == DTYPE_F64) {
    text_add(text, "(%s)%s", value_type(to), value);
  } else if (to == DTYPE_F16 && from == DTYPE_F64) {
    text_add(text, "to_float(f16_from_double(%s))", value);
  } else if (to == DTYPE_F8E8M0) {
    text_add(text, "Element_f8e8m0::round_towards<%d>((float)%s, %s)", (int)(flags >> CAST_ROUNDING_SHIFT), value,
             flags & CAST_SATURATE ? "true" : "false");
  } else if (dtype_bits(to) <= 8) {
    text_add(text, flags & CAST_SATURATE ? "Element_%s::round_saturate((float)%s)" : "to_float(from_float<%s>((float)%s))",
             dtype_name(to), value);
  } else {
    text_add(text, "Element_%s::round((float)%s)", dtype_name(to), value);
  }
}

static void add_cast(Text *text, DType to, DType from, const char *value, int64_t flags) {
  if (dtype_is_float(to)) add_float_cast(text, to, from, value, flags);
  else if (to == DTYPE_BOOL) text_add(text, "%s != 0", value);
  else if (dtype_is_float(from))
    text_add(text, "element_%s<Element_%s>(%s)", flags & CAST_SATURATE ? "saturate" : "truncate", dtype_name(to), value);
  else text_add(text, "Element_%s::wrap((i64)%s)", dtype_name(to), value);
}

// Inputs arrive in the type their storage computes in; floats of another width convert.
static void add_input(Text *text, const ProgramNames *names, const Instruction *instruction) {
  int input = instruction->args[0];
  bool same = strcmp(value_type(names->input_dtypes[input]), value_type(instruction->dtype)) == 0;
  if (!same) text_add(text, "(%s)", value_type(instruction->dtype));
  text_add(text, "%s", names->inputs[input]);
}

static void add_number(Text *text, DType dtype, const char *expression) {
  if (dtype_is_integer(dtype)) text_add(text, "Element_%s::wrap((i64)%s)", dtype_name(dtype), expression);
  else text_add(text, "(%s)%s", value_type(dtype), expression);
}

void instruction_emit_cuda(Text *text, const Program *program, int index, const ProgramNames *names, const char **values) {
  const Instruction *instruction = &program->code[index];
  DType dtype = instruction->dtype;
  if (instruction->op == OP_const) {
    values[index] = dtype_is_float(dtype) ? float_literal(text->arena, dtype, instruction->number)
                                          : integer_literal(text->arena, dtype, instruction->integer);
    return;
  }
  char *name = arena_printf(text->arena, "%s%d", names->prefix, index);
  text_add(text, "const %s %s = ", value_type(dtype), name);
  switch (instruction->op) {
    case OP_input: add_input(text, names, instruction); break;
    case OP_index: add_number(text, dtype, names->indices[instruction->args[0]]); break;
    case OP_extent: add_number(text, dtype, names->extents[instruction->args[0]]); break;
    case OP_row_extent: add_number(text, dtype, names->row_extent); break;
    case OP_cast:
      add_cast(text, dtype, program->code[instruction->args[0]].dtype, values[instruction->args[0]], instruction->integer);
      break;
    default: add_operation(text, program, instruction, names->narrow, values); break;
  }
  text_add(text, ";\n");
  values[index] = name;
}

void program_needed(const Program *program, bool *needed) {
  memset(needed, 0, sizeof *needed * (size_t)program->count);
  for (int i = 0; i < program->output_count; i++) needed[program->outputs[i]] = true;
  for (int i = program->count - 1; i >= 0; i--) {
    const OpcodeInfo *info = opcode_info(program->code[i].op);
    for (int k = 0; needed[i] && k < info->arity; k++) needed[program->code[i].args[k]] = true;
  }
}

void program_emit_cuda(Text *text, const Program *program, const ProgramNames *names, const char **results) {
  const char **values = arena_array(text->arena, const char *, (size_t)program->count);
  bool *needed = arena_array(text->arena, bool, (size_t)program->count);
  program_needed(program, needed);
  for (int i = 0; i < program->count; i++)
    if (needed[i]) instruction_emit_cuda(text, program, i, names, values);
  for (int i = 0; i < program->output_count; i++) results[i] = values[program->outputs[i]];
}

// Of the result's axes that the program asks for.
static const char *const *extents_read(const Program *program, const TensorDesc *result, KernelArguments *arguments) {
  const char **texts = arena_array(arguments->arena, const char *, (size_t)result->rank + 1);
  for (int i = 0; i < program->count; i++) {
    if (program->code[i].op != OP_extent) continue;
    int axis = program->code[i].args[0];
    texts[axis] = extent_text(arguments, desc_extent_in(arguments->table, result, axis), true);
  }
  return texts;
}

// What a program does with one element as a function of its inputs: of `first`, an expression whose parameter the text already declares, and of operands as stored, numbered in the site from
// `operand` on.
static Status function_emit(Text *text, const Site *site, const Program *program, const TensorDesc *result, const char *first,
                            DType first_dtype, int operand, KernelArguments *arguments) {
  Arena *arena = text->arena;
  if (program_has_reduction(program))
    FAIL(ERROR_INTERNAL, "a program that is fused with a %s has a reduction", site->node->op->name);
  const char **inputs = arena_array(arena, const char *, (size_t)program->input_count);
  DType *dtypes = arena_array(arena, DType, (size_t)program->input_count);
  const char *indices[MAX_RANK];
  inputs[0] = first;
  dtypes[0] = first_dtype;
  for (int i = 1; i < program->input_count; i++) {
    dtypes[i] = site->inputs[operand + i - 1].dtype;
    text_add(text, ", Element_%s::Stored e%d", dtype_name(dtypes[i]), i);
    inputs[i] = arena_printf(arena, "Element_%s::get(e%d)", dtype_name(dtypes[i]), i);
  }
  for (int i = 0; i < result->rank; i++) {
    if (program_has(program, OP_index)) text_add(text, ", i64 i%d", i);
    indices[i] = arena_printf(arena, "i%d", i);
  }
  text_add(text, "%s) {\n", arguments->table ? ", const Dims &dims" : "");
  const char *value;
  ProgramNames names = {
      inputs, dtypes, indices, extents_read(program, result, arguments), "1ll", "v", program_is_narrow(program, 1, result)};
  program_emit_cuda(text, program, &names, &value);
  DType from = program->code[program->outputs[0]].dtype;
  text_add(text, "  return %s;\n}\n", stored_expression(arena, result->dtype, from, value));
  return OK;
}

Status epilogue_program_emit(Text *text, const Site *site, DType accumulator, KernelArguments *arguments) {
  const TensorDesc *y = &site->outputs[0];
  text_add(text, "DEVICE Element_%s::Stored epilogue(%s acc", dtype_name(y->dtype), value_type(accumulator));
  if (site->epilogue)
    return function_emit(text, site, site->epilogue, y, "acc", accumulator, site->node->input_count, arguments);
  const char *value = dtype_is_float(y->dtype) ? "acc" : arena_printf(text->arena, "(%s)acc", value_type(y->dtype));
  text_add(text, ") { return %s; }\n", stored_expression(text->arena, y->dtype, accumulator, value));
  return OK;
}

Status prologue_program_emit(Text *text, const Site *site) {
  const TensorDesc *x = &site->inputs[0];
  const char *name = dtype_name(x->dtype);
  text_add(text, "DEVICE Element_%s::Stored prologue(Element_%s::Stored e0", name, name);
  return function_emit(text, site, site->prologue, x, arena_printf(text->arena, "Element_%s::get(e0)", name), x->dtype,
                       site_prologue_input(site, 1), &(KernelArguments){.arena = text->arena});
}
