// roi_align: regions of x[N,C,H,W] sampled into bins. rois[R,4] are corners (x1, y1, x2, y2) times `scale`; each bin takes the mean
// or maximum of a grid of bilinear samples, `sampling` a side (0: as many as the bin is wide). A maximum is over the
// weighted corners of the samples, as ONNX has it.
#include <math.h>
#include <string.h>
#include "base/budget.h"
#include "kernels/meaning.h"
#include "kernels/resize/resize.h"

// Samples a side of a bin: as asked for, and as found from its size. Those beyond the plane count, but are not computed.
enum { MAX_SAMPLES = 1 << 11, MAX_ADAPTED = 1 << 16 };

typedef struct RoiSpec {
  bool max, half_pixel;
  int64_t height, width, sampling;
  double scale;
} RoiSpec;

static Status read_spec(const Node *node, RoiSpec *out) {
  const char *mode = node_string(node, "mode", "avg"), *coordinates = node_string(node, "coordinates", "half_pixel");
  *out = (RoiSpec){strcmp(mode, "max") == 0,   strcmp(coordinates, "half_pixel") == 0, node_int(node, "height", 1),
                   node_int(node, "width", 1), node_int(node, "sampling", 0),          node_float(node, "scale", 1)};
  if (!out->max && strcmp(mode, "avg") != 0) FAIL(ERROR_INVALID_MODEL, "unknown mode '%s'", mode);
  if (!out->half_pixel && strcmp(coordinates, "output_half_pixel") != 0)
    FAIL(ERROR_INVALID_MODEL, "unknown coordinates '%s'", coordinates);
  if (out->height < 1 || out->width < 1 || out->sampling < 0 || out->sampling > MAX_SAMPLES)
    FAIL(ERROR_INVALID_MODEL, "%lld by %lld bins, %lld samples", (long long)out->height, (long long)out->width,
         (long long)out->sampling);
  return OK;
}

static Status infer_roi_align(Node *node) {
  Value *x, *rois, *batch;
  RoiSpec spec;
  Dim count, same;
  TRY(meaning_require_rank(node, 0, 4, &x));
  TRY(meaning_require_rank(node, 1, 2, &rois));
  TRY(meaning_require_integer(node, 2, &batch));
  TRY(read_spec(node, &spec));
  if (batch->rank != 1) FAIL(ERROR_INVALID_MODEL, "the batch indices have rank %d", batch->rank);
  TRY(meaning_same_dim(node, "regions", rois->dims[0], batch->dims[0], &count));
  TRY(meaning_same_dim(node, "region corners", rois->dims[1], 4, &same));
  value_set_type(node->outputs[0], x->dtype, 4, (Dim[]){count, x->dims[1], spec.height, spec.width});
  return OK;
}

// A position along one axis: two neighbours and the weight of the upper one; outside: contributes nothing.
typedef struct Neighbours {
  int64_t low, high;
  double upper;
  bool outside;
} Neighbours;

static Neighbours neighbours(double at, int64_t size) {
  if (size == 0 || !(at >= -1 && at <= (double)size)) return (Neighbours){.outside = true};
  at = fmax(at, 0);
  int64_t low = (int64_t)at;
  if (low >= size - 1) return (Neighbours){.low = size - 1, .high = size - 1};
  return (Neighbours){low, low + 1, at - (double)low, false};
}

typedef struct Region {
  double y, x, bin_height, bin_width;
  int64_t samples_y, samples_x;
} Region;

static Region read_region(const RoiSpec *spec, const double *corners) {
  double offset = spec->half_pixel ? 0.5 : 0;
  Region region = {.y = corners[1] * spec->scale - offset, .x = corners[0] * spec->scale - offset};
  double height = corners[3] * spec->scale - offset - region.y, width = corners[2] * spec->scale - offset - region.x;
  if (!spec->half_pixel) {
    height = fmax(height, 1);
    width = fmax(width, 1);
  }
  region.bin_height = height / (double)spec->height;
  region.bin_width = width / (double)spec->width;
  region.samples_y = spec->sampling ? spec->sampling : (int64_t)fmin(ceil(region.bin_height), MAX_ADAPTED);
  region.samples_x = spec->sampling ? spec->sampling : (int64_t)fmin(ceil(region.bin_width), MAX_ADAPTED);
  return region;
}

