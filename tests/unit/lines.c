// Concatenations that take no step (lower/lines.h): which get a line, what is copied into one, what lies where, and that the verifier follows steps which write into one buffer. Plans are made
// for a GPU that is not here.
#include "lower/lines.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/device_sources.h"
#include "kernels/ops.h"

static DeviceInfo h200;
static Compiler *compiler;
static Arena *arena;
static void set_up(void) {
  Status status = chip_find("H200", &h200);
  cr_assert(!status, "%s", status_message(status));
  compiler = compiler_new(&(CompilerOptions){.headers = device_sources, .folder = ""});
  arena = arena_new();
}
static void tear_down(void) {
  compiler_free(compiler);
  arena_free(arena);
}
TestSuite(lines, .init = set_up, .fini = tear_down);

#define RELU "{program: program {%0: f16 = input 0; %1 = relu %0; yield %1}}"
#define NEGATED "{program: program {%0: f16 = input 0; %1 = neg %0; yield %1}}"
#define PADDED "{pads: [1, 1, 1, 1], strides: [1, 1], dilations: [1, 1], group: 1}"

// Side by side on streams too, and the same when it is read back.
static Plan *plan_of(const char *text, int streams) {
  Graph *graph;
  Plan *plan, *again;
  const SelectOptions select = {.workspace_limit = 256 << 20};
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  if (!status) status = plan_make(graph, &(PlanTarget){.info = &h200, .select = &select, .streams = streams}, arena, &plan);
  if (!status) status = plan_verify(plan, arena);
  if (!status) status = plan_reread(plan, compiler, arena, &again);
  cr_assert(!status, "%s", status_message(status));
  return plan;
}

static PlanStep *step_of(Plan *plan, const char *value) {
  for (uint32_t s = 0; s < plan->step_count; s++)
    if (!strcmp(plan->steps[s].node->outputs[0]->name, value)) return &plan->steps[s];
  return NULL;
}

static int count_of(const Plan *plan, const char *op) {
  int count = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) count += !strcmp(plan->steps[s].site.node->op->name, op);
  return count;
}

static PlanPlace place_of(Plan *plan, const char *value) {
  PlanStep *step = step_of(plan, value);
  cr_assert(step, "no step makes %s", value);
  return step->outputs[0];
}

static const char two[] =
    "graph g(%x: f16[2, 16, 8, 8] order(0,2,3,1), %v: f16[16, 16, 3, 3] order(0,2,3,1), %w: f16[8, 16, 3, 3] order(0,2,3,1)) "
    "-> (%y) {\n"
    "  %a: f16[2, 16, 8, 8] order(0,2,3,1) = conv(%x, %v) " PADDED
    "\n"
    "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
    "\n"
    "  %c: f16[2, 24, 8, 8] order(0,2,3,1) = concat(%a, %b) {axis: 1}\n"
    "  %y: f16[2, 24, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU "\n}\n";

Test(lines, what_is_joined_is_made_there) {
  for (int streams = 1; streams <= 4; streams += 3) {
    Plan *plan = plan_of(two, streams);
    PlanPlace a = place_of(plan, "a"), b = place_of(plan, "b");
    cr_expect_eq(count_of(plan, "concat"), 0);
    cr_expect(a.buffer == b.buffer && a.offset == 0 && b.offset == 16, "%d+%d and %d+%d", a.buffer, (int)a.offset, b.buffer,
              (int)b.offset);
    cr_expect_eq(step_of(plan, "a")->site.outputs[0].strides[3], 24);
    cr_expect_eq(step_of(plan, "y")->inputs[0].buffer, a.buffer);
    cr_expect_eq(plan->buffers[a.buffer].bytes, 2 * 24 * 8 * 8 * 2);
  }
}

