// See conv_problem.h.
#include "kernels/conv/conv_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/conv/conv.h"

// Attributes carry one number an axis, or nothing for the default.
static void read_axes(const Node *node, const char *name, int spatial, int64_t otherwise, int64_t out[3]) {
  int count;
  const int64_t *values = node_ints(node, name, &count);
  for (int i = 0; i < 3; i++) {
    int axis = i - (3 - spatial);
    out[i] = axis >= 0 && axis < count ? values[axis] : otherwise;
  }
}

static bool has_arithmetic(DType dtype) {
  DTypeKind kind = dtype_kind(dtype);
  return kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED;
}

// Rows: image and position, the positions `scale` apart along each axis of the output.
static void walk_rows(ConvProblem *p, int rank, const int64_t scale[3]) {
  p->output.row = (Walk){0};
  walk_add(&p->output.row, 0, p->images, 1);
  for (int i = 5 - rank; i < 3; i++) walk_add(&p->output.row, i - 3 + rank, p->out[i], scale[i]);
}

static void walk_phases(Walk *walk, int rank, const ConvProblem *p) {
  for (int i = 5 - rank; i < 3; i++) walk_add(walk, i - 3 + rank, p->axis[i].phases, 1);
}

// The geometry of one phase, from that of the transposed convolution. Where y's size is open there are as many phases as in every call: more than it has places, where it has few.
static bool take_apart(const TensorDesc *y, ConvProblem *p) {
  p->phased = true;
  for (int i = 0; i < 3; i++) {
    PhasedAxis *axis = &p->axis[i];
    int64_t reach;
    if (!checked_mul_i64(p->dilation[i], p->kernel[i], &reach) || reach > INT32_MAX - p->stride[i]) return false;
    int place = i - 3 + y->rank;
    bool open = place >= 2 && desc_extent(y, place).open;
    *axis = phased_axis(p->stride[i], p->dilation[i], p->kernel[i], p->pad[i], open ? p->stride[i] : p->out[i]);
    p->phases *= axis->phases;
    p->stride[i] = 1;
    p->dilation[i] = axis->dilation / axis->common;
    p->kernel[i] = ceil_div(axis->kernel, axis->step);
    p->out[i] = ceil_div(p->out[i], axis->stride);
    p->pad[i] = p->dilation[i] * p->kernel[i] + (llabs(axis->pad) + reach) / axis->stride + 2;
  }
  return p->phases <= INT32_MAX;
}

static int64_t product_of(const int64_t v[3]) { return v[0] * v[1] * v[2]; }

bool conv_problem(const Site *site, ConvProblem *p) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  int spatial = x->rank - 2;
  bool transposed = node->op == &op_conv_transpose;
  REQUIRE(site, node->op != &op_conv || !site_has_zero_points(site), "it has zero points");
  REQUIRE(site, spatial >= 1 && spatial <= 3 && w->rank == x->rank, "it has more than three spatial axes, or none");
  REQUIRE(site, has_arithmetic(x->dtype) && has_arithmetic(w->dtype), "its elements are neither floats nor integers");
  *p = (ConvProblem){.phases = 1, .images = x->dims[0], .groups = node_int(node, "group", 1)};
  REQUIRE(site, p->groups > 0, "it has no groups");
  p->channels = x->dims[1] / p->groups;
  p->filters = y->dims[1] / p->groups;
  read_axes(node, "strides", spatial, 1, p->stride);
  read_axes(node, "dilations", spatial, 1, p->dilation);
  read_axes(node, "pads", spatial, 0, p->pad);  // the begins come first
  for (int i = 0; i < 3; i++) {
    int axis = i - (3 - spatial) + 2;
    bool real = axis >= 2;
    p->in[i] = real ? x->dims[axis] : 1;
    p->out[i] = real ? y->dims[axis] : 1;
    p->kernel[i] = real ? w->dims[axis] : 1;
    p->x_space[i] = real ? x->strides[axis] : 0;
    p->w_tap[i] = real ? w->strides[axis] : 0;
  }
  p->taps = product_of(p->kernel);
  const int64_t scale[3] = {p->stride[0], p->stride[1], p->stride[2]}, unit[3] = {1, 1, 1};
  REQUIRE(site, !transposed || take_apart(y, p), "strides and dilations make more phases than 32 bits count");
  p->m = p->images * product_of(p->out);
  p->k = product_of(p->kernel) * p->channels;
  p->x_image = x->strides[0], p->x_channel = x->strides[1];
  // conv: w[group * filters, channels, kernel]; conv_transpose: w[group * channels, filters, kernel].
  p->w_filter = w->strides[transposed ? 1 : 0];
  p->w_channel = w->strides[transposed ? 0 : 1];
  p->w_group = w->strides[0] * (transposed ? p->channels : p->filters);
  p->accumulator = x->dtype == DTYPE_F64 || w->dtype == DTYPE_F64 ? DTYPE_F64
                   : dtype_is_float(x->dtype)                     ? DTYPE_F32
                   : dtype_bits(x->dtype) == 64                   ? DTYPE_I64
                                                                  : DTYPE_I32;
  walk_add(&p->output.batch, 1, p->groups, p->filters);
  if (transposed) walk_phases(&p->output.batch, y->rank, p);
  walk_rows(p, y->rank, transposed ? scale : unit);
  walk_add(&p->output.column, 1, p->filters, 1);
  REQUIRE(site, p->m * p->phases <= INT32_MAX && p->k <= INT32_MAX && p->filters <= INT32_MAX,
          "it has more elements than 32 bits count");
  return true;
}

