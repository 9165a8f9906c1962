// Convolutions and pools, with what stands around them in models: pads in front, batch norms written out and activations behind.
#include <math.h>

#include "tests/random/maker.h"

#include <math.h>

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/pad/pad.h"
#include "kernels/pool/pool.h"

static Value *draw_image(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  if (x) return x;
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  int rank = 3 + maker_below(maker, 2);
  Dim dims[4] = {1 + maker_below(maker, 2), 1 + maker_below(maker, 4), 2 + maker_below(maker, 4), 2 + maker_below(maker, 4)};
  if (!dim_is_static(maker->sizes[0])) dims[maker_one_in(maker, 2) ? 0 : rank - 1] = maker->sizes[0];
  return maker_input(maker, dtypes[maker_below(maker, COUNT_OF(dtypes))], rank, dims);
}

static void draw_window(Maker *maker, Node *node, int axes, const int64_t *kernel) {
  int64_t strides[MAX_RANK], dilations[MAX_RANK], pads[2 * MAX_RANK];
  int beyond = maker_one_in(maker, 10) ? 2 : 0;  // windows that see nothing but padding
  for (int i = 0; i < axes; i++) {
    strides[i] = 1 + maker_below(maker, 2);
    dilations[i] = 1 + (kernel[i] > 1 && maker_one_in(maker, 5));
    pads[i] = maker_below(maker, (int)kernel[i] + beyond);
    pads[axes + i] = maker_below(maker, (int)kernel[i] + beyond);
  }
  if (maker_one_in(maker, 2)) node_set_ints(node, "strides", strides, axes);
  if (maker_one_in(maker, 6)) node_set_ints(node, "dilations", dilations, axes);
  if (!maker_one_in(maker, 3)) node_set_ints(node, "pads", pads, 2 * axes);
}

