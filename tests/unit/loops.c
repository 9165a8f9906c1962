// Loops and scans, run whole: on the CPU, and where the driver is the emulated one (loops_emulated) on a GPU. What each gives is computed by a few lines of C, or by what it must be equal to; what
// it costs is counted at the device: memory asked for, and copies to and from the host.
#include <dlfcn.h>
#include <stdio.h>

#include "base/budget.h"
#include "run/loop_body.h"
#include "tests/unit/runner_test.h"

// What a device was asked for; its own functions stand behind.
typedef struct Counts {
  int allocations, uploads, downloads;
  int fail_at;  // the allocation of this number fails; 0: none
  size_t held;  // bytes allocated and not released
} Counts;
static Counts counts;
static Device inner;

static Status count_allocate(Device *device, size_t bytes, void **out) {
  if (++counts.allocations == counts.fail_at) FAIL(ERROR_OUT_OF_MEMORY, "no memory, for the test");
  TRY(inner.allocate(device, bytes, out));
  counts.held += bytes;
  return OK;
}
static void count_release(Device *device, void *memory, size_t bytes) {
  counts.held -= bytes;
  inner.release(device, memory, bytes);
}
static Status count_upload(Device *device, void *to, const void *from, size_t bytes) {
  counts.uploads++;
  return inner.upload(device, to, from, bytes);
}
static Status count_download(Device *device, void *to, const void *from, size_t bytes) {
  counts.downloads++;
  return inner.download(device, to, from, bytes);
}

static Run start(const char *text) {
  Run run = run_of(text);
  inner = *run.device;
  run.device->allocate = count_allocate;
  run.device->release = count_release;
  run.device->upload = count_upload;
  run.device->download = count_download;
  counts = (Counts){0};
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  expect_ok(runner_new(run.graph, run.device, &hooks, 0, &run.runner));
  return run;
}

static void give_number(Run *run, double value) { give(run, DTYPE_I64, 0, NULL, &value); }

// Inputs are given up, as a caller would do, and results fetched.
static void go(Run *run) {
  for (int i = 0; i < run->graph->output_count; i++) run_tensor_drop(&run->outputs[i]);
  expect_ok(runner_run(run->runner, run->inputs, run->outputs));
  drop_inputs(run);
  expect_ok(fetch(run));
}

// All device memory went back.
static void finish(Run *run) {
  drop(run);
  runner_free(run->runner);
  cr_expect_eq(counts.held, 0, "%zu bytes are left on the device", counts.held);
  run->device->free(run->device);
  arena_free(run->arena);
}
#define WITH(run, text) for (Run run = start(text), *once_ = &run; once_; finish(&run), once_ = NULL)

static void set_up(void) {
  if (device_kind() == DEVICE_CPU && getenv("INGOT_LIBCUDA")) cr_skip_test("this is about the CPU and the emulated device");
}
TestSuite(loops, .init = set_up, .timeout = 240);

#define TO_FLOAT "{program: program {%0: i64 = input 0; %1: f32 = cast %0; yield %1}}"

// ---- states ------------------------------------------------------------------------------------------------------------------

// s becomes 2 s + i; what is stacked is 2 s.
static const char counted[] =
    "graph g(%n: i64[], %x: f32[3]) -> (%y, %z) {"
    "  %y: ?[?], %z: ?[?] = loop(%n, _, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[3]) -> (%go, %t, %d) {"
    "    %f: ?[?] = elementwise(%i) " TO_FLOAT "    %d: ?[?] = elementwise(%s, %s) " OP2("add") "    %t: ?[?] = elementwise(%d, %f) " OP2("add") "  }}"
    "}";

static void go_counted(Run *run, int n, double first) {
  double s[3] = {first, -1, 0.25}, *stacked = malloc(sizeof *stacked * (size_t)(3 * n + 1));
  give_number(run, n);
  give(run, DTYPE_F32, 1, D(3), s);
  for (int i = 0; i < n; i++)
    for (int k = 0; k < 3; k++) {
      stacked[3 * i + k] = 2 * s[k];
      s[k] = (float)(2 * s[k] + i);
    }
  go(run);
  expect(run, 0, 1, D(3), s);
  expect(run, 1, 2, D(n, 3), stacked);
  free(stacked);
}

