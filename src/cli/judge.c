// See judge.h. The runner takes the graph through, as for any run (branches, loops, sizes that depend on data), on a CPU device that knows no
// tactic.
#include "cli/judge.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/deferred.h"
#include "onnx/translate.h"
#include "runtime/runner.h"

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

static void drop(RunTensor *tensors, int count) {
  for (int i = 0; i < count; i++)
    if (tensors[i].storage) run_tensor_drop(&tensors[i]);
}

static Status copy_output(const RunTensor *from, Arena *arena, Tensor *out) {
  *out = (Tensor){.dtype = DTYPE_COUNT};
  if (!from->storage) return OK;
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

static Status run(const Graph *graph, Device *device, Runner *runner, const Tensor *inputs, Arena *arena, Tensor *outputs) {
  RunTensor *in = arena_array(arena, RunTensor, (size_t)graph->input_count + 1);
  RunTensor *out = arena_array(arena, RunTensor, (size_t)graph->output_count + 1);
  Status status = OK;
  for (int i = 0; i < graph->input_count; i++) TRY_GOTO(run_tensor_borrow_host(device, &inputs[i], &in[i]));
  TRY_GOTO(runner_run(runner, in, out));
  for (int i = 0; i < graph->output_count; i++) TRY_GOTO(copy_output(&out[i], arena, &outputs[i]));
done:
  drop(in, graph->input_count);
  drop(out, graph->output_count);
  return status;
}

Status judge_run(const Graph *graph, const Tensor *inputs, Arena *arena, Tensor **outputs) {
  Log log = {0};
  Device *device;
  TRY(cpu_device_new(&(DeviceOptions){.kind = DEVICE_CPU, .references_only = true, .log = &log}, &device));
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  Runner *runner;
  *outputs = arena_array(arena, Tensor, (size_t)graph->output_count + 1);
  Status status = runner_new(graph, device, &hooks, 0, &runner);
  if (!status) {
    status = run(graph, device, runner, inputs, arena, *outputs);
    runner_free(runner);
  }
  device->free(device);
  return status_context(status, "the model run by the references");
}