bool conv_merge_phases(const Site *site, const ConvProblem *phased, MergedPhases *merged, ConvProblem *p) {
  enum { MOST_ZEROS = 4 };  // times the filters' own size
  if (!phases_merge(phased->axis, merged)) return false;
  *p = *phased;
  p->phased = false;
  p->phases = 1;
  memcpy(p->kernel, merged->kernel, sizeof p->kernel);
  memcpy(p->pad, merged->pad, sizeof p->pad);
  p->taps = product_of(p->kernel);
  p->k = p->taps * p->channels;
  p->filters *= phased->phases;
  int rank = site->outputs[0].rank;
  p->output.batch = p->output.column = (Walk){0};
  walk_add(&p->output.batch, 1, p->groups, phased->filters);
  walk_phases(&p->output.column, rank, phased);
  walk_add(&p->output.column, 1, phased->filters, 1);
  return p->k <= INT32_MAX && p->filters <= INT32_MAX && p->taps * phased->phases <= MOST_ZEROS * phased->taps;
}

bool conv_join_groups(const ConvProblem *apart, int64_t count, ConvProblem *p) {
  if (apart->phased || count < 1 || apart->groups % count) return false;
  *p = *apart;
  p->groups /= count;
  p->channels *= count, p->filters *= count, p->k *= count;
  p->output.batch = p->output.column = (Walk){0};
  walk_add(&p->output.batch, 1, p->groups, p->filters);
  walk_add(&p->output.column, 1, p->filters, 1);
  return p->k <= INT32_MAX && p->filters <= INT32_MAX;
}

bool conv_merge_columns(const ConvProblem *windows, ConvProblem *p) {
  int64_t width = windows->kernel[2];
  *p = *windows;
  if (p->phased || p->groups > 1 || width == 1 || p->stride[2] != width || p->dilation[2] != 1 || p->pad[2]) return false;
  if (p->x_channel != 1 || p->x_space[2] != p->channels || p->out[2] * width > p->in[2]) return false;
  p->channels *= width, p->x_space[2] *= width, p->taps /= width;
  p->in[2] = p->out[2];
  p->kernel[2] = p->stride[2] = 1;
  return true;
}

// Of an axis that is 1 in every call no stride counts; of one that may be more its stride in every call does, where that is the problem's.
static int64_t factor_of_stride(const Site *site, int axis, int64_t extent, int64_t stride, int64_t vector) {
  const TensorDesc *x = &site->inputs[0];
  if (extent <= 1 && !desc_extent(x, axis).open) return vector;
  Extent open = desc_stride(x, axis);
  return extent_factor(site->dims, open.now == stride ? open : extent_static(stride), vector);
}

int conv_x_copy(const Site *site, const ConvProblem *p) {
  const TensorDesc *x = &site->inputs[0];
  int64_t vector = p->x_channel == 1 && !desc_stride(x, 1).open ? 16 / (int)dtype_size(x->dtype) : 1;
  vector = extent_factor(site->dims, extent_static(p->channels | x->offset), vector);
  vector = factor_of_stride(site, 0, p->images, p->x_image, vector);
  for (int i = 5 - x->rank; i < 3; i++) vector = factor_of_stride(site, i - 3 + x->rank, p->in[i], p->x_space[i], vector);
  return (int)vector * (int)dtype_size(x->dtype);
}