Test(loops, states_and_stacks_of_any_length) {
  static const int lengths[] = {4, 0, 1, 40, 40, 2, 17, 0};
  WITH(run, counted) for (size_t i = 0; i < COUNT_OF(lengths); i++) go_counted(&run, lengths[i], (double)i);
}

// Numbers of iterations lie on the device in blocks.
Test(loops, iterations_have_their_numbers) {
  WITH(run,
       "graph g(%n: i64[]) -> (%z) {"
       "  %z: ?[?] = loop(%n, _) {states: 0, body: graph b(%i: i64[], %go: bool[]) -> (%go, %i) { }}"
       "}") {
    static const int lengths[] = {1300, 3, 700};
    for (size_t k = 0; k < COUNT_OF(lengths); k++) {
      double expected[1300];
      for (int i = 0; i < lengths[k]; i++) expected[i] = i;
      give_number(&run, lengths[k]);
      go(&run);
      expect(&run, 0, 1, D(lengths[k]), expected);
    }
  }
}

// Results of a call are held while others run, and stay what they were.
Test(loops, results_that_are_kept_stay_as_they_are) {
  enum { CALLS = 7 };
  Run run = start(counted);
  RunTensor kept[CALLS][2];
  for (int call = 0; call < CALLS; call++) {
    go_counted(&run, 5, call);
    for (int i = 0; i < 2; i++) {
      run_tensor_share(&kept[call][i], &run.outputs[i]);
      if (run.outputs[i].storage->staged) runner_let_go(run.runner, run.outputs[i].storage);
    }
  }
  for (int call = 0; call < CALLS; call++) {
    float *state, *rows;
    expect_ok(run_tensor_host(&kept[call][0], (void **)&state));
    expect_ok(run_tensor_host(&kept[call][1], (void **)&rows));
    cr_expect_eq(state[0], (float)(32 * call + 26));
    for (int i = 0, s = call; i < 5; s = 2 * s + i++) cr_expect_eq(rows[3 * i], (float)(2 * s), "call %d, row %d", call, i);
    for (int i = 0; i < 2; i++) run_tensor_drop(&kept[call][i]);
  }
  finish(&run);
}

// a and b change places, c is handed on, d becomes a, e is the iteration's number: all of them the same memory at first.
Test(loops, states_swap_alias_and_are_handed_on) {
  WITH(run, "graph g(%n: i64[], %x: f32[2], %y: f32[2]) -> (%a, %b, %c, %d, %e) {"
            "  %zero: i64[] = elementwise() {program: program {%0: i64 = const 0; yield %0}, dims: dims[]}"
            "  %a: ?[?], %b: ?[?], %c: ?[?], %d: ?[?], %e: ?[?] = loop(%n, _, %x, %y, %x, %x, %zero) {states: 5, body: "
            "graph b(%i: i64[], %go: bool[], %p: f32[2], %q: f32[2], %r: f32[2], %s: f32[2], %t: i64[]) -> (%go, %q, %p, %r, %u, %i) {"
            "    %u: ?[?] = elementwise(%p, %s) " OP2("add") "  }}"
            "}") {
    for (int n = 0; n < 6; n++) {
      double x[2] = {1, 10}, y[2] = {5, 50}, d[2] = {1, 10};
      for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++) d[k] += i % 2 ? y[k] : x[k];
      give_number(&run, n);
      give(&run, DTYPE_F32, 1, D(2), x);
      give(&run, DTYPE_F32, 1, D(2), y);
      go(&run);
      expect(&run, 0, 1, D(2), n % 2 ? y : x);
      expect(&run, 1, 1, D(2), n % 2 ? x : y);
      expect(&run, 2, 1, D(2), x);
      expect(&run, 3, 1, D(2), d);
      expect(&run, 4, 0, NULL, (const double[]){n ? n - 1 : 0});
    }
  }
}

