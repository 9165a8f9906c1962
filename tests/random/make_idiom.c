// What rules look for, as models have it: arithmetic that does nothing, casts there and back, parallel convolutions that are summed, scales in front of
// products, chains of linear work, shuffles of channels and what passes by them, siblings, rolls, activations and norms in other spellings.
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "tests/random/maker.h"

static Builder builder_of(Maker *maker) { return (Builder){.graph = maker->graph}; }

static bool make_identity(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  Builder b = builder_of(maker);
  if (!x || x->dtype == DTYPE_BOOL) return false;
  static const struct {
    Opcode op;
    double operand;
  } idle[] = {{OP_mul, 1}, {OP_add, 0}, {OP_sub, 0}, {OP_div, 1}, {OP_mul, -1},
              {OP_pow, 1}, {OP_max, 0}, {OP_mul, 0}, {OP_pow, 2}};
  int at = maker_below(maker, COUNT_OF(idle));
  bool behind = maker_one_in(maker, 3), shaped = maker_one_in(maker, 3);
  static const int64_t ones[] = {1, 1, 1};
  Value *number = build_scalar(&b, x->dtype, idle[at].operand);
  if (shaped) number = build_expand(&b, number, 1 + maker_below(maker, 3), (const Dim *)ones);
  return maker_built(maker, &b, build_binary(&b, idle[at].op, behind ? number : x, behind ? x : number));
}

static bool make_casts(Maker *maker) {
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_I32, DTYPE_I64, DTYPE_U8, DTYPE_BOOL};
  Value *x = maker_pick(maker, NULL), *y = x;
  Builder b = builder_of(maker);
  for (int i = 0, count = 1 + maker_below(maker, 2); x && i < count; i++)
    y = build_cast(&b, y, dtypes[maker_below(maker, COUNT_OF(dtypes))]);
  return x && maker_built(maker, &b, build_cast(&b, y, maker_one_in(maker, 2) ? x->dtype : maker_dtype(maker)));
}

// A convolution that keeps the size of the image.
static Value *same_conv(Maker *maker, Value *x, int64_t out, int64_t kernel, int64_t group) {
  int64_t dims[4] = {out, x->dims[1] / group, kernel, kernel}, pads[4];
  for (int i = 0; i < 4; i++) pads[i] = kernel / 2;
  Node *node = maker_node(maker, &op_conv, 2, (Value *[]){x, maker_constant(maker, x->dtype, x->rank, dims)}, 1);
  if (kernel > 1 || maker_one_in(maker, 2)) node_set_ints(node, "pads", pads, 2 * (x->rank - 2));
  if (group > 1) node_set_int(node, "group", group);
  Value *y = node->outputs[0];
  return maker_finish(maker, node) ? y : NULL;
}

static Value *per_channel(Maker *maker, Builder *b, Value *x, Opcode op) {
  int64_t dims[4] = {1, x->dims[1], 1, 1};
  int drop = maker_below(maker, 2);
  return build_binary(b, op, x, maker_constant(maker, x->dtype, x->rank - drop, dims + drop));
}

// RepVGG's training form: 3x3, 1x1 and the identity, each with its scale and shift, summed.
static bool make_parallel(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  if (!x) return false;
  Builder b = builder_of(maker);
  int64_t out = maker_one_in(maker, 3) ? 1 + maker_below(maker, 3) : x->dims[1];
  bool apart = out == x->dims[1] && (maker_one_in(maker, 4) || out > MANY_CHANNELS);
  int64_t group = apart ? out : 1;
  Value *sum = same_conv(maker, x, out, 3, group), *other = same_conv(maker, x, out, 1, group);
  if (!sum || !other) return false;
  if (maker_one_in(maker, 2)) sum = per_channel(maker, &b, per_channel(maker, &b, sum, OP_mul), OP_add);
  if (maker_one_in(maker, 2)) other = per_channel(maker, &b, other, OP_mul);
  sum = build_binary(&b, OP_add, sum, other);
  if (out == x->dims[1] && maker_one_in(maker, 2)) sum = build_binary(&b, OP_add, sum, per_channel(maker, &b, x, OP_mul));
  return maker_built(maker, &b, sum);
}

