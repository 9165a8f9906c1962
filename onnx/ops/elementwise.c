// Pointwise arithmetic: one scalar opcode each, or a short program. Before opset 7 the binary operators broadcast their
// second operand only, along an `axis` attribute.
#include "onnx/ops/common.h"

typedef struct NamedOpcode {
  const char *name;
  Opcode op;
} NamedOpcode;

static const NamedOpcode opcodes[] = {
    {"Add", OP_add},        {"Sub", OP_sub},        {"Mul", OP_mul},           {"Div", OP_div},
    {"And", OP_and},        {"Or", OP_or},          {"Xor", OP_xor},           {"Equal", OP_eq},
    {"Greater", OP_gt},     {"Less", OP_lt},        {"GreaterOrEqual", OP_ge}, {"LessOrEqual", OP_le},
    {"BitwiseAnd", OP_and}, {"BitwiseOr", OP_or},   {"BitwiseXor", OP_xor},    {"Max", OP_max},
    {"Min", OP_min},        {"Sum", OP_add},        {"Mean", OP_add},          {"Abs", OP_abs},
    {"Neg", OP_neg},        {"Sign", OP_sign},      {"Floor", OP_floor},       {"Ceil", OP_ceil},
    {"Round", OP_round},    {"Sqrt", OP_sqrt},      {"Reciprocal", OP_recip},  {"Exp", OP_exp},
    {"Log", OP_log},        {"Sin", OP_sin},        {"Cos", OP_cos},           {"Tan", OP_tan},
    {"Asin", OP_asin},      {"Acos", OP_acos},      {"Atan", OP_atan},         {"Sinh", OP_sinh},
    {"Cosh", OP_cosh},      {"Tanh", OP_tanh},      {"Asinh", OP_asinh},       {"Acosh", OP_acosh},
    {"Atanh", OP_atanh},    {"Erf", OP_erf},        {"Sigmoid", OP_sigmoid},   {"Relu", OP_relu},
    {"Not", OP_not},        {"BitwiseNot", OP_not}, {"IsNaN", OP_isnan},
};

static Opcode opcode_of(const Translation *t) {
  for (size_t i = 0; i < COUNT_OF(opcodes); i++)
    if (strcmp(opcodes[i].name, t->op_type) == 0) return opcodes[i].op;
  return OP_const;
}

static Status unary(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = build_unary(&b, opcode_of(t), t->inputs[0]);
  return translate_end(t, &b);
}

static Status identity(Translation *t) {
  t->outputs[0] = t->inputs[0];
  return OK;
}

static Status binary(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *y = t->inputs[1];
  if (x->dtype != y->dtype)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs have types %s and %s", dtype_name(x->dtype), dtype_name(y->dtype));
  if (x->dtype == DTYPE_STRING && strcmp(t->op_type, "Equal") == 0)
    t->outputs[0] = node_done(&b, node_start(&b, "string_equal", 2, t->inputs, 1));
  else t->outputs[0] = build_binary(&b, opcode_of(t), x, y);
  return translate_end(t, &b);
}

// The second operand's shape is a run of the first's, starting at `axis` (default: the last ones).
static Status second_operand(Translation *t, Builder *b, Value **y) {
  *y = t->inputs[1];
  Value *x = t->inputs[0];
  if (!node_int(t->attributes, "broadcast", 0) || !node_attribute(t->attributes, "axis")) return OK;
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), x->rank, &axis));
  int trailing = x->rank - axis - (*y)->rank;
  if (trailing < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its second input has too many axes to start at axis %d", axis);
  Dim dims[MAX_RANK];
  for (int i = 0; i < (*y)->rank + trailing; i++) dims[i] = i < (*y)->rank ? (*y)->dims[i] : 1;
  if (trailing > 0) *y = build_reshape(b, *y, (*y)->rank + trailing, dims);
  return OK;
}

static Status binary_old(Translation *t) {
  Builder b = translate_begin(t);
  Value *y;
  TRY(second_operand(t, &b, &y));
  t->outputs[0] = build_binary(&b, opcode_of(t), t->inputs[0], y);
  return translate_end(t, &b);
}

