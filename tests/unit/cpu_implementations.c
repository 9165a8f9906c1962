// Every implementation on the CPU that supports an operator case agrees with the reference, whatever order the tensors lie in, whether or not
// weights are constants, and whatever lies in its workspace.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/cases.h"
#include "kernels/common/onednn_library.h"
#include "kernels/fused.h"
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "tests/host_test.h"

typedef enum Layout { ROW_MAJOR, CHANNELS_LAST, COLUMN_MAJOR, SPREAD, LAYOUTS } Layout;
static const char *const layout_names[] = {"row-major", "channels-last", "column-major", "spread"};

static TensorDesc describe(const Tensor *tensor, Layout layout, bool constant) {
  TensorDesc desc = {.dtype = tensor->dtype, .rank = tensor->rank, .constant = constant ? tensor : NULL};
  memcpy(desc.dims, tensor->dims, sizeof desc.dims);
  int order[MAX_RANK];
  for (int i = 0; i < desc.rank; i++) order[i] = layout == COLUMN_MAJOR ? desc.rank - 1 - i : i;
  if (layout == CHANNELS_LAST && desc.rank >= 3) {
    for (int i = 1; i + 1 < desc.rank; i++) order[i] = i + 1;
    order[desc.rank - 1] = 1;
  }
  int64_t stride = 1;
  for (int i = desc.rank - 1; i >= 0; i--) {
    desc.strides[order[i]] = stride;
    stride *= MAX(desc.dims[order[i]], 1);
    if (layout == SPREAD) stride = stride * 2 + 1;  // rows with room between them
  }
  return desc;
}

static size_t extent_bytes(const TensorDesc *desc) {
  int64_t last = 0;
  for (int i = 0; i < desc->rank; i++) last += MAX(desc->dims[i] - 1, 0) * desc->strides[i];
  return (size_t)(last + 1) * dtype_size(desc->dtype);
}

static void *strided_memory(const TensorDesc *desc) {
  size_t bytes = align_up(extent_bytes(desc), 64);
  void *memory = aligned_alloc(64, bytes);
  memset(memory, 0xC5, bytes);
  return memory;
}

typedef struct Run {
  const OperatorCase *row;
  const Node *node;
  const Tensor *const *inputs;
  const Tensor *expected;
  ThreadPool *pool;
  Layout layout;
  bool constants;
} Run;

static void check_outputs(const Run *run, const Implementation *implementation, Arena *arena, const TensorDesc *descs,
                          void *const *memory) {
  for (int i = 0; i < run->node->output_count; i++) {
    double rtol, atol;
    Tensor actual;
    operator_case_tolerance(run->row, descs[i].dtype, &rtol, &atol);
    cr_assert_null(tensor_new(arena, descs[i].dtype, descs[i].rank, descs[i].dims, &actual));
    tensor_gather_strided(&actual, memory[i], descs[i].strides);
    Comparison result = tensor_compare(&actual, &run->expected[i], rtol, atol);
    cr_expect_eq(result.mismatches, 0, "%s by %s, %s%s, output %d: %lld of %lld differ, by up to %g (first at %lld)",
                 run->row->name, implementation->name, layout_names[run->layout], run->constants ? ", constants" : "", i,
                 (long long)result.mismatches, (long long)result.count, result.max_absolute, (long long)result.first_mismatch);
  }
}

// The last of all: what is expected comes from it. It keeps nothing for the next run, and constants are to it what inputs are.
static bool is_reference(const Implementation *implementation) { return !strcmp(implementation->name, "reference"); }

