// Activation functions: each a scalar program of one input and a few attributes.
#include "onnx/ops/common.h"

// A body appends the function of instruction x; `a` holds the ONNX attributes.
typedef int (*Body)(Program *p, int x, const Node *a, int opset);

static int scaled(Program *p, int x, double factor) { return op2(p, OP_mul, x, constant_like(p, x, factor)); }
static int shifted(Program *p, int x, double term) { return op2(p, OP_add, x, constant_like(p, x, term)); }
static int clamped(Program *p, int x, double low, double high) {
  return op2(p, OP_min, op2(p, OP_max, x, constant_like(p, x, low)), constant_like(p, x, high));
}
static int positive(Program *p, int x) { return op2(p, OP_gt, x, constant_like(p, x, 0)); }

static int softplus_of(Program *p, int x) {  // max(x, 0) + log1p(exp(-|x|)) does not overflow
  int tail = op1(p, OP_log1p, op1(p, OP_exp, op1(p, OP_neg, op1(p, OP_abs, x))));
  return op2(p, OP_add, op1(p, OP_relu, x), tail);
}

static int elu(Program *p, int x, const Node *a, int opset) {
  int negative = scaled(p, op1(p, OP_expm1, x), node_float(a, "alpha", 1));
  return op3(p, OP_select, positive(p, x), x, negative);
}

static int selu(Program *p, int x, const Node *a, int opset) {
  double alpha = opset < 6 ? 1.6732 : 1.67326319217681884765625, gamma = opset < 6 ? 1.0507 : 1.05070102214813232421875;
  alpha = node_float(a, "alpha", alpha);
  gamma = node_float(a, "gamma", gamma);
  return op3(p, OP_select, positive(p, x), scaled(p, x, gamma), scaled(p, op1(p, OP_expm1, x), alpha * gamma));
}

static int celu(Program *p, int x, const Node *a, int opset) {
  double alpha = node_float(a, "alpha", 1);
  int negative = scaled(p, op1(p, OP_expm1, op2(p, OP_div, x, constant_like(p, x, alpha))), alpha);
  return op3(p, OP_select, positive(p, x), x, negative);
}

static int gelu(Program *p, int x, const Node *a, int opset) {
  int inner;
  if (strcmp(node_string(a, "approximate", "none"), "tanh") == 0) {
    int cube = op2(p, OP_mul, op2(p, OP_mul, x, x), x);
    inner = op1(p, OP_tanh, scaled(p, op2(p, OP_add, x, scaled(p, cube, 0.044715)), sqrt(2 / M_PI)));
  } else {
    inner = op1(p, OP_erf, scaled(p, x, M_SQRT1_2));
  }
  return op2(p, OP_mul, scaled(p, x, 0.5), shifted(p, inner, 1));
}

static int leaky_relu(Program *p, int x, const Node *a, int opset) {
  int below = op2(p, OP_lt, x, constant_like(p, x, 0));
  return op3(p, OP_select, below, scaled(p, x, node_float(a, "alpha", 0.01)), x);
}

static int thresholded_relu(Program *p, int x, const Node *a, int opset) {
  int above = op2(p, OP_gt, x, constant_like(p, x, node_float(a, "alpha", 1)));
  return op3(p, OP_select, above, x, constant_like(p, x, 0));
}

static int hard_sigmoid(Program *p, int x, const Node *a, int opset) {
  return clamped(p, shifted(p, scaled(p, x, node_float(a, "alpha", 0.2)), node_float(a, "beta", 0.5)), 0, 1);
}

static int hard_swish(Program *p, int x, const Node *a, int opset) {
  return op2(p, OP_mul, x, clamped(p, shifted(p, scaled(p, x, 1.0 / 6), 0.5), 0, 1));
}

static int softplus(Program *p, int x, const Node *a, int opset) { return softplus_of(p, x); }
static int mish(Program *p, int x, const Node *a, int opset) { return op2(p, OP_mul, x, op1(p, OP_tanh, softplus_of(p, x))); }
static int softsign(Program *p, int x, const Node *a, int opset) { return op2(p, OP_div, x, shifted(p, op1(p, OP_abs, x), 1)); }
static int swish(Program *p, int x, const Node *a, int opset) {
  return op2(p, OP_mul, x, op1(p, OP_sigmoid, scaled(p, x, node_float(a, "alpha", 1))));
}

