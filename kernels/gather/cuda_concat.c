// concat: each input is copied into its part of the output, which is a view of it. The copies are generated elementwise kernels: they
// merge axes, move 16 bytes at a time and transpose through shared memory where layouts differ. One launch serves up to MOST_PARTS
// inputs (MOST_OPEN_PARTS where sizes are open), consecutive blocks taking consecutive inputs.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/gather/gather.h"

enum { MOST_PARTS = 64, MOST_OPEN_PARTS = 16 };  // a launch's arguments may take 4 KiB; of open sizes a part has many

static bool supports(const Site *site) {
  REQUIRE(site, dtype_kind(site->outputs[0].dtype) != KIND_STRING, "elements are strings");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "copies"};
  return 1;
}

static int most_parts(const Site *site) {
  bool open = false;
  for (int i = 0; i < site->node->input_count; i++) open |= desc_is_open(&site->inputs[i]);
  return open ? MOST_OPEN_PARTS : MOST_PARTS;
}

static double cost(const Site *site) { return cost_of_site(site, (int)ceil_div(site->node->input_count, most_parts(site))); }

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *y = &site->outputs[0];
  Arena *arena = out->arena;
  int axis = (int)node_int(site->node, "axis", 0), inputs = site->node->input_count, most = most_parts(site);
  Program *copy = program_new(arena, 1);
  program_output(copy, program_input(copy, 0, y->dtype));
  ElementwisePart *parts = arena_array(arena, ElementwisePart, MOST_PARTS);
  Extent at = extent_static(0), extent;
  if (desc_count(y) == 0) return OK;
  for (int i = 0; i < inputs;) {
    int count = 0, sources[MOST_PARTS];
    for (; i < inputs && count < most; at = extent_add(site->dims, at, extent), i++) {
      extent = desc_extent(&site->inputs[i], axis);
      TensorDesc *target = arena_new_of(arena, TensorDesc);
      Extent *bases = arena_array(arena, Extent, 2);
      *target = desc_with_extent(arena, y, axis, extent);
      if (extent.now == 0 && !desc_is_open(target)) continue;
      bases[1] = extent_mul(site->dims, at, desc_stride(y, axis));
      sources[count] = i;
      parts[count++] = (ElementwisePart){copy, 1, 1, &site->inputs[i], target, bases, site->dims};
    }
    if (count == 0) continue;
    GeneratedKernel kernel;
    TRY(generate_elementwise_parts(count, parts, arena, &kernel));
    if (kernel.grid[0] == 0) continue;
    Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
    for (int k = 0; k < count; k++) {
      emit_buffer(out, launch, BUFFER_INPUT, sources[k]);
      emit_buffer(out, launch, BUFFER_OUTPUT, 0);
    }
    emit_arguments(out, launch, &kernel.arguments);
  }
  return OK;
}

const Implementation cuda_concat = {
    .name = "concat",
    .backend = BACKEND_CUDA,
    .op = &op_concat,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
