// Linear models of ai.onnx.ml and what scales their inputs.
#include "onnx/ops/ml_scores.h"

// x * coefficients^T + intercepts: [N, targets].
static Status linear(Translation *t, Builder *b, int64_t targets, Value **out) {
  int count;
  Value *x = ml_matrix(t, b, false), *weights, *offset;
  TRY(translate_end(t, b));
  if (!node_floats(t->attributes, "coefficients", &count) || targets < 1 || count % targets)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "coefficients has %d values for %lld targets", count, (long long)targets);
  TRY(ml_floats(t, b, "coefficients", 2, (int64_t[]){targets, count / targets}, &weights));
  TRY(ml_floats(t, b, "intercepts", 1, &targets, &offset));
  Value *y = build_matmul(b, x, build_swap(b, weights, 0, 1));
  *out = offset ? build_add(b, y, offset) : y;
  return OK;
}

static Status regressor(Translation *t) {
  Builder b = translate_begin(t);
  Value *y = NULL;
  TRY(linear(t, &b, node_int(t->attributes, "targets", 1), &y));
  TRY(ml_post_transform(t, &b, &y));
  t->outputs[0] = y;
  return translate_end(t, &b);
}

static Value *above_zero(Builder *b, Value *scores) {
  if (b->status || !scores) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  int x = program_input(p, 0, scores->dtype);
  program_output(p, op2(p, OP_gt, x, constant_like(p, x, 0)));
  return build_squeeze(b, build_elementwise(b, p, 1, &scores), (int64_t[]){1}, 1);
}

// One row of coefficients and two labels is a binary classifier: the second label where the score is above zero.
static Status classifier(Translation *t) {
  Builder b = translate_begin(t);
  Value *labels, *scores = NULL;
  TRY(ml_labels(t, &b, "classlabels_ints", "classlabels_strings", &labels));
  TRY(translate_end(t, &b));
  int64_t classes = labels ? labels->dims[0] : 0;
  int count;
  const double *offsets = node_floats(t->attributes, "intercepts", &count);
  int64_t targets = offsets ? count : classes;
  TRY(linear(t, &b, targets, &scores));
  TRY(translate_end(t, &b));
  if (targets != 1) {
    if (labels && classes < targets)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has %lld labels for %lld classes", (long long)classes, (long long)targets);
    t->outputs[0] = ml_best_label(&b, scores, labels);
    TRY(ml_post_transform(t, &b, &scores));
    t->outputs[1] = scores;
    return translate_end(t, &b);
  }
  if (classes != 2) labels = build_constant(&b, tensor_vector_i64(t->graph->arena, (int64_t[]){0, 1}, 2));
  t->outputs[0] = ml_choose_label(&b, above_zero(&b, scores), labels);
  bool probit = strcmp(node_string(t->attributes, "post_transform", "NONE"), "PROBIT") == 0;
  if (classes != 2 || probit) TRY(ml_post_transform(t, &b, &scores));
  else scores = ml_two_scores(t, &b, scores, SECOND_COMPLEMENT);
  t->outputs[1] = scores;
  return translate_end(t, &b);
}

// --- Scaler, Imputer, Normalizer

// One value, or one for each column.
static Status per_column(Translation *t, Builder *b, const char *attribute, Value **out) {
  int count;
  node_floats(t->attributes, attribute, &count);
  const Value *x = t->inputs[0];
  Dim columns = x->rank ? x->dims[x->rank - 1] : 1;
  if (count > 1 && dim_is_static(columns) && count != columns)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %d values for %lld columns", attribute, count, (long long)columns);
  return ml_floats(t, b, attribute, 1, (int64_t[]){count}, out);
}

static Status scaler(Translation *t) {
  Builder b = translate_begin(t);
  Value *inputs[3] = {build_cast(&b, t->inputs[0], DTYPE_F32)}, *offset, *scale;
  TRY(per_column(t, &b, "offset", &offset));
  TRY(per_column(t, &b, "scale", &scale));
  if (!offset || !scale) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its offset or scale is missing");
  inputs[1] = offset;
  inputs[2] = scale;
  Program *p = program_new(t->graph->arena, 3);
  int centred = op2(p, OP_sub, program_input(p, 0, DTYPE_F32), program_input(p, 1, DTYPE_F32));
  program_output(p, op2(p, OP_mul, centred, program_input(p, 2, DTYPE_F32)));
  t->outputs[0] = build_elementwise(&b, p, 3, inputs);
  return translate_end(t, &b);
}

static Status imputer(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *values;
  bool floats = dtype_is_float(x->dtype);
  int count;
  const int64_t *numbers = node_ints(t->attributes, "imputed_value_int64s", &count);
  if (floats) TRY(per_column(t, &b, "imputed_value_floats", &values));
  else values = numbers ? build_constant(&b, tensor_vector_i64(t->graph->arena, numbers, count)) : NULL;
  if (!values) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the values to put in are missing");
  Program *p = program_new(t->graph->arena, 2);
  int a = program_input(p, 0, x->dtype), put = program_cast(p, x->dtype, program_input(p, 1, values->dtype)), replaced;
  double wanted = node_float(t->attributes, "replaced_value_float", 0);
  if (!floats) replaced = op2(p, OP_eq, a, program_const_i(p, x->dtype, node_int(t->attributes, "replaced_value_int64", 0)));
  else if (isnan(wanted)) replaced = op1(p, OP_isnan, a);
  else replaced = op2(p, OP_eq, a, constant_like(p, a, wanted));
  program_output(p, op3(p, OP_select, replaced, put, a));
  t->outputs[0] = build_elementwise(&b, p, 2, (Value *[]){x, values});
  return translate_end(t, &b);
}

// Rows divided by their largest element, their sum of magnitudes or their length; those of which that is zero stay.
static Status normalizer(Translation *t) {
  Builder b = translate_begin(t);
  const char *norm = node_string(t->attributes, "norm", "MAX");
  Value *x = build_cast(&b, t->inputs[0], DTYPE_F32);
  TRY(translate_end(t, &b));
  if (x->rank < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input is a scalar");
  Program *p = program_new(t->graph->arena, 1);
  int a = program_input(p, 0, DTYPE_F32), by;
  if (strcmp(norm, "MAX") == 0) by = program_reduce(p, OP_reduce_max, a, DTYPE_F32);
  else if (strcmp(norm, "L1") == 0) by = program_reduce(p, OP_reduce_sum, op1(p, OP_abs, a), DTYPE_F32);
  else by = op1(p, OP_sqrt, program_reduce(p, OP_reduce_sum, op2(p, OP_mul, a, a), DTYPE_F32));
  int zero = op2(p, OP_eq, by, program_const(p, DTYPE_F32, 0));
  program_output(p, op2(p, OP_div, a, op3(p, OP_select, zero, program_const(p, DTYPE_F32, 1), by)));
  int64_t axis = x->rank == 1 ? 0 : 1;
  t->outputs[0] = build_rowwise(&b, p, 1, &x, &axis, 1);
  return translate_end(t, &b);
}

const OnnxOp onnx_ml_linear_ops[] = {
    {"ai.onnx.ml", "LinearClassifier", 1, 0, 1, 1, 2, 2, classifier},
    {"ai.onnx.ml", "LinearRegressor", 1, 0, 1, 1, 1, 1, regressor},
    {"ai.onnx.ml", "Scaler", 1, 0, 1, 1, 1, 1, scaler},
    {"ai.onnx.ml", "Imputer", 1, 0, 1, 1, 1, 1, imputer},
    {"ai.onnx.ml", "Normalizer", 1, 0, 1, 1, 1, 1, normalizer},
    {0},
};
