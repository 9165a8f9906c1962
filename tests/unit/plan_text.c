// Plans as text: what is printed reads back to the same plan, for every operator case on the CPU; what is damaged or lies is refused, with the
// line and the reason.
#include <criterion/criterion.h>
#include <string.h>

#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"
#include "lower/plan.h"
#include "lower/specialise.h"

static const DeviceInfo cpu = {.kind = DEVICE_CPU, .name = "a CPU", .multiprocessors = 1};

static Status plan_on_cpu(Graph *graph, Arena *arena, Plan **out) {
  SelectOptions select = {.machine = {.host = host_states_new(arena, NULL, NULL)}};
  return plan_make(graph, &(PlanTarget){.info = &cpu, .select = &select}, arena, out);
}

// ---- every case --------------------------------------------------------------------------------------------------------------

static bool runs(void *context, const Node *node) { return select_supports(node, &cpu, false); }

static Status reread_case(const OperatorCase *row, Arena *arena) {
  Graph *graph;
  Stage *stage;
  Plan *plan, *again;
  TRY(operator_case_build(row, arena, core_ops, &graph));
  StageInput *inputs = arena_array(arena, StageInput, (size_t)graph->input_count + 1);
  for (int i = 0; i < graph->input_count; i++) {
    inputs[i] = (StageInput){.dtype = graph->inputs[i]->dtype, .rank = graph->inputs[i]->rank};
    if (!value_get_dims(graph->inputs[i], inputs[i].dims)) return OK;
  }
  TRY(specialise(graph, inputs, &(SpecialiseHooks){.runs = runs}, arena, &stage));
  TRY(plan_on_cpu(stage->ready, arena, &plan));
  TRY(plan_verify(plan, arena));
  return plan_reread(plan, NULL, arena, &again);
}

Test(plan_text, every_case_reads_back) {
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    Arena *arena = arena_new();
    Status status = reread_case(row, arena);
    cr_expect(!status, "%s: %s", row->name, status_message(status));
    status_free(status);
    arena_free(arena);
  }
}

// ---- what is damaged, and what lies ------------------------------------------------------------------------------------------

static const void *no_constant(void *context, Hash128 name, size_t bytes) { return NULL; }
static const PlanContents nothing = {.constant = no_constant};

static const char graph_text[] =
    "graph g(%a: f32[8, 8], %b: f32[8, 8]) -> (%y) {\n"
    "  const %c: f32[2, 2] = [1, 2, 3, 4]\n"
    "  %s: f32[8, 8] = matmul(%a, %b)\n"
    "  %t: f32[8, 8] = transpose(%s) {perm: [1, 0]}\n"
    "  %k: f32[8, 2] = slice(%t) {starts: dims[0, 3], steps: [1, 1], dims: dims[8, 2]}\n"
    "  %m: f32[2, 2] = slice(%s) {starts: dims[6, 6], steps: [1, 1], dims: dims[2, 2]}\n"
    "  %n: f32[2, 2] = elementwise(%m, %c) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield "
    "%2}}\n"
    "  %y: f32[10, 2] = concat(%n, %k) {axis: 0}\n}\n";

static char *small_text(Arena *arena) {
  Graph *graph;
  Plan *plan;
  Text text = text_new(arena);
  Status status = graph_parse(arena, core_ops, graph_text, strlen(graph_text), NULL, 0, &graph);
  if (!status) status = plan_on_cpu(graph, arena, &plan);
  cr_assert(!status, "%s", status_message(status));
  plan_print(&text, plan, NULL, NULL);
  return arena_string(arena, text_get(&text));
}

