// Arithmetic on quantised tensors as ONNX Runtime's quantiser writes it (com.microsoft): numbers are widened, computed in f32 and rounded
// back in one program; products are of integers.
#include "onnx/ops/heads.h"
#include "onnx/ops/packed_attention.h"
#include "onnx/ops/quantize.h"
#include "onnx/ops/shared.h"

// A quantised operand: its tensor, scale and zero point (NULL: 0), each a scalar or a vector of one.
typedef struct Quantised {
  Value *x, *scale, *zero;
} Quantised;

static Value *as_scalar(Builder *b, Value *x) { return x && x->rank > 0 ? build_reshape(b, x, 0, NULL) : x; }

static Quantised operand(Translation *t, Builder *b, int x, int scale, int zero) {
  return (Quantised){x < 0 ? NULL : t->inputs[x], as_scalar(b, t->inputs[scale]), as_scalar(b, translate_input(t, zero))};
}

typedef struct Mapped {
  Program *p;
  Value *inputs[12];
} Mapped;

static int take(Mapped *m, Value *value) {
  m->inputs[m->p->input_count++] = value;
  return program_input(m->p, m->p->input_count - 1, value->dtype);
}

// (x - zero) * scale in f32.
static int widen(Mapped *m, const Quantised *q) {
  Program *p = m->p;
  int x = program_cast(p, DTYPE_F32, take(m, q->x));
  if (q->zero) x = op2(p, OP_sub, x, program_cast(p, DTYPE_F32, take(m, q->zero)));
  return op2(p, OP_mul, x, take(m, q->scale));
}

static int narrow(Mapped *m, int y, const Quantised *to, DType dtype) {
  int zero = to->zero ? take(m, to->zero) : -1;
  return program_requantize(m->p, dtype, op2(m->p, OP_div, y, take(m, to->scale)), zero);
}

static Value *finish(Builder *b, Mapped *m, int y) {
  if (b->status) return NULL;
  program_output(m->p, y);
  return build_elementwise(b, m->p, m->p->input_count, m->inputs);
}

static Value *widened(Builder *b, Quantised q) {
  if (b->status) return NULL;
  Mapped m = {program_new(b->graph->arena, 0), {0}};
  return finish(b, &m, widen(&m, &q));
}

static Value *narrowed(Builder *b, Value *x, Quantised to, DType dtype) {
  if (b->status || !x) return NULL;
  Mapped m = {program_new(b->graph->arena, 0), {0}};
  return finish(b, &m, narrow(&m, take(&m, x), &to, dtype));
}

// --- Pointwise

static Status binary(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 0, 1, 2), y = operand(t, &b, 3, 4, 5), to = operand(t, &b, -1, 6, 7);
  TRY(translate_end(t, &b));
  Mapped m = {program_new(t->graph->arena, 0), {0}};
  int left = widen(&m, &x), right = widen(&m, &y);
  int result = op2(m.p, strcmp(t->op_type, "QLinearAdd") == 0 ? OP_add : OP_mul, left, right);
  t->outputs[0] = finish(&b, &m, narrow(&m, result, &to, x.x->dtype));
  return translate_end(t, &b);
}

static Status unary(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 0, 1, 2), to = operand(t, &b, -1, 3, 4);
  TRY(translate_end(t, &b));
  Mapped m = {program_new(t->graph->arena, 0), {0}};
  int a = widen(&m, &x), y;
  if (strcmp(t->op_type, "QLinearSigmoid") == 0) y = op1(m.p, OP_sigmoid, a);
  else {
    int below = op2(m.p, OP_mul, a, constant_like(m.p, a, node_float(t->attributes, "alpha", 0.01)));
    y = op3(m.p, OP_select, op2(m.p, OP_lt, a, constant_like(m.p, a, 0)), below, a);
  }
  t->outputs[0] = finish(&b, &m, narrow(&m, y, &to, x.x->dtype));
  return translate_end(t, &b);
}