bool conv_offsets_fit(const Site *site, const ConvProblem *p) {
  const TensorDesc *x = &site->inputs[0];
  double span = 0;
  for (int i = 0; i < x->rank; i++) span += fabs((double)x->strides[i]) * (double)x->dims[i];
  for (int i = 0; i < 3; i++)
    span += fabs((double)p->x_space[i]) * (double)(p->pad[i] + p->dilation[i] * p->kernel[i] + p->stride[i] * p->out[i]);
  return span <= INT32_MAX;
}

static void emit_phases(Text *text, const char *name, const PhasedAxis *axis) {
  text_add(text, "  typedef PhasedAxis<%lld, %lld, %lld, %lld, %lld, %lld, %lldll> Axis%s;\n", (long long)axis->stride,
           (long long)axis->dilation, (long long)axis->kernel, (long long)axis->common, (long long)axis->step,
           (long long)axis->inverse, (long long)axis->pad, name);
  text_add(text, "  static constexpr int PHASES_%s = %lld;\n", name, (long long)axis->phases);
}

void conv_emit_geometry(Text *text, const ConvProblem *p, bool open) {
  static const char *const names[3] = {"D", "H", "W"};
  text_add(text, "  static constexpr bool PHASED = %d;\n", p->phased);
  text_add(text,
           "  struct Sizes;\n  static constexpr int M = %lld, N = %lld, K = %lld, C = %lld, TAPS = %lld, PHASES = %lld;\n",
           open ? -1 : (long long)p->m, (long long)p->filters, (long long)p->k, (long long)MAX(p->channels, 1),
           (long long)MAX(p->taps, 1), (long long)p->phases);
  for (int i = 0; i < 3; i++) {
    text_add(text, "  static constexpr int KERNEL_%s = %lld, STRIDE_%s = %lld, DILATION_%s = %lld;\n", names[i],
             (long long)p->kernel[i], names[i], (long long)p->stride[i], names[i], (long long)p->dilation[i]);
    if (p->phased) emit_phases(text, names[i], &p->axis[i]);
    else text_add(text, "  static constexpr int PAD_%s = %lld;\n", names[i], (long long)p->pad[i]);
  }
}

// How much of memory's sectors a group reads for what it needs of them.
static double line_share(int64_t run, DType dtype) {
  const double SECTOR = 32;
  return fmax(1, SECTOR / ((double)run * (double)dtype_size(dtype)));
}

TiledProduct conv_product(const ConvProblem *p, DType dtype) {
  TiledProduct product = {.m = p->m, .n = p->filters, .k = p->k, .batch = p->groups * p->phases, .dtype = dtype};
  if (p->phased && p->k) product.filled = (double)(p->taps * p->channels) / (double)(p->phases * p->k);
  // Ways to make a transposed convolution differ in how often they repeat its image, but they all find that in L2.
  double image = (double)(p->images * p->channels) * (double)product_of(p->in);
  double filters = (double)(p->taps * p->channels) * (double)p->filters, out = (double)(p->m * p->phases) * (double)p->filters;
  if (p->axis[0].phases) product.elements = (double)p->groups * (image + filters + out);
  if (p->groups > 1 && !p->phased)
    product.elements =
        (double)p->groups * (line_share(p->channels, dtype) * image + filters + line_share(p->filters, dtype) * out);
  return product;
}

const char *conv_body(Arena *arena, const char *call, const ConvProblem *p, const char *sizes, int64_t w_group, bool by_phase,
                      const char *more) {
  return arena_printf(arena,
                      "  const Phase<Problem> phase(%s, batch %% %lluu);\n  const u32 group = batch / %lluu;\n"
                      "  %s(x + (i64)group * %lldll * phase.sizes.x_c(), w + (i64)group * %lldll%s, phase, tile, k_begin, "
                      "phase.limit(k_end), output%s);\n",
                      sizes, (unsigned long long)p->phases, (unsigned long long)p->phases, call, (long long)p->channels,
                      (long long)w_group, by_phase ? " + (i64)phase.packed_tap() * Problem::C" : "", more);
}
