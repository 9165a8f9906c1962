// Losses, and the optimiser steps of ai.onnx.preview.training.
#include "onnx/ops/common.h"

static int64_t all_axes(const Value *x, int64_t *axes) {
  for (int i = 0; i < x->rank; i++) axes[i] = i;
  return x->rank;
}

static Value *total_of(Builder *b, Value *x) {
  if (b->status || !x) return NULL;
  int64_t axes[MAX_RANK];
  return build_reduce(b, OP_reduce_sum, x, axes, (int)all_axes(x, axes), false);
}

// loss[n, d] = -weight[target] * log_probability[n, target, d]; ignored targets have weight 0. x is [N, C, d...].
static Status likelihood_loss(Translation *t, Builder *b, Value *x) {
  Value *target = t->inputs[1], *weight = translate_input(t, 2);
  if (b->status) return translate_end(t, b);
  if (x->rank < 2 || target->rank != x->rank - 1)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d and its target rank %d", x->rank, target->rank);
  bool ignores = node_attribute(t->attributes, "ignore_index") != NULL;
  int64_t ignored = node_int(t->attributes, "ignore_index", 0);
  Program *p = program_new(t->graph->arena, 1);
  int class = program_cast(p, DTYPE_I64, program_input(p, 0, target->dtype)), counts;
  if (ignores) {
    counts = op2(p, OP_ne, class, program_const_i(p, DTYPE_I64, ignored));
    class = op3(p, OP_select, counts, class, program_const_i(p, DTYPE_I64, 0));
  } else {
    counts = op2(p, OP_eq, class, class);
  }
  program_output(p, class);
  program_output(p, program_cast(p, x->dtype, counts));
  Value *index = build_elementwise(b, p, 1, &target);
  if (!index) return translate_end(t, b);
  Value *factor = build_output(index, 1);
  if (weight) factor = build_mul(b, factor, build_gather(b, weight, index, 0));
  Value *wide = build_unsqueeze(b, index, (int64_t[]){1}, 1);
  Node *node = node_start(b, "gather_elements", 2, (Value *[]){x, wide}, 1);
  node_set_int(node, "axis", 1);
  Value *chosen = build_squeeze(b, node_done(b, node), (int64_t[]){1}, 1);
  Value *loss = build_mul(b, build_unary(b, OP_neg, chosen), factor);
  const char *reduction = node_string(t->attributes, "reduction", "mean");
  if (strcmp(reduction, "sum") == 0) loss = total_of(b, loss);
  else if (strcmp(reduction, "mean") == 0) loss = build_binary(b, OP_div, total_of(b, loss), total_of(b, factor));
  else if (strcmp(reduction, "none") != 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "reduction is '%s'", reduction);
  t->outputs[0] = loss;
  return translate_end(t, b);
}

static Status negative_log_likelihood(Translation *t) {
  Builder b = translate_begin(t);
  return likelihood_loss(t, &b, t->inputs[0]);
}

static Status softmax_cross_entropy(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, x->dtype);
  int shifted = op2(p, OP_sub, a, program_reduce(p, OP_reduce_max, a, x->dtype));
  int sum = program_reduce(p, OP_reduce_sum, op1(p, OP_exp, shifted), x->dtype);
  program_output(p, op2(p, OP_sub, shifted, op1(p, OP_log, sum)));
  int64_t axis = 1;
  if (x->rank < 2) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected at least 2", x->rank);
  Value *logarithm = build_rowwise(&b, p, 1, &x, &axis, 1);
  if (translate_wants(t, 1)) t->outputs[1] = logarithm;
  return likelihood_loss(t, &b, logarithm);
}

// --- optimisers: R (rate), T (step), then groups of equally many tensors ---

typedef struct Step {
  Program *p;
  const Node *a;
  DType dtype;
  int rate, count;  // program values: R, and T as a float
} Step;

static int number(const Step *s, double value) { return program_const(s->p, s->dtype, value); }
static int times(const Step *s, int a, double factor) { return op2(s->p, OP_mul, a, number(s, factor)); }
static int square(const Step *s, int a) { return op2(s->p, OP_mul, a, a); }

// in: the tensors of one parameter (X, gradient, states); out: X and the states after the step.
static void adagrad(const Step *s, const int *in, int *out) {
  Program *p = s->p;
  double decay = node_float(s->a, "decay_factor", 0), epsilon = node_float(s->a, "epsilon", 1e-6);
  int rate = op2(p, OP_div, s->rate, op2(p, OP_add, number(s, 1), times(s, s->count, decay)));
  int gradient = op2(p, OP_add, times(s, in[0], node_float(s->a, "norm_coefficient", 0)), in[1]);
  out[1] = op2(p, OP_add, in[2], square(s, gradient));
  int adaptive = op2(p, OP_add, op1(p, OP_sqrt, out[1]), number(s, epsilon));
  out[0] = op2(p, OP_sub, in[0], op2(p, OP_div, op2(p, OP_mul, rate, gradient), adaptive));
}

