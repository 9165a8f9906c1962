// A convolution, a transposed one or a product with a matrix of weights, followed by per-channel affine maps of its result (a bias, then a batch norm at inference;
// scales and shifts written out) takes their scale into its weights; what is left is the addition of one constant per channel.
// One scale for all channels stays behind a product: it costs its epilogue nothing, and matrices are large.
//
// This is one of the places that reassociate arithmetic. Scale and shift are composed in double from the parameters, as coefficients,
// never as differences of results. What changes is the rounding: each weight once more, to its own type, and the sum is no longer rounded
// between the shifts. The pass refuses
//   - weights that the scale takes out of their type's digits: any rounding at all below f32, more than half a unit from f32 on; or out
//     of half precision's range where they get that later;
//   - shifts so large that rounding beside them shows: the largest, times the rounding unit, must stay below 2^-14 of a result
//     of inputs about 1. Results so keep within 2^-14 of their own scale; and tricks that add and subtract a large number to round are left alone.
//     (Of a transposed convolution, what one tap of the kernel gives is taken for the result.) Where the weights become half precision later, a shift of sixteen times such a result is the most;
//   - scales that pass, on their way to the last one, near the ends of the type's range: infinities and zeros that arise there stay.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/matmul/matmul.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MAX_CODE = 128, MAX_INPUTS_OF_USER = 16, MAX_CHAIN = 8, HALF_MOST = 65504 };

// Weights by the channels of the result: element k is of channel k / block * columns + k / inner % columns. Each of `taps` successive elements may be all that a
// result sees of its channel.
typedef struct Weights {
  const Tensor *tensor;
  int axis;  // of the channels, in the result
  int64_t count, channels, columns, inner, block, taps;
} Weights;

static Weights weights_of(const Node *node) {
  const Tensor *tensor = node->inputs[1]->constant;
  Weights w = {tensor, .axis = 1, .count = tensor_count(tensor), .taps = 1};
  if (node->op == &op_matmul) w.axis = node->outputs[0]->rank - 1;
  w.columns = tensor->dims[node->op == &op_conv ? 0 : 1];
  w.channels = w.columns;
  w.block = w.count;
  w.inner = node->op == &op_conv && w.channels ? w.count / w.channels : 1;
  if (node->op != &op_conv_transpose) return w;
  int64_t group = node_int(node, "group", 1);
  w.channels *= group;
  w.block /= group;
  for (int i = 2; i < tensor->rank; i++) w.inner *= tensor->dims[i];
  w.taps = w.inner;
  return w;
}

static int64_t channel_of(const Weights *w, int64_t k) { return k / w->block * w->columns + k / w->inner % w->columns; }

// scale * x + shift; `most` is the largest shift met on the way, in units of the result, `high` and `low` the largest and the smallest scale.
typedef struct Affine {
  double scale, shift, most, high, low;
} Affine;

static Affine affine_constant(double value) { return (Affine){.shift = value, .most = fabs(value), .low = INFINITY}; }
static const Affine affine_identity = {.scale = 1, .high = 1, .low = 1};

static Affine with_scale(Affine a, double scale) {
  a.scale = scale;
  if (scale != 0) {
    a.high = fmax(a.high, fabs(scale));
    a.low = fmin(a.low, fabs(scale));
  }
  return a;
}

static double as_stored(DType dtype, double value) {
  uint64_t element[2];
  element_set_f(dtype, element, value);
  return element_get_f(dtype, element);
}

static Affine affine_sum(Affine a, Affine b, double sign) {
  Affine sum = {.shift = a.shift + sign * b.shift, .high = fmax(a.high, b.high), .low = fmin(a.low, b.low)};
  sum.most = fmax(fmax(a.most, b.most), fabs(sum.shift));
  return with_scale(sum, a.scale + sign * b.scale);
}

static Affine affine_scaled(Affine a, double factor) {
  Affine scaled = {.shift = a.shift * factor, .most = a.most * fabs(factor), .high = a.high, .low = a.low};
  return with_scale(scaled, a.scale * factor);
}

static Affine affine_after(Affine inner, Affine outer) {
  Affine both = affine_scaled(inner, outer.scale);
  both.shift += outer.shift;
  both.most = fmax(both.most, fmax(outer.most, fabs(both.shift)));
  if (inner.scale == 0) return both;
  both.high = fmax(both.high, fabs(inner.scale) * outer.high);
  both.low = fmin(both.low, fabs(inner.scale) * outer.low);
  return both;
}

// One instruction as a map of the variable; false where it is none, or where it rounds the variable below `storage`.
static bool affine_step(const Instruction *in, Affine *values, DType storage, Affine *out) {
  const Affine *a = &values[in->args[0]], *b = &values[in->args[1]];
  switch (in->op) {
    case OP_const: *out = affine_constant(in->number); return true;
    case OP_add: *out = affine_sum(*a, *b, 1); return true;
    case OP_sub: *out = affine_sum(*a, *b, -1); return true;
    case OP_neg: *out = affine_scaled(*a, -1); return true;
    case OP_mul:
      *out = b->scale == 0 ? affine_scaled(*a, b->shift) : affine_scaled(*b, a->shift);
      return a->scale == 0 || b->scale == 0;
    case OP_div: *out = affine_scaled(*a, 1 / b->shift); return b->scale == 0;
    case OP_cast:
      *out = *a;
      if (a->scale == 0) *out = affine_constant(as_stored(in->dtype, a->shift));
      return a->scale == 0 || dtype_bits(in->dtype) >= dtype_bits(storage);
    default: return false;
  }
}

