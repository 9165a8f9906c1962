// Regions: their text, what the verifier says of them, what they mean, how rules make and open them, and where they must not go.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/control/region.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "passes/rule_log.h"
#include "passes/workshop.h"
#include "lower/specialise.h"

#define UNARY(op) "{program: program {%0: f32 = input 0; %1 = " op " %0; yield %1}}"
#define ROWS(op) "{program: program {%0: f32 = input 0; %1 = " op " %0; yield %1}, axes: 1}"
#define BINARY(op) "{program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op " %0 %1; yield %2}}"
#define HALF(op) "{program: program {%0: f16 = input 0; %1: f16 = input 1; %2 = " op " %0 %1; yield %2}}"

static Arena *arena;
static void set_up(void) { arena = arena_new(); }
static void tear_down(void) { arena_free(arena); }
TestSuite(regions, .init = set_up, .fini = tear_down);

static void expect_ok(Status status) { cr_assert(!status, "%s", status_message(status)); }

static Graph *read(const char *text) {
  Graph *graph = NULL;
  expect_ok(graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph));
  return graph;
}

static Graph *read_inferred(const char *text) {
  Graph *graph = read(text);
  FOR_NODES(node, graph) expect_ok(node_infer(node));
  expect_ok(graph_verify(graph));
  return graph;
}

static const char *print(const Graph *graph) {
  Text text = text_new(arena);
  graph_print(&text, graph, &(GraphTextOptions){.origins = true});
  return text_get(&text);
}

// --- Text and types

static const char written[] =
    "graph g(%x: f32[batch, 4], %w: f32[4, 4]) -> (%y, %h) {\n"
    "  %y: f32[4, batch], %h: f32[batch, 4] = region(%x, %w) {body: graph turned(%x: f32[batch, 4], %w: f32[4, 4]) -> (%t, %h) "
    "{\n"
    "      %h: f32[batch, 4] = matmul(%x, %w) origins [\"product\": \"MatMul\"]\n"
    "      %t: f32[4, batch] = transpose(%h) {perm: [1, 0]} origins [\"turn\": \"Transpose\"]\n"
    "    }} origins [\"product\": \"MatMul\", \"turn\": \"Transpose\"]\n"
    "}\n";

Test(regions, print_and_read_back) {
  Graph *graph = read(written);
  expect_ok(graph_verify(graph));
  cr_expect_str_eq(print(graph), written);
  cr_expect_str_eq(print(graph_copy(arena, graph)), written);
}

Test(regions, results_have_the_types_that_inference_gives_the_body) {
  Graph *graph = read_inferred(
      "graph g(%x: f16[3, n]) -> (%y) { %y: ?[?] = region(%x) {body: graph r(%a: ?[?]) -> (%b) { %b: ?[?] = transpose(%a) "
      "{perm: [1, 0]} }} }");
  cr_expect_str_eq(print(graph),
                   "graph g(%x: f16[3, n]) -> (%y) {\n"
                   "  %y: f16[n, 3] = region(%x) {body: graph r(%a: f16[3, n]) -> (%b) {\n"
                   "      %b: f16[n, 3] = transpose(%a) {perm: [1, 0]}\n"
                   "    }}\n"
                   "}\n");
}

// --- The verifier

#define REGION(operands, body) \
  "graph g(%x: f32[4], %c: bool[], %i: i64[4]) -> (%y) { %y: f32[4] = region(" operands ") {body: graph r" body "} }"
#define EXP "%e: f32[4] = elementwise(%a) " UNARY("exp")