static void momentum(const Step *s, const int *in, int *out) {
  Program *p = s->p;
  double alpha = node_float(s->a, "alpha", 0);
  int first = op2(p, OP_eq, s->count, number(s, 0));
  int beta = op3(p, OP_select, first, number(s, 1), number(s, node_float(s->a, "beta", 0)));
  int gradient = op2(p, OP_add, times(s, in[0], node_float(s->a, "norm_coefficient", 0)), in[1]);
  out[1] = op2(p, OP_add, times(s, in[2], alpha), op2(p, OP_mul, beta, gradient));
  bool nesterov = strcmp(node_string(s->a, "mode", "standard"), "nesterov") == 0;
  int move = nesterov ? op2(p, OP_add, gradient, times(s, out[1], alpha)) : out[1];
  out[0] = op2(p, OP_sub, in[0], op2(p, OP_mul, s->rate, move));
}

static void adam(const Step *s, const int *in, int *out) {
  Program *p = s->p;
  double alpha = node_float(s->a, "alpha", 0.9), beta = node_float(s->a, "beta", 0.999);
  int gradient = op2(p, OP_add, times(s, in[0], node_float(s->a, "norm_coefficient", 0)), in[1]);
  out[1] = op2(p, OP_add, times(s, in[2], alpha), times(s, gradient, 1 - alpha));
  out[2] = op2(p, OP_add, times(s, in[3], beta), times(s, square(s, gradient), 1 - beta));
  int root = op2(p, OP_add, op1(p, OP_sqrt, out[2]), number(s, node_float(s->a, "epsilon", 1e-6)));
  int one = number(s, 1), first = op2(p, OP_eq, s->count, number(s, 0));
  int bias_2 = op1(p, OP_sqrt, op2(p, OP_sub, one, op2(p, OP_pow, number(s, beta), s->count)));
  int bias_1 = op2(p, OP_sub, one, op2(p, OP_pow, number(s, alpha), s->count));
  int rate = op3(p, OP_select, first, s->rate, op2(p, OP_div, op2(p, OP_mul, s->rate, bias_2), bias_1));
  int moved = op2(p, OP_sub, in[0], op2(p, OP_div, op2(p, OP_mul, rate, out[1]), root));
  out[0] = times(s, moved, 1 - node_float(s->a, "norm_coefficient_post", 0));
}

static Status optimiser(Translation *t) {
  Builder b = translate_begin(t);
  TRY(check_present(t));
  bool is_adam = strcmp(t->op_type, "Adam") == 0;
  int tensors = is_adam ? 4 : 3, parameters = (t->input_count - 2) / tensors;
  if (parameters < 1 || t->input_count != 2 + tensors * parameters || t->output_count > (tensors - 1) * parameters)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %d inputs and %d outputs", t->input_count, t->output_count);
  for (int i = 0; i < parameters; i++) {
    Value *inputs[6] = {t->inputs[0], t->inputs[1]};
    for (int k = 0; k < tensors; k++) inputs[k + 2] = t->inputs[2 + i + k * parameters];
    Program *p = program_new(t->graph->arena, tensors + 2);
    DType dtype = inputs[2]->dtype;
    Step s = {p, t->attributes, dtype, 0, 0};
    s.rate = program_cast(p, dtype, program_input(p, 0, inputs[0]->dtype));
    s.count = program_cast(p, dtype, program_input(p, 1, inputs[1]->dtype));
    int in[4], out[3];
    for (int k = 0; k < tensors; k++) in[k] = program_input(p, k + 2, dtype);
    if (is_adam) adam(&s, in, out);
    else if (strcmp(t->op_type, "Adagrad") == 0) adagrad(&s, in, out);
    else momentum(&s, in, out);
    for (int k = 0; k < tensors - 1; k++) program_output(p, out[k]);
    Value *first = build_elementwise(&b, p, tensors + 2, inputs);
    for (int k = 0; k < tensors - 1 && first; k++)
      if (translate_wants(t, i + k * parameters)) t->outputs[i + k * parameters] = build_output(first, k);
  }
  return translate_end(t, &b);
}

const OnnxOp onnx_loss_ops[] = {
    {"", "NegativeLogLikelihoodLoss", 12, 0, 2, 3, 1, 1, negative_log_likelihood},
    {"", "SoftmaxCrossEntropyLoss", 12, 0, 2, 3, 1, 2, softmax_cross_entropy},
    {"ai.onnx.preview.training", "Adam", 1, 0, 3, -1, 1, -1, optimiser},
    {"ai.onnx.preview.training", "Adagrad", 1, 0, 3, -1, 1, -1, optimiser},
    {"ai.onnx.preview.training", "Momentum", 1, 0, 3, -1, 1, -1, optimiser},
    {0},
};
