// Generated reductions: how many launches a normalisation of images takes and how full they make a chip, and that kernels of every
// shape compile for every target. What they compute, the operator cases say.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "base/chips.h"
#include "kernels/ops.h"
#include "kernels/implementation.h"
#include "tests/nvrtc_test.h"

extern const OpDef op_rowwise;
extern const Implementation cuda_rowwise;

static const char norm[] =
    "{%0: f32 = input 0; %1 = reduce_sum %0; %2: f32 = row_extent; %3 = div %1 %2; %4 = sub %0 %3; %5 = mul %4 %4; "
    "%6 = reduce_sum %5; %7 = div %6 %2; %8: f32 = const 1e-05; %9 = add %7 %8; %10 = rsqrt %9; %11 = mul %4 %10; yield %11}";
static const char argmax[] = "{%0: f32 = input 0; %1: i64 = reduce_argmax %0; yield %1}";

static TensorDesc packed(const Value *value) {
  TensorDesc desc = {.dtype = value->dtype, .rank = value->rank};
  int64_t stride = 1;
  for (int i = value->rank - 1; i >= 0; i--) {
    desc.dims[i] = value->dims[i];
    desc.strides[i] = stride;
    stride *= value->dims[i];
  }
  return desc;
}

// What the program over [images, pixels, channels] becomes, reduced over the axis.
static Emission emitted(Arena *arena, const char *text, DType dtype, const int64_t dims[3], int axis, int sm) {
  Graph *graph = graph_new(arena, core_ops, "test");
  Value *x = graph_add_input(graph, "x", dtype, 3, dims);
  Node *node = graph_add(graph, NULL, &op_rowwise, 1, &x, 1);
  Program *program;
  cr_assert_null(program_parse(arena, &text, &program));
  node_set_program(node, "program", program);
  node_set_int(node, "axes", axis);
  cr_assert_null(node_infer(node));
  TensorDesc input = packed(x), output = packed(node->outputs[0]);
  DeviceInfo device = {.kind = DEVICE_CUDA, .sm = sm, .multiprocessors = 132};
  chip_take_rates(&device, 0, 0);
  Site site = {.node = node, .inputs = &input, .outputs = &output, .device = &device};
  Emission emission = {.arena = arena};
  Way way;
  cr_assert(cuda_rowwise.supports(&site));
  cr_assert_eq(cuda_rowwise.ways(&site, &(Machine){0}, &way, 1), 1);
  cr_assert_null(cuda_rowwise.lower(&site, &way, &(Machine){0}, &emission));
  return emission;
}

// Images with channels last: where rows alone do not fill the chip and a block's registers do not hold them, moments take one launch
// and the result another; otherwise one does both. All multiprocessors have work where there is enough for them, and channels are read
// 16 bytes at a time.
Test(cuda_rowwise, images_fill_the_chip) {
  const struct {
    int64_t dims[3];
    unsigned launches, blocks, threads;  // the latter at least, in all
  } images[] = {
      {{32, 16384, 64}, 2, 264, 512 * 132}, {{32, 4096, 128}, 1, 120, 512 * 132}, {{32, 1024, 256}, 1, 120, 512 * 132},
      {{32, 256, 512}, 1, 132, 256 * 132},  {{32, 64, 512}, 1, 132, 256 * 132},   {{1, 16384, 64}, 2, 100, 128 * 132},
      {{1, 4096, 128}, 1, 8, 8192},         {{1, 256, 512}, 1, 16, 4096},         {{1, 64, 512}, 1, 8, 2048},
  };
  for (size_t i = 0; i < COUNT_OF(images); i++) {
    Arena *arena = arena_new();
    Emission emission = emitted(arena, norm, DTYPE_F16, images[i].dims, 1, 90);
    cr_expect_eq(emission.launch_count, images[i].launches, "%zu: %u launches", i, emission.launch_count);
    for (uint32_t k = 0; k < emission.launch_count; k++) {
      const Launch *launch = &emission.launches[k];
      cr_expect_geq(launch->grid[0], images[i].blocks, "%zu: %u blocks", i, launch->grid[0]);
      cr_expect_geq(launch->grid[0] * launch->block[0], images[i].threads, "%zu: %u threads", i, launch->block[0]);
      cr_expect_leq(launch->block[0], 1024);
      cr_expect_not_null(strstr(launch->source, "load_vector<8>(x0"));
    }
    arena_free(arena);
  }
}

Test(cuda_rowwise, every_shape_compiles, .timeout = 120) {
  const struct {
    const char *program;
    DType dtype;
    int64_t dims[3];
    int axis;
  } sites[] = {
      {norm, DTYPE_F16, {2, 16384, 64}, 1},   {norm, DTYPE_BF16, {32, 256, 512}, 1}, {norm, DTYPE_F64, {3, 50, 7}, 1},
      {norm, DTYPE_F32, {1, 16, 2000000}, 2}, {argmax, DTYPE_F16, {2, 70, 40}, 1},   {argmax, DTYPE_F32, {1, 9, 700}, 2},
  };
  static const int targets[] = {75, 80, 86, 89, 90, 100, 120};
  Arena *arena = arena_new();
  Compiler *compiler = nvrtc_compiler((Log){0});
  KernelSource sources[COUNT_OF(sites) * COUNT_OF(targets)];
  Cubin cubins[COUNT_OF(sources)];
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(sites); i++)
    for (size_t t = i % 2 ? 4 : 0; t < COUNT_OF(targets); t++) {  // each on some, all on the newer ones
      Emission emission = emitted(arena, sites[i].program, sites[i].dtype, sites[i].dims, sites[i].axis, targets[t]);
      sources[count++] = (KernelSource){"rowwise", emission.launches[0].source, targets[t]};
    }
  Status status = compiler_compile_all(compiler, sources, count, 2, cubins);
  cr_assert_null(status, "%s", status_message(status));
  compiler_free(compiler);
  arena_free(arena);
}