Test(loops, states_that_grow) {
  WITH(run, "graph g(%n: i64[], %x: f32[1]) -> (%y, %z) {"
            "  %y: ?[?], %z: ?[?] = loop(%n, _, %x, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[m], %c: f32[1]) -> (%go, %t, %c) {"
            "    %e: ?[?] = elementwise(%s) " OP1("neg") "    %t: ?[?] = concat(%e, %c) {axis: 0}"
            "  }}"
            "}") {
    for (int call = 0; call < 3; call++) {
      double expected[26], rows[26];
      for (int i = 0; i < 26; i++) expected[i] = i % 2 ? 7 : -7, rows[i] = 7;
      give_number(&run, 25);
      GIVE(&run, DTYPE_F32, D(1), 7);
      int before = counts.allocations;
      go(&run);
      expect(&run, 0, 1, D(26), expected);
      expect(&run, 1, 2, D(25, 1), rows);
      if (device_kind() == DEVICE_CUDA && call)
        cr_expect_leq(counts.allocations - before, 3, "%d allocations", counts.allocations - before);
    }
  }
}

// Inputs that are handed on, and a result that is given twice, need no run; the condition none where it is known.
Test(loops, bodies_run_for_what_is_not_at_hand) {
  static const char text[] =
      "graph b(%i: i64[], %go: bool[], %p: f32[2], %q: f32[2]) -> (%go, %q, %p, %t, %t, %i) { %t: ?[?] = elementwise(%p, "
      "%q) " OP2("add") " }";
  static const char handed_on[] = "graph b(%i: i64[], %go: bool[], %p: f32[2]) -> (%go, %p) { }";
  static const char constant[] =
      "graph b(%i: i64[], %go: bool[], %p: f32[2]) -> (%yes, %t) { const %yes: bool[] = [1] %t: ?[?] = elementwise(%p, "
      "%p) " OP2("add") " }";
  Arena *arena = arena_new();
  Graph *graph;
  static const int inputs[] = {1, 3, 2, -1, -1, 0};
  expect_ok(graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph));
  infer_all(graph);
  cr_expect(loop_body_goes_on(graph));
  const LoopBody *body = loop_body_new(graph, -1, arena);
  cr_assert_eq(body->graph->output_count, 1);
  expect_ok(graph_verify(body->graph));
  cr_expect_str_eq(body->graph->outputs[0]->name, "t");
  for (int i = 0; i < 6; i++) cr_expect_eq(body->inputs[i], inputs[i], "result %d", i);
  cr_expect(body->outputs[3] == 0 && body->outputs[4] == 0);
  cr_expect_eq(graph->output_count, 6, "the whole stays what it is");
  expect_ok(graph_verify(graph));
  expect_ok(graph_parse(arena, core_ops, handed_on, strlen(handed_on), NULL, 0, &graph));
  body = loop_body_new(graph, 0, arena);
  cr_expect(body->graph == graph && body->inputs[1] == -1 && body->outputs[1] == 1, "a graph gives something");
  expect_ok(graph_parse(arena, core_ops, constant, strlen(constant), NULL, 0, &graph));
  infer_all(graph);
  cr_expect(loop_body_goes_on(graph));
  body = loop_body_new(graph, 0, arena);
  cr_expect_eq(body->inputs[0], 1);
  cr_expect_eq(body->outputs[1], 0);
  cr_expect_eq(loop_body_new(graph, -1, arena)->graph, graph);
  arena_free(arena);
}

// Each of two has memory of its own.
Test(loops, of_two_sessions_at_once) {
  Run a = start(counted), b = start(counted);
  for (int call = 0; call < 4; call++) {
    go_counted(&a, 5 + call % 2, call);
    go_counted(&b, 6 - call % 2, -call);
  }
  drop(&a);
  runner_free(a.runner);
  go_counted(&b, 6, 3);
  a.device->free(a.device);
  arena_free(a.arena);
  finish(&b);
}

// ---- conditions --------------------------------------------------------------------------------------------------------------

