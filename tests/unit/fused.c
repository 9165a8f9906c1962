// What stands in one step with an anchor: which regions are read as that, and in what order their operands come, whatever order the region has them in.
#include <criterion/criterion.h>
#include <string.h>

#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/fused.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"
#include "kernels/reference.h"

#define HEAD "graph g(%x: f32[4, 3], %w: f32[3, 5], %b: f32[5]) -> (%y) { "
#define BODY(inputs, formals) "%y: f32[4, 5] = region(" inputs ") {body: graph fused(" formals ") -> (%z) { "
#define X "%x: f32[4, 3]"
#define W "%w: f32[3, 5]"
#define B "%b: f32[5]"
#define SUM "%s: f32[4, 5] = matmul(%x, %w) "
#define BEHIND(inputs, op)                                                                                    \
  "%z: f32[4, 5] = elementwise(" inputs ") {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op \
  " %0 %1; yield %2}} }} }"

static Arena *arena;
static Fused fused;
static void set_up(void) { arena = arena_new(); }
static void tear_down(void) { arena_free(arena); }
TestSuite(fused, .init = set_up, .fini = tear_down);

static Node *node_of(const char *text) {
  Graph *graph;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s", status_message(status));
  status = graph_verify(graph);
  cr_assert_null(status, "%s", status_message(status));
  return graph->outputs[0]->producer;
}

static bool reads(const char *text) { return fused_read(node_of(text), arena, &fused); }

static void expect_inputs(const char *text, int count, const int *inputs) {
  cr_assert(reads(text), "%s", text);
  cr_assert_eq(fused.anchor->op, &op_matmul);
  cr_assert_eq(fused.operand_count, count, "%s", text);
  for (int i = 0; i < count; i++) cr_expect_eq(fused_input(&fused, i), inputs[i], "operand %d of %s", i, text);
}

// What the program makes of the result 2 and the operand 7.
static double value_of(const Program *program) {
  float numbers[2] = {2, 7}, result;
  Tensor inputs[2] = {{DTYPE_F32, 0, {0}, &numbers[0]}, {DTYPE_F32, 0, {0}, &numbers[1]}}, out = {DTYPE_F32, 0, {0}, &result};
  Graph *graph = graph_new(arena, core_ops, "one");
  Value *values[2] = {graph_add_input(graph, NULL, DTYPE_F32, 0, NULL), graph_add_input(graph, NULL, DTYPE_F32, 0, NULL)};
  Node *node = graph_add(graph, NULL, &op_elementwise, program->input_count, values, 1);
  node_set_program(node, "program", program_copy(arena, program));
  cr_assert_null(reference_run(node, arena, (const Tensor *[]){&inputs[0], &inputs[1]}, &out));
  return tensor_get_f(&out, 0);
}

Test(fused, operands_have_one_order) {
  expect_inputs(HEAD BODY("%x, %w, %b", X ", " W ", " B) SUM BEHIND("%s, %b", "sub"), 3, (int[]){0, 1, 2});
  cr_expect_eq(value_of(fused.program), -5);
  expect_inputs(HEAD BODY("%b, %w, %x", B ", " W ", " X) SUM BEHIND("%s, %b", "sub"), 3, (int[]){2, 1, 0});
  expect_inputs(HEAD BODY("%b, %w, %x", B ", " W ", " X) SUM BEHIND("%b, %s", "sub"), 3, (int[]){2, 1, 0});
  cr_expect_eq(value_of(fused.program), 5);
  expect_inputs(HEAD BODY("%w, %x", W ", " X) SUM BEHIND("%s, %s", "mul"), 2, (int[]){1, 0});
  cr_expect_eq(value_of(fused.program), 4);
}

Test(fused, what_both_read_comes_twice) {
  expect_inputs(
      "graph g(%x: f32[4, 4]) -> (%y) { %y: f32[4, 4] = region(%x) {body: graph fused(%x: f32[4, 4]) -> (%z) { "
      "%s: f32[4, 4] = matmul(%x, %x) %z: f32[4, 4] = elementwise(%x, %s) {program: program {%0: f32 = input 0; "
      "%1: f32 = input 1; %2 = add %0 %1; yield %2}} }} }",
      3, (int[]){0, 0, 0});
  cr_expect(fused.reads_all);
}