Test(regions, what_is_wrong_is_refused_with_the_region_named) {
  static const struct {
    const char *text, *says;
  } rows[] = {
      {REGION("%x, %x", "(%a: f32[4]) -> (%e) { " EXP " }"), "node 'y' (region): 'body' takes 1 inputs where 2 are given"},
      {REGION("_", "(%a: f32[4]) -> (%e) { " EXP " }"), "region 'r': its input 0 is absent"},
      {REGION("%x", "(%a: f32[4]) -> (%e, %e) { " EXP " }"), "region 'r' gives 2 results where the node has 1"},
      {REGION("%x",
              "(%a: f16[4]) -> (%e) { %e: f32[4] = elementwise(%a) {program: program {%0: f16 = input 0; %1: f32 = cast %0; "
              "yield %1}} }"),
       "region 'r': its input 'a' is f16[4] where 'x', which stands for it, is f32[4]"},
      {REGION("%x", "(%a: f32[5]) -> (%e) { %e: f32[5] = elementwise(%a) " UNARY("exp") " }"),
       "region 'r': its input 'a' is f32[5] where 'x', which stands for it, is f32[4]"},
      {REGION("%x", "(%a: f32[4] = f32[4] [1, 2, 3, 4]) -> (%e) { " EXP " }"), "region 'r': its input 'a' has a default"},
      {"graph g(%x: f32[4], %s: seq f32[?]) -> (%y) { %y: f32[4] = region(%x, %s) {body: graph r(%a: f32[4], %s: seq f32[?]) "
       "-> (%e) { " EXP " }} }",
       "region 'r': its input 's' is no tensor"},
      {REGION("%c, %x",
              "(%c: bool[], %a: f32[4]) -> (%e) { %e: f32[4] = if(%c, %a) {then_branch: graph t(%a: f32[4]) -> (%a) {}, "
              "else_branch: graph f(%a: f32[4]) -> (%a) {}} }"),
       "region 'r': node 'e' (if) may not stand in it, since it holds graphs"},
      {REGION("%x", "(%a: f32[4]) -> (%e) { " EXP " %n: i64[1, many] = nonzero(%e) }"),
       "region 'r': node 'n' (nonzero) may not stand in it, since the size of its result shows only in a run"},
      {REGION("%x", "(%a: f32[4]) -> (%e) { %e: f32[3] = elementwise(%a) " UNARY("exp") " }"),
       "node 'y' (region), attribute 'body': node 'e' (elementwise): dimension 0 of output 'e' is 3 where inference says 4"},
      {"graph g(%x: f32[4]) -> (%y) { %y: f32[3] = region(%x) {body: graph r(%a: f32[4]) -> (%e) { " EXP " }} }",
       "node 'y' (region): dimension 0 of output 'y' is 3 where inference says 4"},
      {"graph g(%x: f16[4]) -> (%y) { %y: f16[4] = region(%x) {body: graph r(%a: f16[4]) -> (%e) { %b: i16[4] = bitcast(%a) "
       "{dtype: 11} %e: f16[4] = elementwise(%a) {program: program {%0: f16 = input 0; yield %0}} }} }",
       "(bitcast) may not stand in it, since it sees the bits of a number"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    Graph *graph = read(rows[i].text);
    Status status = graph_verify(graph);
    cr_assert_not_null(status, "row %zu is taken", i);
    cr_expect_not_null(strstr(status_message(status), rows[i].says), "row %zu: %s", i, status_message(status));
    status_free(status);
  }
}

Test(regions, see_nothing_of_the_graph_around_them) {
  const char *text = REGION("%x", "(%a: f32[4]) -> (%e) { %e: f32[4] = elementwise(%x) " UNARY("exp") " }");
  Graph *graph = NULL;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_not_null(status);
  status_free(status);
  graph = read(REGION("%x", "(%a: f32[4]) -> (%e) { " EXP " }"));
  node_set_input(region_body(graph->first)->first, 0, graph->inputs[0]);
  status = graph_verify(graph);
  cr_assert_not_null(status);
  cr_expect_not_null(strstr(status_message(status), "is read by node 'e' of graph 'r', which sees nothing of graph 'g'"), "%s",
                     status_message(status));
  status_free(status);
}

Test(regions, share_no_body) {
  Graph *graph = read(REGION("%x", "(%a: f32[4]) -> (%e) { " EXP " }"));
  Node *other = graph_add(graph, NULL, &op_region, 1, graph->inputs, 1);
  node_take_attributes(other, graph->first);
  expect_ok(node_infer(other));
  Status status = graph_verify(graph);
  cr_assert_not_null(status);
  cr_expect_not_null(strstr(status_message(status), "graph 'r' is held twice"), "%s", status_message(status));
  status_free(status);
}

// --- The reference

static Tensor *numbers(DType dtype, int count, const double *values) {
  Tensor *tensor = arena_new_of(arena, Tensor);
  expect_ok(tensor_new(arena, dtype, 1, (int64_t[]){count}, tensor));
  for (int i = 0; i < count; i++) tensor_set_f(tensor, i, values[i]);
  return tensor;
}

static Tensor *run_first(Graph *graph, const Tensor *const *inputs) {
  Tensor *outputs = arena_array(arena, Tensor, (size_t)graph->first->output_count);
  expect_ok(reference_run(graph->first, arena, inputs, outputs));
  return outputs;
}

// 2048 is the first number of f16 behind which odd ones are missing, and 65504 is the largest.
Test(regions, round_half_precision_where_they_end) {
  Graph *graph = read_inferred(
      "graph g(%x: f16[3], %one: f16[3]) -> (%y, %z) { %y: ?[?], %z: ?[?] = region(%x, %one) {body: graph r(%x: ?[?], %one: "
      "?[?]) -> (%b, %d) { "
      "%a: ?[?] = elementwise(%x, %one) " HALF("add") " %b: ?[?] = elementwise(%a, %one) " HALF(
          "add") " %c: ?[?] = elementwise(%x, %x) " HALF("mul") " %d: ?[?] = elementwise(%c, %x) " HALF("div") " }} }");
  const Tensor *x = numbers(DTYPE_F16, 3, (double[]){2048, 65504, 3}), *one = numbers(DTYPE_F16, 3, (double[]){1, 1, 1});
  Tensor *out = run_first(graph, (const Tensor *[]){x, one});
  cr_expect_eq(out[0].dtype, DTYPE_F16);
  cr_expect_eq(tensor_get_f(&out[0], 0), 2050, "2048 + 1 + 1 is %g", tensor_get_f(&out[0], 0));
  cr_expect_eq(tensor_get_f(&out[0], 1), 65504);
  for (int i = 0; i < 3; i++)
    cr_expect_eq(tensor_get_f(&out[1], i), tensor_get_f(x, i), "x * x / x is %g", tensor_get_f(&out[1], i));
}

Test(regions, round_where_a_program_casts) {
  Graph *graph = read_inferred(
      "graph g(%x: f32[2]) -> (%y) { %y: ?[?] = region(%x) {body: graph r(%x: ?[?]) -> (%b) { "
      "%a: ?[?] = elementwise(%x) {program: program {%0: f32 = input 0; %1: f16 = cast %0; yield %1}} "
      "%b: ?[?] = elementwise(%a) {program: program {%0: f16 = input 0; %1: f32 = cast %0; yield %1}} }} }");
  Tensor *out = run_first(graph, (const Tensor *[]){numbers(DTYPE_F32, 2, (double[]){2049, 2051})});
  cr_expect_eq(tensor_get_f(out, 0), 2048);
  cr_expect_eq(tensor_get_f(out, 1), 2052);
}

Test(regions, keep_double_and_integers) {
  Graph *graph = read_inferred(
      "graph g(%x: f64[1], %i: i64[1]) -> (%y, %j) { %y: ?[?], %j: ?[?] = region(%x, %i) {body: graph r(%x: ?[?], %i: ?[?]) -> "
      "(%b, %k) { "
      "%a: ?[?] = elementwise(%x) {program: program {%0: f64 = input 0; %1: f64 = const 1e-16; %2 = add %0 %1; yield %2}} "
      "%b: ?[?] = elementwise(%a) {program: program {%0: f64 = input 0; %1 = neg %0; yield %1}} "
      "%j: ?[?] = elementwise(%i) {program: program {%0: i64 = input 0; %1: i64 = const 1; %2 = add %0 %1; yield %2}} "
      "%k: ?[?] = elementwise(%j) {program: program {%0: i64 = input 0; %1 = neg %0; yield %1}} }} }");
  Tensor *i = tensor_vector_i64(arena, (int64_t[]){(1ll << 53) + 1}, 1);
  Tensor *out = run_first(graph, (const Tensor *[]){numbers(DTYPE_F64, 1, (double[]){1e-3}), i});
  cr_expect_eq(tensor_get_f(&out[0], 0), -(1e-3 + 1e-16));
  cr_expect_eq(tensor_get_i(&out[1], 0), -((1ll << 53) + 2));
}

// An attribute that speaks of a size, and a region inside: both know what is given.
Test(regions, know_the_sizes_of_what_they_are_given) {
  Graph *graph = read_inferred(
      "graph g(%x: bf16[n]) -> (%y) { %y: ?[?] = region(%x) {body: graph r(%x: ?[?]) -> (%b) { "
      "%a: ?[?] = reshape(%x) {dims: dims[1, n]} %b: ?[?] = region(%a) {body: graph s(%a: ?[?]) -> (%c) { %c: ?[?] = "
      "reshape(%a) {dims: dims[n, 1]} }} }} }");
  Tensor *out = run_first(graph, (const Tensor *[]){numbers(DTYPE_BF16, 3, (double[]){1, 2, 3})});
  cr_assert_eq(out->rank, 2);
  cr_expect_eq(out->dims[0], 3);
  cr_expect_eq(out->dtype, DTYPE_BF16);
  cr_expect_eq(tensor_get_f(out, 2), 3);
}

// Bodies of drawn steps over a square, as text, in any type.
static const char *draw_body(uint64_t seed, const char *type) {
  static const char *const steps[] = {
      "%%%c: ?[?] = matmul(%%%c, %%%c)",
      "%%%c: ?[?] = elementwise(%%%c, %%%c) {program: program {%%0: T = input 0; %%1: T = input 1; %%2 = add %%0 %%1; yield "
      "%%2}}",
      "%%%c: ?[?] = elementwise(%%%c, %%%c) {program: program {%%0: T = input 0; %%1: T = input 1; %%2 = mul %%0 %%1; %%3 = "
      "tanh %%2; yield %%3}}",
      "%%%c: ?[?] = rowwise(%%%c) {program: program {%%0: T = input 0; %%1 = reduce_max %%0; %%2 = sub %%0 %%1; %%3 = exp %%2; "
      "%%4 = reduce_sum %%3; %%5 = div %%3 %%4; yield %%5}, axes: 1}",
      "%%%c: ?[?] = transpose(%%%c) {perm: [1, 0]}"};
  Text text = text_new(arena), out = text_new(arena);
  char last = 'b';
  text_add(&text,
           "graph g(%%a: T[6, 6], %%b: T[6, 6]) -> (%%y) { %%y: ?[?] = region(%%a, %%b) {body: graph r(%%a: ?[?], %%b: ?[?]) "
           "-> (%%h) { ");
  for (; last < 'h'; last++) {
    seed = hash_mix(seed, last);
    text_add(&text, steps[seed % 5], last + 1, last, 'a' + (int)(seed / 5 % (uint64_t)(last - 'a' + 1)));
    text_add(&text, " ");
  }
  text_add(&text, "}} }");
  for (const char *at = text_get(&text); *at; at++)
    if (*at == 'T') text_add(&out, "%s", type);
    else text_add_n(&out, at, 1);
  return text_get(&out);
}

static Tensor *squares(uint64_t seed, DType dtype) {
  Tensor *tensor = arena_new_of(arena, Tensor);
  expect_ok(tensor_new(arena, dtype, 2, (int64_t[]){6, 6}, tensor));
  for (int i = 0; i < 36; i++) tensor_set_f(tensor, i, (double)(hash_mix(seed, (uint64_t)i) % 512) / 256 - 1);
  return tensor;
}

// The body node by node, with half precision in between.
static Tensor *run_apart(const Graph *body, const Tensor *a, const Tensor *b) {
  const Tensor **values = arena_array(arena, const Tensor *, body->next_value_id);
  Tensor *last = NULL;
  values[body->inputs[0]->id] = a;
  values[body->inputs[1]->id] = b;
  FOR_NODES(node, body) {
    const Tensor *in[2];
    for (int i = 0; i < node->input_count; i++) in[i] = values[node->inputs[i]->id];
    last = arena_new_of(arena, Tensor);
    expect_ok(reference_run(node, arena, in, last));
    values[node->outputs[0]->id] = last;
  }
  return last;
}

// One rounding to half precision, also of its subnormal numbers, and what f32 and its sums come to.
static int count_beyond(const Tensor *actual, const Tensor *exact, double unit) {
  int beyond = 0;
  double largest = 0;
  for (int i = 0; i < 36; i++) largest = fmax(largest, fabs(tensor_get_f(exact, i)));
  for (int i = 0; i < 36; i++) {
    double number = tensor_get_f(exact, i);
    if (fabs(number) > 65504) continue;  // infinite in f16
    beyond += fabs(tensor_get_f(actual, i) - number) > unit * fmax(fabs(number), 0x1p-14) + 1e-5 * largest;
  }
  return beyond;
}

Test(regions, are_as_near_to_double_as_one_rounding) {
  static const struct {
    const char *name;
    DType dtype;
    double unit;
  } types[] = {{"f16", DTYPE_F16, 0x1p-11}, {"bf16", DTYPE_BF16, 0x1p-8}, {"f32", DTYPE_F32, 0}};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    int rounded_inside = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
      const Tensor *a = squares(seed, types[t].dtype), *b = squares(~seed, types[t].dtype);
      const Tensor *wide[] = {squares(seed, DTYPE_F64), squares(~seed, DTYPE_F64)};
      Graph *graph = read_inferred(draw_body(seed, types[t].name));
      const Tensor *exact = run_first(read_inferred(draw_body(seed, "f64")), wide);
      cr_expect_eq(count_beyond(run_first(graph, (const Tensor *[]){a, b}), exact, types[t].unit), 0, "%s, body %d",
                   types[t].name, (int)seed);
      rounded_inside += count_beyond(run_apart(region_body(graph->first), a, b), exact, types[t].unit);
    }
    if (types[t].unit > 0) cr_expect_gt(rounded_inside, 1000, "%s rounded inside is as near", types[t].name);
  }
}

