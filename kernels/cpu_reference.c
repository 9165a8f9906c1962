// The reference as an implementation: the last for the CPU, so that no model fails for want of another. It wants row-major tensors: inputs in
// another order are copied, and outputs are put back in theirs.
#include <string.h>
#include "base/checked.h"
#include "kernels/fused.h"
#include "kernels/implementation.h"
#include "kernels/reference.h"

static bool supports(const Site *site) {
  REQUIRE(site, site->node->op->reference, "the operator has no reference");
  return true;
}

// A region's inputs stand in another order than the site's.
static void find_inputs(const Site *site, Arena *scratch, int *numbers) {
  Site read;
  int *of_node;
  fused_site(site_step(site), scratch, &read, &of_node);
  for (int i = 0; i < site_input_count(site); i++)
    if (of_node[i] >= 0) numbers[of_node[i]] = i;
}

// The node as it is now: its graph may be bound to other sizes before it runs.
static Node *copy_step(const Node *step, Arena *arena) {
  uint32_t ids = 1;
  for (int i = 0; i < step->input_count; i++)
    if (step->inputs[i]) ids = MAX(ids, step->inputs[i]->id + 1);
  Graph *graph = graph_new(arena, step->graph->ops, "step");
  Value **map = arena_array(arena, Value *, ids);
  for (int i = 0; i < step->input_count; i++) {
    const Value *value = step->inputs[i];
    if (!value || map[value->id]) continue;
    int64_t dims[MAX_RANK];
    value_get_dims(value, dims);
    map[value->id] = value->constant ? graph_add_constant(graph, NULL, value->constant)
                                     : graph_add_input(graph, NULL, value->dtype, value->rank, dims);
  }
  return node_copy(graph, step, map);
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  Site *site = arena_copy(arena, parameters->site, sizeof *parameters->site);
  Node *step = copy_step(site_step(site), arena);
  if (site->region) site->region = step;
  else site->node = step;
  *state = site;
  *workspace_bytes = 0;
  return OK;
}

static Tensor view_tensor(const TensorDesc *desc, void *data) {
  Tensor tensor = {.dtype = desc->dtype, .rank = desc->rank, .data = data};
  memcpy(tensor.dims, desc->dims, sizeof tensor.dims);
  return tensor;
}

// What a plan holds room for is what inference said.
static Status check_planned(const TensorDesc *planned, const Tensor *made, int output) {
  bool same = made->dtype == planned->dtype && made->rank == planned->rank;
  for (int i = 0; same && i < made->rank; i++) same = made->dims[i] == planned->dims[i];
  if (!same) FAIL(ERROR_INTERNAL, "output %d is of another type than was planned", output);
  return OK;
}

static Status run(void *state, const HostCall *call) {
  const Site *site = state;
  const Node *node = site_step(site);
  Arena *scratch = arena_scratch();
  Status status = OK;
  Tensor *tensors = arena_array(scratch, Tensor, node->input_count);
  const Tensor **inputs = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *outputs = arena_array(scratch, Tensor, node->output_count);
  int *numbers = arena_array(scratch, int, (size_t)node->input_count + 1);
  find_inputs(site, scratch, numbers);
  for (int i = 0; i < node->input_count; i++) {
    if (!node->inputs[i]) continue;
    const TensorDesc *desc = &site->inputs[numbers[i]];
    void *data = call->inputs[numbers[i]];
    tensors[i] = view_tensor(desc, data);
    inputs[i] = &tensors[i];
    if (desc_is_row_major(desc)) continue;
    TRY_GOTO(tensor_new(scratch, desc->dtype, desc->rank, desc->dims, &tensors[i]));
    tensor_gather_strided(&tensors[i], data, desc->strides);
  }
  for (int i = 0; i < node->output_count; i++)
    if (desc_is_row_major(&site->outputs[i])) outputs[i] = view_tensor(&site->outputs[i], call->outputs[i]);
  TRY_GOTO(reference_run(node, scratch, inputs, outputs));
  for (int i = 0; i < node->output_count; i++) {
    const TensorDesc *desc = &site->outputs[i];
    TRY_GOTO(check_planned(desc, &outputs[i], i));
    if (!desc_is_row_major(desc)) tensor_scatter_strided(&outputs[i], call->outputs[i], desc->strides);
    else if (outputs[i].data != call->outputs[i]) memcpy(call->outputs[i], outputs[i].data, tensor_bytes(&outputs[i]));
  }
done:
  arena_free(scratch);
  return status;
}

// One thread, element by element: some ten clocks each.
static double cost(const Site *site) {
  const double clocks = 10;
  SiteWork work = work_of(site);
  return site->device->rates.launch + clocks * (work.products + work.arithmetic) / cost_clocks(site->device);
}

static const HostRoutine routine = {"reference", open_state, run};

const Implementation cpu_reference = {
    .name = "reference",
    .backend = BACKEND_CPU,
    .general = true,
    .supports = supports,
    .ways = one_way,
    .cost = cost,
    .host = &routine,
};
