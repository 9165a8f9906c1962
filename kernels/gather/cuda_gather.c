// The gathers: a thread for each output element, or for a few neighbours where a gathered slice is contiguous in both tensors. An index
// that is outside gives zeros, and is reported.
// Traffic: the output twice and the indices. Limit on the chip: memory bandwidth.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/gather/gather.h"
#include "kernels/gather/index_check.h"

static bool supports(const Site *site) {
  REQUIRE(site, dtype_kind(site->inputs[0].dtype) != KIND_STRING, "elements are strings");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

static Points begin(const Site *site, Emission *out, int vector) {
  Points points = points_begin(site, out->arena, "gather", REPORT_PARAMETERS, &site->outputs[0], vector);
  text_add(&points.before, "#include \"kernels/common/index.cuh\"\n");
  text_add(&points.body, "  typedef Element_%s::Stored T;\n  bool inside = true;\n  T zero = {};\n",
           dtype_name(site->outputs[0].dtype));
  return points;
}

// Reads an index and adds where it points; `name` is a variable of the text. names: of coordinates of the indices, NULL: i0, i1 ...
static void add_index(Points *points, const char *name, const char *const *names, int axis) {
  const TensorDesc *x = &points->site->inputs[0], *indices = &points->site->inputs[1];
  const char *offset = points_offset(points, indices, names);
  const char *size = points_size(points, desc_extent(x, axis), true);
  text_add(&points->body, "  i64 %s;\n  inside &= find_index(x1[%s], %s, report, step, &%s);\n", name, offset, size, name);
}

// names[i]: the coordinate of x along axis i.
static Status finish(Points *points, Emission *out, const char *const *names) {
  const char *from = points_offset(points, &points->site->inputs[0], names);
  const char *to = points_offset(points, points->domain, NULL);
  Text *text = &points->body;
  int vector = points->vector;
  if (vector == 1) {
    text_add(text, "  y0[%s] = inside ? x0[%s] : zero;\n", to, from);
  } else {
    text_add(text, "  Vector<T, %d> moved;\n  if (inside) moved = load_vector<%d>(x0 + (%s));\n  else\n", vector, vector, from);
    text_add(text, "    for (int i = 0; i < %d; i++) moved[i] = zero;\n  store_vector(y0 + (%s), moved);\n", vector, to);
  }
  emit_report(out, points_end(points, out));
  return OK;
}

// Axis `from` of x and `to` of y, which move together, both contiguous. Small tensors still spread over the chip; of open ones nobody knows whether they are.
static int shared_vector(const Site *site, int from, int to) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  if (points_inner_axis(site->dims, y) != to) return 1;
  int most = 16 / (int)MIN(dtype_size(x->dtype), 16), vector = desc_vector_width(site->dims, x, from, most);
  vector = desc_vector_width(site->dims, y, to, vector);
  while (vector > 1 && !desc_is_open(y) && desc_count(y) / vector < 4096) vector /= 2;
  return vector;
}

static Status lower_gather(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1], *y = &site->outputs[0];
  int axis = (int)node_int(site->node, "axis", 0), last = x->rank - 1;
  if (desc_count(y) == 0) return emit_index_check(out, site, 1, axis, 1);
  Points points = begin(site, out, axis == last ? 1 : shared_vector(site, last, y->rank - 1));
  const char *names[MAX_RANK], *index_names[MAX_RANK];
  for (int i = 0; i < indices->rank; i++) index_names[i] = arena_printf(out->arena, "i%d", axis + i);
  add_index(&points, "at", index_names, axis);
  for (int i = 0; i < x->rank; i++)
    names[i] = i == axis ? "at" : arena_printf(out->arena, "i%d", i < axis ? i : i + indices->rank - 1);
  return finish(&points, out, names);
}

static Status lower_gather_elements(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  if (desc_count(&site->outputs[0]) == 0) return OK;
  int axis = (int)node_int(site->node, "axis", 0);
  Points points = begin(site, out, 1);
  const char *names[MAX_RANK] = {0};
  add_index(&points, "at", NULL, axis);
  names[axis] = "at";
  return finish(&points, out, names);
}

static Status lower_gather_nd(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *indices = &site->inputs[1], *y = &site->outputs[0];
  int batch = (int)node_int(site->node, "batch_dims", 0), depth = (int)indices->dims[indices->rank - 1];
  if (desc_count(y) == 0) return emit_index_check(out, site, 1, batch, depth);
  int first_kept = batch + depth;
  Points points = begin(site, out, first_kept == x->rank ? 1 : shared_vector(site, x->rank - 1, y->rank - 1));
  const char *names[MAX_RANK] = {0}, *index_names[MAX_RANK] = {0};
  for (int k = 0; k < depth; k++) {
    index_names[indices->rank - 1] = arena_printf(out->arena, "%d", k);
    names[batch + k] = arena_printf(out->arena, "at%d", k);
    add_index(&points, names[batch + k], index_names, batch + k);
  }
  for (int i = first_kept; i < x->rank; i++) names[i] = arena_printf(out->arena, "i%d", indices->rank - 1 + i - first_kept);
  return finish(&points, out, names);
}

const Implementation cuda_gather = {
    .name = "gather",
    .backend = BACKEND_CUDA,
    .op = &op_gather,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower_gather,
};
const Implementation cuda_gather_elements = {
    .name = "gather_elements",
    .backend = BACKEND_CUDA,
    .op = &op_gather_elements,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower_gather_elements,
};
const Implementation cuda_gather_nd = {
    .name = "gather_nd",
    .backend = BACKEND_CUDA,
    .op = &op_gather_nd,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower_gather_nd,
};
