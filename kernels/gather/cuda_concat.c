// concat: each input is copied into its part of the output, which is a view of it. The copies are generated elementwise kernels: they
// merge axes, move 16 bytes at a time and transpose through shared memory where layouts differ. One launch serves up to MOST_PARTS
// inputs, consecutive blocks taking consecutive inputs.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/gather/gather.h"

enum { MOST_PARTS = 64 };

static bool supports(const Site *site) { return dtype_kind(site->outputs[0].dtype) != KIND_STRING; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "copies"};
  return 1;
}

static double cost(const Site *site) { return cost_of_site(site, (int)ceil_div(site->node->input_count, MOST_PARTS)); }

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *y = &site->outputs[0];
  Arena *arena = out->arena;
  int axis = (int)node_int(site->node, "axis", 0), inputs = site->node->input_count;
  Program *copy = program_new(arena, 1);
  program_output(copy, program_input(copy, 0, y->dtype));
  ElementwisePart *parts = arena_array(arena, ElementwisePart, MOST_PARTS);
  int64_t at = 0;
  for (int i = 0; i < inputs;) {
    int count = 0, sources[MOST_PARTS];
    for (; i < inputs && count < MOST_PARTS; at += site->inputs[i++].dims[axis]) {
      if (desc_count(&site->inputs[i]) == 0) continue;
      TensorDesc *target = arena_new_of(arena, TensorDesc);
      int64_t *bases = arena_array(arena, int64_t, 2);
      *target = *y;
      target->dims[axis] = site->inputs[i].dims[axis];
      bases[1] = at * y->strides[axis];
      target->offset += bases[1];
      sources[count] = i;
      parts[count++] = (ElementwisePart){copy, 1, 1, &site->inputs[i], target, bases};
    }
    if (count == 0) continue;
    GeneratedKernel kernel;
    TRY(generate_elementwise_parts(count, parts, arena, &kernel));
    Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
    for (int k = 0; k < count; k++) {
      emit_buffer(out, launch, BUFFER_INPUT, sources[k]);
      emit_buffer(out, launch, BUFFER_OUTPUT, 0);
    }
  }
  return OK;
}

const Implementation cuda_concat = {
    .name = "concat",
    .backend = BACKEND_CUDA,
    .op = &op_concat,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