static char *replaced(Arena *arena, const char *text, const char *from, const char *to) {
  const char *at = strstr(text, from);
  cr_assert(at, "'%s' is not in\n%s", from, text);
  return arena_printf(arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void expect_refused(Arena *arena, const char *text, const char *why) {
  Plan *plan;
  Status status = plan_parse(text, strlen(text), &cpu, &nothing, arena, &plan);
  cr_assert(status, "accepted, though: %s\n%s", why, text);
  cr_expect(strstr(status_message(status), why), "'%s' is not in '%s'\n%s", why, status_message(status), text);
  cr_expect_neq(status_code(status), ERROR_INTERNAL);
  status_free(status);
}

Test(plan_text, what_lies_is_refused) {
  static const struct {
    const char *from, *to, *why;
  } rows[] = {
      {"plan for the CPU", "plan for sm_90", "it is for sm_90, not for a CPU"},
      {"plan for the CPU", "a plan", "line 1: expected 'plan'"},
      {"3 steps", "4 steps", "3 steps, not"},
      {"bytes of temporaries", "bytes", "expected 'of'"},
      {"buffer %a: input 0", "buffer %a: input 7", "the graph has no input 7"},
      {"buffer %a: input 0, 256", "buffer %a: input 0, 512", "line 11: 'a' has 256 bytes, its buffer 512"},
      {"buffer %b: input 1", "buffer %a: input 1", "two buffers %a"},
      {"buffer %c: constant %c", "buffer %c: constant %s", "%s is no constant"},
      {"order 0,1", "order 0,0", "no permutation"},
      {"buffer %y: output 0, 80 bytes", "buffer %y: output 0, 79 bytes", "'y' has 80 bytes"},
      {" temporaries in ", " temporaries in 9", "the plan's arena has"},
      {" bytes of temporaries", "0 bytes of temporaries", "temporaries take"},
      {", 16 bytes, steps 1 to 2", ", 32 bytes, steps 1 to 2", "result 0 has 16 bytes, the buffer of 'n' 32"},
      {"constant %c order 0,1, 16 bytes", "constant %c order 0,1, 20 bytes", "the constant has other bytes"},
      {"buffer %s: arena at ", "buffer %s: arena at 1", "it is not in the arena"},
      {"buffer %s: arena at ", "buffer %s: arena at 9", "it is not in the arena"},
      {"reads %a [8,1]", "reads %a [9,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a [-8,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a+1 [8,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a [288230376151711743,1]", "reaches beyond"},
      {"reads %a [8,1]", "reads _ [8,1]", "expected '%'"},
      {"reads %a [8,1]", "reads %a [8]", "expected ','"},
      {"reads %a [8,1]", "reads %nowhere [8,1]", "there is no buffer %nowhere"},
      {"reads %a [8,1]", "reads %a const [8,1]", "'a' is no constant"},
      {"reads %a [8,1]", "reads %y [8,1]", "line"},
      {"writes %y", "writes %a", "result 0 has 80 bytes"},
      {"%b: f32[8, 8])", "%b: f32[8, 8], %z: ?[?])", "the type of 'z' is not known"},
      {"%b: f32[8, 8])", "%b: f32[8, 8], %z: seq f32[?])", "the type of 'z' is not known"},
      {"256 bytes, steps 0 to 0", "256 bytes, steps 0 to 1", "buffer %a is used by the steps 0 to 0"},
      {"buffer %b: input 1", "buffer %b: input 2", "line 12: the graph has no input 2"},
      {"step 1:", "step 2:", "is number 1"},
      {"step 0: %s = matmul", "step 0: %t = matmul", "the step's node is transpose"},
      {"step 0: %s = matmul", "step 0: %s = conv", "the step's node is matmul, not conv"},
      {"step 0: %s = matmul", "step 0: %nothing = matmul", "no node of the graph has %nothing"},
      {"concat by copies", "concat by strips", "nothing called 'strips' computes concat"},
      {"concat by copies", "concat by copies config 1", "does not compute"},
      {"host concat", "host nothing", "does not compute through 'nothing'"},
      {"host strips", "host concat", "does not compute through 'concat'"},
      {"host strips", "kernel k 00112233445566778899aabbccddeeff grid 1 1 1 block 1 1 1 shared 0 ()", "another device"},
      {"from \"\"", "from \"conv1 (Conv)\"", "its node from ''"},
      {"%t: f32[8, 8] = transpose", "%t: f32[8, 9] = transpose", "line"},
      {"const %c: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]", "const %c: f32[2, 2] = &00112233445566778899aabbccddeeff",
       "did not come with the text"},
  };
  Arena *arena = arena_new();
  const char *text = small_text(arena);
  Plan *plan;
  Status status = plan_parse(text, strlen(text), &cpu, &nothing, arena, &plan);
  cr_assert(!status, "%s", status_message(status));
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    expect_refused(arena, replaced(arena, text, rows[i].from, rows[i].to), rows[i].why);
  }
  arena_free(arena);
}

// The same plan with one thing changed that a text cannot say.
Test(plan_text, what_a_plan_does_not_do_is_noticed) {
  Arena *arena = arena_new();
  const char *text = small_text(arena);
  enum { Y_IS_NOT_MADE, C_IS_OVERWRITTEN, S_IS_NOWHERE, ARENA_IS_SHORT, CASES };
  static const char *const why[] = {"does not make its output 'y'", "writes over 'c'", "it is not in the arena",
                                    "it is not in the arena"};
  for (int change = 0; change < CASES; change++) {
    Plan *plan;
    Status status = plan_parse(text, strlen(text), &cpu, &nothing, arena, &plan);
    cr_assert(!status, "%s", status_message(status));
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
      PlanBuffer *buffer = &plan->buffers[b];
      if (change == Y_IS_NOT_MADE && !strcmp(buffer->name, "y"))
        buffer->kind = PLAN_ARENA, plan->arena_bytes += 1 << 20, plan->temporary_bytes += 1 << 20, buffer->offset = 1 << 20;
      if (change == C_IS_OVERWRITTEN && !strcmp(buffer->name, "c")) plan->steps[1].outputs[0].buffer = (int)b;
      if (change == S_IS_NOWHERE && !strcmp(buffer->name, "s")) buffer->offset += 4;
    }
    size_t end = 0;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
      size_t last = plan->buffers[b].kind == PLAN_ARENA ? plan->buffers[b].offset + plan->buffers[b].bytes : 0;
      end = last > end ? last : end;
    }
    if (change == ARENA_IS_SHORT) plan->arena_bytes = end - 1;
    status = plan_verify(plan, arena);
    cr_assert(status, "accepted: %s", why[change]);
    cr_expect(strstr(status_message(status), why[change]), "%s", status_message(status));
    status_free(status);
  }
  arena_free(arena);
}

