// A scale and a shift for each channel of the image in front of a convolution (a picture's normalisation, a batch norm) go into its weights; the shift becomes a
// constant behind it, where the convolution pads nothing: zeros that it pads itself would not be shifted.
//
// Arithmetic is reassociated and bounded, as affine.h tells; scales far from 1 are left where they are.
#include <math.h>

#include "kernels/conv/conv.h"
#include "passes/affine.h"
#include "passes/programs.h"
#include "passes/rule.h"

static bool pads_nothing(const Node *conv) {
  int count;
  const int64_t *pads = node_ints(conv, "pads", &count);
  for (int i = 0; i < count; i++)
    if (pads[i] != 0) return false;
  return true;
}

static bool read_maps(const AffineProgram *scale, bool may_shift, Affine *maps) {
  for (int64_t c = 0; c < scale->channels; c++)
    if (!affine_of(scale, c, &maps[c]) || !(maps[c].high < 0x1p32) || maps[c].low < 0x1p-32 ||
        (!may_shift && maps[c].shift != 0))
      return false;
  return true;
}

// One channel of the result; false where its weights lose digits, or are lost beside the shift.
static bool scale_channel(const Tensor *weight, int64_t channel, int64_t first_in, const Affine *maps, bool becomes_half,
                          Tensor *out, Affine *behind) {
  double sum = 0;
  int64_t count = tensor_count(weight) / weight->dims[0], inner = count / weight->dims[1];
  for (int64_t k = 0; k < count; k++) {
    const Affine *map = &maps[first_in + k / inner];
    double own = tensor_get_f(weight, channel * count + k), exact = own * map->scales[0];
    if (!weight_fits(weight->dtype, exact, becomes_half) || fabs(exact) > 0x1p64) return false;
    tensor_set_f(out, channel * count + k, exact);
    sum += fabs(exact);
    behind->shift += own * map->shift;
    behind->most += fabs(own) * map->most;
  }
  return shift_fits(weight->dtype, behind->most, sum, becomes_half);
}

static Status apply(Rewrite *r) {
  Node *root = matched(r, "root"), *scale = matched(r, "scale");
  const Tensor *weight = operand(r, "w")->constant;
  Value *x = only_variable(scale);
  AffineProgram program;
  Tensor scaled;
  WANT(weight->dtype == DTYPE_F32 || weight->dtype == DTYPE_F64, "its type has too few digits");
  WANT(x && tensor_count(weight) && x->rank == root->inputs[0]->rank && dim_is_static(x->dims[1]),
       "it is no map of one image of known channels");
  int64_t channels = x->dims[1], group = node_int(root, "group", 1), per_group = weight->dims[0] / group;
  Affine *maps = arena_array(rewrite_scratch(r), Affine, (size_t)channels);
  Affine *behind = arena_array(rewrite_scratch(r), Affine, (size_t)weight->dims[0]);
  WANT(affine_read(scale, x, 1, channels, &program), "it is no map of channels");
  WANT(read_maps(&program, pads_nothing(root), maps), "what it does is no scale, or it shifts what is padded");
  TRY(tensor_new(rewrite_graph(r)->arena, weight->dtype, weight->rank, weight->dims, &scaled));
  bool becomes_half = weights_become_half(r, weight->dtype);
  for (int64_t c = 0; c < weight->dims[0]; c++)
    WANT(scale_channel(weight, c, c / per_group * weight->dims[1], maps, becomes_half, &scaled, &behind[c]),
         "its weights would lose digits, or be lost beside the shift");
  return affine_replace(r, root->outputs[0], root, x, &scaled, 1, behind);
}

const Rule rule_scale_before_conv = {.name = "scale_before_conv",
                                     .help = "a convolution takes the scales in front of it into its weights",
                                     .pattern = "conv(scale: elementwise(...)!, #w)",
                                     .exactness = ROUNDED | ZERO_SIGNS | FINITE,
                                     .bound = "2^-14 of a result's own scale; see the file's beginning",
                                     .apply = apply};