static const char until[] =
    "graph g(%n: i64[], %x: f32[1]) -> (%y, %k) {"
    "  const %yes: bool[] = [1]"
    "  %y: ?[?], %k: ?[?] = loop(%n, %yes, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[1]) -> (%more, %t, %t) {"
    "    %t: ?[?] = elementwise(%s, %s) " OP2("add")
    "    %m: ?[?] = elementwise(%t) {program: program {%0: f32 = input 0; %1: f32 = const 1e9; %2 = lt %0 %1; yield %2}}"
    "    %more: ?[?] = reshape(%m) {dims: dims[]}"
    "  }}"
    "}";

Test(loops, a_condition_of_the_data_ends_them) {
  WITH(run, until) {
    static const double firsts[] = {1, 1e8, 3, 2e9, 1};
    for (size_t i = 0; i < COUNT_OF(firsts); i++)
      for (int most = 5; most <= 100; most *= 20) {
        double rows[100], s = firsts[i];
        int n = 0;
        do rows[n++] = s *= 2;
        while (s < 1e9 && n < most);
        give_number(&run, most);
        give(&run, DTYPE_F32, 1, D(1), &firsts[i]);
        go(&run);
        expect(&run, 0, 1, D(1), &s);
        expect(&run, 1, 2, D(n, 1), rows);
      }
  }
}

// The first condition is false: no iteration. The body's is constant: false, one; true, all.
Test(loops, conditions_that_are_known) {
  for (int first = 0; first < 2; first++)
    for (int next = 0; next < 2; next++) {
      char text[600];
      snprintf(text, sizeof text,
               "graph g(%%n: i64[], %%x: f32[2]) -> (%%y, %%k) { const %%c: bool[] = [%d]"
               "  %%y: ?[?], %%k: ?[?] = loop(%%n, %%c, %%x) {states: 1, body: graph b(%%i: i64[], %%go: bool[], %%s: f32[2]) "
               "-> (%%more, %%t, %%s) {"
               "    const %%more: bool[] = [%d] %%t: ?[?] = elementwise(%%s, %%s) %s }} }",
               first, next, OP2("add"));
      WITH(run, text) for (int call = 0; call < 2; call++) {
        give_number(&run, 3);
        GIVE(&run, DTYPE_F32, D(2), 1, 3);
        go(&run);
        if (!first) EXPECT(&run, 0, D(2), 1, 3);
        else if (!next) EXPECT(&run, 0, D(2), 2, 6);
        else EXPECT(&run, 0, D(2), 8, 24);
        if (!first) cr_expect_eq(run.results[1].dims[0], 0);
        else if (!next) EXPECT(&run, 1, D(1, 2), 1, 3);
        else EXPECT(&run, 1, D(3, 2), 1, 3, 2, 6, 4, 12);
      }
    }
}

// ---- scans -------------------------------------------------------------------------------------------------------------------

// Running sums along either axis, from either end, stacked along either axis from either end.
Test(loops, scans_go_along_any_axis_from_any_end) {
  enum { ROWS = 3, COLUMNS = 5 };
  for (int form = 0; form < 16; form++) {
    int in_axis = form & 1, in_back = form >> 1 & 1, out_axis = form >> 2 & 1, out_back = form >> 3 & 1;
    int count = in_axis ? COLUMNS : ROWS, width = in_axis ? ROWS : COLUMNS;
    char text[700];
    snprintf(text, sizeof text,
             "graph g(%%s: f32[%d], %%x: f32[%d, %d]) -> (%%y, %%z) {"
             "  %%y: ?[?], %%z: ?[?] = scan(%%s, %%x) {states: 1, scan_inputs: 1, input_axes: [%d], input_directions: [%d], "
             "output_axes: [%d], output_directions: [%d], "
             "body: graph b(%%a: f32[%d], %%e: f32[%d]) -> (%%c, %%c) { %%c: ?[?] = elementwise(%%a, %%e) %s }} }",
             width, ROWS, COLUMNS, in_axis, in_back, out_axis, out_back, width, width, OP2("add"));
    WITH(run, text) for (int call = 0; call < 3; call++) {
      double state[COLUMNS] = {0}, x[ROWS * COLUMNS], expected[ROWS * COLUMNS];
      for (int i = 0; i < ROWS * COLUMNS; i++) x[i] = i * i % 7 + call;
      for (int i = 0; i < width; i++) state[i] = 100 * i;
      give(&run, DTYPE_F32, 1, D(width), state);
      give(&run, DTYPE_F32, 2, D(ROWS, COLUMNS), x);
      for (int t = 0; t < count; t++) {
        int from = in_back ? count - 1 - t : t, to = out_back ? count - 1 - t : t;
        for (int k = 0; k < width; k++) {
          state[k] += in_axis ? x[k * COLUMNS + from] : x[from * COLUMNS + k];
          expected[out_axis ? k * count + to : to * width + k] = state[k];
        }
      }
      go(&run);
      expect(&run, 0, 1, D(width), state);
      expect(&run, 1, 2, out_axis ? D(width, count) : D(count, width), expected);
    }
  }
}