// Scale, shift and pad in front of a convolution; another one behind it.
static bool make_linear_chain(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  if (!x) return false;
  Builder b = builder_of(maker);
  if (maker_one_in(maker, 2)) x = per_channel(maker, &b, x, OP_mul);
  if (maker_one_in(maker, 4) && x) x = per_channel(maker, &b, x, OP_add);
  if (b.status || !x) return status_free(b.status), false;
  Value *y = same_conv(maker, x, 1 + maker_below(maker, 3), maker_one_in(maker, 2) ? 1 : 3, 1);
  if (y && maker_one_in(maker, 2)) y = same_conv(maker, y, 1 + maker_below(maker, 3), 1, 1);
  return y && maker_built(maker, &b, per_channel(maker, &b, y, maker_one_in(maker, 2) ? OP_mul : OP_add));
}

static bool is_matrix(const Value *value) {
  return is_float(value) && value->rank >= 2 && value->rank <= 4 && dim_is_static(value->dims[value->rank - 1]);
}

static bool make_scaled_product(Maker *maker) {
  Value *x = maker_pick(maker, is_matrix);
  if (!x) return false;
  Builder b = builder_of(maker);
  int64_t in = x->dims[x->rank - 1], out = 1 + maker_below(maker, 4), dims[] = {in, out};
  if (maker_one_in(maker, 2)) x = build_binary(&b, OP_mul, x, maker_constant(maker, x->dtype, 1, &in));
  if (maker_one_in(maker, 3)) x = build_binary(&b, OP_add, x, maker_constant(maker, x->dtype, 1, &in));
  Value *y = x ? build_matmul(&b, x, maker_constant(maker, x->dtype, 2, dims)) : NULL;
  static const Opcode ops[] = {OP_mul, OP_add, OP_sub, OP_div};
  for (int i = 0; y && i < 2; i++)
    y = build_binary(&b, ops[maker_below(maker, COUNT_OF(ops))], y,
                     maker_constant(maker, y->dtype, maker_below(maker, 2), &out));
  return maker_built(maker, &b, y);
}

// A layer as a Gemm writes it: rows merged, multiplied, a bias or another tensor added, and split again.
static bool make_layer_of_rows(Maker *maker) {
  Value *x = maker_pick(maker, is_matrix);
  if (!x || x->rank < 3) return false;
  Builder b = builder_of(maker);
  DimTable *table = maker->graph->dims;
  Dim rows = 1, split[MAX_RANK];
  for (int i = 0; i + 1 < x->rank; i++) rows = dim_mul(table, rows, split[i] = x->dims[i]);
  int64_t in = x->dims[x->rank - 1], out = 1 + maker_below(maker, 4);
  Value *merged = build_reshape(&b, x, 2, (Dim[]){rows, in});
  Value *y = build_matmul(&b, merged, maker_constant(maker, x->dtype, 2, (int64_t[]){in, out}));
  if (maker_one_in(maker, 2)) y = build_binary(&b, OP_add, y, maker_constant(maker, x->dtype, 1, &out));
  if (maker_one_in(maker, 4))
    y = build_binary(&b, OP_mul, y, build_slice(&b, merged, (Dim[]){0, 0}, (int64_t[]){1, 1}, (Dim[]){rows, 1}));
  if (maker_one_in(maker, 3)) y = build_unary(&b, OP_relu, y);
  split[x->rank - 1] = out;
  return maker_built(maker, &b, build_reshape(&b, y, x->rank, split));
}

// Channels in groups, transposed: a shuffle; with parts of the image among them, depth to space.
static bool make_shuffle(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  if (!x || x->rank != 4 || x->dims[1] % 2) return false;
  Builder b = builder_of(maker);
  Dim n = x->dims[0], c = x->dims[1], h = x->dims[2], w = x->dims[3];
  DimTable *table = maker->graph->dims;
  if (maker_one_in(maker, 2) || c % 4) {
    Value *split = build_reshape(&b, x, 5, (Dim[]){n, 2, c / 2, h, w});
    return maker_built(maker, &b, build_reshape(&b, build_transpose(&b, split, (int[]){0, 2, 1, 3, 4}), 4, x->dims));
  }
  Value *split = build_reshape(&b, x, 6, (Dim[]){n, 2, 2, c / 4, h, w});
  Value *moved = build_transpose(&b, split, (int[]){0, 3, 4, 1, 5, 2});
  Dim two = dim_constant(table, 2);
  return maker_built(maker, &b, build_reshape(&b, moved, 4, (Dim[]){n, c / 4, dim_mul(table, h, two), dim_mul(table, w, two)}));
}