// --- Rules

static const char chain[] =
    "graph g(%x: f32[8, 8], %w: f32[8, 8]) -> (%z) {\n"
    "  %p: f32[8, 8] = matmul(%x, %w) origins [\"first\": \"MatMul\"]\n"
    "  %s: f32[8, 8] = rowwise(%p) {program: program {%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; yield %2}, axes: "
    "1} origins [\"soft\": \"Softmax\"]\n"
    "  %q: f32[8, 8] = matmul(%s, %w) origins [\"second\": \"MatMul\"]\n"
    "  %z: f32[8, 8] = elementwise(%q, %s) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield %2}} "
    "origins [\"sum\": \"Add\"]\n"
    "}\n";

static Status outline_products(Rewrite *r) { return rewrite_outline_match(r, "attention"); }
static Status outline_ends(Rewrite *r) {
  return rewrite_outline(r, (Node *[]){matched(r, "root"), matched(r, "first")}, 2, "ends");
}
static Status outline_outputs(Rewrite *r) {
  Node *first = rewrite_graph(r)->first, *last = rewrite_graph(r)->last;
  return rewrite_outline(r, (Node *[]){first, last}, 2, "apart");
}

static const Rule attention = {.name = "attention",
                               .pattern = "matmul(rowwise(matmul(x, w)), w)",
                               .tells_misses = true,
                               .exactness = UNSTORED,
                               .apply = outline_products};
