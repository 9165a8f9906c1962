// deform_conv: a convolution whose taps are moved by offsets computed for each output position, read by linear interpolation
// (zero outside the input), and weighted by an optional mask. Offsets are [N, offset_group * taps * axes, out spatial], the
// axes of one tap side by side; masks [N, offset_group * taps, out spatial].
#include <math.h>
#include <string.h>
#include "kernels/conv/conv.h"
#include "kernels/meaning.h"

static Status infer_deform_conv(Node *node) {
  Value *x, *w, *offset, *mask = NULL;
  Window window;
  Dim dims[MAX_RANK], same;
  TRY(meaning_require(node, 0, &x));
  TRY(meaning_require_rank(node, 1, x->rank, &w));
  TRY(meaning_require_rank(node, 2, x->rank, &offset));
  if (meaning_input(node, 3)) TRY(meaning_require_rank(node, 3, x->rank, &mask));
  if (x->rank < 3 || !dtype_is_float(x->dtype) || w->dtype != x->dtype)
    FAIL(ERROR_INVALID_MODEL, "input of rank %d and type %s, weights %s", x->rank, dtype_name(x->dtype), dtype_name(w->dtype));
  TRY(window_read(node, x->rank - 2, w->dims + 2, &window));
  int64_t group = node_int(node, "group", 1), offset_group = node_int(node, "offset_group", 1);
  if (group < 1 || offset_group < 1)
    FAIL(ERROR_INVALID_MODEL, "%lld groups, %lld offset groups", (long long)group, (long long)offset_group);
  DimTable *table = node->graph->dims;
  TRY(meaning_same_dim(node, "input channels", x->dims[1], dim_mul(table, w->dims[1], dim_constant(table, group)), &same));
  if (dim_is_static(same) && same % offset_group != 0)
    FAIL(ERROR_INVALID_MODEL, "%lld channels do not divide into %lld offset groups", (long long)same, (long long)offset_group);
  Dim taps = dim_constant(table, offset_group);
  for (int i = 0; i < window.axes; i++) taps = dim_mul(table, taps, w->dims[2 + i]);
  TRY(meaning_same_dim(node, "offset channels", offset->dims[1], dim_mul(table, taps, dim_constant(table, window.axes)),
                       &same));
  TRY(meaning_same_dim(node, "offset batch", x->dims[0], offset->dims[0], &same));
  if (mask) TRY(meaning_same_dim(node, "mask channels", mask->dims[1], taps, &same));
  if (mask) TRY(meaning_same_dim(node, "mask batch", x->dims[0], mask->dims[0], &same));
  dims[0] = x->dims[0];
  dims[1] = w->dims[0];
  for (int i = 0; i < window.axes; i++) {
    dims[2 + i] = window_output(table, &window, i, x->dims[2 + i], false);
    TRY(meaning_same_dim(node, "offset positions", dims[2 + i], offset->dims[2 + i], &same));
    if (mask) TRY(meaning_same_dim(node, "mask positions", dims[2 + i], mask->dims[2 + i], &same));
  }
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  return OK;
}

// The value of a plane at a fractional position: linear in each axis, zero outside.
static double sample(int axes, const int64_t *dims, const double *plane, const double *at) {
  double sum = 0;
  for (int corner = 0; corner < 1 << axes; corner++) {
    double weight = 1;
    int64_t offset = 0;
    bool inside = true;
    for (int i = 0; i < axes && inside; i++) {
      double low = floor(at[i]);
      bool upper = corner >> i & 1;
      double place = low + upper;
      weight *= upper ? at[i] - low : 1 - (at[i] - low);
      inside = place >= 0 && place <= (double)(dims[i] - 1);
      offset = offset * dims[i] + (inside ? (int64_t)place : 0);
    }
    if (inside && weight != 0) sum += weight * plane[offset];
  }
  return sum;
}

typedef struct DeformCall {
  Window window;
  int64_t out_dims[MAX_RANK], channels, in_plane, out_plane, taps, offset_group;
  const int64_t *in_dims;  // spatial
  const double *x, *offset, *mask;
} DeformCall;

