// Graphs whose shapes or paths depend on data, run whole: branches, loops, sizes that show only when something has run. Each graph
// runs as it is and after the passes, several times with different inputs, and must give what a few lines of C give. On the CPU; where the
// driver is the emulated GPU's, on that.
#include "base/budget.h"
#include "passes/passes.h"
#include "tests/unit/runner_test.h"

static Status optimise(Graph *graph, void *context) {
  PassOptions options = {.device = device_kind(), .precision = DTYPE_COUNT, .verify = true};
  return passes_run(graph, &options, NULL, 0, NULL);
}

static Run start(const char *text, bool passes) {
  Run run = run_of(text);
  if (passes) expect_ok(optimise(run.graph, NULL));
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred, .optimise = passes ? optimise : NULL};
  expect_ok(runner_new(run.graph, run.device, &hooks, 0, &run.runner));
  return run;
}

static void give_scalar(Run *run, DType dtype, double value) { give(run, dtype, 0, NULL, &value); }

static Status go(Run *run) {
  for (int i = 0; i < MOST_VALUES; i++) run_tensor_drop(&run->outputs[i]);
  TRY(runner_run(run->runner, run->inputs, run->outputs));
  return fetch(run);
}

static void finish(Run *run) {
  drop(run);
  runner_free(run->runner);
  run->device->free(run->device);
  arena_free(run->arena);
}

#define BOTH(run, text)                         \
  for (int passes_ = 0; passes_ < 2; passes_++) \
    for (Run run = start(text, passes_), *once_ = &run; once_; finish(&run), once_ = NULL)

#define OP2I(op) "{program: program {%0: i64 = input 0; %1: i64 = input 1; %2 = " op " %0 %1; yield %2}}"
#define SUM "{program: program {%0: f32 = input 0; %1 = reduce_sum %0; yield %1}, axes: [0]}"

Test(stages, symbolic_shapes_one_after_the_other) {
  BOTH(run,
       "graph g(%x: f32[n, 6]) -> (%y) { %r: ?[?] = reshape(%x) {dims: dims[(2*n), 3]} %t: ?[?] = transpose(%r) {perm: [1, 0]} "
       "%y: ?[?] = elementwise(%t) " OP1("neg") " }") {
    const int64_t sizes[] = {1, 3, 0, 1, 2, 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      int64_t n = sizes[i];
      double values[18], expected[18];
      for (int k = 0; k < 18; k++) values[k] = k;
      for (int64_t r = 0; r < 3; r++)
        for (int64_t c = 0; c < 2 * n; c++) expected[r * 2 * n + c] = -values[c * 3 + r];
      give(&run, DTYPE_F32, 2, D(n, 6), values);
      expect_ok(go(&run));
      expect(&run, 0, 2, D(3, 2 * n), expected);
      drop(&run);
    }
    cr_expect_not(runner_stats(run.runner).data_dependent);
  }
}

// Its body speaks of a size that only a run shows; another one stands in a loop.
Test(stages, regions_run) {
  BOTH(run, "graph g(%x: f32[n], %trips: i64[]) -> (%y, %z) {"
            "  %p: i64[1, many] = nonzero(%x)"
            "  %q: ?[?] = elementwise(%p) {program: program {%0: i64 = input 0; %1: f32 = cast %0; yield %1}}"
            "  %y: ?[?] = region(%q, %x) {body: graph r(%q: f32[1, many], %x: f32[n]) -> (%s) {"
            "    %r: ?[?] = reshape(%q) {dims: dims[many, 1]} %t: ?[?] = expand(%r) {dims: dims[many, n]}"
            "    %s: ?[?] = elementwise(%t, %x) " OP2("add") " }}"
            "  %z: ?[?] = loop(%trips, _, %x) {states: 1, body: graph b(%i: i64[], %c: bool[], %s: f32[n]) -> (%c, %t) {"
            "    %t: f32[n] = region(%s) {body: graph r(%a: f32[n]) -> (%e) {"
            "      %d: f32[n] = elementwise(%a, %a) " OP2("add") " %e: f32[n] = elementwise(%d) " OP1("neg") " }} }}"
            "}") {
    for (int i = 0; i < 3; i++) {
      GIVE(&run, DTYPE_F32, D(3), 5, i == 1 ? 0 : 6, 7);
      give_scalar(&run, DTYPE_I64, 2);
      expect_ok(go(&run));
      if (i == 1) EXPECT(&run, 0, D(2, 3), 5, 0, 7, 7, 2, 9);
      else EXPECT(&run, 0, D(3, 3), 5, 6, 7, 6, 7, 8, 7, 8, 9);
      EXPECT(&run, 1, D(3), 20, i == 1 ? 0 : 24, 28);
      drop(&run);
    }
  }
}