static const Rule ends = {
    .name = "ends", .pattern = "matmul(rowwise(first: matmul(x, w)), w)", .tells_misses = true, .apply = outline_ends};
static const Rule apart = {.name = "apart", .pattern = "matmul(rowwise(x), w)", .tells_misses = true, .apply = outline_outputs};
static Status open_it(Rewrite *r) { return rewrite_inline(r, matched(r, "root")); }
static const Rule opens = {.name = "opens", .pattern = "region(...)", .apply = open_it};

static RuleLog *apply(Graph *graph, const Rule *rule, int expected) {
  RuleLog *log = rule_log_new(arena, true);
  const Rule *const rules[] = {rule, NULL};
  const Pass pass = {.name = "tested", .help = "", .rules = rules};
  int applications = 0;
  expect_ok(workshop_run(&pass, graph, &(PassOptions){.rules = log, .precision = DTYPE_COUNT}, &applications));
  expect_ok(graph_verify(graph));
  cr_assert_eq(applications, expected, "%d applications", applications);
  return log;
}

Test(regions, are_made_of_what_a_pattern_matched_and_opened_again) {
  Graph *graph = read_inferred(chain);
  RuleLog *log = apply(graph, &attention, 1);
  cr_expect_str_eq(
      print(graph),
      "graph g(%x: f32[8, 8], %w: f32[8, 8]) -> (%z) {\n"
      "  %s: f32[8, 8], %q: f32[8, 8] = region(%x, %w) {body: graph attention(%x: f32[8, 8], %w: f32[8, 8]) -> (%s, %q) {\n"
      "      %p: f32[8, 8] = matmul(%x, %w) origins [\"first\": \"MatMul\"]\n"
      "      %s: f32[8, 8] = rowwise(%p) {program: program {%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; yield %2}, "
      "axes: 1} origins [\"soft\": \"Softmax\"]\n"
      "      %q: f32[8, 8] = matmul(%s, %w) origins [\"second\": \"MatMul\"]\n"
      "    }} origins [\"first\": \"MatMul\", \"soft\": \"Softmax\", \"second\": \"MatMul\"]\n"
      "  %z: f32[8, 8] = elementwise(%q, %s) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; yield "
      "%2}} origins [\"sum\": \"Add\"]\n"
      "}\n");
  cr_assert_eq(log->count, 1);
  cr_expect(rule_event_concerns(&log->events[0], "soft"));
  cr_expect_not_null(strstr(log->events[0].after, "= region(%x, %w)"));
  log = apply(graph, &opens, 1);
  cr_expect_str_eq(print(graph), chain);
  cr_expect_not_null(strstr(log->events[0].before, "= region(%x, %w)"));
  cr_expect_not_null(strstr(log->events[0].after, "%p: f32[8, 8] = matmul(%x, %w)\n"));
}

