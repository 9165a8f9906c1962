// The text form: what goes out comes back, bit for bit; what is malformed is refused with its line.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/thread.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "ir/op.h"

static const OpDef op_any = {.name = "any", .max_inputs = -1, .max_outputs = -1};
static const OpDef op_odd = {.name = "odd name", .max_inputs = -1, .max_outputs = -1};
static const OpDef *const ops[] = {&op_any, &op_odd, NULL};

static Graph *parse(Arena *arena, const char *text) {
  Graph *graph = NULL;
  Status status = graph_parse(arena, ops, text, strlen(text), NULL, 0, &graph);
  cr_assert(!status, "%s in\n%s", status_message(status), text);
  return graph;
}

static const char *print(Arena *arena, const Graph *graph) {
  Text text = text_new(arena);
  GraphTextOptions options = {.origins = true};
  graph_print(&text, graph, &options);
  return text_get(&text);
}

// Texts in the form that printing gives.
static const char *const canonical[] = {
    "graph main() -> () {\n}\n",
    "graph main(%x: f32[batch, 3, 224, 224], %ids: i64[batch, (seq + 1)]) -> (%x, %x) {\n}\n",
    "graph \"a b\"(%\"x:0\": ?[?], %s: seq f32[?], %o: opt ?[2]) -> (%y) {\n"
    "  const %y: i64[2] = [1, -1]\n"
    "}\n",
    "graph main(%x: f32[2, 3, 4, 5] order(0,2,3,1), %d: i64[2] contents(n, -1), %e: i64[0] contents()) -> (%y, %w) {\n"
    "  const %w: f32[2] = [0.1, -0.0]\n"
    "  %y: f32[2], %z: bool[] = any(%x, _, %w)\n"
    "  %u: f32[2] = any(%y, %y, %z) {group: 1, pads: [0, 1], none: [], alpha: 0.5, betas: [1.0, nan, -inf], nothing: "
    "floats[]}\n"
    "= any(%d)\n"
    "}\n",
    "graph main(%x: f32[n], %c: f32[m] = f32[2] [1.0, 2.0]) -> () {\n"
    "  %a: f32[n] = any(%x) {s: \"q\\\"\\\\\\n\\x01\", l: [\"a\"], e: strings[], d: dims[n, 3, 2*n], z: dims[], t: tensor "
    "u8[2] = [1, 2]}\n"
    "}\n",
    "graph main(%x: f32[n]) -> (%a as \"x\") {\n"
    "  %a: f32[n] = any(%x) {then: graph then_branch(%x: f32[n]) -> (%c) {\n"
    "      const %c: f32[1] = [1.5]\n"
    "    }, p: program {%0: f32 = input 0; %1 = relu %0; yield %1}}\n"
    "  %b: f32[n] = any(%a, %x) "
    "origins [\"conv1\": \"Conv\", \"\": \"Relu\"]\n"
    "  %q: f32[n] = \"odd name\"(%b)\n"
    "}\n",
    "graph main() -> (%f, %h, %c, %s, %b, %u, %q, %e) {\n"
    "  const %f: f32[4] = [nan, #ffc00001, inf, 3.40282347e+38]\n"
    "  const %h: f16[2] = [0.0999755859, #7e01]\n"
    "  const %c: c64[2] = [1.0 -2.0, nan 0.0]\n"
    "  const %s: string[2] = [\"a\", \"\"]\n"
    "  const %b: bool[2] = [1, #02]\n"
    "  const %u: u64[1] = [18446744073709551615]\n"
    "  const %q: i4[2] = [-8, #0f]\n"
    "  const %e: f8e8m0[1] = [5.8774717541114375e-39]\n"
    "}\n",
};

Test(ir_text, comes_back_the_same) {
  for (size_t i = 0; i < sizeof canonical / sizeof *canonical; i++) {
    Arena *arena = arena_new();
    const char *expected = canonical[i];
    // Statements without outputs print indented like others.
    Text fixed = text_new(arena);
    for (const char *at = expected; *at; at++) {
      if (at[0] == '=' && at[-1] == '\n') text_add(&fixed, "  ");
      text_add_n(&fixed, at, 1);
    }
    Graph *graph = parse(arena, text_get(&fixed));
    cr_expect_str_eq(print(arena, graph), text_get(&fixed));
    Graph *copy = graph_copy(arena, graph);
    cr_expect_str_eq(print(arena, copy), text_get(&fixed));
    arena_free(arena);
  }
}

Test(ir_text, spaces_and_comments_are_free) {
  Arena *arena = arena_new();
  Graph *graph = parse(
      arena, "// a test\ngraph   main ( %x:f32[ n,3 ] )->( %y ){ // here\n%y:f32[n,3]=any( %x , _ ){axis:1 , s:\"//\"}}  ");
  cr_expect_str_eq(print(arena, graph),
                   "graph main(%x: f32[n, 3]) -> (%y) {\n  %y: f32[n, 3] = any(%x, _) {axis: 1, s: \"//\"}\n}\n");
  cr_expect_null(graph->first->inputs[1]);
  arena_free(arena);
}

