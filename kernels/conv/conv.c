// conv and conv_transpose. x[N,C,spatial], a kernel for each pair of channels of a group, a window that slides over the
// spatial axes. 8-bit integers sum to i32, other types to themselves. There is no bias: it is an epilogue. A conv's integers of 8 bits may
// have zero points; what lies outside of the image is 0 once they are subtracted.
#include "kernels/conv/conv.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/conv/taps.h"

static DType result_dtype(DType x) { return dtype_is_integer(x) && dtype_bits(x) <= 8 ? DTYPE_I32 : x; }

// Checks what the two have in common. in_channels of w: its axis 1 for conv, 0 for conv_transpose.
static Status infer_common(Node *node, Value **x, Value **w, int64_t *group) {
  TRY(meaning_require(node, 0, x));
  TRY(meaning_require(node, 1, w));
  if ((*x)->rank < 3) FAIL(ERROR_INVALID_MODEL, "the input has rank %d; at least 3 is expected", (*x)->rank);
  if ((*w)->rank != (*x)->rank) FAIL(ERROR_INVALID_MODEL, "the input has rank %d, the weights %d", (*x)->rank, (*w)->rank);
  bool both_float = dtype_is_float((*x)->dtype) && dtype_is_float((*w)->dtype);
  bool both_integer = dtype_is_integer((*x)->dtype) && dtype_is_integer((*w)->dtype);
  if (!both_float && !both_integer)
    FAIL(ERROR_INVALID_MODEL, "no convolution of %s with %s", dtype_name((*x)->dtype), dtype_name((*w)->dtype));
  *group = node_int(node, "group", 1);
  if (*group < 1) FAIL(ERROR_INVALID_MODEL, "group is %lld", (long long)*group);
  return OK;
}

static Status check_groups(const Node *node, Dim channels, int64_t group, const char *what) {
  if (dim_is_static(channels) && channels % group != 0)
    FAIL(ERROR_INVALID_MODEL, "%lld %s do not divide into %lld groups", (long long)channels, what, (long long)group);
  return OK;
}

static Status infer_conv(Node *node) {
  Value *x, *w;
  int64_t group;
  Window window;
  Dim dims[MAX_RANK], same;
  TRY(infer_common(node, &x, &w, &group));
  TRY(window_read(node, x->rank - 2, w->dims + 2, &window));
  TRY(check_groups(node, w->dims[0], group, "output channels"));
  DimTable *table = node->graph->dims;
  TRY(meaning_zero_points(node, 0));
  TRY(meaning_same_dim(node, "input channels", x->dims[1], dim_mul(table, w->dims[1], dim_constant(table, group)), &same));
  dims[0] = x->dims[0];
  dims[1] = w->dims[0];
  for (int i = 0; i < window.axes; i++) {
    dims[2 + i] = window_output(table, &window, i, x->dims[2 + i], false);
    int64_t constant;
    if (dim_get_constant(table, dims[2 + i], &constant) && constant < 0)
      FAIL(ERROR_INVALID_MODEL, "the kernel is larger than the padded input along axis %d", 2 + i);
  }
  value_set_type(node->outputs[0], result_dtype(x->dtype), x->rank, dims);
  return OK;
}

// Static geometry of one call: dims of x and w as they are now.
static Status read_call(const Reference *r, const Tensor *x, const Tensor *w, Window *window) {
  Dim kernel[MAX_RANK];
  if (x->rank != w->rank || x->rank < 3) FAIL(ERROR_INVALID_MODEL, "ranks %d and %d", x->rank, w->rank);
  for (int i = 2; i < w->rank; i++) kernel[i - 2] = w->dims[i];
  return window_read(r->node, x->rank - 2, kernel, window);
}