static void run_by(const Run *run, const Implementation *implementation, const Site *site, void **inputs, void **outputs) {
  Arena *arena = arena_new();
  HostTest host;
  Site passing = *site;  // what it points to lives on, the site itself does not
  Status status = host_lower(implementation, &passing, arena, run->pool, &host);
  cr_assert_null(status, "%s by %s, %s: %s", run->row->name, implementation->name, layout_names[run->layout],
                 status_message(status));
  memset(&passing, 0, sizeof passing);
  size_t bytes = host.workspace_bytes;
  char *workspace = aligned_alloc(64, align_up(bytes, 64) + 64);
  memset(workspace, 0xC5, align_up(bytes, 64) + 64);
  HostCall call = {.inputs = inputs, .outputs = outputs, .workspace = workspace, .pool = run->pool};
  for (int again = is_reference(implementation); again < 2; again++) {
    status = host.routine->run(host.state, &call);
    cr_assert_null(status, "%s by %s: %s", run->row->name, implementation->name, status_message(status));
  }
  for (int i = 0; i < 64; i++)
    cr_assert_eq((unsigned char)workspace[align_up(bytes, 64) + (size_t)i], 0xC5, "%s by %s: beyond the workspace",
                 run->row->name, implementation->name);
  check_outputs(run, implementation, arena, site->outputs, outputs);
  free(workspace);
  arena_free(arena);
}

// Runs all implementations that support the node in this layout; returns how many did.
static int run_layout(const Run *run) {
  const Node *node = run->node;
  Arena *arena = arena_new();
  DeviceInfo device = {.kind = DEVICE_CPU, .multiprocessors = thread_pool_size(run->pool)};
  Site site = {.device = &device};
  int *numbers, input_count;
  fused_site(node, arena, &site, &numbers);
  input_count = site_input_count(&site);
  TensorDesc *inputs = arena_array(arena, TensorDesc, input_count),
             *outputs = arena_array(arena, TensorDesc, node->output_count);
  void **input_memory = arena_array(arena, void *, input_count),
       **output_memory = arena_array(arena, void *, node->output_count);
  for (int i = 0; i < input_count; i++) {
    const Tensor *input = numbers[i] < 0 ? NULL : run->inputs[numbers[i]];
    if (!input) {
      inputs[i].absent = true;
      continue;
    }
    // What a plan gives constants: packed, in some order.
    bool constant = run->constants && i > 0;
    inputs[i] = describe(input, constant && run->layout == SPREAD ? ROW_MAJOR : run->layout, constant);
    input_memory[i] = strided_memory(&inputs[i]);
    tensor_scatter_strided(input, input_memory[i], inputs[i].strides);
  }
  // Outputs are always packed.
  for (int i = 0; i < node->output_count; i++) {
    outputs[i] = describe(&run->expected[i], run->layout == SPREAD ? ROW_MAJOR : run->layout, false);
    output_memory[i] = strided_memory(&outputs[i]);
  }
  site.inputs = inputs;
  site.outputs = outputs;
  int count = 0;
  for (int i = 0; implementations[i]; i++) {
    if (!implementation_serves(implementations[i], &site) || !implementations[i]->supports(&site)) continue;
    count++;
    if (run->constants && is_reference(implementations[i])) continue;
    run_by(run, implementations[i], &site, input_memory, output_memory);
  }
  for (int i = 0; i < input_count; i++) free(input_memory[i]);
  for (int i = 0; i < node->output_count; i++) free(output_memory[i]);
  arena_free(arena);
  return count;
}

static bool is_countable(const Node *node) {
  if (!node->op->reference || node->op->view || node->op->data_dependent || node->op->random) return false;
  for (int i = 0; i < node->output_count; i++)
    if (!value_is_static(node->outputs[i])) return false;
  return true;
}

static int run_case(const OperatorCase *row, ThreadPool *pool) {
  Arena *arena = arena_new();
  Graph *graph = NULL;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  cr_assert_null(status, "%s", status_message(status));
  Tensor *inputs = arena_array(arena, Tensor, graph->input_count);
  cr_assert_null(operator_case_fill(row, graph, arena, 1, inputs));
  const Tensor **tensors = arena_array(arena, const Tensor *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++) tensors[graph->inputs[i]->id] = &inputs[i];
  int count = 0;
  FOR_NODES(node, graph) {
    const Tensor **operands = arena_array(arena, const Tensor *, node->input_count);
    Tensor *outputs = arena_array(arena, Tensor, node->output_count);
    for (int i = 0; i < node->input_count; i++) {
      const Value *value = node->inputs[i];
      if (value) operands[i] = value->constant ? value->constant : tensors[value->id];
    }
    cr_assert_null(reference_run(node, arena, operands, outputs));
    for (int i = 0; i < node->output_count; i++) tensors[node->outputs[i]->id] = &outputs[i];
    Run run = {row, node, operands, outputs, pool};
    for (int k = 0; k < LAYOUTS * 2 && is_countable(node); k++) {
      run.layout = (Layout)(k / 2);
      run.constants = k % 2;
      count += run_layout(&run);
    }
  }
  arena_free(arena);
  return count;
}

