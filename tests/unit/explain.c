// Why steps are computed as they are: whoever does not take a site says why, and an explanation has each way there is, the chosen one among them.
#include "lower/explain.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/fused.h"
#include "kernels/meaning.h"
#include "kernels/ops.h"

// ---- reasons -----------------------------------------------------------------------------------------------------------------

static TensorDesc describe(const Value *value, bool spread) {
  if (!value) return (TensorDesc){.absent = true};
  TensorDesc desc = {.dtype = value->dtype, .rank = value->rank};
  value_get_dims(value, desc.dims);
  dims_strides(desc.rank, desc.dims, desc.strides);
  for (int i = 0; i < desc.rank && spread; i++) desc.strides[i] = desc.strides[i] * 3 + 2;
  return desc;
}

static Site site_of(const Node *node, const DeviceInfo *device, bool spread, Arena *arena) {
  Site site = {.device = device};
  int *numbers;
  fused_site(node, arena, &site, &numbers);
  int count = site_input_count(&site);
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)count + 1),
             *outputs = arena_array(arena, TensorDesc, (size_t)node->output_count);
  for (int i = 0; i < count; i++) inputs[i] = describe(numbers[i] < 0 ? NULL : node->inputs[numbers[i]], spread);
  for (int i = 0; i < node->output_count; i++) outputs[i] = describe(node->outputs[i], false);
  site.inputs = inputs, site.outputs = outputs;
  return site;
}

static int expect_reasons(const OperatorCase *row, const Node *node, const DeviceInfo *device, bool spread, Arena *arena) {
  Site site = site_of(node, device, spread, arena);
  int refused = 0, serving = 0;
  const Implementation *order[MOST_IMPLEMENTATIONS];
  const char *text;
  for (int i = 0; implementations[i]; i++) {
    if (!implementation_serves(implementations[i], &site)) continue;
    const char *why = NULL;
    serving++;
    site.refusal = &why;
    if (implementations[i]->supports(&site)) continue;
    cr_expect(why && *why, "%s: %s does not say why it does not take %s", row->name, implementations[i]->name, node->op->name);
    refused++;
  }
  int asked = select_order(&site, order, MOST_IMPLEMENTATIONS, &text);
  cr_expect_eq(asked, serving, "%s: %d implementations are asked of %d", row->name, asked, serving);
  cr_expect_gt(strlen(text), 0);
  return refused;
}

static int reasons_on(const DeviceInfo *device) {
  int refused = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    Graph *graph;
    Status status = operator_case_build(row, arena, core_ops, &graph);
    cr_assert_null(status, "%s: %s", row->name, status_message(status));
    FOR_NODES(node, graph) {
      bool known = !node->op->view;
      for (int i = 0; i < node->output_count && known; i++) {
        int64_t dims[MAX_RANK];
        known = value_get_dims(node->outputs[i], dims);
      }
      for (int spread = 0; spread < 2 && known; spread++) refused += expect_reasons(row, node, device, spread, arena);
    }
    arena_free(arena);
  }
  return refused;
}

Test(explain, whoever_does_not_take_a_site_says_why) {
  DeviceInfo cpu = {.kind = DEVICE_CPU, .multiprocessors = 1}, old, new;
  cr_assert_null(chip_find("T4", &old));
  cr_assert_null(chip_find("H200", &new));
  cr_expect_gt(reasons_on(&cpu), 500);
  cr_expect_gt(reasons_on(&old), 500);
  new.cublaslt = new.cudnn = true;
  cr_expect_gt(reasons_on(&new), 500);
}

// ---- ways --------------------------------------------------------------------------------------------------------------------

static Plan *plan_of(const char *text, const DeviceInfo *device, const SelectOptions *options, Arena *arena) {
  Graph *graph;
  Plan *plan;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  status = plan_make(graph, &(PlanTarget){.info = device, .select = options}, arena, &plan);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert_eq(plan->step_count, 1);
  return plan;
}

static const ExplainedImplementation *found(const Explanation *explained, const char *name) {
  for (int i = 0; i < explained->count; i++)
    if (!strcmp(explained->implementations[i].implementation->name, name)) return &explained->implementations[i];
  cr_assert_fail("no %s in the explanation", name);
  return NULL;
}

#define PRODUCT "graph g(%a: f16[64, 96], %b: f16[96, 80]) -> (%y) { %y: ?[?] = matmul(%a, %b) }"

Test(explain, has_every_way_and_the_chosen_one) {
  Arena *arena = arena_new();
  DeviceInfo device;
  SelectOptions options = {0};
  Explanation explained;
  cr_assert_null(chip_find("H200", &device));
  const Plan *plan = plan_of(PRODUCT, &device, &options, arena);
  cr_assert_null(explain_step(&plan->steps[0], &options, arena, &explained));
  const ExplainedImplementation *mma = found(&explained, "mma_matmul"), *library = found(&explained, "cublaslt");
  int chosen = 0;
  for (int i = 0; i < explained.count; i++)
    for (int w = 0; w < explained.implementations[i].way_count; w++) chosen += explained.implementations[i].ways[w].chosen;
  cr_expect_eq(chosen, 1);
  cr_expect(mma->way_count > 3 && mma->ways[0].chosen && mma->ways[0].way.cost > 0 && !mma->refusal);
  cr_expect_str_eq(library->refusal, "cuBLASLt is not here");
  cr_expect_str_eq(explained.implementations[0].implementation->name, "mma_matmul", "small: own kernels come first");
  arena_free(arena);
}

Test(explain, a_way_that_cannot_be_had_says_why) {
  Arena *arena = arena_new();
  DeviceInfo device;
  SelectOptions options = {.workspace_limit = 1};
  Explanation explained;
  cr_assert_null(chip_find("H200", &device));
  const Plan *plan =
      plan_of("graph g(%a: f32[512, 512], %b: f32[512, 512]) -> (%y) { %y: ?[?] = matmul(%a, %b) }", &device, &options, arena);
  cr_assert_null(explain_step(&plan->steps[0], &options, arena, &explained));
  const ExplainedImplementation *simt = found(&explained, "simt_matmul");
  int failed = 0;
  for (int w = 0; w < simt->way_count; w++) failed += simt->ways[w].failure && strstr(simt->ways[w].failure, "workspace");
  cr_expect(failed > 0 && failed < simt->way_count);
  arena_free(arena);
}
