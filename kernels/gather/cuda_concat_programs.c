// A concatenation with pointwise programs behind it (kernels/behind.h), as one step: what each part brings is read once, copied into its place where the whole is wanted too, and worked on. What
// programs read beside the concatenation is broadcast, or cut along with it. Where concatenations and slices make its operands, each box of theirs (assembly.h) goes to its place at once.
#include "kernels/behind.h"
#include "base/checked.h"
#include "kernels/control/region.h"
#include "kernels/gather/assembly.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"
#include "kernels/program/generate.h"

// Pointers: of the 4 KiB that a launch's arguments may take. Of open sizes there are more arguments than pointers.
enum { MOST_PARTS = 64, MOST_POINTERS = 400, MOST_OPEN_PARTS = 16, MOST_OPEN_POINTERS = 64 };

typedef struct Joined {
  Behind behind;
  int axis, parts;
  AssemblyBox boxes[MOST_BOXES];  // of one that is assembled
  int count;
} Joined;

static bool is_operand(const void *context, const Value *value) { return region_input(context, value) >= 0; }

static bool find_boxes(const Site *site, Joined *out) {
  const Graph *body = region_body(site->node);
  if (!out->behind.assembled) return true;
  REQUIRE(site, !site_is_open(site), "sizes of what is cut and joined again are open");
  out->count = assembly_boxes(out->behind.anchor->outputs[0], is_operand, body, out->boxes);
  REQUIRE(site, out->count >= 0, "it is put together from more boxes than a launch has parts");
  for (int i = 0; i < out->count; i++)
    REQUIRE(site, region_input(body, out->boxes[i].from) >= 0, "it holds what is made inside");
  return true;
}

static bool describe(const Site *site, Arena *arena, Joined *out) {
  if (!behind_read(site, &op_concat, arena, &out->behind)) return false;
  out->axis = (int)node_int(out->behind.anchor, "axis", 0);
  out->parts = out->behind.operands;
  REQUIRE(site, 2 * (out->parts + out->behind.beside) <= MOST_POINTERS, "it has more operands than a launch's arguments");
  return find_boxes(site, out);
}

static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  Joined joined;
  bool takes = describe(site, scratch, &joined);
  arena_free(scratch);
  return takes;
}

// The tensor's part from `at` on along the result's axis; where it is the same all along, itself. An axis of one that is open is no broadcast where the result's is open too: other calls have more of both.
static Extent cut(const Site *site, const TensorDesc *desc, int axis, Extent at, Extent extent, Arena *arena, TensorDesc *out) {
  const TensorDesc *y = &site->outputs[0];
  int own = axis - (y->rank - desc->rank);
  *out = *desc;
  if (own < 0) return extent_static(0);
  Extent whole = desc_extent(y, axis);
  if (desc->dims[own] == 1 && !(desc_extent(desc, own).open && whole.open && whole.now == 1)) return extent_static(0);
  *out = desc_with_extent(arena, desc, own, extent);
  return extent_mul(site->dims, at, desc_stride(desc, own));
}

static void fill_part(const Site *site, const Joined *joined, int source, Extent at, Arena *arena, ElementwisePart *part) {
  int inputs = 1 + joined->behind.beside, outputs = site->node->output_count;
  const TensorDesc *x = &site->inputs[source];
  TensorDesc *descs = arena_array(arena, TensorDesc, (size_t)(inputs + outputs));
  Extent *bases = arena_array(arena, Extent, (size_t)(inputs + outputs)), extent = desc_extent(x, joined->axis);
  descs[0] = *x;
  for (int i = 1; i < inputs + outputs; i++) {
    const TensorDesc *whole = i < inputs ? &site->inputs[joined->parts + i - 1] : &site->outputs[i - inputs];
    bases[i] = cut(site, whole, joined->axis, at, extent, arena, &descs[i]);
  }
  *part = (ElementwisePart){joined->behind.program, inputs, outputs, descs, descs + inputs, bases, site->dims};
}

