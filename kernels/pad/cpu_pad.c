// Padding on the CPU, all modes and types: a table for each axis says what its elements show.
#include "kernels/implementation.h"
#include "kernels/common/cpu_pick.h"
#include "kernels/pad/pad.h"

typedef struct PadState {
  CpuPick pick;
  bool has_value;
} PadState;

static bool supports(const Site *site) {
  const TensorDesc *y = &site->outputs[0];
  REQUIRE(site, y->dtype != DTYPE_STRING, "elements are strings");
  REQUIRE(site, desc_count(&site->inputs[0]) > 0, "the operand is empty");
  REQUIRE(site, cpu_pick_supports(y), "the result has holes, or no contiguous axis");
  return true;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  PadState *state = arena_new_of(arena, PadState);
  int count;
  int64_t *offsets[MAX_RANK];
  const Dim *pads = node_dims(site->node, "pads", &count);
  for (int axis = 0; axis < y->rank; axis++) {
    offsets[axis] = arena_array(arena, int64_t, y->dims[axis]);
    TRY(pad_axis(site->node, x->dims[axis], pads[axis], y->dims[axis], offsets[axis]));
    for (int64_t i = 0; i < y->dims[axis]; i++)
      offsets[axis][i] = offsets[axis][i] < 0 ? PICK_CONSTANT : offsets[axis][i] * x->strides[axis];
  }
  cpu_pick_plan(&state->pick, arena, y, offsets);
  state->has_value = site->node->input_count > 1 && !site->inputs[1].absent;
  *workspace_bytes = 0;
  *out = state;
  return OK;
}

static Status run(void *context, const HostCall *call) {
  static const uint64_t zero[2];
  const PadState *state = context;
  cpu_pick_run(&state->pick, call->pool, call->outputs[0], call->inputs[0],
               state->has_value ? call->inputs[1] : (const void *)zero);
  return OK;
}

static const HostRoutine routine = {"pad", open_state, run};

const Implementation cpu_pad = {
    .name = "table",
    .backend = BACKEND_CPU,
    .op = &op_pad,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
