// Views, and chains of them: transposes, reshapes that merge and split axes, slices that flip and skip, broadcasts; some do nothing.
#include "tests/random/maker.h"

#include "base/checked.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/pad/pad.h"
#include "kernels/view/view.h"

static Value *add_view(Maker *maker, const OpDef *op, Value *x, const Dim *dims, int rank) {
  Node *node = maker_node(maker, op, 1, &x, 1);
  node_set_dims(node, "dims", dims, rank);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static Value *transpose(Maker *maker, Value *x) {
  int64_t perm[MAX_RANK];
  for (int k = 0; k < x->rank; k++) perm[k] = k;
  bool swap = maker_one_in(maker, 2);
  for (int k = x->rank - 1; k > 0; k--) {
    int other = swap ? k - 1 : maker_below(maker, k + 1);
    int64_t axis = perm[k];
    perm[k] = perm[other], perm[other] = axis;
    if (swap) break;
  }
  Node *node = maker_node(maker, &op_transpose, 1, &x, 1);
  node_set_ints(node, "perm", perm, x->rank);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static int merge_axes(Maker *maker, const Value *x, Dim *dims) {
  int at = maker_below(maker, x->rank - 1), rank = 0;
  for (int k = 0; k < x->rank; k++) {
    if (k == at + 1) dims[rank - 1] = dim_mul(maker->graph->dims, dims[rank - 1], x->dims[k]);
    else dims[rank++] = x->dims[k];
  }
  return rank;
}

static int split_axis(Maker *maker, const Value *x, Dim *dims) {
  int at = maker_below(maker, x->rank), rank = 0;
  for (int k = 0; k < x->rank; k++) {
    Dim size = x->dims[k];
    if (k == at && dim_is_static(size) && size > 1) {
      Dim factor = 2 + maker_below(maker, (int)MIN(size, 4) - 1);
      if (size % factor == 0) dims[rank++] = factor, size /= factor;
    }
    dims[rank++] = size;
  }
  return rank;
}

static int change_ones(Maker *maker, const Value *x, Dim *dims) {
  int rank = 0, at = maker_below(maker, x->rank + 1);
  for (int k = 0; k <= x->rank; k++) {
    if (k == at) dims[rank++] = 1;
    if (k < x->rank && !(x->dims[k] == 1 && maker_one_in(maker, 2))) dims[rank++] = x->dims[k];
  }
  return rank;
}

static Value *reshape(Maker *maker, Value *x) {
  Dim dims[MAX_RANK];
  int rank;
  switch (maker_below(maker, 5)) {
    case 0: rank = 1, dims[0] = value_count_dim(maker->graph, x); break;
    case 1: rank = change_ones(maker, x, dims); break;
    case 2: rank = x->rank > 1 ? merge_axes(maker, x, dims) : change_ones(maker, x, dims); break;
    case 3: rank = split_axis(maker, x, dims); break;
    default:
      rank = x->rank;
      for (int k = 0; k < rank; k++) dims[k] = x->dims[k];
  }
  return add_view(maker, &op_reshape, x, dims, rank);
}

static Value *slice(Maker *maker, Value *x) {
  Dim starts[MAX_RANK], dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int k = 0; k < x->rank; k++) {
    starts[k] = 0, steps[k] = 1, dims[k] = x->dims[k];
    if (!dim_is_static(x->dims[k]) || x->dims[k] < 1 || maker_one_in(maker, 2)) continue;
    int size = (int)x->dims[k], first = maker_below(maker, size);
    int64_t step = 1 + maker_below(maker, 2);
    bool backwards = maker_one_in(maker, 4);
    int64_t room = backwards ? first + 1 : size - first;
    starts[k] = first;
    steps[k] = backwards ? -step : step;
    dims[k] = (room + step - 1) / step;
    if (maker_one_in(maker, 10)) dims[k] = 0;
  }
  Node *node = maker_node(maker, &op_slice, 1, &x, 1);
  node_set_dims(node, "starts", starts, x->rank);
  node_set_ints(node, "steps", steps, x->rank);
  node_set_dims(node, "dims", dims, x->rank);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static Value *expand(Maker *maker, Value *x) {
  Dim dims[MAX_RANK];
  int more = maker_one_in(maker, 3), rank = x->rank + more;
  if (more) dims[0] = maker_size(maker);
  for (int k = 0; k < x->rank; k++) dims[more + k] = x->dims[k] == 1 && maker_one_in(maker, 2) ? maker_size(maker) : x->dims[k];
  return add_view(maker, &op_expand, x, dims, rank);
}

static Value *view(Maker *maker, Value *x) {
  switch (maker_below(maker, 4)) {
    case 0: return transpose(maker, x);
    case 1: return reshape(maker, x);
    case 2: return slice(maker, x);
    default: return expand(maker, x);
  }
}

static bool make_transpose(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  return x && x->rank > 1 && transpose(maker, x);
}
static bool make_reshape(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  return x && x->rank && reshape(maker, x);
}
static bool make_slice(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  return x && x->rank && slice(maker, x);
}
// Of what was put together.
static bool is_joined(const Value *value) {
  return value->rank && value->producer && (value->producer->op == &op_concat || value->producer->op == &op_pad);
}
static bool make_cut(Maker *maker) {
  Value *x = maker_pick(maker, is_joined);
  return x && slice(maker, x);
}
static bool make_expand(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  return x && expand(maker, x);
}

static bool make_chain(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  for (int i = 0; x && x->rank && i < 3; i++) x = view(maker, x);
  return x != NULL;
}

// There and back again, with or without something between.
static bool make_round_trip(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x || x->rank < 2) return false;
  Value *there = transpose(maker, x), *between = there;
  Builder b = {.graph = maker->graph};
  if (!there) return false;
  if (is_float(x) && maker_one_in(maker, 2)) between = build_unary(&b, maker_one_in(maker, 2) ? OP_relu : OP_neg, there);
  int count;
  const int64_t *perm = node_ints(there->producer, "perm", &count);
  int back[MAX_RANK];
  for (int k = 0; k < count; k++) back[perm[k]] = k;
  return maker_built(maker, &b, build_transpose(&b, between, back));
}

// Pointwise work behind a view, with nothing else to read but numbers of one element.
static bool make_behind_view(Maker *maker) {
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, is_float);
  if (!x || !x->rank) return false;
  if (!x->producer) x = build_unary(&b, OP_neg, x);
  status_free(b.status);
  x = x ? maker_one_in(maker, 2) && x->rank > 1 ? transpose(maker, x) : reshape(maker, x) : NULL;
  if (!x) return false;
  static const int64_t ones[] = {1, 1, 1, 1};
  Value *operands[] = {x, maker_constant(maker, x->dtype, maker_below(maker, 4), ones)};
  Program *program = program_new(maker->graph->arena, 2);
  int y = program_op2(program, OP_mul, program_input(program, 0, x->dtype), program_input(program, 1, x->dtype));
  if (x->rank && maker_one_in(maker, 4))
    y = program_op2(program, OP_add, y, program_index(program, x->dtype, maker_below(maker, x->rank)));
  program_output(program, program_op1(program, maker_one_in(maker, 2) ? OP_tanh : OP_abs, y));
  Node *node = maker_node(maker, &op_elementwise, 2, operands, 1);
  node_set_program(node, "program", program);
  return maker_finish(maker, node);
}

static bool make_bitcast(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x || (x->dtype != DTYPE_F32 && x->dtype != DTYPE_I32)) return false;
  Node *node = maker_node(maker, &op_bitcast, 1, &x, 1);
  node_set_int(node, "dtype", x->dtype == DTYPE_F32 ? DTYPE_I32 : DTYPE_F32);
  return maker_finish(maker, node);
}

// Sizes as numbers, as exporters compute shapes with.
static bool make_dims(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x || !x->rank) return false;
  Node *node = maker_node(maker, &op_dims, 0, NULL, 1);
  node_set_dims(node, "values", x->dims, x->rank);
  return maker_finish(maker, node);
}

const MakeRow view_makes[] = {
    {"transpose", 5, make_transpose},
    {"reshape", 5, make_reshape},
    {"slice", 4, make_slice},
    {"cut", 4, make_cut},
    {"expand", 2, make_expand},
    {"chain", 3, make_chain},
    {"round_trip", 3, make_round_trip},
    {"bitcast", 1, make_bitcast},
    {"behind_view", 4, make_behind_view},
    {"dims", 1, make_dims},
    {0},
};