Test(fused, absent_operands_keep_their_place) {
  expect_inputs(
      "graph g(%x: i8[4, 3], %w: i8[3, 5], %b: i32[5], %q: i8[5]) -> (%y) { %y: i32[4, 5] = region(%q, %x, %w, %b) "
      "{body: graph fused(%q: i8[5], %x: i8[4, 3], %w: i8[3, 5], %b: i32[5]) -> (%z) { "
      "%s: i32[4, 5] = matmul(%x, %w, _, %q) %z: i32[4, 5] = elementwise(%s, %b) {program: program "
      "{%0: i32 = input 0; %1: i32 = input 1; %2 = add %0 %1; yield %2}} }} }",
      5, (int[]){1, 2, -1, 0, 3});
  cr_expect_null(fused_operand(&fused, 2));
  cr_expect_str_eq(fused_operand(&fused, 3)->name, "q");
}

Test(fused, a_site_is_the_anchor_with_what_is_behind) {
  Node *node = node_of(HEAD BODY("%b, %w, %x", B ", " W ", " X) SUM BEHIND("%b, %s", "sub"));
  Site site = {0};
  int *numbers;
  fused_site(node, arena, &site, &numbers);
  cr_assert_eq(site.node->op, &op_matmul);
  cr_expect_eq(site.region, node);
  cr_expect_eq(site_step(&site), node);
  cr_assert_eq(site_input_count(&site), 3);
  for (int i = 0; i < 3; i++) cr_expect_eq(numbers[i], 2 - i);
  cr_expect_eq(site_operand(&site, 0), node->inputs[2]);
  node = node_of(HEAD "%y: f32[4, 5] = matmul(%x, %w) }");
  fused_site(node, arena, &site, &numbers);
  cr_expect(site.node == node && !site.region && !site.epilogue && site_input_count(&site) == 2);
  cr_expect_eq(site_operand(&site, 1), node->inputs[1]);
}

Test(fused, an_operand_that_nothing_reads_is_told_and_makes_no_site) {
  Node *node = node_of(HEAD BODY("%x, %w, %b", X ", " W ", " B) SUM BEHIND("%s, %s", "add"));
  cr_assert(fused_read(node, arena, &fused));
  cr_expect_not(fused.reads_all);
  cr_expect_eq(fused.operand_count, 2);
  Site site = {0};
  int *numbers;
  fused_site(node, arena, &site, &numbers);
  cr_expect(site.node == node && !site.epilogue);
}

#define FRONTED(front, rest)                                                                                               \
  "graph g(%b: f16[5], %w: f16[3, 5], %k: f16[3], %x: f16[4, 3]) -> (%y) { %y: f16[4, 5] = region(%b, %w, %k, %x) {body: " \
  "graph prologue(%b: f16[5], %w: f16[3, 5], %k: f16[3], %x: f16[4, 3]) -> (%y) { " front rest " }} }"
#define FRONT(inputs, op)                                                                                     \
  "%p: f16[4, 3] = elementwise(" inputs ") {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op \
  " %0 %1; %3: f16 = cast %2; yield %3}} "
#define REST                                                                                                          \
  "%y: f16[4, 5] = region(%p, %w, %b) {body: graph fused(%p: f16[4, 3], %w: f16[3, 5], %b: f16[5]) -> (%z) { "        \
  "%s: f16[4, 5] = matmul(%p, %w) %z: f16[4, 5] = elementwise(%s, %b) {program: program {%0: f32 = input 0; %1: f32 " \
  "= input 1; %2 = add %0 %1; %3: f16 = cast %2; yield %3}} }}"

