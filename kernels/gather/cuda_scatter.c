// The scatters: a copy of x, then the updates. Several updates may meet at one place, and then they apply in order; threads run in any
// order, so the order is made explicit. For every place one update is in charge: the last one that points there if updates
// replace, otherwise the first, whose thread walks all later ones and combines those that point there too. Sums of floats therefore
// do not vary from run to run. scatter_elements finds the one in charge by looking along the axis; scatter_nd keeps the number of
// the one in charge for each place in the workspace (a minimum or maximum, which atomics make in any order).
// Traffic: x twice, updates once; the walk costs the square of the number of updates a place might get, which is meant for the
// embedding-sized scatters of real models.
#include <string.h>
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/gather/gather.h"
#include "kernels/gather/index_check.h"

static bool supports(const Site *site) {
  DTypeKind kind = dtype_kind(site->inputs[0].dtype);
  REQUIRE(site, kind != KIND_STRING, "elements are strings");
  REQUIRE(site, kind != KIND_COMPLEX || strcmp(node_string(site->node, "reduction", "none"), "none") == 0,
          "complex numbers are not reduced");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "ordered"};
  return 1;
}

// A copy, and the updates.
static double cost(const Site *site) { return cost_of_site(site, 2); }

static const char *combiner(const Site *site) {
  const char *reduction = node_string(site->node, "reduction", "none");
  if (strcmp(reduction, "add") == 0) return "ScatterAdd";
  if (strcmp(reduction, "mul") == 0) return "ScatterMul";
  if (strcmp(reduction, "max") == 0) return "ScatterMax";
  if (strcmp(reduction, "min") == 0) return "ScatterMin";
  return NULL;
}

// `sum` (of the type sums are made in) combined with the update at `offset`. Bools combine as the integers 0 and 1.
static void add_combine(Text *text, const Site *site, const char *offset) {
  text_add(text, "sum = %s::combine(sum, (A)Element_%s::get(x2[%s]));\n", combiner(site), dtype_name(site->inputs[0].dtype),
           offset);
}
static const char *sum_type(const Site *site) {
  DType dtype = site->inputs[0].dtype;
  return dtype == DTYPE_BOOL ? "int" : value_type(accumulator_dtype(dtype));
}
static char *sum_stored(Arena *arena, const Site *site) {
  DType dtype = site->inputs[0].dtype;
  if (dtype == DTYPE_BOOL) return arena_string(arena, "Element_bool::set(sum != 0)");
  return stored_expression(arena, dtype, dtype, arena_printf(arena, "(%s)sum", value_type(dtype)));
}

// --- scatter_elements

static Status lower_elements(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1], *updates = &site->inputs[2], *y = &site->outputs[0];
  TRY(emit_copy(out, site, 0, 0));
  if (desc_count(indices) == 0) return OK;
  int axis = (int)node_int(site->node, "axis", 0);
  const char *other[MAX_RANK] = {0}, *target[MAX_RANK] = {0};
  other[axis] = "j";
  target[axis] = "at";
  bool replace = !combiner(site);
  Points points = points_begin(site, out->arena, "scatter", REPORT_PARAMETERS, indices, 1);
  Text *text = &points.body;
  const char *index = points_offset(&points, indices, NULL), *other_index = points_offset(&points, indices, other);
  const char *size = points_size(&points, desc_extent(x, axis), true);
  const char *length = points_size(&points, desc_extent(indices, axis), false);
  const char *to = points_offset(&points, y, target);
  text_add(&points.before, "#include \"kernels/gather/scatter.cuh\"\n");
  text_add(text, "  i64 at;\n  if (!find_index(x1[%s], %s, report, step, &at)) return;\n", index, size);
  text_add(text, replace ? "  for (int j = i%d + 1; j < %s; j++)\n" : "  for (int j = 0; j < i%d; j++)\n", axis, length);
  text_add(text, "    if (wrapped_index(x1[%s], %s) == at) return;\n", other_index, size);
  if (replace) {
    text_add(text, "  y0[%s] = x2[%s];\n", to, points_offset(&points, updates, NULL));
  } else {
    text_add(text, "  typedef %s A;\n  A sum = (A)Element_%s::get(x0[%s]);\n", sum_type(site), dtype_name(x->dtype),
             points_offset(&points, x, target));
    text_add(text, "  for (int j = i%d; j < %s; j++)\n    if (wrapped_index(x1[%s], %s) == at) ", axis, length, other_index,
             size);
    add_combine(text, site, points_offset(&points, updates, other));
    text_add(text, "  y0[%s] = %s;\n", to, sum_stored(out->arena, site));
  }
  emit_report(out, points_end(&points, out));
  return OK;
}

// --- scatter_nd