static Status where(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 1, 2, 3), y = operand(t, &b, 4, 5, 6), to = operand(t, &b, -1, 7, 8);
  TRY(translate_end(t, &b));
  Mapped m = {program_new(t->graph->arena, 0), {0}};
  int chosen = take(&m, t->inputs[0]), left = narrow(&m, widen(&m, &x), &to, x.x->dtype);
  int right = narrow(&m, widen(&m, &y), &to, x.x->dtype);
  t->outputs[0] = finish(&b, &m, op3(m.p, OP_select, chosen, left, right));
  return translate_end(t, &b);
}

// Inputs: scale and zero point of the result, then three of each operand.
static Status concat(Translation *t) {
  Builder b = translate_begin(t);
  int count = (t->input_count - 2) / 3, axis;
  if (count < 1 || t->input_count != 2 + 3 * count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d inputs", t->input_count);
  TRY(check_present(t));
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), t->inputs[2]->rank, &axis));
  Quantised to = operand(t, &b, -1, 0, 1);
  Value **parts = arena_array(t->graph->arena, Value *, (size_t)count);
  for (int i = 0; i < count; i++) {
    Quantised x = operand(t, &b, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i);
    TRY(translate_end(t, &b));
    if (x.x->dtype != to.zero->dtype || x.zero->dtype != to.zero->dtype)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs differ in type: %s and %s", dtype_name(x.x->dtype),
                     dtype_name(to.zero->dtype));
    Mapped m = {program_new(t->graph->arena, 0), {0}};
    parts[i] = finish(&b, &m, narrow(&m, widen(&m, &x), &to, x.x->dtype));
  }
  t->outputs[0] = build_concat(&b, count, parts, axis);
  return translate_end(t, &b);
}

// Before opset 13 the row is everything from `axis` on.
static Status softmax(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 0, 1, 2), to = operand(t, &b, -1, 3, 4);
  int axis, rank = t->inputs[0]->rank;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -1), rank, &axis));
  Value *wide = widened(&b, x);
  TRY(translate_end(t, &b));
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, DTYPE_F32);
  int e = op1(p, OP_exp, op2(p, OP_sub, a, program_reduce(p, OP_reduce_max, a, DTYPE_F32)));
  program_output(p, op2(p, OP_div, e, program_reduce(p, OP_reduce_sum, e, DTYPE_F32)));
  int64_t axes[MAX_RANK];
  int count = node_int(t->attributes, "opset", 13) < 13 ? rank - axis : 1;
  for (int i = 0; i < count; i++) axes[i] = axis + i;
  t->outputs[0] = narrowed(&b, build_rowwise(&b, p, 1, &wide, axes, count), to, x.x->dtype);
  return translate_end(t, &b);
}

// --- Pooling

// The channels moved from the last axis to the second, or back.
static Value *channels_moved(Builder *b, Value *x, bool to_second) {
  if (b->status || !x) return NULL;
  int perm[MAX_RANK];
  for (int i = 0; i < x->rank; i++)
    perm[i] = i == 0 ? 0 : to_second ? (i == 1 ? x->rank - 1 : i - 1) : (i == x->rank - 1 ? 1 : i + 1);
  return build_transpose(b, x, perm);
}

static Status global_average(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 0, 1, 2), to = operand(t, &b, -1, 3, 4);
  bool last = node_int(t->attributes, "channels_last", 0) != 0;
  int rank = t->inputs[0]->rank;
  if (rank < 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 3", rank);
  Value *wide = widened(&b, x);
  TRY(translate_end(t, &b));
  Program *p = program_new(t->graph->arena, 1);
  program_output(p, reduce_mean(p, program_input(p, 0, DTYPE_F32)));
  int64_t axes[MAX_RANK];
  for (int i = 0; i < rank - 2; i++) axes[i] = i + (last ? 1 : 2);
  t->outputs[0] = narrowed(&b, build_rowwise(&b, p, 1, &wide, axes, rank - 2), to, x.x->dtype);
  return translate_end(t, &b);
}