static Value *shuffled(Builder *b, Value *x, Dim parts) {
  Dim n = x->dims[0], c = x->dims[1], h = x->dims[2], w = x->dims[3];
  Value *split = build_reshape(b, x, 5, (Dim[]){n, parts, c / parts, h, w});
  return build_reshape(b, build_transpose(b, split, (int[]){0, 2, 1, 3, 4}), 4, x->dims);
}

static Value *channels(Builder *b, Value *x, Dim first, Dim count) {
  return build_slice(b, x, (Dim[]){0, first, 0, 0}, (int64_t[]){1, 1, 1, 1},
                     (Dim[]){x->dims[0], count, x->dims[2], x->dims[3]});
}

static Value *activated(Maker *maker, Builder *b, Value *x) {
  if (x && maker_one_in(maker, 2)) x = per_channel(maker, b, x, OP_add);
  return x && maker_one_in(maker, 2) ? build_unary(b, OP_relu, x) : x;
}

// A unit of ShuffleNet: half of the channels pass by convolutions of the other half, and all are shuffled. Sometimes the halves are no halves, or read by others.
static Value *unit(Maker *maker, Builder *b, Value *x) {
  Dim all = x->dims[1], passing = maker_one_in(maker, 4) ? 1 + maker_below(maker, (int)all - 1) : all / 2;
  Value *by = channels(b, x, 0, passing), *y = channels(b, x, passing, all - passing);
  if (!by || !y) return NULL;
  y = activated(maker, b, same_conv(maker, y, y->dims[1], 1, 1));
  if (y && maker_one_in(maker, 2)) y = activated(maker, b, same_conv(maker, y, y->dims[1], 3, y->dims[1]));
  if (y && maker_one_in(maker, 2)) y = activated(maker, b, same_conv(maker, y, y->dims[1], 1, 1));
  if (!y || y->dims[1] != all - passing) return NULL;
  if (maker_one_in(maker, 6)) maker_keep(maker, y);
  Value *joined =
      maker_one_in(maker, 3) ? build_concat(b, 2, (Value *[]){y, by}, 1) : build_concat(b, 2, (Value *[]){by, y}, 1);
  return joined ? shuffled(b, joined, maker_one_in(maker, 2) ? 2 : all / 2) : NULL;
}

static bool make_units(Maker *maker) {
  Value *x = maker_pick(maker, is_image);
  if (!x || x->rank != 4) return false;
  Builder b = builder_of(maker);
  int64_t half = 2 * (1 + maker_below(maker, 3));
  Value *one = activated(maker, &b, same_conv(maker, x, half, 1, 1)), *other = same_conv(maker, x, half, 1, 1);
  Value *y = one && other ? build_concat(&b, 2, (Value *[]){one, other}, 1) : NULL;
  y = y ? shuffled(&b, y, 2) : NULL;
  for (int i = 0, count = 1 + maker_below(maker, 3); y && i < count; i++) y = unit(maker, &b, y);
  if (y && maker_one_in(maker, 2)) y = activated(maker, &b, same_conv(maker, y, y->dims[1], 3, y->dims[1]));
  if (y && !maker_one_in(maker, 3)) y = same_conv(maker, y, 1 + maker_below(maker, 3), 1, 1);
  return y ? maker_built(maker, &b, y) : (status_free(b.status), false);
}

static Value *rolled(Builder *b, Value *x, int axis, Dim by) {
  Dim starts[MAX_RANK] = {0}, dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  Value *parts[2];
  for (int i = 0; i < x->rank; i++) steps[i] = 1, dims[i] = x->dims[i];
  for (int i = 0; i < 2; i++) {
    starts[axis] = i ? 0 : by;
    dims[axis] = i ? by : x->dims[axis] - by;
    parts[i] = build_slice(b, x, starts, steps, dims);
  }
  return parts[0] && parts[1] ? build_concat(b, 2, parts, axis) : NULL;
}

static bool has_axes(const Value *value) { return is_float(value) && value->rank >= 2 && value->rank <= 4; }