static Status reference_conv(Reference *r) {
  const Tensor *x, *w;
  TRY(reference_less_zero(r, 0, &x));
  TRY(reference_less_zero(r, 1, &w));
  Window window;
  int64_t dims[MAX_RANK] = {x->dims[0], w->dims[0]};
  int64_t group = node_int(r->node, "group", 1), out_per_group = w->dims[0] / group, in_per_group = w->dims[1];
  TRY(read_call(r, x, w, &window));
  if (x->dims[1] % group != 0 || x->dims[1] / group != in_per_group || w->dims[0] % group != 0)
    FAIL(ERROR_INVALID_MODEL, "%lld input channels, %lld groups, weights for %lld and %lld", (long long)x->dims[1],
         (long long)group, (long long)w->dims[1], (long long)w->dims[0]);
  for (int i = 0; i < window.axes; i++) {
    int64_t room = x->dims[2 + i] + window.pad_begin[i] + window.pad_end[i] - window.dilation[i] * (window.kernel[i] - 1) - 1;
    dims[2 + i] = room < 0 ? 0 : room / window.stride[i] + 1;
  }
  Tensor *out;
  TRY(reference_output(r, 0, result_dtype(x->dtype), x->rank, dims, &out));
  if (tensor_count(out) == 0) return OK;

  Taps taps = taps_from(&window, dims + 2, x->dims + 2);
  TapsArithmetic arithmetic = taps_arithmetic(x->dtype, w->dtype);
  int64_t in_plane = taps_large_count(&taps), out_plane = taps_small_count(&taps), kernel = taps_kernel_count(&taps);
  size_t size = taps_item_size(arithmetic);
  const void *x_data, *w_data;
  void *sums;
  TRY(taps_convert(r, arithmetic, x, &x_data));
  TRY(taps_convert(r, arithmetic, w, &w_data));
  TRY(reference_scratch(r, sizeof(double), out_plane, &sums));
  for (int64_t n = 0; n < dims[0]; n++)
    for (int64_t m = 0; m < dims[1]; m++) {
      int64_t first_channel = n * x->dims[1] + m / out_per_group * in_per_group;
      memset(sums, 0, (size_t)out_plane * sizeof(double));
      for (int64_t c = 0; c < in_per_group; c++)
        taps_gather(&taps, arithmetic, (const char *)x_data + (size_t)((first_channel + c) * in_plane) * size,
                    (const char *)w_data + (size_t)((m * in_per_group + c) * kernel) * size, sums);
      taps_store(arithmetic, out, (n * dims[1] + m) * out_plane, out_plane, sums);
    }
  return OK;
}

static void channels_of_conv(const Node *node, Channels *out) {
  *out = (Channels){.result_axis = 1, .weight_axis = 0, .groups = 1};
}

int64_t terms_of_conv(const Node *node) { return meaning_count(node->inputs[1], 1); }

#define WINDOW_ATTRIBUTES \
  {"strides", ATTR_INTS, false}, {"pads", ATTR_INTS, false}, { "dilations", ATTR_INTS, false }

const OpDef op_conv = {
    .name = "conv",
    .help = "convolution over the spatial axes, in groups of channels; of 8-bit integers less zero points, where given",
    .min_inputs = 2,
    .max_inputs = 4,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){WINDOW_ATTRIBUTES, {"group", ATTR_INTS, false}, {0}},
    .infer = infer_conv,
    .reference = reference_conv,
    .takes_epilogue = true,
    .takes_zero_points = true,
    .channels = channels_of_conv,
    .terms = terms_of_conv,
    .image = IMAGE_GAINS,
};

// ---- conv_transpose: each input position adds its kernel into the output

static Status read_output_padding(const Node *node, int axes, int64_t *out) {
  int count;
  const int64_t *values = node_ints(node, "output_padding", &count);
  if (values && count != axes) FAIL(ERROR_INVALID_MODEL, "'output_padding' has %d values where %d are expected", count, axes);
  for (int i = 0; i < axes; i++) {
    out[i] = values ? values[i] : 0;
    if (out[i] < 0 || out[i] > INT32_MAX) FAIL(ERROR_INVALID_MODEL, "'output_padding'[%d] is %lld", i, (long long)out[i]);
  }
  return OK;
}

// stride * (in - 1) + output_padding + dilation * (kernel - 1) + 1 - pads
static Dim transposed_output(DimTable *table, const Window *window, const int64_t *output_padding, int axis, Dim in) {
  Dim one = dim_constant(table, 1);
  Dim steps = dim_mul(table, dim_constant(table, window->stride[axis]), dim_sub(table, in, one));
  Dim reach = dim_mul(table, dim_constant(table, window->dilation[axis]), dim_sub(table, window->kernel[axis], one));
  int64_t rest = output_padding[axis] + 1 - window->pad_begin[axis] - window->pad_end[axis];
  return dim_add(table, dim_add(table, steps, reach), dim_constant(table, rest));
}

static Status infer_conv_transpose(Node *node) {
  Value *x, *w;
  int64_t group, output_padding[MAX_RANK];
  Window window;
  Dim dims[MAX_RANK], same;
  TRY(infer_common(node, &x, &w, &group));
  TRY(window_read(node, x->rank - 2, w->dims + 2, &window));
  TRY(read_output_padding(node, window.axes, output_padding));
  TRY(meaning_same_dim(node, "input channels", x->dims[1], w->dims[0], &same));
  TRY(check_groups(node, same, group, "input channels"));
  DimTable *table = node->graph->dims;
  dims[0] = x->dims[0];
  dims[1] = dim_mul(table, w->dims[1], dim_constant(table, group));
  for (int i = 0; i < window.axes; i++) {
    dims[2 + i] = transposed_output(table, &window, output_padding, i, x->dims[2 + i]);
    int64_t constant;
    if (dim_get_constant(table, dims[2 + i], &constant) && constant < 0)
      FAIL(ERROR_INVALID_MODEL, "the pads remove more than there is along axis %d", 2 + i);
  }
  value_set_type(node->outputs[0], result_dtype(x->dtype), x->rank, dims);
  return OK;
}

