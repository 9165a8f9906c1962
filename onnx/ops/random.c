// Random tensors and what is drawn with them. A missing seed is 0: results do not vary from run to run.
#include "onnx/ops/common.h"

static Value *draw(Builder *b, const Node *a, const char *kind, DType dtype, int rank, const Dim *dims) {
  Node *node = node_start(b, "random", 0, NULL, 1);
  node_set_string(node, "kind", kind);
  node_set_dims(node, "dims", dims, rank);
  node_set_int(node, "dtype", dtype);
  float seed = (float)node_float(a, "seed", 0);
  uint32_t bits;
  memcpy(&bits, &seed, sizeof bits);
  node_set_int(node, "seed", bits);
  if (strcmp(kind, "uniform") == 0) {
    node_set_float(node, "low", node_float(a, "low", 0));
    node_set_float(node, "high", node_float(a, "high", 1));
  } else {
    node_set_float(node, "mean", node_float(a, "mean", 0));
    node_set_float(node, "scale", node_float(a, "scale", 1));
  }
  return node_done(b, node);
}

static Status random_tensor(Translation *t) {
  Builder b = translate_begin(t);
  const char *kind = strncmp(t->op_type, "RandomUniform", 13) == 0 ? "uniform" : "normal";
  DType dtype;
  if (t->input_count > 0) {  // ...Like
    const Value *x = t->inputs[0];
    TRY(dtype_attribute(t, "dtype", x->dtype, &dtype));
    t->outputs[0] = draw(&b, t->attributes, kind, dtype, x->rank, x->dims);
  } else {
    int count;
    const int64_t *shape = node_ints(t->attributes, "shape", &count);
    TRY(dtype_attribute(t, "dtype", DTYPE_F32, &dtype));
    for (int i = 0; i < count; i++)
      if (shape[i] < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size %d is %lld", i, (long long)shape[i]);
    if (count > MAX_RANK) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output would have rank %d", count);
    t->outputs[0] = draw(&b, t->attributes, kind, dtype, count, shape);
  }
  return translate_end(t, &b);
}

static Value *draw_unit(Builder *b, const Translation *t, DType dtype, int rank, const Dim *dims) {
  return draw(b, t->attributes, "uniform", dtype, rank, dims);
}

static Status bernoulli(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DType dtype;
  TRY(dtype_attribute(t, "dtype", x->dtype, &dtype));
  Value *inputs[] = {draw_unit(&b, t, DTYPE_F32, x->rank, x->dims), x};
  Program *p = program_new(t->graph->arena, 2);
  DType compute = compute_dtype(x->dtype);
  int unit = program_cast(p, compute, program_input(p, 0, DTYPE_F32));
  program_output(p, program_cast(p, dtype, op2(p, OP_lt, unit, program_input(p, 1, compute))));
  t->outputs[0] = b.status ? NULL : build_elementwise(&b, p, 2, inputs);
  return translate_end(t, &b);
}

// How many cumulative probabilities lie below a uniform draw is the class drawn.
static Status multinomial(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DType dtype;
  TRY(dtype_attribute(t, "dtype", DTYPE_I32, &dtype));
  if (x->rank != 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 2", x->rank);
  if (node_int(t->attributes, "sample_size", 1) < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "sample_size is negative");
  Value *probability = build_softmax(&b, x, 1);
  Node *node = node_start(&b, "cumulative", 1, &probability, 1);
  node_set_string(node, "kind", "sum");
  node_set_int(node, "axis", 1);
  Value *below = build_unsqueeze(&b, node_done(&b, node), (int64_t[]){1}, 1);
  Dim dims[] = {x->dims[0], node_int(t->attributes, "sample_size", 1), 1};
  Value *unit = draw_unit(&b, t, DTYPE_F32, 3, dims);
  if (b.status) return translate_end(t, &b);
  Program *p = program_new(t->graph->arena, 2);
  DType compute = compute_dtype(x->dtype);
  int less = op2(p, OP_lt, program_input(p, 0, compute), program_cast(p, compute, program_input(p, 1, DTYPE_F32)));
  int count = program_reduce(p, OP_reduce_sum, program_cast(p, DTYPE_I64, less), DTYPE_I64);
  int last = op2(p, OP_sub, program_row_extent(p, DTYPE_I64), program_const_i(p, DTYPE_I64, 1));
  program_output(p, program_cast(p, dtype, op2(p, OP_min, count, last)));
  int64_t axis = 2;
  t->outputs[0] = build_squeeze(&b, build_rowwise(&b, p, 2, (Value *[]){below, unit}, &axis, 1), &axis, 1);
  return translate_end(t, &b);
}

// The identity with a mask of ones, unless training is asked for.
static Status dropout(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  DType mask = t->opset >= 10 ? DTYPE_BOOL : x->dtype;
  bool training = t->opset < 7 && !node_int(t->attributes, "is_test", 0);
  double ratio = node_float(t->attributes, "ratio", 0.5);
  if (t->opset >= 12 && translate_has(t, 2)) {
    const int64_t *flag;
    int count;
    NEED_INTS(t, 2, &flag, &count);
    training = *flag != 0;
  }
  if (t->opset >= 12 && training && translate_has(t, 1)) {
    const Tensor *tensor;
    NEED_CONSTANT(t, 1, &tensor);
    if (tensor_count(tensor) == 1) ratio = tensor_get_f(tensor, 0);
  }
  t->outputs[0] = x;
  if (!training || ratio <= 0) {
    if (translate_wants(t, 1)) t->outputs[1] = build_fill(&b, mask, 1, x->rank, x->dims);
    return translate_end(t, &b);
  }
  Value *inputs[] = {x, draw_unit(&b, t, DTYPE_F32, x->rank, x->dims)};
  if (b.status) return translate_end(t, &b);
  Program *p = program_new(t->graph->arena, 2);
  int kept = op2(p, OP_ge, program_input(p, 1, DTYPE_F32), program_const(p, DTYPE_F32, ratio)),
      a = program_input(p, 0, x->dtype);
  double scale = ratio < 1 ? 1 / (1 - ratio) : 0;
  program_output(p, op3(p, OP_select, kept, op2(p, OP_mul, a, constant_like(p, a, scale)), constant_like(p, a, 0)));
  program_output(p, program_cast(p, mask, kept));
  t->outputs[0] = build_elementwise(&b, p, 2, inputs);
  if (translate_wants(t, 1) && t->outputs[0]) t->outputs[1] = build_output(t->outputs[0], 1);
  return translate_end(t, &b);
}

const OnnxOp onnx_random_ops[] = {
    {"", "RandomUniform", 1, 0, 0, 0, 1, 1, random_tensor},
    {"", "RandomNormal", 1, 0, 0, 0, 1, 1, random_tensor},
    {"", "RandomUniformLike", 1, 0, 1, 1, 1, 1, random_tensor},
    {"", "RandomNormalLike", 1, 0, 1, 1, 1, 1, random_tensor},
    {"", "Bernoulli", 15, 0, 1, 1, 1, 1, bernoulli},
    {"", "Multinomial", 7, 0, 1, 1, 1, 1, multinomial},
    {"", "Dropout", 1, 0, 1, 3, 1, 2, dropout},
    {0},
};
