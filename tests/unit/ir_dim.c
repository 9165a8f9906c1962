// Symbolic dimensions: what must be provably equal, what must evaluate alike, and that the text form comes back.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include "ir/dim.h"
#include "ir/dim_table.h"

static Dim parse(DimTable *table, const char *text) {
  Dim dim = 0;
  const char *cursor = text;
  Status status = dim_parse(table, &cursor, &dim);
  cr_assert(!status, "%s: %s", text, status_message(status));
  cr_assert_eq(*cursor, 0, "%s: stopped at '%s'", text, cursor);
  return dim;
}

static const char *print(Arena *arena, const DimTable *table, Dim dim) {
  Text text = text_new(arena);
  dim_print(&text, table, dim);
  return text_get(&text);
}

// Each row: an expression and its normal form as printed.
static const char *const normal_forms[][2] = {
    {"3", "3"},
    {"2 + 3*4", "14"},
    {"(0 - 7) / 2", "-4"},
    {"(0 - 7) % 2", "1"},
    {"7 / 0", "0"},
    {"n + 0", "n"},
    {"n - n", "0"},
    {"n + n", "2*n"},
    {"2*n - 3*n", "-n"},
    {"b + a", "(a + b)"},
    {"1 + n*2 - 4", "(2*n - 3)"},
    {"2*(n + 1) - 2", "2*n"},
    {"n * 0", "0"},
    {"s*b", "b*s"},
    {"(a + b)*(a - b)", "(a*a - b*b)"},
    {"12*n / 4", "3*n"},
    {"n*m / m", "n"},
    {"b*s*768 / (b*768)", "s"},
    {"(b*s*12 + b*5) / b", "(12*s + 5)"},
    {"(a + b)*n / (a + b)", "n"},
    {"(a*n + b*n + n) / (a + b + 1)", "n"},
    {"4*n % 4", "0"},
    {"n*m % m", "0"},
    {"(4*n + 7) % 4", "3"},
    {"(4*n + 7) / 4", "(n + 1)"},
    {"n / 1", "n"},
    {"n % 1", "0"},
    {"n / n", "1"},
    {"n % n", "0"},
    {"(n - 1)/2 + 1", "((n + 1)/2)"},
    {"(n + 2*3 - 7)/2 + 1", "((n + 1)/2)"},
    {"-((-n)/2)", "((n + 1)/2)"},
    {"((n + 1)/2 + 1)/2", "((n + 3)/4)"},
    {"n/2/3", "(n/6)"},
    {"(2*n + 1)/4", "(n/2)"},
    {"n % 4 / 4", "0"},
    {"n % 8 % 4", "(n%4)"},
    {"n % 4 % 8", "(n%4)"},
    {"6*n % 4", "2*(n%2)"},
    {"max(n, 0)", "n"},
    {"max(n, n)", "n"},
    {"broadcast(m, n)", "broadcast(m, n)"},
    {"broadcast(n, broadcast(1, m), n)", "broadcast(m, n)"},
    {"broadcast(n, 5)", "5"},
    {"broadcast(0, n)", "0"},
    {"broadcast(n + 1, m + 1)", "max((n + 1), (m + 1))"},
    {"max(3, 5)", "5"},
    {"max(n + 1, n)", "(n + 1)"},
    {"min(n + m, n)", "n"},
    {"max(n, 1)", "max(n, 1)"},
    {"max(1, max(b, max(a, b)))", "max(a, b, 1)"},
    {"min(max(n, 0), n)", "n"},
    {"max(n*m + 2, 0)", "(m*n + 2)"},
    {"min(n, -1)", "-1"},
    {"max(n, min(n, 512))", "n"},
    {"max(n - min(n, 2), 0) + min(n, 2)", "n"},
    {"min(max(n, m), n)", "n"},
    {"max(n - n/4*4, 0)", "(n - 4*(n/4))"},
    {"max(n/4*4 - n + 3, 0)", "(-n + 4*(n/4) + 3)"},
    {"-(n/m)", "-(n/m)"},
    {"(-n)/m", "((-n)/m)"},
    {"n/(2*m)", "(n/(2*m))"},
    {"\"Add Seq\" + \"max\"", "(\"Add Seq\" + \"max\")"},
    {"\"2nd\\\"\"", "\"2nd\\\"\""},
};

Test(ir_dim, normal_forms) {
  Arena *arena = arena_new();
  for (size_t i = 0; i < sizeof normal_forms / sizeof *normal_forms; i++) {
    DimTable *table = dim_table_new(arena);
    Dim dim = parse(table, normal_forms[i][0]);
    cr_expect_str_eq(print(arena, table, dim), normal_forms[i][1], "%s gives %s, not %s", normal_forms[i][0],
                     print(arena, table, dim), normal_forms[i][1]);
    cr_expect_eq(parse(table, normal_forms[i][1]), dim, "%s does not come back", normal_forms[i][1]);
  }
  arena_free(arena);
}

