// Products as ONNX Runtime's optimiser and quantiser write them (com.microsoft): with transpositions, a factor and an activation taken
// in, or with weights of few bits, which are unpacked here; constants of them fold.
#include "onnx/ops/conv.h"
#include "onnx/ops/quantize.h"

// --- Activations behind products

static int activated(Program *p, int x, const char *name, const double *given) {
  if (strcmp(name, "Relu") == 0) return op1(p, OP_relu, x);
  if (strcmp(name, "Tanh") == 0) return op1(p, OP_tanh, x);
  if (strcmp(name, "Sigmoid") == 0) return op1(p, OP_sigmoid, x);
  if (strcmp(name, "LeakyRelu") == 0)
    return op3(p, OP_select, op2(p, OP_lt, x, constant_like(p, x, 0)), op2(p, OP_mul, x, constant_like(p, x, given[0])), x);
  if (strcmp(name, "Clip") == 0)
    return op2(p, OP_min, op2(p, OP_max, x, constant_like(p, x, given[0])), constant_like(p, x, given[1]));
  if (strcmp(name, "HardSigmoid") == 0) {
    int line = op2(p, OP_add, op2(p, OP_mul, x, constant_like(p, x, given[0])), constant_like(p, x, given[1]));
    return op2(p, OP_min, op2(p, OP_max, line, constant_like(p, x, 0)), constant_like(p, x, 1));
  }
  return -1;
}

static Status activate(const Translation *t, Builder *b, Value *x, const double *given, int count, Value **out) {
  static const struct {
    const char *name;
    int parameters;
  } known[] = {{"Relu", 0}, {"Tanh", 0}, {"Sigmoid", 0}, {"LeakyRelu", 1}, {"Clip", 2}, {"HardSigmoid", 2}};
  const char *name = node_string(t->attributes, "activation", "");
  *out = x;
  if (!name[0] || !x) return OK;
  for (size_t i = 0; i < COUNT_OF(known); i++) {
    if (strcmp(known[i].name, name) != 0) continue;
    if (count < known[i].parameters)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "activation %s has %d parameters, expected %d", name, count, known[i].parameters);
    Program *p = program_new(t->graph->arena, 1);
    program_output(p, activated(p, program_input(p, 0, x->dtype), name, given));
    *out = build_elementwise(b, p, 1, &x);
    return OK;
  }
  TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "activation is '%s', expected one of Relu, Tanh, Sigmoid, LeakyRelu, Clip, HardSigmoid",
                 name);
}

static Status fused_conv(Translation *t) {
  Builder b = translate_begin(t);
  Value *y = NULL, *bias = translate_input(t, 2), *sum = translate_input(t, 3);
  int count;
  const double *given = node_floats(t->attributes, "activation_params", &count);
  TRY(translate_conv(t, &b, t->inputs[0], t->inputs[1], &y));
  if (t->deferred) return OK;
  if (y) TRY(check_channels(t, 2, 2, y->dims[1]));
  if (bias && y) y = build_add(&b, y, align_to_axis(&b, bias, 1, y->rank));
  if (sum && y) y = build_add(&b, y, sum);
  TRY(activate(t, &b, y, given, count, &t->outputs[0]));
  return translate_end(t, &b);
}