// A constant seen by another shape is known as a whole, a part of it is not.
Test(plan_text, constants_are_known_as_a_whole) {
  static const char views[] =
      "graph g(%x: f32[4], %z: f32[2]) -> (%y, %w) {\n"
      "  const %c: f32[2, 2] = [1, 2, 3, 4]\n"
      "  %r: f32[4] = reshape(%c) {dims: dims[4]}\n"
      "  %p: f32[1, 2] = slice(%c) {starts: dims[1, 0], steps: [1, 1], dims: dims[1, 2]}\n"
      "  %q: f32[2] = reshape(%p) {dims: dims[2]}\n"
      "  %y: f32[4] = elementwise(%x, %r) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2}}\n"
      "  %w: f32[2] = elementwise(%z, %q) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield "
      "%2}}\n}\n";
  Arena *arena = arena_new();
  Graph *graph;
  Plan *plan, *again;
  Text text = text_new(arena);
  Status status = graph_parse(arena, core_ops, views, strlen(views), NULL, 0, &graph);
  if (!status) status = plan_on_cpu(graph, arena, &plan);
  if (!status) status = plan_reread(plan, NULL, arena, &again);
  cr_assert(!status, "%s", status_message(status));
  plan_print(&text, plan, NULL, NULL);
  const char *good = text_get(&text);
  cr_assert(strstr(good, "%c const [1]") && strstr(good, "%c+2 [1]"), "%s", good);
  expect_refused(arena, replaced(arena, good, "%c const [1]", "%c+1 const [1]"), "'r' is no constant");
  expect_refused(arena, replaced(arena, good, "%c+2 [1]", "%c const [1]"), "'q' is no constant");
  arena_free(arena);
}

// ---- for a GPU ---------------------------------------------------------------------------------------------------------------

