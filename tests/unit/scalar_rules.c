// Each rule over scalar programs alone, text in and text out, and what it does to numbers: EXACT ones keep every bit, over the special values of every type that
// they take and random ones, the others are within their bound of what the program computes in double; on the loops of the CPU and as references compute.
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "base/hash.h"
#include "kernels/reference.h"
#include "kernels/program/strips.h"
#include "passes/scalar_rule.h"

typedef struct Bound {
  double ulp, absolute, relative;
} Bound;
typedef struct ScalarTest {
  const char *rule, *before, *after;
  Bound bound;
} ScalarTest;

static const ScalarTest tests[] = {
#define SCALAR_TEST(rule, before, after, ...) {#rule, before, after, __VA_ARGS__},
#include "tests/unit/scalar_rules.inc"
};

static const struct {
  const char *name;
  ScalarRule rule;
  Exactness exactness;
  const char *bound;
} rules[] = {
#define SCALAR_RULE(name, root, types, pattern, replacement, exactness, bound) \
  {#name, {OP_##root, types, pattern, replacement}, exactness, bound},
#include "passes/scalar_rules.inc"
};
enum { RULES = sizeof rules / sizeof *rules, ROWS = 51, ROW = 64, VALUES = ROWS * ROW };

static int rule_number(const char *name) {
  for (int i = 0; i < RULES; i++)
    if (!strcmp(rules[i].name, name)) return i;
  cr_assert(false, "there is no rule %s", name);
  return -1;
}

// --- Texts

static const char *with_type(Arena *arena, const char *text, DType dtype) {
  Text out = text_new(arena);
  for (const char *at = text; *at; at++) {
    bool stands = *at == 'T' && at > text && at[-1] == ' ' && at[1] == ' ';
    text_add(&out, stands ? "%s" : "%.1s", stands ? dtype_name(dtype) : at);
  }
  return text_get(&out);
}

static Program *parse(Arena *arena, const char *text, DType dtype) {
  const char *cursor = with_type(arena, text, dtype);
  Program *program = NULL;
  Status status = program_parse(arena, &cursor, &program);
  cr_assert(!status, "%s: %s", text, status_message(status));
  status = program_check(program);
  cr_assert(!status, "%s: %s", text, status_message(status));
  return program;
}

// What nothing needs goes; inputs keep their numbers.
static void prune(Arena *arena, Program *program) {
  int inputs = program->input_count, *used = arena_array(arena, int, (size_t)inputs),
      *back = arena_array(arena, int, (size_t)inputs);
  program_prune(program, used);
  for (int i = 0; i < inputs; i++)
    if (used[i] >= 0) back[used[i]] = i;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input) program->code[i].args[0] = back[program->code[i].args[0]];
  program->input_count = inputs;
}

// Instructions in the order in which the last needs them, so that texts do not depend on the order in which a rule makes them.
static int relist(const Program *from, int at, Program *to, int *map) {
  if (map[at] >= 0) return map[at];
  Instruction instruction = from->code[at];
  for (int k = 0; k < opcode_info(instruction.op)->arity; k++) instruction.args[k] = relist(from, instruction.args[k], to, map);
  return map[at] = program_instruction(to, instruction);
}

static const char *text_of(Arena *arena, const Program *program) {
  Program *listed = program_new(arena, program->input_count);
  int *map = arena_array(arena, int, (size_t)program->count);
  memset(map, -1, sizeof *map * (size_t)program->count);
  for (int o = 0; o < program->output_count; o++) program_output(listed, relist(program, program->outputs[o], listed, map));
  Text text = text_new(arena);
  listed->input_count = 0;
  for (int i = 0; i < listed->count; i++)
    if (listed->code[i].op == OP_input) listed->input_count = (int)fmax(listed->input_count, listed->code[i].args[0] + 1);
  program_print(&text, listed);
  return text_get(&text);
}

// --- Numbers

static const double specials[] = {0,        -0.0,       1,         -1,        0.5,          -0.5,         2,         3,
                                  -3,       6,          7,         -6,        INFINITY,     -INFINITY,    NAN,       FLT_MIN,
                                  -FLT_MIN, 0x1p-149,   -0x1p-149, FLT_MAX,   -FLT_MAX,     DBL_MAX,      0x1p-1074, 1e-30,
                                  -1e30,    88.5,       -88.5,     -89,       -104,         104,          20,        20.000002,
                                  1e19,     -1e-19,     65504,     -65519,    5.9604645e-8, 3.3895314e38, 0x1p-126,  0x1p127,
                                  0.1,      -2.9999998, 3.0000002, 1.0000001, 0.99999994,   127,          -128,      255,
                                  32767,    2147483647};
enum { SPECIALS = sizeof specials / sizeof *specials };

