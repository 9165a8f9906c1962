// A convolution pads by itself: zeros put around its input by a Pad become part of its own padding. Exact where weights are finite: what it
// pads itself it does not multiply, and zero times infinity is no number. Constants that are not are left alone.
#include <math.h>
#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/pad/pad.h"
#include "passes/rule.h"

static bool pads_with_zero(const Node *pad) {
  if (strcmp(node_string(pad, "mode", "constant"), "constant")) return false;
  if (pad->input_count < 2 || !pad->inputs[1]) return true;
  const Tensor *value = pad->inputs[1]->constant;
  return value && tensor_get_f(value, 0) == 0;
}

static bool may_be_finite(const Value *weights) {
  const Tensor *tensor = weights->constant;
  for (int64_t i = 0, count = tensor && dtype_is_float(weights->dtype) ? tensor_count(tensor) : 0; i < count; i++)
    if (!isfinite(tensor_get_f(tensor, i))) return false;
  return true;
}

// The pads that both come to; false where the node pads more than the axes of the image, or by sizes that only a run tells.
static bool sum_pads(const Node *pad, const Node *conv, int64_t *pads) {
  int rank = conv->inputs[0]->rank, spatial = rank - 2, count;
  const Dim *extra = node_dims(pad, "pads", &count);
  if (count != 2 * rank || extra[0] || extra[1] || extra[rank] || extra[rank + 1]) return false;
  const int64_t *own = node_ints(conv, "pads", &count);
  for (int i = 0; i < 2 * spatial; i++) {
    Dim more = extra[i < spatial ? 2 + i : rank + 2 + i - spatial];
    if (!dim_is_static(more)) return false;
    pads[i] = more + (own ? own[i] : 0);
  }
  return true;
}

static Status apply(Rewrite *r) {
  Node *pad = matched(r, "pad");
  int64_t pads[2 * MAX_RANK];
  WANT(pads_with_zero(pad), "the padding is not zero");
  WANT(sum_pads(pad, matched(r, "root"), pads), "it does not pad the image alone, or by open sizes");
  WANT(may_be_finite(operand(r, "w")), "a weight is not finite");
  Node *conv = rewrite_like(r, matched(r, "root"));
  node_set_ints(conv, "pads", pads, 2 * (operand(r, "x")->rank - 2));
  node_set_input(conv, 0, operand(r, "x"));
  return rewrite_root_by(r, conv);
}

static const Rule pad_into_conv = {.name = "pad_into_conv",
                                   .help = "a convolution pads by itself",
                                   .pattern = "conv(pad: pad(x, ...)!, w, ...)",
                                   .exactness = FINITE,
                                   .bound = "weights that only a run tells may be infinite",
                                   .tells_misses = true,
                                   .apply = apply};

const Pass pass_pad_into_conv = {"pad_into_conv", "takes zero padding into convolutions",
                                 (const Rule *const[]){&pad_into_conv, NULL}};