Test(ir_dim, ceil_div_meets_convolution_arithmetic) {
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  Dim n = dim_symbol(table, "n");
  cr_expect_eq(dim_ceil_div(table, n, 4), dim_add(table, dim_div(table, dim_sub(table, n, 1), 4), 1));
  cr_expect_eq(dim_ceil_div(table, 9, 4), 3);
  Dim m = dim_symbol(table, "m");
  cr_expect_eq(dim_ceil_div(table, dim_mul(table, n, m), m), n);
  arena_free(arena);
}

Test(ir_dim, fresh_symbols_differ) {
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  Dim taken = dim_symbol(table, "u0");
  Dim a = dim_fresh(table, "u"), b = dim_fresh(table, "u");
  cr_expect(a != b && a != taken && b != taken);
  cr_expect_eq(dim_symbol(table, dim_symbol_name(table, a)), a);
  arena_free(arena);
}

Test(ir_dim, refuses_malformed_text) {
  static const char *const bad[] = {"",       "(n",        "n +",     "max(n", "max", "3x", "9223372036854775808",
                                    "\"open", "\"\\x00\"", "\"\\q\"", "*"};
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const char *cursor = bad[i];
    Dim dim;
    Status status = dim_parse(table, &cursor, &dim);
    cr_expect(status, "accepted '%s'", bad[i]);
    status_free(status);
  }
  char deep[4096];
  memset(deep, '(', sizeof deep);
  deep[sizeof deep - 1] = 0;
  const char *cursor = deep;
  Dim dim;
  Status status = dim_parse(table, &cursor, &dim);
  cr_expect(status);
  status_free(status);
  arena_free(arena);
}

Test(ir_dim, overflow_is_kept_apart) {
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  Dim huge = dim_mul(table, INT64_MAX, 2);
  cr_expect(huge < 0);
  DimBinding binding = dim_binding_new(arena);
  int64_t value;
  cr_expect_not(dim_evaluate(table, &binding, huge, &value));
  cr_expect_eq(parse(table, print(arena, table, huge)), huge);
  Dim lowest = dim_constant(table, INT64_MIN);
  cr_expect_eq(parse(table, print(arena, table, lowest)), lowest);
  Dim quotient = dim_div(table, lowest, dim_constant(table, -1));
  cr_expect_not(dim_evaluate(table, &binding, quotient, &value));
  arena_free(arena);
}

// A hostile chain may cost precision, never time: nested far enough, an expression becomes a symbol.
Test(ir_dim, deep_and_wide_expressions_stay_cheap, .timeout = 10) {
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  Dim n = dim_symbol(table, "n"), deep = n, wide = n;
  for (int i = 0; i < 2000; i++) {
    deep = dim_add(table, dim_mod(table, dim_mul(table, deep, deep), 7 + i), dim_make(table, DIM_MAX, deep, i));
    wide = dim_add(table, dim_mul(table, wide, n), dim_fresh(table, "w"));
  }
  cr_expect_eq(parse(table, print(arena, table, deep)), deep);
  cr_expect_eq(parse(table, print(arena, table, wide)), wide);
  arena_free(arena);
}

// What is proved of expressions holds of their values.
Test(ir_dim, at_least_is_never_wrong) {
  unsigned seed = 11;
  int proved = 0;
  for (int round = 0; round < 2000; round++) {
    Arena *arena = arena_new();
    DimTable *table = dim_table_new(arena);
    DimBinding binding = dim_binding_new(arena);
    Dim made[20];
    int64_t value, other;
    for (int i = 0; i < 3; i++) {
      made[i] = dim_symbol(table, (const char *[]){"a", "b", "c"}[i]);
      dim_bind(&binding, arena, (const char *[]){"a", "b", "c"}[i], rand_r(&seed) % 6);
    }
    for (int i = 3; i < 20; i++) {
      static const DimOp ops[] = {DIM_ADD, DIM_MUL, DIM_MAX, DIM_MIN, DIM_DIV, DIM_MOD, DIM_ADD};
      DimOp op = ops[rand_r(&seed) % 7];
      Dim constant = dim_constant(table, op == DIM_DIV || op == DIM_MOD ? 1 + rand_r(&seed) % 4 : rand_r(&seed) % 7 - 3);
      bool by_constant = op == DIM_DIV || op == DIM_MOD || op == DIM_MUL || rand_r(&seed) % 2;
      made[i] = dim_make(table, op, made[rand_r(&seed) % i], by_constant ? constant : made[rand_r(&seed) % i]);
    }
    for (int i = 0; i < 20; i++)
      for (int k = 0; k < 20; k++)
        if (dim_at_least(table, made[i], made[k]) && dim_evaluate(table, &binding, made[i], &value) &&
            dim_evaluate(table, &binding, made[k], &other)) {
          proved++;
          cr_assert(value >= other, "%s >= %s", print(arena, table, made[i]), print(arena, table, made[k]));
        }
    arena_free(arena);
  }
  cr_expect_gt(proved, 100000);
}