Test(stages, a_branch_is_taken_by_the_data) {
  BOTH(run, "graph g(%c: bool[], %x: f32[2, 2]) -> (%y) {"
            "  %y: ?[?] = if(%c, %x) {"
            "    then_branch: graph t(%a: f32[2, 2]) -> (%b) { %b: ?[?] = elementwise(%a) " OP1("neg") " },"
            "    else_branch: graph e(%a: f32[2, 2]) -> (%b) { %b: ?[?] = reshape(%a) {dims: dims[4]} }}"
            "}") {
    for (int i = 0; i < 4; i++) {
      give_scalar(&run, DTYPE_BOOL, i % 2);
      GIVE(&run, DTYPE_F32, D(2, 2), 1, 2, 3, 4 + i);
      expect_ok(go(&run));
      if (i % 2) EXPECT(&run, 0, D(2, 2), -1, -2, -3, -4 - i);
      else EXPECT(&run, 0, D(4), 1, 2, 3, 4 + i);
      drop(&run);
    }
  }
}

Test(stages, a_branch_is_taken_by_what_was_computed) {
  BOTH(run, "graph g(%x: f32[3]) -> (%y) {"
            "  %s: ?[?] = rowwise(%x) " SUM
            "  %p: ?[?] = elementwise(%s) {program: program {%0: f32 = input 0; %1: f32 = const 0.0; %2 = gt %0 %1; yield %2}}"
            "  %c: ?[?] = reshape(%p) {dims: dims[]}"
            "  %y: ?[?] = if(%c, %x) {"
            "    then_branch: graph t(%a: f32[3]) -> (%b) { %b: ?[?] = elementwise(%a) " OP1("relu") " },"
            "    else_branch: graph e(%a: f32[3]) -> (%b) { %b: ?[?] = elementwise(%a) " OP1("neg") " }}"
            "}") {
    GIVE(&run, DTYPE_F32, D(3), 5, -1, 2);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(3), 5, 0, 2);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(3), -5, -1, 2);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(3), 5, 1, -2);
  }
}

Test(stages, sizes_show_when_something_ran) {
  // The elements that are not zero, doubled, and their sum.
  BOTH(run,
       "graph g(%x: f32[n]) -> (%y, %s) {"
       "  %i: ?[?] = nonzero(%x)"
       "  %t: ?[?] = transpose(%i) {perm: [1, 0]}"
       "  %e: ?[?] = gather_nd(%x, %t) {batch_dims: 0}"
       "  %y: ?[?] = elementwise(%e, %e) " OP2("add") "  %s: ?[?] = rowwise(%y) " SUM "}") {
    GIVE(&run, DTYPE_F32, D(5), 0, 3, 0, -1, 4);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(3), 6, -2, 8);
    EXPECT(&run, 1, D(1), 12);
    cr_expect(runner_stats(run.runner).data_dependent);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(2), 0, 0);
    expect_ok(go(&run));
    cr_expect_eq(run.results[0].dims[0], 0);
    EXPECT(&run, 1, D(1), 0);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(5), 1, 3, 2, -1, 4);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(5), 2, 6, 4, -2, 8);
  }
}