// Rows of updates: the indices without their last axis, and the slices they move, as a domain of two axes.
typedef struct Rows {
  const Site *site;
  Arena *arena;
  bool open;  // kernels take sizes as arguments
  KernelArguments arguments;
  int depth, index_axes;
  Extent rows, slice, places;
} Rows;

static Rows rows_of(const Site *site, Arena *arena) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1];
  Extent one = extent_static(1);
  Rows r = {.site = site, .arena = arena, .arguments = {.arena = arena}, .rows = one, .slice = one, .places = one};
  r.depth = (int)indices->dims[indices->rank - 1];
  r.index_axes = indices->rank - 1;
  for (int i = 0; i < r.index_axes; i++) r.rows = extent_mul(site->dims, r.rows, desc_extent(indices, i));
  for (int i = 0; i < x->rank; i++) {
    Extent *part = i < r.depth ? &r.places : &r.slice;
    *part = extent_mul(site->dims, *part, desc_extent(x, i));
  }
  r.open = desc_is_open(&site->outputs[0]);
  for (int i = 0; i < 3; i++) r.open |= desc_is_open(&site->inputs[i]);
  return r;
}

static const char *size_text(Rows *r, Extent extent) { return extent_text(&r->arguments, extent, true); }
static char *offset_of(Rows *r, const TensorDesc *desc, const char *const *names) {
  return desc_open_offset(r->arena, r->site->dims, &r->arguments, desc, names);
}

// Coordinates of a linear index over axes [first, end), the last fastest: names[i - first] is an expression of that along axis i.
static void name_coordinates(Rows *r, const TensorDesc *desc, int first, int end, const char *index, const char **names) {
  Extent inner = extent_static(1);
  for (int i = end - 1; i >= first; i--) {
    const char *step = size_text(r, inner), *extent = size_text(r, desc_extent(desc, i));
    names[i - first] = arena_printf(r->arena, "(%s / %s %% %s)", index, step, extent);
    inner = extent_mul(r->site->dims, inner, desc_extent(desc, i));
  }
}

// `place_of(x1, row, report, step)`: the number of the place that a row points to, -1 if outside.
static void add_place_of(Text *text, Rows *r) {
  const TensorDesc *x = &r->site->inputs[0], *indices = &r->site->inputs[1];
  const char *names[MAX_RANK] = {0}, *coordinates[MAX_RANK];
  text_add(text, "DEVICE i64 place_of(const Element_%s::Stored *x1, i64 row" REPORT_PARAMETERS "%s) {\n  i64 place = 0;\n",
           dtype_name(indices->dtype), r->open ? ", const Dims &dims" : "");
  name_coordinates(r, indices, 0, r->index_axes, "row", coordinates);
  for (int i = r->index_axes - 1; i >= 0; i--) text_add(text, "  const i64 i%d = %s;\n", i, coordinates[i]);
  for (int k = 0; k < r->depth; k++) {
    names[r->index_axes] = arena_printf(r->arena, "%d", k);
    const char *size = size_text(r, desc_extent(x, k));
    text_add(text, "  i64 at%d;\n  if (!find_index(x1[%s], %s, report, step, &at%d)) return -1;\n", k,
             offset_of(r, indices, names), size, k);
    text_add(text, "  place = place * %s + at%d;\n", size, k);
  }
  text_add(text, "  return place;\n}\n");
}

// Nobody is in charge: -1 loses every maximum, INT_MAX every minimum.
static void add_clear(Text *text, Rows *r) {
  text_add(text, "  const i64 place = (i64)blockIdx.x * %d + threadIdx.x;\n  if (place < %s) charge[place] = %s;\n",
           POINT_THREADS, size_text(r, r->places), combiner(r->site) ? "0x7fffffff" : "-1");
}

static void add_charge(Text *text, Rows *r) {
  text_add(text,
           "  const i64 row = (i64)blockIdx.x * %d + threadIdx.x;\n  if (row >= %s) return;\n  const i64 place = place_of(x1, "
           "row, report, step%s);\n  if (place >= 0) %s(charge + place, (int)row);\n",
           POINT_THREADS, size_text(r, r->rows), r->open ? ", dims" : "", combiner(r->site) ? "atomicMin" : "atomicMax");
}