Test(fused, a_prologue_stands_around_what_it_is_in_front_of) {
  Node *node = node_of(FRONTED(FRONT("%k, %x", "sub"), REST));
  Site site = {0};
  int *numbers;
  fused_site(node, arena, &site, &numbers);
  cr_assert_eq(site.node->op, &op_matmul);
  cr_expect(site.region == node && site.epilogue && site.prologue);
  cr_expect_eq(fused_core(node), site.node);
  cr_expect_eq(fused_anchor(node), node, "to rules it is a region like any other");
  cr_assert_eq(site_input_count(&site), 4);
  cr_expect_eq(site_prologue_input(&site, 1), 3);
  static const int expected[] = {3, 1, 0, 2};  // x, w, b, k
  for (int i = 0; i < 4; i++) cr_expect_eq(numbers[i], expected[i], "operand %d", i);
  cr_expect_eq(value_of(site.prologue), 5, "7 - 2: what was read second is the operand");
  cr_expect_str_neq(
      site_key(&(Site){.node = site.node, .epilogue = NULL, .inputs = (TensorDesc[4]){{0}}, .outputs = (TensorDesc[1]){{0}}},
               arena),
      site_key(
          &(Site){
              .node = site.node, .prologue = site.prologue, .inputs = (TensorDesc[4]){{0}}, .outputs = (TensorDesc[1]){{0}}},
          arena));
}

Test(fused, what_the_rest_reads_elsewhere_too_is_no_prologue) {
  Node *node = node_of(
      "graph g(%x: f16[4, 4], %k: f16[4]) -> (%y) { %y: f16[4, 4] = region(%x, %k) {body: graph prologue(%x: f16[4, 4], %k: "
      "f16[4]) -> (%y) { "
      "%p: f16[4, 4] = elementwise(%x, %k) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = mul %0 %1; %3: f16 = "
      "cast %2; yield %3}} "
      "%y: f16[4, 4] = matmul(%p, %p) }} }");
  Site site = {0};
  int *numbers;
  fused_site(node, arena, &site, &numbers);
  cr_expect(site.node == node && !site.prologue);
}

Test(fused, other_regions_are_their_own_anchors) {
  static const char *const texts[] = {
      // more nodes
      HEAD BODY("%x, %w, %b", X ", " W ", " B) SUM "%t: f32[4, 5] = matmul(%x, %w) " BEHIND("%s, %t", "add"),
      // the result is not needed
      HEAD BODY("%x, %w, %b, %x", X ", " W ", " B ", %r: f32[4, 3]") SUM
      "%t: f32[4, 5] = matmul(%r, %w) " BEHIND("%b, %t", "add"),
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    cr_expect_not(reads(texts[i]), "%s", texts[i]);
    cr_expect_eq(fused.anchor, fused.node);
  }
  // the anchor's result is given out, too; it reads what is no input; the result grows behind it
  cr_expect_not(
      reads("graph g(%x: f32[4, 3], %w: f32[3, 5]) -> (%y, %t) { %y: f32[4, 5], %t: f32[4, 5] = region(%x, %w) {body: "
            "graph fused(%x: f32[4, 3], %w: f32[3, 5]) -> (%z, %s) { " SUM
            "%z: f32[4, 5] = elementwise(%s) {program: program {%0: f32 = input 0; %1 = relu %0; yield %1}} }} }"));
  cr_expect_not(
      reads("graph g(%x: f32[4, 3]) -> (%y) { %y: f32[4, 1] = region(%x) {body: graph fused(%x: f32[4, 3]) -> (%z) { "
            "const %w: f32[3, 1] = [1, 2, 3] %s: f32[4, 1] = matmul(%x, %w) "
            "%z: f32[4, 1] = elementwise(%s) {program: program {%0: f32 = input 0; %1 = relu %0; yield %1}} }} }"));
  cr_expect_not(
      reads("graph g(%x: f32[1, 3], %w: f32[3, 5], %b: f32[4, 1]) -> (%y) { %y: f32[4, 5] = region(%x, %w, %b) {body: "
            "graph fused(%x: f32[1, 3], %w: f32[3, 5], %b: f32[4, 1]) -> (%z) { %s: f32[1, 5] = matmul(%x, %w) " BEHIND(
                "%s, %b", "add")));
}