// A GPU makes them itself, however many there are, and tells the host the count alone.
Test(stages, what_is_counted_stays_on_the_device) {
  BOTH(run,
       "graph g(%x: f32[r, c], %b: f32[1, k, 4], %s: f32[1, 1, k], %m: i64[1]) -> (%p, %v, %n, %kept) {"
       "  %p: i64[2, some] = nonzero(%x) %t: ?[?] = transpose(%p) {perm: [1, 0]} %v: ?[?] = gather_nd(%x, %t) {batch_dims: 0}"
       "  const %o: f32[1] = [0.5] const %l: f32[1] = [0.1]"
       "  %n: i64[found, 3] = nms(%b, %s, %m, %o, %l)"
       "  const %two: i64[1] = [2] %i: ?[?] = gather(%n, %two) {axis: 1} %f: ?[?] = reshape(%i) {dims: dims[found]}"
       "  %kept: ?[?] = gather(%s, %f) {axis: 2} }") {
    // Two boxes that overlap, one apart, one whose score is too low.
    const double boxes[] = {0, 0, 2, 2, 0, 0, 2, 2.1, 5, 5, 6, 6, 8, 8, 9, 9};
    for (int call = 0; call < 4; call++) {
      bool many = call % 2;
      GIVE(&run, DTYPE_F32, D(2, 3), 0, 7, 0, many ? 3 : 0, many ? -2 : 0, 9);
      give(&run, DTYPE_F32, 3, D(1, 4, 4), boxes);
      GIVE(&run, DTYPE_F32, D(1, 1, 4), 0.5, 0.9, many ? 0.7 : 0.01, 0.05);
      GIVE(&run, DTYPE_I64, D(1), call < 2 ? 5 : 1);
      expect_ok(go(&run));
      if (many) EXPECT(&run, 0, D(2, 4), 0, 1, 1, 1, 1, 0, 1, 2);
      else EXPECT(&run, 0, D(2, 2), 0, 1, 1, 2);
      if (many) EXPECT(&run, 1, D(4), 7, 3, -2, 9);
      else EXPECT(&run, 1, D(2), 7, 9);
      if (many && call < 2) EXPECT(&run, 2, D(2, 3), 0, 0, 1, 0, 0, 2);
      else EXPECT(&run, 2, D(1, 3), 0, 0, 1);
      if (many && call < 2) EXPECT(&run, 3, D(1, 1, 2), 0.9, 0.7);
      else EXPECT(&run, 3, D(1, 1, 1), 0.9);
      cr_expect_str_empty(runner_stats(run.runner).host_operator);
      drop(&run);
    }
  }
}

Test(stages, only_the_size_is_asked_for) {
  // Nobody reads the coordinates; that they are as many as they are has to be found out all the same.
  BOTH(run,
       "graph g(%x: f32[n]) -> (%y, %s) {"
       "  %i: i64[1, found] = nonzero(%x)"
       "  %k: i64[1, again] = nonzero(%x)"
       "  %y: ?[?] = elementwise() {program: program {%0: f32 = const 2.5; yield %0}, dims: dims[2, again]}"
       "  %s: ?[?] = dims() {values: dims[found, (3*found + again)]}"
       "}") {
    GIVE(&run, DTYPE_F32, D(4), 1, 0, 2, 3);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(2, 3), 2.5, 2.5, 2.5, 2.5, 2.5, 2.5);
    EXPECT(&run, 1, D(2), 3, 12);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(2), 0, 1);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(2, 1), 2.5, 2.5);
    EXPECT(&run, 1, D(2), 1, 4);
  }
}

static const char counted[] =
    "graph g(%n: i64[], %x: f32[2]) -> (%y, %z) {"
    "  %y: ?[?], %z: ?[?] = loop(%n, _, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[2]) -> (%go, %t, %d) {"
    "    %f: ?[?] = elementwise(%i) {program: program {%0: i64 = input 0; %1: f32 = cast %0; yield %1}}"
    "    %d: ?[?] = elementwise(%s, %s) " OP2("add")
    "    %t: ?[?] = elementwise(%d, %f) " OP2("add")
    "  }}"
    "}";

Test(stages, a_loop_counts) {
  BOTH(run, counted) {
    for (int n = 4; n >= 0; n -= 2) {
      double s[2] = {1, -1}, stacked[8];
      give_scalar(&run, DTYPE_I64, n);
      give(&run, DTYPE_F32, 1, D(2), s);
      for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) {
          stacked[2 * i + k] = 2 * s[k];
          s[k] = 2 * s[k] + i;
        }
      expect_ok(go(&run));
      expect(&run, 0, 1, D(2), s);
      expect(&run, 1, 2, D(n, 2), stacked);
      drop(&run);
    }
  }
}