// The result has the base's type. Integer powers of floats and the reverse are computed in the wider world.
static Status power_of(Translation *t, Builder *b, Value *x, Value *y) {
  if (x->dtype == y->dtype) {
    t->outputs[0] = build_binary(b, OP_pow, x, y);
    return translate_end(t, b);
  }
  Program *p = program_new(t->graph->arena, 2);
  DType dtype = x->dtype;
  if (!dtype_is_float(dtype) && dtype_is_float(y->dtype)) dtype = y->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32;
  int base = program_cast(p, dtype, program_input(p, 0, x->dtype));
  int exponent = program_cast(p, dtype, program_input(p, 1, y->dtype));
  program_output(p, program_cast(p, x->dtype, op2(p, OP_pow, base, exponent)));
  t->outputs[0] = build_elementwise(b, p, 2, (Value *[]){x, y});
  return translate_end(t, b);
}

static Status power(Translation *t) {
  Builder b = translate_begin(t);
  return power_of(t, &b, t->inputs[0], t->inputs[1]);
}

static Status power_old(Translation *t) {
  Builder b = translate_begin(t);
  Value *y;
  TRY(second_operand(t, &b, &y));
  return power_of(t, &b, t->inputs[0], y);
}

// A kernel's parameters have room for some 500 addresses.
enum { MOST_TERMS = 128 };

static Status variadic(Translation *t) {
  Builder b = translate_begin(t);
  TRY(check_present(t));
  if (t->input_count == 1) return identity(t);
  bool mean = strcmp(t->op_type, "Mean") == 0;
  if (t->input_count == 2 && !mean) return binary(t);
  DType dtype = t->inputs[0]->dtype;
  bool narrow = dtype_is_float(dtype) && dtype_bits(dtype) < 32;
  DType between = narrow && t->input_count > MOST_TERMS ? DTYPE_F32 : dtype;  // no rounding where one node ends
  Value **terms = arena_array(t->graph->arena, Value *, MOST_TERMS), *sum = t->inputs[0];
  for (int next = 1; next < t->input_count && !b.status;) {
    int count = MIN(t->input_count - next, MOST_TERMS - 1);
    Program *p = program_new(t->graph->arena, count + 1);
    int result = program_cast(p, between, program_input(p, 0, sum->dtype));
    terms[0] = sum;
    for (int i = 1; i <= count; i++, next++) {
      terms[i] = t->inputs[next];
      if (terms[i]->dtype != dtype) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs differ in type");
      result = op2(p, opcode_of(t), result, program_cast(p, between, program_input(p, i, dtype)));
    }
    bool last = next == t->input_count;
    if (last && mean) result = op2(p, OP_div, result, constant_like(p, result, t->input_count));
    program_output(p, last ? program_cast(p, dtype, result) : result);
    sum = build_elementwise(&b, p, count + 1, terms);
  }
  t->outputs[0] = sum;
  return translate_end(t, &b);
}

static Status modulo(Translation *t) {
  Builder b = translate_begin(t);
  Opcode op = node_int(t->attributes, "fmod", 0) ? OP_fmod : OP_mod;
  if (op == OP_mod && dtype_is_float(t->inputs[0]->dtype))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs are %s, for which fmod must be 1", dtype_name(t->inputs[0]->dtype));
  t->outputs[0] = build_binary(&b, op, t->inputs[0], t->inputs[1]);
  return translate_end(t, &b);
}

static Status bit_shift(Translation *t) {
  Builder b = translate_begin(t);
  const char *direction = node_string(t->attributes, "direction", "");
  bool left = strcmp(direction, "LEFT") == 0;
  if (!left && strcmp(direction, "RIGHT") != 0)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "direction is '%s', expected LEFT or RIGHT", direction);
  t->outputs[0] = build_binary(&b, left ? OP_shift_left : OP_shift_right, t->inputs[0], t->inputs[1]);
  return translate_end(t, &b);
}

// Programs know no strings: where each element comes from is computed, and they are taken from there.
static Value *where_of_strings(Builder *b, Value *const *inputs) {
  DimTable *table = b->graph->dims;
  Value *flat[2], *positions[2];
  Dim count = 0;
  for (int i = 0; i < 2 && !b->status; i++) {
    Value *from = inputs[i + 1];
    Dim own = dims_product(table, from->dims, from->rank);
    flat[i] = build_reshape(b, from, 1, &own);
    positions[i] = build_reshape(b, build_range(b, DTYPE_I64, own, 0, 1), from->rank, from->dims);
    if (i == 1) positions[i] = build_binary(b, OP_add, positions[i], build_reshape(b, build_dims(b, &count, 1), 0, NULL));
    count = dim_add(table, count, own);
  }
  if (b->status) return NULL;
  return build_gather(b, build_concat(b, 2, flat, 0), build_where(b, inputs[0], positions[0], positions[1]), 0);
}

