// Which ways come first on sm_90 for sites as networks have them: what a change of the cost model or of a chip's row must not turn round without saying so.
#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/fused.h"
#include "kernels/implementation.h"
#include "kernels/meaning.h"
#include "kernels/ops.h"
#include "lower/plan.h"

typedef struct Row {
  const char *text;
  bool tf32;
  const char *expected;  // the first of each implementation
} Row;

#define PROGRAM                                                                                                               \
  "program {%0: f32 = input 0; %1 = reduce_max %0; %2 = sub %0 %1; %3 = exp %2; %4 = reduce_sum %3; %5 = div %3 %4; %6: f16 " \
  "= "                                                                                                                        \
  "cast %5; yield %6}"
#define MATMUL(dtype, a, b, tf32, picks) \
  {"graph g(%a: " #dtype "[" a "], %w: " #dtype "[" b "]) -> (%y) { %y: ?[?] = matmul(%a, %w) }", tf32, picks},
#define CONV(dtype, x, w, window, tf32, picks) \
  {"graph g(%x: " #dtype "[" x "], %w: " #dtype "[" w "]) -> (%y) { %y: ?[?] = conv(%x, %w) {" window "} }", tf32, picks},
#define ATTENTION(q, d, n, heads, picks)                                                                                       \
  {"graph g(%q: f16[" q ", " d "], %k: f16[" heads ", " d ", " n "], %v: f16[" heads ", " n ", " d                             \
   "]) -> (%y) { %y: ?[?] = region(%q, %k, %v) {body: graph "                                                                  \
   "attention(%q: f16[" q ", " d "], %k: f16[" heads ", " d ", " n "], %v: f16[" heads ", " n ", " d "]) -> (%y) { %s: f16[" q \
   ", " n "] = matmul(%q, %k) %p: f16[" q ", " n "] = rowwise(%s) {program: " PROGRAM ", axes: 2} %y: f16[" q ", " d           \
   "] = matmul(%p, %v) }} }",                                                                                                  \
   false, picks},
#define RECURRENT(kind, dtype, x, w, picks)                                                                         \
  {"graph g(%x: " #dtype "[" x "], %w: " #dtype "[" w "]) -> (%y) { %y: ?[?] = recurrent(%x, _, %w) {kind: \"" kind \
   "\", direction: \"bidirectional\"} }",                                                                           \
   false, picks},
static const Row rows[] = {
#include "tests/unit/ways.inc"
};

// Images with channels innermost, as the layout pass has them; weights are constants.
static void describe(Arena *arena, const Value *value, bool image, TensorDesc *desc) {
  *desc = (TensorDesc){.absent = !value};
  if (!value) return;
  *desc = (TensorDesc){.dtype = value->dtype, .rank = value->rank};
  cr_assert(value_get_dims(value, desc->dims));
  dims_strides(desc->rank, desc->dims, desc->strides);
  if (image) order_strides(desc->rank, desc->dims, (const uint8_t[]){0, 2, 3, 1}, desc->strides);
  if (strcmp(value->name, "w") || image) return;
  Tensor *constant = arena_new_of(arena, Tensor);
  cr_assert_null(tensor_new(arena, desc->dtype, desc->rank, desc->dims, constant));
  desc->constant = constant;
}

static Site site_of(Arena *arena, const Row *row, const DeviceInfo *device) {
  Graph *graph;
  Site site = {.device = device, .tf32 = row->tf32};
  int *numbers;
  Status status = graph_parse(arena, core_ops, row->text, strlen(row->text), NULL, 0, &graph);
  cr_assert_null(status, "%s: %s", row->text, status_message(status));
  FOR_NODES(node, graph) {
    status = node_infer(node);
    cr_assert_null(status, "%s: %s", row->text, status_message(status));
  }
  const Node *node = graph->outputs[0]->producer;
  fused_site(node, arena, &site, &numbers);
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)node->input_count), *output = arena_new_of(arena, TensorDesc);
  bool conv = !strcmp(node->op->name, "conv");
  for (int i = 0; i < node->input_count; i++) describe(arena, node->inputs[i], conv && i == 0, &inputs[i]);
  describe(arena, node->outputs[0], conv, output);
  site.inputs = inputs, site.outputs = output;
  return site;
}

// The first way of each implementation that makes the site.
static const char *firsts(Arena *arena, const Site *site) {
  Text text = text_new(arena);
  for (int i = 0; implementations[i]; i++) {
    Way ways[WAYS_ASKED];
    const Implementation *implementation = implementations[i];
    if (!implementation_serves(implementation, site) || !implementation->supports(site)) continue;
    if (implementation_ways(implementation, site, &(Machine){0}, ways, WAYS_ASKED))
      text_add(&text, "%s%s %s", text.length ? "; " : "", implementation->name, ways[0].name);
  }
  return text_get(&text);
}

static void expect_ways(const char *chip) {
  DeviceInfo device;
  cr_assert_null(chip_find(chip, &device));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    Arena *arena = arena_new();
    Site site = site_of(arena, &rows[i], &device);
    const char *first = firsts(arena, &site);
    cr_expect_str_eq(first, rows[i].expected, "%s: %s: the first ways are «%s»", chip, rows[i].text, first);
    arena_free(arena);
  }
}

Test(ways, of_sites_as_networks_have_them) {
  expect_ways("H200");
  expect_ways("H100");
}
