// Runs one case of the backend suite; see case.h.
#include "case.h"
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "kernels/deferred.h"
#include "onnx/import.h"
#include "onnx/tensor.h"
#include "onnx/translate.h"
#include "passes/passes.h"
#include "runtime/runner.h"

static const double RTOL = 1e-3, ATOL = 1e-7;

static const char *shape_text(Arena *arena, const Tensor *tensor) {
  Text text = text_new(arena);
  text_add(&text, "%s[", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++) text_add(&text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
  text_add(&text, "]");
  return text_get(&text);
}

static Status compare(Arena *arena, const char *name, const Tensor *actual, const Tensor *expected) {
  bool same = actual->dtype == expected->dtype && actual->rank == expected->rank;
  for (int i = 0; same && i < actual->rank; i++) same = actual->dims[i] == expected->dims[i];
  if (!same)
    FAIL(ERROR_MISMATCH, "output '%s' is %s, expected %s", name, shape_text(arena, actual), shape_text(arena, expected));
  if (actual->dtype == DTYPE_STRING) {
    if (!tensor_equal(actual, expected)) FAIL(ERROR_MISMATCH, "output '%s' differs", name);
    return OK;
  }
  Comparison result = tensor_compare(actual, expected, RTOL, ATOL);
  if (!result.mismatches) return OK;
  int64_t at = result.first_mismatch;
  FAIL(ERROR_MISMATCH, "output '%s': %lld of %lld elements differ; [%lld] is %g, expected %g", name,
       (long long)result.mismatches, (long long)result.count, (long long)at, tensor_get_f(actual, at),
       tensor_get_f(expected, at));
}

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

static Status optimise(Graph *graph, void *context) {
  return passes_run(graph, &(PassOptions){.device = *(DeviceKind *)context, .precision = DTYPE_COUNT}, NULL, 0, NULL);
}

static Status check_outputs(const Graph *graph, Arena *arena, const char *folder, const RunTensor *outputs) {
  for (int i = 0; i < graph->output_count; i++) {
    Tensor expected, actual = {.dtype = outputs[i].dtype, .rank = outputs[i].rank};
    memcpy(actual.dims, outputs[i].dims, sizeof actual.dims);
    TRY(run_tensor_host(&outputs[i], &actual.data));
    TRY(status_context(onnx_read_tensor_file(arena_printf(arena, "%s/output_%d.pb", folder, i), arena, &expected), "reading"));
    TRY(status_context(compare(arena, graph->outputs[i]->name, &actual, &expected), "comparing"));
  }
  return OK;
}

static Status run_data_set(const Graph *graph, Runner *runner, Device *device, Arena *arena, const char *folder) {
  RunTensor *inputs = arena_array(arena, RunTensor, (size_t)graph->input_count + 1);
  RunTensor *outputs = arena_array(arena, RunTensor, (size_t)graph->output_count + 1);
  Status status = OK;
  for (int i = 0; i < graph->input_count; i++) {
    Tensor tensor;
    if (graph->inputs[i]->kind != VALUE_TENSOR)
      TRY_GOTO(status_make(ERROR_UNSUPPORTED, "input '%s' is no tensor", graph->inputs[i]->name));
    TRY_GOTO(
        status_context(onnx_read_tensor_file(arena_printf(arena, "%s/input_%d.pb", folder, i), arena, &tensor), "reading"));
    TRY_GOTO(run_tensor_borrow_host(device, &tensor, &inputs[i]));
  }
  TRY_GOTO(status_context(runner_run(runner, inputs, outputs), "running"));
  TRY_GOTO(check_outputs(graph, arena, folder, outputs));
done:
  for (int i = 0; i < graph->input_count; i++) run_tensor_drop(&inputs[i]);
  for (int i = 0; i < graph->output_count; i++) run_tensor_drop(&outputs[i]);
  return status;
}

static Status run_data_sets(const Graph *graph, Device *device, Arena *arena, const char *folder, const char **host) {
  Runner *runner;
  RunnerHooks hooks = {.translate = translate_deferred,
                       .is_deferred = is_deferred,
                       .optimise = optimise,
                       .optimise_context = &device->info.kind};
  TRY(runner_new(graph, device, &hooks, &runner));
  Status status = OK;
  for (int set = 0; !status; set++) {
    const char *data = arena_printf(arena, "%s/test_data_set_%d", folder, set);
    if (!file_exists(data)) {
      if (!set) status = status_make(ERROR_NOT_FOUND, "no test_data_set_0");
      break;
    }
    status = run_data_set(graph, runner, device, arena, data);
  }
  *host = arena_string(arena, runner_stats(runner).host_operator);
  runner_free(runner);
  return status;
}

Status suite_case_run(const char *folder, DeviceKind kind, Arena *arena, const char **host) {
  Graph *graph = NULL;
  Model *model;
  *host = "";
  Status status = onnx_model_open(path_join(arena, folder, "model.onnx"), NULL, arena, NULL, &model);
  if (!status) status = onnx_import(model, arena, &graph);
  if (status) return status_context(status, "importing");
  TRY(status_context(optimise(graph, &kind), "optimising"));
  Device *device;
  DeviceOptions options = {.kind = kind, .threads = 1, .workspace_limit = (size_t)256 << 20};
  TRY(kind == DEVICE_CUDA ? cuda_device_new(&options, &device) : cpu_device_new(&options, &device));
  status = run_data_sets(graph, device, arena, folder, host);
  device->free(device);
  return status;
}
