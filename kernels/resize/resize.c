// resize, as ONNX defines it. Per axis: a rule maps an output coordinate to a place in the input, a filter spreads that place
// over input elements; coordinates beyond the ends repeat the end element. Antialiasing stretches the filter when
// shrinking. The scale is the attribute's where given: it need not be out / in exactly.
#include "kernels/resize/resize.h"
#include <math.h>
#include <string.h>
#include "kernels/meaning.h"

typedef enum ResizeMode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC, RESIZE_MODES } ResizeMode;
static const char *const mode_names[RESIZE_MODES] = {"nearest", "linear", "cubic"};

typedef enum Coordinates {
  HALF_PIXEL,
  HALF_PIXEL_SYMMETRIC,
  PYTORCH_HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  TF_HALF_PIXEL_FOR_NN,
  TF_CROP_AND_RESIZE,
  COORDINATES
} Coordinates;
static const char *const coordinates_names[COORDINATES] = {"half_pixel",        "half_pixel_symmetric", "pytorch_half_pixel",
                                                           "align_corners",     "asymmetric",           "tf_half_pixel_for_nn",
                                                           "tf_crop_and_resize"};

typedef enum NearestRule { PREFER_FLOOR, PREFER_CEIL, TAKE_FLOOR, TAKE_CEIL, SIMPLE, NEAREST_RULES } NearestRule;
static const char *const nearest_names[NEAREST_RULES] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"};

static Status read_name(const Node *node, const char *attribute, const char *otherwise, int count, const char *const *names,
                        int *out) {
  const char *name = node_string(node, attribute, otherwise);
  for (*out = 0; *out < count; ++*out)
    if (strcmp(name, names[*out]) == 0) return OK;
  FAIL(ERROR_INVALID_MODEL, "unknown %s '%s'", attribute, name);
}

typedef struct ResizeRule {
  int mode, coordinates, nearest;
  double cubic_a;
  bool exclude_outside, antialias;
} ResizeRule;

static Status read_rule(const Node *node, ResizeRule *out) {
  *out = (ResizeRule){.cubic_a = node_float(node, "cubic_a", -0.75),
                      .exclude_outside = node_int(node, "exclude_outside", 0) != 0,
                      .antialias = node_int(node, "antialias", 0) != 0};
  TRY(read_name(node, "mode", "nearest", RESIZE_MODES, mode_names, &out->mode));
  TRY(read_name(node, "coordinates", "half_pixel", COORDINATES, coordinates_names, &out->coordinates));
  return read_name(node, "nearest", "round_prefer_floor", NEAREST_RULES, nearest_names, &out->nearest);
}

static Status infer_resize(Node *node) {
  Value *x, *roi;
  ResizeRule rule;
  const Dim *dims;
  int rank, scale_count;
  TRY(meaning_require(node, 0, &x));
  TRY(read_rule(node, &rule));
  TRY(meaning_dims(node, "dims", MAX_RANK, &dims, &rank));
  const double *scales = node_floats(node, "scales", &scale_count);
  if (rank != x->rank || (scales && scale_count != rank))
    FAIL(ERROR_INVALID_MODEL, "%d dims and %d scales for a tensor of rank %d", rank, scale_count, x->rank);
  for (int i = 0; i < scale_count; i++)
    if (!(scales[i] > 0)) FAIL(ERROR_INVALID_MODEL, "the scale of axis %d is %g", i, scales[i]);
  if (rule.coordinates == TF_CROP_AND_RESIZE) TRY(meaning_require_rank(node, 1, 1, &roi));
  if (rule.mode != RESIZE_NEAREST && (dtype_kind(x->dtype) == KIND_STRING || dtype_kind(x->dtype) == KIND_COMPLEX))
    FAIL(ERROR_INVALID_MODEL, "no %s resize of %s", mode_names[rule.mode], dtype_name(x->dtype));
  value_set_type(node->outputs[0], x->dtype, rank, dims);
  return OK;
}

// Places of the nearest modes are rounded to float at every step, as ONNX's evaluator and its runtimes have them: a place that is a tie, or a
// whole number, in float may lie on either side of it in double.
static double rounded(const ResizeRule *rule, double value) {
  return rule->mode == RESIZE_NEAREST ? (double)(float)value : value;
}

// The place in the input that output coordinate i shows.
static double place_of(const ResizeRule *rule, double scale, const ResizeAxis *axis, const double roi[2], double i) {
  scale = rounded(rule, scale);
  double in = (double)axis->in, out = (double)axis->out, length = rounded(rule, scale * in);  // out before it was rounded
  double scaled = rounded(rule, rounded(rule, i + 0.5) / scale), centred = rounded(rule, scaled - 0.5);
  switch (rule->coordinates) {
    case HALF_PIXEL_SYMMETRIC:
      return rounded(rule, rounded(rule, in / 2 * rounded(rule, 1 - rounded(rule, out / length))) + scaled) - 0.5;
    case PYTORCH_HALF_PIXEL: return length == 1 ? 0 : centred;
    case ALIGN_CORNERS: return length == 1 ? 0 : rounded(rule, rounded(rule, i * (in - 1)) / rounded(rule, length - 1));
    case ASYMMETRIC: return rounded(rule, i / scale);
    case TF_HALF_PIXEL_FOR_NN: return scaled;
    case TF_CROP_AND_RESIZE:
      if (length == 1) return (roi[0] + roi[1]) * (in - 1) / 2;
      return roi[0] * (in - 1) + i * (roi[1] - roi[0]) * (in - 1) / (length - 1);
    default: return centred;
  }
}

