// Reductions, the softmax family and the arg-reductions: each one rowwise program.
#include "onnx/ops/common.h"

// Appends the reduction of a over the row axes.
typedef int (*Body)(Program *p, int a);

static int total(Program *p, int a) { return program_reduce(p, OP_reduce_sum, a, program_dtype(p, a)); }
static int square(Program *p, int a) { return op2(p, OP_mul, a, a); }
static int product(Program *p, int a) { return program_reduce(p, OP_reduce_prod, a, program_dtype(p, a)); }
static int largest(Program *p, int a) { return program_reduce(p, OP_reduce_max, a, program_dtype(p, a)); }
static int smallest(Program *p, int a) { return program_reduce(p, OP_reduce_min, a, program_dtype(p, a)); }
static int sum_square(Program *p, int a) { return total(p, square(p, a)); }
static int l1(Program *p, int a) { return total(p, op1(p, OP_abs, a)); }
// Of narrow integers the sum may need more digits than the mean.
static int mean(Program *p, int a) {
  DType dtype = program_dtype(p, a);
  if (dtype_is_float(dtype) || dtype_bits(dtype) == 64) return reduce_mean(p, a);
  return program_cast(p, dtype, reduce_mean(p, program_cast(p, DTYPE_I64, a)));
}

// Functions that only floats have are computed in f64 for integers and converted back.
static int in_floats(Program *p, int a, Body body) {
  DType dtype = program_dtype(p, a);
  if (dtype_is_float(dtype)) return body(p, a);
  return program_cast(p, dtype, body(p, program_cast(p, DTYPE_F64, a)));
}
static int l2_float(Program *p, int a) { return op1(p, OP_sqrt, sum_square(p, a)); }
static int log_sum_float(Program *p, int a) { return op1(p, OP_log, total(p, a)); }
static int log_sum_exp_float(Program *p, int a) {
  // The largest term is taken out; where it is infinite there is nothing to scale.
  int top = largest(p, a);
  top = op3(p, OP_select, op1(p, OP_isinf, top), constant_like(p, a, 0), top);
  return op2(p, OP_add, op1(p, OP_log, total(p, op1(p, OP_exp, op2(p, OP_sub, a, top)))), top);
}
static int l2(Program *p, int a) { return in_floats(p, a, l2_float); }
static int log_sum(Program *p, int a) { return in_floats(p, a, log_sum_float); }
static int log_sum_exp(Program *p, int a) { return in_floats(p, a, log_sum_exp_float); }

static const struct {
  const char *name;
  Body body;
} bodies[] = {
    {"ReduceL1", l1},          {"ReduceL2", l2},
    {"ReduceLogSum", log_sum}, {"ReduceLogSumExp", log_sum_exp},
    {"ReduceMax", largest},    {"ReduceMean", mean},
    {"ReduceMin", smallest},   {"ReduceProd", product},
    {"ReduceSum", total},      {"ReduceSumSquare", sum_square},
};

static Body body_of(const char *name) {
  for (size_t i = 0; i < COUNT_OF(bodies); i++)
    if (strcmp(bodies[i].name, name) == 0) return bodies[i].body;
  return NULL;
}

static Status reduce_over(Translation *t, int64_t *axes, int count) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  bool keep = node_int(t->attributes, "keepdims", 1) != 0;
  TRY(normalise_axes(t, axes, count, x->rank));
  Program *p = program_new(t->graph->arena, 1);
  program_output(p, body_of(t->op_type)(p, program_input(p, 0, x->dtype)));
  Value *y = build_rowwise(&b, p, 1, &x, axes, count);
  if (!keep && count > 0) y = build_squeeze(&b, y, axes, count);
  t->outputs[0] = y;
  return translate_end(t, &b);
}

// axes: an attribute at first; an input since 13 for ReduceSum, since 18 for the others. No axes: all of them, unless told
// that it means none.
static Status reduce(Translation *t) {
  const int64_t *given;
  int count;
  TAKE_INTS(t, "axes", 1, &given, &count);
  int64_t axes[MAX_RANK];
  if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d axes", count);
  for (int i = 0; i < count; i++) axes[i] = given[i];
  if (count == 0 && !node_int(t->attributes, "noop_with_empty_axes", 0))
    for (count = 0; count < t->inputs[0]->rank; count++) axes[count] = count;
  return reduce_over(t, axes, count);
}

static Status arg_reduce(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), x->rank, &axis));
  bool max = strcmp(t->op_type, "ArgMax") == 0, last = node_int(t->attributes, "select_last_index", 0) != 0;
  Opcode op = max ? (last ? OP_reduce_argmax_last : OP_reduce_argmax) : (last ? OP_reduce_argmin_last : OP_reduce_argmin);
  int64_t axes[] = {axis};
  t->outputs[0] = build_reduce(&b, op, x, axes, 1, node_int(t->attributes, "keepdims", 1) != 0);
  return translate_end(t, &b);
}

