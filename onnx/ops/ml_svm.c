// Support vector machines: kernels of every row with every support vector, a product with their coefficients, and for classes a vote
// among the pairs of them.
#include "onnx/ops/ml_scores.h"

typedef struct Machine {
  Value *x;  // [N, C]
  int64_t vectors;
  Value *kernels;  // [N, vectors]
} Machine;

static Status kernel_parameters(const Translation *t, double out[3]) {
  int count;
  const double *given = node_floats(t->attributes, "kernel_params", &count);
  if (given && count != 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "kernel_params has %d values, expected 3", count);
  for (int i = 0; i < 3; i++) out[i] = given ? given[i] : 0;
  return OK;
}

// exp(-gamma * |x - v|^2), summed over the columns without the differences being stored.
static Value *distances(Builder *b, Value *x, Value *vectors, double gamma) {
  Value *inputs[] = {build_unsqueeze(b, x, (int64_t[]){1}, 1), build_unsqueeze(b, vectors, (int64_t[]){0}, 1)};
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 2);
  int difference = op2(p, OP_sub, program_input(p, 0, DTYPE_F32), program_input(p, 1, DTYPE_F32));
  int sum = program_reduce(p, OP_reduce_sum, op2(p, OP_mul, difference, difference), DTYPE_F32);
  program_output(p, op1(p, OP_exp, op2(p, OP_mul, sum, constant_like(p, sum, -gamma))));
  int64_t axis = 2;
  return build_squeeze(b, build_rowwise(b, p, 2, inputs, &axis, 1), &axis, 1);
}

static Status read_machine(Translation *t, Builder *b, Machine *m) {
  const char *kind = node_string(t->attributes, "kernel_type", "LINEAR");
  double parameters[3];
  int count;
  Value *vectors;
  TRY(kernel_parameters(t, parameters));
  if (!node_floats(t->attributes, "support_vectors", &count) || count % m->vectors)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "support_vectors has %d values for %lld vectors", count, (long long)m->vectors);
  TRY(ml_floats(t, b, "support_vectors", 2, (int64_t[]){m->vectors, count / m->vectors}, &vectors));
  if (strcmp(kind, "RBF") == 0) {
    m->kernels = distances(b, m->x, vectors, parameters[0]);
    return OK;
  }
  Value *products = build_matmul(b, m->x, build_swap(b, vectors, 0, 1));
  m->kernels = products;
  if (b->status || strcmp(kind, "LINEAR") == 0) return OK;
  Program *p = program_new(t->graph->arena, 1);
  int dot = program_input(p, 0, DTYPE_F32);
  dot = op2(p, OP_add, op2(p, OP_mul, dot, constant_like(p, dot, parameters[0])), constant_like(p, dot, parameters[1]));
  program_output(p,
                 strcmp(kind, "POLY") == 0 ? op2(p, OP_pow, dot, constant_like(p, dot, parameters[2])) : op1(p, OP_tanh, dot));
  m->kernels = build_elementwise(b, p, 1, &products);
  return OK;
}

static Value *signs(Builder *b, Value *x) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 1);
  int a = program_input(p, 0, x->dtype), above = op2(p, OP_gt, a, constant_like(p, a, 0));
  program_output(p, op3(p, OP_select, above, constant_like(p, a, 1), constant_like(p, a, -1)));
  return build_elementwise(b, p, 1, &x);
}

// Without support vectors the coefficients are those of a linear model.
static Status regressor(Translation *t) {
  Builder b = translate_begin(t);
  int count;
  Value *coefficients, *rho;
  Machine m = {.x = ml_matrix(t, &b, false), .vectors = node_int(t->attributes, "n_supports", 0)};
  TRY(translate_end(t, &b));
  if (!node_floats(t->attributes, "coefficients", &count))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its coefficients are missing");
  if (m.vectors < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "n_supports is %lld", (long long)m.vectors);
  TRY(ml_floats(t, &b, "coefficients", 2, (int64_t[]){m.vectors ? m.vectors : count, 1}, &coefficients));
  TRY(ml_floats(t, &b, "rho", 1, (int64_t[]){1}, &rho));
  m.kernels = m.x;
  if (m.vectors) TRY(read_machine(t, &b, &m));
  Value *y = build_matmul(&b, m.kernels, coefficients);
  if (rho) y = build_add(&b, y, rho);
  if (node_int(t->attributes, "one_class", 0)) y = signs(&b, y);
  TRY(ml_post_transform(t, &b, &y));
  t->outputs[0] = y;
  return translate_end(t, &b);
}

// --- Classes: one decision for each pair, in the order (0, 1), (0, 2), ..., (1, 2), ...

typedef struct Classes {
  int count, pairs;
  const int64_t *sizes;  // support vectors of each
} Classes;

