// Matrix products: by constants and by values, batched, of transposed operands, and of bytes less their zero points as quantised models
// have them.
#include "tests/random/maker.h"

#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"

static bool is_matrix(const Value *value) {
  return is_float(value) && value->rank >= 2 && value->rank <= 4 && dim_is_static(value->dims[value->rank - 1]);
}

static Value *draw_matrix(Maker *maker) {
  Value *x = maker_pick(maker, is_matrix);
  if (x) return x;
  static const DType dtypes[] = {DTYPE_F32, DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
  Dim dims[3] = {maker_size(maker), maker_size(maker), 1 + maker_below(maker, 4)};
  int drop = maker_below(maker, 2);
  return maker_input(maker, dtypes[maker_below(maker, COUNT_OF(dtypes))], 3 - drop, dims + drop);
}

static bool multiply(Maker *maker, Value *x, Value *y) {
  return maker_finish(maker, maker_node(maker, &op_matmul, 2, (Value *[]){x, y}, 1));
}

static bool make_linear(Maker *maker) {
  Value *x = draw_matrix(maker);
  int64_t dims[3] = {1, x->dims[x->rank - 1], 1 + maker_below(maker, 4)};
  int batched = maker_one_in(maker, 5) && x->rank > 2;
  if (!multiply(maker, x, maker_constant(maker, x->dtype, 2 + batched, batched ? dims : dims + 1))) return false;
  Value *y = maker->pool[maker->count - 1];
  Builder b = {.graph = maker->graph};
  if (maker_one_in(maker, 2)) y = build_binary(&b, OP_add, y, maker_constant(maker, y->dtype, 1, &dims[2]));
  if (maker_one_in(maker, 3)) y = build_binary(&b, OP_mul, y, maker_constant(maker, y->dtype, 1, &dims[2]));
  if (maker_one_in(maker, 3)) y = build_unary(&b, OP_relu, y);
  return maker_built(maker, &b, y);
}

// x by its own transpose, or by another value that happens to fit.
static bool make_product(Maker *maker) {
  Value *x = draw_matrix(maker), *y = maker_pick(maker, is_matrix);
  Builder b = {.graph = maker->graph};
  if (y && y->dtype == x->dtype && y->dims[y->rank - 2] == x->dims[x->rank - 1] && multiply(maker, x, y)) return true;
  int perm[MAX_RANK];
  for (int k = 0; k < x->rank; k++) perm[k] = k;
  perm[x->rank - 1] = x->rank - 2, perm[x->rank - 2] = x->rank - 1;
  Value *t = build_transpose(&b, x, perm);
  status_free(b.status);
  return t && multiply(maker, maker_one_in(maker, 2) ? x : t, maker_one_in(maker, 2) ? t : x);
}

// i32(x) - i32(zero), in one node or in three; x may be made of floats in the same program.
static Value *difference(Maker *maker, Value *bytes, Value *zero, bool in_one) {
  Builder b = {.graph = maker->graph};
  if (!in_one) {
    Value *wide = build_cast(&b, bytes, DTYPE_I32);
    if (zero) wide = build_binary(&b, OP_sub, wide, build_cast(&b, zero, DTYPE_I32));
    status_free(b.status);
    return wide;
  }
  Program *program = program_new(maker->graph->arena, zero ? 2 : 1);
  int x = program_input(program, 0, bytes->dtype);
  if (is_float(bytes)) {
    DType stored = zero ? zero->dtype : DTYPE_U8;
    x = program_op2(program, OP_mul, x, program_const_f(program, bytes->dtype, 4));
    x = program_cast_with(program, stored, program_op1(program, OP_round, x), CAST_SATURATE);
  }
  x = program_cast(program, DTYPE_I32, x);
  if (zero) x = program_op2(program, OP_sub, x, program_cast(program, DTYPE_I32, program_input(program, 1, zero->dtype)));
  program_output(program, x);
  Node *node = maker_node(maker, &op_elementwise, zero ? 2 : 1, (Value *[]){bytes, zero}, 1);
  node_set_program(node, "program", program);
  Value *out = node->outputs[0];
  return maker_finish(maker, node) ? out : NULL;
}

static Value *draw_zero(Maker *maker, DType dtype, int rank, int axis, int64_t size) {
  int64_t dims[MAX_RANK];
  for (int k = 0; k < rank; k++) dims[k] = k == axis && maker_one_in(maker, 2) ? size : 1;
  if (maker_one_in(maker, 4)) return NULL;
  return maker_one_in(maker, 3) ? maker_scalar(maker, dtype, 2) : maker_constant(maker, dtype, rank, dims);
}

static bool make_bytes(Maker *maker) {
  bool image = maker_one_in(maker, 2);
  int rank = image ? 4 : 2;
  DType dtype = maker_one_in(maker, 2) ? DTYPE_U8 : DTYPE_I8, weights = maker_one_in(maker, 2) ? DTYPE_U8 : DTYPE_I8;
  Dim dims[4] = {1 + maker_below(maker, 2), 1 + maker_below(maker, 3), 2 + maker_below(maker, 3), 2 + maker_below(maker, 3)};
  int64_t in = dims[1], out = 1 + maker_below(maker, 3);
  int64_t conv_weight[4] = {out, in, 1 + maker_below(maker, 2), 1 + maker_below(maker, 2)}, matmul_weight[2] = {in, out};
  bool floats = maker_one_in(maker, 3);
  Value *x = maker_input(maker, floats ? DTYPE_F32 : dtype, rank, dims);
  Value *w = maker_constant(maker, weights, rank, image ? conv_weight : matmul_weight);
  Value *x_zero = draw_zero(maker, dtype, 0, -1, 1), *w_zero = draw_zero(maker, weights, rank, image ? 0 : 1, out);
  Value *operands[] = {difference(maker, x, x_zero, floats || maker_one_in(maker, 2)),
                       difference(maker, w, w_zero, maker_one_in(maker, 2))};
  if (!operands[0] || !operands[1]) return false;
  Node *node = maker_node(maker, image ? &op_conv : &op_matmul, 2, operands, 1);
  if (image && maker_one_in(maker, 2)) node_set_ints(node, "pads", (int64_t[]){1, 0, 0, 1}, 4);
  return maker_finish(maker, node);
}

const MakeRow product_makes[] = {
    {"linear", 5, make_linear},
    {"product", 3, make_product},
    {"bytes", 2, make_bytes},
    {0},
};