// The user's program as a map of its input `variable`, for one channel.
static bool affine_of(const Node *user, const Value *variable, int64_t channel, Affine *out) {
  const Program *program = node_program(user, "program");
  Affine values[MAX_CODE];
  for (int i = 0; i < program->count; i++) {
    const Instruction *in = &program->code[i];
    if (!dtype_is_float(in->dtype)) return false;
    if (in->op != OP_input) {
      if (!affine_step(in, values, variable->dtype, &values[i])) return false;
      continue;
    }
    const Value *input = user->inputs[in->args[0]];
    if (input == variable) {
      values[i] = affine_identity;
      continue;
    }
    const Tensor *tensor = input->constant;
    double value = tensor_get_f(tensor, tensor_count(tensor) == 1 ? 0 : channel);
    values[i] = affine_constant(value);
  }
  *out = values[program->outputs[0]];
  return isfinite(out->scale) && isfinite(out->most);
}

// A pointwise node of the variable and of constants with one value for each channel, or one for all.
static bool takes_channels(const Node *user, const Value *variable, const Weights *w) {
  if (user->op != &op_elementwise || user->output_count != 1 || node_attribute(user, "dims")) return false;
  if (!value_same_shape(user->outputs[0], variable) || user->outputs[0]->dtype != variable->dtype) return false;
  const Program *program = node_program(user, "program");
  if (user->input_count > MAX_INPUTS_OF_USER || program->count > MAX_CODE || program->output_count != 1) return false;
  for (int i = 0; i < user->input_count; i++) {
    const Value *input = user->inputs[i];
    if (input == variable) continue;
    if (!input || !input->constant) return false;
    for (int k = 0; k < input->rank; k++) {
      int axis = variable->rank - input->rank + k;
      if (input->dims[k] != 1 && !(axis == w->axis && input->dims[k] == w->channels)) return false;
    }
  }
  return true;
}

// The sums of the magnitudes of scaled weights, the least of a channel's taps; false where a weight loses digits, or leaves what it may be.
static bool scaled_sums(const Weights *w, const Affine *maps, double most, Arena *arena, double *least) {
  DType dtype = w->tensor->dtype;
  double unit = dtype == DTYPE_F64 ? DBL_EPSILON / 2 : dtype == DTYPE_F32 ? FLT_EPSILON / 2 : 0;
  double *sums = arena_array(arena, double, (size_t)(w->channels * w->taps));
  for (int64_t k = 0; k < w->count; k++) {
    int64_t channel = channel_of(w, k);
    double exact = tensor_get_f(w->tensor, k) * maps[channel].scale;
    if (!(fabs(as_stored(dtype, exact) - exact) <= unit * fabs(exact)) || fabs(exact) > most) return false;
    sums[channel * w->taps + k % w->taps] += fabs(exact);
  }
  for (int64_t k = 0; k < w->channels * w->taps; k++)
    least[k / w->taps] = k % w->taps ? fmin(least[k / w->taps], sums[k]) : sums[k];
  return true;
}

// Results on the way, of inputs within 2^12 of 1, must not leave the type's range where the last result would be back in it.
static bool stays_in_range(DType dtype, const Affine *map, double sum) {
  double last = fabs(map->scale), most = dtype == DTYPE_F16 ? 0x1p16 : dtype == DTYPE_F64 ? 0x1p1000 : 0x1p127;
  double least = dtype == DTYPE_F16 ? 0x1p-14 : dtype == DTYPE_F64 ? 0x1p-1000 : 0x1p-126, result = last > 0 ? sum / last : 0;
  return (map->high <= last || result * map->high <= most * 0x1p-12) &&
         (map->low >= last || result * map->low >= least * 0x1p12);
}

static bool keeps_digits(const Weights *w, const Affine *maps, bool becomes_half, Arena *arena) {
  double unit = w->tensor->dtype == DTYPE_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2;
  double *sums = arena_array(arena, double, (size_t)w->channels);
  if (!scaled_sums(w, maps, becomes_half ? HALF_MOST : INFINITY, arena, sums)) return false;
  for (int64_t c = 0; c < w->channels; c++) {
    if (sums[c] > 0 && !stays_in_range(w->tensor->dtype, &maps[c], sums[c])) return false;
    if (maps[c].most * unit > 0x1p-14 * sums[c] || (becomes_half && maps[c].most > 16 * sums[c])) return false;
  }
  return true;
}