static void add_updates(Text *text, Rows *r) {
  const Site *site = r->site;
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1], *updates = &site->inputs[2], *y = &site->outputs[0];
  const char *target[MAX_RANK] = {0}, *update[MAX_RANK] = {0}, *dims = r->open ? ", dims" : "";
  const char *points = size_text(r, extent_mul(site->dims, r->rows, r->slice)), *slice = size_text(r, r->slice);
  bool replace = !combiner(site);
  name_coordinates(r, x, 0, r->depth, "place", target);
  name_coordinates(r, x, r->depth, x->rank, "element", target + r->depth);
  name_coordinates(r, indices, 0, r->index_axes, replace ? "row" : "other", update);
  for (int i = r->depth; i < x->rank; i++) update[r->index_axes + i - r->depth] = target[i];
  const char *to = offset_of(r, y, target), *from = offset_of(r, updates, update);
  text_add(text, "  const i64 point = (i64)blockIdx.x * %d + threadIdx.x;\n  if (point >= %s) return;\n", POINT_THREADS,
           points);
  text_add(text, "  const i64 row = point / %s, element = point %% %s, place = place_of(x1, row, nullptr, 0%s);\n", slice,
           slice, dims);
  text_add(text, "  if (place < 0 || charge[place] != row) return;\n");
  if (replace) {
    text_add(text, "  y0[%s] = x2[%s];\n", to, from);
    return;
  }
  text_add(text, "  typedef %s A;\n  A sum = (A)Element_%s::get(x0[%s]);\n", sum_type(site), dtype_name(x->dtype),
           offset_of(r, x, target));
  text_add(text, "  for (i64 other = row; other < %s; other++)\n", size_text(r, r->rows));
  text_add(text, "    if (other == row || place_of(x1, other, nullptr, 0%s) == place) ", dims);
  add_combine(text, site, from);
  text_add(text, "  y0[%s] = %s;\n", to, sum_stored(r->arena, site));
}

// Its parameters are those of `opening`, then the sizes.
static void add_kernel(Text *text, const Rows *r, const Text *opening, const Text *body) {
  text_add(text, "extern \"C\" __global__ void %s", text_get(opening));
  if (r->open) kernel_arguments_parameters(text, &r->arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (r->open) kernel_arguments_gather(text, &r->arguments);
  text_add(text, "%s}\n", text_get(body));
}

static const char *source_of(Rows *r) {
  Text text = text_new(r->arena), place_of = text_new(r->arena), openings[3], bodies[3];
  for (int i = 0; i < 3; i++) openings[i] = bodies[i] = text_new(r->arena);
  add_place_of(&place_of, r);
  text_add(&openings[0], "scatter_clear(int *charge");
  add_clear(&bodies[0], r);
  text_add(&openings[1], "scatter_charge(const Element_%s::Stored *x1, int *charge" REPORT_PARAMETERS,
           dtype_name(r->site->inputs[1].dtype));
  add_charge(&bodies[1], r);
  text_add(&openings[2], "__launch_bounds__(%d) scatter(", POINT_THREADS);
  site_parameters(&openings[2], r->site);
  text_add(&openings[2], ", const int *charge");
  add_updates(&bodies[2], r);
  if (r->open) kernel_arguments_struct(&text, &r->arguments);
  text_add(&text, "#include \"kernels/gather/scatter.cuh\"\n%s", text_get(&place_of));
  for (int i = 0; i < 3; i++) add_kernel(&text, r, &openings[i], &bodies[i]);
  return text_get(&text);
}

static Launch *emit_points(Emission *out, const char *source, const char *entry, int64_t points) {
  return emit_kernel(out, source, entry, (unsigned[]){(unsigned)ceil_div(points, POINT_THREADS), 1, 1},
                     (unsigned[]){POINT_THREADS, 1, 1});
}

static Status lower_nd(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  TRY(emit_copy(out, site, 0, 0));
  Rows r = rows_of(site, out->arena);
  if (r.rows.now * r.slice.now == 0 || r.places.now == 0) return emit_index_check(out, site, 1, 0, r.depth);
  if (r.rows.now > INT32_MAX) FAIL(ERROR_UNSUPPORTED, "a scatter of %lld updates", (long long)r.rows.now);
  const char *source = source_of(&r);
  Launch *launch = emit_points(out, source, "scatter_clear", r.places.now);
  emit_workspace(out, launch, 0);
  emit_arguments(out, launch, &r.arguments);
  launch = emit_points(out, source, "scatter_charge", r.rows.now);
  emit_buffer(out, launch, BUFFER_INPUT, 1);
  emit_workspace(out, launch, 0);
  emit_report(out, launch);
  emit_arguments(out, launch, &r.arguments);
  launch = emit_points(out, source, "scatter", r.rows.now * r.slice.now);
  site_arguments(out, launch, site);
  emit_workspace(out, launch, 0);
  emit_arguments(out, launch, &r.arguments);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)r.places.now * sizeof(int));
  return OK;
}

const Implementation cuda_scatter_elements = {
    .name = "scatter_elements",
    .backend = BACKEND_CUDA,
    .op = &op_scatter_elements,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower_elements,
};
const Implementation cuda_scatter_nd = {
    .name = "scatter_nd",
    .backend = BACKEND_CUDA,
    .op = &op_scatter_nd,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower_nd,
};