// Two inputs meet in every pair of special values; behind these come random bits.
static void fill(Tensor *tensor, int input) {
  bool floats = dtype_is_float(tensor->dtype);
  for (int64_t i = 0; i < VALUES; i++) {
    int64_t row = i / ROW, column = i % ROW;
    uint64_t bits = hash_mix((uint64_t)i + 1, (uint64_t)input + 77);
    double value = specials[(input == 0 ? column : row) % SPECIALS];
    if (column >= SPECIALS || row == ROWS - 1) {
      if (!floats) {
        tensor_set_i(tensor, i, (int64_t)bits);
        continue;
      }
      value = row % 3 ? (double)(int64_t)bits * 0x1p-60 : (double)float_of_bits((uint32_t)bits);
    }
    if (floats) tensor_set_f(tensor, i, value);
    else tensor_set_i(tensor, i, isnan(value) ? 5 : fabs(value) > 1e18 ? (int64_t)bits : (int64_t)value);
  }
}

static DType input_dtype(const Program *program, int input, DType otherwise) {
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_input && program->code[i].args[0] == input) return program->code[i].dtype;
  return otherwise;
}

static TensorDesc desc_of(const Tensor *tensor) {
  return (TensorDesc){.dtype = tensor->dtype, .rank = 2, .dims = {ROWS, ROW}, .strides = {ROW, 1}};
}

static void evaluate(Arena *arena, const Program *program, const Tensor *inputs, int count, bool precise, Tensor *out) {
  const int64_t dims[] = {ROWS, ROW};
  const bool reduced[] = {false, program_has_reduction(program)};
  TensorDesc descs[8];
  void *pointers[8];
  for (int i = 0; i < count; i++) {
    descs[i] = desc_of(&inputs[i]);
    pointers[i] = inputs[i].data;
  }
  cr_assert(!tensor_new(arena, program->code[program->outputs[0]].dtype, 2, dims, out));
  descs[count] = desc_of(out);
  pointers[count] = out->data;
  Strips *strips = strips_new(arena, program, precise, 2, dims, reduced, descs, count, descs + count);
  void *scratch = arena_alloc(arena, strips->scratch_bytes + 64);
  scratch = (void *)(((uintptr_t)scratch + 63) / 64 * 64);
  strips_run(strips, pointers, pointers + count, scratch, 0, strips->group_count);
}

static bool same_bits(const Tensor *a, const Tensor *b, int64_t i, bool zero_signs) {
  size_t size = dtype_size(a->dtype);
  if (zero_signs && tensor_get_f(a, i) == 0 && tensor_get_f(b, i) == 0) return true;
  if (dtype_is_float(a->dtype) && isnan(tensor_get_f(a, i)) && isnan(tensor_get_f(b, i))) return true;
  return !memcmp((const char *)a->data + (size_t)i * size, (const char *)b->data + (size_t)i * size, size);
}

static void judge_bits(const char *what, bool zero_signs, const Tensor *before, const Tensor *after, const Tensor *x) {
  for (int64_t i = 0; i < VALUES; i++)
    cr_expect(same_bits(before, after, i, zero_signs), "%s: element %lld: %.17g becomes %.17g (x is %.17g)", what, (long long)i,
              tensor_get_f(before, i), tensor_get_f(after, i), tensor_get_f(x, i));
}

static double ulp(double value) { return fmax(ldexp(1, ilogb(fmax(fabs(value), FLT_MIN)) - 23), 0x1p-149); }

// What infinities had a part in is judged where the rule does not say otherwise.
static void judge_rounded(const char *what, bool finite, Bound bound, const Tensor *truth, const Tensor *before,
                          const Tensor *after, const Tensor *x) {
  for (int64_t i = 0; i < VALUES; i++) {
    double expected = tensor_get_f(truth, i), actual = tensor_get_f(after, i), was = tensor_get_f(before, i);
    if (isnan(expected) || isinf(expected) || fabs(expected) > FLT_MAX) {
      cr_assert((isnan(expected) && isnan(actual)) || actual == expected || (isfinite(expected) && fabs(actual) >= FLT_MAX),
                "%s: %g gives %g, not %g", what, tensor_get_f(x, i), actual, expected);
      continue;
    }
    if (finite && !isfinite(was)) continue;
    double most = (bound.ulp + 0.001) * ulp(expected) + bound.absolute +
                  bound.relative * fmin(fabs(tensor_get_f(x, i)), FLT_MAX) + 0x1p-148;
    cr_expect(fabs(actual - expected) <= most, "%s: %.9g gives %.9g, not %.9g: %.3g apart, %.3g allowed", what,
              tensor_get_f(x, i), actual, expected, fabs(actual - expected), most);
  }
}

