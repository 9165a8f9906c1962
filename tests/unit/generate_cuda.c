// Generated kernels without a GPU: every operator case that an implementation takes gives launches that a driver would accept, the sources compile
// for every target that they are generated for, and the generator makes the accesses that make it fast. What the kernels compute is tested on a GPU.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "base/chips.h"
#include "kernels/fused.h"
#include "kernels/cases.h"
#include "kernels/program/generate.h"
#include "kernels/ops.h"
#include "tests/nvrtc_test.h"

static const int targets[] = {75, 80, 86, 89, 90, 100, 120};
enum { ROWS = 128, EVERYWHERE = 1, ON_ONE = 3 };  // sources an implementation compiles for all targets, and for one

static DeviceInfo device_of(int sm) {
  DeviceInfo device = {.kind = DEVICE_CUDA, .sm = sm, .multiprocessors = 132, .shared_per_block = 65536};
  chip_take_rates(&device, 0, 0);
  return device;
}

// A row-major desc of a value; false where its dims are not known.
static bool desc_of(const Value *value, TensorDesc *out) {
  *out = (TensorDesc){.absent = !value};
  if (!value) return true;
  int64_t stride = 1;
  if (value->rank < 0 || !value_get_dims(value, out->dims)) return false;
  out->dtype = value->dtype;
  out->rank = value->rank;
  out->constant = value->constant;
  for (int i = value->rank - 1; i >= 0; i--) {
    out->strides[i] = stride;
    stride *= out->dims[i];
  }
  return true;
}

static bool site_of(const Node *node, const DeviceInfo *device, Arena *arena, Site *out) {
  int *numbers;
  *out = (Site){.device = device};
  fused_site(node, arena, out, &numbers);
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)site_input_count(out) + 1);
  TensorDesc *outputs = arena_array(arena, TensorDesc, (size_t)node->output_count);
  for (int i = 0; i < site_input_count(out); i++)
    if (!desc_of(numbers[i] < 0 ? NULL : node->inputs[numbers[i]], &inputs[i])) return false;
  for (int i = 0; i < node->output_count; i++)
    if (!desc_of(node->outputs[i], &outputs[i])) return false;
  out->inputs = inputs;
  out->outputs = outputs;
  return true;
}

static bool is_generated(const Implementation *implementation) {
  static const char *const products[] = {"matmul", "conv", "conv_transpose"};
  if (implementation->backend != BACKEND_CUDA) return false;
  for (size_t i = 0; i < COUNT_OF(products); i++)
    if (strcmp(implementation->op->name, products[i]) == 0) return false;
  return true;
}

static void check_launch(const OperatorCase *row, const Site *site, const Emission *emission, const Launch *launch) {
  int64_t threads = (int64_t)launch->block[0] * launch->block[1] * launch->block[2];
  cr_expect(threads >= 1 && threads <= 1024, "%s: a block of %lld threads", row->name, (long long)threads);
  cr_expect(launch->grid[0] >= 1 && launch->grid[0] <= INT32_MAX, "%s: a grid of %u", row->name, launch->grid[0]);
  cr_expect(launch->grid[1] >= 1 && launch->grid[1] <= 65535 && launch->grid[2] >= 1 && launch->grid[2] <= 65535,
            "%s: a grid of %u by %u", row->name, launch->grid[1], launch->grid[2]);
  cr_expect_not_null(strstr(launch->source, launch->entry), "%s: no kernel %s", row->name, launch->entry);
  for (int i = 0; i < launch->arg_count; i++) {
    const LaunchArg *arg = &launch->args[i];
    if (arg->kind != ARG_BUFFER) continue;
    if (arg->buffer.kind == BUFFER_WORKSPACE)
      cr_expect_lt(arg->buffer.offset, emission->workspace_bytes, "%s: beyond the workspace", row->name);
    if (arg->buffer.kind == BUFFER_INPUT) cr_expect_lt(arg->buffer.index, site_input_count(site), "%s", row->name);
    if (arg->buffer.kind == BUFFER_OUTPUT) cr_expect_lt(arg->buffer.index, site->node->output_count, "%s", row->name);
  }
}

