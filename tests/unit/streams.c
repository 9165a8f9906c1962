// Steps side by side: which streams branches get, what they wait for, what clocks and packing make of it, and that a plan's verifier misses no mistake in any
// of these. Plans are made for a GPU that is not here.
#include "lower/streams.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"
#include "lower/clocks.h"

static uint64_t state = 88172645463325252ull;
static uint64_t next_random(uint64_t below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return below ? state % below : 0;
}

static DeviceInfo h200;
static Compiler *compiler;
static void set_up(void) {
  Status status = chip_find("H200", &h200);
  cr_assert(!status, "%s", status_message(status));
  compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
}
static void tear_down(void) { compiler_free(compiler); }
TestSuite(streams, .init = set_up, .fini = tear_down);

static Plan *plan_on(Arena *arena, const char *text, int streams) {
  Graph *graph;
  Plan *plan;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  const SelectOptions select = {.workspace_limit = 256 << 20};
  if (!status) status = plan_make(graph, &(PlanTarget){.info = &h200, .select = &select, .streams = streams}, arena, &plan);
  if (!status) status = plan_verify(plan, arena);
  cr_assert(!status, "%s", status_message(status));
  return plan;
}

static const char *text_of(const Plan *plan, Arena *arena) {
  Text text = text_new(arena);
  plan_print(&text, plan, compiler, NULL);
  return arena_string(arena, text_get(&text));
}

static const PlanStep *step_of(const Plan *plan, const char *value) {
  for (uint32_t s = 0; s < plan->step_count; s++)
    if (!strcmp(plan->steps[s].node->outputs[0]->name, value)) return &plan->steps[s];
  cr_assert_fail("no step makes %s", value);
  return NULL;
}

static int streams_of(const Plan *plan) {
  int most = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) most = MAX(most, plan->steps[s].stream);
  return most + 1;
}

static int waits_of(const Plan *plan) {
  int count = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) count += plan->steps[s].wait_count;
  return count;
}

// `count` branches of `length` products each of `size` rows, from one value to one sum.
static const char *branches(Arena *arena, int count, int length, int size) {
  Text text = text_new(arena);
  text_add(&text, "graph g(%%x: f32[%d, %d]) -> (%%y) {\n  %%h: f32[%d, %d] = matmul(%%x, %%x)\n", size, size, size, size);
  for (int b = 0; b < count; b++)
    for (int i = 0; i < length; i++) {
      text_add(&text, "  %%v%d_%d: f32[%d, %d] = matmul(", b, i, size, size);
      if (i) text_add(&text, "%%v%d_%d, %%x)\n", b, i - 1);
      else text_add(&text, "%%h, %%x)\n");
    }
  text_add(&text, "  %%y: f32[%d, %d] = elementwise(", size, size);
  for (int b = 0; b < count; b++) text_add(&text, b ? ", %%v%d_%d" : "%%v%d_%d", b, length - 1);
  text_add(&text, ") {program: program {");
  for (int b = 0; b < count; b++) text_add(&text, "%%%d: f32 = input %d; ", b, b);
  for (int b = 1; b < count; b++) text_add(&text, "%%%d = add %%%d %%%d; ", count + b - 1, b == 1 ? 0 : count + b - 2, b);
  text_add(&text, "yield %%%d}}\n}\n", count == 1 ? 0 : 2 * count - 2);
  return arena_string(arena, text_get(&text));
}

// ---- who goes where ----------------------------------------------------------------------------------------------------------

Test(streams, branches_run_side_by_side) {
  Arena *arena = arena_new();
  for (int count = 2; count <= 4; count++) {
    Plan *plan = plan_on(arena, branches(arena, count, 3, 64), 4);
    cr_expect_eq(streams_of(plan), count);
    cr_expect_eq(waits_of(plan), 2 * (count - 1), "%d branches: %s", count, text_of(plan, arena));
    for (int b = 0; b < count; b++)
      for (int i = 1; i < 3; i++)  // a branch is a chain
        cr_expect_eq(step_of(plan, arena_printf(arena, "v%d_%d", b, i))->stream,
                     step_of(plan, arena_printf(arena, "v%d_%d", b, i - 1))->stream);
  }
  arena_free(arena);
}

Test(streams, no_more_than_asked_for) {
  Arena *arena = arena_new();
  for (int limit = 1; limit <= 4; limit++) cr_expect_eq(streams_of(plan_on(arena, branches(arena, 6, 3, 64), limit)), limit);
  arena_free(arena);
}