static void judge(Arena *arena, const ScalarTest *test, const Program *before, const Program *after, DType dtype) {
  const int64_t dims[] = {ROWS, ROW};
  Tensor inputs[4], wide[4], a, b, truth;
  int count = before->input_count;
  for (int i = 0; i < count; i++) {
    cr_assert(!tensor_new(arena, input_dtype(before, i, dtype), 2, dims, &inputs[i]));
    fill(&inputs[i], i);
  }
  Exactness exactness = rules[rule_number(test->rule)].exactness;
  bool rounded = exactness & ROUNDED;
  for (int precise = 0; precise <= 1; precise++) {
    const char *what = arena_printf(arena, "%s of %s%s", test->rule, dtype_name(dtype), precise ? ", as a reference" : "");
    evaluate(arena, before, inputs, count, precise, &a);
    evaluate(arena, after, inputs, count, precise, &b);
    if (!rounded) judge_bits(what, exactness & ZERO_SIGNS, &a, &b, &inputs[0]);
    if (!rounded || dtype != DTYPE_F32) continue;
    for (int i = 0; i < count; i++) {
      cr_assert(!tensor_new(arena, DTYPE_F64, 2, dims, &wide[i]));
      for (int64_t k = 0; k < VALUES; k++) tensor_set_f(&wide[i], k, tensor_get_f(&inputs[i], k));
    }
    evaluate(arena, parse(arena, test->before, DTYPE_F64), wide, count, true, &truth);
    judge_rounded(what, exactness & FINITE, test->bound, &truth, &a, &b, &inputs[0]);
  }
}

// --- Tests

static bool takes(ScalarTypes types, DType dtype) {
  bool floats = dtype_is_float(dtype) && dtype_bits(dtype) >= 16, narrow = floats && dtype_bits(dtype) <= 32;
  bool integers = dtype_is_integer(dtype) && dtype_bits(dtype) >= 8, is_bool = dtype == DTYPE_BOOL;
  const bool table[] = {[FLOATS] = floats,
                        [FLOATS_32] = narrow,
                        [INTEGERS] = integers,
                        [NUMBERS] = floats || integers,
                        [BOOLS] = is_bool,
                        [BITS] = integers || is_bool,
                        [ANY_TYPE] = floats || integers || is_bool};
  return table[types];
}

static void run_test(const ScalarTest *test, DType dtype) {
  Arena *arena = arena_new();
  const ScalarRule *rule = &rules[rule_number(test->rule)].rule;
  ScalarForm *form;
  Status status = scalar_form_read(arena, rule, &form);
  cr_assert(!status, "%s: %s", test->rule, status_message(status));
  Program *before = parse(arena, test->before, dtype), *expected = parse(arena, test->after, dtype);
  Program *after = scalar_form_apply(arena, form, before, program_has_reduction(before));
  cr_assert_not_null(after, "%s of %s does not apply to %s", test->rule, dtype_name(dtype), test->before);
  status = program_check(after);
  cr_assert(!status, "%s: %s", test->rule, status_message(status));
  prune(arena, after);
  cr_assert_null(scalar_form_apply(arena, form, after, program_has_reduction(after)), "%s comes to no end", test->rule);
  const char *text = text_of(arena, after), *wanted = text_of(arena, expected);
  cr_assert_str_eq(text, wanted, "%s of %s gives\n%s\nwhere this was expected\n%s", test->rule, dtype_name(dtype), text,
                   wanted);
  judge(arena, test, before, after, dtype);
  arena_free(arena);
}

Test(scalar_rules, text_in_text_out_and_bits) {
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
    for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
      bool typed = strstr(tests[i].before, ": T = ");
      if (typed ? takes(rules[rule_number(tests[i].rule)].rule.types, (DType)dtype) : dtype == DTYPE_F32)
        run_test(&tests[i], (DType)dtype);
    }
}

Test(scalar_rules, every_rule_has_a_row_and_what_is_rounded_a_bound) {
  for (int i = 0; i < RULES; i++) {
    bool met = false;
    for (size_t k = 0; k < sizeof tests / sizeof *tests; k++) {
      if (strcmp(tests[k].rule, rules[i].name) != 0) continue;
      const Bound *bound = &tests[k].bound;
      met = true;
      cr_expect(!(rules[i].exactness & ROUNDED) == !(bound->ulp > 0 || bound->absolute > 0 || bound->relative > 0), "%s",
                rules[i].name);
      // Beside these, absolute bounds are of subnormal numbers alone.
      cr_expect(!(rules[i].exactness & OF_OPERANDS) == !(bound->absolute > 0x1p-100 || bound->relative > 0), "%s",
                rules[i].name);
    }
    cr_expect(met, "no row has rule %s", rules[i].name);
    cr_expect((rules[i].exactness != EXACT) == (rules[i].bound != NULL), "%s", rules[i].name);
  }
}
