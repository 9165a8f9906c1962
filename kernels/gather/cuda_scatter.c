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
  return kind != KIND_STRING && (kind != KIND_COMPLEX || strcmp(node_string(site->node, "reduction", "none"), "none") == 0);
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
  Arena *arena = out->arena;
  TRY(emit_copy(out, site, 0, 0));
  if (desc_count(indices) == 0) return OK;
  int axis = (int)node_int(site->node, "axis", 0);
  const char *other[MAX_RANK] = {0}, *target[MAX_RANK] = {0};
  other[axis] = "j";
  target[axis] = "at";
  char *other_index = desc_offset(arena, indices, other);
  long long length = indices->dims[axis], size = x->dims[axis];
  bool replace = !combiner(site);
  Text text = text_new(arena);
  text_add(&text, "#include \"kernels/gather/scatter.cuh\"\n");
  points_open(&text, site, "scatter", REPORT_PARAMETERS, indices, 1);
  text_add(&text, "  i64 at;\n  if (!find_index(x1[%s], %lldll, report, step, &at)) return;\n",
           desc_offset(arena, indices, NULL), size);
  text_add(&text, replace ? "  for (int j = i%d + 1; j < %lld; j++)\n" : "  for (int j = 0; j < i%d; j++)\n", axis, length);
  text_add(&text, "    if (wrapped_index(x1[%s], %lldll) == at) return;\n", other_index, size);
  if (replace) {
    text_add(&text, "  y0[%s] = x2[%s];\n}\n", desc_offset(arena, y, target), desc_offset(arena, updates, NULL));
  } else {
    text_add(&text, "  typedef %s A;\n  A sum = (A)Element_%s::get(x0[%s]);\n", sum_type(site), dtype_name(x->dtype),
             desc_offset(arena, x, target));
    text_add(&text, "  for (int j = i%d; j < %lld; j++)\n    if (wrapped_index(x1[%s], %lldll) == at) ", axis, length,
             other_index, size);
    add_combine(&text, site, desc_offset(arena, updates, other));
    text_add(&text, "  y0[%s] = %s;\n}\n", desc_offset(arena, y, target), sum_stored(arena, site));
  }
  emit_report(out, points_launch(out, site, text_get(&text), "scatter", indices, 1));
  return OK;
}

// --- scatter_nd

// Rows of updates: the indices without their last axis, and the slices they move, as a domain of two axes.
typedef struct Rows {
  int depth, index_axes;
  int64_t rows, slice, places;
} Rows;

static Rows rows_of(const Site *site) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1];
  Rows r = {
      .depth = (int)indices->dims[indices->rank - 1], .index_axes = indices->rank - 1, .rows = 1, .slice = 1, .places = 1};
  for (int i = 0; i < r.index_axes; i++) r.rows *= indices->dims[i];
  for (int i = 0; i < x->rank; i++) *(i < r.depth ? &r.places : &r.slice) *= x->dims[i];
  return r;
}

// `place_of(x1, row, report, step)`: the number of the place that a row points to, -1 if outside.
static void add_place_of(Text *text, const Site *site, const Rows *r) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1];
  const char *names[MAX_RANK] = {0};
  text_add(text, "DEVICE i64 place_of(const Element_%s::Stored *x1, i64 row" REPORT_PARAMETERS ") {\n  i64 place = 0;\n",
           dtype_name(indices->dtype));
  int64_t inner = 1;
  for (int i = r->index_axes - 1; i >= 0; i--) {
    text_add(text, "  const i64 i%d = row / %lldll %% %lldll;\n", i, (long long)inner, (long long)MAX(indices->dims[i], 1));
    inner *= indices->dims[i];
  }
  for (int k = 0; k < r->depth; k++) {
    names[r->index_axes] = arena_printf(text->arena, "%d", k);
    text_add(text, "  i64 at%d;\n  if (!find_index(x1[%s], %lldll, report, step, &at%d)) return -1;\n", k,
             desc_offset(text->arena, indices, names), (long long)x->dims[k], k);
    text_add(text, "  place = place * %lldll + at%d;\n", (long long)x->dims[k], k);
  }
  text_add(text, "  return place;\n}\n");
}

// Coordinates of a place and of an element of its slice, as names of x's axes; of a row and the element, as names of the updates'.
static void add_names(Text *text, const Site *site, const Rows *r, const char *row, const char **target, const char **update) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1];
  int64_t inner = 1;
  for (int i = r->depth - 1; i >= 0; i--) {
    target[i] = arena_printf(text->arena, "(place / %lldll %% %lldll)", (long long)inner, (long long)MAX(x->dims[i], 1));
    inner *= x->dims[i];
  }
  inner = 1;
  for (int i = x->rank - 1; i >= r->depth; i--) {
    target[i] = arena_printf(text->arena, "(element / %lldll %% %lldll)", (long long)inner, (long long)MAX(x->dims[i], 1));
    update[r->index_axes + i - r->depth] = target[i];
    inner *= x->dims[i];
  }
  inner = 1;
  for (int i = r->index_axes - 1; i >= 0; i--) {
    update[i] =
        arena_printf(text->arena, "(%s / %lldll %% %lldll)", row, (long long)inner, (long long)MAX(indices->dims[i], 1));
    inner *= indices->dims[i];
  }
}