static Status reference_conv_transpose(Reference *r) {
  const Tensor *x = r->inputs[0], *w = r->inputs[1];
  Window window;
  int64_t group = node_int(r->node, "group", 1), out_per_group = w->dims[1], in_per_group = w->dims[0] / group;
  int64_t dims[MAX_RANK] = {x->dims[0]}, output_padding[MAX_RANK];
  TRY(read_call(r, x, w, &window));
  TRY(read_output_padding(r->node, window.axes, output_padding));
  if (x->dims[1] != w->dims[0] || w->dims[0] % group != 0 || !checked_mul_i64(out_per_group, group, &dims[1]))
    FAIL(ERROR_INVALID_MODEL, "%lld input channels, %lld groups, weights for %lld", (long long)x->dims[1], (long long)group,
         (long long)w->dims[0]);
  for (int i = 0; i < window.axes; i++) {
    int64_t size,
        rest = output_padding[i] + window.dilation[i] * (window.kernel[i] - 1) + 1 - window.pad_begin[i] - window.pad_end[i];
    if (!checked_mul_i64(window.stride[i], x->dims[2 + i] - 1, &size) || !checked_add_i64(size, rest, &size))
      FAIL(ERROR_INVALID_MODEL, "axis %d of the result is too large", 2 + i);
    dims[2 + i] = MAX(size, 0);
  }
  Tensor *out;
  TRY(reference_output(r, 0, result_dtype(x->dtype), x->rank, dims, &out));
  if (tensor_count(out) == 0) return OK;

  Taps taps = taps_from(&window, x->dims + 2, dims + 2);
  TapsArithmetic arithmetic = taps_arithmetic(x->dtype, w->dtype);
  int64_t in_plane = taps_small_count(&taps), out_plane = taps_large_count(&taps), kernel = taps_kernel_count(&taps);
  size_t size = taps_item_size(arithmetic);
  const void *x_data, *w_data;
  void *sums;
  TRY(taps_convert(r, arithmetic, x, &x_data));
  TRY(taps_convert(r, arithmetic, w, &w_data));
  TRY(reference_scratch(r, sizeof(double), out_plane, &sums));
  for (int64_t n = 0; n < dims[0]; n++)
    for (int64_t m = 0; m < dims[1]; m++) {
      int64_t first_channel = m / out_per_group * in_per_group;
      memset(sums, 0, (size_t)out_plane * sizeof(double));
      for (int64_t c = first_channel; c < first_channel + in_per_group; c++)
        taps_scatter(&taps, arithmetic, (const char *)x_data + (size_t)((n * x->dims[1] + c) * in_plane) * size,
                     (const char *)w_data + (size_t)((c * out_per_group + m % out_per_group) * kernel) * size, sums);
      taps_store(arithmetic, out, (n * dims[1] + m) * out_plane, out_plane, sums);
    }
  return OK;
}

static void channels_of_conv_transpose(const Node *node, Channels *out) {
  *out = (Channels){.result_axis = 1, .weight_axis = 1, .groups = node_int(node, "group", 1), .scattered = true};
}

// Every element of the image goes into as many results as it has weights.
static int64_t terms_of_conv_transpose(const Node *node) {
  int64_t images = meaning_count(node->inputs[0], 0), weights = meaning_count(node->inputs[1], 1), total;
  int64_t results = meaning_count(node->outputs[0], 0);
  return results && checked_mul_i64(images, weights, &total) ? ceil_div(total, results) : 0;
}

const OpDef op_conv_transpose = {
    .name = "conv_transpose",
    .help = "transposed convolution over the spatial axes",
    .min_inputs = 2,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes =
        (const AttributeSpec[]){WINDOW_ATTRIBUTES, {"group", ATTR_INTS, false}, {"output_padding", ATTR_INTS, false}, {0}},
    .infer = infer_conv_transpose,
    .reference = reference_conv_transpose,
    .takes_epilogue = true,
    .channels = channels_of_conv_transpose,
    .terms = terms_of_conv_transpose,
    .image = IMAGE_GAINS,
};
