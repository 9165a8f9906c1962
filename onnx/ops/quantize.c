// Quantization: affine maps between floats and narrow types, and the integer matrix products and convolutions. Products
// are computed on zero-centred integers in i32 and scaled afterwards.
#include "onnx/ops/quantize.h"
#include "onnx/ops/shared.h"

Value *quantize_parameter(Builder *b, const Value *x, Value *parameter, int axis, int64_t block_size) {
  if (b->status || !parameter || parameter->rank == 0) return parameter;
  if (block_size > 0 && (parameter->rank != x->rank || parameter->rank == MAX_RANK)) {
    b->status =
        status_make(ERROR_INVALID_MODEL, "a blocked scale has rank %d for an input of rank %d", parameter->rank, x->rank);
    return NULL;
  }
  if (block_size <= 0) {
    if (parameter->rank == 1 && (parameter->dims[0] == 1 || x->rank <= 1)) {
      if (parameter->dims[0] == 1) return build_reshape(b, parameter, 0, NULL);
      return parameter;
    }
    return parameter->rank == 1 ? align_to_axis(b, parameter, axis, x->rank) : parameter;
  }
  Dim dims[MAX_RANK + 1], wide[MAX_RANK + 1], merged[MAX_RANK];
  for (int i = 0, k = 0; i < parameter->rank; i++) {
    dims[k] = wide[k] = merged[i] = parameter->dims[i];
    k++;
    if (i != axis) continue;
    dims[k] = 1;
    wide[k++] = block_size;
    merged[i] = dim_mul(b->graph->dims, merged[i], block_size);
  }
  Value *spread = build_reshape(b, parameter, parameter->rank + 1, dims);
  spread = build_expand(b, spread, parameter->rank + 1, wide);
  spread = build_reshape(b, spread, parameter->rank, merged);
  return build_slice_axis(b, spread, axis, 0, x->dims[axis]);
}

static void integer_range(DType dtype, double *low, double *high) {
  int bits = dtype_bits(dtype);
  bool has_sign = dtype_kind(dtype) == KIND_SIGNED;
  *low = has_sign ? -ldexp(1, bits - 1) : 0;
  *high = ldexp(1, has_sign ? bits - 1 : bits) - 1;
}

int program_requantize(Program *p, DType dtype, int a, int zero) {
  double low, high;
  integer_range(dtype, &low, &high);
  int result = op1(p, OP_round, a);
  if (zero >= 0) result = op2(p, OP_add, result, program_cast(p, program_dtype(p, a), zero));
  result = op2(p, OP_min, op2(p, OP_max, result, constant_like(p, a, low)), constant_like(p, a, high));
  return program_cast(p, dtype, result);
}

static Status quantize_axis(Translation *t, int *axis) {
  *axis = 0;
  int rank = t->inputs[0]->rank;
  int64_t given = node_int(t->attributes, "axis", 1);
  if (t->inputs[1]->rank == 0 || rank <= 1) return OK;
  return normalise_axis(t, given, rank, axis);
}

Status translate_quantize(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis;
  TRY(quantize_axis(t, &axis));
  int64_t block = node_int(t->attributes, "block_size", 0);
  Value *scale = quantize_parameter(&b, x, t->inputs[1], axis, block);
  Value *zero = quantize_parameter(&b, x, translate_input(t, 2), axis, block);
  DType dtype, precision;
  TRY(dtype_attribute(t, "output_dtype", translate_has(t, 2) ? t->inputs[2]->dtype : DTYPE_U8, &dtype));
  TRY(dtype_attribute(t, "precision", t->inputs[1]->dtype, &precision));
  if (!dtype_is_float(precision)) precision = DTYPE_F32;
  DType compute = compute_dtype(precision);
  Program *p = program_new(t->graph->arena, zero ? 3 : 2);
  int input = program_input(p, 0, dtype_is_float(x->dtype) ? compute : x->dtype);
  int divisor =
      program_cast(p, compute, program_input(p, 1, dtype_is_float(t->inputs[1]->dtype) ? compute : t->inputs[1]->dtype));
  int ratio = op2(p, OP_div, program_cast(p, compute, input), divisor);
  if (precision != compute) ratio = program_cast(p, compute, program_cast(p, precision, ratio));
  if (dtype_is_float(dtype)) {
    if (zero) ratio = op2(p, OP_add, ratio, program_input(p, 2, compute));
    program_output(p, program_cast_narrow(p, dtype, ratio, node_int(t->attributes, "saturate", 1) != 0, E8M0_UP));
  } else {
    program_output(p, program_requantize(p, dtype, ratio, zero ? program_input(p, 2, dtype) : -1));
  }
  t->outputs[0] = build_elementwise(&b, p, zero ? 3 : 2, (Value *[]){x, scale, zero});
  return translate_end(t, &b);
}

