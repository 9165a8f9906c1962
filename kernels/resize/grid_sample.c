// grid_sample: x[N,C,spatial] read at places given by grid[N,out spatial,axes], whose coordinates run from -1 to 1 over x and come
// last axis first (x, y, z). Any number of spatial axes. A place outside is moved in (border, reflection) or reads zeros.
#include <math.h>
#include <string.h>
#include "base/budget.h"
#include "kernels/meaning.h"
#include "kernels/resize/resize.h"

typedef enum GridMode { GRID_LINEAR, GRID_NEAREST, GRID_CUBIC, GRID_MODES } GridMode;
typedef enum GridPadding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION, GRID_PADDINGS } GridPadding;
static const char *const mode_names[GRID_MODES] = {"linear", "nearest", "cubic"};
static const char *const padding_names[GRID_PADDINGS] = {"zeros", "border", "reflection"};

typedef struct GridSpec {
  GridMode mode;
  GridPadding padding;
  bool align_corners;
} GridSpec;

static Status read_spec(const Node *node, GridSpec *out) {
  const char *mode = node_string(node, "mode", "linear"), *padding = node_string(node, "padding", "zeros");
  *out = (GridSpec){GRID_MODES, GRID_PADDINGS, node_int(node, "align_corners", 0) != 0};
  for (int i = 0; i < GRID_MODES; i++)
    if (strcmp(mode, mode_names[i]) == 0) out->mode = (GridMode)i;
  for (int i = 0; i < GRID_PADDINGS; i++)
    if (strcmp(padding, padding_names[i]) == 0) out->padding = (GridPadding)i;
  if (out->mode == GRID_MODES) FAIL(ERROR_INVALID_MODEL, "unknown mode '%s'", mode);
  if (out->padding == GRID_PADDINGS) FAIL(ERROR_INVALID_MODEL, "unknown padding '%s'", padding);
  return OK;
}

static Status infer_grid_sample(Node *node) {
  Value *x, *grid;
  GridSpec spec;
  Dim dims[MAX_RANK], same;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_require_rank(node, 1, x->rank, &grid));
  TRY(read_spec(node, &spec));
  if (x->rank < 3 || !dtype_is_float(grid->dtype))
    FAIL(ERROR_INVALID_MODEL, "input of rank %d, grid of %s", x->rank, dtype_name(grid->dtype));
  TRY(meaning_same_dim(node, "batches", x->dims[0], grid->dims[0], &dims[0]));
  TRY(meaning_same_dim(node, "grid coordinates", grid->dims[x->rank - 1], x->rank - 2, &same));
  dims[1] = x->dims[1];
  for (int i = 2; i < x->rank; i++) dims[i] = grid->dims[i - 1];
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  return OK;
}

static double reflect(double at, double low, double high) {
  double range = high - low;
  if (range <= 0) return low;
  double distance = fabs(at - low), turns = floor(distance / range), rest = distance - turns * range;
  return fmod(turns, 2) == 0 ? low + rest : high - rest;
}

// The element that an integer coordinate shows; -1: zero.
static int64_t element_at(const GridSpec *spec, double at, int64_t size) {
  double last = (double)(size - 1);
  if (at >= 0 && at <= last) return (int64_t)at;
  if (spec->padding == PADDING_ZEROS || isnan(at)) return -1;
  if (spec->padding == PADDING_BORDER) return at < 0 ? 0 : size - 1;
  double low = spec->align_corners ? 0 : -0.5, high = spec->align_corners ? last : last + 0.5;
  return (int64_t)fmin(fmax(reflect(at, low, high), 0), last);
}

typedef struct GridTaps {
  int count;
  int64_t index[4];  // -1: zero
  double weight[4];
} GridTaps;

