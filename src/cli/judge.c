// See judge.h. The runner takes the graph through, as for any run (branches, loops, sizes that depend on data), on a CPU device that knows
// only references.
#include "cli/judge.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "kernels/deferred.h"
#include "onnx/ops/translate.h"
#include "run/runner.h"

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

static void drop(RunTensor *tensors, int count) {
  for (int i = 0; i < count; i++) run_tensor_drop(&tensors[i]);
}

static Status give(Device *device, const HostValue *value, RunTensor *out) {
  if (value->kind == VALUE_TENSOR && value->tensor.dtype == DTYPE_COUNT) return OK;  // its default
  if (value->kind == VALUE_TENSOR) return run_tensor_borrow_host(device, &value->tensor, out);
  if (value->kind == VALUE_OPTIONAL) {
    *out = (RunTensor){.kind = VALUE_OPTIONAL, .dtype = DTYPE_COUNT};
    return OK;
  }
  TRY(run_sequence_new(value->count ? value->items->tensor.dtype : DTYPE_F32, value->count, out));
  for (int i = 0; i < value->count; i++) TRY(give(device, &value->items[i], &out->list->items[i]));
  return OK;
}

static Status take_tensor(const RunTensor *from, Arena *arena, Tensor *out) {
  void *bytes;
  TRY(run_tensor_host(from, &bytes));
  TRY(tensor_new(arena, from->dtype, from->rank, from->dims, out));
  if (from->dtype != DTYPE_STRING) {
    memcpy(out->data, bytes, tensor_bytes(out));
    return OK;
  }
  char **strings = out->data;
  for (int64_t i = 0; i < tensor_count(out); i++) strings[i] = arena_string(arena, ((char **)bytes)[i]);
  return OK;
}

static Status take(const RunTensor *from, Arena *arena, HostValue *out) {
  *out = (HostValue){.kind = from->kind, .name = ""};
  if (from->kind == VALUE_TENSOR) return take_tensor(from, arena, &out->tensor);
  out->count = from->list ? from->list->count : 0;
  out->items = arena_array(arena, HostValue, (size_t)out->count + 1);
  for (int i = 0; i < out->count; i++) TRY(take(&from->list->items[i], arena, &out->items[i]));
  return OK;
}

typedef struct Judge {
  const Graph *graph;
  const InputSet *inputs;
  Device *device;
  Runner *runner;
  RunTensor *in, *out;
  HostValue *outputs;
} Judge;

static Status run(Judge *judge, const ingot_config *config) {
  const Graph *graph = judge->graph;
  Log log = {0};
  DeviceOptions options = {.kind = DEVICE_CPU, .references_only = true, .threads = config->threads, .log = &log};
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(cpu_device_new(&options, &judge->device));
  TRY(runner_new(graph, judge->device, &hooks, 0, &judge->runner));
  for (int i = 0; i < graph->input_count; i++) TRY(give(judge->device, &judge->inputs->values[i], &judge->in[i]));
  TRY(runner_run(judge->runner, judge->in, judge->out));
  for (int i = 0; i < graph->output_count; i++) TRY(take(&judge->out[i], judge->inputs->arena, &judge->outputs[i]));
  return OK;
}

// A function of its own: nothing that lives across the guard's setjmp changes here.
static Status run_limited(Judge *judge, const ingot_config *config) { return API_LIMITED(config, run(judge, config)); }

Status judge_run(const ingot_config *config, const Graph *graph, const InputSet *inputs, HostValue **outputs) {
  Arena *arena = inputs->arena;
  Judge judge = {.graph = graph,
                 .inputs = inputs,
                 .in = arena_array(arena, RunTensor, (size_t)graph->input_count + 1),
                 .out = arena_array(arena, RunTensor, (size_t)graph->output_count + 1),
                 .outputs = arena_array(arena, HostValue, (size_t)graph->output_count + 1)};
  Status status = run_limited(&judge, config);
  drop(judge.in, graph->input_count);
  drop(judge.out, graph->output_count);
  runner_free(judge.runner);
  if (judge.device) judge.device->free(judge.device);
  *outputs = judge.outputs;
  return status_context(status, "the model run by the references");
}
