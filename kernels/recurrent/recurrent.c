// recurrent: what its attributes mean, and its shapes. Inputs: x[T,B,I], w[D,G*H,I], r[D,G*H,H], b[D,2*G*H], lengths[B], h0[D,B,H],
// c0[D,B,H], p[D,3*H]. Where w is absent, x[T,B,D*G*H] is what w makes of an input, with the first half of b in it. The reference is in recurrent_reference.c.
#include "kernels/recurrent/recurrent.h"
#include <math.h>
#include <string.h>
#include <strings.h>
#include "base/checked.h"
#include "kernels/recurrent/recurrent_reference.h"

static const struct {
  const char *name;
  int gates, functions;
  RecurrentFunction defaults[3];
} kinds[RECURRENT_KINDS] = {
    [RECURRENT_LSTM] = {"lstm", 4, 3, {FUNCTION_SIGMOID, FUNCTION_TANH, FUNCTION_TANH}},
    [RECURRENT_GRU] = {"gru", 3, 2, {FUNCTION_SIGMOID, FUNCTION_TANH}},
    [RECURRENT_RNN] = {"rnn", 1, 1, {FUNCTION_TANH}},
};

// The names are ONNX's, in any case; alpha and beta are consumed by the functions that have them, in order.
static const struct {
  const char *name;
  bool has_alpha, has_beta;
  double alpha, beta;
} functions[RECURRENT_FUNCTIONS] = {
    [FUNCTION_RELU] = {"Relu"},
    [FUNCTION_TANH] = {"Tanh"},
    [FUNCTION_SIGMOID] = {"Sigmoid"},
    [FUNCTION_AFFINE] = {"Affine", true, true, 1, 0},
    [FUNCTION_LEAKY_RELU] = {"LeakyRelu", true, false, 0.01},
    [FUNCTION_THRESHOLDED_RELU] = {"ThresholdedRelu", true, false, 1},
    [FUNCTION_SCALED_TANH] = {"ScaledTanh", true, true, 1, 1},
    [FUNCTION_HARD_SIGMOID] = {"HardSigmoid", true, true, 0.2, 0.5},
    [FUNCTION_ELU] = {"Elu", true, false, 1},
    [FUNCTION_SOFTSIGN] = {"Softsign"},
    [FUNCTION_SOFTPLUS] = {"Softplus"},
};

double recurrent_activate(const RecurrentActivation *activation, double x) {
  double alpha = activation->alpha, beta = activation->beta;
  switch (activation->function) {
    case FUNCTION_RELU: return x > 0 ? x : 0;
    case FUNCTION_TANH: return tanh(x);
    case FUNCTION_SIGMOID: return 1 / (1 + exp(-x));
    case FUNCTION_AFFINE: return alpha * x + beta;
    case FUNCTION_LEAKY_RELU: return x >= 0 ? x : alpha * x;
    case FUNCTION_THRESHOLDED_RELU: return x > alpha ? x : 0;
    case FUNCTION_SCALED_TANH: return alpha * tanh(beta * x);
    case FUNCTION_HARD_SIGMOID: return fmin(1, fmax(0, alpha * x + beta));
    case FUNCTION_ELU: return x >= 0 ? x : alpha * expm1(x);
    case FUNCTION_SOFTSIGN: return x / (1 + fabs(x));
    default: return log1p(exp(-fabs(x))) + fmax(x, 0);
  }
}

static Status find_function(const char *name, RecurrentFunction *out) {
  for (int i = 0; i < RECURRENT_FUNCTIONS; i++)
    if (strcasecmp(name, functions[i].name) == 0) {
      *out = (RecurrentFunction)i;
      return OK;
    }
  FAIL(ERROR_INVALID_MODEL, "unknown activation '%s'", name);
}

static Status read_activations(const Node *node, RecurrentSpec *spec) {
  int name_count, alpha_count, beta_count, alpha = 0, beta = 0, expected = spec->directions * spec->functions;
  const char *const *names = node_strings(node, "activations", &name_count);
  const double *alphas = node_floats(node, "alpha", &alpha_count), *betas = node_floats(node, "beta", &beta_count);
  if (name_count != 0 && name_count != expected)
    FAIL(ERROR_INVALID_MODEL, "%d activations where %d are expected", name_count, expected);
  for (int i = 0; i < expected; i++) {
    RecurrentActivation *to = &spec->activations[i / spec->functions][i % spec->functions];
    to->function = kinds[spec->kind].defaults[i % spec->functions];
    if (name_count) TRY(find_function(names[i], &to->function));
    to->alpha = functions[to->function].alpha;
    to->beta = functions[to->function].beta;
    if (functions[to->function].has_alpha && alpha < alpha_count) to->alpha = alphas[alpha++];
    if (functions[to->function].has_beta && beta < beta_count) to->beta = betas[beta++];
  }
  return OK;
}