// Where nothing is won the plan is, byte for byte, the one of a single stream.
Test(streams, what_gains_nothing_stays_as_it_is) {
  Arena *arena = arena_new();
  const char *const graphs[] = {
      branches(arena, 1, 6, 64),    // a chain
      branches(arena, 2, 1, 64),    // branches that are not worth a wait when they leave and one when they come back
      branches(arena, 4, 3, 4096),  // steps that fill the chip
  };
  for (size_t i = 0; i < COUNT_OF(graphs); i++)
    cr_expect_str_eq(text_of(plan_on(arena, graphs[i], 4), arena), text_of(plan_on(arena, graphs[i], 1), arena), "graph %zu",
                     i);
  arena_free(arena);
}

// The longest branch keeps the stream of what it comes from, wherever it stands in the graph.
Test(streams, the_critical_path_keeps_its_stream) {
  static const char *const long_branch =
                               "%a: f32[64, 64] = matmul(%h, %x) %b: f32[64, 64] = matmul(%a, %x) %c: f32[64, 64] = "
                               "matmul(%b, %x) %d: f32[64, 64] = matmul(%c, %x) ",
                           *const short_branch = "%e: f32[64, 64] = matmul(%h, %x) %f: f32[64, 64] = matmul(%e, %x) ";
  Arena *arena = arena_new();
  for (int turned = 0; turned < 2; turned++) {
    Plan *plan = plan_on(arena,
                         arena_printf(arena,
                                      "graph g(%%x: f32[64, 64]) -> (%%y) { %%h: f32[64, 64] = matmul(%%x, %%x) %s%s"
                                      "%%y: f32[64, 64] = matmul(%%d, %%f) }",
                                      turned ? short_branch : long_branch, turned ? long_branch : short_branch),
                         4);
    for (const char *const *name = (const char *const[]){"h", "a", "b", "c", "d", "y", NULL}; *name; name++)
      cr_expect_eq(step_of(plan, *name)->stream, 0, "%s is on %d", *name, step_of(plan, *name)->stream);
    cr_expect_eq(step_of(plan, "e")->stream, 1);
    cr_expect_eq(step_of(plan, "f")->stream, 1);
    cr_expect_eq(waits_of(plan), 2);
  }
  arena_free(arena);
}

Test(streams, the_same_each_time) {
  Arena *arena = arena_new();
  const char *graph = branches(arena, 5, 4, 64);
  cr_expect_str_eq(text_of(plan_on(arena, graph, 4), arena), text_of(plan_on(arena, graph, 4), arena));
  arena_free(arena);
}

// Nodes whose operands are any of those before them.
static const char *random_graph(Arena *arena, int count) {
  Text text = text_new(arena);
  text_add(&text, "graph g(%%v0: f32[64, 64], %%v1: f32[64, 64]) -> (%%v%d) {\n", count + 1);
  for (int i = 2; i < count + 2; i++) {
    int reach = next_random(4) ? MIN(i, 6) : i;
    text_add(&text, "  %%v%d: f32[64, 64] = matmul(%%v%d, %%v%d)\n", i, i - 1 - (int)next_random((uint64_t)reach),
             i - 1 - (int)next_random((uint64_t)reach));
  }
  text_add(&text, "}\n");
  return arena_string(arena, text_get(&text));
}

// As few as possible, and none too few: without any one of them something is no longer in order, and the verifier says so.
Test(streams, each_wait_is_needed) {
  int waits = 0;
  for (int round = 0; round < 60; round++) {
    Arena *arena = arena_new();
    Plan *plan = plan_on(arena, random_graph(arena, 5 + (int)next_random(60)), 4);
    for (uint32_t s = 0; s < plan->step_count; s++)
      for (int i = 0; i < plan->steps[s].wait_count; i++, waits++) {
        PlanStep kept = plan->steps[s];
        plan->steps[s].waits[i] = kept.waits[--plan->steps[s].wait_count];
        Status status = plan_verify(plan, arena);
        cr_assert(status, "round %d: step %u does without waiting for %u", round, s, kept.waits[i]);
        status_free(status);
        plan->steps[s] = kept;
      }
    arena_free(arena);
  }
  cr_expect_gt(waits, 500);
}

Test(streams, plans_read_back) {
  for (int round = 0; round < 30; round++) {
    Arena *arena = arena_new();
    Plan *plan = plan_on(arena, random_graph(arena, 40), 4), *again;
    Status status = plan_reread(plan, compiler, arena, &again);
    cr_assert(!status, "%s", status_message(status));
    for (uint32_t s = 0; s < plan->step_count; s++) {
      const PlanStep *one = &plan->steps[s], *other = &again->steps[s];
      cr_assert(one->stream == other->stream && one->wait_count == other->wait_count &&
                !memcmp(one->waits, other->waits, (size_t)one->wait_count * sizeof *one->waits));
    }
    arena_free(arena);
  }
}