// The bias and the threshold are floats: of integers it is computed in a float type that holds them, and the result is cut off.
static int shrink(Program *p, int integral, const Node *a, int opset) {
  DType dtype = program_dtype(p, integral);
  int x = integral;
  if (!dtype_is_float(dtype)) x = program_cast(p, dtype_bits(dtype) > 16 ? DTYPE_F64 : DTYPE_F32, integral);
  double lambda = node_float(a, "lambd", 0.5), bias = node_float(a, "bias", 0);
  int zero = constant_like(p, x, 0);
  int high = op3(p, OP_select, op2(p, OP_gt, x, constant_like(p, x, lambda)), shifted(p, x, -bias), zero);
  return program_cast(p, dtype, op3(p, OP_select, op2(p, OP_lt, x, constant_like(p, x, -lambda)), shifted(p, x, bias), high));
}

static int binarizer(Program *p, int x, const Node *a, int opset) {
  int above = op2(p, OP_gt, x, constant_like(p, x, node_float(a, "threshold", 0)));
  return op3(p, OP_select, above, constant_like(p, x, 1), constant_like(p, x, 0));
}

static const struct {
  const char *name;
  Body body;
} bodies[] = {
    {"Elu", elu},
    {"Selu", selu},
    {"Celu", celu},
    {"Gelu", gelu},
    {"LeakyRelu", leaky_relu},
    {"ThresholdedRelu", thresholded_relu},
    {"HardSigmoid", hard_sigmoid},
    {"HardSwish", hard_swish},
    {"Softplus", softplus},
    {"Mish", mish},
    {"Softsign", softsign},
    {"Swish", swish},
    {"Shrink", shrink},
    {"Binarizer", binarizer},
};

static Status activation(Translation *t) {
  Builder b = translate_begin(t);
  Program *p = program_new(t->graph->arena, 1);
  int x = program_input(p, 0, t->inputs[0]->dtype);
  for (size_t i = 0; i < COUNT_OF(bodies); i++)
    if (strcmp(bodies[i].name, t->op_type) == 0) program_output(p, bodies[i].body(p, x, t->attributes, t->opset));
  t->outputs[0] = build_elementwise(&b, p, 1, t->inputs);
  return translate_end(t, &b);
}

// The slope broadcasts to x; before opset 7 a slope of shape [C] meant the channels.
static Status prelu(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *slope = t->inputs[1];
  if (t->opset < 7 && slope->rank == 1 && x->rank > 1) slope = align_to_axis(&b, slope, 1, x->rank);
  Program *p = program_new(t->graph->arena, 2);
  int a = program_input(p, 0, x->dtype), s = program_input(p, 1, x->dtype);
  program_output(p, op3(p, OP_select, op2(p, OP_lt, a, constant_like(p, a, 0)), op2(p, OP_mul, a, s), a));
  t->outputs[0] = build_elementwise(&b, p, 2, (Value *[]){x, slope});
  return translate_end(t, &b);
}

const OnnxOp onnx_activation_ops[] = {
    {"", "Elu", 1, 0, 1, 1, 1, 1, activation},
    {"", "Selu", 1, 0, 1, 1, 1, 1, activation},
    {"", "Celu", 12, 0, 1, 1, 1, 1, activation},
    {"", "Gelu", 20, 0, 1, 1, 1, 1, activation},
    {"", "LeakyRelu", 1, 0, 1, 1, 1, 1, activation},
    {"", "ThresholdedRelu", 1, 0, 1, 1, 1, 1, activation},
    {"", "HardSigmoid", 1, 0, 1, 1, 1, 1, activation},
    {"", "HardSwish", 14, 0, 1, 1, 1, 1, activation},
    {"", "Softplus", 1, 0, 1, 1, 1, 1, activation},
    {"", "Mish", 18, 0, 1, 1, 1, 1, activation},
    {"", "Softsign", 1, 0, 1, 1, 1, 1, activation},
    {"", "Swish", 24, 0, 1, 1, 1, 1, activation},
    {"", "Shrink", 9, 0, 1, 1, 1, 1, activation},
    {"", "PRelu", 1, 0, 2, 2, 1, 1, prelu},
    {"ai.onnx.ml", "Binarizer", 1, 0, 1, 1, 1, 1, activation},
    {0},
};