Test(lines, what_grows_shares_one) {
  Plan *plan = plan_of(
      "graph g(%x: f16[2, 16, 8, 8], %w0: f16[8, 16, 3, 3], %v0: f16[8, 24, 3, 3]) -> (%y) {\n"
      "  %w: f16[8, 16, 3, 3] order(0,2,3,1) = elementwise(%w0) " NEGATED
      "\n"
      "  %v: f16[8, 24, 3, 3] order(0,2,3,1) = elementwise(%v0) " NEGATED
      "\n"
      "  %a: f16[2, 16, 8, 8] order(0,2,3,1) = elementwise(%x) " RELU
      "\n"
      "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%a, %w) " PADDED
      "\n"
      "  %c: f16[2, 24, 8, 8] order(0,2,3,1) = concat(%a, %b) {axis: 1}\n"
      "  %d: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%c, %v) " PADDED
      "\n"
      "  %e: f16[2, 32, 8, 8] order(0,2,3,1) = concat(%a, %b, %d) {axis: 1}\n"
      "  %y: f16[2, 32, 8, 8] order(0,2,3,1) = elementwise(%e) " NEGATED "\n}\n",
      4);
  PlanPlace a = place_of(plan, "a"), d = place_of(plan, "d");
  cr_expect_eq(count_of(plan, "concat"), 0);
  cr_expect(a.buffer == d.buffer && d.offset == 24, "%d at %d", d.buffer, (int)d.offset);
  cr_expect_eq(step_of(plan, "d")->site.inputs[0].strides[3], 32);
}

// As of a convolution that does several ones' work: what begins the concatenation ends it.
Test(lines, a_part_of_what_is_made_may_be_joined) {
  Plan *plan = plan_of(
      "graph g(%x: f16[2, 16, 8, 8] order(0,2,3,1), %w: f16[24, 16, 3, 3] order(0,2,3,1), %v: f16[8, 8, 3, 3] order(0,2,3,1)) "
      "-> (%y) {\n"
      "  %m: f16[2, 24, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
      "\n"
      "  %a: f16[2, 8, 8, 8] order(0,2,3,1) = slice(%m) {starts: dims[0, 0, 0, 0], steps: [1, 1, 1, 1], dims: dims[2, 8, 8, "
      "8]}\n"
      "  %b: f16[2, 16, 8, 8] order(0,2,3,1) = slice(%m) {starts: dims[0, 8, 0, 0], steps: [1, 1, 1, 1], dims: dims[2, 16, 8, "
      "8]}\n"
      "  %d: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%a, %v) " PADDED
      "\n"
      "  %c: f16[2, 24, 8, 8] order(0,2,3,1) = concat(%b, %d) {axis: 1}\n"
      "  %y: f16[2, 24, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU "\n}\n",
      4);
  PlanPlace m = place_of(plan, "m"), d = place_of(plan, "d");
  cr_expect_eq(plan->step_count, 6);
  cr_expect(m.buffer == d.buffer && m.offset == 0 && d.offset == 24, "%d+%d, %d+%d", m.buffer, (int)m.offset, d.buffer,
            (int)d.offset);
  cr_expect_eq(step_of(plan, "y")->inputs[0].offset, 8);
}

#define FROM_OUTSIDE                                                                       \
  "graph g(%x0: f16[2, 16, 8, 8], %z: f16[2, 8, 8, 8], %w0: f16[8, 16, 3, 3]) -> (%y) {\n" \
  "  %x: f16[2, 16, 8, 8] order(0,2,3,1) = elementwise(%x0) " NEGATED                      \
  "\n  %w: f16[8, 16, 3, 3] order(0,2,3,1) = elementwise(%w0) " NEGATED "\n"

Test(lines, one_operand_may_be_copied_there) {
  Plan *plan = plan_of(FROM_OUTSIDE "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
                                    "\n"
                                    "  %c: f16[2, 16, 8, 8] order(0,2,3,1) = concat(%z, %b) {axis: 1}\n"
                                    "  %y: f16[2, 16, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU "\n}\n",
                       1);
  cr_expect_eq(count_of(plan, "concat"), 0);
  cr_expect_eq(count_of(plan, "elementwise"), 5, "image, filters, what is copied, what reads all, and what the caller gets");
  plan = plan_of(FROM_OUTSIDE "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
                              "\n"
                              "  %c: f16[2, 24, 8, 8] order(0,2,3,1) = concat(%z, %b, %z) {axis: 1}\n"
                              "  %y: f16[2, 24, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU "\n}\n",
                 1);
  cr_expect_eq(count_of(plan, "concat"), 1, "two copies would be more than a concatenation");
}

