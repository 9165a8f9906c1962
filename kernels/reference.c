// What every operator's reference shares: making outputs, and applying an epilogue.
#include "base/budget.h"
#include "kernels/reference.h"
#include "kernels/program/domain.h"

Status reference_output(Reference *reference, int index, DType dtype, int rank, const int64_t *dims, Tensor **out) {
  Tensor *tensor = &reference->outputs[index];
  *out = tensor;
  bool fits = tensor->data && tensor->dtype == dtype && tensor->rank == rank;
  for (int i = 0; fits && i < rank; i++) fits = tensor->dims[i] == dims[i];
  if (fits) return OK;
  return tensor_new(reference->arena, dtype, rank, dims, tensor);
}

// Input 0 of the epilogue is the anchor's result, input k node input epilogue_first + k - 1.
static Status run_epilogue(Reference *reference, const Tensor *result) {
  const Node *node = reference->node;
  const Program *program = node->epilogue;
  int input_count = program->input_count;
  const Tensor **inputs = arena_array(reference->arena, const Tensor *, (size_t)input_count + 1);
  inputs[0] = result;
  for (int k = 1; k < input_count; k++) {
    int index = node->epilogue_first + k - 1;
    inputs[k] = index < node->input_count ? reference->inputs[index] : NULL;
    if (!inputs[k]) FAIL(ERROR_INVALID_MODEL, "the epilogue reads input %d, which is missing", index);
    const Tensor *extra = inputs[k];
    bool fits = extra->rank <= result->rank;
    for (int i = 0; fits && i < extra->rank; i++) {
      int64_t size = result->dims[i + result->rank - extra->rank];
      fits = extra->dims[i] == size || extra->dims[i] == 1;
    }
    if (!fits) FAIL(ERROR_INVALID_MODEL, "input %d of the epilogue does not broadcast to the result", index);
  }
  // What is stored has the program's type, or the other float type that the node's output was given.
  Tensor *out, computed;
  DType dtype = program->code[program->outputs[0]].dtype, stored = node->outputs[0]->dtype;
  bool converts = stored != dtype && stored < DTYPE_COUNT && dtype_is_float(stored) && dtype_is_float(dtype);
  static const bool reduced[MAX_RANK];
  TRY(reference_output(reference, 0, converts ? stored : dtype, result->rank, result->dims, &out));
  if (!converts)
    return domain_compute(reference->arena, program, result->rank, result->dims, reduced, inputs, input_count, out);
  TRY(tensor_new(reference->arena, dtype, result->rank, result->dims, &computed));
  TRY(domain_compute(reference->arena, program, result->rank, result->dims, reduced, inputs, input_count, &computed));
  int64_t count = tensor_count(out);
  for (int64_t i = 0; i < count; i++) tensor_set_f(out, i, tensor_get_f(&computed, i));
  return OK;
}

Status reference_run(const Node *node, Arena *arena, const Tensor *const *inputs, Tensor *outputs) {
  TRY(budget_poll());
  Reference reference = {.node = node, .arena = arena, .inputs = inputs, .outputs = outputs};
  const char *name = node_place(node);
  if (!node->op->reference) FAIL(ERROR_UNSUPPORTED, "node '%s' (%s) has no reference", name, node->op->name);
  if (!node->epilogue) return status_context(node->op->reference(&reference), "node '%s' (%s)", name, node->op->name);
  // The anchor's own result is not an output: its type may differ from the epilogue's.
  Tensor result = {0};
  Reference anchor = reference;
  anchor.outputs = &result;
  Status status = node->op->reference(&anchor);
  if (!status) status = run_epilogue(&reference, &result);
  return status_context(status, "node '%s' (%s)", name, node->op->name);
}

// A reshaped tensor is the same elements: nobody writes to them.
static bool same_elements(const Node *node, const Tensor *x, Tensor *out) {
  ViewMap map = {0};
  if (!node->op->view) return false;
  node->op->view(node, &map);
  if (!map.regroups || !x) return false;
  *out = *x;
  out->rank = node->outputs[0]->rank;
  return value_get_dims(node->outputs[0], out->dims);
}

Status reference_run_graph(const Graph *graph, Arena *arena, const Tensor **values) {
  FOR_NODES(node, graph) {
    const Tensor **in = arena_array(arena, const Tensor *, (size_t)node->input_count + 1);
    Tensor *out = arena_array(arena, Tensor, (size_t)node->output_count + 1);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) in[i] = node->inputs[i]->constant ? node->inputs[i]->constant : values[node->inputs[i]->id];
    if (!same_elements(node, in[0], out)) TRY(reference_run(node, arena, in, out));
    for (int i = 0; i < node->output_count; i++) values[node->outputs[i]->id] = &out[i];
  }
  return OK;
}
