// What a score program says about places: which keys no row looks at, and where scores are the sums but for a scale. What it cannot say is that there are no bounds.
#include "kernels/attention/score_bounds.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"

typedef struct Row {
  const char *name, *score;  // its last value is the score; input 1 is an operand of columns
  int behind, ahead;
  double scale;
} Row;

enum { NONE = SCORE_FAR };
#define SUM "%0: f32 = input 0; "
#define PLACES SUM "%1: i64 = index 0; %2: i64 = index 1; "
#define LEAVE(value, kept) "; %4: f32 = const " value "; %5 = select %3 " kept " %4"

static const Row rows[] = {
    {"the sums alone", "%0: f32 = input 0", -NONE, NONE, 1},
    {"a scale", SUM "%1: f32 = const 0.125; %2 = mul %0 %1", -NONE, NONE, 0.125},
    {"a scale of the other side", SUM "%1: f32 = const 0.125; %2 = mul %1 %0", -NONE, NONE, 0.125},
    {"a divisor", SUM "%1: f32 = const 8; %2 = div %0 %1", -NONE, NONE, 0.125},
    {"a scale that is 0", SUM "%1: f32 = const 0; %2 = mul %0 %1", -NONE, NONE, 0},
    {"a scale below 0", SUM "%1: f32 = const -2; %2 = mul %0 %1", -NONE, NONE, 0},
    {"a scale that is infinite", SUM "%1: f32 = const inf; %2 = mul %0 %1", -NONE, NONE, 0},
    {"a scale that is NaN", SUM "%1: f32 = const nan; %2 = mul %0 %1", -NONE, NONE, 0},
    {"a scale that f32 has no inverse of", SUM "%1: f32 = const 1e-40; %2 = div %0 %1", -NONE, NONE, 0},
    {"a divisor that is 0", SUM "%1: f32 = const 0; %2 = div %0 %1", -NONE, NONE, 0},
    {"a square", SUM "%1 = mul %0 %0", -NONE, NONE, 0},
    {"a number less", SUM "%1: f32 = const 3; %2 = sub %0 %1", -NONE, NONE, 0},
    {"something else of the sums", SUM "%1 = tanh %0", -NONE, NONE, 0},
    {"sums that are rounded", SUM "%1: f16 = cast %0; %2: f32 = cast %1", -NONE, NONE, 0},
    {"keys up to the query", PLACES "%3 = le %2 %1" LEAVE("-inf", "%0"), -NONE, 0, 1},
    {"keys in front of the query", PLACES "%3 = lt %2 %1" LEAVE("-inf", "%0"), -NONE, -1, 1},
    {"keys from the query", PLACES "%3 = ge %2 %1" LEAVE("-inf", "%0"), 0, NONE, 1},
    {"keys behind the query", PLACES "%3 = gt %2 %1" LEAVE("-inf", "%0"), 1, NONE, 1},
    {"the query's own", PLACES "%3 = eq %2 %1" LEAVE("-inf", "%0"), 0, 0, 1},
    {"all but the query's own", PLACES "%3 = ne %2 %1" LEAVE("-inf", "%0"), -NONE, NONE, 0},
    {"the query compared with keys", PLACES "%3 = ge %1 %2" LEAVE("-inf", "%0"), -NONE, 0, 1},
    {"keys up to seven on",
     PLACES "%3: i64 = const 7; %4 = add %1 %3; %5 = le %2 %4; %6: f32 = const -inf; %7 = select %5 %0 %6", -NONE, 7, 1},
    {"a difference of places",
     PLACES "%3 = sub %2 %1; %4: i64 = const -3; %5 = lt %3 %4; %6: f32 = const -inf; %7 = select %5 %6 %0", -3, NONE, 1},
    {"a window",
     PLACES "%3 = sub %2 %1; %4: i64 = const 4; %5: i64 = const -6; %6 = le %3 %4; %7 = ge %3 %5; %8 = and %6 %7; %9: f32 = "
            "const -inf; "
            "%10 = select %8 %0 %9",
     -6, 4, 1},
    {"what is outside of a window",
     PLACES "%3 = sub %2 %1; %4: i64 = const 4; %5: i64 = const -6; %6 = gt %3 %4; %7 = lt %3 %5; %8 = or %6 %7; %9: f32 = "
            "const -inf; "
            "%10 = select %8 %9 %0",
     -6, 4, 1},
    {"a hole, which is no bound",
     PLACES "%3 = sub %2 %1; %4: i64 = const 4; %5: i64 = const -6; %6 = le %3 %4; %7 = ge %3 %5; %8 = and %6 %7; %9: f32 = "
            "const -inf; "
            "%10 = select %8 %9 %0",
     -NONE, NONE, 0},
    {"a mask that is added",
     PLACES "%3 = le %2 %1; %4: f32 = const 0; %5: f32 = const -inf; %6 = select %3 %4 %5; %7 = add %0 %6", -NONE, 0, 1},
    {"the lowest number", PLACES "%3 = le %2 %1" LEAVE("-3.4e38", "%0"), -NONE, 0, 1},
    {"the lowest number behind, where a row may keep no key", PLACES "%3 = ge %2 %1" LEAVE("-3.4e38", "%0"), -NONE, NONE, 0},
    {"the lowest number from the query on, where the first row keeps no key", PLACES "%3 = lt %2 %1" LEAVE("-3.4e38", "%0"),
     -NONE, NONE, 0},
    {"the lowest number wherever it is",
     PLACES "%3 = le %2 %1; %4: f32 = const -3e38; %5 = add %0 %4; %6: f32 = const -2e38; %7 = select %3 %5 %6", -NONE, NONE,
     0},
    {"a low number that others outweigh", PLACES "%3 = le %2 %1" LEAVE("-10000", "%0"), -NONE, NONE, 0},
    {"no mask, but a number that is high", PLACES "%3 = le %2 %1" LEAVE("inf", "%0"), -NONE, NONE, 0},
    {"another value for some", PLACES "%3 = le %2 %1; %4: f32 = const 2; %5 = mul %0 %4; %6 = select %3 %0 %5", -NONE, NONE, 0},
    {"places of the columns alone", PLACES "%3: i64 = const 3; %4 = le %2 %3; %5: f32 = const -inf; %6 = select %4 %0 %5",
     -NONE, NONE, 0},
    {"places that are doubled",
     PLACES "%3: i64 = const 2; %4 = mul %1 %3; %5 = le %2 %4; %6: f32 = const -inf; %7 = select %5 %0 %6", -NONE, NONE, 0},
    {"a sum of places", PLACES "%3 = add %2 %1; %4: i64 = const 3; %5 = le %3 %4; %6: f32 = const -inf; %7 = select %5 %0 %6",
     -NONE, NONE, 0},
    {"an operand", SUM "%1: f32 = input 1; %2 = add %0 %1", -NONE, NONE, 0},
    {"an operand and a mask",
     PLACES "%3 = le %2 %1; %4: f32 = input 1; %5 = add %0 %4; %6: f32 = const -inf; %7 = select %3 %5 %6", -NONE, 0, 0},
    {"an operand, which may leave out the rest, and the lowest number",
     PLACES "%3 = le %2 %1; %4: f32 = input 1; %5 = add %0 %4; %6: f32 = const -3.4e38; %7 = select %3 %5 %6", -NONE, NONE, 0},
    {"an operand that says whether",
     PLACES "%3 = le %2 %1; %4: f32 = input 1; %5 = gt %4 %0; %6 = or %3 %5; %7: f32 = const -inf; %8 = select %6 %0 %7", -NONE,
     NONE, 0},
    {"an operand that says whether too",
     PLACES "%3 = le %2 %1; %4: f32 = input 1; %5 = gt %4 %0; %6 = and %3 %5; %7: f32 = const -inf; %8 = select %6 %0 %7",
     -NONE, 0, 0},
};