static double nearest_of(const ResizeRule *rule, double scale, double place) {
  switch (rule->nearest) {
    case PREFER_CEIL: return floor(place + 0.5);
    case TAKE_FLOOR: return floor(place);
    case TAKE_CEIL: return ceil(place);
    case SIMPLE: return scale < 1 ? ceil(place) : floor(place);
    default: return ceil(place - 0.5);
  }
}

// Filters, over distance in input elements.
static double linear_filter(double distance) { return fmax(0, 1 - fabs(distance)); }
static double cubic_filter(double distance, double a) {
  double x = fabs(distance);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

static Status new_table(const ResizeRule *rule, double shrink, int64_t in, int64_t out, Arena *arena, ResizeAxis *table) {
  double reach = rule->mode == RESIZE_CUBIC ? 2 : 1;
  double taps = rule->mode == RESIZE_NEAREST ? 1 : 2 * ceil(reach / shrink);
  if (in > INT32_MAX || out > INT32_MAX || taps > 1 << 24) FAIL(ERROR_UNSUPPORTED, "an axis is too long to resize");
  *table = (ResizeAxis){.in = in, .out = out, .taps = (int)taps};
  size_t count;
  void *index, *weight;
  if (!checked_mul((size_t)out, (size_t)table->taps, &count)) FAIL(ERROR_OUT_OF_MEMORY, "resize table");
  TRY(arena_try_alloc(arena, count * sizeof(int32_t) + 1, 16, &index));
  TRY(arena_try_alloc(arena, count * sizeof(double) + 1, 16, &weight));
  table->index = index;
  table->weight = weight;
  if (rule->coordinates == TF_CROP_AND_RESIZE) table->outside = arena_array(arena, bool, (size_t)out);
  return OK;
}

// Writes the taps of one output coordinate.
static void fill_taps(const ResizeRule *rule, double scale, double shrink, double place, const ResizeAxis *table,
                      int32_t *index, double *weight) {
  if (rule->mode == RESIZE_NEAREST) {
    double nearest = nearest_of(rule, scale, place);
    *index = (int32_t)fmin(fmax(nearest, 0), (double)(table->in - 1));
    *weight = 1;
    return;
  }
  // The taps are centred between floor and floor + 1; an integer place counts as the upper end of its interval.
  double base = ceil(place) - 1, sum = 0;
  for (int k = 0; k < table->taps; k++) {
    double at = base + 1 - table->taps / 2 + k, distance = (at - place) * shrink;
    double w = rule->mode == RESIZE_CUBIC ? cubic_filter(distance, rule->cubic_a) : linear_filter(distance);
    bool outside = at < 0 || at > (double)(table->in - 1);
    if (rule->exclude_outside && outside) w = 0;
    weight[k] = w;
    index[k] = (int32_t)fmin(fmax(at, 0), (double)(table->in - 1));
    sum += w;
  }
  if ((rule->exclude_outside || rule->antialias) && sum != 0)
    for (int k = 0; k < table->taps; k++) weight[k] /= sum;
}

static bool is_identity(const ResizeAxis *table) {
  if (table->in != table->out || table->outside) return false;
  for (int64_t i = 0; i < table->out; i++)
    for (int k = 0; k < table->taps; k++)
      if (table->weight[i * table->taps + k] != 0 && table->index[i * table->taps + k] != i) return false;
  return true;
}

Status resize_axis(const Node *node, int axis, int64_t in, int64_t out, const double roi[2], Arena *arena, ResizeAxis *table) {
  ResizeRule rule;
  int count;
  TRY(read_rule(node, &rule));
  const double *scales = node_floats(node, "scales", &count);
  double scale = scales && axis < count ? scales[axis] : in > 0 ? (double)out / (double)in : 1;
  double shrink = rule.antialias && rule.mode != RESIZE_NEAREST ? fmin(scale, 1) : 1;
  TRY(new_table(&rule, shrink, in, out, arena, table));
  if (in == 0) {
    if (out != 0) FAIL(ERROR_INVALID_MODEL, "axis %d is empty and cannot grow", axis);
    return OK;
  }
  for (int64_t i = 0; i < out; i++) {
    double place = place_of(&rule, scale, table, roi, (double)i);
    if (table->outside) table->outside[i] = place < 0 || place > (double)(in - 1);
    fill_taps(&rule, scale, shrink, place, table, table->index + i * table->taps, table->weight + i * table->taps);
  }
  table->identity = is_identity(table);
  return OK;
}

// ---- The reference

static Status all_tables(Reference *r, const int64_t *dims, ResizeAxis *tables) {
  const Tensor *x = r->inputs[0], *roi = reference_input(r, 1);
  for (int i = 0; i < x->rank; i++) {
    double region[2] = {0, 1};
    if (roi && tensor_count(roi) == 2 * x->rank) {
      region[0] = tensor_get_f(roi, i);
      region[1] = tensor_get_f(roi, x->rank + i);
    }
    TRY(resize_axis(r->node, i, x->dims[i], dims[i], region, r->arena, &tables[i]));
  }
  return OK;
}

// Moves elements as they are: any type.
static void resize_nearest(const Tensor *x, Tensor *out, const ResizeAxis *tables) {
  size_t size = dtype_size(x->dtype);
  int64_t index[MAX_RANK] = {0}, strides[MAX_RANK];
  char *to = out->data;
  dims_strides(x->rank, x->dims, strides);
  do {
    int64_t offset = 0;
    for (int i = 0; i < x->rank; i++) offset += tables[i].index[index[i]] * strides[i];
    memcpy(to, (const char *)x->data + (size_t)offset * size, size);
    to += size;
  } while (index_next(x->rank, out->dims, index));
}

static Status resize_filtered(Reference *r, Tensor *out, const ResizeAxis *tables) {
  const Tensor *x = r->inputs[0];
  const double *values;
  int64_t dims[MAX_RANK];
  TRY(reference_doubles(r, x, &values));
  memcpy(dims, x->dims, sizeof dims);
  for (int axis = 0; axis < x->rank; axis++) {
    const ResizeAxis *table = &tables[axis];
    if (table->identity) continue;
    AxisView view = axis_view(x->rank, dims, axis);
    void *memory;
    TRY(reference_scratch(r, sizeof(double), view.outer * table->out * view.inner, &memory));
    double *to = memory;
    for (int64_t o = 0; o < view.outer; o++)
      for (int64_t i = 0; i < table->out; i++, to += view.inner)
        for (int k = 0; k < table->taps; k++) {
          double weight = table->weight[i * table->taps + k];
          const double *from = values + (o * view.size + table->index[i * table->taps + k]) * view.inner;
          if (weight != 0)
            for (int64_t j = 0; j < view.inner; j++) to[j] += weight * from[j];
        }
    values = memory;
    dims[axis] = table->out;
  }
  reference_store_doubles(out, 0, tensor_count(out), values);
  return OK;
}

static void extrapolate(Tensor *out, const ResizeAxis *tables, double value) {
  int64_t index[MAX_RANK] = {0}, n = 0;
  do {
    bool outside = false;
    for (int i = 0; i < out->rank; i++) outside = outside || (tables[i].outside && tables[i].outside[index[i]]);
    if (outside) tensor_set_f(out, n, value);
    n++;
  } while (index_next(out->rank, out->dims, index));
}

static Status reference_resize(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *dims;
  int rank;
  ResizeRule rule;
  ResizeAxis tables[MAX_RANK];
  Tensor *out;
  TRY(read_rule(r->node, &rule));
  TRY(reference_dims(r, "dims", &dims, &rank));
  if (rank != x->rank) FAIL(ERROR_INVALID_MODEL, "%d dims for a tensor of rank %d", rank, x->rank);
  TRY(reference_output(r, 0, x->dtype, rank, dims, &out));
  if (tensor_count(out) == 0) return OK;
  TRY(all_tables(r, dims, tables));
  if (rule.mode == RESIZE_NEAREST) resize_nearest(x, out, tables);
  else TRY(resize_filtered(r, out, tables));
  if (rule.coordinates == TF_CROP_AND_RESIZE) extrapolate(out, tables, node_float(r->node, "extrapolation", 0));
  return OK;
}

static int64_t terms_of_resize(const Node *node) {
  const char *mode = node_string(node, "mode", "nearest");
  const Value *x = node->inputs[0], *y = node->outputs[0];
  int64_t taps = 1, each = !strcmp(mode, "cubic") ? 4 : !strcmp(mode, "linear") ? 2 : 1;
  for (int i = 0; i < y->rank; i++)
    if (x->dims[i] != y->dims[i]) taps *= each;
  return taps;
}

const OpDef op_resize = {
    .name = "resize",
    .help = "resampling along every axis, as ONNX's Resize",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"mode", ATTR_STRING, false},
                                          {"coordinates", ATTR_STRING, false},
                                          {"nearest", ATTR_STRING, false},
                                          {"scales", ATTR_FLOATS, false},
                                          {"dims", ATTR_DIMS, true},
                                          {"cubic_a", ATTR_FLOATS, false},
                                          {"extrapolation", ATTR_FLOATS, false},
                                          {"exclude_outside", ATTR_INTS, false},
                                          {"antialias", ATTR_INTS, false},
                                          {0}},
    .infer = infer_resize,
    .reference = reference_resize,
    .terms = terms_of_resize,
    .takes_epilogue = true,
    .image = IMAGE_FOLLOWS,
};
