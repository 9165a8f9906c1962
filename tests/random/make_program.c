// Scalar programs: elementwise and rowwise nodes of random instructions over all opcodes, and the arithmetic that models are full of
// (activations, norms, softmax) written out as exporters do.
#include "tests/random/maker.h"

#include "base/checked.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/rowwise/rowwise.h"

enum { MOST_OPERANDS = 4 };

// ---- Random instructions

static int class_of(DType dtype) {
  switch (dtype_kind(dtype)) {
    case KIND_FLOAT: return CLASS_F;
    case KIND_SIGNED: return CLASS_I;
    case KIND_UNSIGNED: return CLASS_U;
    default: return CLASS_B;
  }
}

static Opcode draw_opcode(Maker *maker, DType dtype) {
  static const Opcode usual[] = {OP_add, OP_add,  OP_sub, OP_mul, OP_mul,     OP_max,
                                 OP_min, OP_relu, OP_neg, OP_abs, OP_sigmoid, OP_tanh};
  for (;;) {
    Opcode op = maker_one_in(maker, 3) ? (Opcode)(OP_add + maker_below(maker, OPCODE_COUNT - OP_add))
                                       : usual[maker_below(maker, COUNT_OF(usual))];
    if (opcode_info(op)->result == RESULT_SELECT || opcode_info(op)->classes & class_of(dtype)) return op;
    if (dtype == DTYPE_BOOL) return maker_one_in(maker, 2) ? OP_and : OP_not;
  }
}

static int draw_const(Maker *maker, Program *program, DType dtype) {
  if (!dtype_is_float(dtype)) return program_const_i(program, dtype, maker_below(maker, 9) - 4);
  if (dtype == DTYPE_F32 && maker_one_in(maker, 24))
    return program_const_f(program, dtype, maker_one_in(maker, 2) ? -3e38 : 1e5);
  return program_const_f(program, dtype, draw_number(&maker->draw, MIN(maker->flavour, 1)));
}

static int draw_operand(Maker *maker, Program *program, DType dtype) {
  for (int tries = 0; tries < 6; tries++) {
    int at = maker_below(maker, program->count);
    if (program->code[at].dtype == dtype) return at;
  }
  return draw_const(maker, program, dtype);
}

static int draw_bool(Maker *maker, Program *program, int a) {
  for (int tries = 0; tries < 4; tries++) {
    int at = maker_below(maker, program->count);
    if (program->code[at].dtype == DTYPE_BOOL) return at;
  }
  return program_op2(program, OP_lt, a, draw_operand(maker, program, program->code[a].dtype));
}

static int draw_reduction(Maker *maker, Program *program, int a) {
  DType dtype = program->code[a].dtype;
  Opcode op = (Opcode)(OP_reduce_sum + maker_below(maker, OP_reduce_argmin_last - OP_reduce_sum + 1));
  if (maker_one_in(maker, 2)) op = maker_one_in(maker, 2) ? OP_reduce_sum : OP_reduce_max;
  if (!(opcode_info(op)->classes & class_of(dtype))) op = OP_reduce_max;
  return program_reduce(program, op, a, DTYPE_I64);
}

int maker_instruction(Maker *maker, Program *program, bool over_rows) {
  int count = program->count, a = maker_one_in(maker, 2) ? count - 1 : maker_below(maker, count);
  DType dtype = program->code[a].dtype;
  if (over_rows && maker_one_in(maker, 3)) {
    uint8_t *level = arena_array(program->arena, uint8_t, (size_t)count);
    program_levels(program, level);
    if (level[a]) return draw_reduction(maker, program, a);
  }
  if (over_rows && maker_one_in(maker, 12)) return program_row_extent(program, dtype == DTYPE_BOOL ? DTYPE_I64 : dtype);
  if (maker_one_in(maker, 10)) return program_cast(program, maker_dtype(maker), a);
  Opcode op = draw_opcode(maker, dtype);
  const OpcodeInfo *info = opcode_info(op);
  if (info->result == RESULT_SELECT)
    return program_op3(program, op, draw_bool(maker, program, a), a, draw_operand(maker, program, dtype));
  if (info->arity == 1) return program_op1(program, op, a);
  int b = draw_operand(maker, program, dtype);
  if (info->arity == 2) return maker_one_in(maker, 2) ? program_op2(program, op, a, b) : program_op2(program, op, b, a);
  return program_op3(program, op, a, b, draw_operand(maker, program, dtype));
}

