// Resampling: Resize and its forerunner Upsample, GridSample and AffineGrid.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

// One entry for each axis of the input.
typedef struct Plan {
  Dim dims[MAX_RANK];
  double scales[MAX_RANK];
  float roi[2 * MAX_RANK];
  bool bad;      // a scale or extent makes no size
  bool by_size;  // scales are what sizes make them
} Plan;

static void plan_identity(const Value *x, Plan *plan) {
  plan->bad = plan->by_size = false;
  for (int i = 0; i < x->rank; i++) {
    plan->dims[i] = x->dims[i];
    plan->scales[i] = 1;
    plan->roi[i] = 0;
    plan->roi[i + MAX_RANK] = 1;
  }
}

// floor(size * scale) for scales such as 2, 1.5 and 0.25, whose products with any size that fits an axis are exact in float.
static bool scale_open_size(DimTable *table, Dim size, double scale, Dim *out) {
  enum { MAX_PARTS = 64, MAX_NUMERATOR = 1 << 8 };
  int parts = 1;
  while (parts < MAX_PARTS && scale * parts != floor(scale * parts)) parts *= 2;
  double numerator = scale * parts;
  if (numerator != floor(numerator) || (parts > 1 && numerator >= MAX_NUMERATOR)) return false;
  *out = dim_div(table, dim_mul(table, size, (Dim)numerator), parts);
  return true;
}

static bool plan_scale(DimTable *table, const Value *x, Plan *plan, int axis, double scale) {
  Dim size = x->dims[axis];
  double extent = (double)plan->roi[axis + MAX_RANK] - plan->roi[axis];
  plan->scales[axis] = scale;
  // In float, as ONNX's shape inference and its runtimes: 20 * 1.3f is 26 only there.
  float wanted = dim_is_static(size) ? floorf((float)size * (float)extent * (float)scale) : 0;
  if (!(scale > 0) || !(extent >= 0) || !(extent * scale < 0x1p31) || !(wanted < 0x1p40)) plan->bad = true;
  else if (dim_is_static(size)) plan->dims[axis] = (Dim)wanted;
  else return scale_open_size(table, size, scale * extent, &plan->dims[axis]);
  return true;
}

static void plan_size(const Value *x, Plan *plan, int axis, Dim size) {
  plan->dims[axis] = size;
  if (dim_is_static(size) && dim_is_static(x->dims[axis])) plan->scales[axis] = (double)size / (double)x->dims[axis];
}

static bool sizes_are_known(const Value *x, const Plan *plan) {
  bool known = true;
  for (int i = 0; i < x->rank; i++) known = known && dim_is_static(x->dims[i]) && dim_is_static(plan->dims[i]);
  return known;
}

// "not_larger" and "not_smaller" give all axes one scale.
static void plan_keep_aspect(const Value *x, Plan *plan, const int64_t *axes, int count, bool larger) {
  double scale = larger ? 0 : HUGE_VAL;
  for (int i = 0; i < count; i++) {
    int axis = axes ? (int)axes[i] : i;
    scale = larger ? MAX(scale, plan->scales[axis]) : MIN(scale, plan->scales[axis]);
  }
  for (int i = 0; i < count; i++) {
    int axis = axes ? (int)axes[i] : i;
    double size = floor(scale * (double)x->dims[axis] + 0.5);
    plan->scales[axis] = scale;
    if (size >= 0 && size < 0x1p40) plan->dims[axis] = (Dim)size;
    else plan->bad = true;
  }
}