static double bin_value(const RoiSpec *spec, const Region *region, const double *plane, int64_t height, int64_t width,
                        int64_t by, int64_t bx) {
  double sum = 0, maximum = 0;
  bool first = true;
  for (int64_t iy = 0; iy < region->samples_y; iy++) {
    double in_bin = ((double)iy + 0.5) / (double)region->samples_y;
    Neighbours y = neighbours(region->y + ((double)by + in_bin) * region->bin_height, height);
    budget_step(y.outside ? 8 : (uint64_t)region->samples_x * 16);
    if (y.outside) {  // all its samples are zero
      maximum = first ? 0 : fmax(maximum, 0);
      first = false;
      continue;
    }
    for (int64_t ix = 0; ix < region->samples_x; ix++) {
      in_bin = ((double)ix + 0.5) / (double)region->samples_x;
      Neighbours x = neighbours(region->x + ((double)bx + in_bin) * region->bin_width, width);
      double corners[4] = {0};
      if (!x.outside) {
        corners[0] = (1 - y.upper) * (1 - x.upper) * plane[y.low * width + x.low];
        corners[1] = (1 - y.upper) * x.upper * plane[y.low * width + x.high];
        corners[2] = y.upper * (1 - x.upper) * plane[y.high * width + x.low];
        corners[3] = y.upper * x.upper * plane[y.high * width + x.high];
      }
      sum += corners[0] + corners[1] + corners[2] + corners[3];
      double largest = fmax(fmax(corners[0], corners[1]), fmax(corners[2], corners[3]));
      maximum = first ? largest : fmax(maximum, largest);
      first = false;
    }
  }
  int64_t count = MAX(region->samples_y * region->samples_x, 1);
  return spec->max ? maximum : sum / (double)count;
}

static Status reference_roi_align(Reference *r) {
  const Tensor *x = r->inputs[0], *rois = r->inputs[1], *batch = r->inputs[2];
  RoiSpec spec;
  const double *data, *corners;
  Tensor *out;
  TRY(read_spec(r->node, &spec));
  int64_t count = rois->dims[0], channels = x->dims[1], height = x->dims[2], width = x->dims[3], n = 0;
  if (rois->dims[1] != 4 || tensor_count(batch) != count) FAIL(ERROR_INVALID_MODEL, "the regions do not match");
  TRY(reference_output(r, 0, x->dtype, 4, (int64_t[]){count, channels, spec.height, spec.width}, &out));
  TRY(reference_doubles(r, x, &data));
  TRY(reference_doubles(r, rois, &corners));
  for (int64_t i = 0; i < count; i++) {
    int64_t image = tensor_get_i(batch, i);
    if (image < 0 || image >= x->dims[0])
      FAIL(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld", (long long)image, (long long)x->dims[0]);
    Region region = read_region(&spec, corners + 4 * i);
    for (int64_t c = 0; c < channels; c++) {
      const double *plane = data + (image * channels + c) * height * width;
      for (int64_t by = 0; by < spec.height; by++)
        for (int64_t bx = 0; bx < spec.width; bx++)
          tensor_set_f(out, n++, bin_value(&spec, &region, plane, height, width, by, bx));
    }
  }
  return OK;
}

static int image_axis(const Node *node, int *axes) {
  axes[0] = 0;
  return 1;
}

// Each sample of a bin is between four pixels.
static int64_t terms_of_roi_align(const Node *node) {
  int64_t sampling = node_int(node, "sampling", 0);
  return 4 * sampling * sampling;
}

const OpDef op_roi_align = {
    .name = "roi_align",
    .help = "regions of an image sampled into bins",
    .index_operand = 2,
    .indexed_axes = image_axis,
    .min_inputs = 3,
    .max_inputs = 3,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"mode", ATTR_STRING, false},
                                          {"coordinates", ATTR_STRING, false},
                                          {"height", ATTR_INTS, false},
                                          {"width", ATTR_INTS, false},
                                          {"sampling", ATTR_INTS, false},
                                          {"scale", ATTR_FLOATS, false},
                                          {0}},
    .infer = infer_roi_align,
    .reference = reference_roi_align,
    .terms = terms_of_roi_align,
};