Test(regions, have_no_node_between_theirs) {
  Graph *graph = read_inferred(chain);
  RuleLog *log = apply(graph, &ends, 0);
  cr_assert_eq(log->count, 1);
  cr_expect_str_eq(log->events[0].refusal, "a node outside of the region would have to run between two inside");
  cr_expect_str_eq(print(graph), chain);
  graph = read_inferred("graph g(%a: f32[2, 2], %b: f32[2, 2], %w: f32[2, 2]) -> (%z, %y) { %y: ?[?] = elementwise(%b) " UNARY(
      "exp") " %s: ?[?] = rowwise(%a) " ROWS("exp") " %z: ?[?] = matmul(%s, %w) }");
  log = apply(graph, &apart, 0);
  cr_expect_str_eq(log->events[0].refusal, "its nodes have nothing to do with each other");
}

// A size that a node outside tells, from what one inside makes, and that another one inside speaks of.
static Status outline_speaker(Rewrite *r) {
  return rewrite_outline(r, (Node *[]){rewrite_graph(r)->first, matched(r, "root")}, 2, "speaker");
}
static const Rule speaker = {.name = "speaker", .pattern = "expand(x)", .tells_misses = true, .apply = outline_speaker};

Test(regions, have_no_node_between_theirs_that_tells_a_size) {
  Graph *graph = read_inferred("graph g(%x: f32[1, 1]) -> (%z, %n) { %e: f32[1, 1] = elementwise(%x) " UNARY(
      "exp") " %n: i64[2, many] = nonzero(%e) "
             "%z: f32[many, 1] = expand(%x) {dims: dims[many, 1]} }");
  RuleLog *log = apply(graph, &speaker, 0);
  cr_expect_str_eq(log->events[0].refusal, "a node outside of the region would have to run between two inside");
}

