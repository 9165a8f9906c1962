// A convolution followed by per-channel affine maps of its result (a bias, then a batch norm at inference; scales and shifts written out)
// takes their scale into its weights; what is left is the addition of one constant per channel.
//
// This is one of the places that reassociate arithmetic. Scale and shift are composed in double from the parameters, as coefficients,
// never as differences of results. What changes is the rounding: each weight once more, to its own type, and the sum is no longer rounded
// between the shifts. The pass refuses
//   - weights that the scale takes out of their type's digits: any rounding at all below f32, more than half a unit from f32 on; or out
//     of half precision's range where they get that later;
//   - shifts so large that rounding beside them shows: the largest, times the rounding unit, must stay below 2^-14 of a result
//     of inputs about 1. Results so keep within 2^-14 of their own scale; and tricks that add and subtract a large number to round are left alone.
//     Where the weights become half precision later, a shift of sixteen times such a result is the most;
//   - scales that pass, on their way to the last one, near the ends of the type's range: infinities and zeros that arise there stay.
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/conv/conv.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MAX_CODE = 128, MAX_INPUTS_OF_USER = 16, MAX_CHAIN = 8, HALF_MOST = 65504 };

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
static bool takes_channels(const Node *user, const Value *variable, int64_t channels) {
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
      if (input->dims[k] != 1 && !(axis == 1 && input->dims[k] == channels)) return false;
    }
  }
  return true;
}

// Whether the scaled weights of a channel keep their digits and stay below `most`; the sum of their magnitudes.
static bool scaled_fits(const Tensor *weight, int64_t first, int64_t count, double scale, double most, double *sum) {
  double unit = weight->dtype == DTYPE_F64 ? DBL_EPSILON / 2 : weight->dtype == DTYPE_F32 ? FLT_EPSILON / 2 : 0;
  *sum = 0;
  for (int64_t i = 0; i < count; i++) {
    double exact = tensor_get_f(weight, first + i) * scale;
    if (!(fabs(as_stored(weight->dtype, exact) - exact) <= unit * fabs(exact)) || fabs(exact) > most) return false;
    *sum += fabs(exact);
  }
  return true;
}

// Results on the way, of inputs within 2^12 of 1, must not leave the type's range where the last result would be back in it.
static bool stays_in_range(DType dtype, const Affine *map, double sum) {
  double last = fabs(map->scale), most = dtype == DTYPE_F16 ? 0x1p16 : dtype == DTYPE_F64 ? 0x1p1000 : 0x1p127;
  double least = dtype == DTYPE_F16 ? 0x1p-14 : dtype == DTYPE_F64 ? 0x1p-1000 : 0x1p-126, result = last > 0 ? sum / last : 0;
  return (map->high <= last || result * map->high <= most * 0x1p-12) &&
         (map->low >= last || result * map->low >= least * 0x1p12);
}

static bool keeps_digits(const Tensor *weight, int64_t channels, const Affine *maps, bool becomes_half) {
  int64_t count = channels ? tensor_count(weight) / channels : 0;
  double unit = weight->dtype == DTYPE_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2;
  for (int64_t c = 0; c < channels; c++) {
    double sum;
    if (!scaled_fits(weight, c * count, count, maps[c].scale, becomes_half ? HALF_MOST : INFINITY, &sum)) return false;
    if (sum > 0 && !stays_in_range(weight->dtype, &maps[c], sum)) return false;
    if (maps[c].most * unit > 0x1p-14 * sum || (becomes_half && maps[c].most > 16 * sum)) return false;
  }
  return true;
}

static bool has_scale(const Affine *maps, int64_t channels) {
  for (int64_t c = 0; c < channels; c++)
    if (maps[c].scale != 1) return true;
  return false;
}

typedef struct Chain {
  Node *nodes[MAX_CHAIN];
  int count;     // of the longest run that may be folded
  Affine *maps;  // of the whole run, by channel
} Chain;

static Chain find_chain(const Node *conv, int64_t channels, bool becomes_half) {
  Arena *arena = conv->graph->arena;
  Chain chain = {0};
  Affine *maps = arena_array(arena, Affine, (size_t)channels);
  for (int64_t c = 0; c < channels; c++) maps[c] = affine_identity;
  const Value *result = conv->outputs[0];
  for (int n = 0; n < MAX_CHAIN; n++) {
    Node *user = only_user(result);
    if (!user || !takes_channels(user, result, channels)) break;
    chain.nodes[n] = user;
    for (int64_t c = 0; c < channels; c++) {
      Affine map;
      if (!affine_of(user, result, c, &map)) return chain;
      maps[c] = affine_after(maps[c], map);
    }
    if (has_scale(maps, channels) && keeps_digits(conv->inputs[1]->constant, channels, maps, becomes_half)) {
      chain.count = n + 1;
      chain.maps = arena_copy(arena, maps, sizeof *maps * (size_t)channels);
    }
    result = user->outputs[0];
  }
  return chain;
}

static Status scaled(const Tensor *weight, int64_t channels, const Affine *maps, Arena *arena, Tensor *out) {
  TRY(tensor_new(arena, weight->dtype, weight->rank, weight->dims, out));
  int64_t per_channel = channels ? tensor_count(weight) / channels : 0;
  for (int64_t k = 0; k < channels * per_channel; k++)
    tensor_set_f(out, k, tensor_get_f(weight, k) * maps[k / per_channel].scale);
  return OK;
}

// The shift as a node behind the convolution, computed in at least f32; the result itself where there is none.
static Status add_shift(Rewrite *r, Value *result, int64_t channels, const Affine *maps, Value **out) {
  Graph *graph = rewrite_graph(r);
  *out = result;
  bool any = false;
  for (int64_t c = 0; c < channels; c++) any = any || maps[c].shift != 0;
  if (!any) return OK;
  DType dtype = result->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  int64_t dims[MAX_RANK];
  for (int i = 0; i < result->rank; i++) dims[i] = i == 1 ? channels : 1;
  Tensor shift;
  TRY(tensor_new(graph->arena, dtype, result->rank, dims, &shift));
  for (int64_t c = 0; c < channels; c++) tensor_set_f(&shift, c, maps[c].shift);
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
  int64_t channels = weight->dims[0];
  Chain chain = find_chain(root, channels, rewrite_options(r)->precision != DTYPE_COUNT && weight->dtype == DTYPE_F32);
  WANT(chain.count, "nothing behind it scales channels so that its weights keep their digits");
  for (int i = 0; i < chain.count; i++) rewrite_cover(r, chain.nodes[i]);
  Tensor scaled_weight;
  TRY(scaled(weight->constant, channels, chain.maps, rewrite_graph(r)->arena, &scaled_weight));
  Node *conv = rewrite_like(r, root);
  node_set_input(conv, 1, graph_add_constant(rewrite_graph(r), weight->name, &scaled_weight));
  TRY(node_infer(conv));
  TRY(add_shift(r, conv->outputs[0], channels, chain.maps, &shifted));
  rewrite_replace(r, chain.nodes[chain.count - 1]->outputs[0], shifted);
  return OK;
}

static const Rule fold_scale = {.name = "fold_scale",
                                .help = "a convolution takes the scales behind it into its weights",
                                .pattern = "conv(x, #w, ...)",
                                .exactness = ROUNDED | ZERO_SIGNS,
                                .bound = "2^-14 of a result's own scale; see the file's beginning",
                                .apply = apply};

const Pass pass_fold_scale = {"fold_scale", "takes batch norms and scales into convolution weights",
                              (const Rule *const[]){&fold_scale, NULL}};
