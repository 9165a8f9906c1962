// Planning: packed buffers that live at the same time never overlap, reshapes of strided tensors address the same elements, and a
// plan's memory is what its buffers say.
#include "lower/plan.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"

static uint64_t state = 88172645463325252ull;
static uint64_t next_random(uint64_t below) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return below ? state % below : 0;
}

static size_t largest_moment(const PackItem *items, int count, int steps, size_t alignment) {
  size_t most = 0;
  for (int t = 0; t < steps; t++) {
    size_t live = 0;
    for (int i = 0; i < count; i++)
      if (items[i].first <= t && t <= items[i].last) live += align_up(items[i].bytes, alignment);
    most = MAX(most, live);
  }
  return most;
}

Test(plan, what_lives_together_never_overlaps) {
  double waste = 0;
  int rounds = 300;
  for (int round = 0; round < rounds; round++) {
    Arena *arena = arena_new();
    int count = 1 + (int)next_random(120), steps = 1 + (int)next_random(100);
    PackItem *items = arena_array(arena, PackItem, count);
    for (int i = 0; i < count; i++) {
      items[i].bytes = next_random(10) ? 1 + next_random(next_random(2) ? 100000 : 300) : 0;
      items[i].first = (int)next_random((uint64_t)steps);
      items[i].last = MIN(steps - 1, items[i].first + (int)next_random(12));
    }
    size_t total = pack_intervals(items, count, PLAN_ALIGNMENT, arena);
    for (int i = 0; i < count; i++) {
      cr_assert_eq(items[i].offset % PLAN_ALIGNMENT, 0);
      cr_assert_leq(items[i].offset + items[i].bytes, total);
      for (int k = 0; k < i; k++) {
        bool together = items[i].first <= items[k].last && items[k].first <= items[i].last;
        bool overlap = items[i].bytes && items[k].bytes && items[i].offset < items[k].offset + items[k].bytes &&
                       items[k].offset < items[i].offset + items[i].bytes;
        cr_assert_not(together && overlap, "round %d: items %d and %d overlap", round, i, k);
      }
    }
    size_t least = largest_moment(items, count, steps, PLAN_ALIGNMENT);
    cr_assert_geq(total, least);
    waste += least ? (double)total / (double)least - 1 : 0;
    arena_free(arena);
  }
  cr_expect_lt(waste / rounds, 0.1, "%.1f%% more than the fullest moment needs, on average", waste / rounds * 100);
}

Test(plan, nothing_takes_no_memory) {
  Arena *arena = arena_new();
  cr_expect_eq(pack_intervals(NULL, 0, PLAN_ALIGNMENT, arena), 0);
  arena_free(arena);
}

// ---- following a plan ----------------------------------------------------------------------------------------------------------

static bool takes_all(const Site *site) { return true; }
static Status lower_to_nothing(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  out->workspace_bytes = 4096;
  return OK;
}
static const Implementation nothing = {
    .name = "nothing", .backend = BACKEND_CPU, .supports = takes_all, .ways = one_way, .lower = lower_to_nothing};

static Plan *plan_of(Arena *arena, const char *text) {
  Graph *graph;
  Plan *plan;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  static const DeviceInfo cpu = {.kind = DEVICE_CPU};
  SelectOptions select = {.forced = &nothing};
  PlanTarget target = {.info = &cpu, .select = &select};
  status = plan_make(graph, &target, arena, &plan);
  cr_assert_null(status, "%s", status_message(status));
  return plan;
}

// Four products, whose values live for different times.
static Plan *small_plan(Arena *arena) {
  return plan_of(arena,
                 "graph g(%a: f32[64, 64], %b: f32[64, 64]) -> (%y) {\n"
                 "  %s: f32[64, 64] = matmul(%a, %b)\n  %d: f32[64, 64] = matmul(%s, %a)\n"
                 "  %e: f32[64, 64] = matmul(%s, %d)\n  %y: f32[64, 64] = matmul(%e, %d)\n}\n");
}

