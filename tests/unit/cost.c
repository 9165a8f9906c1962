// The cost model: more work never costs less, whoever does it; every way of every operator case has a cost that can be compared; what a GPU's driver says of
// itself against its chip's row.
#include "kernels/cost.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/fused.h"
#include "kernels/implementation.h"
#include "kernels/meaning.h"
#include "kernels/ops.h"

static DeviceInfo cpu_of(int threads) {
  DeviceInfo device = {.kind = DEVICE_CPU, .multiprocessors = threads};
  cpu_take_rates(&device);
  return device;
}

static DeviceInfo chip(const char *name) {
  DeviceInfo device;
  cr_assert_null(chip_find(name, &device));
  return device;
}

// ---- every case --------------------------------------------------------------------------------------------------------------

static bool describe(const Value *value, TensorDesc *desc) {
  *desc = (TensorDesc){.absent = !value};
  if (!value) return true;
  if (value->rank < 0 || value->dtype == DTYPE_COUNT || !value_get_dims(value, desc->dims)) return false;
  desc->dtype = value->dtype;
  desc->rank = value->rank;
  desc->constant = value->constant;
  dims_strides(desc->rank, desc->dims, desc->strides);
  return true;
}

// All of its operands row-major; false where a size is open.
static bool site_of(const Node *node, const DeviceInfo *device, Arena *arena, Site *out) {
  int *numbers;
  *out = (Site){.device = device};
  fused_site(node, arena, out, &numbers);
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)site_input_count(out) + 1),
             *outputs = arena_array(arena, TensorDesc, (size_t)node->output_count);
  bool known = true;
  for (int i = 0; i < site_input_count(out); i++)
    known &= describe(numbers[i] < 0 ? NULL : node->inputs[numbers[i]], &inputs[i]);
  for (int i = 0; i < node->output_count; i++) known &= describe(node->outputs[i], &outputs[i]);
  out->inputs = inputs, out->outputs = outputs;
  return known;
}

static int expect_costs(const char *name, const Site *site) {
  int seen = 0;
  for (int i = 0; implementations[i]; i++) {
    const Implementation *implementation = implementations[i];
    Way ways[WAYS_ASKED];
    if (!implementation_serves(implementation, site) || !implementation->supports(site)) continue;
    int count = implementation_ways(implementation, site, &(Machine){0}, ways, WAYS_ASKED);
    for (int w = 0; w < count; w++)
      cr_expect(isfinite(ways[w].cost) && ways[w].cost > 0, "%s by %s %s on %s costs %g", name, implementation->name,
                ways[w].name, site->device->name, ways[w].cost);
    // A way that was read from a plan's text costs the same.
    for (int w = 0; w < count; w++) {
      Way read = ways[w];
      read.cost = 0;
      cr_expect_eq(implementation_cost(implementation, site, &read), ways[w].cost, "%s by %s %s", name, implementation->name,
                   ways[w].name);
    }
    seen += count;
  }
  return seen;
}

static void expect_costs_of_cases(const DeviceInfo *device, int least) {
  int ways = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    Graph *graph;
    Status status = operator_case_build(row, arena, core_ops, &graph);
    cr_assert_null(status, "%s: %s", row->name, status_message(status));
    FOR_NODES(node, graph) {
      Site site;
      if (!node->op->view && node->op->reference && site_of(node, device, arena, &site)) ways += expect_costs(row->name, &site);
    }
    arena_free(arena);
  }
  cr_expect_geq(ways, least, "%s: %d ways", device->name, ways);
}

Test(cost, is_known_of_every_way_on_every_chip, .timeout = 300) {
  for (const Chip *row = chips; row->name; row++) {
    DeviceInfo device = chip(row->name);
    device.cublaslt = device.cudnn = true;
    expect_costs_of_cases(&device, 1000);
  }
}

Test(cost, is_known_of_every_way_on_the_cpu, .timeout = 100) {
  DeviceInfo device = cpu_of(4);
  expect_costs_of_cases(&device, 500);
}

// ---- more costs more -----------------------------------------------------------------------------------------------------------

static Site parsed(Arena *arena, const DeviceInfo *device, const char *text) {
  Graph *graph;
  Site site;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s: %s", text, status_message(status));
  FOR_NODES(node, graph) {
    status = node_infer(node);
    cr_assert_null(status, "%s: %s", text, status_message(status));
  }
  cr_assert(site_of(graph->outputs[0]->producer, device, arena, &site));
  return site;
}

// The best way of each implementation over sizes that double: never less. %d is the size.
static void expect_growth(const DeviceInfo *device, const char *form, bool tiles) {
  double before[64] = {0};
  for (int size = 16; size <= 4096; size *= 2) {
    Arena *arena = arena_new();
    Text text = text_new(arena);
    for (const char *at = form; *at; at++) *at == '#' ? text_add(&text, "%d", size) : text_add(&text, "%c", *at);
    Site site = parsed(arena, device, text_get(&text));
    cr_assert_geq(cost_of_site(&site, 1), before[63], "%s of %d on %s", form, size, device->name);
    before[63] = cost_of_site(&site, 1);
    cr_expect_leq(cost_at_least(&site), cost_of_site(&site, 1), "%s of %d on %s", form, size, device->name);
    for (int i = 0; implementations[i]; i++) {
      Way way;
      if (!implementation_serves(implementations[i], &site) || !implementations[i]->supports(&site)) continue;
      if (!implementation_ways(implementations[i], &site, &(Machine){0}, &way, 1)) continue;
      // Tiles of one size suit some products better: what grows may fill the chip a little better, never by much.
      double room = tiles ? 0.98 : 1;
      cr_expect_geq(way.cost, before[i] * room, "%s of %d by %s on %s", form, size, implementations[i]->name, device->name);
      before[i] = way.cost;
    }
    arena_free(arena);
  }
  cr_expect_gt(before[63], 0);
}

