// col2im: x[N, C * block, L] holds a column of block elements for each window position; each is added to the place in the
// image it was taken from.
#include <string.h>
#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/taps.h"

static Status read_block(const Node *node, int axes, Dim *kernel, int64_t *block) {
  int count;
  const int64_t *sizes = node_ints(node, "block", &count);
  if (count != axes) FAIL(ERROR_INVALID_MODEL, "%d image dims, %d block dims", axes, count);
  *block = 1;
  for (int i = 0; i < axes; i++) {
    if (sizes[i] < 1 || !checked_mul_i64(*block, sizes[i], block))
      FAIL(ERROR_INVALID_MODEL, "block dim %lld", (long long)sizes[i]);
    kernel[i] = sizes[i];
  }
  return OK;
}

static Status infer_col2im(Node *node) {
  Value *x;
  const Dim *image;
  int axes;
  Dim kernel[MAX_RANK], dims[MAX_RANK], same;
  int64_t block;
  Window window;
  TRY(meaning_require_rank(node, 0, 3, &x));
  TRY(meaning_dims(node, "image", MAX_RANK - 2, &image, &axes));
  TRY(read_block(node, axes, kernel, &block));
  TRY(window_read(node, axes, kernel, &window));
  DimTable *table = node->graph->dims;
  if (dim_is_static(x->dims[1]) && x->dims[1] % block != 0)
    FAIL(ERROR_INVALID_MODEL, "%lld rows are no multiple of the block's %lld", (long long)x->dims[1], (long long)block);
  dims[0] = x->dims[0];
  dims[1] = dim_div(table, x->dims[1], dim_constant(table, block));
  Dim positions = dim_constant(table, 1);
  for (int i = 0; i < axes; i++) {
    dims[2 + i] = image[i];
    positions = dim_mul(table, positions, window_output(table, &window, i, image[i], false));
  }
  TRY(meaning_same_dim(node, "window positions", positions, x->dims[2], &same));
  value_set_type(node->outputs[0], x->dtype, 2 + axes, dims);
  return OK;
}

static Status reference_col2im(Reference *r) {
  const Tensor *x = r->inputs[0];
  const int64_t *image;
  int axes;
  Dim kernel[MAX_RANK];
  int64_t block, dims[MAX_RANK], positions[MAX_RANK];
  Window window;
  TRY(reference_dims(r, "image", &image, &axes));
  TRY(read_block(r->node, axes, kernel, &block));
  TRY(window_read(r->node, axes, kernel, &window));
  dims[0] = x->dims[0];
  dims[1] = x->dims[1] / block;
  for (int i = 0; i < axes; i++) {
    int64_t room = image[i] + window.pad_begin[i] + window.pad_end[i] - window.dilation[i] * (kernel[i] - 1) - 1;
    dims[2 + i] = image[i];
    positions[i] = room < 0 ? 0 : room / window.stride[i] + 1;
  }
  if (dims_count(axes, positions) != x->dims[2] || x->dims[1] % block != 0)
    FAIL(ERROR_INVALID_MODEL, "%lld columns for %lld window positions", (long long)x->dims[2],
         (long long)dims_count(axes, positions));
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, 2 + axes, dims, &out));
  if (tensor_count(out) == 0) return OK;
  Taps taps = taps_from(&window, positions, image);
  TapsArithmetic arithmetic = taps_arithmetic(x->dtype, x->dtype);
  int64_t plane = taps_large_count(&taps), columns = block * x->dims[2];
  const void *data;
  void *sums;
  TRY(taps_convert(r, arithmetic, x, &data));
  TRY(reference_scratch(r, sizeof(double), plane, &sums));
  for (int64_t n = 0; n < dims[0] * dims[1]; n++) {
    memset(sums, 0, (size_t)plane * sizeof(double));
    taps_scatter(&taps, arithmetic, (const char *)data + (size_t)(n * columns) * taps_item_size(arithmetic), NULL, sums);
    taps_store(arithmetic, out, n * plane, plane, sums);
  }
  return OK;
}

static int64_t terms_of_col2im(const Node *node) {
  int64_t results = meaning_count(node->outputs[0], 0);
  return results ? ceil_div(meaning_count(node->inputs[0], 0), results) : 0;
}

const OpDef op_col2im = {
    .name = "col2im",
    .help = "adds columns of window elements into an image",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"image", ATTR_DIMS, true},
                                          {"block", ATTR_INTS, true},
                                          {"strides", ATTR_INTS, false},
                                          {"pads", ATTR_INTS, false},
                                          {"dilations", ATTR_INTS, false},
                                          {0}},
    .infer = infer_col2im,
    .reference = reference_col2im,
    .terms = terms_of_col2im,
};
