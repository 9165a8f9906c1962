// Which way attention takes where nothing is measured: that of an H200 within a twentieth of the fastest of those that were measured on one.
#include <criterion/criterion.h>
#include <string.h>

#include "base/checked.h"
#include "base/chips.h"
#include "ir/graph_text.h"
#include "kernels/implementation.h"
#include "kernels/meaning.h"
#include "kernels/ops.h"
#include "lower/plan.h"

extern const Implementation cuda_mma_attention;

typedef struct Time {
  const char *way;
  double microseconds;
} Time;

typedef struct Row {
  int heads, size, length;
  bool causal;
  Time times[6];
} Row;

#define MEASURED(heads, size, length, causal, ...) {heads, size, length, causal, {__VA_ARGS__}},
static const Row rows[] = {
#include "tests/unit/attention_ways.inc"
};

#define SOFTMAX(score, a, b, c, d, e, f)                                                                                      \
  a " = reduce_max " score "; " b " = sub " score " " a "; " c " = exp " b "; " d " = reduce_sum " c "; " e " = div " c " " d \
    "; " f ": f16 = cast " e "; yield " f
static const char plain[] = "%0: f32 = input 0; " SOFTMAX("%0", "%1", "%2", "%3", "%4", "%5", "%6"),
                  causal[] =
                      "%0: f32 = input 0; %1: i64 = index 1; %2: i64 = index 2; %3 = le %2 %1; %4: f32 = const -inf; %5 = "
                      "select %3 %0 %4; " SOFTMAX("%5", "%6", "%7", "%8", "%9", "%10", "%11");

static const Node *region_of(Arena *arena, const Row *row) {
  int h = row->heads, n = row->length, d = row->size;
  const char *q = arena_printf(arena, "f16[%d, %d, %d]", h, n, d), *k = arena_printf(arena, "f16[%d, %d, %d]", h, d, n),
             *inputs = arena_printf(arena, "%%q: %s, %%k: %s, %%v: %s", q, k, q),
             *scores = arena_printf(arena, "f16[%d, %d, %d]", h, n, n),
             *text = arena_printf(arena,
                                  "graph g(%s) -> (%%y) { %%y: ?[?] = region(%%q, %%k, %%v) {body: graph attention(%s) -> "
                                  "(%%y) { %%s: %s = matmul(%%q, %%k) "
                                  "%%p: %s = rowwise(%%s) {program: program {%s}, axes: 2} %%y: %s = matmul(%%p, %%v) }} }",
                                  inputs, inputs, scores, scores, row->causal ? causal : plain, q);
  Graph *graph;
  Status status = graph_parse(arena, core_ops, text, strlen(text), NULL, 0, &graph);
  cr_assert_null(status, "%s: %s", text, status_message(status));
  FOR_NODES(node, graph) cr_assert_null(node_infer(node));
  return graph->outputs[0]->producer;
}

// Keys lie as they come of a projection: contiguous along heads.
static Site site_of(Arena *arena, const Row *row, const DeviceInfo *device) {
  const Node *region = region_of(arena, row);
  TensorDesc *descs = arena_array(arena, TensorDesc, 4);
  for (int i = 0; i < 4; i++) {
    const Value *value = i < 3 ? region->inputs[i] : region->outputs[0];
    descs[i] = (TensorDesc){.dtype = value->dtype, .rank = value->rank};
    cr_assert(value_get_dims(value, descs[i].dims));
    if (i == 1) order_strides(3, descs[i].dims, (const uint8_t[]){0, 2, 1}, descs[i].strides);
    else dims_strides(3, descs[i].dims, descs[i].strides);
  }
  return (Site){.node = region, .inputs = descs, .outputs = &descs[3], .device = device};
}

static double time_of(const Row *row, const char *way) {
  for (size_t i = 0; i < COUNT_OF(row->times) && row->times[i].way; i++)
    if (!strcmp(row->times[i].way, way)) return row->times[i].microseconds;
  cr_assert_fail("%d heads of %d, length %d: nobody measured %s", row->heads, row->size, row->length, way);
  return 0;
}

Test(attention_ways, within_a_twentieth_of_the_fastest) {
  Arena *arena = arena_new();
  DeviceInfo device;
  cr_assert_null(chip_find("H200", &device));
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const Row *row = &rows[i];
    Site site = site_of(arena, row, &device);
    Way first;
    cr_assert_eq(cuda_mma_attention.ways(&site, &(Machine){0}, &first, 1), 1);
    double fastest = row->times[0].microseconds, taken = time_of(row, first.name);
    for (size_t t = 1; t < COUNT_OF(row->times) && row->times[t].way; t++) fastest = MIN(fastest, row->times[t].microseconds);
    cr_expect_leq(taken, 1.05 * fastest, "%d heads of %d, length %d%s: %s takes %g, the fastest %g", row->heads, row->size,
                  row->length, row->causal ? ", causal" : "", first.name, taken, fastest);
  }
  arena_free(arena);
}