static double processor_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Each of many values that one step reads is looked at a few times, not once for each of the others: that would take some fifteen seconds.
Test(streams, a_step_that_reads_thousands_is_played_in_moments) {
  enum { COUNT = 12000 };
  Arena *arena = arena_new();
  Text text = text_new(arena);
  text_add(&text, "graph g(%%x: f32[64, 64]) -> (%%y) {\n");
  for (int i = 0; i < COUNT; i++) text_add(&text, "  %%v%d: f32[64, 64] = matmul(%%x, %%x)\n", i);
  text_add(&text, "  %%y: f32[%d, 64] = concat(", COUNT * 64);
  for (int i = 0; i < COUNT; i++) text_add(&text, i ? ", %%v%d" : "%%v%d", i);
  text_add(&text, ") {axis: 0}\n}\n");
  Plan *plan = plan_on(arena, text_get(&text), 1);
  double start = processor_seconds();
  streams_assign(plan, 4, arena);
  double seconds = processor_seconds() - start;
  printf("streams: %d steps are played in %.0f ms\n", COUNT, seconds * 1e3);
  cr_expect_lt(seconds, 4);
  cr_expect_eq(streams_of(plan), 4);
  arena_free(arena);
}

// ---- clocks and memory -------------------------------------------------------------------------------------------------------

static bool *reachable(const Plan *plan, Arena *arena) {
  uint32_t count = plan->step_count;
  bool *before = arena_array(arena, bool, (size_t)count *count);  // [second][first]
  for (uint32_t s = 0; s < count; s++) {
    const PlanStep *step = &plan->steps[s];
    for (uint32_t other = 0; other < s; other++) {
      bool direct = plan->steps[other].stream == step->stream;
      for (int i = 0; i < step->wait_count; i++) direct |= step->waits[i] == other;
      if (!direct) continue;
      before[s * count + other] = true;
      for (uint32_t k = 0; k < other; k++) before[s * count + k] |= before[other * count + k];
    }
  }
  return before;
}

static bool uses(const PlanStep *step, int buffer) {
  bool used = step->workspace_buffer == buffer;
  for (int i = 0; i < site_input_count(&step->site); i++) used |= step->inputs[i].buffer == buffer;
  for (int i = 0; i < step->node->output_count; i++) used |= step->outputs[i].buffer == buffer;
  return used;
}

// Judged step by step, without clocks: who shares bytes is used one after the other.
static void expect_ordered(const Plan *plan, Arena *arena) {
  const bool *before = reachable(plan, arena);
  for (int a = 0; a < (int)plan->buffer_count; a++)
    for (int b = 0; b < a; b++) {
      const PlanBuffer *one = &plan->buffers[a], *other = &plan->buffers[b];
      if (one->kind != PLAN_ARENA || other->kind != PLAN_ARENA || one->first_step < 0 || other->first_step < 0) continue;
      if (one->offset >= other->offset + other->bytes || other->offset >= one->offset + one->bytes) continue;
      bool first = true, second = true;
      for (uint32_t s = 0; s < plan->step_count; s++)
        for (uint32_t t = 0; t < plan->step_count; t++) {
          if (!uses(&plan->steps[s], a) || !uses(&plan->steps[t], b)) continue;
          first &= before[t * plan->step_count + s];
          second &= before[s * plan->step_count + t];
        }
      cr_assert(first || second, "%s and %s lie in the same place", one->name, other->name);
    }
}

Test(streams, clocks_are_what_can_be_reached) {
  for (int round = 0; round < 30; round++) {
    Arena *arena = arena_new();
    Plan *plan = plan_on(arena, random_graph(arena, 40), 4);
    PlanClocks clocks;
    cr_assert_null(clocks_find(plan, arena, &clocks));
    const bool *before = reachable(plan, arena);
    for (uint32_t s = 0; s < plan->step_count; s++)
      for (uint32_t t = 0; t < plan->step_count; t++)
        cr_assert_eq(clocks_is_before(&clocks, t, s), before[s * plan->step_count + t], "round %d: %u, %u", round, t, s);
    arena_free(arena);
  }
}