Test(ir_text, any_name_survives) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, ops, "g\"\n");
  const char *const names[] = {
      "onnx::Conv_12", "/model/conv.1/Conv-out", "\xc3\xa9t\xc3\xa9", "", "_", "a\\b\t\x7f", "\xff\xfe", "//x", "%y"};
  Value *inputs[9];
  for (int i = 0; i < 9; i++) inputs[i] = graph_add_input(graph, names[i], DTYPE_F32, 0, NULL);
  Node *node = graph_add(graph, NULL, &op_any, 9, inputs, 1);
  value_set_type(node->outputs[0], DTYPE_F32, 1, (Dim[]){dim_symbol(graph->dims, "batch size*2")});
  graph_mark_output(graph, inputs[3]);
  Graph *again = parse(arena, print(arena, graph));
  cr_expect_str_eq(again->name, graph->name);
  for (int i = 0; i < 9; i++) cr_expect_str_eq(again->inputs[i]->name, names[i]);
  cr_expect_str_eq(dim_symbol_name(again->dims, again->first->outputs[0]->dims[0]), "batch size*2");
  cr_expect_eq(again->outputs[0], again->inputs[3]);
  arena_free(arena);
}

// Every byte pattern of the narrow types, and random ones of the wide.
Test(ir_text, elements_keep_their_bits) {
  unsigned seed = 3;
  for (int dtype = 0; dtype < DTYPE_COUNT; dtype++) {
    if (dtype == DTYPE_STRING) continue;
    Arena *arena = arena_new();
    Graph *graph = graph_new(arena, ops, "main");
    size_t size = dtype_size((DType)dtype);
    Tensor tensor;
    Status status = tensor_new(arena, (DType)dtype, 1, (int64_t[]){size == 1 ? 256 : size == 2 ? 65536 : 2000}, &tensor);
    cr_assert(!status);
    unsigned char *bytes = tensor.data;
    for (size_t i = 0; i < tensor_bytes(&tensor); i++)
      bytes[i] = size <= 2 ? (unsigned char)((i / size) >> 8 * (i % size)) : (unsigned char)rand_r(&seed);
    graph_mark_output(graph, graph_add_constant(graph, "c", &tensor));
    Graph *again = parse(arena, print(arena, graph));
    const unsigned char *read = again->outputs[0]->constant->data;
    for (size_t i = 0; i < tensor_bytes(&tensor); i++)
      cr_assert_eq(read[i], bytes[i], "%s byte %zu: %02x became %02x", dtype_name((DType)dtype), i, bytes[i], read[i]);
    arena_free(arena);
  }
}

static uint64_t place(void *context, const Tensor *tensor) { return (uint64_t)((char *)tensor->data - (char *)context); }

Test(ir_text, constants_in_a_blob) {
  Arena *arena = arena_new();
  float *blob = arena_alloc(arena, 64);
  blob[4] = 2.5f;
  Tensor tensor = {.dtype = DTYPE_F32, .rank = 1, .dims = {4}, .data = blob + 4};
  Graph *graph = graph_new(arena, ops, "main");
  graph_mark_output(graph, graph_add_constant(graph, "w", &tensor));
  graph_mark_output(graph, graph_add_constant(graph, "s", tensor_scalar_i64(arena, 7)));
  GraphTextOptions options = {.place = place, .context = blob, .inline_limit = 2};
  Text text = text_new(arena);
  graph_print(&text, graph, &options);
  cr_expect_str_eq(text_get(&text), "graph main() -> (%w, %s) {\n  const %w: f32[4] = @16\n  const %s: i64[] = [7]\n}\n");
  Graph *again = NULL;
  Status status = graph_parse(arena, ops, text_get(&text), text.length, blob, 64, &again);
  cr_assert(!status, "%s", status_message(status));
  cr_expect_eq(again->outputs[0]->constant->data, blob + 4);
  const size_t sizes[] = {0, 16, 31};
  for (int i = 0; i < 3; i++) {
    status = graph_parse(arena, ops, text_get(&text), text.length, blob, sizes[i], &again);
    cr_expect(status);
    status_free(status);
  }
  status = graph_parse(arena, ops, text_get(&text), text.length, NULL, 0, &again);
  cr_expect(status);
  status_free(status);
  arena_free(arena);
}