static Status emit_resize(Translation *t, const Plan *plan, const char *coordinates, const char *nearest) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *roi = NULL;
  bool crops = strcmp(coordinates, "tf_crop_and_resize") == 0, same = !crops;
  if (plan->bad) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "a scale is not positive or far too large");
  for (int i = 0; i < x->rank; i++) same &= plan->dims[i] == x->dims[i] && (plan->by_size || plan->scales[i] == 1);
  if (same) {
    t->outputs[0] = x;
    return OK;
  }
  if (crops) {
    Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
    TRY(tensor_new(t->graph->arena, DTYPE_F32, 1, (int64_t[]){2 * x->rank}, tensor));
    memcpy(tensor->data, plan->roi, sizeof(float) * (size_t)x->rank);
    memcpy((float *)tensor->data + x->rank, plan->roi + MAX_RANK, sizeof(float) * (size_t)x->rank);
    roi = build_constant(&b, tensor);
  }
  const char *mode = node_string(t->attributes, "mode", "nearest");
  if (strcmp(mode, "bilinear") == 0 || strcmp(mode, "trilinear") == 0) mode = "linear";
  Node *node = node_start(&b, "resize", roi ? 2 : 1, (Value *[]){x, roi}, 1);
  node_set_string(node, "mode", mode);
  node_set_string(node, "coordinates", coordinates);
  node_set_string(node, "nearest", nearest);
  if (!plan->by_size) node_set_floats(node, "scales", plan->scales, x->rank);
  node_set_dims(node, "dims", plan->dims, x->rank);
  node_set_float(node, "cubic_a", node_float(t->attributes, "cubic_coeff_a", -0.75));
  node_set_float(node, "extrapolation", node_float(t->attributes, "extrapolation_value", 0));
  node_set_int(node, "exclude_outside", node_int(t->attributes, "exclude_outside", 0));
  node_set_int(node, "antialias", node_int(t->attributes, "antialias", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

static Status scale_all(Translation *t, Plan *plan, const double *scales, int count) {
  if (count != t->inputs[0]->rank)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d scales for an input of rank %d", count, t->inputs[0]->rank);
  plan_identity(t->inputs[0], plan);
  for (int i = 0; i < count; i++)
    if (!plan_scale(t->graph->dims, t->inputs[0], plan, i, scales[i])) t->deferred = true;
  return OK;
}

// Upsample and Resize 10: positions are index / scale. Version 10 leaves open how nearest rounds; its implementations round down where an
// axis grows and up where it shrinks.
static Status upsample(Translation *t) {
  Plan plan;
  double scales[MAX_RANK];
  int count;
  if (t->opset >= 9) {
    const Tensor *tensor;
    NEED_CONSTANT(t, 1, &tensor);
    count = (int)tensor_count(tensor);
    for (int i = 0; i < MIN(count, MAX_RANK); i++) scales[i] = tensor_get_f(tensor, i);
    TRY(scale_all(t, &plan, scales, count));
  } else if (t->opset >= 7) {
    const double *given = node_floats(t->attributes, "scales", &count);
    TRY(scale_all(t, &plan, given, count));
  } else {
    double both[] = {1, 1, node_float(t->attributes, "height_scale", 1), node_float(t->attributes, "width_scale", 1)};
    TRY(scale_all(t, &plan, both, 4));
  }
  return t->deferred ? OK : emit_resize(t, &plan, "asymmetric", "simple");
}

static Status resize(Translation *t) {
  Value *x = t->inputs[0];
  int axis_count, count;
  const int64_t *given = node_ints(t->attributes, "axes", &axis_count);
  int64_t *axes = NULL;
  if (given) {
    axes = arena_copy(t->graph->arena, given, sizeof *given * (size_t)axis_count);
    TRY(normalise_axes(t, axes, axis_count, x->rank));
  } else {
    axis_count = x->rank;
  }
  Plan plan;
  plan_identity(x, &plan);
  const char *coordinates = node_string(t->attributes, "coordinate_transformation_mode", "half_pixel");
  if (strcmp(coordinates, "tf_crop_and_resize") == 0) {
    const Tensor *roi;
    NEED_CONSTANT(t, 1, &roi);
    if (tensor_count(roi) != 2 * axis_count)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "roi has %lld values", (long long)tensor_count(roi));
    for (int i = 0; i < axis_count; i++) {
      int axis = axes ? (int)axes[i] : i;
      plan.roi[axis] = (float)tensor_get_f(roi, i);
      plan.roi[axis + MAX_RANK] = (float)tensor_get_f(roi, i + axis_count);
    }
  }
  if (translate_has(t, 3)) {
    const Dim *sizes;
    NEED_SIZES(t, 3, &sizes, &count, 0);
    if (count != axis_count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "sizes has %d values", count);
    for (int i = 0; i < count; i++) plan_size(x, &plan, axes ? (int)axes[i] : i, sizes[i]);
    const char *policy = node_string(t->attributes, "keep_aspect_ratio_policy", "stretch");
    plan.by_size = strcmp(policy, "stretch") == 0;
    t->deferred = !plan.by_size && !sizes_are_known(x, &plan);
    if (!plan.by_size && !t->deferred) plan_keep_aspect(x, &plan, axes, count, strcmp(policy, "not_smaller") == 0);
  } else {
    const Tensor *scales;
    NEED_CONSTANT(t, 2, &scales);
    if (tensor_count(scales) != axis_count)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "scales has %lld values", (long long)tensor_count(scales));
    for (int i = 0; i < axis_count; i++)
      if (!plan_scale(t->graph->dims, x, &plan, axes ? (int)axes[i] : i, tensor_get_f(scales, i))) t->deferred = true;
  }
  if (t->deferred) return OK;
  return emit_resize(t, &plan, coordinates, node_string(t->attributes, "nearest_mode", "round_prefer_floor"));
}

