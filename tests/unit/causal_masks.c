// Constant masks of what is behind a diagonal are counted by what reads them; anything else stays a constant. (The rule causal_masks of fold_constants.)
#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "passes/passes.h"

#define SOFTMAX                                                                                                             \
  "rowwise(%s) {program: program {%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; %3 = exp %2; %4 = reduce_sum %3; " \
  "%5 = div %3 %4; yield %5}, axes: 2}"
#define CHOSEN "{%0: f32 = input 0; %1: bool = input 1; %2: f32 = const -inf; %3 = select %1 %0 %2; yield %3}"
#define ADDED "{%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2}"
#define AT_PLACES "{%0: f32 = input 0; %1: i32 = index 1; %2: i32 = index 2; "

typedef struct Row {
  const char *name, *dtype, *kept, *other;  // elements up to the diagonal and behind it
  int matrices, rows, columns, ahead;
  int odd;         // this element is the wrong one of the two; -1: none
  int more_ahead;  // of the last matrix
  const char *program, *behind;
  const char *gives;  // the program that reads the mask no more; NULL: it stays
  bool on_cpu;
} Row;

static const Row rows[] = {
    {"truths of which query sees which key", "bool", "1", "0", 1, 18, 18, 0, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3 = le %2 %1; %4: f32 = const -inf; %5 = select %3 %0 %4; yield %5}"},
    {"truths of which does not", "bool", "0", "1", 1, 18, 18, 0, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3 = gt %2 %1; %4: f32 = const -inf; %5 = select %3 %0 %4; yield %5}"},
    {"what is added", "f32", "0.0", "-inf", 1, 16, 16, 0, -1, 0, ADDED, SOFTMAX,
     AT_PLACES "%3 = le %2 %1; %4: f32 = const 0; %5: f32 = const -inf; %6 = select %3 %4 %5; %7 = add %0 %6; yield %7}"},
    {"a low number that is added, of half precision", "f16", "0.0", "-65504.0", 1, 16, 16, 0, -1, 0, ADDED, SOFTMAX,
     AT_PLACES "%3 = le %2 %1; %4: f16 = const 0; %5: f16 = const -65504; %6 = select %3 %4 %5; %7: f32 = cast %6; %8 = add %0 "
               "%7; yield %8}"},
    {"a low number", "f32", "0.0", "-1e+09", 1, 16, 16, 0, -1, 0, ADDED, SOFTMAX,
     AT_PLACES "%3 = le %2 %1; %4: f32 = const 0; %5: f32 = const -1e+09; %6 = select %3 %4 %5; %7 = add %0 %6; yield "
               "%7}"},
    {"more keys than queries", "bool", "1", "0", 1, 17, 30, 13, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3: i32 = const 13; %4 = add %1 %3; %5 = le %2 %4; %6: f32 = const -inf; %7 = select %5 %0 %6; yield %7}"},
    {"first queries without a key", "bool", "1", "0", 1, 20, 16, -3, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3: i32 = const -3; %4 = add %1 %3; %5 = le %2 %4; %6: f32 = const -inf; %7 = select %5 %0 %6; yield %7}"},
    {"last queries with all keys", "bool", "1", "0", 1, 30, 16, 2, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3: i32 = const 2; %4 = add %1 %3; %5 = le %2 %4; %6: f32 = const -inf; %7 = select %5 %0 %6; yield %7}"},
    {"the same for each of a batch", "bool", "1", "0", 2, 18, 18, 0, -1, 0, CHOSEN, SOFTMAX,
     AT_PLACES "%3 = le %2 %1; %4: f32 = const -inf; %5 = select %3 %0 %4; yield %5}"},
    {"another for the second of a batch", "bool", "1", "0", 2, 18, 18, 0, -1, 4, CHOSEN, SOFTMAX, NULL},
    {"one element up to the diagonal that is not kept", "bool", "1", "0", 1, 18, 18, 0, 18 * 9 + 4, 0, CHOSEN, SOFTMAX, NULL},
    {"one element behind the diagonal that is kept", "bool", "1", "0", 1, 18, 18, 0, 18 * 4 + 9, 0, CHOSEN, SOFTMAX, NULL},
    {"the last element", "bool", "1", "0", 1, 18, 18, 0, 18 * 18 - 1, 0, CHOSEN, SOFTMAX, NULL},
    {"all kept", "bool", "1", "0", 1, 18, 18, 18, -1, 0, CHOSEN, SOFTMAX, NULL},
    {"NaN", "f32", "0.0", "nan", 1, 16, 16, 0, -1, 0, ADDED, SOFTMAX, NULL},
    {"a few queries", "bool", "1", "0", 1, 15, 16, 0, -1, 0, CHOSEN, SOFTMAX, NULL},
    {"a few keys", "bool", "1", "0", 1, 16, 15, 0, -1, 0, CHOSEN, SOFTMAX, NULL},
    {"no rows that are reduced", "bool", "1", "0", 1, 18, 18, 0, -1, 0, CHOSEN,
     "elementwise(%s) {program: program {%0: f32 = input 0; %1 = exp %0; yield %1}}", NULL},
    {"a CPU", "bool", "1", "0", 1, 18, 18, 0, -1, 0, CHOSEN, SOFTMAX, NULL, true},
};

static const char *mask_of(Arena *arena, const Row *row) {
  Text text = text_new(arena);
  text_add(&text, "const %%m: %s[%d, %d, %d] = [", row->dtype, row->matrices, row->rows, row->columns);
  for (int i = 0; i < row->matrices * row->rows * row->columns; i++) {
    int matrix = i / (row->rows * row->columns), at = i / row->columns % row->rows, column = i % row->columns;
    int ahead = row->ahead + (matrix && matrix == row->matrices - 1 ? row->more_ahead : 0);
    bool kept = (column <= at + ahead) != (i == row->odd);
    text_add(&text, "%s%s", i ? ", " : "", kept ? row->kept : row->other);
  }
  text_add(&text, "]");
  return text_get(&text);
}

static const char *folded(Arena *arena, const Row *row) {
  const char *source = arena_printf(
      arena,
      "graph g(%%x: f32[2, %d, %d]) -> (%%y) { %s %%s: ?[?] = elementwise(%%x, %%m) {program: program %s} %%y: ?[?] = %s }",
      row->rows, row->columns, mask_of(arena, row), row->program, row->behind);
  Graph *graph = NULL;
  Status status = graph_parse(arena, core_ops, source, strlen(source), NULL, 0, &graph);
  cr_assert_null(status, "%s: %s", row->name, status_message(status));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node), "%s", row->name);
  PassOptions options = {.device = row->on_cpu ? DEVICE_CPU : DEVICE_CUDA, .precision = DTYPE_COUNT, .verify = true};
  status = passes_run_named(graph, "fold_constants", &options);
  cr_assert_null(status, "%s: %s", row->name, status_message(status));
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  return text_get(&text);
}

Test(causal_masks, are_counted_and_others_stay) {
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    Arena *arena = arena_new();
    const char *result = folded(arena, &rows[i]);
    bool stays = strstr(result, "elementwise(%x, %m)") != NULL;
    cr_expect_eq(stays, !rows[i].gives, "%s:\n%s", rows[i].name, result);
    if (rows[i].gives)
      cr_expect(strstr(result, arena_printf(arena, "elementwise(%%x) {program: program %s}", rows[i].gives)), "%s:\n%s",
                rows[i].name, result);
    arena_free(arena);
  }
}