// What callers take lies in their memory, a reshape reads what has no holes, and narrow parts would turn wide accesses into narrow ones.
Test(lines, not_where_something_would_be_slower) {
  static const char reshaped[] =
      "graph g(%x0: f16[2, 16, 8, 8], %w0: f16[8, 16, 3, 3]) -> (%y, %t) {\n"
      "  %x: f16[2, 16, 8, 8] order(0,2,3,1) = elementwise(%x0) " NEGATED
      "\n"
      "  %w: f16[8, 16, 3, 3] order(0,2,3,1) = elementwise(%w0) " NEGATED
      "\n"
      "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
      "\n"
      "  %a: f16[2, 8, 8, 8] order(0,2,3,1) = elementwise(%b) " RELU
      "\n"
      "  %c: f16[2, 16, 8, 8] order(0,2,3,1) = concat(%a, %b) {axis: 1}\n"
      "  %y: f16[2, 16, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU
      "\n"
      "  %s: f16[2, 8, 64] = reshape(%b) {dims: dims[2, 8, 64]}\n"
      "  %t: f16[2, 8, 64] = elementwise(%s) " NEGATED "\n}\n";
  Plan *plan = plan_of(reshaped, 1);
  cr_expect_eq(place_of(plan, "b").offset, 0);
  cr_expect_neq(place_of(plan, "b").buffer, place_of(plan, "a").buffer);
  static const char narrow[] =
      "graph g(%x: f16[2, 16, 8, 8] order(0,2,3,1), %v: f16[3, 16, 3, 3] order(0,2,3,1), %w: f16[8, 16, 3, 3] order(0,2,3,1)) "
      "-> (%y) {\n"
      "  %a: f16[2, 3, 8, 8] order(0,2,3,1) = conv(%x, %v) " PADDED
      "\n"
      "  %b: f16[2, 8, 8, 8] order(0,2,3,1) = conv(%x, %w) " PADDED
      "\n"
      "  %d: f16[2, 8, 8, 8] order(0,2,3,1) = elementwise(%b) " RELU
      "\n"
      "  %c: f16[2, 19, 8, 8] order(0,2,3,1) = concat(%a, %b, %d) {axis: 1}\n"
      "  %y: f16[2, 19, 8, 8] order(0,2,3,1) = elementwise(%c) " RELU "\n}\n";
  cr_expect_eq(count_of(plan_of(narrow, 1), "concat"), 1);
  static const char given[] =
      "graph g(%x: f16[1, 16, 8, 8], %v: f16[8, 16, 3, 3], %w: f16[8, 16, 3, 3]) -> (%c) {\n"
      "  %a: f16[1, 8, 8, 8] = conv(%x, %v) " PADDED "\n  %b: f16[1, 8, 8, 8] = conv(%x, %w) " PADDED
      "\n"
      "  %c: f16[1, 16, 8, 8] = concat(%a, %b) {axis: 1}\n}\n";
  cr_expect_eq(count_of(plan_of(given, 1), "concat"), 1);
}

// ---- what a plan gets wrong --------------------------------------------------------------------------------------------------

static void expect_refused(Plan *plan, const char *why) {
  Status status = plan_verify(plan, arena);
  cr_assert(status, "it is not noticed: %s", why);
  cr_expect(strstr(status_message(status), why), "'%s' is not in '%s'", why, status_message(status));
  status_free(status);
}

// A place of the step's own, since others may be alike.
static TensorDesc *result_of(PlanStep *step) {
  TensorDesc *own = arena_copy(arena, step->site.outputs, sizeof *own);
  step->site.outputs = own;
  return own;
}

Test(lines, the_verifier_follows_parts) {
  Plan *plan = plan_of(two, 1);
  step_of(plan, "b")->outputs[0].offset = 8;
  expect_refused(plan, "is written where it holds another step's result in part");
  step_of(plan, "b")->outputs[0].offset = 0;
  expect_refused(plan, "is written where it holds another step's result in part");
  plan = plan_of(two, 1);
  step_of(plan, "a")->outputs[0].buffer = step_of(plan, "y")->outputs[0].buffer;
  expect_refused(plan, "is read when its memory is not written");
  plan = plan_of(two, 1);
  result_of(step_of(plan, "b"))->strides[3] = 8;
  expect_refused(plan, "is written in rows of");
  plan = plan_of(two, 1);
  step_of(plan, "b")->outputs[0].offset = 17;
  expect_refused(plan, "result 0 has");
}

Test(lines, the_verifier_knows_who_writes_which_part) {
  Plan *plan = plan_of(two, 1);
  PlanStep *b = step_of(plan, "b");
  b->stream = 1;
  expect_refused(plan, "is read without waiting for step");
  PlanStep *y = step_of(plan, "y");
  y->waits[y->wait_count++] = (uint32_t)(b - plan->steps);
  Status status = plan_verify(plan, arena);
  cr_expect(!status, "%s", status_message(status));
}