// Column p of the result holds what each vector weighs in pair p; those of class i speak for it by row j - 1, those of j by row i.
static Status pair_weights(const Translation *t, Builder *b, const Classes *c, int64_t vectors, Value **out) {
  int given;
  const double *weights = node_floats(t->attributes, "coefficients", &given);
  if (given != (c->count - 1) * vectors)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "coefficients has %d values, expected %lld", given,
                   (long long)((c->count - 1) * vectors));
  Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
  TRY(tensor_new(t->graph->arena, DTYPE_F32, 2, (int64_t[]){vectors, c->pairs}, tensor));
  int64_t *first = arena_array(t->graph->arena, int64_t, (size_t)c->count + 1);
  for (int i = 0; i < c->count; i++) first[i + 1] = first[i] + c->sizes[i];
  int pair = 0;
  for (int i = 0; i < c->count; i++) {
    for (int j = i + 1; j < c->count; j++, pair++) {
      for (int64_t v = first[i]; v < first[i + 1]; v++)
        tensor_set_f(tensor, v * c->pairs + pair, weights[(j - 1) * vectors + v]);
      for (int64_t v = first[j]; v < first[j + 1]; v++) tensor_set_f(tensor, v * c->pairs + pair, weights[i * vectors + v]);
    }
  }
  *out = build_constant(b, tensor);
  return OK;
}

// A pair votes for its first class above zero, else for its second: +1/2 and -1/2 of each tell the classes apart as counts do.
static Status vote(const Translation *t, Builder *b, const Classes *c, Value *decisions, Value **out) {
  Tensor *tensor = arena_new_of(t->graph->arena, Tensor);
  TRY(tensor_new(t->graph->arena, DTYPE_F32, 2, (int64_t[]){c->pairs, c->count}, tensor));
  for (int i = 0, pair = 0; i < c->count; i++) {
    for (int j = i + 1; j < c->count; j++, pair++) {
      tensor_set_f(tensor, pair * c->count + i, 1);
      tensor_set_f(tensor, pair * c->count + j, -1);
    }
  }
  *out = build_matmul(b, signs(b, decisions), build_constant(b, tensor));
  return OK;
}

// --- Probabilities: those of the pairs are put together as libsvm does (Wu, Lin and Weng 2004, their second method), which iterates until
// 0.005 / classes and is there within five steps; so many are written out. r[i][k] is the probability of i against k.

enum { MAX_PROBABLE = 8, PROBABILITY_STEPS = 6 };

typedef struct Coupling {
  Program *p;
  int count, q[MAX_PROBABLE][MAX_PROBABLE], share[MAX_PROBABLE], product[MAX_PROBABLE], total;  // program values
  int done;
} Coupling;

static int sum_of(Program *p, int a, int b) { return a < 0 ? b : op2(p, OP_add, a, b); }
static int ratio(Program *p, int a, int b) { return op2(p, OP_div, a, b); }

// product = q * share, total = share . product
static void multiply(Coupling *c) {
  Program *p = c->p;
  c->total = -1;
  for (int i = 0; i < c->count; i++) {
    c->product[i] = -1;
    for (int k = 0; k < c->count; k++) c->product[i] = sum_of(p, c->product[i], op2(p, OP_mul, c->q[i][k], c->share[k]));
    c->total = sum_of(p, c->total, op2(p, OP_mul, c->share[i], c->product[i]));
  }
}

static void update(Coupling *c, int i, int *share) {
  Program *p = c->p;
  int step = ratio(p, op2(p, OP_sub, c->total, c->product[i]), c->q[i][i]),
      grown = op2(p, OP_add, step, constant_like(p, step, 1));
  int twice = op2(p, OP_add, c->product[i], c->product[i]);
  int moved = op2(p, OP_mul, step, op2(p, OP_add, op2(p, OP_mul, step, c->q[i][i]), twice));
  c->total = ratio(p, ratio(p, op2(p, OP_add, c->total, moved), grown), grown);
  share[i] = op2(p, OP_add, share[i], step);
  for (int k = 0; k < c->count; k++) {
    c->product[k] = ratio(p, op2(p, OP_add, c->product[k], op2(p, OP_mul, step, c->q[i][k])), grown);
    share[k] = ratio(p, share[k], grown);
  }
}

static void iterate(Coupling *c) {
  Program *p = c->p;
  int error = -1, share[MAX_PROBABLE];
  multiply(c);
  for (int i = 0; i < c->count; i++) {
    int away = op1(p, OP_abs, op2(p, OP_sub, c->product[i], c->total));
    error = error < 0 ? away : op2(p, OP_max, error, away);
    share[i] = c->share[i];
  }
  int near = op2(p, OP_lt, error, constant_like(p, error, 0.005 / c->count));
  c->done = c->done < 0 ? near : op2(p, OP_or, c->done, near);
  for (int i = 0; i < c->count; i++) update(c, i, share);
  for (int i = 0; i < c->count; i++) c->share[i] = op3(p, OP_select, c->done, c->share[i], share[i]);
}

static void couple(Coupling *c, int r[MAX_PROBABLE][MAX_PROBABLE]) {
  Program *p = c->p;
  c->done = -1;
  for (int i = 0; i < c->count; i++) {
    c->share[i] = program_const(p, DTYPE_F32, 1.0 / c->count);
    c->q[i][i] = -1;
    for (int k = 0; k < c->count; k++) {
      if (k == i) continue;
      c->q[i][i] = sum_of(p, c->q[i][i], op2(p, OP_mul, r[k][i], r[k][i]));
      c->q[i][k] = op1(p, OP_neg, op2(p, OP_mul, r[k][i], r[i][k]));
    }
  }
  for (int i = 0; i < PROBABILITY_STEPS; i++) iterate(c);
}