// ---- Random nodes

static bool broadcasts(const Value *a, const Value *b) {
  for (int k = 1; k <= a->rank && k <= b->rank; k++) {
    Dim x = a->dims[a->rank - k], y = b->dims[b->rank - k];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

static Value *draw_other(Maker *maker, Value *first) {
  if (maker_one_in(maker, 3)) return maker_broadcast(maker, first, maker_one_in(maker, 2) ? first->dtype : maker_dtype(maker));
  if (maker_one_in(maker, 4)) return maker_scalar(maker, first->dtype, maker_below(maker, 9) - 4);
  for (int tries = 0; tries < 6; tries++) {
    Value *other = maker_pick(maker, NULL);
    if (broadcasts(first, other)) return other;
  }
  return first;
}

static int draw_operands(Maker *maker, Value **operands) {
  int count = 1 + maker_below(maker, MOST_OPERANDS);
  operands[0] = maker_pick(maker, NULL);
  if (!operands[0]) return 0;
  for (int i = 1; i < count; i++) operands[i] = draw_other(maker, operands[0]);
  return count;
}

// Places along an axis and sizes of axes are part of some.
static void read_operands(Maker *maker, Program *program, int count, Value *const *operands) {
  for (int i = 0; i < count; i++) {
    DType dtype = operands[i]->dtype;
    bool wider = dtype_is_float(dtype) && maker_one_in(maker, 8);
    program_input(program, i, wider ? DTYPE_F32 : dtype);
  }
  int rank = 0;
  for (int i = 0; i < count; i++) rank = MAX(rank, operands[i]->rank);
  if (!rank || !maker_one_in(maker, 6)) return;
  DType dtype = maker_one_in(maker, 2) ? DTYPE_I64 : DTYPE_F32;
  if (maker_one_in(maker, 2)) program_index(program, dtype, maker_below(maker, rank));
  else program_extent(program, dtype, maker_below(maker, rank));
}

static bool make_random(Maker *maker, const OpDef *op) {
  Value *operands[MOST_OPERANDS];
  int count = draw_operands(maker, operands);
  if (!count) return false;
  Program *program = program_new(maker->graph->arena, count);
  read_operands(maker, program, count, operands);
  bool over_rows = op == &op_rowwise;
  int steps = 1 + maker_below(maker, maker_one_in(maker, 4) ? 10 : 3), results[4], outputs = maker_one_in(maker, 5) ? 2 : 1;
  for (int i = 0; i < steps; i++) results[i % 2] = maker_instruction(maker, program, over_rows);
  outputs = MIN(outputs, steps);
  for (int i = 0; i < outputs; i++) program_output(program, outputs == 1 ? results[(steps - 1) % 2] : results[i]);
  Node *node = maker_node(maker, op, count, operands, outputs);
  node_set_program(node, "program", program);
  int64_t axes[MAX_RANK];
  int axis_count = 0, rank = 0;
  for (int i = 0; i < count; i++) rank = MAX(rank, operands[i]->rank);
  bool suffix = maker_one_in(maker, 2);
  int from = maker_below(maker, rank);
  for (int k = 0; k < rank; k++)
    if (suffix ? k >= from : maker_one_in(maker, 2)) axes[axis_count++] = k;
  if (over_rows) node_set_ints(node, "axes", axes, axis_count);
  return maker_finish(maker, node);
}

static bool make_elementwise(Maker *maker) { return make_random(maker, &op_elementwise); }
static bool make_rowwise(Maker *maker) { return make_random(maker, &op_rowwise); }

// More operands than a kernel would take: sums of a dozen values and constants.
static bool make_wide(Maker *maker) {
  enum { WIDE = 20 };
  Value *x = maker_pick(maker, is_float), *operands[WIDE];
  if (!x) return false;
  int count = 8 + maker_below(maker, WIDE - 8);
  operands[0] = x;
  for (int i = 1; i < count; i++) {
    operands[i] = maker_one_in(maker, 3) ? maker_pick(maker, is_float) : NULL;
    if (!operands[i] || operands[i]->dtype != x->dtype || !broadcasts(x, operands[i]))
      operands[i] = maker_broadcast(maker, x, x->dtype);
  }
  Program *program = program_new(maker->graph->arena, count);
  int sum = program_input(program, 0, x->dtype);
  for (int i = 1; i < count; i++)
    sum = program_op2(program, maker_one_in(maker, 4) ? OP_max : OP_add, sum, program_input(program, i, x->dtype));
  program_output(program, sum);
  Node *node = maker_node(maker, &op_elementwise, count, operands, 1);
  node_set_program(node, "program", program);
  return maker_finish(maker, node);
}

// A domain that is said: larger than what the inputs have, or made of nothing.
static bool make_domain(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  Dim dims[MAX_RANK];
  if (!x || x->rank > 4) return false;
  int more = maker_below(maker, 2), rank = x->rank + more;
  for (int k = 0; k < more; k++) dims[k] = maker_size(maker);
  for (int k = more; k < rank; k++) dims[k] = x->dims[k - more] == 1 ? maker_size(maker) : x->dims[k - more];
  bool reads = !maker_one_in(maker, 4);
  Program *program = program_new(maker->graph->arena, reads);
  if (rank && maker_one_in(maker, 2)) program_index(program, DTYPE_I64, maker_below(maker, rank));
  if (reads) program_input(program, 0, x->dtype);
  if (!program->count) program_const(program, maker_dtype(maker), 3);
  program_output(program, maker_instruction(maker, program, false));
  Node *node = maker_node(maker, &op_elementwise, reads, &x, 1);
  node_set_program(node, "program", program);
  node_set_dims(node, "dims", dims, rank);
  return maker_finish(maker, node);
}

// ---- As exporters write it

static bool make_unary(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  if (!x) return false;
  Opcode op = draw_opcode(maker, x->dtype);
  Builder b = {.graph = maker->graph};
  if (opcode_info(op)->arity == 1) return maker_built(maker, &b, build_unary(&b, op, x));
  if (opcode_info(op)->arity == 2) return maker_built(maker, &b, build_binary(&b, op, x, maker_broadcast(maker, x, x->dtype)));
  return false;
}

static bool make_residual(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  Builder b = {.graph = maker->graph};
  for (int tries = 0; x && x->dtype != DTYPE_BOOL && tries < 8; tries++) {
    Value *y = maker_pick(maker, NULL);
    if (y->dtype == x->dtype && broadcasts(x, y))
      return maker_built(maker, &b, build_binary(&b, maker_one_in(maker, 3) ? OP_mul : OP_add, x, y));
  }
  return false;
}

static bool make_cast(Maker *maker) {
  Value *x = maker_pick(maker, NULL);
  Builder b = {.graph = maker->graph};
  return x && maker_built(maker, &b, build_cast(&b, x, maker_dtype(maker)));
}

static bool make_softmax(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x || !x->rank) return false;
  Builder b = {.graph = maker->graph};
  int64_t axis = maker_one_in(maker, 3) ? maker_below(maker, x->rank) : x->rank - 1;
  Value *e = build_unary(&b, OP_exp, build_binary(&b, OP_sub, x, build_reduce(&b, OP_reduce_max, x, &axis, 1, true)));
  return maker_built(maker, &b, build_binary(&b, OP_div, e, build_reduce(&b, OP_reduce_sum, e, &axis, 1, true)));
}

static Value *mean_of(Builder *b, Value *x, const int64_t *axes, int count, double size) {
  return build_binary(b, OP_mul, build_reduce(b, OP_reduce_sum, x, axes, count, true), build_scalar(b, x->dtype, 1 / size));
}

static bool make_norm(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x || !x->rank) return false;
  Builder b = {.graph = maker->graph};
  int64_t axes[MAX_RANK];
  int first = maker_below(maker, x->rank), count = 0;
  for (int k = first; k < x->rank; k++) axes[count++] = k;
  bool rms = maker_one_in(maker, 3);
  Value *centered = rms ? x : build_binary(&b, OP_sub, x, mean_of(&b, x, axes, count, 4));
  Value *variance = mean_of(&b, build_binary(&b, OP_mul, centered, centered), axes, count, 4);
  Value *scale = build_unary(&b, OP_rsqrt, build_binary(&b, OP_add, variance, build_scalar(&b, x->dtype, 0.25)));
  Value *y = build_binary(&b, OP_mul, centered, scale);
  if (maker_one_in(maker, 2)) y = build_binary(&b, OP_mul, y, maker_broadcast(maker, x, x->dtype));
  if (maker_one_in(maker, 2)) y = build_binary(&b, OP_add, y, maker_broadcast(maker, x, x->dtype));
  return maker_built(maker, &b, y);
}