static Status average_pool(Translation *t) {
  Builder b = translate_begin(t);
  Quantised x = operand(t, &b, 0, 1, 2), to = operand(t, &b, -1, 3, 4);
  bool last = node_int(t->attributes, "channels_last", 0) != 0;
  int count;
  const int64_t *kernel = node_ints(t->attributes, "kernel_shape", &count);
  if (!kernel || count != t->inputs[0]->rank - 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel_shape has %d values for an input of rank %d", count, t->inputs[0]->rank);
  Value *wide = widened(&b, x);
  if (last) wide = channels_moved(&b, wide, true);
  TRY(translate_end(t, &b));
  WindowSpec window = {.axes = count};
  for (int i = 0; i < count; i++) window.kernel[i] = kernel[i];
  TRY(window_spec_read(t, wide, &window));
  if (t->deferred) return OK;
  Node *node = node_start(&b, "pool", 1, &wide, 1);
  node_set_string(node, "kind", "average");
  node_set_ints(node, "kernel", window.kernel, count);
  window_spec_set(node, &window);
  node_set_int(node, "ceil_mode", node_int(t->attributes, "ceil_mode", 0));
  node_set_int(node, "count_include_pad", node_int(t->attributes, "count_include_pad", 0));
  Value *y = narrowed(&b, node_done(&b, node), to, x.x->dtype);
  t->outputs[0] = last ? channels_moved(&b, y, false) : y;
  return translate_end(t, &b);
}

// An operator whose first input and output have their channels last.
static Status with_channels_last(Translation *t, Status (*translate)(Translation *t)) {
  Builder b = translate_begin(t);
  Value **inputs = arena_copy(t->graph->arena, t->inputs, sizeof *inputs * (size_t)t->input_count);
  inputs[0] = channels_moved(&b, inputs[0], true);
  TRY(translate_end(t, &b));
  Translation inner = *t;
  inner.inputs = inputs;
  TRY(translate(&inner));
  t->deferred = inner.deferred;
  if (!t->deferred) t->outputs[0] = channels_moved(&b, t->outputs[0], false);
  return translate_end(t, &b);
}

static Status max_pool_channels_last(Translation *t) { return with_channels_last(t, translate_pool); }

static Status conv(Translation *t) {
  bool last = node_int(t->attributes, "channels_last", 0) != 0;
  return last ? with_channels_last(t, translate_qlinear_conv) : translate_qlinear_conv(t);
}

// --- Products of integers that end in floats

// Scale or zero point of a matrix operand: one, or one for each column.
static Value *columns(Builder *b, Value *parameter) {
  return parameter && parameter->rank == 1 && parameter->dims[0] == 1 ? build_reshape(b, parameter, 0, NULL) : parameter;
}

// sum * scale_x * scale_w + bias, the sum being of integers.
static Value *to_floats(Builder *b, Value *sum, Value *scale_x, Value *scale_w, Value *bias) {
  if (b->status) return NULL;
  Mapped m = {program_new(b->graph->arena, 0), {0}};
  int scale = op2(m.p, OP_mul, take(&m, scale_x), take(&m, scale_w));
  int y = op2(m.p, OP_mul, program_cast(m.p, DTYPE_F32, take(&m, sum)), scale);
  if (bias) y = op2(m.p, OP_add, y, take(&m, bias));
  return finish(b, &m, y);
}

static Value *integer_product(Builder *b, Value *x, Value *zero_x, Value *w, Value *zero_w) {
  Value *left = quantize_centre(b, x, columns(b, zero_x)), *right = quantize_centre(b, w, columns(b, zero_w));
  return b->status ? NULL : build_product(b, left, right);
}

static Status matmul_to_float(Translation *t) {
  Builder b = translate_begin(t);
  Value *sum = integer_product(&b, t->inputs[0], translate_input(t, 4), t->inputs[1], translate_input(t, 5));
  t->outputs[0] = to_floats(&b, sum, columns(&b, t->inputs[2]), columns(&b, t->inputs[3]), translate_input(t, 6));
  return translate_end(t, &b);
}

static Status dynamic_matmul(Translation *t) {
  Builder b = translate_begin(t);
  Value *x[3];
  build_dynamic_quantize(&b, t->inputs[0], x);
  TRY(translate_end(t, &b));
  Value *sum = integer_product(&b, x[0], x[2], t->inputs[1], translate_input(t, 3));
  t->outputs[0] = to_floats(&b, sum, x[1], columns(&b, t->inputs[2]), translate_input(t, 4));
  return translate_end(t, &b);
}

// alpha * A * B + C, C being of the product's integers; rounded to y_scale where that is given, else floats.
static Status gemm(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  Value *x = t->inputs[0], *w = t->inputs[3], *bias = translate_input(t, 6);
  Quantised to = {.scale = as_scalar(&b, translate_input(t, 7)), .zero = as_scalar(&b, translate_input(t, 8))};
  if (x->rank != 2 || w->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its operands have ranks %d and %d, expected 2", x->rank, w->rank);
  // Parameters of B stand for the columns of the product.
  Value *zero_w = columns(&b, t->inputs[5]), *scale_w = columns(&b, t->inputs[4]);
  bool turned = node_int(a, "transB", 0) != 0;
  Value *left = quantize_centre(&b, x, columns(&b, t->inputs[2]));
  if (node_int(a, "transA", 0)) left = build_swap(&b, left, 0, 1);
  Value *right = quantize_centre(&b, turned ? build_swap(&b, w, 0, 1) : w, zero_w);
  TRY(translate_end(t, &b));
  Value *sum = build_matmul(&b, left, right);
  if (bias) sum = build_add(&b, sum, bias);
  TRY(translate_end(t, &b));
  Mapped m = {program_new(t->graph->arena, 0), {0}};
  int scale = op2(m.p, OP_mul, take(&m, columns(&b, t->inputs[1])), take(&m, scale_w));
  int y = op2(m.p, OP_mul, program_cast(m.p, DTYPE_F32, take(&m, sum)), scale);
  y = op2(m.p, OP_mul, y, constant_like(m.p, y, node_float(a, "alpha", 1)));
  if (to.scale) y = narrow(&m, y, &to, to.zero ? to.zero->dtype : x->dtype);
  t->outputs[0] = finish(&b, &m, y);
  return translate_end(t, &b);
}

static Status quantised_attention(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  if (x->rank != 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 3", x->rank);
  Value *sum = integer_product(&b, x, translate_input(t, 6), t->inputs[1], translate_input(t, 7));
  Value *wide = to_floats(&b, sum, columns(&b, t->inputs[3]), columns(&b, t->inputs[4]), NULL);
  return translate_packed_attention(t, &b, wide, 2, 5, 8, -1);
}

const OnnxOp onnx_microsoft_quantize_ops[] = {
    {"com.microsoft", "QLinearAdd", 1, 0, 7, 8, 1, 1, binary},
    {"com.microsoft", "QLinearMul", 1, 0, 7, 8, 1, 1, binary},
    {"com.microsoft", "QLinearSigmoid", 1, 0, 4, 5, 1, 1, unary},
    {"com.microsoft", "QLinearLeakyRelu", 1, 0, 4, 5, 1, 1, unary},
    {"com.microsoft", "QLinearWhere", 1, 0, 9, 9, 1, 1, where},
    {"com.microsoft", "QLinearConcat", 1, 0, 5, -1, 1, 1, concat},
    {"com.microsoft", "QLinearSoftmax", 1, 0, 5, 5, 1, 1, softmax},
    {"com.microsoft", "QLinearGlobalAveragePool", 1, 0, 5, 5, 1, 1, global_average},
    {"com.microsoft", "QLinearAveragePool", 1, 0, 4, 5, 1, 1, average_pool},
    {"com.microsoft", "QLinearConv", 1, 0, 8, 9, 1, 1, conv},
    {"com.microsoft", "NhwcMaxPool", 1, 0, 1, 1, 1, 1, max_pool_channels_last},
    {"com.microsoft", "MatMulIntegerToFloat", 1, 0, 4, 7, 1, 1, matmul_to_float},
    {"com.microsoft", "DynamicQuantizeMatMul", 1, 0, 3, 5, 1, 1, dynamic_matmul},
    {"com.microsoft", "QGemm", 1, 0, 6, 9, 1, 1, gemm},
    {"com.microsoft", "QAttention", 1, 0, 5, 9, 1, 2, quantised_attention},
    {"com.microsoft", "QuantizeLinear", 1, 0, 2, 3, 1, 1, translate_quantize},
    {"com.microsoft", "DequantizeLinear", 1, 0, 2, 3, 1, 1, translate_dequantize},
    {0},
};