Test(stages, a_loop_ends_by_its_condition) {
  BOTH(run, "graph g(%x: f32[1]) -> (%y, %k) {"
            "  const %yes: bool[] = [1]"
            "  %y: ?[?], %k: ?[?] = loop(_, %yes, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[1]) -> (%more, %t, %t) {"
            "    %t: ?[?] = elementwise(%s, %s) " OP2("add")
            "    %m: ?[?] = elementwise(%t) {program: program {%0: f32 = input 0; %1: f32 = const 100; %2 = lt %0 %1; yield %2}}"
            "    %more: ?[?] = reshape(%m) {dims: dims[]}"
            "  }}"
            "}") {
    GIVE(&run, DTYPE_F32, D(1), 3);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(1), 192);
    EXPECT(&run, 1, D(6, 1), 6, 12, 24, 48, 96, 192);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(1), 300);
    expect_ok(go(&run));
    EXPECT(&run, 1, D(1, 1), 600);
  }
}

Test(stages, a_state_grows) {
  BOTH(run, "graph g(%n: i64[], %x: f32[1]) -> (%y) {"
            "  %y: ?[?] = loop(%n, _, %x, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[m], %c: f32[1]) -> (%go, %t) {"
            "    %e: ?[?] = elementwise(%s) " OP1("neg")
            "    %t: ?[?] = concat(%e, %c) {axis: 0}"
            "  }}"
            "}") {
    give_scalar(&run, DTYPE_I64, 3);
    GIVE(&run, DTYPE_F32, D(1), 7);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(4), -7, 7, -7, 7);
    drop(&run);
    give_scalar(&run, DTYPE_I64, 0);
    GIVE(&run, DTYPE_F32, D(1), 7);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(1), 7);
  }
}

Test(stages, a_branch_inside_a_loop_inside_a_loop) {
  // For i < n: for j < 3: s = j odd ? s + x : -s.
  BOTH(run, "graph g(%n: i64[], %x: f32[2]) -> (%y) {"
            "  const %three: i64[] = [3]"
            "  %y: ?[?] = loop(%n, _, %x, %x, %three) {states: 1, body: graph outer(%i: i64[], %go: bool[], %s: f32[2], %x: f32[2], %three: i64[]) -> (%go, %t) {"
            "    %t: ?[?] = loop(%three, _, %s, %x) {states: 1, body: graph inner(%j: i64[], %on: bool[], %u: f32[2], %x: f32[2]) -> (%on, %v) {"
            "      const %two: i64[] = [2]"
            "      %r: ?[?] = elementwise(%j, %two) " OP2I("mod")
            "      %odd: ?[?] = elementwise(%r) {program: program {%0: i64 = input 0; %1: bool = cast %0; yield %1}}"
            "      %v: ?[?] = if(%odd, %u, %x) {"
            "        then_branch: graph t(%a: f32[2], %b: f32[2]) -> (%c) { %c: ?[?] = elementwise(%a, %b) " OP2("add") " },"
            "        else_branch: graph e(%a: f32[2], %b: f32[2]) -> (%c) { %c: ?[?] = elementwise(%a) " OP1("neg") " }}"
            "    }}"
            "  }}"
            "}") {
    for (int n = 1; n < 4; n++) {
      double x[2] = {1, 10}, s[2] = {1, 10};
      for (int i = 0; i < n; i++)
        for (int j = 0; j < 3; j++)
          for (int k = 0; k < 2; k++) s[k] = j % 2 ? s[k] + x[k] : -s[k];
      give_scalar(&run, DTYPE_I64, n);
      give(&run, DTYPE_F32, 1, D(2), x);
      expect_ok(go(&run));
      expect(&run, 0, 1, D(2), s);
      drop(&run);
    }
  }
}

Test(stages, a_scan_runs_over_an_axis) {
  // Sums along the second axis, kept and stacked, forwards.
  BOTH(run, "graph g(%s: f32[2], %x: f32[2, n]) -> (%y, %z) {"
            "  %y: ?[?], %z: ?[?] = scan(%s, %x) {states: 1, scan_inputs: 1, input_axes: [1], output_axes: [1], body: graph b(%a: f32[2], %e: f32[2]) -> (%c, %c) {"
            "    %c: ?[?] = elementwise(%a, %e) " OP2("add")
            "  }}"
            "}") {
    GIVE(&run, DTYPE_F32, D(2), 100, 200);
    GIVE(&run, DTYPE_F32, D(2, 3), 1, 2, 3, 4, 5, 6);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(2), 106, 215);
    EXPECT(&run, 1, D(2, 3), 101, 103, 106, 204, 209, 215);
  }
}