// The tensor's part that belongs to a box of the result, or of what brings it.
static Extent cut_box(const TensorDesc *desc, int rank, const int64_t *at, const int64_t *dims, TensorDesc *out) {
  int64_t base = 0;
  *out = *desc;
  for (int own = 0; own < desc->rank; own++) {
    int axis = own + rank - desc->rank;
    if (desc->dims[own] == 1) continue;
    out->dims[own] = dims[axis];
    base += at[axis] * desc->strides[own];
  }
  return extent_static(base);
}

static void fill_box(const Site *site, const Joined *joined, const AssemblyBox *box, int source, Arena *arena,
                     ElementwisePart *part) {
  int inputs = 1 + joined->behind.beside, outputs = site->node->output_count, rank = site->outputs[0].rank;
  TensorDesc *descs = arena_array(arena, TensorDesc, (size_t)(inputs + outputs));
  Extent *bases = arena_array(arena, Extent, (size_t)(inputs + outputs));
  bases[0] = cut_box(&site->inputs[source], rank, box->at, box->dims, &descs[0]);
  for (int i = 1; i < inputs + outputs; i++) {
    const TensorDesc *whole = i < inputs ? &site->inputs[joined->parts + i - 1] : &site->outputs[i - inputs];
    bases[i] = cut_box(whole, rank, box->to, box->dims, &descs[i]);
  }
  *part = (ElementwisePart){joined->behind.program, inputs, outputs, descs, descs + inputs, bases, site->dims};
}

static Status emit(const Site *site, const Joined *joined, int count, const ElementwisePart *parts, const int *sources,
                   Emission *out) {
  GeneratedKernel kernel;
  TRY(generate_elementwise_parts(count, parts, out->arena, &kernel));
  if (kernel.grid[0] == 0) return OK;
  Launch *launch = emit_kernel(out, kernel.source, kernel.entry, kernel.grid, kernel.block);
  for (int k = 0; k < count; k++) {
    emit_buffer(out, launch, BUFFER_INPUT, sources[k]);
    for (int i = 0; i < joined->behind.beside; i++) emit_buffer(out, launch, BUFFER_INPUT, joined->parts + i);
    for (int i = 0; i < site->node->output_count; i++) emit_buffer(out, launch, BUFFER_OUTPUT, i);
  }
  emit_arguments(out, launch, &kernel.arguments);
  return OK;
}

static int most_parts(const Site *site, const Joined *joined) {
  int pointers = 1 + joined->behind.beside + site->node->output_count;
  bool open = false;
  for (int i = 0; i < site_input_count(site); i++) open |= desc_is_open(&site->inputs[i]);
  return open ? MAX(1, MIN(MOST_OPEN_PARTS, MOST_OPEN_POINTERS / pointers)) : MIN(MOST_PARTS, MOST_POINTERS / pointers);
}

static Status lower_boxes(const Site *site, const Joined *joined, Emission *out) {
  ElementwisePart parts[MOST_PARTS];
  int sources[MOST_PARTS], most = most_parts(site, joined);
  for (int first = 0; first < joined->count; first += most) {
    int count = MIN(most, joined->count - first);
    for (int i = 0; i < count; i++) {
      sources[i] = region_input(region_body(site->node), joined->boxes[first + i].from);
      fill_box(site, joined, &joined->boxes[first + i], sources[i], out->arena, &parts[i]);
    }
    TRY(emit(site, joined, count, parts, sources, out));
  }
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Joined joined;
  if (!describe(site, out->arena, &joined)) FAIL(ERROR_UNSUPPORTED, "it is no concatenation with programs behind");
  ElementwisePart parts[MOST_PARTS];
  int sources[MOST_PARTS], count = 0, most = most_parts(site, &joined);
  Extent at = extent_static(0), extent;
  if (desc_count(&site->outputs[0]) == 0) return OK;
  if (joined.behind.assembled) return lower_boxes(site, &joined, out);
  for (int i = 0; i < joined.parts; at = extent_add(site->dims, at, extent), i++) {
    extent = desc_extent(&site->inputs[i], joined.axis);
    if (extent.now == 0 && !(extent.open && site->outputs[0].open)) continue;
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
    .writes_anywhere = true,
    .supports = supports,
    .ways = one_way,
    .lower = lower,
};
