// The text form of scalar programs:
//
//   {%0: f32 = input 0; %1: f32 = const 1.5; %2 = add %0 %1; %3: f16 = cast %2; yield %2 %3}
//
// Instructions are numbered from 0 in order. A type stands where operands do not give it. `{inputs 3; ...` says how many
// inputs there are where the code does not use the last. Words after a cast are its flags: saturate, down, nearest. Floats
// print as the shortest of a few forms that reads back exactly, also inf, -inf and nan, whatever the process's locale.
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ir/program.h"
#include "ir/tensor.h"

// The "C" locale of newlocale is a static object of the C library: no memory, no failure.
static locale_t plain_locale(void) { return newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static void print_number(Text *text, double value) {
  if (isnan(value)) {
    text_add(text, signbit(value) ? "-nan" : "nan");
    return;
  }
  char buffer[40];
  locale_t plain = plain_locale(), before = uselocale(plain);
  const int digits[] = {6, 9, 15, 16, 17};
  for (size_t i = 0; i < sizeof digits / sizeof *digits; i++) {
    snprintf(buffer, sizeof buffer, "%.*g", digits[i], value);
    if (strtod_l(buffer, NULL, plain) == value) break;
  }
  uselocale(before);
  freelocale(plain);
  text_add(text, "%s", buffer);
}

static int inputs_used(const Program *program) {
  int used = 0;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input && program->code[i].args[0] >= used) used = program->code[i].args[0] + 1;
  return used;
}

static const char *const rounding_names[] = {"", " down", " nearest"};

static void print_instruction(Text *text, const Instruction *instruction, int number) {
  const OpcodeInfo *info = opcode_info(instruction->op);
  text_add(text, "%%%d", number);
  if (info->result == RESULT_DECLARED) text_add(text, ": %s", dtype_name(instruction->dtype));
  text_add(text, " = %s", info->name);
  for (int k = 0; k < info->arity; k++) text_add(text, " %%%d", instruction->args[k]);
  switch (instruction->op) {
    case OP_const:
      text_add(text, " ");
      if (dtype_is_float(instruction->dtype)) print_number(text, instruction->number);
      else if (dtype_kind(instruction->dtype) == KIND_UNSIGNED)
        text_add(text, "%llu", (unsigned long long)instruction->integer);
      else text_add(text, "%lld", (long long)instruction->integer);
      break;
    case OP_input:
    case OP_index:
    case OP_extent: text_add(text, " %d", instruction->args[0]); break;
    case OP_cast:
      if (instruction->integer & CAST_SATURATE) text_add(text, " saturate");
      text_add(text, "%s", rounding_names[instruction->integer >> CAST_ROUNDING_SHIFT & 3]);
      break;
    default: break;
  }
}

void program_print(Text *text, const Program *program) {
  text_add(text, "{");
  if (inputs_used(program) != program->input_count) text_add(text, "inputs %d; ", program->input_count);
  for (int i = 0; i < program->count; i++) {
    print_instruction(text, &program->code[i], i);
    text_add(text, "; ");
  }
  text_add(text, "yield");
  for (int i = 0; i < program->output_count; i++) text_add(text, " %%%d", program->outputs[i]);
  text_add(text, "}");
}

enum { MOST_INPUTS = 1 << 16 };

static void skip_space(const char **cursor) { *cursor += strspn(*cursor, " \t\r\n"); }

static bool take(const char **cursor, char c) {
  skip_space(cursor);
  if (**cursor != c) return false;
  ++*cursor;
  return true;
}

static Status expect(const char **cursor, char c) {
  if (!take(cursor, c)) FAIL(ERROR_INVALID_MODEL, "expected '%c' in a program before '%.20s'", c, *cursor);
  return OK;
}