Test(stages, loops_after_unknown_sizes_before_branches) {
  // Everything at once: count the non-zeros, loop that often, branch on the result.
  BOTH(run, "graph g(%x: f32[n]) -> (%y) {"
            "  %i: ?[?] = nonzero(%x)"
            "  %one: ?[?] = elementwise(%i) {program: program {%0: i64 = input 0; %1: f32 = const 1.0; yield %1}}"
            "  %c: ?[?] = rowwise(%one) {program: program {%0: f32 = input 0; %1 = reduce_sum %0; yield %1}, axes: [0, 1]}"
            "  %r: ?[?] = reshape(%c) {dims: dims[]}"
            "  %k: ?[?] = elementwise(%r) {program: program {%0: f32 = input 0; %1: i64 = cast %0; yield %1}}"
            "  %d: ?[?] = loop(%k, _, %r) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[]) -> (%go, %t) { %t: ?[?] = elementwise(%s, %s) " OP2("add") " }}"
            "  %p: ?[?] = elementwise(%d) {program: program {%0: f32 = input 0; %1: f32 = const 20.0; %2 = gt %0 %1; yield %2}}"
            "  %y: ?[?] = if(%p, %x, %d) {"
            "    then_branch: graph t(%a: f32[n], %e: f32[]) -> (%c) { %c: ?[?] = elementwise(%a, %e) " OP2("mul") " },"
            "    else_branch: graph e(%a: f32[n], %e: f32[]) -> (%e) { }}"
            "}") {
    GIVE(&run, DTYPE_F32, D(4), 1, 0, 2, 3);  // 3 * 2^3 = 24
    expect_ok(go(&run));
    EXPECT(&run, 0, D(4), 24, 0, 48, 72);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(3), 1, 0, 2);  // 2 * 2^2 = 8
    expect_ok(go(&run));
    expect(&run, 0, 0, NULL, (const double[]){8});
  }
}

Test(stages, wrong_inputs_are_errors_and_the_runner_goes_on) {
  BOTH(run, counted) {
    give_scalar(&run, DTYPE_I64, 2);
    GIVE(&run, DTYPE_F32, D(3), 1, 2, 3);
    Status status = go(&run);
    cr_assert(status);
    cr_expect(strstr(status_message(status), "x"), "%s", status_message(status));
    status_free(status);
    drop(&run);
    give_scalar(&run, DTYPE_I64, 1);
    GIVE(&run, DTYPE_F32, D(2), 1, 2);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(2), 2, 4);
  }
}

// What is fused behind a product reads by the product's coordinates: a size that was open then has to fit when it is known.
Test(stages, an_operand_that_does_not_broadcast_is_refused_when_its_size_is_known) {
  BOTH(run,
       "graph g(%x: f32[2, 1], %w: f32[1, 4], %z: f32[n]) -> (%y) { %p: ?[?] = matmul(%x, %w) "
       "%y: ?[?] = elementwise(%p, %z) " OP2("add") " }") {
    static const int sizes[] = {4, 3, 1, 2, 5, 4};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      int64_t size = sizes[i];
      GIVE(&run, DTYPE_F32, D(2, 1), 1, 2);
      GIVE(&run, DTYPE_F32, D(1, 4), 1, 2, 3, 4);
      give(&run, DTYPE_F32, 1, &size, (double[]){10, 10, 10, 10, 10});
      Status status = go(&run);
      cr_assert_eq(status == OK, size == 4 || size == 1, "%lld elements: %s", (long long)size, status_message(status));
      status_free(status);
      if (size == 4 || size == 1) EXPECT(&run, 0, D(2, 4), 11, 12, 13, 14, 12, 14, 16, 18);
      drop(&run);
    }
  }
}

static void give_rows(Run *run, int64_t rows) {
  double values[64];
  for (int i = 0; i < 64; i++) values[i] = i;
  give(run, DTYPE_F32, 2, D(rows, 4), values);
}

