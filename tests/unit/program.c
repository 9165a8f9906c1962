// Scalar programs: building, joining, pruning, checking, and the text form.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include "ir/program.h"

static Arena *arena;
static void setup(void) { arena = arena_new(); }
static void teardown(void) { arena_free(arena); }
TestSuite(program, .init = setup, .fini = teardown);

static const char *text_of(const Program *program) {
  Text text = text_new(arena);
  program_print(&text, program);
  return text_get(&text);
}

static Program *parsed(const char *text) {
  const char *cursor = text;
  Program *program = NULL;
  Status status = program_parse(arena, &cursor, &program);
  cr_assert(!status, "%s: %s", text, status ? status_message(status) : "");
  cr_assert_eq(*cursor, 0);
  return program;
}

Test(program, prints_as_written) {
  Program *p = program_new(arena, 2);
  int x = program_input(p, 0, DTYPE_F32), y = program_input(p, 1, DTYPE_F32);
  int sum = program_op2(p, OP_add, x, y);
  cr_assert_eq(program_op2(p, OP_add, x, y), sum, "identical instructions are shared");
  program_output(p, program_cast(p, DTYPE_F16, program_op1(p, OP_relu, sum)));
  cr_assert_str_eq(text_of(p),
                   "{%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; %3 = relu %2; %4: f16 = cast %3; yield %4}");
  cr_assert(!program_check(p));
}

Test(program, text_round_trip) {
  Program *p = program_new(arena, 5);
  const double numbers[] = {
      0.0,    -0.0,     1.5, 0.1, (double)0.1f, 1e-310, -1.7976931348623157e308, 1e21, INFINITY, -INFINITY, 3.14159265358979,
      5e-324, 1.0 / 3.0};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) program_const_f(p, DTYPE_F64, numbers[i]);
  program_const_f(p, DTYPE_F64, NAN);
  program_const_i(p, DTYPE_I64, INT64_MIN);
  program_const_i(p, DTYPE_U64, -1);
  program_const_i(p, DTYPE_I8, 200);
  program_const_i(p, DTYPE_BOOL, 3);
  int x = program_input(p, 1, DTYPE_F32);
  program_index(p, DTYPE_I64, 7);
  program_extent(p, DTYPE_F32, 2);
  program_row_extent(p, DTYPE_I64);
  program_cast(p, DTYPE_F8E4M3FN, x);
  program_cast_with(p, DTYPE_F8E5M2, x, 0);
  program_cast_with(p, DTYPE_F8E8M0, x, CAST_SATURATE | 2 << CAST_ROUNDING_SHIFT);
  program_cast_with(p, DTYPE_F8E8M0, x, 1 << CAST_ROUNDING_SHIFT);
  program_cast(p, DTYPE_I32, x);
  int most = program_reduce(p, OP_reduce_argmax_last, x, DTYPE_I64);
  int total = program_reduce(p, OP_reduce_sum, x, DTYPE_I64);
  cr_assert_eq(p->code[total].dtype, DTYPE_F32);
  program_output(p, most);
  program_output(p, program_op3(p, OP_select, program_op2(p, OP_lt, x, total), total, x));
  program_output(p, most);
  Status status = program_check(p);
  cr_assert(!status, "%s", status ? status_message(status) : "");
  Program *again = parsed(text_of(p));
  cr_assert(program_equal(p, again), "%s\n%s", text_of(p), text_of(again));
  cr_assert_eq(again->input_count, 5);
  cr_assert(program_equal(p, program_copy(arena, p)));
}

Test(program, every_opcode_round_trips) {
  for (int op = 0; op < OPCODE_COUNT; op++) {
    const OpcodeInfo *info = opcode_info((Opcode)op);
    Opcode found;
    cr_assert(opcode_parse(info->name, &found) && found == (Opcode)op);
    if (info->arity == 0 || op == OP_cast) continue;
    Program *p = program_new(arena, 3);
    DType dtype = info->classes & CLASS_F ? DTYPE_F32 : DTYPE_I32;
    int args[3];
    for (int k = 0; k < 3; k++) args[k] = program_input(p, k, op == OP_select && k == 0 ? DTYPE_BOOL : dtype);
    int result = info->reduces      ? program_reduce(p, (Opcode)op, args[0], DTYPE_I64)
                 : info->arity == 1 ? program_op1(p, (Opcode)op, args[0])
                 : info->arity == 2 ? program_op2(p, (Opcode)op, args[0], args[1])
                                    : program_op3(p, (Opcode)op, args[0], args[1], args[2]);
    program_output(p, result);
    cr_assert(!program_check(p), "%s", info->name);
    cr_assert(program_equal(p, parsed(text_of(p))), "%s", text_of(p));
  }
}

