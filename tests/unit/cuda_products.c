// Matrix products and convolutions written here: which sites their implementations take, that every kernel compiles for every target it is
// offered on, that no way asks a GPU for more than it has, and how filters are packed. What the kernels compute is
// tested on a GPU.
#include <stdio.h>
#include "kernels/conv/conv.h"
#include "kernels/matmul/matmul.h"
#include "kernels/tile/mma_config.h"
#include "tests/nvrtc_test.h"
#include "tests/site_test.h"

extern const Implementation cuda_mma_matmul, cuda_simt_matmul, cuda_mma_conv, cuda_simt_conv, cuda_depthwise_conv;
extern const Implementation cuda_mma_conv_transpose, cuda_simt_conv_transpose;

static const char bias_gelu[] =
    "{%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; %3: f32 = const 0.70710678; %4 = mul %2 %3; %5 = erf %4; "
    "%6 = mul %5 %2; yield %6}";
static const uint8_t channels_last[] = {0, 2, 3, 1}, swapped[] = {1, 0};

static SiteTest *product(DType dtype, int64_t m, int64_t k, int64_t n, const uint8_t *a_order, const uint8_t *b_order) {
  SiteTest *test = site_test_new();
  site_input(test, dtype, SITE_DIMS(m, k), a_order);
  site_input(test, dtype, SITE_DIMS(k, n), b_order);
  site_node(test, &op_matmul, 2);
  if (dtype == DTYPE_I8) node_set_int(test->node, "dtype", DTYPE_I32);
  site_ready(test, NULL, false);
  return test;
}

static SiteTest *image(const OpDef *op, DType dtype, int64_t channels, int64_t filters, int64_t kernel, int64_t group,
                       const uint8_t *order) {
  SiteTest *test = site_test_new();
  site_input(test, dtype, SITE_DIMS(1, channels, 9, 7), order);
  if (op == &op_conv_transpose) site_input(test, dtype, SITE_DIMS(channels, filters / group, kernel, kernel), NULL);
  else site_input(test, dtype, SITE_DIMS(filters, channels / group, kernel, kernel), NULL);
  site_node(test, op, 2);
  const int64_t pads[4] = {kernel / 2, kernel / 2, kernel / 2, kernel / 2}, strides[2] = {2, 1}, dilations[2] = {1, 1};
  node_set_ints(test->node, "pads", pads, 4);
  node_set_ints(test->node, "strides", strides, 2);
  node_set_ints(test->node, "dilations", dilations, 2);
  node_set_int(test->node, "group", group);
  site_ready(test, order, false);
  test->inputs[1].constant = &test->tensors[1];
  return test;
}

static const int targets[] = {75, 80, 86, 89, 90, 100, 120};
static void become(SiteTest *test, int sm) {
  int shared = sm == 75 ? 65536 : sm == 80 ? 166912 : sm == 90 || sm == 100 ? 232448 : 101376;
  test->device.sm = sm;
  test->device.shared_per_block = shared;
  test->device.shared_per_multiprocessor = shared + 1024;
  chip_take_rates(&test->device, 0, 0);
}