Test(loops, scans_of_nothing) {
  WITH(run,
       "graph g(%s: f32[2], %x: f32[n, 2]) -> (%y, %z) {"
       "  %y: ?[?], %z: ?[?] = scan(%s, %x) {states: 1, scan_inputs: 1, body: graph b(%a: f32[2], %e: f32[2]) -> (%c, %c) {"
       "    %c: ?[?] = elementwise(%a, %e) " OP2("add") " }} }") {
    for (int64_t n = 2; n >= 0; n--) {
      GIVE(&run, DTYPE_F32, D(2), 1, 2);
      give(&run, DTYPE_F32, 2, D(n, 2), (const double[]){1, 2, 3, 4});
      go(&run);
      cr_expect_eq(run.results[1].dims[0], n);
      if (n == 2) EXPECT(&run, 1, D(2, 2), 2, 4, 5, 8);
      if (!n) EXPECT(&run, 0, D(2), 1, 2);
    }
  }
}

// ---- one in the other --------------------------------------------------------------------------------------------------------

// For i < n: for j < 3: s = j odd ? s + x : -s; what each inner loop stacks is stacked again.
Test(loops, loops_inside_loops_with_branches) {
  WITH(run, "graph g(%n: i64[], %x: f32[2]) -> (%y, %z) {"
            "  const %three: i64[] = [3]"
            "  %y: ?[?], %z: ?[?] = loop(%n, _, %x, %x, %three) {states: 1, body: graph outer(%i: i64[], %go: bool[], %s: f32[2], %x: f32[2], %three: i64[]) -> (%go, %t, %w) {"
            "    %t: ?[?], %w: ?[?] = loop(%three, _, %s, %x) {states: 1, body: graph inner(%j: i64[], %on: bool[], %u: f32[2], %x: f32[2]) -> (%on, %v, %v) {"
            "      const %two: i64[] = [2]"
            "      %r: ?[?] = elementwise(%j, %two) {program: program {%0: i64 = input 0; %1: i64 = input 1; %2 = mod %0 %1; yield %2}}"
            "      %odd: ?[?] = elementwise(%r) {program: program {%0: i64 = input 0; %1: bool = cast %0; yield %1}}"
            "      %v: ?[?] = if(%odd, %u, %x) {"
            "        then_branch: graph t(%a: f32[2], %b: f32[2]) -> (%c) { %c: ?[?] = elementwise(%a, %b) " OP2("add") " },"
            "        else_branch: graph e(%a: f32[2], %b: f32[2]) -> (%c) { %c: ?[?] = elementwise(%a) " OP1("neg") " }}"
            "    }}"
            "  }}"
            "}") {
    for (int n = 1; n < 5; n++) {
      double x[2] = {1, 10}, s[2] = {1, 10}, rows[24];
      for (int i = 0; i < n; i++)
        for (int j = 0; j < 3; j++)
          for (int k = 0; k < 2; k++) rows[(i * 3 + j) * 2 + k] = s[k] = j % 2 ? s[k] + x[k] : -s[k];
      give_number(&run, n);
      give(&run, DTYPE_F32, 1, D(2), x);
      go(&run);
      expect(&run, 0, 1, D(2), s);
      expect(&run, 1, 3, D(n, 3, 2), rows);
    }
  }
}