// A word of letters, digits and _; empty where there is none.
static void read_word(const char **cursor, char word[32]) {
  skip_space(cursor);
  size_t length = strspn(*cursor, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  size_t kept = length < 31 ? length : 31;
  memcpy(word, *cursor, kept);
  word[kept] = 0;
  *cursor += length;
}

static bool take_word(const char **cursor, const char *expected) {
  const char *start = *cursor;
  char word[32];
  read_word(cursor, word);
  if (strcmp(word, expected) == 0) return true;
  *cursor = start;
  return false;
}

static Status read_count(const char **cursor, int most, int *out) {
  skip_space(cursor);
  int value = 0;
  const char *start = *cursor;
  for (; **cursor >= '0' && **cursor <= '9'; ++*cursor) {
    value = value * 10 + (**cursor - '0');
    if (value > most) FAIL(ERROR_INVALID_MODEL, "a number in a program is above %d: '%.20s'", most, start);
  }
  if (*cursor == start) FAIL(ERROR_INVALID_MODEL, "expected a number in a program before '%.20s'", start);
  *out = value;
  return OK;
}

static Status read_number(const char **cursor, double *out) {
  skip_space(cursor);
  locale_t plain = plain_locale();
  char *end;
  *out = strtod_l(*cursor, &end, plain);
  freelocale(plain);
  if (end == *cursor) FAIL(ERROR_INVALID_MODEL, "expected a number in a program before '%.20s'", *cursor);
  *cursor = end;
  return OK;
}

static Status read_integer(const char **cursor, DType dtype, int64_t *out) {
  skip_space(cursor);
  char *end;
  if (dtype_kind(dtype) == KIND_UNSIGNED) *out = (int64_t)strtoull(*cursor, &end, 10);
  else *out = strtoll(*cursor, &end, 10);
  if (end == *cursor) FAIL(ERROR_INVALID_MODEL, "expected an integer in a program before '%.20s'", *cursor);
  *cursor = end;
  return OK;
}

static Status read_operand(const char **cursor, int *out) {
  TRY(expect(cursor, '%'));
  return read_count(cursor, INT32_MAX / 16, out);
}

static Status read_instruction(const char **cursor, Program *program, Instruction *instruction) {
  int number = 0;
  char word[32];
  TRY(read_operand(cursor, &number));
  if (number != program->count) FAIL(ERROR_INVALID_MODEL, "expected %%%d in a program, not %%%d", program->count, number);
  bool typed = take(cursor, ':');
  if (typed) {
    read_word(cursor, word);
    if (!dtype_parse(word, &instruction->dtype)) FAIL(ERROR_INVALID_MODEL, "'%s' is not an element type", word);
  }
  TRY(expect(cursor, '='));
  read_word(cursor, word);
  if (!opcode_parse(word, &instruction->op)) FAIL(ERROR_INVALID_MODEL, "'%s' is not an opcode", word);
  const OpcodeInfo *info = opcode_info(instruction->op);
  if (typed != (info->result == RESULT_DECLARED))
    FAIL(ERROR_INVALID_MODEL, "%%%d = %s %s", number, word, typed ? "takes its type from its operands" : "needs a type");
  for (int k = 0; k < info->arity; k++) {
    TRY(read_operand(cursor, &instruction->args[k]));
    if (instruction->args[k] >= number)
      FAIL(ERROR_INVALID_MODEL, "%%%d = %s uses %%%d, which is not an earlier instruction", number, word, instruction->args[k]);
  }
  if (info->result == RESULT_BOOL) instruction->dtype = DTYPE_BOOL;
  else if (!typed) instruction->dtype = program->code[instruction->args[info->result == RESULT_SELECT]].dtype;
  switch (instruction->op) {
    case OP_const:
      if (dtype_is_float(instruction->dtype)) TRY(read_number(cursor, &instruction->number));
      else TRY(read_integer(cursor, instruction->dtype, &instruction->integer));
      break;
    case OP_input: return read_count(cursor, MOST_INPUTS - 1, &instruction->args[0]);
    case OP_index:
    case OP_extent: return read_count(cursor, MAX_RANK - 1, &instruction->args[0]);
    case OP_cast:
      if (take_word(cursor, "saturate")) instruction->integer = CAST_SATURATE;
      for (int rounding = 1; rounding < 3; rounding++)
        if (take_word(cursor, rounding_names[rounding] + 1)) instruction->integer |= rounding << CAST_ROUNDING_SHIFT;
      break;
    default: break;
  }
  return OK;
}

Status program_parse(Arena *arena, const char **cursor, Program **out) {
  Program *program = program_new(arena, 0);
  TRY(expect(cursor, '{'));
  if (take_word(cursor, "inputs")) {
    TRY(read_count(cursor, MOST_INPUTS, &program->input_count));
    TRY(expect(cursor, ';'));
  }
  while (!take_word(cursor, "yield")) {
    Instruction instruction = {0};
    TRY(read_instruction(cursor, program, &instruction));
    TRY(expect(cursor, ';'));
    if (instruction.op == OP_input && instruction.args[0] >= program->input_count)
      program->input_count = instruction.args[0] + 1;
    if (program->count == (int)program->capacity)
      program->code = arena_grow(arena, program->code, sizeof *program->code, (size_t)program->count, &program->capacity);
    program->code[program->count++] = instruction;
  }
  while (!take(cursor, '}')) {
    int output = 0;
    TRY(read_operand(cursor, &output));
    program_output(program, output);
  }
  TRY(program_check(program));
  *out = program;
  return OK;
}
