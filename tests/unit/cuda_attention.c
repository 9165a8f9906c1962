// Attention as one kernel: that it compiles for every target it is offered on, and that no way asks a GPU for more than it has. What it computes is tested on a
// GPU, and on the emulated one.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/attention/attention.h"
#include "kernels/cases.h"
#include "kernels/control/region.h"
#include "kernels/ops.h"
#include "kernels/implementation.h"
#include "kernels/meaning.h"
#include "tests/nvrtc_test.h"

extern const Implementation cuda_mma_attention;

static const struct {
  int sm, shared;
} targets[] = {{75, 65536}, {80, 166912}, {86, 101376}, {89, 101376}, {90, 232448}, {100, 232448}, {120, 101376}};

static void describe(const Value *value, TensorDesc *desc) {
  *desc = (TensorDesc){.dtype = value->dtype, .rank = value->rank};
  cr_assert(value_get_dims(value, desc->dims));
  dims_strides(desc->rank, desc->dims, desc->strides);
}

// The region of a case, all of whose operands lie row-major.
static Site site_of(Arena *arena, const char *name, DeviceInfo *device) {
  const OperatorCase *row = operator_cases;
  while (row->name && strcmp(row->name, name)) row++;
  cr_assert(row->name, "no case %s", name);
  Graph *graph;
  cr_assert_null(operator_case_build(row, arena, core_ops, &graph));
  Node *region = graph->outputs[0]->producer;
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)region->input_count), *outputs = arena_new_of(arena, TensorDesc);
  for (int i = 0; i < region->input_count; i++) describe(region->inputs[i], &inputs[i]);
  describe(region->outputs[0], outputs);
  return (Site){.node = region, .inputs = inputs, .outputs = outputs, .device = device};
}

static void compiles(const char *name, int expected_targets) {
  Compiler *compiler = nvrtc_compiler((Log){0});
  Arena *arena = arena_new();
  KernelSource sources[COUNT_OF(targets)];
  Cubin cubins[COUNT_OF(targets)];
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(targets); i++) {
    DeviceInfo device = {
        .kind = DEVICE_CUDA, .sm = targets[i].sm, .multiprocessors = 132, .shared_per_block = targets[i].shared};
    chip_take_rates(&device, 0, 0);
    Site site = site_of(arena, name, &device);
    if (!cuda_mma_attention.supports(&site)) continue;
    Way way;
    cr_assert_eq(cuda_mma_attention.ways(&site, &(Machine){0}, &way, 1), 1);
    Emission emission = {.arena = arena};
    cr_assert_null(cuda_mma_attention.lower(&site, &way, &(Machine){0}, &emission));
    cr_assert_eq(emission.launch_count, 1);
    sources[count++] = (KernelSource){name, emission.launches[0].source, targets[i].sm};
  }
  cr_assert_eq(count, expected_targets, "%s: %d targets", name, count);
  Status status = compiler_compile_all(compiler, sources, count, 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  compiler_free(compiler);
  arena_free(arena);
}