static GridTaps taps_at(const GridSpec *spec, double coordinate, int64_t size) {
  double last = (double)(size - 1), low = spec->align_corners ? 0 : -0.5, high = spec->align_corners ? last : last + 0.5;
  double place = spec->align_corners ? (coordinate + 1) / 2 * last : ((coordinate + 1) * (double)size - 1) / 2;
  if (spec->mode == GRID_NEAREST) place = rint(place);
  if (place < low || place > high) {
    if (spec->padding == PADDING_BORDER) place = fmin(fmax(place, 0), last);
    if (spec->padding == PADDING_REFLECTION) place = reflect(place, low, high);
  }
  if (spec->mode == GRID_NEAREST) return (GridTaps){1, {element_at(spec, trunc(place), size)}, {1}};
  double base = floor(place), t = place - base;
  if (spec->mode == GRID_LINEAR)
    return (GridTaps){2, {element_at(spec, base, size), element_at(spec, base + 1, size)}, {1 - t, t}};
  const double a = -0.75;
  GridTaps taps = {.count = 4};
  for (int k = 0; k < 4; k++) {
    double d = fabs(t + 1 - k);
    taps.index[k] = element_at(spec, base - 1 + k, size);
    taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  }
  return taps;
}

static double sample(int axes, const int64_t *dims, const double *plane, const GridTaps *taps) {
  double sum = 0;
  if (axes == 0) return *plane;
  int64_t stride = dims_count(axes - 1, dims + 1);
  for (int k = 0; k < taps[0].count; k++)
    if (taps[0].index[k] >= 0 && taps[0].weight[k] != 0)
      sum += taps[0].weight[k] * sample(axes - 1, dims + 1, plane + taps[0].index[k] * stride, taps + 1);
  return sum;
}

static Status reference_grid_sample(Reference *r) {
  const Tensor *x = r->inputs[0], *grid = r->inputs[1];
  int axes = x->rank - 2;
  GridSpec spec;
  int64_t dims[MAX_RANK] = {x->dims[0], x->dims[1]};
  const double *data, *places;
  Tensor *out;
  TRY(read_spec(r->node, &spec));
  if (grid->rank != x->rank || grid->dims[x->rank - 1] != axes || grid->dims[0] != x->dims[0])
    FAIL(ERROR_INVALID_MODEL, "the grid does not match the input");
  for (int i = 0; i < axes; i++) dims[2 + i] = grid->dims[1 + i];
  TRY(reference_output(r, 0, x->dtype, x->rank, dims, &out));
  TRY(reference_doubles(r, x, &data));
  TRY(reference_doubles(r, grid, &places));
  int64_t points = dims_count(axes, dims + 2), plane = dims_count(axes, x->dims + 2);
  for (int64_t n = 0; n < dims[0]; n++)
    for (int64_t i = 0; i < points; i++) {
      budget_step(64);
      GridTaps taps[MAX_RANK];
      for (int k = 0; k < axes && plane > 0; k++)
        taps[k] = taps_at(&spec, places[(n * points + i) * axes + axes - 1 - k], x->dims[2 + k]);
      for (int64_t c = n * dims[1]; c < (n + 1) * dims[1]; c++)
        tensor_set_f(out, c * points + i, plane > 0 ? sample(axes, x->dims + 2, data + c * plane, taps) : 0);
    }
  return OK;
}

static int64_t terms_of_grid_sample(const Node *node) {
  const char *mode = node_string(node, "mode", "linear");
  int64_t taps = 1, each = !strcmp(mode, "cubic") ? 4 : !strcmp(mode, "nearest") ? 1 : 2;
  for (int i = 2; i < node->inputs[0]->rank; i++) taps *= each;
  return taps;
}

const OpDef op_grid_sample = {
    .name = "grid_sample",
    .help = "x read at the places of a grid",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes =
        (const AttributeSpec[]){
            {"mode", ATTR_STRING, false}, {"padding", ATTR_STRING, false}, {"align_corners", ATTR_INTS, false}, {0}},
    .infer = infer_grid_sample,
    .reference = reference_grid_sample,
    .terms = terms_of_grid_sample,
};
