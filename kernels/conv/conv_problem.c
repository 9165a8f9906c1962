// See conv_problem.h.
#include "kernels/conv/conv_problem.h"

#include <math.h>
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

bool conv_problem(const Site *site, ConvProblem *p) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  int spatial = x->rank - 2;
  if (node->op == &op_conv && site_has_zero_points(site)) return false;
  if (spatial < 1 || spatial > 3 || w->rank != x->rank || !has_arithmetic(x->dtype) || !has_arithmetic(w->dtype)) return false;
  *p = (ConvProblem){.transposed = node->op == &op_conv_transpose, .images = x->dims[0], .groups = node_int(node, "group", 1)};
  if (p->groups <= 0) return false;
  p->channels = x->dims[1] / p->groups;
  p->filters = y->dims[1] / p->groups;
  read_axes(node, "strides", spatial, 1, p->stride);
  read_axes(node, "dilations", spatial, 1, p->dilation);
  read_axes(node, "pads", spatial, 0, p->pad);  // the begins come first
  p->taps = 1;
  p->m = p->images;
  for (int i = 0; i < 3; i++) {
    int axis = i - (3 - spatial) + 2;
    bool real = axis >= 2;
    p->in[i] = real ? x->dims[axis] : 1;
    p->out[i] = real ? y->dims[axis] : 1;
    p->kernel[i] = real ? w->dims[axis] : 1;
    p->x_space[i] = real ? x->strides[axis] : 0;
    p->w_tap[i] = real ? w->strides[axis] : 0;
    p->taps *= p->kernel[i];
    p->m *= p->out[i];
  }
  p->k = p->taps * p->channels;
  p->x_image = x->strides[0], p->x_channel = x->strides[1];
  // conv: w[group * filters, channels, kernel]; conv_transpose: w[group * channels, filters, kernel].
  p->w_filter = w->strides[p->transposed ? 1 : 0];
  p->w_channel = w->strides[p->transposed ? 0 : 1];
  p->w_group = w->strides[0] * (p->transposed ? p->channels : p->filters);
  p->accumulator = x->dtype == DTYPE_F64 || w->dtype == DTYPE_F64 ? DTYPE_F64
                   : dtype_is_float(x->dtype)                     ? DTYPE_F32
                   : dtype_bits(x->dtype) == 64                   ? DTYPE_I64
                                                                  : DTYPE_I32;
  walk_add(&p->output.batch, 1, p->groups, p->filters);
  walk_add(&p->output.row, 0, p->images, 1);
  for (int axis = 2; axis < y->rank; axis++) walk_add(&p->output.row, axis, y->dims[axis], 1);
  walk_add(&p->output.column, 1, p->filters, 1);
  return p->m <= INT32_MAX && p->k <= INT32_MAX && p->filters <= INT32_MAX;
}

int conv_x_copy(const Site *site, const ConvProblem *p) {
  const TensorDesc *x = &site->inputs[0];
  int size = (int)dtype_size(x->dtype);
  int vector = p->x_channel == 1 ? desc_vector(x, x->rank, 1, 16) : 1;
  while (p->channels % vector) vector /= 2;
  return vector * size;
}

bool conv_offsets_fit(const Site *site, const ConvProblem *p) {
  const TensorDesc *x = &site->inputs[0];
  double span = 0;
  for (int i = 0; i < x->rank; i++) span += fabs((double)x->strides[i]) * (double)x->dims[i];
  for (int i = 0; i < 3; i++)
    span += fabs((double)p->x_space[i]) * (double)(p->pad[i] + p->dilation[i] * p->kernel[i] + p->stride[i] * p->out[i]);
  return span <= INT32_MAX;
}