static Value *pad(Maker *maker, Value *x) {
  static const char *const modes[] = {"constant", "constant", "constant", "reflect", "edge", "wrap"};
  Dim pads[2 * MAX_RANK] = {0};
  bool everywhere = maker_one_in(maker, 5);
  for (int i = 0; i < 2; i++)
    for (int k = everywhere || x->rank < 3 ? 0 : 2; k < x->rank; k++) pads[i * x->rank + k] = maker_below(maker, 3);
  Value *inputs[2] = {x};
  int count = maker_one_in(maker, 2) ? 2 : 1;
  double fill = maker_one_in(maker, 3) ? 2 : 0;
  if (dtype_is_float(x->dtype) && maker_one_in(maker, 8)) fill = -INFINITY;
  if (count == 2) inputs[1] = maker_scalar(maker, x->dtype, fill);
  const char *mode = modes[maker_below(maker, COUNT_OF(modes))];
  Node *node = maker_node(maker, &op_pad, *mode == 'c' ? count : 1, inputs, 1);
  node_set_dims(node, "pads", pads, 2 * x->rank);
  if (*mode != 'c' || maker_one_in(maker, 2)) node_set_string(node, "mode", mode);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static Value *padded_or_not(Maker *maker, Value *x) {
  Value *padded = maker_one_in(maker, 4) ? pad(maker, x) : NULL;
  return padded && is_image(padded) ? padded : x;
}

static bool make_pad(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  x = x && x->rank ? pad(maker, x) : NULL;
  return x && (!maker_one_in(maker, 3) || pad(maker, x));
}

// Mostly constant; sometimes computed from a constant, sometimes an input.
static Value *draw_weight(Maker *maker, DType dtype, int rank, const int64_t *dims) {
  Builder b = {.graph = maker->graph};
  Value *weight = maker_constant(maker, dtype, rank, dims);
  if (maker_one_in(maker, 8)) weight = build_binary(&b, OP_mul, weight, build_scalar(&b, dtype, 2));
  if (maker_one_in(maker, 10)) weight = maker_input(maker, dtype, rank, dims);
  status_free(b.status);
  return weight;
}

// A scale and a shift for each channel, in one to four nodes; sometimes along another axis, or divided by and subtracted from.
static Value *batch_norm(Maker *maker, Value *x) {
  Builder b = {.graph = maker->graph};
  int64_t dims[MAX_RANK];
  int axis = maker_one_in(maker, 5) ? maker_below(maker, x->rank) : 1;
  for (int k = 0; k < x->rank; k++) dims[k] = k == axis && dim_is_static(x->dims[k]) ? x->dims[k] : 1;
  int drop = maker_one_in(maker, 4) && axis == 1 ? 1 : 0;  // leading ones may be left out
  Value *y = x;
  for (int i = 0, steps = 1 + maker_below(maker, 4); i < steps; i++) {
    static const Opcode ops[] = {OP_sub, OP_mul, OP_mul, OP_add, OP_add, OP_div};
    Value *operand = maker_constant(maker, x->dtype, x->rank - drop, dims + drop);
    bool behind = maker_one_in(maker, 8);
    y = build_binary(&b, ops[maker_below(maker, COUNT_OF(ops))], behind ? operand : y, behind ? y : operand);
  }
  if (maker_one_in(maker, 2)) y = build_unary(&b, maker_one_in(maker, 2) ? OP_relu : OP_sigmoid, y);
  return maker_built(maker, &b, y) ? y : NULL;
}

static bool make_conv(Maker *maker) {
  Value *x = draw_image(maker);
  x = padded_or_not(maker, x);
  int64_t channels = x->dims[1], group = maker_one_in(maker, 4) ? (maker_one_in(maker, 2) ? channels : 2) : 1;
  if (channels % group) group = 1;
  bool transposed = maker_one_in(maker, 5);
  int64_t out = group * (1 + maker_below(maker, 3)), dims[MAX_RANK], kernel[MAX_RANK] = {0};
  dims[0] = transposed ? channels : out;
  dims[1] = transposed ? out / group : channels / group;
  for (int i = 0; i < x->rank - 2; i++) dims[2 + i] = kernel[i] = 1 + maker_below(maker, 3);
  Value *inputs[] = {x, draw_weight(maker, x->dtype, x->rank, dims)};
  Node *node = maker_node(maker, transposed ? &op_conv_transpose : &op_conv, 2, inputs, 1);
  draw_window(maker, node, x->rank - 2, kernel);
  if (group > 1) node_set_int(node, "group", group);
  Value *y = node->outputs[0];
  if (!maker_finish(maker, node)) return false;
  if (maker_one_in(maker, 2)) batch_norm(maker, y);
  return true;
}

// Convolutions of one image by kernels of several sizes, each with what stands behind it, and the image itself, summed.
static bool make_branches(Maker *maker) {
  Value *x = draw_image(maker), *sum = maker_one_in(maker, 2) ? x : NULL;
  Builder b = {.graph = maker->graph};
  bool apart = maker_one_in(maker, 4);
  int64_t channels = x->dims[1], stride = sum ? 1 : 1 + maker_below(maker, 2);
  int64_t group = apart || channels > MANY_CHANNELS ? channels : 1;
  if (sum && maker_one_in(maker, 2)) sum = batch_norm(maker, sum);
  for (int i = 0, count = 1 + maker_below(maker, 3); i < count; i++) {
    int64_t half = maker_below(maker, 2), dims[MAX_RANK] = {channels, channels / group}, strides[MAX_RANK], pads[2 * MAX_RANK];
    for (int k = 0; k < x->rank - 2; k++) {
      dims[2 + k] = 2 * half + 1, strides[k] = stride;
      pads[k] = pads[x->rank - 2 + k] = half;
    }
    Node *node = maker_node(maker, &op_conv, 2, (Value *[]){x, draw_weight(maker, x->dtype, x->rank, dims)}, 1);
    node_set_ints(node, "strides", strides, x->rank - 2);
    node_set_ints(node, "pads", pads, 2 * (x->rank - 2));
    node_set_int(node, "group", group);
    Value *y = node->outputs[0];
    if (!maker_finish(maker, node)) return false;
    if (maker_one_in(maker, 2)) y = batch_norm(maker, y);
    sum = sum && y ? build_binary(&b, maker_one_in(maker, 4) ? OP_sub : OP_add, sum, y) : y;
  }
  return maker_built(maker, &b, sum);
}

static bool make_pool(Maker *maker) {
  static const char *const kinds[] = {"max", "max", "average", "lp"};
  Value *x = draw_image(maker);
  Builder b = {.graph = maker->graph};
  if (maker_one_in(maker, 3)) x = build_unary(&b, OP_relu, x);
  Value *padded = x && maker_one_in(maker, 4) ? pad(maker, x) : NULL;
  if (padded && is_image(padded)) x = padded;
  if (!x) return false;
  x = padded_or_not(maker, x);
  const char *kind = kinds[maker_below(maker, COUNT_OF(kinds))];
  int64_t kernel[MAX_RANK];
  for (int i = 0; i < x->rank - 2; i++) kernel[i] = 1 + maker_below(maker, 3);
  Node *node = maker_node(maker, &op_pool, 1, &x, *kind == 'm' && maker_one_in(maker, 6) ? 2 : 1);
  node_set_string(node, "kind", kind);
  node_set_ints(node, "kernel", kernel, x->rank - 2);
  draw_window(maker, node, x->rank - 2, kernel);
  if (maker_one_in(maker, 4)) node_set_int(node, "ceil_mode", 1);
  if (*kind == 'a' && maker_one_in(maker, 2)) node_set_int(node, "count_include_pad", 1);
  return maker_finish(maker, node);
}

// One element around the image, of what a pool ignores and a convolution would add.
static Value *ring(Maker *maker, Value *x, double value) {
  Dim pads[2 * MAX_RANK] = {0};
  for (int k = 2; k < x->rank; k++) pads[k] = pads[x->rank + k] = maker_one_in(maker, 3) ? 0 : 1;
  Node *node = maker_node(maker, &op_pad, 2, (Value *[]){x, maker_scalar(maker, x->dtype, value)}, 1);
  node_set_dims(node, "pads", pads, 2 * x->rank);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static bool make_ringed_pool(Maker *maker) {
  Value *x = draw_image(maker);
  bool averages = maker_one_in(maker, 3), behind_relu = !averages && maker_one_in(maker, 2);
  Builder b = {.graph = maker->graph};
  if (behind_relu) x = build_unary(&b, OP_relu, x);
  status_free(b.status);
  x = x ? ring(maker, x, averages || behind_relu ? 0 : -INFINITY) : NULL;
  if (!x) return false;
  Node *node = maker_node(maker, &op_pool, 1, &x, 1);
  node_set_string(node, "kind", averages ? "average" : "max");
  node_set_ints(node, "kernel", (const int64_t[]){2, 3, 3}, x->rank - 2);
  if (averages && maker_one_in(maker, 2)) node_set_int(node, "count_include_pad", 1);
  if (maker_one_in(maker, 3)) node_set_ints(node, "strides", (const int64_t[]){2, 1, 2}, x->rank - 2);
  if (maker_one_in(maker, 4)) node_set_ints(node, "pads", (const int64_t[]){0, 1, 1, 0, 0, 0}, 2 * (x->rank - 2));
  return maker_finish(maker, node);
}

// A transposed convolution that removes what the zeros around its image add.
static bool make_ringed_transpose(Maker *maker) {
  Value *image = draw_image(maker), *x = ring(maker, image, 0);
  if (!x) return false;
  int64_t stride = 1 + maker_below(maker, 2), dims[4] = {x->dims[1], 1 + maker_below(maker, 2), 3, 3}, pads[4], strides[2];
  for (int i = 0; i < 4; i++) pads[i] = stride + maker_below(maker, 2) - maker_one_in(maker, 6);
  for (int i = 0; i < 2; i++) strides[i] = stride;
  Value *inputs[] = {x, maker_constant(maker, x->dtype, x->rank, dims)};
  Node *node = maker_node(maker, &op_conv_transpose, 2, inputs, 1);
  node_set_ints(node, "pads", pads, 2 * (x->rank - 2));
  node_set_ints(node, "strides", strides, x->rank - 2);
  return maker_finish(maker, node);
}

const MakeRow window_makes[] = {
    {"conv", 10, make_conv},
    {"branches", 3, make_branches},
    {"pool", 4, make_pool},
    {"pad", 3, make_pad},
    {"ringed_pool", 2, make_ringed_pool},
    {"ringed_transpose", 1, make_ringed_transpose},
    {0},
};