// One of so many cases, from the first on.
static void run_cases_in(const OperatorCase *rows, int threads, int step) {
  ThreadPool *pool = thread_pool_new(threads);
  const char *only = getenv("INGOT_TEST_CASE");  // part of a name, for debugging one
  for (const OperatorCase *row = rows; row->name; row++)
    if ((row - rows) % step == 0 && (!only || strstr(row->name, only))) run_case(row, pool);
  thread_pool_free(pool);
}

static void run_cases(const OperatorCase *rows) { run_cases_in(rows, 2, 1); }

// Under sanitizers one of three (tests/CMakeLists.txt); there, too, each case runs by what is preferred, in the test cases_cpu.
#ifndef CASES_STEP
#define CASES_STEP 1
#endif
Test(cpu_implementations, operator_cases) { run_cases_in(operator_cases, 2, CASES_STEP); }

// Pools that threads share, in each way there is to share them; and sums that overflow where their means do not.
#define POOL(name, x, attributes, fill) \
  { "pool/" name, "(%x: f32" x ") -> (%y)", "%y: ?[?] = pool(%x) {" attributes "}", fill, 1 }
static const OperatorCase pool_cases[] = {
    POOL("shared_rows", "[1, 40, 90, 70]", "kind: \"max\", kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]", ""),
    POOL("shared_images", "[60, 24, 8, 8]", "kind: \"max\", kernel: [2, 2], strides: [2, 2]", ""),
    POOL("shared_channels", "[1, 2100, 7, 7]", "kind: \"average\", kernel: [7, 7]", ""),
    POOL("shared_planes", "[2, 130, 14, 14]", "kind: \"average\", kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]", ""),
    POOL("shared_lines", "[2, 3, 9000]", "kind: \"max\", kernel: [5], strides: [2], pads: [2, 2]", ""),
    POOL("shared_volume", "[1, 6, 12, 20, 22]",
         "kind: \"max\", kernel: [2, 2, 2], strides: [2, 2, 2], pads: [1, 0, 1, 0, 1, 0]", ""),
    POOL("huge_mean", "[1, 37, 4, 6]", "kind: \"average\", kernel: [2, 2]", "x in 3e38 3.4e38"),
    POOL("huge_mean_padded", "[1, 37, 5, 6]", "kind: \"average\", kernel: [3, 3], pads: [1, 1, 1, 1]", "x in 3e38 3.4e38"),
    {0}};
Test(cpu_implementations, pools) {
  run_cases(pool_cases);
  run_cases_in(pool_cases, 1, 1);
}

// Epilogues as models have them, on the operators that oneDNN fuses them into.
#define ACC "%0: f32 = input 0; "
#define NONE ""
#define BIAS ", %b"
#define BOTH ", %b, %r"
#define NONE_FORMALS ""
#define BIAS_FORMALS ", %b: ?[?]"
#define BOTH_FORMALS ", %b: ?[?], %r: ?[?]"
#define EPILOGUE(name, operands, program)                                                                                   \
  {"epilogue/conv_" name, "(%x: f32[2, 5, 6, 7], %w: f32[16, 5, 3, 3], %b: f32[16, 1, 1], %r: f32[2, 16, 6, 7]) -> (%y)",   \
   "%y: ?[?] = region(%x, %w" operands ") {body: graph fused(%x: ?[?], %w: ?[?]" operands##_FORMALS                         \
   ") -> (%fused) { "                                                                                                       \
   "%sum: ?[?] = conv(%x, %w) {pads: [1, 1, 1, 1]} "                                                                        \
   "%fused: ?[?] = elementwise(%sum" operands ") {program: program {" ACC program "}} }}",                                  \
   "", 1},                                                                                                                  \
  {                                                                                                                         \
    "epilogue/matmul_" name, "(%a: f32[2, 3, 8, 33], %w: f32[33, 17], %b: f32[17], %r: f32[2, 3, 8, 17]) -> (%y)",          \
        "%y: ?[?] = region(%a, %w" operands ") {body: graph fused(%a: ?[?], %w: ?[?]" operands##_FORMALS                    \
        ") -> (%fused) { "                                                                                                  \
        "%sum: ?[?] = matmul(%a, %w) %fused: ?[?] = elementwise(%sum" operands ") {program: program {" ACC program "}} }}", \
        "", 1                                                                                                               \
  }

