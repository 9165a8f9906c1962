// nonzero_reserved: three launches over pieces of the mask (nonzero.cuh). Sizes that are open are arguments.
// Traffic: the mask twice, the room for results once. Limit on the chip: memory bandwidth.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/sort/sort.h"

enum { THREADS = 256, PIECE = 2048 };  // as in nonzero.cuh

static bool supports(const Site *site) {
  const TensorDesc *mask = &site->inputs[0];
  REQUIRE(site, desc_is_row_major(mask), "the mask is not row-major");
  REQUIRE(site, desc_count(mask) < INT32_MAX - PIECE, "the mask has more elements than its indices count");
  return true;
}

// A mask that comes twice, and more than one launch.
static double cost(const Site *site) { return cost_of_site(site, 3); }

static void add_kernel(Text *text, const KernelArguments *arguments, const char *entry, const char *parameters,
                       const Text *body) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(%s", THREADS, entry, parameters);
  if (arguments->count) kernel_arguments_parameters(text, arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (arguments->count) kernel_arguments_gather(text, arguments);
  text_add(text, "%s}\n", text_get(body));
}

// The coordinates of element `at`, innermost first, each in its row of the result.
static void add_coordinates(Text *text, KernelArguments *arguments, const TensorDesc *mask) {
  text_add(text, "    u32 rest = at;\n");
  for (int axis = mask->rank - 1; axis >= 0; axis--) {
    Extent extent = desc_extent(mask, axis);
    const char *size = extent_text(arguments, extent, false);
    if (axis == 0) {
      text_add(text, "    y0[place] = rest;\n");
      continue;
    }
    text_add(text, "    {\n      const u32 outer = %s;\n", extent_divide(arguments, "rest", extent, false));
    text_add(text, "      y0[%d * found + place] = rest - outer * (u32)%s;\n      rest = outer;\n    }\n", axis, size);
  }
}

static const char *source_of(KernelArguments *arguments, const TensorDesc *mask, Extent count, Extent pieces) {
  Arena *arena = arguments->arena;
  Text text = text_new(arena), counting = text_new(arena), placing = text_new(arena), listing = text_new(arena);
  const char *n = extent_text(arguments, count, false), *all = extent_text(arguments, count, true);
  text_add(&counting, "  mask_count(x0, %s, counts);\n", n);
  text_add(&placing, "  mask_places(counts, %s, found);\n", extent_text(arguments, pieces, false));
  text_add(&listing, "  const u32 bits = mask_bits(x0, %s), first = mask_first();\n  const i64 found = *y1;\n", n);
  text_add(&listing, "  u32 total;\n  i64 place = counts[blockIdx.x] + mask_before(bits, &total);\n");
  text_add(&listing,
           "  for (int i = 0; i < MASK_ITEMS; i++) {\n    if (!(bits >> i & 1)) continue;\n    const u32 at = first + i;\n");
  add_coordinates(&listing, arguments, mask);
  text_add(&listing, "    place++;\n  }\n  clear_rest(y0, %d * found, %d * %s);\n", mask->rank, mask->rank, all);
  if (arguments->count) kernel_arguments_struct(&text, arguments);
  text_add(&text, "#include \"kernels/sort/nonzero.cuh\"\n");
  add_kernel(&text, arguments, "nonzero_count", "const u8 *x0, u32 *counts", &counting);
  add_kernel(&text, arguments, "nonzero_places", "u32 *counts, i64 *found", &placing);
  add_kernel(&text, arguments, "nonzero_list", "const u8 *x0, i64 *y0, const i64 *y1, const u32 *counts", &listing);
  return text_get(&text);
}

static Launch *emit(Emission *out, const char *source, const char *entry, int64_t blocks) {
  return emit_kernel(out, source, entry, (unsigned[]){(unsigned)blocks, 1, 1}, (unsigned[]){THREADS, 1, 1});
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *mask = &site->inputs[0];
  KernelArguments arguments = {.arena = out->arena, .table = site->dims};
  Extent count = extent_static(1);
  for (int i = 0; i < mask->rank; i++) count = extent_mul(site->dims, count, desc_extent(mask, i));
  Extent pieces = extent_ceil_div(site->dims, count, PIECE);
  const char *source = source_of(&arguments, mask, count, pieces);
  out->workspace_bytes = MAX(out->workspace_bytes, MAX((size_t)pieces.now, 1) * sizeof(uint32_t));
  Launch *launch;
  if (pieces.now) {
    launch = emit(out, source, "nonzero_count", pieces.now);
    emit_buffer(out, launch, BUFFER_INPUT, 0);
    emit_workspace(out, launch, 0);
    emit_arguments(out, launch, &arguments);
  }
  launch = emit(out, source, "nonzero_places", 1);
  emit_workspace(out, launch, 0);
  emit_buffer(out, launch, BUFFER_OUTPUT, 1);
  emit_arguments(out, launch, &arguments);
  if (!pieces.now) return OK;
  launch = emit(out, source, "nonzero_list", pieces.now);
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  emit_buffer(out, launch, BUFFER_OUTPUT, 0);
  emit_buffer(out, launch, BUFFER_OUTPUT, 1);
  emit_workspace(out, launch, 0);
  emit_arguments(out, launch, &arguments);
  return OK;
}

const Implementation cuda_nonzero = {
    .name = "nonzero",
    .backend = BACKEND_CUDA,
    .op = &op_nonzero_reserved,
    .general = true,
    .supports = supports,
    .ways = one_way,
    .cost = cost,
    .lower = lower,
};