// Stages of several sizes share a graph, and any of them may be the first to be let go, or be asked for again: then its sizes stand there.
Test(stages, of_other_sizes_share_a_graph) {
  static const char text[] =
      "graph g(%x: f32[n, 4]) -> (%y) { %r: ?[?] = reshape(%x) {dims: dims[2, (2*n)]} %t: ?[?] = transpose(%r) "
      "{perm: [1, 0]} %y: ?[?] = elementwise(%t) " OP1("neg") " }";
  for (size_t limit = 1; limit < 1u << 30; limit <<= 3) {
    Run run = start(text, false);
    runner_free(run.runner);
    RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
    expect_ok(runner_new(run.graph, run.device, &hooks, limit, &run.runner));
    Graph *first = NULL;
    const char *texts[17] = {0};
    for (int i = 0; i < 40; i++) {
      int64_t rows = 1 + i * 7 % 16, asked = 1 + i * 5 % 16;
      Executable *executable;
      Stage *stage;
      give_rows(&run, rows);
      expect_ok(go(&run));
      for (int64_t k = 0; k < rows * 4; k++)
        cr_assert_eq(tensor_get_f(&run.results[0], k), -(double)(k / 2 + k % 2 * 2 * rows));
      drop(&run);
      give_rows(&run, asked);
      expect_ok(runner_plan(run.runner, run.inputs, &executable, &stage));
      if (!first) first = stage->ready;
      cr_assert_eq(stage->ready, first, "a graph of its own");
      cr_assert_eq(stage->ready->inputs[0]->dims[0], asked);
      cr_assert_eq(stage->ready->outputs[0]->dims[0], 2 * asked);
      Text plan = text_new(run.arena);
      plan_print(&plan, run.device->plan(executable), run.device->compiler, NULL);
      if (!texts[asked]) texts[asked] = text_get(&plan);
      cr_assert_str_eq(text_get(&plan), texts[asked]);
      drop(&run);
    }
    finish(&run);
  }
}

// Binding leaves memory behind: a graph that has gone through many sizes is made anew.
Test(stages, a_shared_graph_does_not_grow_for_ever) {
  enum { SIZES = 6000, MOST = 3 << 20 };
  Run run = start("graph g(%x: f32[n, 4], %z: f32[n]) -> (%y, %w) { %r: ?[?] = reshape(%x) {dims: dims[2, (2*n)]} %t: ?[?] = transpose(%r) "
                  "{perm: [1, 0]} %y: ?[?] = elementwise(%t) " OP1("neg") " %e: ?[?] = expand(%z) {dims: dims[3, n]} %w: ?[?] = transpose(%e) "
                  "{perm: [1, 0]} }",
                  false);
  size_t most = 0;
  for (int64_t n = 1; n <= SIZES; n++) {
    Executable *executable;
    Stage *stage;
    run.inputs[0] = (RunTensor){.dtype = DTYPE_F32, .rank = 2, .dims = {n, 4}};
    run.inputs[1] = (RunTensor){.dtype = DTYPE_F32, .rank = 1, .dims = {n}};
    expect_ok(runner_plan(run.runner, run.inputs, &executable, &stage));
    most = MAX(most, arena_held(stage->ready->arena));
  }
  cr_expect_lt(most, MOST, "%zu bytes", most);
  finish(&run);
}

// A routine that works on the node itself has the one that it was planned with, whatever sizes stand in the graph when it runs.
Test(stages, references_run_with_the_sizes_they_were_planned_for) {
  static const char text[] =
      "graph g(%x: f32[n, 2]) -> (%y) { %y: ?[?] = pad(%x) {pads: dims[0, 0, n, 0], mode: \"constant\"} }";
  Run run = start(text, false);
  runner_free(run.runner);
  run.device->free(run.device);
  DeviceOptions options = {.kind = DEVICE_CPU, .threads = 1, .log = &no_log, .references_only = true};
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  expect_ok(cpu_device_new(&options, &run.device));
  expect_ok(runner_new(run.graph, run.device, &hooks, 0, &run.runner));
  for (int i = 0; i < 12; i++) {
    int64_t n = 1 + i * 5 % 4;
    double values[8] = {1, 2, 3, 4, 5, 6, 7, 8}, expected[16] = {0};
    memcpy(expected, values, (size_t)n * 2 * sizeof *values);
    give(&run, DTYPE_F32, 2, D(n, 2), values);
    expect_ok(go(&run));
    expect(&run, 0, 2, D(2 * n, 2), expected);
    drop(&run);
  }
  finish(&run);
}