// The first ways of the implementation on every target that supports the site: one of each way.
static void compiles(SiteTest *test, const Implementation *implementation, int expected_targets) {
  Compiler *compiler = nvrtc_compiler((Log){0});
  KernelSource sources[8 * COUNT_OF(targets)];
  int count = 0, supported = 0;
  for (size_t i = 0; i < COUNT_OF(targets); i++) {
    become(test, targets[i]);
    if (!implementation->supports(&test->site)) continue;
    supported++;
    Way ways[2];
    int found = implementation->ways(&test->site, &(Machine){0}, ways, implementation == &cuda_mma_conv_transpose ? 2 : 1);
    cr_assert_geq(found, 1);
    Emission emission = {.arena = test->arena};
    for (int c = 0; c < found; c++) {
      Status status = implementation->lower(&test->site, &ways[c], &(Machine){0}, &emission);
      cr_assert_null(status, "%s", status_message(status));
    }
    for (uint32_t k = 0; k < emission.launch_count; k++)
      sources[count++] = (KernelSource){implementation->name, emission.launches[k].source, targets[i]};
  }
  cr_assert_eq(supported, expected_targets, "%s: %d targets", implementation->name, supported);
  Cubin cubins[COUNT_OF(sources)];
  Status status = compiler_compile_all(compiler, sources, count, 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  compiler_free(compiler);
  site_done(test);
}

Test(cuda_products, tensor_core_products_compile, .timeout = 120) {
  compiles(product(DTYPE_F16, 70, 96, 72, NULL, NULL), &cuda_mma_matmul, 7);
  compiles(product(DTYPE_BF16, 37, 53, 29, swapped, swapped), &cuda_mma_matmul, 6);
  SiteTest *split = product(DTYPE_F16, 16, 4096, 96, NULL, NULL);
  compiles(split, &cuda_mma_matmul, 7);
}

Test(cuda_products, tf32_only_where_it_is_allowed, .timeout = 120) {
  SiteTest *test = product(DTYPE_F32, 64, 64, 64, NULL, swapped);
  become(test, 90);
  cr_assert(!cuda_mma_matmul.supports(&test->site));
  test->site.tf32 = true;
  compiles(test, &cuda_mma_matmul, 6);
}

static void keep_remark(void *context, LogSeverity severity, const char *message) {
  if (severity == LOG_VERBOSE) snprintf(context, 512, "%s", message);
}

// Warpgroup products run beside everything else only where the compiler sees that nothing touches their sums meanwhile; where it does
// not, it makes each wait for the one before, and says so.
static void overlaps(SiteTest *test, const Implementation *implementation) {
  char remark[512] = "";
  Compiler *compiler = nvrtc_compiler((Log){keep_remark, remark, LOG_VERBOSE});
  become(test, 90);
  Way list[64];
  KernelSource sources[64];
  int found = implementation->ways(&test->site, &(Machine){0}, list, 64), count = 0;
  for (int c = 0; c < found; c++) {
    if (!strstr(list[c].name, " wg") || list[c].config[MMA_SPLITS] > 1) continue;  // splits change bounds alone
    Emission emission = {.arena = test->arena};
    cr_assert_null(implementation->lower(&test->site, &list[c], &(Machine){0}, &emission));
    sources[count++] = (KernelSource){list[c].name, emission.launches[0].source, 90};
  }
  cr_assert_geq(count, 4, "%s offers %d warpgroup tiles", implementation->name, count);
  Cubin cubins[64];
  Status status = compiler_compile_all(compiler, sources, count, 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  cr_assert_str_empty(remark, "%s: %s", implementation->name, remark);
  compiler_free(compiler);
  site_done(test);
}

Test(cuda_products, warpgroup_products_overlap, .timeout = 600) {
  overlaps(product(DTYPE_F16, 512, 512, 512, NULL, NULL), &cuda_mma_matmul);
  overlaps(product(DTYPE_BF16, 512, 512, 512, swapped, swapped), &cuda_mma_matmul);
  overlaps(image(&op_conv, DTYPE_F16, 64, 256, 3, 1, channels_last), &cuda_mma_conv);
  overlaps(image(&op_conv_transpose, DTYPE_F16, 64, 256, 3, 1, channels_last), &cuda_mma_conv_transpose);
}

Test(cuda_products, products_of_every_type_compile, .timeout = 120) {
  compiles(product(DTYPE_F32, 33, 64, 40, NULL, NULL), &cuda_simt_matmul, 7);
  static const DType types[] = {DTYPE_F64, DTYPE_F16, DTYPE_F8E4M3FN, DTYPE_I8, DTYPE_U16,
                                DTYPE_I32, DTYPE_U32, DTYPE_I64,      DTYPE_U64};
  for (size_t i = 0; i < COUNT_OF(types); i++) {
    SiteTest *test = product(types[i], 3, 4, 5, NULL, NULL);
    become(test, 80);
    cr_assert(cuda_simt_matmul.supports(&test->site), "%s", dtype_name(types[i]));
    site_done(test);
  }
  compiles(product(DTYPE_I8, 5, 6, 7, NULL, NULL), &cuda_simt_matmul, 7);
}

Test(cuda_products, epilogues_compile, .timeout = 120) {
  SiteTest *test = site_test_new();
  site_input(test, DTYPE_F16, SITE_DIMS(40, 64), NULL);
  site_input(test, DTYPE_F16, SITE_DIMS(64, 48), NULL);
  site_input(test, DTYPE_F16, SITE_DIMS(48), NULL);
  site_node(test, &op_matmul, 2);
  site_epilogue(test, bias_gelu);
  site_ready(test, NULL, false);
  compiles(test, &cuda_mma_matmul, 7);
}

Test(cuda_products, convolutions_compile, .timeout = 120) {
  compiles(image(&op_conv, DTYPE_F16, 16, 24, 3, 1, channels_last), &cuda_mma_conv, 7);
  compiles(image(&op_conv, DTYPE_F16, 3, 24, 7, 1, channels_last), &cuda_mma_conv, 7);
  compiles(image(&op_conv, DTYPE_F32, 6, 9, 3, 3, NULL), &cuda_simt_conv, 7);
  compiles(image(&op_conv_transpose, DTYPE_F32, 6, 8, 4, 2, NULL), &cuda_simt_conv_transpose, 7);
  compiles(image(&op_conv, DTYPE_F16, 16, 16, 3, 16, channels_last), &cuda_depthwise_conv, 7);
  compiles(image(&op_conv, DTYPE_F32, 6, 6, 5, 6, NULL), &cuda_depthwise_conv, 7);
}

// The first two ways, where there are two ways: phase by phase, and merged.
Test(cuda_products, transposed_convolutions_compile, .timeout = 120) {
  compiles(image(&op_conv_transpose, DTYPE_F16, 64, 32, 4, 1, channels_last), &cuda_mma_conv_transpose, 7);
  compiles(image(&op_conv_transpose, DTYPE_F16, 64, 24, 3, 1, channels_last), &cuda_mma_conv_transpose, 7);
  compiles(image(&op_conv_transpose, DTYPE_BF16, 16, 16, 2, 2, NULL), &cuda_mma_conv_transpose, 6);
}

Test(cuda_products, no_candidate_asks_for_more_than_the_gpu_has) {
  static const int64_t shapes[][3] = {{1, 4096, 4096}, {128, 768, 3072}, {4096, 4096, 4096}, {7, 1, 1}, {1000, 37, 3}};
  for (size_t s = 0; s < COUNT_OF(shapes); s++)
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
      SiteTest *test = product(DTYPE_F16, 8, 8, 8, NULL, NULL);
      become(test, targets[i]);
      // Only dims and strides matter to an implementation.
      int64_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
      const int64_t dims[3][2] = {{m, k}, {k, n}, {m, n}};
      TensorDesc *descs[3] = {&test->inputs[0], &test->inputs[1], &test->outputs[0]};
      for (int d = 0; d < 3; d++) {
        descs[d]->dims[0] = dims[d][0];
        descs[d]->dims[1] = descs[d]->strides[0] = dims[d][1];
      }
      Way list[64];
      int count = cuda_mma_matmul.ways(&test->site, &(Machine){0}, list, 64);
      cr_assert_geq(count, 4);
      for (int c = 0; c < count; c++) {
        Emission emission = {.arena = test->arena};
        cr_assert_null(cuda_mma_matmul.lower(&test->site, &list[c], &(Machine){0}, &emission));
        const Launch *launch = &emission.launches[0];
        cr_assert_leq((int)launch->shared_bytes, test->device.shared_per_block, "%s on sm_%d", list[c].name, targets[i]);
        cr_assert_leq((int)launch->block[0], 1024);
        cr_assert_eq(emission.workspace_bytes > 0, emission.launch_count == 2, "a split of K needs its partial sums");
      }
      site_done(test);
    }
}

Test(cuda_products, filters_are_packed_tap_by_tap) {
  SiteTest *test = image(&op_conv, DTYPE_F16, 3, 2, 3, 1, channels_last);
  become(test, 90);
  Way way;
  cr_assert_eq(cuda_mma_conv.ways(&test->site, &(Machine){0}, &way, 1), 1);
  Emission emission = {.arena = test->arena};
  cr_assert_null(cuda_mma_conv.lower(&test->site, &way, &(Machine){0}, &emission));
  cr_assert_eq(emission.packed_count, 1);
  enum { PITCH = 32 };  // 27 elements on 16-byte lines
  cr_assert_eq(emission.packed[0]->bytes, 2 * PITCH * sizeof(uint16_t));
  uint16_t packed[2 * PITCH];
  cr_assert_null(recipe_run(emission.packed[0], packed));
  const uint16_t *filters = test->tensors[1].data;
  for (int f = 0; f < 2; f++)
    for (int i = 0; i < PITCH; i++) {
      int tap = i / 3, channel = i % 3;
      cr_assert_eq(packed[f * PITCH + i], i < 27 ? filters[(f * 3 + channel) * 9 + tap] : 0);
    }
  site_done(test);
}

// Of a 3x3 kernel at stride 2: outputs of phase 0 along an axis, padded by 1, see its middle tap, those of phase 1 the others, turned around.
Test(cuda_products, images_of_few_channels_are_offered_widened) {
  const struct {
    int64_t channels;
    DType dtype;
    bool offered;
  } rows[] = {{1, DTYPE_F16, true}, {3, DTYPE_F16, true}, {7, DTYPE_BF16, true}, {4, DTYPE_F16, false}, {8, DTYPE_F16, false}};
  for (size_t r = 0; r < COUNT_OF(rows); r++) {
    SiteTest *test = image(&op_conv, rows[r].dtype, rows[r].channels, 16, 3, 1, channels_last);
    become(test, 90);
    Way list[64];
    int found = cuda_mma_conv.ways(&test->site, &(Machine){0}, list, 64), wide = 0;
    for (int c = 0; c < found; c++) {
      if (!strstr(list[c].name, " wide")) continue;
      wide++;
      Emission emission = {.arena = test->arena};
      cr_assert_null(cuda_mma_conv.lower(&test->site, &list[c], &(Machine){0}, &emission));
      cr_assert_str_eq(emission.launches[0].label, "widen_channels");
      cr_assert_geq(emission.workspace_bytes, (size_t)(9 * 7 * 4) * dtype_size(rows[r].dtype));
    }
    cr_assert_eq(wide > 0, rows[r].offered, "%d of %d ways are wide where there are %lld channels", wide, found,
                 (long long)rows[r].channels);
    site_done(test);
  }
}

Test(cuda_products, transposed_filters_are_packed_phase_by_phase) {
  enum { CHANNELS = 8, FILTERS = 2, TAPS = 9 };
  SiteTest *test = image(&op_conv_transpose, DTYPE_F16, CHANNELS, FILTERS, 3, 1, channels_last);
  const int64_t strides[2] = {2, 2};
  node_set_ints(test->node, "strides", strides, 2);
  become(test, 90);
  Way list[24];
  int count = cuda_mma_conv_transpose.ways(&test->site, &(Machine){0}, list, 24), phased = 0;
  while (phased < count && strstr(list[phased].name, "merged")) phased++;
  cr_assert_lt(phased, count);
  Emission emission = {.arena = test->arena};
  cr_assert_null(cuda_mma_conv_transpose.lower(&test->site, &list[phased], &(Machine){0}, &emission));
  uint16_t packed[FILTERS * TAPS * CHANNELS];
  cr_assert_eq(emission.packed[0]->bytes, sizeof packed);
  cr_assert_null(recipe_run(emission.packed[0], packed));
  static const int expected[TAPS] = {8, 6, 2, 0, 7, 1, 5, 3, 4};  // even taps along both axes, along one, along none
  const uint16_t *filters = test->tensors[1].data;
  for (int f = 0; f < FILTERS; f++)
    for (int t = 0; t < TAPS; t++)
      for (int c = 0; c < CHANNELS; c++)
        cr_assert_eq(packed[(f * TAPS + t) * CHANNELS + c], filters[(c * FILTERS + f) * TAPS + expected[t]]);
  site_done(test);
}

Test(cuda_products, unaligned_and_unusual_layouts_are_taken) {
  SiteTest *test = product(DTYPE_F16, 16, 32, 24, NULL, NULL);
  become(test, 90);
  test->inputs[0].offset = 1;  // a slice: single elements
  cr_assert(cuda_mma_matmul.supports(&test->site));
  test->inputs[0].strides[1] = 2;  // every second column: no contiguous axis
  cr_assert(!cuda_mma_matmul.supports(&test->site));
  cr_assert(cuda_simt_matmul.supports(&test->site));
  site_done(test);
}
