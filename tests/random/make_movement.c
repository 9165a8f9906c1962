// What moves elements: concatenations (of slices, too), gathers by constants and by values, scatters, resizing, running sums, choices of the
// largest.
#include "tests/random/maker.h"

#include "base/checked.h"
#include "kernels/gather/gather.h"
#include "kernels/resize/resize.h"
#include "kernels/scan/scan.h"
#include "kernels/sort/sort.h"
#include "kernels/view/view.h"

static bool same_but(const Value *a, const Value *b, int axis) {
  if (a->dtype != b->dtype || a->rank != b->rank) return false;
  for (int k = 0; k < a->rank; k++)
    if (k != axis && a->dims[k] != b->dims[k]) return false;
  return true;
}

static bool concat(Maker *maker, int count, Value *const *parts, int axis) {
  Node *node = maker_node(maker, &op_concat, count, parts, 1);
  node_set_int(node, "axis", axis);
  return maker_finish(maker, node);
}

static bool make_concat(Maker *maker) {
  Value *parts[3] = {maker_pick(maker, NULL)};
  if (!parts[0] || !parts[0]->rank) return false;
  int axis = maker_below(maker, parts[0]->rank), count = 1;
  for (int tries = 0; tries < 8 && count < 3; tries++) {
    Value *other = maker_pick(maker, NULL);
    if (same_but(parts[0], other, axis)) parts[count++] = other;
  }
  return concat(maker, count, parts, axis);
}

static Value *part(Maker *maker, Value *x, int axis, Dim start, Dim size) {
  Dim starts[MAX_RANK] = {0}, dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int k = 0; k < x->rank; k++) steps[k] = 1, dims[k] = x->dims[k];
  starts[axis] = start;
  dims[axis] = size;
  Node *node = maker_node(maker, &op_slice, 1, &x, 1);
  node_set_dims(node, "starts", starts, x->rank);
  node_set_ints(node, "steps", steps, x->rank);
  node_set_dims(node, "dims", dims, x->rank);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

// In two parts, which may come together again, in either order.
static bool make_split(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x || !x->rank) return false;
  int axis = maker_below(maker, x->rank);
  if (!dim_is_static(x->dims[axis]) || x->dims[axis] < 2) return false;
  Dim at = 1 + maker_below(maker, (int)x->dims[axis] - 1);
  Value *parts[2] = {part(maker, x, axis, 0, at), part(maker, x, axis, at, x->dims[axis] - at)};
  if (!parts[0] || !parts[1] || maker_one_in(maker, 2)) return parts[0] && parts[1];
  bool swapped = maker_one_in(maker, 3);
  return concat(maker, 2, swapped ? (Value *[]){parts[1], parts[0]} : parts, axis);
}

// Constants or computed, within [-size, size).
static Value *draw_indices(Maker *maker, int64_t size, int rank, const int64_t *dims) {
  Builder b = {.graph = maker->graph};
  DType dtype = maker_one_in(maker, 3) ? DTYPE_I32 : DTYPE_I64;
  Value *indices = maker_one_in(maker, 3) ? maker_input(maker, dtype, rank, dims) : maker_constant(maker, dtype, rank, dims);
  indices = build_binary(&b, OP_mod, indices, build_scalar(&b, dtype, (double)size));
  status_free(b.status);
  return indices;
}

static Value *draw_indexed(Maker *maker, int *axis) {
  Value *x = maker_pick(maker, NULL);
  if (!x || !x->rank) return NULL;
  *axis = maker_below(maker, x->rank);
  return dim_is_static(x->dims[*axis]) && x->dims[*axis] > 0 ? x : NULL;
}

static bool make_gather(Maker *maker) {
  int axis, rank = maker_below(maker, 3);
  Value *x = draw_indexed(maker, &axis);
  int64_t dims[] = {1 + maker_below(maker, 3), 1 + maker_below(maker, 2)};
  if (!x) return false;
  Value *inputs[] = {x, draw_indices(maker, x->dims[axis], rank, dims)};
  Node *node = maker_node(maker, &op_gather, 2, inputs, 1);
  node_set_int(node, "axis", axis);
  return maker_finish(maker, node);
}

static bool make_by_element(Maker *maker) {
  int axis;
  Value *x = draw_indexed(maker, &axis);
  int64_t dims[MAX_RANK];
  if (!x || !value_get_dims(x, dims)) return false;
  dims[axis] = 1 + maker_below(maker, (int)dims[axis]);
  bool scatters = maker_one_in(maker, 3) && x->dtype != DTYPE_BOOL;
  if (scatters) dims[axis] = 1;  // which of two that meet wins is nobody's promise
  Value *inputs[] = {x, draw_indices(maker, x->dims[axis], x->rank, dims), NULL};
  if (scatters) inputs[2] = maker_constant(maker, x->dtype, x->rank, dims);
  Node *node = maker_node(maker, scatters ? &op_scatter_elements : &op_gather_elements, scatters ? 3 : 2, inputs, 1);
  node_set_int(node, "axis", axis);
  if (scatters) node_set_string(node, "reduction", maker_one_in(maker, 2) ? "none" : "add");
  return maker_finish(maker, node);
}

static bool make_resize(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  static const char *const modes[] = {"nearest", "nearest", "linear", "cubic"};
  static const char *const coordinates[] = {"half_pixel", "asymmetric", "align_corners"};
  if (!x) return false;
  Dim dims[MAX_RANK];
  for (int k = 0; k < x->rank; k++) dims[k] = x->dims[k];
  for (int k = 2; k < x->rank; k++)
    if (maker_one_in(maker, 2)) dims[k] = dim_mul(maker->graph->dims, x->dims[k], dim_constant(maker->graph->dims, 2));
  Node *node = maker_node(maker, &op_resize, 1, &x, 1);
  node_set_dims(node, "dims", dims, x->rank);
  double scales[MAX_RANK];
  for (int k = 0; k < x->rank; k++) scales[k] = dims[k] == x->dims[k] ? 1 : 2;
  if (maker_one_in(maker, 2)) node_set_floats(node, "scales", scales, x->rank);
  node_set_string(node, "mode", modes[maker_below(maker, COUNT_OF(modes))]);
  node_set_string(node, "coordinates", coordinates[maker_below(maker, COUNT_OF(coordinates))]);
  return maker_finish(maker, node);
}

static bool make_cumulative(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x || !x->rank) return false;
  Node *node = maker_node(maker, &op_cumulative, 1, &x, 1);
  node_set_string(node, "kind", maker_one_in(maker, 4) ? "prod" : "sum");
  node_set_int(node, "axis", maker_below(maker, x->rank));
  if (maker_one_in(maker, 3)) node_set_int(node, "reverse", 1);
  if (maker_one_in(maker, 3)) node_set_int(node, "exclusive", 1);
  return maker_finish(maker, node);
}

static bool make_topk(Maker *maker) {
  int axis;
  Value *x = draw_indexed(maker, &axis);
  if (!x || x->dtype == DTYPE_BOOL) return false;
  Node *node = maker_node(maker, &op_topk, 1, &x, 2);
  node_set_dims(node, "k", (Dim[]){1 + maker_below(maker, (int)x->dims[axis])}, 1);
  node_set_int(node, "axis", axis);
  node_set_int(node, "largest", maker_below(maker, 2));
  return maker_finish(maker, node);
}

const MakeRow movement_makes[] = {
    {"concat", 4, make_concat}, {"split", 4, make_split},
    {"gather", 3, make_gather}, {"by_element", 2, make_by_element},
    {"resize", 2, make_resize}, {"cumulative", 1, make_cumulative},
    {"topk", 1, make_topk},     {0},
};