static DeviceInfo gpu = {.kind = DEVICE_CUDA,
                         .name = "a GPU",
                         .sm = 90,
                         .multiprocessors = 132,
                         .shared_per_block = 232448,
                         .shared_per_multiprocessor = 233472,
                         .l2_bytes = 50 << 20,
                         .memory_bytes = 1ll << 34};
static Hash128 weights_name;
static const Tensor *weights;

static void note_weights(void *context, Hash128 name, const Tensor *tensor) { weights_name = name, weights = tensor; }
static const void *find_weights(void *context, Hash128 name, size_t bytes) {
  return !memcmp(&name, &weights_name, sizeof name) && bytes == tensor_bytes(weights) ? weights->data : NULL;
}
static const PlanContents with_weights = {.constant = find_weights};

// A convolution whose weights are packed: three channels in channels-last order.
static const char *gpu_text(Arena *arena, const Compiler *compiler) {
  Text graph_text = text_new(arena), text = text_new(arena);
  Graph *graph;
  Plan *plan;
  text_add(&graph_text, "graph g(%%x: f16[1, 64, 64, 3]) -> (%%y) {\n  const %%w: f16[16, 3, 3, 3] = [");
  for (int i = 0; i < 16 * 27; i++) text_add(&graph_text, i ? ", %d.0" : "%d.0", i % 5);
  text_add(&graph_text,
           "]\n  %%t: f16[1, 3, 64, 64] = transpose(%%x) {perm: [0, 3, 1, 2]}\n  %%c: f16[1, 16, 64, 64] order(0, 2, 3, 1) = "
           "conv(%%t, "
           "%%w) {strides: [1, 1], pads: [1, 1, 1, 1], dilations: [1, 1], group: 1}\n"
           "  %%y: f16[1, 64, 64, 16] = transpose(%%c) {perm: [0, 2, 3, 1]}\n}\n");
  Status status = graph_parse(arena, core_ops, text_get(&graph_text), graph_text.length, NULL, 0, &graph);
  const SelectOptions select = {.workspace_limit = 1 << 20};
  chip_take_rates(&gpu, 0, 0);
  if (!status) status = plan_make(graph, &(PlanTarget){.info = &gpu, .select = &select}, arena, &plan);
  cr_assert(!status, "%s", status_message(status));
  plan_print(&text, plan, compiler, &(PlanWitness){.constant = note_weights});
  return text_get(&text);
}

static void expect_refused_gpu(Arena *arena, const char *text, const char *why) {
  Plan *plan;
  Status status = plan_parse(text, strlen(text), &gpu, &with_weights, arena, &plan);
  cr_assert(status, "accepted, though: %s\n%s", why, text);
  cr_expect(strstr(status_message(status), why), "'%s' is not in '%s'\n%s", why, status_message(status), text);
  status_free(status);
}

// A call of cuBLASLt with so many arguments and parameters of zeros, in place of the kernel.
static const char *with_library(Arena *arena, const char *text, size_t bytes, const char *arguments) {
  const char *kernel = strstr(text, "  kernel ");
  char *zeros = arena_alloc(arena, 2 * bytes + 1);
  memset(zeros, '0', 2 * bytes);
  zeros[2 * bytes] = 0;
  return arena_printf(arena, "%.*s  library cublaslt_matmul %s %s\n%s", (int)(kernel - text), text, zeros, arguments,
                      strchr(kernel, '\n') + 1);
}