// A number that is repeated for a call's sizes stays one number: nothing as large as its result is computed, kept or uploaded.
Test(stages, what_repeats_is_not_computed) {
  BOTH(run,
       "graph g(%x: f32[n]) -> (%y) { %i: i64[1, some] = nonzero(%x) const %z: f32[1] = [2] %e: f32[some, 64, 64] = expand(%z) "
       "{dims: dims[some, 64, 64]} "
       "const %at: i64[1] = [0] %y: ?[?] = gather(%e, %at) {axis: 1} }") {
    GIVE(&run, DTYPE_F32, D(9), 1, 2, 0, 4, 5, 6, 7, 8, 9);
    expect_ok(go(&run));
    cr_assert_eq(run.results[0].dims[0], 8);
    cr_assert_eq(tensor_get_f(&run.results[0], 8 * 64 - 1), 2);
    drop(&run);
  }
  Run run = start(
      "graph g(%x: f32[n]) -> (%y) { const %z: f32[1] = [2] %e: f32[n, 64, 64] = expand(%z) {dims: dims[n, 64, 64]} "
      "%y: ?[?] = reshape(%e) {dims: dims[(n*4096)]} }",
      false);
  Executable *executable;
  Stage *stage;
  run.inputs[0] = (RunTensor){.dtype = DTYPE_F32, .rank = 1, .dims = {8}};
  expect_ok(runner_plan(run.runner, run.inputs, &executable, &stage));
  cr_expect_lt(stage->folded_bytes, 1000);
  finish(&run);
}

// Plans that are remembered give way where a caller's limit leaves no memory for the next.
Test(stages, remembered_plans_make_room_under_a_limit) {
  enum { SIZES = 60 };
  Budget budget = {0};
  size_t most = 0;
  for (int limited = 0; limited < 2; limited++) {
    budget = (Budget){0};
    budget_enter(&budget, &(BudgetLimits){.memory = limited ? 2 * most : (size_t)1 << 30});
    Run run = start(
        "graph g(%x: f32[n, 4]) -> (%y) { %t: ?[?] = transpose(%x) {perm: [1, 0]} %r: ?[?] = reshape(%t) {dims: dims[2, "
        "(2*n)]} "
        "%y: ?[?] = elementwise(%r) " OP1("neg") " }",
        false);
    for (int64_t n = 1; n <= SIZES; n++) {
      if (n == 4 && !limited) most = (size_t)budget.most;  // a few of them
      run.inputs[0] = (RunTensor){.dtype = DTYPE_F32, .rank = 2, .dims = {n, 4}};
      Status status = runner_prepare(run.runner, run.inputs);
      cr_assert(!status, "%lld rows: %s", (long long)n, status_message(status));
    }
    if (!limited) cr_assert_gt(budget.most, 3 * (int64_t)most, "all of them are more than the limit");
    finish(&run);
    budget_leave(&budget);
  }
}

// Wherever memory ends while a graph is being bound, nobody is given that graph any more, and the session goes on.
Test(stages, a_graph_that_could_not_be_bound_is_shared_no_more) {
  Run run = start(
      "graph g(%x: f32[n, 4]) -> (%y) { %r: ?[?] = reshape(%x) {dims: dims[2, (2*n)]} %t: ?[?] = transpose(%r) "
      "{perm: [1, 0]} %y: ?[?] = elementwise(%t) " OP1("neg") " }",
      false);
  int failed = 0;
  bool whole = false;
  for (int64_t n = 1; n < 400 && !whole; n += 2) {
    Budget budget = {0};
    give_rows(&run, 3);
    expect_ok(go(&run));
    drop(&run);
    run.inputs[0] = (RunTensor){.dtype = DTYPE_F32, .rank = 2, .dims = {100 + n, 4}};
    run.input_count = 0;
    budget_enter(&budget, &(BudgetLimits){.memory = (size_t)n * 512});
    Status status = runner_prepare(run.runner, run.inputs);
    budget_leave(&budget);
    whole = !status;
    failed += !whole;
    status_free(status);
    run.inputs[0] = (RunTensor){.dtype = DTYPE_F32, .rank = 2, .dims = {1000 + n, 4}};
    expect_ok(runner_prepare(run.runner, run.inputs));
  }
  cr_expect(whole && failed > 4, "%d calls failed", failed);
  finish(&run);
}