static void compiles_every_way(const char *name) {
  enum { MOST = 24 };
  Compiler *compiler = nvrtc_compiler((Log){0});
  Arena *arena = arena_new();
  DeviceInfo device = {.kind = DEVICE_CUDA, .sm = 90, .multiprocessors = 132, .shared_per_block = 232448};
  chip_take_rates(&device, 0, 0);
  Site site = site_of(arena, name, &device);
  Way list[MOST];
  KernelSource sources[MOST];
  Cubin cubins[MOST];
  int count = cuda_mma_attention.ways(&site, &(Machine){0}, list, MOST);
  cr_assert(count > 8 && count < MOST, "%s: %d ways", name, count);
  for (int i = 0; i < count; i++) {
    Emission emission = {.arena = arena};
    cr_assert_null(cuda_mma_attention.lower(&site, &list[i], &(Machine){0}, &emission));
    sources[i] = (KernelSource){list[i].name, emission.launches[0].source, device.sm};
  }
  Status status = compiler_compile_all(compiler, sources, count, 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  compiler_free(compiler);
  arena_free(arena);
}

Test(cuda_attention, every_way_on_hopper) { compiles_every_way("attention/f16_2x70x75x64x64"); }
Test(cuda_attention, every_way_with_large_heads_on_hopper) { compiles_every_way("attention/heads_128_f16"); }
Test(cuda_attention, plain_f16) { compiles("attention/f16_2x70x75x64x64", 7); }
Test(cuda_attention, large_heads_bf16) { compiles("attention/bf16_1x9x33x200x136", 6); }
Test(cuda_attention, several_operands) { compiles("attention/windows_f16", 7); }
Test(cuda_attention, coordinates) { compiles("attention/causal_f16", 7); }

Test(cuda_attention, asks_for_no_more_than_there_is) {
  Arena *arena = arena_new();
  int ways_met = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    if (strncmp(row->name, "attention/", strlen("attention/"))) continue;
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
      DeviceInfo device = {
          .kind = DEVICE_CUDA, .sm = targets[i].sm, .multiprocessors = 132, .shared_per_block = targets[i].shared};
      chip_take_rates(&device, 0, 0);
      Site site = site_of(arena, row->name, &device);
      if (!cuda_mma_attention.supports(&site)) continue;
      Way list[16];
      int count = cuda_mma_attention.ways(&site, &(Machine){0}, list, 16);
      cr_expect_geq(count, 1, "%s on sm_%d", row->name, device.sm);
      for (int c = 0; c < count; c++) {
        Emission emission = {.arena = arena};
        cr_assert_null(cuda_mma_attention.lower(&site, &list[c], &(Machine){0}, &emission));
        cr_expect_leq(emission.launches[0].shared_bytes, (unsigned)device.shared_per_block, "%s: %s", row->name, list[c].name);
        ways_met++;
      }
    }
  }
  cr_expect_gt(ways_met, 200);
  arena_free(arena);
}

// What it does not take: single precision, heads that its tiles have no room for in the shared memory of a chip, bf16 where tensor cores have none.
Test(cuda_attention, leaves_the_rest) {
  Arena *arena = arena_new();
  DeviceInfo device = {.kind = DEVICE_CUDA, .sm = 90, .multiprocessors = 132, .shared_per_block = 232448};
  chip_take_rates(&device, 0, 0);
  Site site = site_of(arena, "region/attention_f32", &device);
  cr_expect(!cuda_mma_attention.supports(&site));
  site = site_of(arena, "region/product_f16", &device);
  cr_expect(!cuda_mma_attention.supports(&site));
  site = site_of(arena, "attention/bf16_1x9x33x200x136", &device);
  cr_expect(cuda_mma_attention.supports(&site));
  device.sm = 75;
  cr_expect(!cuda_mma_attention.supports(&site));
  site = site_of(arena, "attention/f16_1x9x33x160x160", &device);
  cr_expect(cuda_mma_attention.supports(&site));
  device.shared_per_block = 65536;
  cr_expect(!cuda_mma_attention.supports(&site));
  arena_free(arena);
}

// Each of forty sums reads the eight before it: there are more ways back from the softmax than could be gone one by one.
Test(cuda_attention, looks_for_a_product_only_so_long, .timeout = 10) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  text_add(&text,
           "graph g(%%x: f16[9, 9], %%v: f16[9, 8]) -> (%%y) { %%s0: f16[9, 9] = elementwise(%%x) {program: program {%%0: "
           "f32 = input 0; %%1 = relu %%0; yield %%1}} ");
  for (int i = 1; i <= 40; i++) {
    text_add(&text, "%%s%d: f16[9, 9] = elementwise(", i);
    for (int k = 1; k <= 8; k++) text_add(&text, "%s%%s%d", k > 1 ? ", " : "", MAX(i - k, 0));
    text_add(&text, ") {program: program {%%0: f32 = input 0; %%1: f32 = input 7; %%2 = add %%0 %%1; yield %%2}} ");
  }
  text_add(&text,
           "%%p: f16[9, 9] = rowwise(%%s40) {program: program {%%0: f32 = input 0; %%1 = reduce_max %%0; %%2 = sub %%0 %%1; "
           "%%3 = exp %%2; %%4 = reduce_sum %%3; %%5 = div %%3 %%4; yield %%5}, axes: 1} %%y: f16[9, 8] = matmul(%%p, %%v) }");
  Graph *graph;
  Attention attention;
  Status status = graph_parse(arena, core_ops, text_get(&text), strlen(text_get(&text)), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  cr_expect_str_eq(attention_read(graph->outputs[0]->producer, arena, &attention), "its softmax takes no product");
  arena_free(arena);
}