// A step writes where an output lies as soon as the views between only rename its places, and another copies.
Test(plan, outputs_seen_through_views_are_written_where_they_lie) {
  static const struct {
    const char *nodes;
    uint32_t steps;
  } cases[] = {
      {"%c: f32[1, 4, 6, 5] order(0, 2, 3, 1) = conv(%x, %w) %y: f32[1, 6, 5, 4] = transpose(%c) {perm: [0, 2, 3, 1]}", 1},
      {"%c: f32[1, 4, 6, 5] order(0, 2, 3, 1) = conv(%x, %w) %t: f32[1, 6, 5, 4] = transpose(%c) {perm: [0, 2, 3, 1]} %y: "
       "f32[30, 4] = reshape(%t) {dims: dims[30, 4]}",
       1},
      {"%c: f32[1, 4, 6, 5] = conv(%x, %w) %y: f32[4, 30] = reshape(%c) {dims: dims[4, 30]}", 1},
      {"%c: f32[1, 4, 6, 5] = conv(%x, %w) %y: f32[1, 6, 5, 4] = transpose(%c) {perm: [0, 2, 3, 1]}", 2},
      {"%c: f32[1, 4, 6, 5] order(0, 2, 3, 1) = conv(%x, %w) %y: f32[4, 30] = reshape(%c) {dims: dims[4, 30]}", 2},
      {"%c: f32[1, 4, 6, 5] = conv(%x, %w) %y: f32[1, 4, 6, 4] = slice(%c) {starts: dims[0, 0, 0, 0], steps: [1, 1, 1, 1], "
       "dims: dims[1, 4, 6, 4]}",
       2},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    Arena *arena = arena_new();
    const char *text =
        arena_printf(arena, "graph g(%%x: f32[1, 3, 8, 7], %%w: f32[4, 3, 3, 3]) -> (%%y) { %s }", cases[i].nodes);
    Plan *plan = plan_of(arena, text);
    cr_expect_eq(plan->step_count, cases[i].steps, "%s: %u steps", cases[i].nodes, plan->step_count);
    cr_expect_null(plan_verify(plan, arena));
    arena_free(arena);
  }
}

static void expect_refused(const Plan *plan, Arena *arena, const char *why) {
  Status status = plan_verify(plan, arena);
  cr_assert_not_null(status, "%s: the plan is accepted", why);
  cr_expect_not_null(strstr(status_message(status), why), "%s", status_message(status));
  status_free(status);
}

static PlanBuffer *buffer_called(Plan *plan, const char *name) {
  for (uint32_t b = 0; b < plan->buffer_count; b++)
    if (plan->buffers[b].kind == PLAN_ARENA && !strcmp(plan->buffers[b].name, name)) return &plan->buffers[b];
  cr_assert_fail("no buffer %s", name);
  return NULL;
}

Test(plan, a_buffer_reused_while_it_is_live_is_refused) {
  Arena *arena = arena_new();
  Plan *plan = small_plan(arena);
  cr_assert_null(plan_verify(plan, arena));
  // %d is read once more by the last step; %e takes its place too early.
  buffer_called(plan, "e")->offset = buffer_called(plan, "d")->offset;
  expect_refused(plan, arena, "overwrite 'd' while it is read");
  arena_free(arena);
}

Test(plan, a_workspace_over_a_live_value_is_refused) {
  Arena *arena = arena_new();
  Plan *plan = small_plan(arena);
  // The second step's workspace lies over %s, which the third reads again.
  plan->buffers[plan->steps[1].workspace_buffer].offset = buffer_called(plan, "s")->offset;
  expect_refused(plan, arena, "while it is read");
  arena_free(arena);
}

Test(plan, a_value_that_nothing_made_is_refused) {
  Arena *arena = arena_new();
  Plan *plan = small_plan(arena);
  for (int i = 0; i < 2; i++) {
    PlanStep step = plan->steps[i];
    plan->steps[i] = plan->steps[i + 1];
    plan->steps[i + 1] = step;
  }
  expect_refused(plan, arena, "not written");
  arena_free(arena);
}

// ---- reshapes ----------------------------------------------------------------------------------------------------------------

static int64_t address(int rank, const int64_t *dims, const int64_t *strides, int64_t linear) {
  int64_t at = 0;
  for (int i = rank - 1; i >= 0; i--) {
    at += linear % dims[i] * strides[i];
    linear /= dims[i];
  }
  return at;
}

// Whether any strides at all give the new shape the same addresses: tried axis by axis, an axis of size above 1 taking its step from
// the first element that moves along it alone.
static bool possible(int rank, const int64_t *dims, const int64_t *strides, int new_rank, const int64_t *new_dims) {
  int64_t steps[MAX_RANK], count = 1, base = address(rank, dims, strides, 0);
  for (int i = new_rank - 1; i >= 0; i--) {
    steps[i] = new_dims[i] > 1 ? address(rank, dims, strides, count) - base : 0;
    count *= new_dims[i];
  }
  for (int64_t i = 0; i < count; i++)
    if (address(new_rank, new_dims, steps, i) != address(rank, dims, strides, i) - base) return false;
  return true;
}

