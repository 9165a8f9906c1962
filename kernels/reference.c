// What every operator's reference shares: making outputs, and running nodes one after the other.
#include "base/budget.h"
#include "kernels/reference.h"

Status reference_output(Reference *reference, int index, DType dtype, int rank, const int64_t *dims, Tensor **out) {
  Tensor *tensor = &reference->outputs[index];
  *out = tensor;
  bool fits = tensor->data && tensor->dtype == dtype && tensor->rank == rank;
  for (int i = 0; fits && i < rank; i++) fits = tensor->dims[i] == dims[i];
  if (fits) return OK;
  return tensor_new(reference->arena, dtype, rank, dims, tensor);
}

Status reference_run(const Node *node, Arena *arena, const Tensor *const *inputs, Tensor *outputs) {
  TRY(budget_poll());
  Reference reference = {.node = node, .arena = arena, .inputs = inputs, .outputs = outputs};
  const char *name = node_place(node);
  if (!node->op->reference) FAIL(ERROR_UNSUPPORTED, "node '%s' (%s) has no reference", name, node->op->name);
  return status_context(node->op->reference(&reference), "node '%s' (%s)", name, node->op->name);
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