// Decisions [N, pairs] become probabilities [N, classes].
static Status probabilities(const Translation *t, Builder *b, const Classes *classes, Value **scores) {
  int count, offset_count, r[MAX_PROBABLE][MAX_PROBABLE], pair = 0;
  const double *a = node_floats(t->attributes, "prob_a", &count), *offset = node_floats(t->attributes, "prob_b", &offset_count);
  if (classes->count > MAX_PROBABLE)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "probabilities (prob_a, prob_b) of %d classes are not supported, only of %d",
                   classes->count, MAX_PROBABLE);
  if (count != classes->pairs || offset_count != count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "prob_a and prob_b have %d and %d values, expected %d", count, offset_count,
                   classes->pairs);
  Value *inputs[MAX_PROBABLE * MAX_PROBABLE], *columns[MAX_PROBABLE];
  Coupling c = {.p = program_new(t->graph->arena, classes->pairs), .count = classes->count};
  Program *p = c.p;
  for (int i = 0; i < c.count; i++) {
    for (int k = i + 1; k < c.count; k++, pair++) {
      inputs[pair] = build_slice_axis(b, *scores, 1, pair, 1);
      int s = program_input(p, pair, DTYPE_F32), one = constant_like(p, s, 1);
      int lost = op1(p, OP_sigmoid,
                     op2(p, OP_add, op2(p, OP_mul, s, constant_like(p, s, a[pair])), constant_like(p, s, offset[pair])));
      int won =
          op2(p, OP_min, op2(p, OP_max, op2(p, OP_sub, one, lost), constant_like(p, s, 1e-7)), constant_like(p, s, 1 - 1e-7));
      r[i][k] = won;
      r[k][i] = op2(p, OP_sub, one, won);
    }
  }
  couple(&c, r);
  for (int i = 0; i < c.count; i++) program_output(p, c.share[i]);
  columns[0] = b->status ? NULL : build_elementwise(b, p, classes->pairs, inputs);
  for (int i = 1; i < c.count; i++) columns[i] = build_output(columns[0], i);
  *scores = build_concat(b, c.count, columns, 1);
  return OK;
}

static Status classifier(Translation *t) {
  Builder b = translate_begin(t);
  int vector_classes, prob_count;
  Value *labels, *weights, *rho, *votes;
  Classes c = {.sizes = node_ints(t->attributes, "vectors_per_class", &vector_classes)};
  TRY(ml_labels(t, &b, "classlabels_ints", "classlabels_strings", &labels));
  if (!labels || !c.sizes || vector_classes != labels->dims[0] || vector_classes < 2 || vector_classes > 4096)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "vectors_per_class has %d values: expected one for each of at least 2 labels",
                   vector_classes);
  c.count = vector_classes;
  c.pairs = c.count * (c.count - 1) / 2;
  Machine m = {.x = ml_matrix(t, &b, false)};
  for (int i = 0; i < c.count; i++) {
    if (c.sizes[i] < 0 || c.sizes[i] > INT32_MAX)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "class %d has %lld vectors", i, (long long)c.sizes[i]);
    m.vectors += c.sizes[i];
  }
  if (m.vectors < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "it has no support vectors");
  TRY(translate_end(t, &b));
  TRY(read_machine(t, &b, &m));
  TRY(pair_weights(t, &b, &c, m.vectors, &weights));
  TRY(ml_floats(t, &b, "rho", 1, (int64_t[]){c.pairs}, &rho));
  Value *scores = build_matmul(&b, m.kernels, weights);
  if (rho) scores = build_add(&b, scores, rho);
  TRY(translate_end(t, &b));
  TRY(vote(t, &b, &c, scores, &votes));
  t->outputs[0] = ml_best_label(&b, votes, labels);
  if (node_floats(t->attributes, "prob_a", &prob_count)) {
    TRY(probabilities(t, &b, &c, &scores));
    TRY(ml_post_transform(t, &b, &scores));
  } else if (c.count == 2) {
    const char *transform = node_string(t->attributes, "post_transform", "NONE");
    if (strcmp(transform, "NONE") != 0 && strcmp(transform, "LOGISTIC") != 0)
      TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "post_transform %s of a single decision is not supported", transform);
    scores = ml_two_scores(t, &b, scores, SECOND_NEGATIVE);
  } else {
    TRY(ml_post_transform(t, &b, &scores));
  }
  t->outputs[1] = scores;
  return translate_end(t, &b);
}

const OnnxOp onnx_ml_svm_ops[] = {
    {"ai.onnx.ml", "SVMClassifier", 1, 0, 1, 1, 2, 2, classifier},
    {"ai.onnx.ml", "SVMRegressor", 1, 0, 1, 1, 1, 1, regressor},
    {0},
};
