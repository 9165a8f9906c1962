// Each pass as text in, text out. A row is a graph, the passes to run over it (in order), and the graph that comes out; types of
// values inside are left to inference.
#include <criterion/criterion.h>
#include <string.h>

#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/ops.h"
#include "passes/passes.h"

#define SOFTMAX_F16                                                                                                           \
  "program {%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; %3 = exp %2; %4 = reduce_sum %3; %5 = div %3 %4; %6: f16 " \
  "= cast %5; yield %6}"
#define UNARY(op) "{program: program {%0: f32 = input 0; %1 = " op " %0; yield %1}}"
#define BINARY(op) "{program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op " %0 %1; yield %2}}"

typedef struct PassTest {
  const char *name, *passes, *before, *after;
} PassTest;

static const PassTest tests[] = {
#include "tests/unit/passes.inc"
};

static Graph *parse(Arena *arena, const char *text, const char *name) {
  Graph *graph = NULL;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert(!status, "%s: %s", name, status_message(status));
  FOR_NODES(node, graph) {
    status = node_infer(node);
    cr_assert(!status, "%s: %s", name, status_message(status));
  }
  status = graph_verify(graph);
  cr_assert(!status, "%s: %s", name, status_message(status));
  return graph;
}

static const char *print(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  return text_get(&text);
}

Test(passes, text_in_text_out) {
  for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
    const PassTest *test = &tests[i];
    Arena *arena = arena_new();
    Graph *graph = parse(arena, test->before, test->name);
    PassOptions options = {.device = strstr(test->name, "on a GPU") ? DEVICE_CUDA : DEVICE_CPU,
                           .precision = strstr(test->name, "f16") ? DTYPE_F16 : DTYPE_COUNT,
                           .verify = true};
    Status status = passes_run_named(graph, test->passes, &options);
    cr_expect(!status, "%s: %s", test->name, status_message(status));
    const char *actual = print(arena, graph);
    cr_expect_str_eq(actual, test->after, "%s gives\n%s\nwhere this was expected\n%s", test->name, actual, test->after);
    arena_free(arena);
  }
}

// What is absent must not be there silently: every pass of the pipeline has a row.
Test(passes, every_pass_has_a_row) {
  for (int i = 0; pass_at(i); i++) {
    bool met = false;
    for (size_t k = 0; k < sizeof tests / sizeof *tests; k++)
      met |= !strncmp(tests[k].passes, pass_at(i)->name, strlen(pass_at(i)->name));
    cr_expect(met, "no row runs %s", pass_at(i)->name);
  }
}

static void count_passes(void *context, const char *pass, const Graph *graph) { ++*(int *)context; }

Test(passes, switches) {
  Arena *arena = arena_new();
  const char *text = "graph g(%x: f32[4]) -> (%z) { %y: ?[?] = elementwise(%x) " UNARY(
      "neg") " %z: ?[?] = elementwise(%y) " UNARY("relu") " }";
  int observed = 0;
  PassOptions options = {.device = DEVICE_CPU, .precision = DTYPE_COUNT, .observe = count_passes, .observe_context = &observed};
  PassReport reports[64];
  int count, all;
  Graph *graph = parse(arena, text, "switches");
  cr_assert_null(passes_run(graph, &options, reports, 64, &all));
  cr_expect_eq(graph->node_count, 1);
  cr_expect_eq(observed, 1);
  options.disabled = "fuse_rowwise,fuse_elementwise";
  graph = parse(arena, text, "switches");
  cr_assert_null(passes_run(graph, &options, reports, 64, &count));
  cr_expect_eq(graph->node_count, 2);
  cr_expect_lt(count, all);
  for (int i = 0; i < count; i++) cr_expect_str_neq(reports[i].name, "fuse_elementwise");
  options.disabled = "all";
  cr_assert_null(passes_run(graph, &options, reports, 64, &count));
  cr_expect_eq(count, 0);
  Status status = passes_run_named(graph, "fold_scale,no_such_pass", &options);
  cr_assert_not_null(status);
  cr_expect_not_null(strstr(status_message(status), "no_such_pass"));
  status_free(status);
  arena_free(arena);
}
