// What binding a plan costs the host: a plan of 1,000 steps, read from its text, is bound to a session's memory and then to other inputs and results. No
// GPU is needed: addresses are numbers here.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"
#include "lower/plan.h"
#include "run/recording.h"

enum { STEPS = 1000, ROUNDS = 50 };
#ifdef __SANITIZE_ADDRESS__
static const double LIMIT = 1e-2;
#else
static const double LIMIT = 1e-3;
#endif

static const void *no_constant(void *context, Hash128 name, size_t bytes) { return NULL; }

static char *chain_text(Arena *arena) {
  Text text = text_new(arena);
  text_add(&text, "graph chain(%%v0: f32[64, 64], %%w: f32[64, 64]) -> (%%v%d) {\n", STEPS);
  for (int i = 1; i <= STEPS; i++)
    text_add(
        &text,
        i % 2
            ? "  %%v%d: f32[64, 64] = matmul(%%v%d, %%w)\n"
            : "  %%v%d: f32[64, 64] = elementwise(%%v%d) {program: program {%%0: f32 = input 0; %%1 = relu %%0; yield %%1}}\n",
        i, i - 1);
  text_add(&text, "}\n");
  return arena_string(arena, text_get(&text));
}

static Status make_plan(const DeviceInfo *device, Arena *arena, Plan **out) {
  const char *chain = chain_text(arena);
  Graph *graph;
  Plan *plan;
  TRY(graph_parse(arena, core_ops, chain, strlen(chain), NULL, 0, &graph));
  TRY(plan_make(graph, &(PlanTarget){.info = device, .select = &(SelectOptions){.workspace_limit = 256 << 20}}, arena, &plan));
  Compiler *compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  Text text = text_new(arena);
  plan_print(&text, plan, compiler, NULL);
  compiler_free(compiler);
  const PlanContents nothing = {.constant = no_constant};
  return plan_parse(text_get(&text), text.length, device, &nothing, arena, out);
}

static double processor_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef struct Bound {
  Arena *arena;
  DeviceInfo device;
  Steps steps;
} Bound;

static void set_up(Bound *b) {
  Plan *plan;
  b->arena = arena_new();
  Status status = chip_find("H200", &b->device);
  if (!status) status = make_plan(&b->device, b->arena, &plan);
  cr_assert(!status, "%s", status_message(status));
  cr_assert_eq(plan->step_count, STEPS);
  steps_lay_out(&b->steps, plan, (Machine){0}, b->arena);
}

static void *place(uintptr_t number) { return (void *)(number << 30); }

static double bind_seconds(Bound *b, uintptr_t block, uintptr_t first) {
  void *inputs[] = {place(first), place(first + 1)}, *outputs[] = {place(first + 2)};
  double start = processor_seconds();
  steps_bind(&b->steps, place(block), inputs, outputs);
  return processor_seconds() - start;
}

// The least of many rounds does not depend on who else is there; some fifteen times less than what is allowed.
Test(plan_bind, a_thousand_steps_take_less_than_a_millisecond) {
  Bound b;
  set_up(&b);
  double all = 1, fresh = 1;
  for (int i = 0; i < ROUNDS; i++) {
    double moved = bind_seconds(&b, 100 + (uintptr_t)i, 1), told = bind_seconds(&b, 100 + (uintptr_t)i, 10 + (uintptr_t)i);
    all = MIN(all, moved);
    fresh = MIN(fresh, told);
  }
  printf("plan_bind: %d steps are bound in %.1f us, to other inputs and results in %.1f us\n", STEPS, all * 1e6, fresh * 1e6);
  cr_expect_lt(all, LIMIT);
  cr_expect_lt(fresh, LIMIT);
  arena_free(b.arena);
}

// Other inputs and results concern the steps that reach them, and no other is looked at.
Test(plan_bind, other_addresses_concern_those_who_read_them) {
  Bound b;
  set_up(&b);
  bind_seconds(&b, 100, 1);
  cr_assert_eq(b.steps.caller_count, STEPS / 2 + 1);  // products read an input, and the last step writes the result
  for (uint32_t s = 0; s < STEPS; s++) b.steps.sets[s]->inputs[0] = place(77);
  bind_seconds(&b, 100, 10);
  for (uint32_t s = 0; s < STEPS; s++) {
    bool is_product = s % 2 == 0, is_last = s + 1 == STEPS;
    const LaunchSet *set = b.steps.sets[s];
    cr_assert_eq(set->inputs[0] == place(77), !is_product && !is_last, "step %u", s);
    if (is_product) cr_assert_eq(set->inputs[1], place(11), "step %u", s);
    if (is_last) cr_assert_eq(set->outputs[0], place(12));
    for (uint32_t l = 0; l < set->emission->launch_count; l++)
      for (int a = 0; a < set->launches[l].launch->arg_count; a++)
        cr_assert_neq(set->launches[l].pointers[a], place(2), "step %u has the old input", s);
  }
  arena_free(b.arena);
}

// Of a graph that was recorded of them, nodes of kernels alone: all that read the weights, and the one that writes the result.
Test(plan_bind, those_are_the_nodes_of_a_recorded_graph) {
  Bound b;
  set_up(&b);
  CudaDriver driver = {0};
  CudaContext context = {.driver = &driver};
  Recording recording;
  recording_lay_out(&recording, &b.steps, &context, b.arena);
  cr_expect_eq(recording.node_count, STEPS / 2 + 1);
  cr_expect_not(recording.follows, "a driver without the function");
  arena_free(b.arena);
}

// Each of them meets a few others; to compare each with each takes minutes.
Test(plan_bind, packing_takes_what_meets) {
  enum { COUNT = 200000 };
  Arena *arena = arena_new();
  PackItem *items = arena_array(arena, PackItem, COUNT);
  for (int i = 0; i < COUNT; i++)
    items[i] = (PackItem){.bytes = 1 + (size_t)i * 7919 % 100000, .first = i, .last = i + 1 + i % 5};
  double start = processor_seconds();
  size_t total = pack_intervals(items, COUNT, PLAN_ALIGNMENT, arena);
  cr_expect_lt(processor_seconds() - start, 10);  // a fraction of one
  cr_expect_lt(total, 2000000);
  arena_free(arena);
}