Status translate_dequantize(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis;
  TRY(quantize_axis(t, &axis));
  int64_t block = node_int(t->attributes, "block_size", 0);
  Value *scale = quantize_parameter(&b, x, t->inputs[1], axis, block);
  Value *zero = quantize_parameter(&b, x, translate_input(t, 2), axis, block);
  DType dtype;
  TRY(dtype_attribute(t, "output_dtype", t->inputs[1]->dtype, &dtype));
  DType compute = compute_dtype(dtype);
  Program *p = program_new(t->graph->arena, zero ? 3 : 2);
  // 32-bit integers do not fit f32: subtract them before.
  bool wide = dtype_is_integer(x->dtype) && dtype_bits(x->dtype) >= 32;
  DType storage = dtype_is_float(x->dtype) ? compute : x->dtype, before = wide ? x->dtype : compute;
  int result = program_cast(p, before, program_input(p, 0, storage));
  if (zero) result = op2(p, OP_sub, result, program_cast(p, before, program_input(p, 2, storage)));
  result = op2(p, OP_mul, program_cast(p, compute, result), program_input(p, 1, compute));
  program_output(p, program_cast(p, dtype, result));
  t->outputs[0] = build_elementwise(&b, p, zero ? 3 : 2, (Value *[]){x, scale, zero});
  return translate_end(t, &b);
}

// One pass over the whole tensor: scale and zero point are row-level results of a single row.
void build_dynamic_quantize(Builder *b, Value *x, Value *out[3]) {
  Program *p = program_new(b->graph->arena, 1);
  int a = program_input(p, 0, DTYPE_F32), zero = program_const(p, DTYPE_F32, 0);
  int high = op2(p, OP_max, program_reduce(p, OP_reduce_max, a, DTYPE_F32), zero);
  int low = op2(p, OP_min, program_reduce(p, OP_reduce_min, a, DTYPE_F32), zero);
  int scale = op2(p, OP_div, op2(p, OP_sub, high, low), program_const(p, DTYPE_F32, 255));
  int safe = op3(p, OP_select, op2(p, OP_eq, scale, zero), program_const(p, DTYPE_F32, 1), scale);
  int point = program_requantize(p, DTYPE_U8, op2(p, OP_sub, zero, op2(p, OP_div, low, safe)), -1);
  program_output(p, program_requantize(p, DTYPE_U8, op2(p, OP_div, a, safe), point));
  program_output(p, scale);
  program_output(p, point);
  int64_t axes[MAX_RANK];
  for (int i = 0; i < x->rank; i++) axes[i] = i;
  Value *y = build_rowwise(b, p, 1, &x, axes, x->rank);
  out[0] = y;
  for (int i = 1; i <= 2; i++) out[i] = y ? build_reshape(b, build_output(y, i), 0, NULL) : NULL;
}

static Status dynamic_quantize_linear(Translation *t) {
  Builder b = translate_begin(t);
  Value *made[3];
  build_dynamic_quantize(&b, t->inputs[0], made);
  for (int i = 0; i < t->output_count; i++) t->outputs[i] = made[i];
  return translate_end(t, &b);
}

Value *quantize_centre(Builder *b, Value *x, Value *zero) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, zero ? 2 : 1);
  int a = program_cast(p, DTYPE_I32, program_input(p, 0, x->dtype));
  if (zero) a = op2(p, OP_sub, a, program_cast(p, DTYPE_I32, program_input(p, 1, zero->dtype)));
  program_output(p, a);
  return build_elementwise(b, p, zero ? 2 : 1, (Value *[]){x, zero});
}

// Zero points and scales of a matrix operand: a scalar, or one a row (of the left operand) or column (of the right).
static Value *matrix_parameter(Builder *b, const Value *matrix, Value *parameter, bool rows) {
  if (b->status || !parameter || parameter->rank == 0) return parameter;
  if (parameter->rank == 1 && parameter->dims[0] == 1) return build_reshape(b, parameter, 0, NULL);
  if (parameter->rank == 1 && rows && matrix->rank > 1) return align_to_axis(b, parameter, matrix->rank - 2, matrix->rank);
  return parameter;
}

static Status matmul_integer(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *y = t->inputs[1];
  Value *left = quantize_centre(&b, x, matrix_parameter(&b, x, translate_input(t, 2), true));
  Value *right = quantize_centre(&b, y, matrix_parameter(&b, y, translate_input(t, 3), false));
  t->outputs[0] = build_product(&b, left, right);
  return translate_end(t, &b);
}