// Nodes beside the match, in any order, named twice.
static Status outline_sum(Rewrite *r) {
  Node *root = matched(r, "root"), *other = root->inputs[0]->producer;
  WANT(other, "it reads what is given");
  return rewrite_outline(r, (Node *[]){root, other, root}, 3, "sum");
}

Test(regions, hold_what_a_rule_names) {
  static const Rule rule = {.name = "sum", .pattern = "elementwise(x, y)", .apply = outline_sum};
  Graph *graph = read_inferred(chain);
  RuleLog *log = apply(graph, &rule, 1);
  cr_assert_eq(log->count, 1);
  cr_expect_str_eq(log->events[0].before,
                   "%q: f32[8, 8] = matmul(%s, %w)\n"
                   "%z: f32[8, 8] = elementwise(%q, %s) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 "
                   "%1; yield %2}}");
  cr_expect_str_eq(log->events[0].place, "second");
  cr_expect(rule_event_concerns(&log->events[0], "second") && rule_event_concerns(&log->events[0], "sum"));
  cr_expect_eq(graph->node_count, 3);
}

// What a region reads and what stands after its first node goes before it.
Test(regions, wait_for_what_they_read) {
  Graph *graph = read_inferred(
      "graph g(%x: f32[2, 2]) -> (%z, %u) { %p: ?[?] = matmul(%x, %x) %u: ?[?] = elementwise(%p) " UNARY("sin")
      " %w: ?[?] = elementwise(%x) " UNARY("exp") " %s: ?[?] = rowwise(%p) " ROWS("neg") " %z: ?[?] = matmul(%s, %w) }");
  static const Rule rule = {.name = "softer", .pattern = "matmul(rowwise(matmul(...)), w)", .apply = outline_products};
  apply(graph, &rule, 1);
  cr_expect_str_eq(
      print(graph),
      "graph g(%x: f32[2, 2]) -> (%z, %u) {\n"
      "  %w: f32[2, 2] = elementwise(%x) {program: program {%0: f32 = input 0; %1 = exp %0; yield %1}}\n"
      "  %p: f32[2, 2], %z: f32[2, 2] = region(%x, %w) {body: graph attention(%x: f32[2, 2], %w: f32[2, 2]) -> (%p, %z) {\n"
      "      %p: f32[2, 2] = matmul(%x, %x)\n"
      "      %s: f32[2, 2] = rowwise(%p) {program: program {%0: f32 = input 0; %1 = neg %0; yield %1}, axes: 1}\n"
      "      %z: f32[2, 2] = matmul(%s, %w)\n"
      "    }}\n"
      "  %u: f32[2, 2] = elementwise(%p) {program: program {%0: f32 = input 0; %1 = sin %0; yield %1}}\n"
      "}\n");
}