static int values_of(const char *program) {
  int count = 0;
  for (const char *at = program; (at = strchr(at, '=')); at++) count++;
  return count;
}

static Graph *graph_of(Arena *arena, const char *score) {
  int n = values_of(score);
  bool operand = strstr(score, "input 1") != NULL;
  const char *text = arena_printf(arena,
                                  "graph g(%%q: f16[9, 16], %%k: f16[16, 12], %%v: f16[12, 8], %%m: f32[12]) -> (%%y) { %%s: "
                                  "f16[9, 12] = matmul(%%q, %%k) %%p: f16[9, 12] = "
                                  "rowwise(%%s%s) {program: program {%s; %%%d = reduce_max %%%d; %%%d = sub %%%d %%%d; %%%d = "
                                  "exp %%%d; %%%d = reduce_sum %%%d; %%%d = div %%%d "
                                  "%%%d; %%%d: f16 = cast %%%d; yield %%%d}, axes: 1} %%y: f16[9, 8] = matmul(%%p, %%v) }",
                                  operand ? ", %m" : "", score, n, n - 1, n + 1, n - 1, n, n + 2, n + 1, n + 3, n + 2, n + 4,
                                  n + 2, n + 3, n + 5, n + 4, n + 5);
  Graph *graph;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s: %s", text, status_message(status));
  return graph;
}