// Splits `count` into factors, in random order, with ones among them.
static int random_shape(int64_t count, int64_t *dims) {
  int rank = 0;
  while (count > 1 && rank < MAX_RANK - 2) {
    int64_t factor = 2 + (int64_t)next_random(5);
    if (count % factor) factor = next_random(3) ? 0 : count;
    if (!factor) continue;
    if (!next_random(4)) dims[rank++] = 1;
    if (rank < MAX_RANK) dims[rank++] = factor;
    count /= factor;
  }
  if (count > 1 || !rank) dims[rank++] = count;
  return rank;
}

static bool reshape(int rank, const int64_t *dims, const int64_t *strides, int new_rank, const int64_t *new_dims,
                    int64_t *new_strides) {
  Extent extents[4][MAX_RANK];
  for (int i = 0; i < rank; i++) extents[0][i] = extent_static(dims[i]), extents[1][i] = extent_static(strides[i]);
  for (int i = 0; i < new_rank; i++) extents[2][i] = extent_static(new_dims[i]);
  if (!strides_reshape(NULL, rank, extents[0], extents[1], new_rank, extents[2], extents[3])) return false;
  for (int i = 0; i < new_rank; i++) new_strides[i] = extents[3][i].now;
  return true;
}

Test(plan, reshapes_address_the_same_elements) {
  int found = 0, refused = 0;
  for (int round = 0; round < 20000; round++) {
    const int64_t counts[] = {1, 2, 6, 12, 24, 36, 60, 64, 72, 120};
    int64_t count = counts[next_random(COUNT_OF(counts))], dims[MAX_RANK], new_dims[MAX_RANK], strides[MAX_RANK],
            new_strides[MAX_RANK], product = 1;
    int rank = random_shape(count, dims), new_rank = random_shape(count, new_dims);
    // Dense in a random axis order, sometimes with gaps, repetition (0) or backwards.
    int order[MAX_RANK];
    for (int i = 0; i < rank; i++) order[i] = i;
    if (next_random(2))
      for (int i = rank - 1; i > 0; i--) {
        int k = (int)next_random((uint64_t)i + 1), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
      }
    for (int i = rank - 1; i >= 0; i--) {
      strides[order[i]] = product;
      product *= dims[order[i]] * (next_random(8) ? 1 : 2);
    }
    for (int i = 0; i < rank; i++) {
      if (!next_random(10)) strides[i] = 0;
      if (!next_random(10)) strides[i] = -strides[i];
    }
    bool given = reshape(rank, dims, strides, new_rank, new_dims, new_strides);
    cr_assert_eq(given, possible(rank, dims, strides, new_rank, new_dims), "round %d: found %d", round, given);
    for (int64_t i = 0; given && i < count; i++)
      cr_assert_eq(address(new_rank, new_dims, new_strides, i), address(rank, dims, strides, i), "round %d element %lld", round,
                   (long long)i);
    found += given;
    refused += !given;
  }
  cr_expect_gt(found, 2000);
  cr_expect_gt(refused, 2000);
}

Test(plan, reshapes_of_nothing_and_of_one) {
  int64_t strides[MAX_RANK];
  cr_expect(reshape(2, (int64_t[]){0, 5}, (int64_t[]){7, 3}, 3, (int64_t[]){5, 0, 2}, strides));
  cr_expect(reshape(0, NULL, NULL, 2, (int64_t[]){1, 1}, strides));
  cr_expect(reshape(2, (int64_t[]){1, 1}, (int64_t[]){99, -4}, 0, NULL, strides));
}

// [batch, seq, 768] as [batch, seq, 12, 64], also where this call's batch and seq are 1: the strides follow from the symbols.
Test(plan, reshapes_of_open_axes) {
  Arena *arena = arena_new();
  DimTable *table = dim_table_new(arena);
  Dim batch = dim_symbol(table, "batch"), seq = dim_symbol(table, "seq");
  for (int64_t now = 1; now <= 7; now += 3) {
    Extent b = extent_of(2 - now % 2, batch), s = extent_of(now, seq), width = extent_static(768);
    Extent dims[] = {b, s, width}, split[] = {b, s, extent_static(12), extent_static(64)},
           flat[] = {extent_mul(table, b, s), width}, strides[MAX_RANK], one = extent_static(1);
    Extent given[] = {extent_mul(table, s, width), width, one};
    cr_assert(strides_reshape(table, 3, dims, given, 4, split, strides));
    const Extent expected[] = {given[0], width, extent_static(64), one};
    for (int i = 0; i < 4; i++) cr_expect(extent_equal(strides[i], expected[i]), "seq %d: stride %d", (int)now, i);
    cr_assert(strides_reshape(table, 3, dims, given, 2, flat, strides));
    cr_expect(extent_equal(strides[0], width) && extent_equal(strides[1], one));
  }
  arena_free(arena);
}
