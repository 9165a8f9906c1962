// Runs one case of the backend suite; see case.h.
#include "case.h"
#include <string.h>
#include "base/file.h"
#include "onnx/import.h"
#include "onnx/tensor.h"
#include "onnx/translate.h"
#include "plan/evaluate.h"

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

static Status run_data_set(const Graph *graph, Arena *arena, const char *folder) {
  const Tensor **inputs = arena_array(arena, const Tensor *, (size_t)graph->input_count + 1);
  Tensor *outputs = arena_array(arena, Tensor, (size_t)graph->output_count + 1);
  for (int i = 0; i < graph->input_count; i++) {
    if (graph->inputs[i]->kind != VALUE_TENSOR) FAIL(ERROR_UNSUPPORTED, "input '%s' is no tensor", graph->inputs[i]->name);
    Tensor *tensor = arena_new_of(arena, Tensor);
    Status status = onnx_read_tensor_file(arena_printf(arena, "%s/input_%d.pb", folder, i), arena, tensor);
    if (status) return status_context(status, "reading");
    inputs[i] = tensor;
  }
  Status status = graph_evaluate(graph, translate_deferred, arena, inputs, outputs);
  if (status) return status_context(status, "running");
  for (int i = 0; i < graph->output_count; i++) {
    Tensor expected;
    status = onnx_read_tensor_file(arena_printf(arena, "%s/output_%d.pb", folder, i), arena, &expected);
    if (status) return status_context(status, "reading");
    status = compare(arena, graph->outputs[i]->name, &outputs[i], &expected);
    if (status) return status_context(status, "comparing");
  }
  return OK;
}

Status suite_case_run(const char *folder, Arena *arena) {
  Graph *graph = NULL;
  Model *model;
  Status status = onnx_model_open(path_join(arena, folder, "model.onnx"), NULL, arena, NULL, &model);
  if (!status) status = onnx_import(model, arena, &graph);
  if (status) return status_context(status, "importing");
  for (int set = 0;; set++) {
    const char *data = arena_printf(arena, "%s/test_data_set_%d", folder, set);
    if (!file_exists(data)) return set ? OK : status_make(ERROR_NOT_FOUND, "no test_data_set_0");
    TRY(run_data_set(graph, arena, data));
  }
}