void conv_emit_geometry(Text *text, const ConvProblem *p) {
  static const char *const names[3] = {"D", "H", "W"};
  text_add(text, "  static constexpr bool TRANSPOSED = %d;\n", p->transposed);
  text_add(text, "  static constexpr int M = %lld, N = %lld, K = %lld, C = %lld, TAPS = %lld;\n", (long long)p->m,
           (long long)p->filters, (long long)p->k, (long long)MAX(p->channels, 1), (long long)MAX(p->taps, 1));
  text_add(text, "  static constexpr i64 X_IMAGE = %lldll, X_C = %lldll;\n", (long long)p->x_image, (long long)p->x_channel);
  for (int i = 0; i < 3; i++) {
    text_add(text,
             "  static constexpr int IN_%s = %lld, OUT_%s = %lld, KERNEL_%s = %lld, STRIDE_%s = %lld, DILATION_%s = %lld, "
             "PAD_%s = %lld;\n",
             names[i], (long long)p->in[i], names[i], (long long)p->out[i], names[i], (long long)p->kernel[i], names[i],
             (long long)p->stride[i], names[i], (long long)p->dilation[i], names[i], (long long)p->pad[i]);
    text_add(text, "  static constexpr i64 X_%s = %lldll;\n", names[i], (long long)p->x_space[i]);
  }
}

// --- Packed filters

typedef struct FilterPacking {
  const Tensor *tensor;
  int64_t groups, filters, channels, taps, pitch;
  bool transposed, depthwise;
} FilterPacking;

static Status pack_filters(void *context, void *out) {
  const FilterPacking *f = context;
  size_t size = dtype_size(f->tensor->dtype);
  memset(out, 0, (size_t)(f->groups * f->filters * f->pitch) * size);
  for (int64_t g = 0; g < f->groups; g++)
    for (int64_t m = 0; m < f->filters; m++)
      for (int64_t c = 0; c < f->channels; c++) {
        int64_t first = f->transposed ? (g * f->channels + c) * f->filters + m : (g * f->filters + m) * f->channels + c;
        const char *from = (const char *)f->tensor->data + (size_t)(first * f->taps) * size;
        char *to = (char *)out + (size_t)((g * f->filters + m) * f->pitch + c) * size;
        for (int64_t t = 0; t < f->taps; t++) memcpy(to + (size_t)(t * f->channels) * size, from + (size_t)t * size, size);
      }
  return OK;
}

static Status pack_depthwise(void *context, void *out) {
  const FilterPacking *f = context;
  size_t size = dtype_size(f->tensor->dtype);
  for (int64_t g = 0; g < f->groups; g++)
    for (int64_t t = 0; t < f->taps; t++)
      memcpy((char *)out + (size_t)(t * f->groups + g) * size, (const char *)f->tensor->data + (size_t)(g * f->taps + t) * size,
             size);
  return OK;
}

static int add_packing(Emission *emission, const ConvProblem *p, const Tensor *tensor, int64_t pitch, bool depthwise) {
  FilterPacking *f = arena_new_of(emission->arena, FilterPacking);
  *f = (FilterPacking){tensor, p->groups, p->filters, p->channels, p->taps, pitch, p->transposed, depthwise};
  const int64_t layout[] = {p->groups, p->filters,    p->channels, p->taps,
                            pitch,     p->transposed, depthwise,   (int64_t)tensor->dtype};
  Hash128 key = hash128_combine(hash128_bytes(tensor->data, tensor_bytes(tensor)), hash128_bytes(layout, sizeof layout));
  size_t bytes = (size_t)(p->groups * (depthwise ? p->taps : p->filters * pitch)) * dtype_size(tensor->dtype);
  return emit_packed(emission, bytes, key, depthwise ? pack_depthwise : pack_filters, f);
}

int conv_pack_filters(Emission *emission, const Site *site, const ConvProblem *p, int pad, int64_t *pitch) {
  *pitch = (p->k + pad - 1) / pad * pad;
  return add_packing(emission, p, site->inputs[1].constant, *pitch, false);
}

int conv_pack_depthwise(Emission *emission, const Site *site, const ConvProblem *p) {
  return add_packing(emission, p, site->inputs[1].constant, 0, true);
}