// Random expressions: the normal form has the value of the expression it came from, and survives printing, also into
// a table whose symbols were made in another order.
typedef struct Sample {
  Dim dim;
  int64_t value;
} Sample;

static int64_t fold(DimOp op, int64_t a, int64_t b) {
  int64_t quotient = b ? a / b - (a % b && (a < 0) != (b < 0)) : 0;
  switch (op) {
    case DIM_ADD: return a + b;
    case DIM_MUL: return a * b;
    case DIM_DIV: return quotient;
    case DIM_MOD: return b ? a - b * quotient : 0;
    case DIM_MAX: return a > b ? a : b;
    case DIM_BROADCAST: return a == 1 ? b : a;
    default: return a < b ? a : b;
  }
}

Test(ir_dim, random_expressions_keep_their_value) {
  static const char *const names[] = {"a", "b", "c", "d"};
  unsigned seed = 7;
  for (int round = 0; round < 3000; round++) {
    Arena *arena = arena_new();
    DimTable *table = dim_table_new(arena), *other = dim_table_new(arena);
    DimBinding binding = dim_binding_new(arena);
    Sample samples[24];
    int count = 0;
    for (int i = 0; i < 4; i++) {
      samples[count++] = (Sample){dim_symbol(table, names[i]), 1 + rand_r(&seed) % 9};
      dim_bind(&binding, arena, names[i], samples[i].value);
      dim_symbol(other, names[3 - i]);
    }
    for (int i = -2; i < 5; i++) samples[count++] = (Sample){dim_constant(table, i), i};
    while (count < 24) {
      DimOp op = DIM_ADD + rand_r(&seed) % 7;
      Sample a = samples[rand_r(&seed) % count], b = samples[rand_r(&seed) % count];
      int64_t value = fold(op, a.value, b.value);
      // Symbols are nonzero by decree where a division cancels; expressions that divide by zero are not compared.
      if ((op == DIM_DIV || op == DIM_MOD) && b.value == 0) continue;
      if (op == DIM_BROADCAST && a.value != b.value && a.value != 1 && b.value != 1) continue;
      if (llabs(value) > 100000) continue;
      samples[count++] = (Sample){dim_make(table, op, a.dim, b.dim), value};
      Sample made = samples[count - 1];
      int64_t evaluated;
      const char *printed = print(arena, table, made.dim);
      cr_assert(dim_evaluate(table, &binding, made.dim, &evaluated), "%s", printed);
      cr_assert_eq(evaluated, made.value, "round %d: %s op %d %s gives %s = %lld, not %lld", round, print(arena, table, a.dim),
                   op, print(arena, table, b.dim), printed, (long long)evaluated, (long long)made.value);
      cr_assert_eq(parse(table, printed), made.dim, "%s", printed);
      Dim imported = dim_import(other, table, made.dim);
      cr_assert_str_eq(print(arena, other, imported), printed);
      cr_assert_eq(parse(other, printed), imported);
    }
    arena_free(arena);
  }
}

// What was imported is remembered by table, and forgotten with what a table forgets.
Test(dim, imports_from_two_tables_do_not_mix) {
  Arena *arena = arena_new();
  DimTable *into = dim_table_new(arena), *first = dim_table_new(arena), *second = dim_table_new(arena);
  Dim n = parse(first, "n + 1"), m = parse(second, "m * 2");
  for (int i = 0; i < 3; i++) {
    cr_assert_str_eq(print(arena, into, dim_import(into, first, n)), "(n + 1)");
    cr_assert_str_eq(print(arena, into, dim_import(into, second, m)), "2*m");
  }
  DimMark mark = dim_mark(second);
  Dim gone = parse(second, "k + 3");
  cr_assert_str_eq(print(arena, into, dim_import(into, second, gone)), "(k + 3)");
  dim_rewind(second, mark);
  Dim other = parse(second, "j + 3");
  cr_assert_str_eq(print(arena, into, dim_import(into, second, other)), "(j + 3)");
  DimMark here = dim_mark(into);
  dim_import(into, first, parse(first, "a * b"));
  dim_rewind(into, here);
  parse(into, "c + 5");
  cr_assert_str_eq(print(arena, into, dim_import(into, first, parse(first, "a * b"))), "a*b");
  arena_free(arena);
}