// y = saturate(round(sum * scale_a * scale_b / scale_y) + zero_y), sum being i32.
static Value *requantize(Builder *b, Value *sum, Value *scale_a, Value *scale_b, Value *scale_y, Value *zero_y, Value *bias) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, bias ? 6 : 5);
  int total = program_input(p, 0, DTYPE_I32);
  if (bias) total = op2(p, OP_add, total, program_input(p, 5, DTYPE_I32));
  int scale = op2(p, OP_mul, program_input(p, 1, DTYPE_F32), program_input(p, 2, DTYPE_F32));
  scale = op2(p, OP_div, scale, program_input(p, 3, DTYPE_F32));
  int product = op2(p, OP_mul, program_cast(p, DTYPE_F32, total), scale);
  DType dtype = zero_y->dtype;
  if (dtype_is_float(dtype)) {
    product = op2(p, OP_add, product, program_input(p, 4, DTYPE_F32));
    program_output(p, program_cast(p, dtype, product));
  } else {
    program_output(p, program_requantize(p, dtype, product, program_input(p, 4, dtype)));
  }
  return build_elementwise(b, p, bias ? 6 : 5, (Value *[]){sum, scale_a, scale_b, scale_y, zero_y, bias});
}

static Status qlinear_matmul(Translation *t) {
  Builder b = translate_begin(t);
  Value *const *in = t->inputs, *x = in[0], *y = in[3];
  Value *left = quantize_centre(&b, x, matrix_parameter(&b, x, in[2], true));
  Value *right = quantize_centre(&b, y, matrix_parameter(&b, y, in[5], false));
  Value *sum = build_product(&b, left, right);
  Value *scale_x = matrix_parameter(&b, x, in[1], true), *scale_y = matrix_parameter(&b, y, in[4], false);
  t->outputs[0] = requantize(&b, sum, scale_x, scale_y, matrix_parameter(&b, sum, in[6], true),
                             matrix_parameter(&b, sum, in[7], true), NULL);
  return translate_end(t, &b);
}

// Weights have one zero point, or one for each output channel.
static Value *channel_parameter(Builder *b, Value *parameter, int rank, int axis) {
  if (b->status || !parameter || parameter->rank == 0) return parameter;
  if (parameter->dims[0] == 1) return build_reshape(b, parameter, 0, NULL);
  return align_to_axis(b, parameter, axis, rank);
}

static Status conv_integer(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *w = t->inputs[1];
  Value *left = quantize_centre(&b, x, channel_parameter(&b, translate_input(t, 2), x->rank, 1));
  Value *right = quantize_centre(&b, w, channel_parameter(&b, translate_input(t, 3), w->rank, 0));
  TRY(translate_conv(t, &b, left, right, &t->outputs[0]));
  return translate_end(t, &b);
}

Status translate_qlinear_conv(Translation *t) {
  Builder b = translate_begin(t);
  Value *const *in = t->inputs, *x = in[0], *w = in[3], *sum;
  Value *left = quantize_centre(&b, x, channel_parameter(&b, in[2], x->rank, 1));
  Value *right = quantize_centre(&b, w, channel_parameter(&b, in[5], w->rank, 0));
  TRY(translate_conv(t, &b, left, right, &sum));
  if (t->deferred) return OK;
  Value *bias = translate_has(t, 8) ? align_to_axis(&b, in[8], 1, x->rank) : NULL;
  t->outputs[0] = requantize(&b, sum, channel_parameter(&b, in[1], x->rank, 1), channel_parameter(&b, in[4], x->rank, 1),
                             channel_parameter(&b, in[6], x->rank, 1), channel_parameter(&b, in[7], x->rank, 1), bias);
  return translate_end(t, &b);
}

const OnnxOp onnx_quantize_ops[] = {
    {"", "QuantizeLinear", 10, 0, 2, 3, 1, 1, translate_quantize},
    {"", "DequantizeLinear", 10, 0, 2, 3, 1, 1, translate_dequantize},
    {"", "DynamicQuantizeLinear", 11, 0, 1, 1, 3, 3, dynamic_quantize_linear},
    {"", "MatMulInteger", 10, 0, 2, 4, 1, 1, matmul_integer},
    {"", "QLinearMatMul", 10, 0, 8, 8, 1, 1, qlinear_matmul},
    {"", "ConvInteger", 10, 0, 2, 4, 1, 1, conv_integer},
    {"", "QLinearConv", 10, 0, 8, 9, 1, 1, translate_qlinear_conv},
    {0},
};