Test(program, inline_and_prune) {
  Program *producer = parsed("{%0: f32 = input 0; %1: f32 = input 1; %2 = mul %0 %1; %3 = exp %0; yield %3 %2}");
  Program *consumer = parsed("{%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2 %1}");
  program_inline(consumer, 1, producer, 1, (int[]){2, 0});
  cr_assert(!program_check(consumer));
  cr_assert_eq(consumer->input_count, 3);
  int used[3];
  cr_assert_eq(program_prune(consumer, used), 2);
  cr_assert_eq(used[0], 0);
  cr_assert_eq(used[1], -1);
  cr_assert_eq(used[2], 1);
  cr_assert_str_eq(text_of(consumer), "{%0: f32 = input 1; %1: f32 = input 0; %2 = mul %0 %1; %3 = add %1 %2; yield %3 %2}");
}

Test(program, inline_casts_to_what_the_consumer_reads) {
  Program *producer = parsed("{%0: f32 = input 0; %1 = exp %0; yield %1}");
  Program *consumer = parsed("{%0: f16 = input 0; %1 = neg %0; yield %1}");
  program_inline(consumer, 0, producer, 0, (int[]){0});
  cr_assert_str_eq(text_of(consumer), "{%0: f32 = input 0; %1 = exp %0; %2: f16 = cast %1; %3 = neg %2; yield %3}");
}

Test(program, levels) {
  Program *p = parsed(
      "{%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; %3: f32 = const 2; %4 = mul %1 %3; %5: i64 = index 0; "
      "%6: f32 = extent 1; yield %2 %4}");
  uint8_t level[7];
  program_levels(p, level);
  const uint8_t expected[7] = {1, 0, 1, 0, 0, 1, 0};
  cr_assert_arr_eq(level, expected, 7);
  cr_assert(program_has_reduction(p));
  cr_assert(!program_is_identity(p));
  cr_assert(program_is_identity(parsed("{%0: f32 = input 0; yield %0}")));
}

Test(program, refuses) {
  const char *bad[] = {
      "",
      "{yield}",
      "{yield %0}",
      "{%0: f32 = input 0}",
      "{%1: f32 = input 0; yield %1}",
      "{%0: f32 = input 99999999999; yield %0}",
      "{%0 = input 0; yield %0}",
      "{%0: f32 = nonsense; yield %0}",
      "{%0: f33 = input 0; yield %0}",
      "{%0: string = input 0; yield %0}",
      "{%0: f32 = input 0; %1 = add %0 %1; yield %1}",
      "{%0: f32 = input 0; %1: i32 = input 1; %2 = add %0 %1; yield %2}",
      "{%0: f32 = input 0; %1: f64 = input 1; %2 = add %0 %1; yield %2}",
      "{%0: f32 = input 0; %1 = and %0 %0; yield %1}",
      "{%0: f32 = input 0; %1 = select %0 %0 %0; yield %1}",
      "{%0: i64 = index 16; yield %0}",
      "{%0: bool = index 1; yield %0}",
      "{%0: f32 = const ; yield %0}",
      "{%0: f32 = input 0; yield %0",
      "{%0: f32 = input 0; %1: f32 = reduce_argmax %0; yield %1}",
      "{inputs 70000; %0: f32 = input 0; yield %0}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *cursor = bad[i];
    Program *program;
    Status status = program_parse(arena, &cursor, &program);
    cr_assert(status, "accepted: %s", bad[i]);
    status_free(status);
  }
  // Mixed narrow floats are one computation class.
  parsed("{%0: f16 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2}");
}

Test(program, truncated_text_is_refused) {
  const char *whole = "{inputs 3; %0: f32 = input 0; %1: f8e8m0 = cast %0 saturate nearest; %2: i64 = const -5; yield %1 %2}";
  parsed(whole);
  for (size_t length = 0; length < strlen(whole); length++) {
    const char *cursor = arena_string_n(arena, whole, length);
    Program *program;
    Status status = program_parse(arena, &cursor, &program);
    cr_assert(status, "%zu", length);
    status_free(status);
  }
}