static const OperatorCase epilogue_cases[] = {
    EPILOGUE("bias", BOTH, "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; yield %3"),
    EPILOGUE("residual_relu", BOTH,
             "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; %4 = add %3 %2; %5 = relu %4; yield %5"),
    EPILOGUE("activated_residual", BOTH,
             "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; %4 = tanh %3; %5 = sub %2 %4; yield %5"),
    EPILOGUE("scaled", BIAS, "%1: f32 = input 1; %2: f32 = const 0.5; %3 = mul %0 %2; %4 = mul %3 %1; %5 = neg %4; yield %5"),
    EPILOGUE(
        "relu6", BIAS,
        "%1: f32 = input 1; %2 = add %0 %1; %3: f32 = const 0; %4: f32 = const 0.75; %5 = max %2 %3; %6 = min %5 %4; yield %6"),
    EPILOGUE("clip_of_relu", NONE, "%1 = relu %0; %2: f32 = const 0.5; %3 = min %2 %1; yield %3"),
    EPILOGUE("swish", BIAS, "%1: f32 = input 1; %2 = add %0 %1; %3 = sigmoid %2; %4 = mul %2 %3; yield %4"),
    EPILOGUE("swish_scaled", NONE, "%1: f32 = const 1.702; %2 = mul %0 %1; %3 = sigmoid %2; %4 = mul %3 %0; yield %4"),
    EPILOGUE("gelu", NONE,
             "%1: f32 = const 0.5; %2 = mul %0 %1; %3: f32 = const 0.70710678; %4 = mul %0 %3; %5 = erf %4; %6: f32 = const 1; "
             "%7 = add %5 %6; %8 = mul %2 %7; yield %8"),
    EPILOGUE("gelu_divided", NONE,
             "%1: f32 = const 1.41421356; %2 = div %0 %1; %3 = erf %2; %4: f32 = const 1; %5 = add %3 %4; %6 = mul %0 %5; "
             "%7: f32 = const 0.5; %8 = mul %6 %7; yield %8"),
    EPILOGUE("gelu_tanh", NONE,
             "%1 = mul %0 %0; %2 = mul %1 %0; %3: f32 = const 0.044715; %4 = mul %2 %3; %5 = add %0 %4; %6: f32 = const "
             "0.797884561; "
             "%7 = mul %5 %6; %8 = tanh %7; %9: f32 = const 1; %10 = add %8 %9; %11: f32 = const 0.5; %12 = mul %0 %11; "
             "%13 = mul %12 %10; yield %13"),
    EPILOGUE("hard_swish", NONE,
             "%1: f32 = const 0.166666667; %2 = mul %0 %1; %3: f32 = const 0.5; %4 = add %2 %3; %5: f32 = const 0; %6: f32 = "
             "const 1; "
             "%7 = max %4 %5; %8 = min %7 %6; %9 = mul %0 %8; yield %9"),
    EPILOGUE("hard_swish_relu6", NONE,
             "%1: f32 = const 3; %2 = add %0 %1; %3: f32 = const 0; %4: f32 = const 6; %5 = max %2 %3; %6 = min %5 %4; "
             "%7 = mul %0 %6; %8 = div %7 %4; yield %8"),
    EPILOGUE("hard_sigmoid", NONE,
             "%1: f32 = const 0.2; %2 = mul %0 %1; %3: f32 = const 0.5; %4 = add %2 %3; %5: f32 = const 0; %6: f32 = const 1; "
             "%7 = max %4 %5; %8 = min %7 %6; yield %8"),
    EPILOGUE("leaky", NONE,
             "%1: f32 = const 0; %2 = lt %0 %1; %3: f32 = const 0.1; %4 = mul %0 %3; %5 = select %2 %4 %0; yield %5"),
    EPILOGUE(
        "elu", NONE,
        "%1: f32 = const 0; %2 = gt %0 %1; %3 = expm1 %0; %4: f32 = const 0.7; %5 = mul %3 %4; %6 = select %2 %0 %5; yield %6"),
    EPILOGUE("softplus", NONE, "%1 = relu %0; %2 = abs %0; %3 = neg %2; %4 = exp %3; %5 = log1p %4; %6 = add %1 %5; yield %6"),
    EPILOGUE("mish", NONE,
             "%1 = relu %0; %2 = abs %0; %3 = neg %2; %4 = exp %3; %5 = log1p %4; %6 = add %1 %5; %7 = tanh %6; %8 = mul %0 "
             "%7; yield %8"),
    EPILOGUE("square", BIAS, "%1: f32 = input 1; %2 = add %0 %1; %3 = mul %2 %2; yield %3"),
    EPILOGUE("unmapped", BIAS, "%1: f32 = input 1; %2 = sin %0; %3 = mul %2 %0; %4 = add %3 %1; yield %4"),
    EPILOGUE("unmapped_twice", BOTH, "%1: f32 = input 2; %2 = add %0 %1; %3 = cos %2; %4 = mul %3 %0; yield %4"),
    {"epilogue/matmul_row_vector", "(%a: f32[2, 8, 9], %w: f32[9, 17], %b: f32[8, 1]) -> (%y)",
     "%y: ?[?] = region(%a, %w, %b) {body: graph fused(%a: ?[?], %w: ?[?], %b: ?[?]) -> (%fused) { %sum: ?[?] = matmul(%a, %w) "
     "%fused: ?[?] = elementwise(%sum, %b) {program: program {" ACC "%1: f32 = input 1; %2 = add %0 %1; yield %2}} }}",
     "", 1},
    {"epilogue/gelu_of_powers", "(%a: f32[8, 33], %w: f32[33, 17]) -> (%y)",
     "%y: ?[?] = region(%a, %w) {body: graph fused(%a: ?[?], %w: ?[?]) -> (%fused) { %sum: ?[?] = matmul(%a, %w) %fused: ?[?] "
     "= elementwise(%sum) {program: program {" ACC
     "%1: f32 = const 3; %2 = pow %0 %1; %3: f32 = const 0.044715; %4 = mul %2 %3; %5 = add %0 %4; "
     "%6: f32 = const 0.797884561; %7 = mul %5 %6; %8 = tanh %7; %9: f32 = const 1; %10 = add %8 %9; %11: f32 = const 0.5; %12 "
     "= mul %0 %11; "
     "%13 = mul %12 %10; yield %13}} }}",
     "", 1},
    {"epilogue/power", "(%a: f32[8, 33], %w: f32[33, 17]) -> (%y)",
     "%y: ?[?] = region(%a, %w) {body: graph fused(%a: ?[?], %w: ?[?]) -> (%fused) { %sum: ?[?] = matmul(%a, %w) %fused: ?[?] "
     "= elementwise(%sum) {program: program {" ACC
     "%1: f32 = const 5; %2 = pow %0 %1; %3: f32 = const 2; %4 = pow %2 %3; yield %4}} }}",
     "", 1},
    {"epilogue/conv_residual_1x1",
     "(%x: f32[2, 32, 7, 7], %w: f32[64, 32, 1, 1], %b: f32[1, 64, 1, 1], %r: f32[2, 64, 7, 7]) -> (%y)",
     "%y: ?[?] = region(%x, %w, %b, %r) {body: graph fused(%x: ?[?], %w: ?[?], %b: ?[?], %r: ?[?]) -> (%fused) { %sum: ?[?] = "
     "conv(%x, %w) %fused: ?[?] = elementwise(%sum, %b, %r) {program: program {" ACC
     "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; %4 = add %2 %3; %5 = relu %4; "
     "yield %5}} }}",
     "", 1},
    {"epilogue/conv_squeeze", "(%x: f32[2, 5, 6, 7], %w: f32[16, 5, 1, 1], %s: f32[2, 16, 1, 1]) -> (%y)",
     "%y: ?[?] = region(%x, %w, %s) {body: graph fused(%x: ?[?], %w: ?[?], %s: ?[?]) -> (%fused) { %sum: ?[?] = conv(%x, %w) "
     "%fused: ?[?] = elementwise(%sum, %s) {program: program {" ACC
     "%1: f32 = input 1; %2 = sigmoid %0; %3 = mul %2 %1; yield %3}} }}",
     "", 1},
    {"epilogue/resize_nearest_add", "(%x: f32[1, 5, 6, 7], %r: f32[1, 5, 12, 14]) -> (%y)",
     "%y: ?[?] = region(%x, %r) {body: graph fused(%x: ?[?], %r: ?[?]) -> (%fused) { %sum: ?[?] = resize(%x) {mode: "
     "\"nearest\", dims: dims[1, 5, 12, 14]} %fused: ?[?] = elementwise(%sum, %r) {program: program {" ACC
     "%1: f32 = input 1; %2 = add %0 %1; yield %2}} }}",
     "", 1},
    {"epilogue/resize_linear_add", "(%x: f32[1, 5, 6, 7], %r: f32[1, 5, 12, 14]) -> (%y)",
     "%y: ?[?] = region(%x, %r) {body: graph fused(%x: ?[?], %r: ?[?]) -> (%fused) { %sum: ?[?] = resize(%x) {mode: "
     "\"linear\", dims: dims[1, 5, 12, 14]} %fused: ?[?] = elementwise(%sum, %r) {program: program {" ACC
     "%1: f32 = input 1; %2 = add %0 %1; yield %2}} }}",
     "", 1},
    {0},
};