// --- Where they must not go

// What a user leaves out at a node is left out wherever the node would be in the region, not only where its pattern looks first.
Test(regions, are_left_out_at_each_of_their_nodes) {
  static const char *const left_out[] = {"hold_sum@first", "hold_sum@second", "hold_sum@other"};
  static const Rule rule = {.name = "hold_sum", .pattern = "elementwise(x, y)", .apply = outline_sum};
  static const Rule *const rules[] = {&rule, NULL};
  static const Pass pass = {.name = "tested", .help = "", .rules = rules};
  for (int i = 0; i < 3; i++) {
    Graph *graph = read_inferred("graph g(%x: f32[8]) -> (%z) { %y: f32[8] = elementwise(%x) " UNARY(
        "exp") " origins [\"first\": \"Exp\"] "
               "%z: f32[8] = elementwise(%y, %x) " BINARY("add") " origins [\"second\": \"Add\"] }");
    int applications = 0;
    expect_ok(workshop_run(&pass, graph, &(PassOptions){.precision = DTYPE_COUNT, .disabled = left_out[i]}, &applications));
    cr_expect_eq(applications, i == 2, "%s: %d applications", left_out[i], applications);
  }
}

static int count_regions(const Graph *graph) {
  int count = 0;
  FOR_NODES(node, graph) {
    count += node->op == &op_region;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) count += count_regions(node->attributes[i].graph);
  }
  return count;
}