static Status fused_gemm(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  double given[] = {node_float(a, "activation_alpha", 0.01), node_float(a, "activation_beta", 0)};
  Value *x = t->inputs[0], *y = t->inputs[1], *c = translate_input(t, 2);
  if (x->rank != 2 || y->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its operands have ranks %d and %d, expected 2", x->rank, y->rank);
  if (node_int(a, "transA", 0)) x = build_swap(&b, x, 0, 1);
  if (node_int(a, "transB", 0)) y = build_swap(&b, y, 0, 1);
  double alpha = node_float(a, "alpha", 1), beta = node_float(a, "beta", 1);
  Value *product = build_matmul(&b, x, y);
  if (alpha != 1) product = build_scale(&b, product, alpha);
  if (c && beta != 1) c = build_scale(&b, c, beta);
  TRY(activate(t, &b, c ? build_add(&b, product, c) : product, given, 2, &t->outputs[0]));
  return translate_end(t, &b);
}

// The batch axes before the rows, or the rows before the batch axes: [M, B..., K] becomes [B..., M, K].
static Value *arranged(Builder *b, Value *x, bool transposed, bool batch_behind) {
  if (b->status || x->rank < 2) return x;
  if (batch_behind && x->rank > 2) {
    int perm[MAX_RANK];
    for (int i = 0; i < x->rank; i++) perm[i] = i < x->rank - 2 ? i + 1 : i == x->rank - 2 ? 0 : i;
    x = build_transpose(b, x, perm);
  }
  return transposed && x ? build_swap(b, x, x->rank - 2, x->rank - 1) : x;
}

static Status fused_matmul(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  Value *x = arranged(&b, t->inputs[0], node_int(a, "transA", 0) != 0, node_int(a, "transBatchA", 0) != 0);
  Value *y = arranged(&b, t->inputs[1], node_int(a, "transB", 0) != 0, node_int(a, "transBatchB", 0) != 0);
  TRY(translate_end(t, &b));
  double alpha = node_float(a, "alpha", 1);
  Value *product = build_product(&b, x, y);
  t->outputs[0] = alpha != 1 ? build_scale(&b, product, alpha) : product;
  return translate_end(t, &b);
}

// --- Weights of few bits

// Bytes [..., n] become their parts [..., n * 8 / bits], lowest bits first.
static Value *unpacked(Builder *b, Value *x, int64_t bits) {
  int rank = x ? x->rank : 0;
  int64_t parts = 8 / bits;
  if (b->status || !x || parts == 1) return x;
  Dim apart[MAX_RANK + 1], dims[MAX_RANK + 1];
  for (int i = 0; i <= rank; i++) apart[i] = dims[i] = i < rank ? x->dims[i] : 1;
  if (rank == MAX_RANK) {
    b->status = status_make(ERROR_UNSUPPORTED, "packed data of rank %d", rank);
    return NULL;
  }
  dims[rank] = parts;
  Value *bytes = build_reshape(b, x, rank + 1, apart);
  Program *p = program_new(b->graph->arena, 1);
  int shift = op2(p, OP_mul, program_index(p, DTYPE_U8, rank), program_const_i(p, DTYPE_U8, bits));
  int part = op2(p, OP_shift_right, program_input(p, 0, DTYPE_U8), shift);
  program_output(p, op2(p, OP_and, part, program_const_i(p, DTYPE_U8, (1 << bits) - 1)));
  Value *y = build_elementwise_over(b, p, 1, &bytes, rank + 1, dims);
  apart[rank - 1] = dim_mul(b->graph->dims, x->dims[rank - 1], parts);
  return build_reshape(b, y, rank, apart);
}

// (x - zero) * scale; all broadcast. zero may be of floats; NULL: `otherwise`.
static Value *widened(Builder *b, Value *x, Value *scale, Value *zero, double otherwise) {
  if (b->status) return NULL;
  DType dtype = scale->dtype, compute = compute_dtype(dtype);
  Program *p = program_new(b->graph->arena, zero ? 3 : 2);
  int q = program_cast(p, compute, program_input(p, 0, x->dtype));
  if (!zero) q = op2(p, OP_sub, q, constant_like(p, q, otherwise));
  else if (dtype_is_float(zero->dtype)) q = op2(p, OP_sub, q, program_input(p, 2, compute));
  else q = op2(p, OP_sub, q, program_cast(p, compute, program_input(p, 2, zero->dtype)));
  program_output(p, program_cast(p, dtype, op2(p, OP_mul, q, program_input(p, 1, compute))));
  return build_elementwise(b, p, zero ? 3 : 2, (Value *[]){x, scale, zero});
}

static Status check_bits(const Translation *t, int64_t *bits, int64_t *block) {
  *bits = node_int(t->attributes, "bits", 4);
  *block = node_int(t->attributes, "block_size", 128);
  if (*bits != 2 && *bits != 4 && *bits != 8)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "bits is %lld, expected 2, 4 or 8", (long long)*bits);
  if (*block < 16 || (*block & (*block - 1)))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "block_size is %lld, expected a power of two of at least 16", (long long)*block);
  return OK;
}