Test(plan_text, launches_that_lie_are_refused) {
  Arena *arena = arena_new();
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  const char *text = gpu_text(arena, compiler);
  Plan *plan;
  Text again = text_new(arena);
  Status status = plan_parse(text, strlen(text), &gpu, &with_weights, arena, &plan);
  cr_assert(!status, "%s\n%s", status_message(status), text);
  plan_print(&again, plan, compiler, NULL);
  cr_expect_str_eq(text_get(&again), text);  // kernels without their sources are called what they were
  static const char *const rows[][3] = {
      {"packed 0:", "packed 1:", "counted from 0"},
      {"packed 0: ", "packed 0: 1", "the recipe makes"},
      {"(in 0", "(in 9", "number 9"},
      {"(in 0", "(out 1", "number 1"},
      {"(in 0", "(packed 1", "number 1"},
      {"(in 0", "(workspace+1000000", "bytes of workspace"},
      {"(in 0", "(elsewhere", "expected 'workspace'"},
      {"block ", "block 0 ", "is not between"},
      {"  kernel ", "  host ", "does not compute through"},
      {"plan for sm_90", "plan for sm_80", "it is for sm_80, not for a GPU"},
      {"recipe ", "recipe x", "expected a hash"},
      {" of &", " of &0", "line"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    expect_refused_gpu(arena, replaced(arena, text, rows[i][0], rows[i][1]), rows[i][2]);
  size_t bytes = library_routine_named("cublaslt_matmul")->parameter_bytes;
  expect_refused_gpu(arena, with_library(arena, text, bytes, "(in 0, in 1, out 0, workspace)"), "takes -1");
  expect_refused_gpu(arena, with_library(arena, text, bytes - 1, "(in 0)"), "bytes are there");
  compiler_free(compiler);
  arena_free(arena);
}

// Blocks that are to be in place at once: said, read back, and refused where there is no room for all, or in clusters.
Test(plan_text, blocks_at_once_need_room) {
  Arena *arena = arena_new();
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  const char *text = replaced(arena, gpu_text(arena, compiler), " shared ", " cooperative shared ");
  DeviceInfo device = gpu;
  Plan *plan;
  Text again = text_new(arena);
  device.multiprocessors = 1 << 20;
  Status status = plan_parse(text, strlen(text), &device, &with_weights, arena, &plan);
  cr_assert(!status, "%s\n%s", status_message(status), text);
  const Launch *launch = &plan->steps[0].selection.emission->launches[0];
  cr_expect(launch->cooperative);
  plan_print(&again, plan, compiler, NULL);
  cr_expect_str_eq(text_get(&again), text);
  unsigned blocks = launch->grid[0] * launch->grid[1] * launch->grid[2];
  cr_assert_gt(blocks, 1);
  device.multiprocessors = (int)blocks;
  status = plan_parse(text, strlen(text), &device, &with_weights, arena, &plan);
  cr_expect(!status, "%s", status_message(status));
  device.multiprocessors = (int)blocks - 1;
  status = plan_parse(text, strlen(text), &device, &with_weights, arena, &plan);
  cr_assert(status, "accepted, though a block finds no place");
  cr_expect(strstr(status_message(status), "blocks at once"), "%s", status_message(status));
  cr_expect_eq(status_code(status), ERROR_UNSUPPORTED);
  status_free(status);
  expect_refused_gpu(arena, replaced(arena, text, " cooperative", " cluster 1 1 1 cooperative"), "in clusters");
  compiler_free(compiler);
  arena_free(arena);
}

// ---- cuts --------------------------------------------------------------------------------------------------------------------

// Whatever the text is cut down to: an error, never another plan.
Test(plan_text, every_cut_is_refused) {
  Arena *arena = arena_new();
  const char *text = small_text(arena);
  for (size_t length = 0; length + 1 < strlen(text); length++) {
    Arena *scratch = arena_new();
    Plan *plan;
    Status status = plan_parse(text, length, &cpu, &nothing, scratch, &plan);
    cr_assert(status, "accepted when cut to %zu bytes", length);
    status_free(status);
    arena_free(scratch);
  }
  arena_free(arena);
}

// A value's memory that another takes too early, which only following the steps shows.
Test(plan_text, memory_that_is_taken_too_early_is_refused) {
  Arena *arena = arena_new();
  const char *text = small_text(arena), *name = "buffer %n: arena at ";
  const char *n = strstr(text, name);
  cr_assert(n, "%s", text);
  const char *s = strstr(text, "buffer %s: arena at ");
  size_t digits = strspn(s + 20, "0123456789"), others = strspn(n + strlen(name), "0123456789");
  char *moved =
      arena_printf(arena, "%.*s%.*s%s", (int)(n + strlen(name) - text), text, (int)digits, s + 20, n + strlen(name) + others);
  expect_refused(arena, moved, "overwrite 's' while it is read");
  arena_free(arena);
}