Test(cost, never_shrinks_with_the_work) {
  DeviceInfo devices[] = {chip("T4"), chip("A100"), chip("H200"), chip("RTX 5090"), cpu_of(1), cpu_of(16)};
  for (size_t d = 0; d < COUNT_OF(devices); d++) {
    expect_growth(&devices[d], "graph g(%a: f16[#, 256], %w: f16[256, 512]) -> (%y) { %y: ?[?] = matmul(%a, %w) }", true);
    expect_growth(&devices[d], "graph g(%a: f32[64, #], %w: f32[#, 512]) -> (%y) { %y: ?[?] = matmul(%a, %w) }", true);
    expect_growth(&devices[d], "graph g(%x: f32[1, 8, 64, #]) -> (%y) { %y: ?[?] = pool(%x) {kind: \"max\", kernel: [3, 3]} }",
                  false);
    expect_growth(&devices[d], "graph g(%x: f32[16, #], %b: f32[16, 8]) -> (%y) { %y: ?[?] = concat(%x, %b) {axis: 1} }",
                  false);
    expect_growth(&devices[d],
                  "graph g(%x: f32[16, #], %b: f32[16, 1]) -> (%y) { %y: ?[?] = elementwise(%x, %b) {program: program {%0: f32 "
                  "= input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2}} }",
                  false);
    expect_growth(&devices[d], "graph g(%x: f32[4, #]) -> (%y, %i) { %y: ?[?], %i: ?[?] = topk(%x) {k: dims[4], axis: 1} }",
                  false);
  }
}

Test(cost, of_a_wider_window_and_a_longer_program_is_more) {
  DeviceInfo device = chip("H200");
  Arena *arena = arena_new();
  Site small = parsed(arena, &device,
                      "graph g(%x: f32[64, 64, 56, 56]) -> (%y) { %y: ?[?] = pool(%x) {kind: \"max\", kernel: [2, 2]} }");
  Site large = parsed(arena, &device,
                      "graph g(%x: f32[64, 64, 56, 56]) -> (%y) { %y: ?[?] = pool(%x) {kind: \"max\", kernel: [50, 50], pads: "
                      "[25, 25, 25, 25]} }");
  cr_expect_gt(cost_of_site(&large, 1), 2 * cost_of_site(&small, 1));
  cr_expect_gt(cost_of_site(&small, 3), cost_of_site(&small, 2));
  SiteWork work = work_of(&small);
  cr_expect_float_eq(work.arithmetic, 64. * 64 * 55 * 55 * 4, 1);
  cr_expect_float_eq(work.bytes, 64. * 64 * (56 * 56 + 55 * 55) * 4, 1);
  arena_free(arena);
}

// What broadcasts is read once, and of a table only what indices name.
Test(cost, counts_bytes_that_are_moved) {
  DeviceInfo device = chip("H200");
  Arena *arena = arena_new();
  Site site =
      parsed(arena, &device, "graph g(%x: f32[100000, 64], %i: i64[8]) -> (%y) { %y: ?[?] = gather(%x, %i) {axis: 0} }");
  cr_expect_float_eq(work_of(&site).bytes, 8 * 64 * 4 * 2 + 8 * 8, 0.5);
  TensorDesc inputs[2] = {site.inputs[0], site.inputs[1]};
  inputs[1].strides[0] = 0;
  site.inputs = inputs;
  cr_expect_float_eq(work_of(&site).bytes, 8 * 64 * 4 * 2 + 8, 0.5);
  arena_free(arena);
}

// ---- rates -------------------------------------------------------------------------------------------------------------------

static DeviceInfo here(const char *name, int sm, double clock, double memory) {
  DeviceInfo device = {.kind = DEVICE_CUDA, .sm = sm, .multiprocessors = 100};
  snprintf(device.name, sizeof device.name, "%s", name);
  chip_take_rates(&device, clock, memory);
  return device;
}

Test(cost, a_gpu_takes_the_row_of_its_name_or_architecture_and_what_its_driver_says) {
  DeviceRates h200 = chip("H200").rates, a10 = chip("A10").rates;
  DeviceInfo device =
      here("NVIDIA H200", 90, 1980, 4917);  // what the driver says of the memory's clock is a little more than the data sheet
  cr_expect_arr_eq(&device.rates, &h200, sizeof h200);
  device = here("NVIDIA H100 80GB HBM3", 90, 1980, 3352);
  cr_expect_eq(device.rates.memory, chip("H100").rates.memory);
  device = here("NVIDIA H100 PCIe", 90, 1755, 2039);
  cr_expect_eq(device.rates.clock, 1755);
  cr_expect_eq(device.rates.memory, 2039);
  cr_expect_lt(device.rates.reached, 0.7 * h200.reached);
  device = here("NVIDIA GeForce RTX 4090", 89, 0, 0);
  cr_expect_eq(device.rates.clock, chip("RTX 4090").rates.clock);
  device = here("NVIDIA A10G", 86, 0, 0);  // no A100, and no A10 but by its architecture
  cr_expect_arr_eq(&device.rates, &a10, sizeof a10);
  device = here("a chip of tomorrow", 103, 3000, 10000);
  cr_expect_eq(device.rates.tensor, chip("B200").rates.tensor);
  cr_expect_eq(device.rates.clock, 3000);
}