// B is [N, blocks, block * bits / 8] bytes; scales [N, blocks]; zero points the same, or packed along each row.
static Status matmul_few_bits(Translation *t) {
  Builder b = translate_begin(t);
  int64_t bits, block, k = node_int(t->attributes, "K", 0), n = node_int(t->attributes, "N", 0);
  TRY(check_bits(t, &bits, &block));
  if (k < 1 || n < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "K is %lld and N %lld", (long long)k, (long long)n);
  if (translate_has(t, 4)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its input 4, g_idx, is not supported");
  if (node_int(t->attributes, "weight_prepacked", 0)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "weight_prepacked is set");
  int64_t blocks = ceil_div(k, block), row = ceil_div(blocks * bits, 8);
  Value *q = unpacked(&b, build_reshape(&b, t->inputs[1], 3, (Dim[]){n, blocks, block * bits / 8}), bits);
  Value *scales = build_reshape(&b, t->inputs[2], 3, (Dim[]){n, blocks, 1}), *zero = translate_input(t, 3);
  if (zero && !dtype_is_float(zero->dtype)) {
    zero = unpacked(&b, build_reshape(&b, zero, 2, (Dim[]){n, row}), bits);
    zero = zero ? build_slice_axis(&b, zero, 1, 0, blocks) : NULL;
  }
  if (zero) zero = build_reshape(&b, zero, 3, (Dim[]){n, blocks, 1});
  Value *w = build_reshape(&b, widened(&b, q, scales, zero, 1 << (bits - 1)), 2, (Dim[]){n, blocks * block});
  w = build_slice_axis(&b, w, 1, 0, k);
  Value *y = b.status ? NULL : build_product(&b, t->inputs[0], build_swap(&b, w, 0, 1));
  t->outputs[0] = y && translate_has(t, 5) ? build_add(&b, y, t->inputs[5]) : y;
  return translate_end(t, &b);
}

// Rows of a table whose numbers are quantised in blocks along another axis: gathered first, widened then.
static Status gather_few_bits(Translation *t) {
  Builder b = translate_begin(t);
  Value *data = t->inputs[0], *indices = t->inputs[1], *scales = t->inputs[2], *zero = translate_input(t, 3);
  int64_t bits, block;
  int axis, along;
  TRY(check_bits(t, &bits, &block));
  TRY(normalise_axis(t, node_int(t->attributes, "gather_axis", 0), data->rank, &axis));
  TRY(normalise_axis(t, node_int(t->attributes, "quantize_axis", 1), data->rank, &along));
  bool packed = data->dtype == DTYPE_U8 && bits < 8;
  if (axis == along || (packed && along != data->rank - 1))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "gather_axis %d and quantize_axis %d do not go together", axis, along);
  Value *q = build_gather(&b, data, indices, axis), *s = build_gather(&b, scales, indices, axis);
  Value *z = zero ? build_gather(&b, zero, indices, axis) : NULL;
  if (packed) q = unpacked(&b, q, bits);
  if (packed && z) z = unpacked(&b, z, bits);
  TRY(translate_end(t, &b));
  if (along > axis) along += indices->rank - 1;
  if (z) z = build_slice_axis(&b, z, along, 0, s->dims[along]);
  s = quantize_parameter(&b, q, s, along, block);
  if (z) z = quantize_parameter(&b, q, z, along, block);
  t->outputs[0] = widened(&b, q, s, z, data->dtype == DTYPE_U8 ? 1 << (bits - 1) : 0);
  return translate_end(t, &b);
}

const OnnxOp onnx_microsoft_fused_ops[] = {
    {"com.microsoft", "FusedConv", 1, 0, 2, 4, 1, 1, fused_conv},
    {"com.microsoft", "FusedGemm", 1, 0, 2, 3, 1, 1, fused_gemm},
    {"com.microsoft", "FusedMatMul", 1, 0, 2, 2, 1, 1, fused_matmul},
    {"com.microsoft", "TransposeMatMul", 1, 0, 2, 2, 1, 1, fused_matmul},
    {"com.microsoft", "MatMulNBits", 1, 0, 3, 6, 1, 1, matmul_few_bits},
    {"com.microsoft", "GatherBlockQuantized", 1, 0, 3, 4, 1, 1, gather_few_bits},
    {0},
};
