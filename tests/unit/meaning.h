// What the meaning_* tests share: one node built over the given tensors, inferred, run by its reference, and compared.
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include "kernels/ops.h"

enum { MEANING_TEST_OUTPUTS = 4 };

typedef struct MeaningTest {
  Arena *arena;
  Graph *graph;
  Node *node;
  int input_count;
  Tensor inputs[8];
  bool present[8];
  Tensor outputs[MEANING_TEST_OUTPUTS];
} MeaningTest;

static inline MeaningTest meaning_test_new(void) {
  Arena *arena = arena_new();
  return (MeaningTest){.arena = arena, .graph = graph_new(arena, core_ops, "test")};
}

#define DIMS(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }
#define NUMBERS(...) \
  (const double[]) { __VA_ARGS__ }

// values NULL: 0, 1, 2, ...
static inline void test_input(MeaningTest *test, DType dtype, int rank, const int64_t *dims, const double *values) {
  Tensor *tensor = &test->inputs[test->input_count];
  cr_assert_null(tensor_new(test->arena, dtype, rank, dims, tensor));
  for (int64_t i = 0; i < tensor_count(tensor); i++) tensor_set_f(tensor, i, values ? values[i] : (double)i);
  test->present[test->input_count++] = true;
}
static inline void test_absent(MeaningTest *test) { test->input_count++; }

static inline Node *test_node(MeaningTest *test, const OpDef *op, int output_count) {
  Value *values[8] = {0};
  for (int i = 0; i < test->input_count; i++)
    if (test->present[i])
      values[i] = graph_add_input(test->graph, NULL, test->inputs[i].dtype, test->inputs[i].rank, test->inputs[i].dims);
  test->node = graph_add(test->graph, NULL, op, test->input_count, values, output_count);
  return test->node;
}

static inline void test_run(MeaningTest *test) {
  Status status = node_infer(test->node);
  cr_assert_null(status, "%s", status_message(status));
  const Tensor *inputs[8] = {0};
  for (int i = 0; i < test->input_count; i++) inputs[i] = test->present[i] ? &test->inputs[i] : NULL;
  Reference reference = {test->node, test->arena, inputs, test->outputs};
  status = test->node->op->reference(&reference);
  cr_assert_null(status, "%s", status_message(status));
  for (int i = 0; i < test->node->output_count; i++) {
    const Value *value = test->node->outputs[i];
    const Tensor *tensor = &test->outputs[i];
    cr_assert_eq(value->dtype, tensor->dtype, "output %d: inferred %s, computed %s", i, dtype_name(value->dtype),
                 dtype_name(tensor->dtype));
    cr_assert_eq(value->rank, tensor->rank);
    for (int k = 0; k < value->rank; k++)
      if (dim_is_static(value->dims[k])) cr_assert_eq(value->dims[k], tensor->dims[k], "output %d axis %d", i, k);
  }
}

static inline void test_expect(const MeaningTest *test, int output, int rank, const int64_t *dims, const double *values) {
  const Tensor *tensor = &test->outputs[output];
  cr_assert_eq(tensor->rank, rank);
  for (int i = 0; i < rank; i++) cr_assert_eq(tensor->dims[i], dims[i], "axis %d: %ld", i, (long)tensor->dims[i]);
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    double actual = tensor_get_f(tensor, i);
    bool same = actual == values[i] || (isnan(actual) && isnan(values[i]));
    cr_assert(same || fabs(actual - values[i]) <= 1e-5 * fmax(1, fabs(values[i])), "output %d element %ld: %g, expected %g",
              output, (long)i, actual, values[i]);
  }
}

static inline void test_done(MeaningTest *test) { arena_free(test->arena); }