Test(cpu_implementations, epilogues) { run_cases(epilogue_cases); }

static int count_runs(const char *name, ThreadPool *pool) {
  for (const OperatorCase *row = operator_cases; row->name; row++)
    if (strcmp(row->name, name) == 0) return run_case(row, pool);
  return 0;
}

// Work enough to be cut into slices: batches, rows, columns, channels, positions; with borders in every slice.
#define SHARED_CONV(name, x, w, attributes) \
  { "shared/conv_" name, "(%x: f32" x ", %w: f32" w ") -> (%y)", "%y: ?[?] = conv(%x, %w)" attributes, "", 1 }
#define SHARED_PRODUCT(name, a, b) \
  { "shared/matmul_" name, "(%a: f32" a ", %b: f32" b ") -> (%y)", "%y: ?[?] = matmul(%a, %b)", "", 1 }
static const OperatorCase shared_cases[] = {
    SHARED_CONV("3x3", "[1, 16, 33, 20]", "[24, 16, 3, 3]", " {pads: [1, 1, 1, 1]}"),
    SHARED_CONV("images", "[3, 16, 17, 20]", "[24, 16, 3, 3]", " {pads: [2, 0, 1, 1], strides: [2, 1]}"),
    SHARED_CONV("many_images", "[11, 8, 9, 20]", "[24, 8, 3, 3]", " {pads: [1, 1, 1, 1]}"),
    SHARED_CONV("1x1", "[1, 64, 7, 7]", "[256, 64, 1, 1]", ""),
    SHARED_CONV("1x1_strided", "[1, 64, 15, 15]", "[128, 64, 1, 1]", " {strides: [2, 2]}"),
    SHARED_CONV("dilated", "[1, 16, 31, 31]", "[16, 16, 3, 3]", " {pads: [4, 4, 4, 4], dilations: [4, 4]}"),
    SHARED_CONV("depthwise", "[1, 64, 40, 40]", "[64, 1, 3, 3]", " {pads: [1, 1, 1, 1], group: 64, strides: [2, 2]}"),
    SHARED_CONV("groups", "[2, 32, 20, 20]", "[32, 8, 3, 3]", " {pads: [1, 1, 1, 1], group: 4}"),
    SHARED_CONV("stem", "[1, 3, 64, 64]", "[32, 3, 7, 7]", " {pads: [3, 3, 3, 3], strides: [2, 2]}"),
    SHARED_CONV("1d", "[1, 32, 300]", "[32, 32, 5]", " {pads: [4, 0]}"),
    SHARED_CONV("3d", "[1, 8, 9, 10, 11]", "[16, 8, 3, 3, 3]", " {pads: [1, 1, 1, 1, 1, 1]}"),
    SHARED_CONV("mostly_padding", "[1, 16, 2, 40]", "[64, 16, 3, 3]", " {pads: [6, 1, 6, 1]}"),
    {"shared/conv_epilogue",
     "(%x: f32[2, 24, 19, 19], %w: f32[64, 24, 1, 1], %b: f32[64, 1, 1], %r: f32[2, 64, 19, 19]) -> (%y)",
     "%y: ?[?] = region(%x, %w, %b, %r) {body: graph fused(%x: ?[?], %w: ?[?], %b: ?[?], %r: ?[?]) -> (%fused) { %sum: ?[?] = "
     "conv(%x, %w) %fused: ?[?] = elementwise(%sum, %b, %r) {program: program {" ACC
     "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; %4: f32 = "
     "const 0.3; %5 = mul %3 %4; %6 = add %5 %2; %7: f32 = const 7; "
     "%8 = div %6 %7; yield %8}} }}",
     "", 1},
    SHARED_PRODUCT("rows", "[300, 64]", "[64, 48]"),
    SHARED_PRODUCT("columns", "[1, 300]", "[300, 2000]"),
    SHARED_PRODUCT("batches", "[12, 40, 33]", "[12, 33, 50]"),
    SHARED_PRODUCT("broadcast_batches", "[2, 7, 40, 33]", "[7, 33, 50]"),
    SHARED_PRODUCT("few_batches", "[2, 400, 33]", "[2, 33, 50]"),
    {"shared/matmul_epilogue", "(%a: f32[3, 400], %w: f32[400, 640], %b: f32[640], %r: f32[3, 640]) -> (%y)",
     "%y: ?[?] = region(%a, %w, %b, %r) {body: graph fused(%a: ?[?], %w: ?[?], %b: ?[?], %r: ?[?]) -> (%fused) { %sum: ?[?] = "
     "matmul(%a, %w) %fused: ?[?] = elementwise(%sum, %b, %r) {program: program {" ACC
     "%1: f32 = input 1; %2: f32 = input 2; %3 = add %0 %1; %4 = sub %3 %2; %5 = relu %4; yield %5}} }}",
     "", 1},
    {"shared/pool_max", "(%x: f32[1, 70, 41, 43]) -> (%y)",
     "%y: ?[?] = pool(%x) {kind: \"max\", kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]}", "", 1},
    {"shared/pool_mean", "(%x: f32[2, 70, 41, 43]) -> (%y)",
     "%y: ?[?] = pool(%x) {kind: \"average\", kernel: [5, 3], strides: [1, 2], pads: [2, 1, 2, 1]}", "", 1},
    {"shared/conv_transpose", "(%x: f32[5, 16, 9, 9], %w: f32[16, 24, 3, 3]) -> (%y)",
     "%y: ?[?] = conv_transpose(%x, %w) {strides: [2, 2], pads: [1, 1, 1, 1]}", "", 1},
    {0},
};
Test(cpu_implementations, shared_work) {
  for (int threads = 1; threads <= 5; threads += 2) run_cases_in(shared_cases, threads, 1);
}

// An implementation that quietly supports nothing would pass everything above.
Test(cpu_implementations, common_sites_are_supported) {
  ThreadPool *pool = thread_pool_new(1);
  cr_assert_eq(thread_pool_size(pool), 1);
  cr_expect_eq(count_runs("conv/3x3_f32", pool), LAYOUTS * 2 * (onednn_library() ? 3 : 2));
  thread_pool_free(pool);
}