// Emits the implementation's launches for the node; false where it is not for it.
static bool emit_node(const OperatorCase *row, const Implementation *implementation, const Node *node, int sm, Arena *arena,
                      Emission *out) {
  DeviceInfo *device = arena_new_of(arena, DeviceInfo);
  Site site;
  *device = device_of(sm);
  if (!site_of(node, device, arena, &site) || !implementation_serves(implementation, &site) || !implementation->supports(&site))
    return false;
  Way way;
  cr_assert_eq(implementation->ways(&site, &(Machine){0}, &way, 1), 1);
  *out = (Emission){.arena = arena};
  Status status = implementation->lower(&site, &way, &(Machine){0}, out);
  cr_expect_null(status, "%s: %s", row->name, status_message(status));
  status_free(status);
  for (uint32_t i = 0; i < out->launch_count; i++) check_launch(row, &site, out, &out->launches[i]);
  return true;
}

Test(generate_cuda, every_case_gives_kernels_that_compile) {
  Arena *arena = arena_new();
  int done[ROWS] = {0}, emitted = 0;
  KernelSource *sources = NULL;
  uint32_t source_count = 0, source_capacity = 0;
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Graph *graph;
    Status status = operator_case_build(row, arena, core_ops, &graph);
    cr_assert_null(status, "%s", status_message(status));
    FOR_NODES(node, graph) {
      for (int t = 0; implementations[t]; t++) {
        Emission emission;
        if (!is_generated(implementations[t]) || !emit_node(row, implementations[t], node, 90, arena, &emission)) continue;
        emitted++;
        if (emission.launch_count == 0 || done[t] >= EVERYWHERE + ON_ONE) continue;
        bool everywhere = done[t]++ < EVERYWHERE;
        for (size_t i = 0; i < COUNT_OF(targets); i++) {
          if (!everywhere && targets[i] != 90) continue;
          if (!emit_node(row, implementations[t], node, targets[i], arena, &emission)) continue;
          const char *source = emission.launches[emission.launch_count - 1].source;
          *ARENA_PUSH(arena, sources, source_count, source_capacity) = (KernelSource){row->name, source, targets[i]};
        }
      }
    }
  }
  cr_assert_geq(emitted, 300);
  for (int t = 0; implementations[t]; t++)
    if (is_generated(implementations[t])) cr_expect_geq(done[t], 1, "no case reaches %s", implementations[t]->name);

  Compiler *compiler = nvrtc_compiler((Log){0});
  Status status = compiler_compile_all(compiler, sources, (int)source_count, 2, NULL);
  cr_expect_null(status, "%s", status_message(status));
  compiler_free(compiler);
  arena_free(arena);
}

// --- What makes the kernels fast

static TensorDesc desc_with(DType dtype, const int64_t *dims, const uint8_t *order) {
  TensorDesc desc = {.dtype = dtype, .rank = 4};
  int64_t stride = 1;
  memcpy(desc.dims, dims, 4 * sizeof *dims);
  for (int i = 3; i >= 0; i--) {
    desc.strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
  return desc;
}

static const char *relu_source(Arena *arena, const TensorDesc *x, const TensorDesc *y) {
  Program *program = program_new(arena, 1);
  program_output(program, program_op1(program, OP_relu, program_input(program, 0, x->dtype)));
  GeneratedKernel kernel;
  Status status = generate_elementwise(program, 1, x, 1, y, NULL, arena, &kernel);
  cr_assert_null(status, "%s", status_message(status));
  return kernel.source;
}

static const int64_t image[] = {8, 64, 56, 56};
static const uint8_t rows_first[] = {0, 1, 2, 3}, channels_last[] = {0, 2, 3, 1};

Test(generate_cuda, contiguous_operands_move_in_vectors) {
  Arena *arena = arena_new();
  TensorDesc x = desc_with(DTYPE_F16, image, channels_last), y = x;
  const char *source = relu_source(arena, &x, &y);
  cr_expect_not_null(strstr(source, "elements<8>"), "%s", source);
  cr_expect_not_null(strstr(source, "element_load<Element_f16, V, 8>"), "%s", source);
  cr_expect_null(strstr(source, "c1"), "axes that move as one are one loop: %s", source);
  x.offset = 2;  // a slice of something: 4 bytes is all that its addresses are multiples of
  source = relu_source(arena, &x, &y);
  cr_expect_not_null(strstr(source, "element_load<Element_f16, V, 2>"), "%s", source);
  arena_free(arena);
}

Test(generate_cuda, layout_changes_pass_through_shared_memory) {
  Arena *arena = arena_new();
  TensorDesc x = desc_with(DTYPE_F16, image, rows_first), y = desc_with(DTYPE_F16, image, channels_last);
  const char *source = relu_source(arena, &x, &y);
  cr_expect_not_null(strstr(source, "__shared__ uint4 words["), "%s", source);
  cr_expect_not_null(strstr(source, "load_vector<2>"), "%s", source);
  arena_free(arena);
}