static bool has_scale(const Node *node, const Affine *maps, int64_t channels) {
  double idle = node->op == &op_matmul && channels ? maps[0].scale : 1;
  for (int64_t c = 0; c < channels; c++)
    if (maps[c].scale != idle) return true;
  return false;
}

typedef struct Chain {
  Node *nodes[MAX_CHAIN];
  int count;     // of the longest run that may be folded
  Affine *maps;  // of the whole run, by channel
} Chain;

static Chain find_chain(const Node *node, const Weights *w, bool becomes_half, Arena *scratch) {
  Arena *arena = node->graph->arena;
  Chain chain = {0};
  Affine *maps = arena_array(arena, Affine, (size_t)w->channels);
  for (int64_t c = 0; c < w->channels; c++) maps[c] = affine_identity;
  const Value *result = node->outputs[0];
  for (int n = 0; n < MAX_CHAIN; n++) {
    Node *user = only_user(result);
    if (!user || !takes_channels(user, result, w)) break;
    chain.nodes[n] = user;
    for (int64_t c = 0; c < w->channels; c++) {
      Affine map;
      if (!affine_of(user, result, c, &map)) return chain;
      maps[c] = affine_after(maps[c], map);
    }
    if (has_scale(node, maps, w->channels) && keeps_digits(w, maps, becomes_half, scratch)) {
      chain.count = n + 1;
      chain.maps = arena_copy(arena, maps, sizeof *maps * (size_t)w->channels);
    }
    result = user->outputs[0];
  }
  return chain;
}

static Status scaled(const Weights *w, const Affine *maps, Arena *arena, Tensor *out) {
  TRY(tensor_new(arena, w->tensor->dtype, w->tensor->rank, w->tensor->dims, out));
  for (int64_t k = 0; k < w->count; k++) tensor_set_f(out, k, tensor_get_f(w->tensor, k) * maps[channel_of(w, k)].scale);
  return OK;
}

// The shift as a node behind the convolution, computed in at least f32; the result itself where there is none.
static Status add_shift(Rewrite *r, Value *result, const Weights *w, const Affine *maps, Value **out) {
  Graph *graph = rewrite_graph(r);
  *out = result;
  bool any = false;
  for (int64_t c = 0; c < w->channels; c++) any = any || maps[c].shift != 0;
  if (!any) return OK;
  DType dtype = result->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  int64_t dims[MAX_RANK];
  for (int i = 0; i < result->rank; i++) dims[i] = i == w->axis ? w->channels : 1;
  Tensor shift;
  TRY(tensor_new(graph->arena, dtype, result->rank, dims, &shift));
  for (int64_t c = 0; c < w->channels; c++) tensor_set_f(&shift, c, maps[c].shift);
  Program *program = program_new(graph->arena, 2);
  int product = program_input(program, 0, dtype), constant = program_input(program, 1, dtype);
  int sum = program_op2(program, OP_add, product, constant);
  program_output(program, program_cast(program, result->dtype, sum));
  Node *add = rewrite_add(r, &op_elementwise, 2, (Value *[]){result, graph_add_constant(graph, NULL, &shift)}, 1);
  node_set_program(add, "program", program);
  TRY(node_infer(add));
  *out = add->outputs[0];
  return OK;
}

static Status apply(Rewrite *r) {
  Node *root = matched(r, "root");
  Value *weight = operand(r, "w"), *shifted;
  WANT(!root->epilogue && dtype_is_float(root->outputs[0]->dtype), "it carries something already, or has no floats");
  WANT(root->op != &op_matmul || (weight->rank == 2 && value_use_count(weight) == 1),
       "it has several matrices, or shares its one");
  Weights w = weights_of(root);
  bool becomes_half = rewrite_options(r)->precision != DTYPE_COUNT && weight->dtype == DTYPE_F32;
  Chain chain = find_chain(root, &w, becomes_half, rewrite_scratch(r));
  WANT(chain.count, "nothing behind it scales channels so that its weights keep their digits");
  for (int i = 0; i < chain.count; i++) rewrite_cover(r, chain.nodes[i]);
  Tensor scaled_weight;
  TRY(scaled(&w, chain.maps, rewrite_graph(r)->arena, &scaled_weight));
  Node *conv = rewrite_like(r, root);
  node_set_input(conv, 1, graph_add_constant(rewrite_graph(r), weight->name, &scaled_weight));
  TRY(node_infer(conv));
  TRY(add_shift(r, conv->outputs[0], &w, chain.maps, &shifted));
  rewrite_replace(r, chain.nodes[chain.count - 1]->outputs[0], shifted);
  return OK;
}

static const Rule fold_scale = {.name = "fold_scale",
                                .help = "a convolution or product takes the scales behind it into its weights",
                                .pattern = "conv|conv_transpose|matmul(x, #w, ...)",
                                .exactness = ROUNDED | ZERO_SIGNS,
                                .bound = "2^-14 of a result's own scale; see the file's beginning",
                                .apply = apply};

const Pass pass_fold_scale = {"fold_scale", "takes batch norms and scales into weights",
                              (const Rule *const[]){&fold_scale, NULL}};
