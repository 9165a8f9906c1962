// Work by sizes and positions, as exporters write it where sizes are open: ranges and what is counted from them, reads and masks by positions, arithmetic over sizes,
// and results whose sizes only the run tells.
#include "tests/random/maker.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/gather/gather.h"
#include "kernels/sort/sort.h"
#include "kernels/view/view.h"

static bool has_axes(const Value *value) { return value->rank > 0; }
static bool has_rows(const Value *value) { return value->rank > 1; }

// Positions along an axis of the value, as they are, from the end, or doubled, cut off below or shifted out.
static Value *positions(Maker *maker, Builder *b, const Value *x, int axis) {
  Value *at = build_range(b, DTYPE_I64, x->dims[axis], maker_below(maker, 6) ? 0 : 1, 1);
  Value *size = build_dims(b, &x->dims[axis], 1), *one = build_scalar(b, DTYPE_I64, 1);
  if (b->status) return NULL;
  switch (maker_below(maker, 6)) {
    case 0: return build_binary(b, OP_sub, build_binary(b, OP_sub, size, one), at);
    case 1: return build_binary(b, OP_sub, at, size);
    case 2:
      return build_binary(b, OP_min, build_binary(b, OP_mul, at, build_scalar(b, DTYPE_I64, 2)),
                          build_binary(b, OP_sub, size, one));
    case 3: return build_binary(b, OP_mul, at, build_scalar(b, DTYPE_I64, maker_below(maker, 2)));
    default: return at;
  }
}

// The positions as a column, a row or what else has `rank` axes and is of more than one element along one of them.
static Value *along(Builder *b, Value *at, int axis, int rank) {
  Dim dims[MAX_RANK];
  for (int k = 0; k < rank && at; k++) dims[k] = k == axis ? at->dims[0] : 1;
  return at ? build_reshape(b, at, rank, dims) : NULL;
}

static bool make_read(Maker *maker) {
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, has_axes);
  if (!x) return false;
  int axis = maker_below(maker, x->rank);
  Value *at = positions(maker, &b, x, axis);
  bool elements = maker_one_in(maker, 3);
  if (elements) at = build_expand(&b, along(&b, at, axis, x->rank), x->rank, x->dims);
  else if (maker_one_in(maker, 2)) at = along(&b, at, maker_below(maker, 2), 2);
  if (b.status || !at) return status_free(b.status), false;
  Node *node = maker_node(maker, elements ? &op_gather_elements : &op_gather, 2, (Value *[]){x, at}, 1);
  node_set_int(node, "axis", axis);
  return maker_finish(maker, node);
}

// Rows and columns joined into coordinates.
static bool make_read_nd(Maker *maker) {
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, has_rows), *columns[2];
  if (!x) return false;
  int turned = maker_below(maker, 2);
  Dim grid[3] = {x->dims[turned], x->dims[1 - turned], 1};
  for (int i = 0; i < 2; i++)
    columns[i] = build_expand(&b, along(&b, positions(maker, &b, x, i), i == turned ? 0 : 1, 3), 3, grid);
  Value *joined = build_concat(&b, 2, columns, 2);
  if (b.status || !joined) return status_free(b.status), false;
  Node *node = maker_node(maker, &op_gather_nd, 2, (Value *[]){x, joined}, 1);
  node_set_int(node, "batch_dims", 0);
  return maker_finish(maker, node);
}

static bool make_mask(Maker *maker) {
  static const Opcode compares[] = {OP_le, OP_lt, OP_ge, OP_eq, OP_ne, OP_gt};
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, has_rows);
  if (!x || x->dtype == DTYPE_BOOL) return false;
  Value *sides[2];
  for (int i = 0; i < 2; i++) sides[i] = along(&b, positions(maker, &b, x, x->rank - 1 - i), x->rank - 1 - i, x->rank);
  if (maker_one_in(maker, 3)) sides[maker_below(maker, 2)] = build_scalar(&b, DTYPE_I64, maker_below(maker, 3) - 1);
  if (b.status) return status_free(b.status), false;
  Value *mask = build_binary(&b, compares[maker_below(maker, 6)], sides[0], sides[1]);
  if (maker_one_in(maker, 3)) mask = build_unary(&b, OP_not, mask);
  return maker_built(maker, &b, build_where(&b, mask, x, build_scalar(&b, x->dtype, 1)));
}

// Numbers that follow from sizes, put into what has elements.
static bool make_size_arithmetic(Maker *maker) {
  static const Opcode steps[] = {OP_add, OP_sub, OP_mul, OP_div, OP_mod, OP_min, OP_max, OP_eq, OP_lt};
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, has_axes);
  if (!x || !is_float(x)) return false;
  Value *number = build_dims(&b, &x->dims[maker_below(maker, x->rank)], 1);
  for (int i = 0, count = 1 + maker_below(maker, 4); i < count && !b.status; i++) {
    Value *other = maker_one_in(maker, 3) ? build_dims(&b, &x->dims[maker_below(maker, x->rank)], 1)
                                          : build_scalar(&b, DTYPE_I64, 1 + maker_below(maker, 4));
    Value *made = build_binary(&b, steps[maker_below(maker, 9)], number, other);
    if (made && made->dtype == DTYPE_BOOL) made = build_where(&b, made, number, other);
    number = made;
  }
  if (b.status) return status_free(b.status), false;
  return maker_built(maker, &b, build_binary(&b, OP_mul, x, build_cast(&b, number, x->dtype)));
}

static bool is_given(const Value *value) { return value->is_input && value->rank > 0 && !is_float(value); }

// Of inputs alone, which nothing shakes: every run finds as many.
static bool make_nonzero(Maker *maker) {
  Builder b = {.graph = maker->graph};
  Value *x = maker_pick(maker, is_given);
  if (!x) return false;
  Node *node = maker_node(maker, &op_nonzero, 1, &x, 1);
  Value *places = node->outputs[0];
  if (!maker_finish(maker, node)) return false;
  int axis = maker_below(maker, x->rank);
  Value *row = build_reshape(&b, build_slice(&b, places, (Dim[]){axis, 0}, (int64_t[]){1, 1}, (Dim[]){1, places->dims[1]}), 1,
                             &places->dims[1]);
  if (b.status) return status_free(b.status), false;
  Node *read = maker_node(maker, &op_gather, 2, (Value *[]){x, row}, 1);
  node_set_int(read, "axis", axis);
  return maker_finish(maker, read);
}

const MakeRow size_makes[] = {{"read", 2, make_read},       {"read_nd", 2, make_read_nd},
                              {"mask", 2, make_mask},       {"size_arithmetic", 2, make_size_arithmetic},
                              {"nonzero", 2, make_nonzero}, {0}};