static bool make_activation(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x) return false;
  Builder b = {.graph = maker->graph};
  Value *half = build_scalar(&b, x->dtype, 0.5), *one = build_scalar(&b, x->dtype, 1), *three = build_scalar(&b, x->dtype, 3);
  switch (maker_below(maker, 4)) {
    case 0: return maker_built(maker, &b, build_binary(&b, OP_mul, x, build_unary(&b, OP_sigmoid, x)));
    case 1: {
      Value *erf = build_unary(&b, OP_erf, build_binary(&b, OP_mul, x, build_scalar(&b, x->dtype, 0.75)));
      return maker_built(maker, &b,
                         build_binary(&b, OP_mul, build_binary(&b, OP_mul, x, half), build_binary(&b, OP_add, erf, one)));
    }
    case 2: {
      Value *clip = build_binary(&b, OP_min, build_unary(&b, OP_relu, build_binary(&b, OP_add, x, three)), three);
      return maker_built(maker, &b, build_binary(&b, OP_mul, x, clip));
    }
    default: return maker_built(maker, &b, build_binary(&b, OP_max, build_binary(&b, OP_mul, x, half), x));
  }
}

static bool make_affine(Maker *maker) {
  Value *x = maker_pick(maker, is_float);
  if (!x) return false;
  Builder b = {.graph = maker->graph};
  Value *product = build_binary(&b, OP_mul, x, maker_broadcast(maker, x, x->dtype));
  return maker_built(maker, &b, build_binary(&b, OP_add, product, maker_broadcast(maker, x, x->dtype)));
}

// Something that is there already, once more.
static bool make_twin(Maker *maker) {
  Value *value = maker_pick(maker, NULL);
  Node *old = value ? value->producer : NULL;
  if (!old) return false;
  for (int i = 0; i < old->attribute_count; i++)
    if (old->attributes[i].kind == ATTR_GRAPH) return false;
  Node *node = maker_node(maker, old->op, old->input_count, old->inputs, old->output_count);
  size_t bytes = (size_t)old->attribute_count * sizeof *old->attributes;
  node->attributes = arena_copy(maker->graph->arena, old->attributes, bytes);
  node->attribute_count = old->attribute_count;
  node->attribute_capacity = (uint32_t)old->attribute_count;
  return maker_finish(maker, node);
}

const MakeRow program_makes[] = {
    {"elementwise", 16, make_elementwise},
    {"rowwise", 6, make_rowwise},
    {"domain", 2, make_domain},
    {"unary", 10, make_unary},
    {"residual", 6, make_residual},
    {"cast", 3, make_cast},
    {"softmax", 2, make_softmax},
    {"norm", 2, make_norm},
    {"activation", 4, make_activation},
    {"affine", 4, make_affine},
    {"twin", 3, make_twin},
    {"wide", 1, make_wide},
    {0},
};