Status recurrent_read(const Node *node, RecurrentSpec *out) {
  const char *kind = node_string(node, "kind", ""), *direction = node_string(node, "direction", "forward");
  *out = (RecurrentSpec){.kind = RECURRENT_KINDS,
                         .directions = 1,
                         .clip = node_float(node, "clip", 0),
                         .linear_before_reset = node_int(node, "linear_before_reset", 0) != 0,
                         .input_forget = node_int(node, "input_forget", 0) != 0};
  for (int i = 0; i < RECURRENT_KINDS; i++)
    if (strcmp(kind, kinds[i].name) == 0) out->kind = (RecurrentKind)i;
  if (out->kind == RECURRENT_KINDS) FAIL(ERROR_INVALID_MODEL, "unknown kind '%s'", kind);
  out->gates = kinds[out->kind].gates;
  out->functions = kinds[out->kind].functions;
  if (strcmp(direction, "bidirectional") == 0) out->directions = 2;
  else if (strcmp(direction, "reverse") == 0) out->reversed = true;
  else if (strcmp(direction, "forward") != 0) FAIL(ERROR_INVALID_MODEL, "unknown direction '%s'", direction);
  return read_activations(node, out);
}

// An optional float input of this rank and dims; 0 in `dims` means any.
static Status check_input(const Node *node, int index, DType dtype, int rank, const Dim *dims, const char *what) {
  Value *value;
  Dim same;
  if (!meaning_input(node, index)) return OK;
  TRY(meaning_require_rank(node, index, rank, &value));
  if (value->dtype != dtype) FAIL(ERROR_INVALID_MODEL, "%s is %s, x %s", what, dtype_name(value->dtype), dtype_name(dtype));
  for (int i = 0; i < rank; i++) TRY(meaning_same_dim(node, what, value->dims[i], dims[i], &same));
  return OK;
}

static Status infer_recurrent(Node *node) {
  Value *x, *w, *r, *lengths;
  RecurrentSpec spec;
  Dim same;
  TRY(recurrent_read(node, &spec));
  TRY(meaning_require_rank(node, 0, 3, &x));
  TRY(meaning_require_rank(node, 2, 3, &r));
  bool projected = !meaning_input(node, 1);
  if (!projected) TRY(meaning_require_rank(node, 1, 3, &w));
  if (!dtype_is_float(x->dtype)) FAIL(ERROR_INVALID_MODEL, "the input is %s", dtype_name(x->dtype));
  DimTable *table = node->graph->dims;
  Dim t = x->dims[0], b = x->dims[1], d = spec.directions, h = r->dims[2];
  if (node_attribute(node, "hidden")) TRY(meaning_same_dim(node, "hidden size", h, node_int(node, "hidden", 0), &h));
  Dim rows = dim_mul(table, h, dim_constant(table, spec.gates)), both = dim_mul(table, rows, dim_constant(table, 2));
  if (projected) TRY(meaning_same_dim(node, "x", x->dims[2], dim_mul(table, rows, dim_constant(table, d)), &same));
  TRY(check_input(node, 1, x->dtype, 3, (Dim[]){d, rows, x->dims[2]}, "w"));
  TRY(check_input(node, 2, x->dtype, 3, (Dim[]){d, rows, h}, "r"));
  TRY(check_input(node, 3, x->dtype, 2, (Dim[]){d, both}, "b"));
  if (meaning_input(node, 4)) {
    TRY(meaning_require_integer(node, 4, &lengths));
    if (lengths->rank != 1) FAIL(ERROR_INVALID_MODEL, "the lengths have rank %d", lengths->rank);
  }
  TRY(check_input(node, 5, x->dtype, 3, (Dim[]){d, b, h}, "h0"));
  if (spec.kind != RECURRENT_LSTM && (meaning_input(node, 6) || meaning_input(node, 7) || meaning_wants(node, 2)))
    FAIL(ERROR_INVALID_MODEL, "only an lstm has a cell state");
  TRY(check_input(node, 6, x->dtype, 3, (Dim[]){d, b, h}, "c0"));
  TRY(check_input(node, 7, x->dtype, 2, (Dim[]){d, dim_mul(table, h, dim_constant(table, 3))}, "p"));
  value_set_type(node->outputs[0], x->dtype, 4, (Dim[]){t, d, b, h});
  for (int i = 1; i < node->output_count; i++) value_set_type(node->outputs[i], x->dtype, 3, (Dim[]){d, b, h});
  return OK;
}

// Of each step and unit: its gates' weights of what comes in and of the state.
static int64_t terms_of_recurrent(const Node *node) {
  const Value *w = node->inputs[1], *r = node->inputs[2];
  for (int i = 1; i < 3; i++)
    if ((w && !dim_is_static(w->dims[i])) || !dim_is_static(r->dims[i])) return 0;
  int64_t gates = r->dims[2] ? r->dims[1] / r->dims[2] : 0, terms;
  return checked_mul_i64(gates, (w ? w->dims[2] : 0) + r->dims[2], &terms) ? terms : 0;
}

const OpDef op_recurrent = {
    .name = "recurrent",
    .help = "a recurrent layer: lstm, gru or rnn",
    .min_inputs = 1,  // w may be absent, r not
    .max_inputs = 8,
    .min_outputs = 1,
    .max_outputs = 3,
    .attributes = (const AttributeSpec[]){{"kind", ATTR_STRING, true},
                                          {"direction", ATTR_STRING, false},
                                          {"activations", ATTR_STRINGS, false},
                                          {"alpha", ATTR_FLOATS, false},
                                          {"beta", ATTR_FLOATS, false},
                                          {"hidden", ATTR_INTS, false},
                                          {"clip", ATTR_FLOATS, false},
                                          {"linear_before_reset", ATTR_INTS, false},
                                          {"input_forget", ATTR_INTS, false},
                                          {0}},
    .infer = infer_recurrent,
    .reference = reference_recurrent,
    .terms = terms_of_recurrent,
};