// The one in a branch is opened there.
static const char everywhere[] =
    "graph g(%x: f32[n, 4], %c: bool[]) -> (%y) { "
    "%r: f32[n, 4] = region(%x) {body: graph r(%a: f32[n, 4]) -> (%e) { %e: f32[n, 4] = region(%a) {body: graph s(%a: f32[n, 4]) -> (%e) { %e: f32[n, 4] = elementwise(%a) " UNARY("exp") " }} }} "
    "%y: f32[n, 4] = if(%c, %r) {then_branch: graph t(%a: f32[n, 4]) -> (%e) { %e: f32[n, 4] = region(%a) {body: graph r(%b: f32[n, 4]) -> (%e) { %e: f32[n, 4] = elementwise(%b) " UNARY("sin") " }} }, "
    "else_branch: graph f(%a: f32[n, 4]) -> (%a) {}} }";

// Passes of one's own run where they like, and make what they like; behind them regions are what the device computes as one step.
Test(regions, are_opened_before_those_of_the_device) {
  int count = 0;
  while (pass_pipeline[count]) count++;
  cr_expect_str_eq(pass_pipeline[count - 4]->name, "inline_regions");
  cr_expect(pass_pipeline[count - 4]->needed);
  cr_expect_str_eq(pass_pipeline[count - 3]->name, "outline_regions");
  cr_expect_str_eq(pass_pipeline[count - 2]->name, "fold_steps");
  cr_expect_str_eq(pass_pipeline[count - 1]->name, "outline_prologues");
}

Test(regions, are_gone_behind_the_passes_whatever_runs) {
  const PassOptions options[] = {
      {.precision = DTYPE_COUNT},
      {.precision = DTYPE_F16, .device = DEVICE_CUDA, .sm = 90},
      {.precision = DTYPE_COUNT, .disabled = "all"},
      {.precision = DTYPE_COUNT, .only = "fold_constants"},
      {.precision = DTYPE_COUNT, .stop_after = "fold_constants"},
      {.precision = DTYPE_COUNT, .allowed = &(int){0}},
  };
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    Graph *graph = read(everywhere);
    expect_ok(graph_verify(graph));
    cr_assert_eq(count_regions(graph), 3);
    expect_ok(passes_run(graph, &options[i], NULL, 0, NULL));
    expect_ok(graph_verify(graph));
    cr_expect_eq(count_regions(graph), 0, "with options %zu", i);
  }
}

Test(regions, are_in_no_plan) {
  for (int condition = 0; condition < 2; condition++) {
    StageInput inputs[] = {{.rank = 2, .dims = {3, 4}, .dtype = DTYPE_F32},
                           {.dtype = DTYPE_BOOL, .known = tensor_scalar_f(arena, DTYPE_BOOL, condition)}};
    Stage *stage;
    expect_ok(specialise(read(everywhere), inputs, &(SpecialiseHooks){0}, arena, &stage));
    cr_assert(stage->complete && stage->rewritten);
    expect_ok(graph_verify(stage->ready));
    cr_expect_eq(count_regions(stage->ready), 0);
    cr_expect_eq(stage->ready->node_count, condition ? 2 : 1);
  }
}

static bool runs_products(void *context, const Node *region) {
  return region_body(region)->outputs[0]->producer->op == &op_matmul;
}

// A stage's passes outline as all passes do, and do not know either what sizes the device has a kernel for.
Test(regions, that_the_device_has_no_kernel_for_are_taken_apart) {
  Graph *graph = read_inferred(
      "graph g(%x: f32[3, 3]) -> (%p, %z) { "
      "%p: f32[3, 3] = region(%x) {body: graph a(%x: f32[3, 3]) -> (%m) { %m: f32[3, 3] = matmul(%x, %x) }} "
      "%z: f32[3, 3] = region(%p) {body: graph b(%x: f32[3, 3]) -> (%e) { %e: f32[3, 3] = region(%x) {body: graph c(%x: f32[3, "
      "3]) -> "
      "(%f) { %f: f32[3, 3] = elementwise(%x) " UNARY("exp") " }} }} }");
  specialise_regions(graph, &(SpecialiseHooks){.runs = runs_products}, arena);
  expect_ok(graph_verify(graph));
  cr_expect_eq(count_regions(graph), 1);
  cr_expect_eq(graph->node_count, 2);
  cr_expect(graph->outputs[0]->producer->op == &op_region);
}
