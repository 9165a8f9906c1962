// Concatenation on the CPU: a strided copy for each input, into its part of the output.
#include "base/checked.h"
#include "kernels/common/cpu_copy.h"
#include "kernels/implementation.h"
#include "kernels/gather/gather.h"

typedef struct ConcatState {
  int count;
  CpuCopy *copies;
  int64_t *offsets;  // bytes into the output
} ConcatState;

static bool supports(const Site *site) {
  // Copies write each element of the output once.
  REQUIRE(site, desc_is_dense(&site->outputs[0]), "the result has holes");
  REQUIRE(site, !site->epilogue, "it has an epilogue");
  return true;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  int axis = (int)node_int(site->node, "axis", 0);
  const TensorDesc *y = &site->outputs[0];
  ConcatState *state = arena_new_of(arena, ConcatState);
  state->count = site->node->input_count;
  state->copies = arena_array(arena, CpuCopy, state->count);
  state->offsets = arena_array(arena, int64_t, state->count);
  int64_t at = 0;
  for (int i = 0; i < state->count; i++) {
    const TensorDesc *x = &site->inputs[i];
    cpu_copy_plan(&state->copies[i], dtype_size(y->dtype), y->rank, x->dims, y->strides, x->strides);
    state->offsets[i] = at * y->strides[axis] * (int64_t)dtype_size(y->dtype);
    at += x->dims[axis];
  }
  *workspace_bytes = 0;
  *out = state;
  return OK;
}

static Status run(void *context, const HostCall *call) {
  const ConcatState *state = context;
  for (int i = 0; i < state->count; i++)
    cpu_copy_run(&state->copies[i], call->pool, (char *)call->outputs[0] + state->offsets[i], call->inputs[i]);
  return OK;
}

static const HostRoutine routine = {"concat", open_state, run};

const Implementation cpu_concat = {
    .name = "copies",
    .backend = BACKEND_CPU,
    .op = &op_concat,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
