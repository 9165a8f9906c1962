// Elementwise nodes that compute nothing: a view made dense, a layout changed, a value broadcast. They are copies, of any type.
#include "kernels/common/cpu_copy.h"
#include "kernels/implementation.h"
#include "kernels/elementwise/elementwise.h"

static bool supports(const Site *site) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  const Program *program = node_program(site->node, "program");
  REQUIRE(site, site->node->input_count == 1 && program_is_identity(program) && !x->absent,
          "it computes: only copies of one operand are taken");
  REQUIRE(site, x->dtype == y->dtype && program->code[program->outputs[0]].dtype == x->dtype, "it changes the type");
  REQUIRE(site, x->rank <= y->rank && desc_is_dense(y), "the result has holes");
  return true;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int64_t from[MAX_RANK];
  for (int i = 0; i < y->rank; i++) {
    int own = i - (y->rank - x->rank);
    from[i] = own < 0 || x->dims[own] == 1 ? 0 : x->strides[own];
  }
  CpuCopy *copy = arena_new_of(arena, CpuCopy);
  cpu_copy_plan(copy, dtype_size(y->dtype), y->rank, y->dims, y->strides, from);
  *state = copy;
  *workspace_bytes = 0;
  return OK;
}

static Status run(void *copy, const HostCall *call) {
  cpu_copy_run(copy, call->pool, call->outputs[0], call->inputs[0]);
  return OK;
}

static const HostRoutine routine = {"copy", open_state, run};

const Implementation cpu_copy = {
    .name = "copy",
    .backend = BACKEND_CPU,
    .op = &op_elementwise,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