// ---- sizes that follow from what is read --------------------------------------------------------------------------------------

// Specialised by this call.
static int64_t specialised_by(Run *run) {
  int64_t before = run->device->opening.specialised;
  expect_ok(go(run));
  return run->device->opening.specialised - before;
}

// As many of x as its sum says; where that is less than 0, all but so many from the end, which is specialised for. A stage behind it counts.
Test(stages, what_is_read_is_bound) {
  BOTH(run,
       "graph g(%x: f32[n]) -> (%y, %z) {"
       "  const %first: i64[1] = [0]"
       "  %k: i64[1] = rowwise(%x) {program: program {%0: f32 = input 0; %1 = reduce_sum %0; %2: i64 = cast %1; yield %2}, "
       "axes: [0]}"
       "  %y: f32[kept] = deferred(%x, %first, %k, %first) {deferred.op_type: \"Slice\", deferred.domain: \"\", deferred.name: "
       "\"y\", "
       "deferred.opset: 17}"
       "  %p: i64[1, found] = nonzero(%y)"
       "  %z: i64[2, found] = expand(%p) {dims: dims[2, found]}"
       "}") {
    GIVE(&run, DTYPE_F32, D(4), 1, 0, 1, 0);
    expect_ok(go(&run));
    EXPECT(&run, 0, D(2), 1, 0);
    EXPECT(&run, 1, D(2, 1), 0, 0);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(4), 1, 1, 1, 0);
    cr_expect_eq(specialised_by(&run), 0);
    EXPECT(&run, 0, D(3), 1, 1, 1);
    EXPECT(&run, 1, D(2, 3), 0, 1, 2, 0, 1, 2);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(4), -1, 0, 1, -1);
    cr_expect_gt(specialised_by(&run), 0);
    EXPECT(&run, 0, D(3), -1, 0, 1);
    EXPECT(&run, 1, D(2, 2), 0, 2, 0, 2);
    drop(&run);
    GIVE(&run, DTYPE_F32, D(5), 0, 1, 0, 1, 1);
    cr_expect_eq(specialised_by(&run), 0);
    EXPECT(&run, 0, D(3), 0, 1, 0);
    EXPECT(&run, 1, D(2, 1), 1, 1);
    drop(&run);
  }
}

// A branch for nothing found, the other one for anything else: each is specialised once.
Test(stages, branches_that_sizes_decide_are_bound) {
  BOTH(run,
       "graph g(%x: f32[n]) -> (%y) {"
       "  %p: i64[1, some] = nonzero(%x)"
       "  %v: i64[1] = dims() {values: dims[(-min(some, 1) + 1)]}"
       "  %b: bool[1] = elementwise(%v) {program: program {%0: i64 = input 0; %1: bool = cast %0; yield %1}}"
       "  %c: bool[] = reshape(%b) {dims: dims[]}"
       "  %y: i64[kept] = if(%c, %p) {"
       "    then_branch: graph t(%a: i64[1, some]) -> (%o) { %o: i64[1] = dims() {values: dims[7]} },"
       "    else_branch: graph e(%a: i64[1, some]) -> (%o) { %o: i64[some] = reshape(%a) {dims: dims[some]} }}"
       "}") {
    for (int turn = 0; turn < 3; turn++) {
      GIVE(&run, DTYPE_F32, D(4), turn > 0, 0, 2, turn > 1);
      cr_expect(!turn == (specialised_by(&run) > 0));
      if (turn == 0) EXPECT(&run, 0, D(1), 2);
      if (turn == 1) EXPECT(&run, 0, D(2), 0, 2);
      if (turn == 2) EXPECT(&run, 0, D(3), 0, 2, 3);
      drop(&run);
      give(&run, DTYPE_F32, 1, D(2 + turn), (const double[4]){0});
      cr_expect(!turn == (specialised_by(&run) > 0));
      EXPECT(&run, 0, D(1), 7);
      drop(&run);
    }
  }
}