static Status where(Translation *t) {
  Builder b = translate_begin(t);
  if (t->inputs[1]->dtype == DTYPE_STRING && t->inputs[2]->dtype == DTYPE_STRING) {
    t->outputs[0] = where_of_strings(&b, t->inputs);
    return translate_end(t, &b);
  }
  t->outputs[0] = build_where(&b, t->inputs[0], t->inputs[1], t->inputs[2]);
  return translate_end(t, &b);
}

static Status is_inf(Translation *t) {
  Builder b = translate_begin(t);
  Program *p = program_new(t->graph->arena, 1);
  int x = program_input(p, 0, t->inputs[0]->dtype), zero = constant_like(p, x, 0), result = op1(p, OP_isinf, x);
  if (!node_int(t->attributes, "detect_negative", 1)) result = op2(p, OP_and, result, op2(p, OP_gt, x, zero));
  if (!node_int(t->attributes, "detect_positive", 1)) result = op2(p, OP_and, result, op2(p, OP_lt, x, zero));
  program_output(p, result);
  t->outputs[0] = build_elementwise(&b, p, 1, t->inputs);
  return translate_end(t, &b);
}

// A bound of NaN bounds nothing, as ONNX's function for Clip has it: comparisons with it are false. NaN of x stays. Where the bound is
// known to be a number, this is the plain minimum or maximum.
static int bounded(Program *p, int x, int bound, bool most, const Tensor *known) {
  bool number = known && tensor_count(known) == 1 && !isnan(tensor_get_f(known, 0));
  if (number || !dtype_is_float(program_dtype(p, x))) return op2(p, most ? OP_min : OP_max, x, bound);
  return op3(p, OP_select, op2(p, most ? OP_lt : OP_gt, bound, x), bound, x);
}

// min and max as inputs since opset 11; max wins where they cross.
static Status clip(Translation *t) {
  Builder b = translate_begin(t);
  Value *inputs[3] = {t->inputs[0]};
  int count = 1;
  Program *p = program_new(t->graph->arena, 3);
  int result = program_input(p, 0, t->inputs[0]->dtype);
  for (int i = 1; i <= 2; i++) {
    if (!translate_has(t, i)) continue;
    inputs[count] = t->inputs[i];
    if (t->inputs[i]->rank > 0) inputs[count] = build_reshape(&b, t->inputs[i], 0, NULL);
    int bound = program_input(p, count++, t->inputs[i]->dtype);
    result = bounded(p, result, bound, i == 2, t->inputs[i]->constant);
  }
  if (count == 1) return identity(t);
  p->input_count = count;
  program_output(p, result);
  t->outputs[0] = build_elementwise(&b, p, count, inputs);
  return translate_end(t, &b);
}

static Status clip_old(Translation *t) {
  Builder b = translate_begin(t);
  Program *p = program_new(t->graph->arena, 1);
  int result = program_input(p, 0, t->inputs[0]->dtype);
  if (node_attribute(t->attributes, "min"))
    result = op2(p, OP_max, result, constant_like(p, result, node_float(t->attributes, "min", 0)));
  if (node_attribute(t->attributes, "max"))
    result = op2(p, OP_min, result, constant_like(p, result, node_float(t->attributes, "max", 0)));
  program_output(p, result);
  t->outputs[0] = build_elementwise(&b, p, 1, t->inputs);
  return translate_end(t, &b);
}

