// Scores and labels of ai.onnx.ml. The transforms are those of ONNX Runtime, where the specification names them only.
#include "onnx/ops/ml_scores.h"

Value *ml_matrix(Translation *t, Builder *b, bool keep_f64) {
  Value *x = t->inputs[0];
  if (x->rank != 1 && x->rank != 2) {
    b->status = status_make(ERROR_INVALID_MODEL, "its input has rank %d, expected 1 or 2", x->rank);
    return NULL;
  }
  if (x->rank == 1) x = build_unsqueeze(b, x, (int64_t[]){0}, 1);
  return x && !(keep_f64 && x->dtype == DTYPE_F64) ? build_cast(b, x, DTYPE_F32) : x;
}

Status ml_floats(const Translation *t, Builder *b, const char *attribute, int rank, const int64_t *dims, Value **out) {
  int count;
  const double *values = node_floats(t->attributes, attribute, &count);
  int64_t expected = 1;
  *out = NULL;
  if (!values) return OK;
  for (int i = 0; i < rank; i++) expected *= dims[i];
  if (count != expected)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %d values, expected %lld", attribute, count, (long long)expected);
  Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
  TRY(tensor_new(t->graph->arena, DTYPE_F32, rank, dims, tensor));
  for (int i = 0; i < count; i++) tensor_set_f(tensor, i, values[i]);
  *out = build_constant(b, tensor);
  return OK;
}

// --- Transforms

static int inverse_erf(Program *p, int x) {
  int one = constant_like(p, x, 1), logarithm = op1(p, OP_log, op2(p, OP_mul, op2(p, OP_sub, one, x), op2(p, OP_add, one, x)));
  int first = op2(p, OP_add, op2(p, OP_mul, logarithm, constant_like(p, x, 0.5)), constant_like(p, x, 2 / (M_PI * 0.147)));
  int second = op2(p, OP_mul, logarithm, constant_like(p, x, 1 / 0.147));
  int inner = op1(p, OP_sqrt, op2(p, OP_sub, op2(p, OP_mul, first, first), second));
  return op2(p, OP_mul, op1(p, OP_sign, x), op1(p, OP_sqrt, op2(p, OP_sub, inner, first)));
}

static int probit(Program *p, int x) {
  int centred = op2(p, OP_sub, op2(p, OP_mul, x, constant_like(p, x, 2)), constant_like(p, x, 1));
  return op2(p, OP_mul, inverse_erf(p, centred), constant_like(p, x, M_SQRT2));
}

// Scores of zero stay out of the softmax.
static int softmax_zero(Program *p, int x, DType dtype) {
  int most = program_reduce(p, OP_reduce_max, x, dtype), zero = constant_like(p, x, 0);
  int counts = op2(p, OP_gt, op1(p, OP_abs, x), constant_like(p, x, 1e-7));
  int e = op1(p, OP_exp, op2(p, OP_sub, x, most)),
      sum = program_reduce(p, OP_reduce_sum, op3(p, OP_select, counts, e, zero), dtype);
  int kept = op2(p, OP_mul, x, op1(p, OP_exp, op1(p, OP_neg, most)));
  return op2(p, OP_div, op3(p, OP_select, counts, e, kept), sum);
}

Status ml_transform(const Translation *t, Builder *b, const char *kind, Value **scores) {
  int64_t axis = 1;
  if (b->status || !*scores || strcmp(kind, "NONE") == 0) return OK;
  Program *p = program_new(t->graph->arena, 1);
  DType dtype = (*scores)->dtype;
  int x = program_input(p, 0, dtype), y;
  if (strcmp(kind, "SOFTMAX") == 0) {
    *scores = build_softmax(b, *scores, 1);
    return OK;
  }
  if (strcmp(kind, "LOGISTIC") == 0) y = op1(p, OP_sigmoid, x);
  else if (strcmp(kind, "PROBIT") == 0) y = probit(p, x);
  else y = softmax_zero(p, x, dtype);
  program_output(p, y);
  *scores = program_has_reduction(p) ? build_rowwise(b, p, 1, scores, &axis, 1) : build_elementwise(b, p, 1, scores);
  return OK;
}

Status ml_post_transform(const Translation *t, Builder *b, Value **scores) {
  return ml_transform(t, b, node_string(t->attributes, "post_transform", "NONE"), scores);
}

Value *ml_two_scores(const Translation *t, Builder *b, Value *score, SecondScore kind) {
  const char *transform = node_string(t->attributes, "post_transform", "NONE");
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  int x = program_input(p, 0, score->dtype), one = constant_like(p, x, 1);
  bool logistic = strcmp(transform, "LOGISTIC") == 0;
  int negative = op1(p, OP_neg, x);
  program_output(p, logistic ? op1(p, OP_sigmoid, negative) : kind == SECOND_NEGATIVE ? negative : op2(p, OP_sub, one, x));
  program_output(p, logistic ? op1(p, OP_sigmoid, x) : op2(p, OP_add, x, constant_like(p, x, 0)));
  Value *first = build_elementwise(b, p, 1, &score);
  return first ? build_concat2(b, first, build_output(first, 1), 1) : NULL;
}

// --- Labels

Status ml_labels(const Translation *t, Builder *b, const char *ints, const char *strings, Value **out) {
  int count, string_count;
  const int64_t *numbers = node_ints(t->attributes, ints, &count);
  const char *const *names = node_strings(t->attributes, strings, &string_count);
  *out = NULL;
  if (names && string_count) {
    Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
    TRY(tensor_new(t->graph->arena, DTYPE_STRING, 1, (int64_t[]){string_count}, tensor));
    memcpy(tensor->data, names, sizeof *names * (size_t)string_count);
    *out = build_constant(b, tensor);
  } else if (numbers && count) {
    *out = build_constant(b, tensor_vector_i64(t->graph->arena, numbers, count));
  }
  return OK;
}

Value *ml_best_label(Builder *b, Value *scores, Value *labels) {
  int64_t axis = 1;
  Value *best = build_reduce(b, OP_reduce_argmax, scores, &axis, 1, false);
  return labels ? build_gather(b, labels, best, 0) : best;
}

Value *ml_choose_label(Builder *b, Value *on, Value *labels) {
  return build_gather(b, labels, build_cast(b, on, DTYPE_I64), 0);
}
