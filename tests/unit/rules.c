// The workshop: what patterns match, what a refusal leaves, what the log says, and which rules take part. What each rule does is in passes.inc.
#include <criterion/criterion.h>
#include <string.h>

#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "passes/pattern.h"
#include "passes/rule_log.h"
#include "passes/selection.h"
#include "passes/workshop.h"

#define UNARY(op) " {program: program {%0: f32 = input 0; %1 = " op " %0; yield %1}}"
#define BINARY(op) " {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op " %0 %1; yield %2}}"

static Graph *parse(Arena *arena, const char *text) {
  Graph *graph = NULL;
  cr_assert_null(graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  return graph;
}

static const char chain[] = "graph g(%x: f32[4], %w: f32[4]) -> (%z) { %a: ?[?] = elementwise(%x)" UNARY("exp") " origins [\"first\": \"Exp\"]"
                            " %b: ?[?] = elementwise(%a, %w)" BINARY("add") " origins [\"second\": \"Add\"] %c: ?[?] = elementwise(%b, %a)" BINARY("mul") " origins [\"third\": \"Mul\"]"
                            " %t: ?[?] = reshape(%c) {dims: dims[2, 2]} %z: ?[?] = transpose(%t) {perm: [1, 0]} }";

static int matches(const Graph *graph, const char *pattern) {
  Pattern compiled;
  Status status = pattern_compile(pattern, core_ops, &compiled);
  cr_assert_null(status, "%s: %s", pattern, status_message(status));
  int count = 0;
  FOR_NODES(node, graph) {
    Match match;
    match_begin(&match, &compiled, node);
    while (pattern_may_match(&compiled, node) && match_next(&match)) count++;
  }
  return count;
}

Test(rules, patterns_match_what_they_say) {
  static const struct {
    const char *pattern;
    int count;
  } rows[] = {
      {"*(...)", 5},
      {"@view(x, ...)", 2},
      {"@program(...)", 3},
      {"transpose(reshape(x))", 1},
      {"reshape|transpose(x)", 2},
      {"transpose(transpose(x))", 0},
      {"elementwise(x)", 1},
      {"elementwise(x, y)", 2},
      {"elementwise(x, x)", 0},
      {"elementwise(x, ...)", 3},
      {"elementwise(x, y, z?)", 2},
      {"elementwise(x, #c)", 0},
      {"elementwise(..., elementwise(...), ...)", 3},   // c has two such operands
      {"elementwise(..., elementwise(...)!, ...)", 1},  // a has two users
      {"elementwise(b: elementwise(a: elementwise(...), y), ...)", 1},
  };
  Arena *arena = arena_new();
  Graph *graph = parse(arena, chain);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    cr_expect_eq(matches(graph, rows[i].pattern), rows[i].count, "%s", rows[i].pattern);
  arena_free(arena);
}

Test(rules, patterns_that_make_no_sense_are_refused) {
  static const char *const wrong[] = {"",
                                      "x",
                                      "#w",
                                      "conv",
                                      "conv(",
                                      "conv(x",
                                      "conv(x,",
                                      "conv(x) y",
                                      "nosuchop(x)",
                                      "@nosuchtrait(x)",
                                      "conv(..., x)",
                                      "conv(..., x, y, ...)",
                                      "conv(x, ..., y)"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    Pattern compiled;
    Status status = pattern_compile(wrong[i], core_ops, &compiled);
    cr_expect_not_null(status, "'%s' was taken", wrong[i]);
    status_free(status);
  }
}

static const char *print(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  graph_print(&text, graph, NULL);
  return text_get(&text);
}

static Status refuse_late(Rewrite *r) {
  Node *made = rewrite_like(r, matched(r, "root"));
  WANT(!made, "it has second thoughts");
  return OK;
}

static Status join_by_copy(Rewrite *r) { return rewrite_root_by(r, rewrite_like(r, matched(r, "root"))); }

static Status mark(Rewrite *r) {
  Node *root = matched(r, "root");
  WANT(!node_attribute(root, "marked"), "it is marked");
  Node *made = rewrite_like(r, root);
  node_set_int(made, "marked", 1);
  return rewrite_root_by(r, made);
}

static const Rule late = {.name = "late", .pattern = "elementwise(...)", .tells_misses = true, .apply = refuse_late};
static const Rule quiet = {.name = "quiet", .pattern = "elementwise(...)", .apply = refuse_late};
static const Rule endless = {.name = "endless", .pattern = "elementwise(...)", .apply = join_by_copy};
static const Rule marks = {.name = "marks", .pattern = "elementwise(...)", .tells_misses = true, .apply = mark};

static int apply(Graph *graph, const Rule *rule, PassOptions *options, Status *status) {
  const Rule *const rules[] = {rule, NULL};
  const Pass pass = {"tested", "", rules};
  int applications = 0;
  *status = workshop_run(&pass, graph, options, &applications);
  return applications;
}

Test(rules, a_refusal_leaves_no_trace_but_in_the_log) {
  Arena *arena = arena_new();
  Graph *graph = parse(arena, chain);
  const char *before = print(arena, graph);
  PassOptions options = {.rules = rule_log_new(arena, false)};
  Status status;
  cr_expect_eq(apply(graph, &late, &options, &status), 0);
  cr_assert_null(status);
  cr_expect_str_eq(print(arena, graph), before);
  cr_assert_eq(options.rules->count, 3);
  cr_expect_str_eq(options.rules->events[1].refusal, "it has second thoughts");
  cr_expect(rule_event_concerns(&options.rules->events[1], "second"));
  cr_expect_not(rule_event_concerns(&options.rules->events[1], "first"));
  apply(graph, &quiet, &options, &status);
  cr_expect_eq(options.rules->count, 3);
  arena_free(arena);
}

Test(rules, applications_are_logged_and_carry_names_and_origins) {
  Arena *arena = arena_new();
  Graph *graph = parse(arena, chain);
  PassOptions options = {.rules = rule_log_new(arena, false)};
  Status status;
  cr_expect_eq(apply(graph, &marks, &options, &status), 3);
  cr_assert_null(status);
  cr_expect_str_eq(options.rules->events[0].place, "first");
  cr_expect_str_eq(options.rules->events[0].before, "elementwise");
  cr_expect_str_eq(options.rules->events[0].after, "elementwise");
  int found = 0;
  FOR_NODES(node, graph) {
    if (!node_attribute(node, "marked")) continue;
    cr_expect(!strcmp(node->outputs[0]->name, "a") || !strcmp(node->outputs[0]->name, "b") ||
              !strcmp(node->outputs[0]->name, "c"));
    cr_expect_eq(node->origin_count, 1);
    found++;
  }
  cr_expect_eq(found, 3);
  arena_free(arena);
}

Test(rules, rules_that_undo_each_other_are_an_error) {
  Arena *arena = arena_new();
  Graph *graph = parse(arena, chain);
  PassOptions options = {0};
  Status status;
  apply(graph, &endless, &options, &status);
  cr_assert_not_null(status);
  cr_expect_not_null(strstr(status_message(status), "come to no end"), "%s", status_message(status));
  status_free(status);
  arena_free(arena);
}

Test(rules, which_take_part) {
  static const struct {
    const char *disabled, *only;
    int allowed, applied;
  } rows[] = {{NULL, NULL, 9, 3},
              {"marks", NULL, 9, 0},
              {"marks@second", NULL, 9, 2},
              {"tested@first,marks@third", NULL, 9, 1},
              {"mark", NULL, 9, 3},
              {"marks@secon", NULL, 9, 3},
              {NULL, "marks", 9, 3},
              {NULL, "tested", 9, 3},
              {NULL, "other", 9, 0},
              {NULL, NULL, 2, 2},
              {NULL, NULL, 0, 0},
              {"all", NULL, 9, 0},
              {"", NULL, 9, 3},
              {"all@second", NULL, 9, 2},
              {NULL, "all", 9, 3},
              {NULL, "marks@second", 9, 1},
              {NULL, "all@second", 9, 1},
              {NULL, "tested@first,marks@third", 9, 2},
              {NULL, "marks,marks@second", 9, 3},
              {"marks@second", "tested", 9, 2},
              {"tested@first", "marks@first,marks@third", 9, 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Arena *arena = arena_new();
    Graph *graph = parse(arena, chain);
    int allowed = rows[i].allowed;
    PassOptions options = {.disabled = rows[i].disabled, .only = rows[i].only, .allowed = &allowed};
    Status status;
    cr_expect_eq(apply(graph, &marks, &options, &status), rows[i].applied, "row %zu", i);
    cr_assert_null(status);
    cr_expect_eq(allowed, rows[i].allowed - rows[i].applied);
    arena_free(arena);
  }
}

static const char *why_absent(const void *model, const char *name) { return strcmp(model, name) ? NULL : "it was not needed"; }

Test(rules, names_and_places_that_are_not_there_are_refused) {
  Arena *arena = arena_new();
  Graph *graph = parse(arena, chain);
  cr_expect_null(passes_check_list("fuse_epilogue,remove_view,all,compose_transposes@anything"));
  cr_expect_null(passes_check_places("fuse_epilogue@second,fold_scale", graph, why_absent, "fifth"));
  Status status = passes_check_list("fuse_epilogue,remove_views");
  cr_assert_not_null(status);
  cr_expect_not_null(
      strstr(status_message(status), "no pass or rule 'remove_views'; there are, with their rules: fold_constants"), "%s",
      status_message(status));
  cr_expect_not_null(strstr(status_message(status), "remove_view"));
  status_free(status);
  status = passes_check_places("fuse_epilogue@fifth", graph, why_absent, "fifth");
  cr_assert_not_null(status);
  cr_expect_not_null(
      strstr(status_message(status), "nothing of node 'fifth', which 'fuse_epilogue@fifth' is about: it was not needed"), "%s",
      status_message(status));
  status_free(status);
  status = passes_check_places("fuse_epilogue@fourth", graph, why_absent, "fifth");
  cr_assert_not_null(status);
  cr_expect_not_null(strstr(status_message(status), "no node 'fourth'"), "%s", status_message(status));
  status_free(status);
  arena_free(arena);
}