// A branch by the data inside of a body: the body is several stages, whose values in between have their places too.
Test(loops, iterations_of_several_stages_do_not_allocate) {
  WITH(run, "graph g(%n: i64[], %x: f32[2]) -> (%y, %z) {"
            "  %y: ?[?], %z: ?[?] = loop(%n, _, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[2]) -> (%go, %t, %d) {"
            "    %d: ?[?] = elementwise(%s, %s) " OP2("add") "    %f: ?[?] = rowwise(%d) {program: program {%0: f32 = input 0; %1 = reduce_sum %0; yield %1}, axes: [0]}"
            "    %m: ?[?] = elementwise(%f) {program: program {%0: f32 = input 0; %1: f32 = const 50; %2 = lt %0 %1; yield %2}}"
            "    %low: ?[?] = reshape(%m) {dims: dims[]}"
            "    %t: ?[?] = if(%low, %d) {"
            "      then_branch: graph t(%a: f32[2]) -> (%b) { %b: ?[?] = elementwise(%a, %a) " OP2("add") " },"
            "      else_branch: graph e(%a: f32[2]) -> (%b) { %b: ?[?] = elementwise(%a) " OP1("neg") " }}"
            "  }}"
            "}") {
    int asked[4];
    for (int call = 0; call < 4; call++) {
      int n = call % 2 ? 24 : 6;
      double s[2] = {1, 2}, rows[48];
      give_number(&run, n);
      give(&run, DTYPE_F32, 1, D(2), s);
      for (int i = 0; i < n; i++) {
        for (int k = 0; k < 2; k++) rows[2 * i + k] = 2 * s[k];
        bool low = rows[2 * i] + rows[2 * i + 1] < 50;
        for (int k = 0; k < 2; k++) s[k] = low ? 2 * rows[2 * i + k] : -rows[2 * i + k];
      }
      int before = counts.allocations;
      go(&run);
      asked[call] = counts.allocations - before;
      expect(&run, 0, 1, D(2), s);
      expect(&run, 1, 2, D(n, 2), rows);
      drop(&run);
    }
    cr_expect_eq(asked[2], 0, "%d", asked[2]);
    cr_expect_eq(asked[3], 0, "%d", asked[3]);
  }
}

Test(loops, a_loop_inside_a_branch) {
  WITH(run, "graph g(%c: bool[], %n: i64[], %x: f32[2]) -> (%y) {"
            "  %y: ?[?] = if(%c, %n, %x) {"
            "    then_branch: graph t(%n: i64[], %a: f32[2]) -> (%b) {"
            "      %b: ?[?] = loop(%n, _, %a) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[2]) -> (%go, %t) { %t: ?[?] = elementwise(%s, %s) " OP2("add") " }} },"
            "    else_branch: graph e(%n: i64[], %a: f32[2]) -> (%b) { %b: ?[?] = elementwise(%a) " OP1("neg") " }}"
            "}") {
    for (int call = 0; call < 6; call++) {
      give(&run, DTYPE_BOOL, 0, NULL, (const double[]){call % 2});
      give_number(&run, call);
      GIVE(&run, DTYPE_F32, D(2), 1, 3);
      go(&run);
      double factor = call % 2 ? 1 << call : -1;
      EXPECT(&run, 0, D(2), factor, 3 * factor);
    }
  }
}