Status translate_grid_sample(Translation *t) {
  Builder b = translate_begin(t);
  const char *mode = node_string(t->attributes, "mode", "linear");
  if (strcmp(mode, "bilinear") == 0) mode = "linear";
  if (strcmp(mode, "bicubic") == 0) mode = "cubic";
  Node *node = node_start(&b, "grid_sample", 2, t->inputs, 1);
  node_set_string(node, "mode", mode);
  node_set_string(node, "padding", node_string(t->attributes, "padding_mode", "zeros"));
  node_set_int(node, "align_corners", node_int(t->attributes, "align_corners", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

// grid[n, ..., :] = theta[n] * (x, y, [z,] 1): a sum over theta's columns, each spread over the grid. x runs along the last axis.
static Status affine_grid(Translation *t) {
  Builder b = translate_begin(t);
  Value *theta = t->inputs[0], *columns[4];
  const Dim *size;
  int count;
  NEED_SIZES(t, 1, &size, &count, 4);
  int axes = count - 2, rank = axes + 2;
  if ((axes != 2 && axes != 3) || theta->rank != 3)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size has %d values, expected 4 or 5", count);
  Dim spread[MAX_RANK], dims[MAX_RANK];
  for (int i = 0; i < rank; i++) {
    spread[i] = 1;
    dims[i] = i == 0 ? size[0] : i == rank - 1 ? axes : size[i + 1];
  }
  spread[0] = theta->dims[0];
  spread[rank - 1] = axes;
  DType dtype = theta->dtype;
  bool corners = node_int(t->attributes, "align_corners", 0) != 0;
  Program *p = program_new(t->graph->arena, axes + 1);
  int sum = program_input(p, axes, dtype);
  for (int i = 0; i <= axes; i++) columns[i] = build_reshape(&b, build_slice_axis(&b, theta, 2, i, 1), rank, spread);
  for (int i = 0; i < axes; i++) {
    int along = axes - i, one = program_const(p, dtype, 1), two = program_const(p, dtype, 2);
    int at = program_index(p, dtype, along), extent = program_extent(p, dtype, along);
    int top = op2(p, OP_mul, at, two);
    if (corners) extent = op2(p, OP_sub, extent, one);
    else top = op2(p, OP_add, top, one);
    int position = op2(p, OP_sub, op2(p, OP_div, top, extent), one);
    sum = op2(p, OP_add, sum, op2(p, OP_mul, program_input(p, i, dtype), position));
  }
  program_output(p, sum);
  t->outputs[0] = build_elementwise_over(&b, p, axes + 1, columns, rank, dims);
  return translate_end(t, &b);
}

const OnnxOp onnx_resize_ops[] = {
    {"", "Upsample", 1, 9, 1, 2, 1, 1, upsample},       {"", "Resize", 10, 10, 2, 2, 1, 1, upsample},
    {"", "Resize", 11, 0, 1, 4, 1, 1, resize},          {"", "GridSample", 16, 0, 2, 2, 1, 1, translate_grid_sample},
    {"", "AffineGrid", 20, 0, 2, 2, 1, 1, affine_grid}, {0},
};
