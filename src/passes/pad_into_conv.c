// What slides over an image pads it by itself: zeros put around a convolution's input by a Pad become part of its own padding, those around a transposed convolution's
// take away from what it removes of its result, and a pool ignores what cannot win its maximum or adds nothing to its mean. A convolution does not multiply
// what it pads itself, and zero times infinity is no number: constant weights that are not finite are left alone.
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/pad/pad.h"
#include "kernels/pool/pool.h"
#include "kernels/control/region.h"
#include "kernels/fused.h"
#include "passes/programs.h"
#include "passes/rule.h"

// The number that a Pad puts around; NaN where it is none, or open.
static double pad_value(const Node *pad) {
  if (strcmp(node_string(pad, "mode", "constant"), "constant")) return NAN;
  if (pad->input_count < 2 || !pad->inputs[1]) return 0;
  const Tensor *value = pad->inputs[1]->constant;
  return value ? tensor_get_f(value, 0) : NAN;
}

static bool may_be_finite(const Value *weights) {
  const Tensor *tensor = weights->constant;
  for (int64_t i = 0, count = tensor && dtype_is_float(weights->dtype) ? tensor_count(tensor) : 0; i < count; i++)
    if (!isfinite(tensor_get_f(tensor, i))) return false;
  return true;
}

// The node's own pads and `times` the strides (NULL: once) what the Pad adds; false where that adds to more than the axes of the image, or by sizes that only a run tells.
static bool sum_pads(const Node *pad, const Node *node, const int64_t *times, int64_t *pads) {
  int rank = node->inputs[0]->rank, spatial = rank - 2, count;
  const Dim *extra = node_dims(pad, "pads", &count);
  if (count != 2 * rank || extra[0] || extra[1] || extra[rank] || extra[rank + 1]) return false;
  const int64_t *own = node_ints(node, "pads", &count);
  for (int i = 0; i < 2 * spatial; i++) {
    Dim more = extra[i < spatial ? 2 + i : rank + 2 + i - spatial];
    if (!dim_is_static(more) || more > INT32_MAX) return false;
    pads[i] = more * (times ? times[i % spatial] : 1) + (own ? own[i] : 0);
  }
  return true;
}

static Status take_pads(Rewrite *r, Node *taking, const int64_t *pads) {
  node_set_ints(taking, "pads", pads, 2 * (operand(r, "x")->rank - 2));
  node_set_input(taking, 0, operand(r, "x"));
  return rewrite_root_by(r, taking);
}

static Status into_conv(Rewrite *r) {
  const Node *pad = matched(r, "pad"), *root = matched(r, "root");
  int64_t pads[2 * MAX_RANK];
  WANT(pad_value(pad) == 0, "the padding is not zero");
  WANT(sum_pads(pad, root, NULL, pads), "it does not pad the image alone, or by open sizes");
  WANT(may_be_finite(operand(r, "w")), "a weight is not finite");
  return take_pads(r, rewrite_like(r, root), pads);
}

// A zero more in front is `stride` elements more of the result in front, where only other inputs add to.
static Status into_conv_transpose(Rewrite *r) {
  const Node *pad = matched(r, "pad"), *root = matched(r, "root");
  int64_t pads[2 * MAX_RANK], times[MAX_RANK];
  int count, spatial = root->inputs[0]->rank - 2;
  const int64_t *strides = node_ints(root, "strides", &count);
  for (int i = 0; i < spatial; i++) times[i] = strides ? -strides[i] : -1;
  WANT(pad_value(pad) == 0, "the padding is not zero");
  WANT(sum_pads(pad, root, times, pads), "it does not pad the image alone, or by open sizes");
  for (int i = 0; i < 2 * spatial; i++) WANT(pads[i] >= 0, "not all that the padding adds to the result is removed");
  WANT(may_be_finite(operand(r, "w")), "a weight is not finite");
  return take_pads(r, rewrite_like(r, root), pads);
}

