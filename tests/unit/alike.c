// Sites that differ in nothing but what their buffers hold share what they were lowered to; and may, since launches do not follow from what constants hold.
#include "lower/alike.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/ops.h"
#include "lower/plan.h"

static DeviceInfo gpu;

static Status plan_of(Graph *graph, Arena *arena, Plan **plan) {
  SelectOptions options = {0};
  cr_assert_null(chip_find("H200", &gpu));
  return plan_make(graph, &(PlanTarget){.info = &gpu, .select = &options}, arena, plan);
}

static const Plan *plan_of_text(const char *text, Arena *arena) {
  Graph *graph;
  Plan *plan;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  status = plan_of(graph, arena, &plan);
  cr_assert_null(status, "%s", status_message(status));
  return plan;
}

// ---- which sites share -------------------------------------------------------------------------------------------------------

typedef struct Row {
  const char *name, *text;
  bool shared;  // the first two steps
} Row;

#define TWO(first, second) \
  "graph g(%x: f32[8, 64], %y: f32[8, 32], %a: f32[64, 64], %b: f32[64, 64]) -> (%q) {\n" first "\n" second "\n}"
#define NEG "{program: \"(x: f32) { v0 = input 0 f32 v1 = neg f32 v0 -> v1 }\"}"

static const Row rows[] = {
    {"layers that repeat", TWO("%p: ?[?] = matmul(%x, %a)", "%q: ?[?] = matmul(%p, %b)"), true},
    {"another size",
     "graph g(%x: f32[8, 64], %a: f32[64, 64], %b: f32[64, 32]) -> (%q) {\n%p: ?[?] = matmul(%x, %a)\n%q: ?[?] = matmul(%p, "
     "%b)\n}",
     false},
    {"another type",
     "graph g(%x: f32[8, 64], %a: f32[64, 64], %u: f16[8, 64], %b: f16[64, 64]) -> (%p, %q) {\n%p: ?[?] = matmul(%x, %a)\n%q: "
     "?[?] = matmul(%u, %b)\n}",
     false},
    {"another attribute",
     "graph g(%x: f32[8, 64]) -> (%q) {\n%p: ?[?] = cumulative(%x) {kind: \"sum\", axis: 1}\n%q: ?[?] = cumulative(%p) {kind: "
     "\"sum\", axis: 1, reverse: 1}\n}",
     false},
    {"the same attribute",
     "graph g(%x: f32[8, 64]) -> (%q) {\n%p: ?[?] = cumulative(%x) {kind: \"sum\", axis: 1}\n%q: ?[?] = cumulative(%p) {kind: "
     "\"sum\", axis: 1}\n}",
     true},
    {"other strides",
     "graph g(%x: f32[64, 64], %a: f32[64, 64]) -> (%q) {\n%t: ?[?] = transpose(%a) {perm: [1, 0]}\n%p: ?[?] = matmul(%x, "
     "%a)\n%q: ?[?] = matmul(%p, %t)\n}",
     false},
};

Test(alike, sites_that_differ_in_buffers_alone_share) {
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    Arena *arena = arena_new();
    const Plan *plan = plan_of_text(rows[i].text, arena);
    cr_assert_geq(plan->step_count, 2, "%s", rows[i].name);
    bool shared = plan->steps[0].selection.emission == plan->steps[1].selection.emission;
    cr_expect_eq(shared, rows[i].shared, "%s", rows[i].name);
    arena_free(arena);
  }
}

// ---- what launches follow from -----------------------------------------------------------------------------------------------

static void scale(Tensor *tensor, double factor) {
  for (int64_t i = 0; i < tensor_count(tensor); i++) tensor_set_f(tensor, i, tensor_get_f(tensor, i) * factor);
}

// Those that the case has in its text.
static void change_constants(Graph *graph, double factor) {
  FOR_NODES(node, graph)
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && node->inputs[i]->constant && dtype_is_float(node->inputs[i]->dtype))
      scale(node->inputs[i]->constant, factor);
}

// The case's plan where all inputs but the first are constants, of contents that follow from the seed; NULL: nothing plans it so.
static const Plan *plan_of_case(const OperatorCase *row, uint64_t seed, Arena *arena) {
  Graph *graph;
  Plan *plan;
  if (operator_case_build(row, arena, core_ops, &graph)) return NULL;
  Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count + 1);
  if (operator_case_fill(row, graph, arena, seed, inputs)) return NULL;
  change_constants(graph, seed == 1 ? 1 : 0.75);
  for (int i = 1; i < graph->input_count; i++) {
    if (graph->inputs[i]->dtype == DTYPE_STRING || !graph->inputs[i]->use_count) continue;
    value_replace(graph->inputs[i], graph_add_constant(graph, NULL, &inputs[i]));
  }
  Status status = plan_of(graph, arena, &plan);
  if (status) plan = NULL;
  status_free(status);
  return plan;
}

static bool launches_equal(const Launch *a, const Launch *b) {
  if (a->kind != b->kind || a->arg_count != b->arg_count) return false;
  if (a->kind != LAUNCH_KERNEL) return true;
  bool equal = !strcmp(a->source, b->source) && !memcmp(a->grid, b->grid, sizeof a->grid) &&
               !memcmp(a->block, b->block, sizeof a->block);
  for (int i = 0; i < a->arg_count && equal; i++)
    equal = a->args[i].kind == b->args[i].kind && (a->args[i].kind == ARG_BUFFER || a->args[i].i64 == b->args[i].i64);
  return equal;
}

static bool emissions_equal(const Emission *a, const Emission *b) {
  bool equal = a->launch_count == b->launch_count && a->packed_count == b->packed_count;
  for (uint32_t i = 0; i < a->launch_count && equal; i++) equal = launches_equal(&a->launches[i], &b->launches[i]);
  return equal;
}

static int compare(const char *name, const Plan *a, const Plan *b) {
  int compared = 0;
  for (uint32_t s = 0; s < a->step_count && s < b->step_count; s++, compared++) {
    const Selection *x = &a->steps[s].selection, *y = &b->steps[s].selection;
    bool equal = x->implementation == y->implementation && emissions_equal(x->emission, y->emission);
    cr_expect(equal, "%s: the launches of %s follow from what a constant holds", name, x->implementation->name);
  }
  return compared;
}

Test(alike, launches_do_not_follow_from_contents) {
  int compared = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    const Plan *a = plan_of_case(row, 1, arena), *b = plan_of_case(row, 2, arena);
    cr_expect_eq(!a, !b, "%s", row->name);
    if (a && b) compared += compare(row->name, a, b);
    arena_free(arena);
  }
  cr_expect_gt(compared, 1000);
}

Test(alike, other_launches_are_told_apart) {
  Arena *arena = arena_new();
  const Plan *small =
      plan_of_text("graph g(%x: f32[8, 64]) -> (%y) { %y: ?[?] = cumulative(%x) {kind: \"sum\", axis: 1} }", arena);
  const Plan *large =
      plan_of_text("graph g(%x: f32[9, 65]) -> (%y) { %y: ?[?] = cumulative(%x) {kind: \"sum\", axis: 1} }", arena);
  cr_expect(emissions_equal(small->steps[0].selection.emission, small->steps[0].selection.emission));
  cr_expect_not(emissions_equal(small->steps[0].selection.emission, large->steps[0].selection.emission));
  arena_free(arena);
}