Test(streams, bytes_are_shared_by_what_is_in_order) {
  size_t alone = 0, beside = 0;
  for (int round = 0; round < 40; round++) {
    Arena *arena = arena_new();
    const char *graph = random_graph(arena, 10 + (int)next_random(40));
    Plan *plan = plan_on(arena, graph, 4);
    expect_ordered(plan, arena);
    beside += plan->arena_bytes;
    alone += plan_on(arena, graph, 1)->arena_bytes;
    arena_free(arena);
  }
  cr_expect_lt(beside, 2 * alone, "%zu bytes side by side, %zu one after the other", beside, alone);
}

// ---- what a plan gets wrong --------------------------------------------------------------------------------------------------

// Three branches of two products, on streams 0, 1 and 2, and what joins them on 1, behind the others.
static const char joined[] =
    "graph g(%x: f32[64, 64]) -> (%y) {\n"
    "  %h: f32[64, 64] = matmul(%x, %x)\n"
    "  %a0: f32[64, 64] = matmul(%h, %x)\n  %a1: f32[64, 64] = matmul(%a0, %x)\n"
    "  %b0: f32[64, 64] = matmul(%h, %x)\n  %b1: f32[64, 64] = matmul(%b0, %x)\n"
    "  %c0: f32[64, 64] = matmul(%h, %x)\n  %c1: f32[64, 64] = matmul(%c0, %x)\n"
    "  %s: f32[64, 64] = matmul(%a1, %b1)\n  %y: f32[64, 64] = matmul(%s, %c1)\n}\n";

static PlanStep *at(Plan *plan, const char *value) { return (PlanStep *)(uintptr_t)step_of(plan, value); }
static uint32_t number(Plan *plan, const char *value) { return (uint32_t)(at(plan, value) - plan->steps); }
static PlanBuffer *buffer(Plan *plan, const char *value) { return &plan->buffers[at(plan, value)->outputs[0].buffer]; }

static void forget_wait(Plan *plan, const char *value, const char *other) {
  PlanStep *step = at(plan, value);
  for (int i = 0; i < step->wait_count; i++)
    if (step->waits[i] == number(plan, other)) {
      step->waits[i] = step->waits[--step->wait_count];
      return;
    }
  cr_assert_fail("%s does not wait for %s", value, other);
}

static void wait_for(Plan *plan, const char *value, uint32_t other) {
  PlanStep *step = at(plan, value);
  step->wait_count = 1;
  step->waits[0] = other;
}

static void share(Plan *plan, const char *value, const char *other) {
  buffer(plan, value)->offset = buffer(plan, other)->offset;
}

static void forget_b0_waits(Plan *p) { at(p, "b0")->wait_count = 0; }
static void forget_c0_waits(Plan *p) { at(p, "c0")->wait_count = 0; }
static void forget_s_waits(Plan *p) { forget_wait(p, "s", "a1"); }
static void forget_y_waits(Plan *p) { forget_wait(p, "y", "c1"); }
static void wait_too_early(Plan *p) { wait_for(p, "s", number(p, "a0")); }
static void wait_for_another_branch(Plan *p) { wait_for(p, "y", number(p, "a1")); }
static void wait_for_a_later_one(Plan *p) { wait_for(p, "b0", number(p, "s")); }
static void wait_for_itself(Plan *p) { wait_for(p, "b0", number(p, "b0")); }
static void wait_for_the_own_stream(Plan *p) { wait_for(p, "a1", number(p, "a0")); }
static void wait_beyond_the_end(Plan *p) { wait_for(p, "b0", p->step_count); }
static void wait_around(Plan *p) { wait_for(p, "h", number(p, "y")); }
static void too_many_waits(Plan *p) { at(p, "y")->wait_count = PLAN_STREAMS; }
static void waits_below_none(Plan *p) { at(p, "y")->wait_count = -1; }
static void stream_beyond(Plan *p) { at(p, "b0")->stream = PLAN_STREAMS; }
static void stream_below(Plan *p) { at(p, "c1")->stream = -1; }
static void branch_torn(Plan *p) { at(p, "b1")->stream = 3; }
static void joined_elsewhere(Plan *p) { at(p, "s")->stream = 3, at(p, "s")->wait_count = 0; }
static void result_elsewhere(Plan *p) { at(p, "y")->stream = 3, at(p, "y")->wait_count = 0; }
static void branches_share(Plan *p) { share(p, "b0", "a0"); }
static void branches_share_across(Plan *p) { share(p, "c0", "b1"); }
static void fork_is_overwritten(Plan *p) { share(p, "a0", "h"); }
static void fork_is_overwritten_too_early(Plan *p) { share(p, "a1", "h"); }
static void fork_is_overwritten_beside(Plan *p) { share(p, "b1", "h"); }
static void join_is_overwritten(Plan *p) { share(p, "s", "c1"); }
static void beside_is_overwritten(Plan *p) { share(p, "b1", "c0"); }
static void within_a_branch(Plan *p) { share(p, "b1", "b0"); }
static void half_a_buffer(Plan *p) {
  p->arena_bytes += 1 << 20, p->temporary_bytes += 1 << 20;
  buffer(p, "b0")->offset = buffer(p, "c1")->offset + 8192;
}
static void turned(Plan *p) {
  PlanStep *one = at(p, "b0"), *other = at(p, "b1"), step = *one;
  *one = *other, *other = step;
}
static void outside_the_arena(Plan *p) { buffer(p, "c1")->offset = p->arena_bytes; }