static void expect_bounds(const Row *row, const char *score) {
  Arena *arena = arena_new();
  Attention attention;
  const char *why = attention_read(graph_of(arena, score)->outputs[0]->producer, arena, &attention);
  cr_assert_null(why, "%s: %s", row->name, why);
  ScoreBounds bounds = score_bounds(&attention);
  cr_expect_eq(bounds.behind, row->behind, "%s: behind is %d", row->name, bounds.behind);
  cr_expect_eq(bounds.ahead, row->ahead, "%s: ahead is %d", row->name, bounds.ahead);
  cr_expect_eq(bounds.scale, row->scale, "%s: the scale is %g", row->name, bounds.scale);
  arena_free(arena);
}

Test(score_bounds, of_programs) {
  for (size_t i = 0; i < COUNT_OF(rows); i++) expect_bounds(&rows[i], rows[i].score);
}

// Two batch axes in front of the softmax, one where the mask is.
static const char *why_of(Arena *arena, const char *mask, Attention *attention) {
  const char *text = arena_printf(
      arena,
      "graph g(%%q: f16[1, 6, 20, 16], %%k: f16[1, 6, 16, 20], %%v: f16[6, 20, 16]) -> (%%y) { %%s: f16[1, 6, 20, 20] = "
      "matmul(%%q, %%k) %%t: f16[1, 6, 20, 20] = elementwise(%%s) {program: program {%%0: f32 = input 0; %s; %%4: f32 = const "
      "-inf; %%5 = select %%3 %%0 %%4; %%6: f16 = cast %%5; yield %%6}} %%r: f16[6, 20, 20] = reshape(%%t) {dims: dims[6, 20, "
      "20]} %%p: f16[6, 20, 20] = rowwise(%%r) {program: program {%%0: f32 = input 0; %%1 = reduce_max %%0; %%2 = sub %%0 %%1; "
      "%%3 = exp %%2; %%4 = reduce_sum %%3; %%5 = div %%3 %%4; %%6: f16 = cast %%5; yield %%6}, axes: 2} %%y: f16[6, 20, 16] = "
      "matmul(%%p, %%v) }",
      mask);
  Graph *graph;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  return attention_read(graph->outputs[0]->producer, arena, attention);
}

Test(score_bounds, places_of_a_matrix_are_the_same_however_its_batch_is_grouped) {
  Arena *arena = arena_new();
  Attention attention;
  const char *why = why_of(arena, "%1: i64 = index 2; %2: i64 = index 3; %3 = le %2 %1", &attention);
  cr_assert_null(why, "%s", why);
  cr_expect_eq(score_bounds(&attention).ahead, 0);
  cr_expect_eq(score_bounds(&attention).scale, 1);
  cr_expect_str_eq(why_of(arena, "%1: i64 = index 1; %2: i64 = index 3; %3 = le %2 %1", &attention),
                   "its places are counted in several ways");
  arena_free(arena);
}
