// Graphs as text, run whole by a runner: on the CPU; where the driver is the emulated GPU's, on that.
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/deferred.h"
#include "kernels/ops.h"
#include "onnx/ops/translate.h"
#include "run/runner.h"

enum { MOST_VALUES = 6 };

typedef struct Run {
  Arena *arena;
  Graph *graph;
  Device *device;
  Runner *runner;
  RunTensor inputs[MOST_VALUES], outputs[MOST_VALUES];
  Tensor results[MOST_VALUES];
  int input_count;
} Run;

static Log no_log;

static inline DeviceKind device_kind(void) {
  const char *driver = getenv("INGOT_LIBCUDA");
  return driver && strstr(driver, "emulator") ? DEVICE_CUDA : DEVICE_CPU;
}

static inline bool is_deferred(const Node *node) { return node->op == &op_deferred; }
static inline void expect_ok(Status status) { cr_assert(!status, "%s", status_message(status)); }

// Bodies and branches first.
static inline void infer_all(Graph *graph) {
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) infer_all(node->attributes[i].graph);
    expect_ok(node_infer(node));
  }
}

// Without a runner as yet.
static inline Run run_of(const char *text) {
  Run run = {.arena = arena_new()};
  expect_ok(graph_parse(run.arena, core_ops, text, strlen(text), NULL, 0, &run.graph));
  infer_all(run.graph);
  expect_ok(graph_verify(run.graph));
  DeviceOptions options = {.kind = device_kind(), .threads = 1, .log = &no_log};
  expect_ok(options.kind == DEVICE_CPU ? cpu_device_new(&options, &run.device) : cuda_device_new(&options, &run.device));
  return run;
}

static inline void give(Run *run, DType dtype, int rank, const int64_t *dims, const double *values) {
  Tensor tensor;
  expect_ok(tensor_new(run->arena, dtype, rank, dims, &tensor));
  for (int64_t i = 0; i < tensor_count(&tensor); i++) tensor_set_f(&tensor, i, values[i]);
  expect_ok(run_tensor_borrow_host(run->device, &tensor, &run->inputs[run->input_count++]));
}
#define D(...) ((const int64_t[]){__VA_ARGS__})
#define GIVE(run, dtype, dims, ...) give(run, dtype, (int)(sizeof(dims) / sizeof(int64_t)), dims, (const double[]){__VA_ARGS__})

static inline void drop_inputs(Run *run) {
  for (int i = 0; i < run->input_count; i++) run_tensor_drop(&run->inputs[i]);
  run->input_count = 0;
}
static inline void drop(Run *run) {
  drop_inputs(run);
  for (int i = 0; i < run->graph->output_count; i++) run_tensor_drop(&run->outputs[i]);
}

static inline Status fetch(Run *run) {
  for (int i = 0; i < run->graph->output_count; i++) {
    run->results[i] = (Tensor){.dtype = run->outputs[i].dtype, .rank = run->outputs[i].rank};
    memcpy(run->results[i].dims, run->outputs[i].dims, sizeof run->results[i].dims);
    TRY(run_tensor_host(&run->outputs[i], &run->results[i].data));
    cr_assert_eq(run->outputs[i].storage->bytes, tensor_bytes(&run->results[i]));
  }
  return OK;
}

static inline void expect(const Run *run, int output, int rank, const int64_t *dims, const double *values) {
  const Tensor *result = &run->results[output];
  cr_assert_eq(result->rank, rank, "output %d has rank %d, not %d", output, result->rank, rank);
  for (int k = 0; k < rank; k++)
    cr_assert_eq(result->dims[k], dims[k], "output %d axis %d is %lld, not %lld", output, k, (long long)result->dims[k],
                 (long long)dims[k]);
  for (int64_t i = 0; i < tensor_count(result); i++)
    cr_assert(fabs(tensor_get_f(result, i) - values[i]) <= 1e-5 * fmax(1, fabs(values[i])),
              "output %d element %lld is %g, not %g", output, (long long)i, tensor_get_f(result, i), values[i]);
}
#define EXPECT(run, output, dims, ...) \
  expect(run, output, (int)(sizeof(dims) / sizeof(int64_t)), dims, (const double[]){__VA_ARGS__})

#define OP1(op) "{program: program {%0: f32 = input 0; %1 = " op " %0; yield %1}}"
#define OP2(op) "{program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = " op " %0 %1; yield %2}}"