// columns[c * taps + tap] = the moved, masked sample of channel c for one output position.
static void fill_columns(const DeformCall *call, int64_t n, const int64_t *position, int64_t linear, double *columns) {
  int axes = call->window.axes;
  int64_t kernel[MAX_RANK], channels_per_group = call->channels / call->offset_group;
  for (int i = 0; i < axes; i++) kernel[i] = call->window.kernel[i];
  for (int64_t g = 0; g < call->offset_group; g++) {
    int64_t tap[MAX_RANK] = {0}, t = 0;
    do {
      int64_t place = (n * call->offset_group + g) * call->taps + t;
      double at[MAX_RANK], weight = call->mask ? call->mask[place * call->out_plane + linear] : 1;
      for (int i = 0; i < axes; i++)
        at[i] = (double)(position[i] * call->window.stride[i] - call->window.pad_begin[i] + tap[i] * call->window.dilation[i]) +
                call->offset[(place * axes + i) * call->out_plane + linear];
      for (int64_t c = g * channels_per_group; c < (g + 1) * channels_per_group; c++)
        columns[c * call->taps + t] =
            weight * sample(axes, call->in_dims, call->x + (n * call->channels + c) * call->in_plane, at);
      t++;
    } while (index_next(axes, kernel, tap));
  }
}

static Status reference_deform_conv(Reference *r) {
  const Tensor *x = r->inputs[0], *w = r->inputs[1], *offset = r->inputs[2], *mask = reference_input(r, 3);
  int axes = x->rank - 2;
  Dim kernel[MAX_RANK];
  DeformCall call = {.channels = x->dims[1], .in_dims = x->dims + 2, .offset_group = node_int(r->node, "offset_group", 1)};
  int64_t group = node_int(r->node, "group", 1), dims[MAX_RANK] = {x->dims[0], w->dims[0]};
  for (int i = 0; i < axes; i++) kernel[i] = w->dims[2 + i];
  TRY(window_read(r->node, axes, kernel, &call.window));
  for (int i = 0; i < axes; i++) {
    const Window *window = &call.window;
    int64_t room = x->dims[2 + i] + window->pad_begin[i] + window->pad_end[i] - window->dilation[i] * (kernel[i] - 1) - 1;
    dims[2 + i] = call.out_dims[i] = room < 0 ? 0 : room / window->stride[i] + 1;
    if (offset->dims[2 + i] != dims[2 + i] || (mask && mask->dims[2 + i] != dims[2 + i]))
      FAIL(ERROR_INVALID_MODEL, "the offsets or the mask do not match the output");
  }
  if (offset->dims[0] != dims[0] || (mask && mask->dims[0] != dims[0])) FAIL(ERROR_INVALID_MODEL, "the batches do not match");
  call.taps = dims_count(axes, w->dims + 2);
  call.in_plane = dims_count(axes, x->dims + 2);
  call.out_plane = dims_count(axes, dims + 2);
  if (x->dims[1] != w->dims[1] * group || w->dims[0] % group != 0 || x->dims[1] % call.offset_group != 0 ||
      offset->dims[1] != call.offset_group * call.taps * axes || (mask && mask->dims[1] != call.offset_group * call.taps))
    FAIL(ERROR_INVALID_MODEL, "channels, groups and offsets do not match");
  Tensor *out;
  const double *weights;
  void *memory;
  TRY(reference_output(r, 0, x->dtype, x->rank, dims, &out));
  if (tensor_count(out) == 0) return OK;
  TRY(reference_doubles(r, x, &call.x));
  TRY(reference_doubles(r, w, &weights));
  TRY(reference_doubles(r, offset, &call.offset));
  if (mask) TRY(reference_doubles(r, mask, &call.mask));
  TRY(reference_scratch(r, sizeof(double), call.channels * call.taps, &memory));
  double *columns = memory;
  int64_t per_group = w->dims[1] * call.taps, out_per_group = w->dims[0] / group;
  for (int64_t n = 0; n < dims[0]; n++) {
    int64_t position[MAX_RANK] = {0}, linear = 0;
    do {
      fill_columns(&call, n, position, linear, columns);
      for (int64_t m = 0; m < dims[1]; m++) {
        double sum = 0;
        const double *row = columns + m / out_per_group * per_group;
        for (int64_t k = 0; k < per_group; k++) sum += weights[m * per_group + k] * row[k];
        tensor_set_f(out, (n * dims[1] + m) * call.out_plane + linear, sum);
      }
      linear++;
    } while (index_next(axes, call.out_dims, position));
  }
  return OK;
}

const OpDef op_deform_conv = {
    .name = "deform_conv",
    .help = "convolution whose taps are moved by computed offsets",
    .min_inputs = 3,
    .max_inputs = 4,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"strides", ATTR_INTS, false},
                                          {"pads", ATTR_INTS, false},
                                          {"dilations", ATTR_INTS, false},
                                          {"group", ATTR_INTS, false},
                                          {"offset_group", ATTR_INTS, false},
                                          {0}},
    .infer = infer_deform_conv,
    .reference = reference_deform_conv,
    .terms = terms_of_conv,
};
