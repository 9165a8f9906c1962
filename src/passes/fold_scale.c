// A convolution, a transposed one or a product with a matrix of weights, followed by per-channel affine maps of its result (a bias, then a batch norm at inference;
// scales and shifts written out) takes their scale into its weights; what is left is the addition of one constant per channel.
// One scale for all channels stays behind a product: it costs its epilogue nothing, and matrices are large.
//
// This is one of the places that reassociate arithmetic (affine.h). Scale and shift are composed in double from the parameters, as coefficients,
// never as differences of results. What changes is the rounding: each weight once more, to its own type, and the sum is no longer rounded
// between the shifts. The pass refuses
//   - weights that the scale takes out of their type's digits, and shifts so large that rounding beside them shows. (Of a transposed convolution, what one tap of
//     the kernel gives is taken for the result.)
//   - scales that pass, on their way to the last one, near the ends of the type's range: infinities and zeros that arise there stay.
#include <math.h>
#include <string.h>

#include "kernels/matmul/matmul.h"
#include "passes/affine.h"
#include "passes/linear.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MAX_CHAIN = 8 };

// Weights by the channels of the result: element k is of channel k / block * columns + k / inner % columns. Each of `taps` successive elements may be all that a
// result sees of its channel.
typedef struct Weights {
  const Tensor *tensor;
  int axis;  // of the channels, in the result
  int64_t count, channels, columns, inner, block, taps;
} Weights;

static Weights weights_of(const Node *node) {
  const Tensor *tensor = node->inputs[1]->constant;
  Channels channels;
  node->op->channels(node, &channels);
  Weights w = {tensor, .axis = channels.result_axis, .count = tensor_count(tensor), .inner = 1, .taps = 1};
  w.columns = tensor->dims[channels.weight_axis];
  w.channels = w.columns * channels.groups;
  w.block = w.count / channels.groups;
  for (int i = channels.weight_axis + 1; i < tensor->rank; i++) w.inner *= tensor->dims[i];
  if (channels.scattered) w.taps = w.inner;
  return w;
}

static int64_t channel_of(const Weights *w, int64_t k) { return k / w->block * w->columns + k / w->inner % w->columns; }

// The sums of the magnitudes of scaled weights, the least of a channel's taps; false where a weight loses digits, or leaves what it may be.
static bool scaled_sums(const Weights *w, const Affine *maps, bool becomes_half, Arena *arena, double *least) {
  double *sums = arena_array(arena, double, (size_t)(w->channels * w->taps));
  for (int64_t k = 0; k < w->count; k++) {
    int64_t channel = channel_of(w, k);
    double exact = tensor_get_f(w->tensor, k) * maps[channel].scales[0];
    if (!weight_fits(w->tensor->dtype, exact, becomes_half)) return false;
    sums[channel * w->taps + k % w->taps] += fabs(exact);
  }
  for (int64_t k = 0; k < w->channels * w->taps; k++)
    least[k / w->taps] = k % w->taps ? fmin(least[k / w->taps], sums[k]) : sums[k];
  return true;
}

// Results on the way, of inputs within 2^12 of 1, must not leave the type's range where the last result would be back in it.
static bool stays_in_range(DType dtype, const Affine *map, double sum) {
  double last = fabs(map->scales[0]), most = dtype == DTYPE_F16 ? 0x1p16 : dtype == DTYPE_F64 ? 0x1p1000 : 0x1p127;
  double least = dtype == DTYPE_F16 ? 0x1p-14 : dtype == DTYPE_F64 ? 0x1p-1000 : 0x1p-126, result = last > 0 ? sum / last : 0;
  return (map->high <= last || result * map->high <= most * 0x1p-12) &&
         (map->low >= last || result * map->low >= least * 0x1p12);
}

static bool keeps_digits(const Weights *w, const Affine *maps, bool becomes_half, Arena *arena) {
  double *sums = arena_array(arena, double, (size_t)w->channels);
  if (!scaled_sums(w, maps, becomes_half, arena, sums)) return false;
  for (int64_t c = 0; c < w->channels; c++) {
    if (sums[c] > 0 && !stays_in_range(w->tensor->dtype, &maps[c], sums[c])) return false;
    if (!shift_fits(w->tensor->dtype, maps[c].most, sums[c], becomes_half)) return false;
  }
  return true;
}

static bool has_scale(const Node *node, const Affine *maps, int64_t channels) {
  double idle = node->op == &op_matmul && channels ? maps[0].scales[0] : 1;
  for (int64_t c = 0; c < channels; c++)
    if (maps[c].scales[0] != idle) return true;
  return false;
}

typedef struct Chain {
  Node *nodes[MAX_CHAIN];
  int count;     // of the longest run that may be folded
  Affine *maps;  // of the whole run, by channel
} Chain;

static Chain find_chain(Rewrite *r, const Node *node, const Weights *w, bool becomes_half) {
  Chain chain = {0};
  Affine *maps = affine_maps(r, w->channels);
  const Value *result = node->outputs[0];
  for (int n = 0; n < MAX_CHAIN; n++) {
    Node *user = only_user(result);
    AffineProgram program;
    if (!user || !affine_read(user, result, w->axis, w->channels, &program)) break;
    chain.nodes[n] = user;
    for (int64_t c = 0; c < w->channels; c++) {
      Affine map;
      if (!affine_of(&program, c, &map)) return chain;
      maps[c] = n ? affine_after(maps[c], map) : map;
    }
    if (has_scale(node, maps, w->channels) && keeps_digits(w, maps, becomes_half, rewrite_scratch(r))) {
      chain.count = n + 1;
      chain.maps = arena_copy(rewrite_scratch(r), maps, sizeof *maps * (size_t)w->channels);
    }
    result = user->outputs[0];
  }
  return chain;
}

static Status scaled(const Weights *w, const Affine *maps, Arena *arena, Tensor *out) {
  TRY(tensor_new(arena, w->tensor->dtype, w->tensor->rank, w->tensor->dims, out));
  for (int64_t k = 0; k < w->count; k++) tensor_set_f(out, k, tensor_get_f(w->tensor, k) * maps[channel_of(w, k)].scales[0]);
  return OK;
}

static Status apply(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *weight = operand(r, "w");
  WANT(dtype_is_float(root->outputs[0]->dtype), "it has no floats");
  WANT(root->op != &op_matmul || (weight->rank == 2 && value_use_count(weight) == 1),
       "it has several matrices, or shares its one");
  Weights w = weights_of(root);
  Chain chain = find_chain(r, root, &w, weights_become_half(r, weight->dtype));
  WANT(chain.count, "nothing behind it scales channels so that its weights keep their digits");
  for (int i = 0; i < chain.count; i++) rewrite_cover(r, chain.nodes[i]);
  Tensor scaled_weight;
  TRY(scaled(&w, chain.maps, rewrite_graph(r)->arena, &scaled_weight));
  return affine_replace(r, chain.nodes[chain.count - 1]->outputs[0], root, root->inputs[0], &scaled_weight, w.axis, chain.maps);
}

static const Rule fold_scale = {.name = "fold_scale",
                                .help = "a convolution or product takes the scales behind it into its weights",
                                .pattern = "@channels(x, #w, ...)",
                                .exactness = ROUNDED | ZERO_SIGNS,
                                .bound = "2^-14 of a result's own scale; see the file's beginning",
                                .apply = apply};

const Pass pass_fold_scale = {
    "fold_scale", "takes batch norms and scales into weights",
    (const Rule *const[]){&fold_scale, &rule_scale_before_conv, &rule_scale_before_product, &rule_merge_linear, NULL}};