Test(streams, every_mistake_is_found) {
  static const struct {
    void (*make)(Plan *plan);
    const char *message;
  } mistakes[] = {
      {forget_b0_waits, "'h' is read without waiting for step 0"},
      {forget_c0_waits, "'h' is read without waiting for step 0"},
      {forget_s_waits, "'a1' is read without waiting"},
      {forget_y_waits, "'c1' is read without waiting"},
      {wait_too_early, "'a1' is read without waiting"},
      {wait_for_another_branch, "'c1' is read without waiting"},
      {wait_for_a_later_one, "which is not before it"},
      {wait_for_itself, "which is not before it"},
      {wait_for_the_own_stream, "of its own stream"},
      {wait_beyond_the_end, "which is not before it"},
      {wait_around, "which is not before it"},
      {too_many_waits, "waits for 4 others"},
      {waits_below_none, "waits for -1 others"},
      {stream_beyond, "is on stream 4, of 4"},
      {stream_below, "is on stream -1, of 4"},
      {branch_torn, "'b0' is read without waiting"},
      {joined_elsewhere, "is read without waiting"},
      {result_elsewhere, "is read without waiting"},
      {branches_share, "another stream may still use"},
      {branches_share_across, "another stream may still use"},
      {fork_is_overwritten, "while it is read"},
      {fork_is_overwritten_too_early, "no longer holds it"},
      {fork_is_overwritten_beside, "'b1' is written where another stream may still use 'h'"},
      {join_is_overwritten, "'s' is written where another stream may still use 'c1'"},
      {beside_is_overwritten, "another stream may still use"},
      {within_a_branch, "overwrite 'b0' while it is read"},
      {half_a_buffer, "another stream may still use"},
      {turned, "not written"},
      {outside_the_arena, "not in the arena"},
  };
  for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
    Arena *arena = arena_new();
    Plan *plan = plan_on(arena, joined, 3);
    cr_assert_eq(streams_of(plan), 3, "%s", text_of(plan, arena));
    mistakes[i].make(plan);
    Status status = plan_verify(plan, arena);
    cr_expect(status && strstr(status_message(status), mistakes[i].message), "mistake %zu, \"%s\": %s", i, mistakes[i].message,
              status_message(status));
    status_free(status);
    arena_free(arena);
  }
}

// The same of a text, which names its line.
Test(streams, texts_that_lie_are_refused) {
  static const struct {
    const char *what, *instead, *message;
  } lies[] = {
      {" on 1 behind 0:", " on 1:", "is read without waiting for step 0"},
      {" on 1 behind 0:", " on 7 behind 0:", "is on stream 7, of 4"},
      {" on 1 behind 0:", " on 0 behind 0:", "0 is not between 1"},
      {" on 1 behind 0:", " on 1 behind 0, 0, 0, 0:", "waits for more than 3"},
      {" on 1 behind 0:", " on 1 behind 8:", "which is not before it"},
      {" on 1 behind 0:", " on 1 behind:", "expected a number"},
  };
  const PlanContents nothing = {0};
  Arena *arena = arena_new();
  const char *text = text_of(plan_on(arena, joined, 3), arena);
  for (size_t i = 0; i < COUNT_OF(lies); i++) {
    const char *found = strstr(text, lies[i].what);
    cr_assert(found, "%s", text);
    char *lie = arena_printf(arena, "%.*s%s%s", (int)(found - text), text, lies[i].instead, found + strlen(lies[i].what));
    Plan *plan;
    Status status = plan_parse(lie, strlen(lie), &h200, &nothing, arena, &plan);
    cr_expect(status && strstr(status_message(status), lies[i].message), "%s: %s", lies[i].instead, status_message(status));
    status_free(status);
  }
  arena_free(arena);
}