// Pictures as windows that are shifted see them: rolled along two axes; sometimes there and back, with something added.
static bool make_roll(Maker *maker) {
  Value *x = maker_pick(maker, has_axes), *y = x;
  if (!x) return false;
  Builder b = builder_of(maker);
  for (int i = 0, count = 2 + maker_below(maker, 2); y && i < count; i++) {
    int axis = maker_below(maker, y->rank);
    if (!dim_is_static(y->dims[axis]) || y->dims[axis] < 2) return status_free(b.status), false;
    y = rolled(&b, y, axis, 1 + maker_below(maker, (int)y->dims[axis] - 1));
    if (y && maker_one_in(maker, 8)) maker_keep(maker, y);
  }
  if (y && maker_one_in(maker, 2))
    y = build_binary(&b, OP_add, maker_one_in(maker, 2) ? x : maker_broadcast(maker, y, y->dtype), y);
  return y ? maker_built(maker, &b, y) : (status_free(b.status), false);
}

// Convolutions of one image, some with the same windows, that meet in a concatenation or are read by others.
static bool make_siblings(Maker *maker) {
  Value *x = maker_pick(maker, is_image), *parts[4];
  if (!x) return false;
  Builder b = builder_of(maker);
  int count = 2 + maker_below(maker, 3), kept = 0;
  bool relu = maker_one_in(maker, 2);
  for (int i = 0; i < count; i++) {
    Value *y = same_conv(maker, x, 8 * (1 + maker_below(maker, 2)), maker_one_in(maker, 4) ? 3 : 1, 1);
    if (y) y = per_channel(maker, &b, y, OP_add);
    if (y && relu) y = build_unary(&b, OP_relu, y);
    if (y && maker_one_in(maker, 2)) y = same_conv(maker, y, 8, 3, 1);
    if (y && (!kept || !memcmp(y->dims + 2, parts[0]->dims + 2, (size_t)(y->rank - 2) * sizeof *y->dims))) parts[kept++] = y;
  }
  return kept > 1 ? maker_built(maker, &b, build_concat(&b, kept, parts, 1)) : (status_free(b.status), false);
}

static bool make_spelling(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x || !x->rank) return false;
  Builder b = builder_of(maker);
  Value *half = build_scalar(&b, x->dtype, 0.5), *one = build_scalar(&b, x->dtype, 1), *y;
  int64_t axis = x->rank - 1;
  switch (maker_below(maker, 4)) {
    case 0: {  // GELU by a hyperbolic tangent
      Value *cube = build_binary(&b, OP_mul, build_binary(&b, OP_mul, x, x), x);
      Value *inner = build_binary(&b, OP_add, x, build_binary(&b, OP_mul, cube, build_scalar(&b, x->dtype, 0.046875)));
      Value *t = build_unary(&b, OP_tanh, build_binary(&b, OP_mul, inner, build_scalar(&b, x->dtype, 0.796875)));
      y = build_binary(&b, OP_mul, build_binary(&b, OP_mul, x, half), build_binary(&b, OP_add, t, one));
      break;
    }
    case 1: {  // x / (1 + exp(-x))
      Value *e = build_unary(&b, OP_exp, build_unary(&b, OP_neg, x));
      y = build_binary(&b, OP_div, x, build_binary(&b, OP_add, e, one));
      break;
    }
    case 2: {  // a softmax without its maximum
      Value *e = build_unary(&b, OP_exp, x);
      y = build_binary(&b, OP_div, e, build_reduce(&b, OP_reduce_sum, e, &axis, 1, true));
      break;
    }
    default: {  // a norm by a power, a root and a division
      Value *square = build_binary(&b, OP_pow, x, build_scalar(&b, x->dtype, 2));
      Value *sum = build_reduce(&b, OP_reduce_sum, square, &axis, 1, true);
      Value *root = build_unary(&b, OP_sqrt, build_binary(&b, OP_add, build_binary(&b, OP_mul, sum, half), one));
      y = build_binary(&b, OP_div, x, root);
    }
  }
  return maker_built(maker, &b, y);
}

const MakeRow idiom_makes[] = {
    {"identity", 4, make_identity},
    {"casts", 2, make_casts},
    {"parallel", 2, make_parallel},
    {"linear_chain", 3, make_linear_chain},
    {"scaled", 3, make_scaled_product},
    {"shuffle", 2, make_shuffle},
    {"units", 2, make_units},
    {"siblings", 2, make_siblings},
    {"roll", 2, make_roll},
    {"spelling", 3, make_spelling},
    {"layer_of_rows", 2, make_layer_of_rows},
    {0},
};