// Before opset 13 the row is everything from `axis` on; since then it is `axis` alone.
static Status softmax_axes(Translation *t, int64_t *axes, int *count) {
  int axis, rank = t->inputs[0]->rank;
  *count = 0;
  if (rank == 0) return OK;
  bool old = t->opset < 13;
  int64_t given = node_int(t->attributes, "axis", old ? 1 : -1);
  if (old && given == rank) return OK;
  TRY(normalise_axis(t, given, rank, &axis));
  for (int i = axis; i < (old ? rank : axis + 1); i++) axes[(*count)++] = i;
  return OK;
}

static Status softmax(Translation *t) {
  Builder b = translate_begin(t);
  int64_t axes[MAX_RANK];
  int count;
  TRY(softmax_axes(t, axes, &count));
  Program *p = program_new(t->graph->arena, 1);
  int x = program_input(p, 0, t->inputs[0]->dtype);
  int shifted = op2(p, OP_sub, x, largest(p, x));
  int e = op1(p, OP_exp, shifted), sum = total(p, e);
  bool logarithm = strcmp(t->op_type, "LogSoftmax") == 0;
  program_output(p, logarithm ? op2(p, OP_sub, shifted, op1(p, OP_log, sum)) : op2(p, OP_div, e, sum));
  t->outputs[0] = build_rowwise(&b, p, 1, t->inputs, axes, count);
  return translate_end(t, &b);
}

// One at the first largest element of each row.
static Status hardmax(Translation *t) {
  Builder b = translate_begin(t);
  int64_t axes[MAX_RANK];
  int count;
  TRY(softmax_axes(t, axes, &count));
  Program *p = program_new(t->graph->arena, 1);
  int x = program_input(p, 0, t->inputs[0]->dtype), place = program_const_i(p, DTYPE_I64, 0);
  for (int i = 0; i < count; i++) {
    place = op2(p, OP_mul, place, program_extent(p, DTYPE_I64, (int)axes[i]));
    place = op2(p, OP_add, place, program_index(p, DTYPE_I64, (int)axes[i]));
  }
  int best = program_reduce(p, OP_reduce_argmax, x, DTYPE_I64);
  program_output(p, op3(p, OP_select, op2(p, OP_eq, place, best), constant_like(p, x, 1), constant_like(p, x, 0)));
  t->outputs[0] = build_rowwise(&b, p, 1, t->inputs, axes, count);
  return translate_end(t, &b);
}

// GlobalAveragePool and its kin: the reduction of every spatial axis.
static Status global_pool(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  if (x->rank < 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 2", x->rank);
  int64_t axes[MAX_RANK];
  for (int i = 2; i < x->rank; i++) axes[i - 2] = i;
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, x->dtype), result;
  if (strcmp(t->op_type, "GlobalAveragePool") == 0) result = reduce_mean(p, a);
  else if (strcmp(t->op_type, "GlobalMaxPool") == 0) result = largest(p, a);
  else {
    double power = t->opset < 2 ? node_float(t->attributes, "p", 2) : (double)node_int(t->attributes, "p", 2);
    int sum = total(p, op2(p, OP_pow, op1(p, OP_abs, a), constant_like(p, a, power)));
    result = op2(p, OP_pow, sum, constant_like(p, a, 1 / power));
  }
  program_output(p, result);
  t->outputs[0] = build_rowwise(&b, p, 1, &x, axes, x->rank - 2);
  return translate_end(t, &b);
}

const OnnxOp onnx_reduce_ops[] = {
    {"", "ReduceL1", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceL2", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceLogSum", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceLogSumExp", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceMax", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceMean", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceMin", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceProd", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceSum", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ReduceSumSquare", 1, 0, 1, 2, 1, 1, reduce},
    {"", "ArgMax", 1, 0, 1, 1, 1, 1, arg_reduce},
    {"", "ArgMin", 1, 0, 1, 1, 1, 1, arg_reduce},
    {"", "Softmax", 1, 0, 1, 1, 1, 1, softmax},
    {"", "LogSoftmax", 1, 0, 1, 1, 1, 1, softmax},
    {"", "Hardmax", 1, 0, 1, 1, 1, 1, hardmax},
    {"", "GlobalAveragePool", 1, 0, 1, 1, 1, 1, global_pool},
    {"", "GlobalMaxPool", 1, 0, 1, 1, 1, 1, global_pool},
    {"", "GlobalLpPool", 1, 0, 1, 1, 1, 1, global_pool},
    {0},
};