static unsigned blocks_for(int64_t points) { return (unsigned)ceil_div(points, POINT_THREADS); }

static Status lower_nd(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *updates = &site->inputs[2], *y = &site->outputs[0];
  Arena *arena = out->arena;
  TRY(emit_copy(out, site, 0, 0));
  Rows r = rows_of(site);
  if (r.rows * r.slice == 0 || r.places == 0) return emit_index_check(out, site, 1, x->dims, r.depth);
  if (r.rows > INT32_MAX) FAIL(ERROR_UNSUPPORTED, "a scatter of %lld updates", (long long)r.rows);
  bool replace = !combiner(site);
  const char *target[MAX_RANK] = {0}, *update[MAX_RANK] = {0};
  Text text = text_new(arena);
  text_add(&text, "#include \"kernels/gather/scatter.cuh\"\n");
  add_place_of(&text, site, &r);
  // Nobody is in charge: -1 loses every maximum, INT_MAX every minimum.
  text_add(&text,
           "extern \"C\" __global__ void scatter_clear(int *charge) {\n  begin_kernel();\n  const i64 place = (i64)blockIdx.x "
           "* %d + threadIdx.x;\n"
           "  if (place < %lldll) charge[place] = %s;\n}\n",
           POINT_THREADS, (long long)r.places, replace ? "-1" : "0x7fffffff");
  text_add(&text,
           "extern \"C\" __global__ void scatter_charge(const Element_%s::Stored *x1, int *charge" REPORT_PARAMETERS
           ") {\n  begin_kernel();\n  const i64 row = "
           "(i64)blockIdx.x * %d + threadIdx.x;\n"
           "  if (row >= %lldll) return;\n  const i64 place = place_of(x1, row, report, step);\n  if (place >= 0) %s(charge + "
           "place, "
           "(int)row);\n}\n",
           dtype_name(site->inputs[1].dtype), POINT_THREADS, (long long)r.rows, replace ? "atomicMax" : "atomicMin");
  text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d) scatter(", POINT_THREADS);
  site_parameters(&text, site);
  text_add(&text,
           ", const int *charge) {\n  begin_kernel();\n  const i64 point = (i64)blockIdx.x * %d + threadIdx.x;\n  if (point >= "
           "%lldll) return;\n",
           POINT_THREADS, (long long)(r.rows * r.slice));
  text_add(&text, "  const i64 row = point / %lldll, element = point %% %lldll, place = place_of(x1, row, nullptr, 0);\n",
           (long long)r.slice, (long long)r.slice);
  text_add(&text, "  if (place < 0 || charge[place] != row) return;\n");
  if (replace) {
    add_names(&text, site, &r, "row", target, update);
    text_add(&text, "  y0[%s] = x2[%s];\n}\n", desc_offset(arena, y, target), desc_offset(arena, updates, update));
  } else {
    add_names(&text, site, &r, "other", target, update);
    text_add(&text, "  typedef %s A;\n  A sum = (A)Element_%s::get(x0[%s]);\n", sum_type(site), dtype_name(x->dtype),
             desc_offset(arena, x, target));
    text_add(
        &text,
        "  for (i64 other = row; other < %lldll; other++)\n    if (other == row || place_of(x1, other, nullptr, 0) == place) ",
        (long long)r.rows);
    add_combine(&text, site, desc_offset(arena, updates, update));
    text_add(&text, "  y0[%s] = %s;\n}\n", desc_offset(arena, y, target), sum_stored(arena, site));
  }
  const char *source = text_get(&text);
  unsigned block[3] = {POINT_THREADS, 1, 1};
  Launch *launch = emit_kernel(out, source, "scatter_clear", (unsigned[]){blocks_for(r.places), 1, 1}, block);
  emit_workspace(out, launch, 0);
  launch = emit_kernel(out, source, "scatter_charge", (unsigned[]){blocks_for(r.rows), 1, 1}, block);
  emit_buffer(out, launch, BUFFER_INPUT, 1);
  emit_workspace(out, launch, 0);
  emit_report(out, launch);
  launch = emit_kernel(out, source, "scatter", (unsigned[]){blocks_for(r.rows * r.slice), 1, 1}, block);
  site_arguments(out, launch, site);
  emit_workspace(out, launch, 0);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)r.places * sizeof(int));
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