// Every window sees some of the image, and lies within its padding.
static bool windows_see_image(const Node *pool, const Value *x, const int64_t *pads) {
  int axes = x->rank - 2, count;
  const int64_t *kernel = node_ints(pool, "kernel", &count), *dilations = node_ints(pool, "dilations", &count);
  bool see = node_int(pool, "ceil_mode", 0) == 0;
  for (int i = 0; i < axes; i++)
    see = see && (!dilations || dilations[i] == 1) && dim_is_static(x->dims[2 + i]) && x->dims[2 + i] > 0 && pads[i] >= 0 &&
          pads[axes + i] >= 0 && pads[i] < kernel[i] && pads[axes + i] < kernel[i];
  return see;
}

static bool ends_in_relu(const Value *x) {
  const Node *node = x->producer;
  if (!node || node->output_count != 1) return false;
  if (fused_anchor(node) != node) node = region_body(node)->last;
  const Program *program = is_program_node(node) ? node_program(node, "program") : NULL;
  return program && program->code[program->outputs[0]].op == OP_relu;
}

// As a double that is equal to nothing but it.
static double least_of(DType dtype) {
  int bits = dtype_bits(dtype);
  if (dtype_kind(dtype) == KIND_UNSIGNED || dtype_kind(dtype) == KIND_BOOL) return 0;
  return dtype_kind(dtype) == KIND_SIGNED && bits <= 32 ? -ldexp(1, bits - 1) : -INFINITY;
}

static Status into_pool(Rewrite *r) {
  const Node *pad = matched(r, "pad"), *root = matched(r, "root");
  const Value *x = operand(r, "x");
  int64_t pads[2 * MAX_RANK];
  int count;
  double value = pad_value(pad);
  bool averages = pool_is_average(root), counts = node_int(root, "count_include_pad", 0) != 0, own = false;
  const int64_t *own_pads = node_ints(root, "pads", &count);
  for (int i = 0; i < count; i++) own = own || own_pads[i] != 0;
  WANT(root->output_count == 1, "places of maxima count the padding");
  WANT(sum_pads(pad, root, NULL, pads), "it does not pad the image alone, or by open sizes");
  WANT(windows_see_image(root, x, pads), "a window may see nothing, or more than the padding");
  WANT(!averages || (value == 0 && (counts || !own)), "the padding is not zero, or what the pool pads is not counted");
  WANT(averages || !strcmp(node_string(root, "kind", ""), "max"), "it is a norm");
  WANT(averages || value <= least_of(x->dtype) || (value <= 0 && ends_in_relu(x)), "the padding may win");
  Node *pool = rewrite_like(r, root);
  if (averages) node_set_int(pool, "count_include_pad", 1);
  return take_pads(r, pool, pads);
}

static const char infinite_weights[] = "weights that only a run tells may be infinite";
static const Rule pad_into_conv = {.name = "pad_into_conv",
                                   .help = "a convolution pads by itself",
                                   .pattern = "conv(pad: pad(x, ...)!, w, ...)",
                                   .exactness = FINITE,
                                   .bound = infinite_weights,
                                   .tells_misses = true,
                                   .apply = into_conv};
static const Rule pad_into_conv_transpose = {.name = "pad_into_conv_transpose",
                                             .help = "a transposed convolution removes less instead of being given zeros",
                                             .pattern = "conv_transpose(pad: pad(x, ...)!, w, ...)",
                                             .exactness = FINITE,
                                             .bound = infinite_weights,
                                             .tells_misses = true,
                                             .apply = into_conv_transpose};
static const Rule pad_into_pool = {.name = "pad_into_pool",
                                   .help = "a pool pads by itself, with what its maximum ignores or its mean counts",
                                   .pattern = "pool(pad: pad(x, ...)!, ...)",
                                   .exactness = ZERO_SIGNS,
                                   .bound = "the largest of 0 and -0, and a sum with a 0 more, are either",
                                   .tells_misses = true,
                                   .apply = into_pool};

const Pass pass_pad_into_conv = {"pad_into_conv", "takes padding into convolutions and pools",
                                 (const Rule *const[]){&pad_into_conv, &pad_into_conv_transpose, &pad_into_pool, NULL}};