const OnnxOp onnx_elementwise_ops[] = {
    {"", "Add", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Add", 7, 0, 2, 2, 1, 1, binary},
    {"", "Sub", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Sub", 7, 0, 2, 2, 1, 1, binary},
    {"", "Mul", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Mul", 7, 0, 2, 2, 1, 1, binary},
    {"", "Div", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Div", 7, 0, 2, 2, 1, 1, binary},
    {"", "Pow", 1, 6, 2, 2, 1, 1, power_old},
    {"", "Pow", 7, 0, 2, 2, 1, 1, power},
    {"", "And", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "And", 7, 0, 2, 2, 1, 1, binary},
    {"", "Or", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Or", 7, 0, 2, 2, 1, 1, binary},
    {"", "Xor", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Xor", 7, 0, 2, 2, 1, 1, binary},
    {"", "Equal", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Equal", 7, 0, 2, 2, 1, 1, binary},
    {"", "Greater", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Greater", 7, 0, 2, 2, 1, 1, binary},
    {"", "Less", 1, 6, 2, 2, 1, 1, binary_old},
    {"", "Less", 7, 0, 2, 2, 1, 1, binary},
    {"", "GreaterOrEqual", 12, 0, 2, 2, 1, 1, binary},
    {"", "LessOrEqual", 12, 0, 2, 2, 1, 1, binary},
    {"", "BitwiseAnd", 18, 0, 2, 2, 1, 1, binary},
    {"", "BitwiseOr", 18, 0, 2, 2, 1, 1, binary},
    {"", "BitwiseXor", 18, 0, 2, 2, 1, 1, binary},
    {"", "BitwiseNot", 18, 0, 1, 1, 1, 1, unary},
    {"", "BitShift", 11, 0, 2, 2, 1, 1, bit_shift},
    {"", "Mod", 10, 0, 2, 2, 1, 1, modulo},
    {"", "Max", 1, 0, 1, -1, 1, 1, variadic},
    {"", "Min", 1, 0, 1, -1, 1, 1, variadic},
    {"", "Sum", 1, 0, 1, -1, 1, 1, variadic},
    {"", "Mean", 1, 0, 1, -1, 1, 1, variadic},
    {"", "Where", 9, 0, 3, 3, 1, 1, where},
    {"", "Clip", 1, 10, 1, 1, 1, 1, clip_old},
    {"", "Clip", 11, 0, 1, 3, 1, 1, clip},
    {"", "IsInf", 10, 0, 1, 1, 1, 1, is_inf},
    {"", "IsNaN", 9, 0, 1, 1, 1, 1, unary},
    {"", "Identity", 1, 0, 1, 1, 1, 1, identity},
    {"", "Not", 1, 0, 1, 1, 1, 1, unary},
    {"", "Abs", 1, 0, 1, 1, 1, 1, unary},
    {"", "Neg", 1, 0, 1, 1, 1, 1, unary},
    {"", "Sign", 9, 0, 1, 1, 1, 1, unary},
    {"", "Floor", 1, 0, 1, 1, 1, 1, unary},
    {"", "Ceil", 1, 0, 1, 1, 1, 1, unary},
    {"", "Round", 11, 0, 1, 1, 1, 1, unary},
    {"", "Sqrt", 1, 0, 1, 1, 1, 1, unary},
    {"", "Reciprocal", 1, 0, 1, 1, 1, 1, unary},
    {"", "Exp", 1, 0, 1, 1, 1, 1, unary},
    {"", "Log", 1, 0, 1, 1, 1, 1, unary},
    {"", "Sin", 7, 0, 1, 1, 1, 1, unary},
    {"", "Cos", 7, 0, 1, 1, 1, 1, unary},
    {"", "Tan", 7, 0, 1, 1, 1, 1, unary},
    {"", "Asin", 7, 0, 1, 1, 1, 1, unary},
    {"", "Acos", 7, 0, 1, 1, 1, 1, unary},
    {"", "Atan", 7, 0, 1, 1, 1, 1, unary},
    {"", "Sinh", 9, 0, 1, 1, 1, 1, unary},
    {"", "Cosh", 9, 0, 1, 1, 1, 1, unary},
    {"", "Tanh", 1, 0, 1, 1, 1, 1, unary},
    {"", "Asinh", 9, 0, 1, 1, 1, 1, unary},
    {"", "Acosh", 9, 0, 1, 1, 1, 1, unary},
    {"", "Atanh", 9, 0, 1, 1, 1, 1, unary},
    {"", "Erf", 9, 0, 1, 1, 1, 1, unary},
    {"", "Sigmoid", 1, 0, 1, 1, 1, 1, unary},
    {"", "Relu", 1, 0, 1, 1, 1, 1, unary},
    {0},
};