// What iterations yield must fit together.
Test(loops, rows_of_different_shapes_are_refused) {
  WITH(run,
       "graph g(%n: i64[], %x: f32[1]) -> (%z) {"
       "  %y: ?[?], %z: ?[?] = loop(%n, _, %x, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[m], %c: f32[1]) "
       "-> (%go, %t, %t) {"
       "    %t: ?[?] = concat(%s, %c) {axis: 0}"
       "  }}"
       "}") {
    for (int n = 3; n; n--) {
      give_number(&run, n);
      GIVE(&run, DTYPE_F32, D(1), 7);
      Status status = runner_run(run.runner, run.inputs, run.outputs);
      cr_expect_eq(status != OK, n > 1);
      if (n > 1) cr_expect(strstr(status_message(status), "different shapes"), "%s", status_message(status));
      status_free(status);
      drop_inputs(&run);
    }
    fetch(&run);
    EXPECT(&run, 0, D(1, 2), 7, 7);
  }
}

// ---- what it costs -----------------------------------------------------------------------------------------------------------

// Longer loops ask for no more memory, and nothing comes to the host meanwhile or goes there.
Test(loops, iterations_neither_allocate_nor_copy_to_or_from_the_host) {
  WITH(run, counted) {
    go_counted(&run, 64, 1);
    Counts of[3];
    static const int lengths[] = {64, 8, 60};
    for (int i = 0; i < 3; i++) {
      for (int k = 0; k < 2; k++) run_tensor_drop(&run.outputs[k]);
      Counts before = counts;
      go_counted(&run, lengths[i], i);
      of[i] = (Counts){.allocations = counts.allocations - before.allocations,
                       .uploads = counts.uploads - before.uploads,
                       .downloads = counts.downloads - before.downloads};
    }
    cr_expect_eq(of[0].allocations, 0, "%d", of[0].allocations);
    cr_expect_leq(of[2].allocations, of[1].allocations);
    cr_expect_eq(of[2].uploads, of[1].uploads);
    cr_expect_eq(of[2].downloads, of[1].downloads);
  }
}

// A condition of the data comes to the host, once an iteration, and nothing else.
Test(loops, a_condition_of_the_data_is_all_that_comes_to_the_host) {
  WITH(run, until) {
    int downloads[2];
    for (int call = 0; call < 4; call++) {
      give_number(&run, 10 + 10 * (call % 2));
      GIVE(&run, DTYPE_F32, D(1), 1);
      Counts before = counts;
      go(&run);
      downloads[call % 2] = counts.downloads - before.downloads;
      if (call >= 2) cr_expect_leq(counts.uploads - before.uploads, 1, "%d uploads", counts.uploads - before.uploads);
    }
    cr_expect_eq(downloads[1] - downloads[0], device_kind() == DEVICE_CUDA ? 10 : 0);
  }
}

// Recorded graphs of the two turns are launched again and again; none is told of other addresses.
Test(loops, recorded_graphs_repeat) {
  if (device_kind() == DEVICE_CPU) cr_skip_test("the CPU records nothing");
  void *library = dlopen(getenv("INGOT_LIBCUDA"), RTLD_NOW | RTLD_LOCAL);
  cr_assert(library);
  void (*forget)(long at, int code, bool sticky, const char *name) = NULL;
  long (*calls)(void) = NULL;
  const char *(*call_name)(long call) = NULL;
  *(void **)&forget = dlsym(library, "emulator_fail");
  *(void **)&calls = dlsym(library, "emulator_calls");
  *(void **)&call_name = dlsym(library, "emulator_call_name");
  cr_assert(forget && calls && call_name);
  WITH(run, counted) {
    for (int call = 0; call < 3; call++) go_counted(&run, 40, call);
    forget(0, 0, false, "");
    go_counted(&run, 40, 3);
    int launched = 0, told = 0, recorded = 0, allocated = 0;
    for (long i = 1; i <= calls(); i++) {
      const char *name = call_name(i);
      launched += name && !strncmp(name, "cuGraphLaunch", 13);
      told += name && !strncmp(name, "cuGraphExecKernelNodeSetParams", 30);
      recorded += name && !strncmp(name, "cuGraphInstantiate", 18);
      allocated += name && (!strncmp(name, "cuMemAlloc", 10) || !strncmp(name, "cuMemFree", 9));
    }
    cr_expect_geq(launched, 40 - 2, "%d", launched);
    cr_expect_eq(told, 0, "%d", told);
    cr_expect_eq(recorded, 0, "%d", recorded);
    cr_expect_eq(allocated, 0, "%d", allocated);
  }
}