static const char *const malformed[][2] = {
    {"", "line 1"},
    {"graph main() -> () {", "line 1"},
    {"graph main() -> () {\n}\nx", "line 3"},
    {"graph main() -> (%y) {\n}", "%y, an output"},
    {"graph main() -> () {\n %y: f32[] = any(%x)\n}", "line 2: %x is not declared"},
    {"graph main() -> () {\n %y: f32[] = none()\n}", "there is no operator 'none'"},
    {"graph main(%x: f32[], %x: f32[]) -> () {}", "declared twice"},
    {"graph main() -> () { %y: f32[], %y: f32[] = any() }", "declared twice"},
    {"graph main() -> () { %y: f32[] = any() %y: f32[] = any() }", "declared twice"},
    {"graph main(%x: f33[]) -> () {}", "element type"},
    {"graph main(%x: f32[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]) -> () {}", "rank"},
    {"graph main(%x: f32[2] order(1)) -> () {}", "not a permutation"},
    {"graph main(%x: f32[2, 2] order(0,0)) -> () {}", "not a permutation"},
    {"graph main() -> () { const %c: f32[n] = [] }", "not a number"},
    {"graph main() -> () { const %c: f32[2] = [1.0] }", "expected ','"},
    {"graph main() -> () { const %c: f32[1] = [1.0, 2.0] }", "expected ']'"},
    {"graph main() -> () { const %c: i8[1] = [128] }", "does not fit"},
    {"graph main() -> () { const %c: f32[4611686018427387904, 4] = [] }", "more elements than the text"},
    {"graph main() -> () { const %c: f32[1000000000] = [] }", "more elements than the text"},
    {"graph main() -> () { const %c: f32[4611686018427387904, 4] = @0 }", "more bytes than there are addresses"},
    {"graph main() -> () { %a: f32[] = any() {x: 1, x: 2} }", "occurs twice"},
    {"graph main() -> () { %a: f32[] = any() {x: } }", "expected a number"},
    {"graph main() -> () { %a: f32[] = any() {x: [1, 2.0]} }", "expected an integer"},
    {"graph main() -> () { %a: f32[] = any() {x: 9223372036854775808} }", "line 1"},
    {"graph main() -> () { %a: f32[] = any() epilogue from 1 {%0: f32 = input 0; yield %0} }", "line 1"},
};

Test(ir_text, malformed_text_is_refused) {
  for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
    Arena *arena = arena_new();
    Graph *graph;
    Status status = graph_parse(arena, ops, malformed[i][0], strlen(malformed[i][0]), NULL, 0, &graph);
    cr_expect(status, "accepted: %s", malformed[i][0]);
    cr_expect(strstr(status_message(status), malformed[i][1]), "'%s' does not say '%s'", status_message(status),
              malformed[i][1]);
    status_free(status);
    arena_free(arena);
  }
}

Test(ir_text, nesting_is_bounded) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  for (int i = 0; i < 1000; i++) text_add(&text, "graph g() -> () { = any() {a: ");
  Graph *graph;
  Status status = graph_parse(arena, ops, text_get(&text), text.length, NULL, 0, &graph);
  cr_assert(status);
  cr_expect(strstr(status_message(status), "deeper"), "%s", status_message(status));
  status_free(status);
  arena_free(arena);
}

// Cut short or with a byte changed anywhere, a text is refused or read; it does not crash, and what is read prints.
Test(ir_text, damage_does_no_harm, .timeout = 60) {
  unsigned seed = 5;
  for (size_t i = 0; i < sizeof canonical / sizeof *canonical; i++) {
    size_t length = strlen(canonical[i]);
    for (size_t cut = 0; cut < 2 * length; cut++) {
      Arena *arena = arena_new();
      char *text = arena_string(arena, canonical[i]);
      if (cut >= length) text[cut - length] = (char)rand_r(&seed);
      Graph *graph;
      Status status = graph_parse(arena, ops, text, cut < length ? cut : length, NULL, 0, &graph);
      if (!status) print(arena, graph);
      status_free(status);
      arena_free(arena);
    }
  }
}

Test(ir_text, reads_and_prints_a_large_graph_quickly, .timeout = 60) {
  enum { NODES = 100000 };
  Arena *arena = arena_new();
  Text text = text_new(arena);
  text_add(&text, "graph main(%%v0: f32[batch, 64, 112, 112]) -> (%%v%d) {\n", NODES);
  for (int i = 0; i < NODES; i++)
    text_add(&text,
             "  %%v%d: f32[batch, 64, 112, 112] = any(%%v%d, _) {strides: [2, 2], pads: [3, 3, 3, 3], group: 1, alpha: 0.25}\n",
             i + 1, i);
  text_add(&text, "}\n");
  double start = time_now();
  Graph *graph = parse(arena, text_get(&text));
  double parsed = time_now();
  const char *printed = print(arena, graph);
  double done = time_now();
  cr_expect_str_eq(printed, text_get(&text));
  Status status = graph_verify(graph);
  cr_expect_null(status);
  cr_log_info("%d nodes: parsed in %.3f s, printed in %.3f s", NODES, parsed - start, done - parsed);
  arena_free(arena);
}
