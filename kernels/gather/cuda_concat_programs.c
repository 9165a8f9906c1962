// A concatenation with pointwise programs behind it (kernels/behind.h), as one step: what each part brings is read once, copied into its place where the whole is wanted too, and worked on. What
// programs read beside the concatenation is broadcast, or cut along with it.
#include "kernels/behind.h"
#include "kernels/control/region.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"
#include "kernels/program/generate.h"

enum { MOST_PARTS = 64, MOST_POINTERS = 400 };  // pointers: of the 4 KiB that a launch's arguments may take

typedef struct Joined {
  Behind behind;
  int axis, parts;
} Joined;

static bool describe(const Site *site, Arena *arena, Joined *out) {
  if (!behind_read(site, &op_concat, arena, &out->behind)) return false;
  out->axis = (int)node_int(out->behind.anchor, "axis", 0);
  out->parts = out->behind.operands;
  return 2 * (out->parts + out->behind.beside) <= MOST_POINTERS;
}

static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  Joined joined;
  bool takes = describe(site, scratch, &joined);
  arena_free(scratch);
  return takes;
}

// The tensor's part from `at` on along the result's axis; where it is the same all along, itself.
static int64_t cut(const TensorDesc *desc, const TensorDesc *y, int axis, int64_t at, int64_t extent, TensorDesc *out) {
  int own = axis - (y->rank - desc->rank);
  *out = *desc;
  if (own < 0 || desc->dims[own] == 1) return 0;
  out->dims[own] = extent;
  out->constant = NULL;
  out->offset += at * desc->strides[own];
  return at * desc->strides[own];
}

static void fill_part(const Site *site, const Joined *joined, int source, int64_t at, Arena *arena, ElementwisePart *part) {
  int inputs = 1 + joined->behind.beside, outputs = site->node->output_count;
  const TensorDesc *x = &site->inputs[source], *y = &site->outputs[0];
  TensorDesc *descs = arena_array(arena, TensorDesc, (size_t)(inputs + outputs));
  int64_t *bases = arena_array(arena, int64_t, (size_t)(inputs + outputs)), extent = x->dims[joined->axis];
  descs[0] = *x;
  for (int i = 1; i < inputs; i++) bases[i] = cut(&site->inputs[joined->parts + i - 1], y, joined->axis, at, extent, &descs[i]);
  for (int i = 0; i < outputs; i++) bases[inputs + i] = cut(&site->outputs[i], y, joined->axis, at, extent, &descs[inputs + i]);
  *part = (ElementwisePart){joined->behind.program, inputs, outputs, descs, descs + inputs, bases};
}

static Status emit(const Site *site, const Joined *joined, int count, const ElementwisePart *parts, const int *sources,
                   Emission *out) {
  GeneratedKernel kernel;
  TRY(generate_elementwise_parts(count, parts, out->arena, &kernel));
  Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
  for (int k = 0; k < count; k++) {
    emit_buffer(out, launch, BUFFER_INPUT, sources[k]);
    for (int i = 0; i < joined->behind.beside; i++) emit_buffer(out, launch, BUFFER_INPUT, joined->parts + i);
    for (int i = 0; i < site->node->output_count; i++) emit_buffer(out, launch, BUFFER_OUTPUT, i);
  }
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Joined joined;
  if (!describe(site, out->arena, &joined)) FAIL(ERROR_UNSUPPORTED, "it is no concatenation with programs behind");
  ElementwisePart parts[MOST_PARTS];
  int sources[MOST_PARTS], count = 0,
                           most = MIN(MOST_PARTS, MOST_POINTERS / (1 + joined.behind.beside + site->node->output_count));
  int64_t at = 0;
  for (int i = 0; i < joined.parts; at += site->inputs[i++].dims[joined.axis]) {
    if (desc_count(&site->inputs[i]) == 0) continue;
    if (count == most) {
      TRY(emit(site, &joined, count, parts, sources, out));
      count = 0;
    }
    fill_part(site, &joined, i, at, out->arena, &parts[count]);
    sources[count++] = i;
  }
  return count ? emit(site, &joined, count, parts, sources, out) : OK;
}

const Implementation cuda_concat_programs = {
    .name = "concat_programs",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .supports = supports,
    .ways = one_way,
    .lower = lower,
};