// Wherever memory of the device ends, the call says so, nothing is lost, and the next one is right.
static void fail_each(const char *text, void (*give_all)(Run *run), int outputs) {
  Tensor expected[MOST_VALUES];
  Run whole = start(text);
  give_all(&whole);
  go(&whole);
  memcpy(expected, whole.results, sizeof expected);
  bool done = false;
  int failed = 0;
  for (int at = 1; at < 200 && !done; at++) {
    Run run = start(text);
    give_all(&run);
    counts.fail_at = at;
    Status status = runner_run(run.runner, run.inputs, run.outputs);
    done = !status;
    failed += !done;
    if (status) cr_expect(strstr(status_message(status), "no memory, for the test"), "%s", status_message(status));
    status_free(status);
    counts.fail_at = 0;
    drop(&run);
    for (int call = 0; call < 2; call++) {
      give_all(&run);
      go(&run);
      for (int i = 0; i < outputs; i++) cr_expect(tensor_equal(&run.results[i], &expected[i]), "at %d: output %d", at, i);
    }
    finish(&run);
  }
  cr_expect(done && failed > 2, "%d failed", failed);
  drop(&whole);
  runner_free(whole.runner);
  whole.device->free(whole.device);
  arena_free(whole.arena);
}

static void give_counted(Run *run) {
  give_number(run, 20);
  GIVE(run, DTYPE_F32, D(3), 1, 2, 3);
}
static void give_until(Run *run) {
  give_number(run, 50);
  GIVE(run, DTYPE_F32, D(1), 3);
}
static void give_scanned(Run *run) {
  GIVE(run, DTYPE_F32, D(3), 1, 2, 3);
  GIVE(run, DTYPE_F32, D(3, 2), 1, 2, 3, 4, 5, 6);
}

Test(loops, memory_that_ends_anywhere) {
  fail_each(counted, give_counted, 2);
  fail_each(until, give_until, 2);
  fail_each(
      "graph g(%s: f32[3], %x: f32[3, 2]) -> (%y, %z) {"
      "  %y: ?[?], %z: ?[?] = scan(%s, %x) {states: 1, scan_inputs: 1, input_axes: [1], input_directions: [1], output_axes: "
      "[1], output_directions: [0], "
      "body: graph b(%a: f32[3], %e: f32[3]) -> (%c, %c) { %c: ?[?] = elementwise(%a, %e) " OP2("add") " }} }",
      give_scanned, 2);
}

// Of loops of many shapes those used last keep what they used.
Test(loops, that_are_many_do_not_keep_much) {
  enum { LIMIT = 16 << 20, MOST_HELD = 6 << 20, CALLS = 20, ELEMENTS = 100000 };
  Run run = start("graph g(%n: i64[], %x: f32[n]) -> (%y) {"
                  "  %y: ?[?] = loop(%n, _, %x) {states: 1, body: graph b(%i: i64[], %go: bool[], %s: f32[n]) -> (%go, %t) { %t: ?[?] = elementwise(%s, %s) " OP2("add") " }}"
                  "}");
  double *values = calloc(ELEMENTS, sizeof *values);
  runner_free(run.runner);
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  expect_ok(runner_new(run.graph, run.device, &hooks, LIMIT, &run.runner));
  for (int call = 0; call < CALLS; call++) {
    int64_t count = ELEMENTS - call * 100;
    for (int64_t i = 0; i < count; i++) values[i] = (double)i;
    give_number(&run, 3);
    give(&run, DTYPE_F32, 1, &count, values);
    go(&run);
    for (int64_t i = 0; i < count; i++) values[i] *= 8;
    expect(&run, 0, 1, &count, values);
    drop(&run);
    cr_expect_leq(counts.held, MOST_HELD, "call %d: %zu bytes", call, counts.held);
  }
  free(values);
  finish(&run);
}
