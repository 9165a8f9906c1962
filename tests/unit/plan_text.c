// Plans as text: what is printed reads back to the same plan, for every operator case on the CPU; what is damaged or lies is refused, with the
// line and the reason.
#include <criterion/criterion.h>
#include <string.h>

#include "ir/graph_text.h"
#include "kernels/cases.h"
#include "kernels/ops.h"
#include "plan/plan.h"
#include "plan/specialise.h"

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
      {"buffer %a: input 0, 256", "buffer %a: input 0, 512", "'a' has 256 bytes, its buffer 512"},
      {"buffer %b: input 1", "buffer %a: input 1", "two buffers %a"},
      {"buffer %c: constant %c", "buffer %c: constant %s", "%s is no constant"},
      {"order 0,1", "order 0,0", "no permutation"},
      {"buffer %y: output 0, 80 bytes", "buffer %y: output 0, 79 bytes", "'y' has 80 bytes"},
      {"reads %a [8,1]", "reads %a [9,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a [-8,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a+1 [8,1]", "reaches beyond the buffer of 'a'"},
      {"reads %a [8,1]", "reads %a [288230376151711743,1]", "reaches beyond"},
      {"reads %a [8,1]", "reads _ [8,1]", "expected '%'"},
      {"reads %a [8,1]", "reads %a [8]", "expected ','"},
      {"reads %a [8,1]", "reads %nowhere [8,1]", "there is no buffer %nowhere"},
      {"reads %a [8,1]", "reads %a const [8,1]", "'a' is no constant"},
      {"reads %a [8,1]", "reads %y [8,1]", "line"},
      {"writes %y", "writes %a", "buffer %a is used by the steps 0 to 2"},
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
