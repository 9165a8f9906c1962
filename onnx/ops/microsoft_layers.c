// Layers that ONNX Runtime's optimiser fuses (com.microsoft): activations with a bias, normalisations of a sum, embeddings; and its own
// versions of operators that ONNX took over later.
#include "onnx/ops/common.h"
#include "onnx/ops/shared.h"

// --- Gelu and its kin. A bias stands for the last axis.

static int gelu_exact(Program *p, int x) {
  int inner = op1(p, OP_erf, op2(p, OP_mul, x, constant_like(p, x, M_SQRT1_2)));
  return op2(p, OP_mul, op2(p, OP_mul, x, constant_like(p, x, 0.5)), op2(p, OP_add, inner, constant_like(p, x, 1)));
}

static int gelu_fast(Program *p, int x) {
  int square = op2(p, OP_mul, x, x), cubic = op2(p, OP_mul, square, constant_like(p, x, 0.044715 * sqrt(2 / M_PI)));
  int inner = op1(p, OP_tanh, op2(p, OP_mul, x, op2(p, OP_add, cubic, constant_like(p, x, sqrt(2 / M_PI)))));
  return op2(p, OP_mul, op2(p, OP_mul, x, constant_like(p, x, 0.5)), op2(p, OP_add, inner, constant_like(p, x, 1)));
}

static Status gelu(Translation *t) {
  Builder b = translate_begin(t);
  Value *inputs[] = {t->inputs[0], translate_input(t, 1)};
  Program *p = program_new(t->graph->arena, inputs[1] ? 2 : 1);
  DType compute = compute_dtype(inputs[0]->dtype);
  int x = program_input(p, 0, compute);
  if (inputs[1]) x = op2(p, OP_add, x, program_input(p, 1, compute));
  if (strcmp(t->op_type, "QuickGelu") == 0)
    x = op2(p, OP_mul, x,
            op1(p, OP_sigmoid, op2(p, OP_mul, x, constant_like(p, x, node_float(t->attributes, "alpha", 1.702)))));
  else x = strcmp(t->op_type, "FastGelu") == 0 ? gelu_fast(p, x) : gelu_exact(p, x);
  program_output(p, program_cast(p, inputs[0]->dtype, x));
  t->outputs[0] = build_elementwise(&b, p, p->input_count, inputs);
  return translate_end(t, &b);
}

// --- Normalisation of a sum over the last axis

typedef struct SumNorm {
  Program *p;
  Value *inputs[5];
  DType compute;
} SumNorm;

static int take(SumNorm *s, Value *value) {
  s->inputs[s->p->input_count++] = value;
  return program_input(s->p, s->p->input_count - 1, s->compute);
}

// Appends the normalised row; *mean and *inverse are 0 and 1 / deviation where the mean is not taken out.
static int normalised(SumNorm *s, int x, bool centre, double epsilon, Value *gamma, Value *beta, int *mean, int *inverse) {
  Program *p = s->p;
  *mean = centre ? reduce_mean(p, x) : program_const(p, s->compute, 0);
  int centred = centre ? op2(p, OP_sub, x, *mean) : x;
  int variance = reduce_mean(p, op2(p, OP_mul, centred, centred));
  *inverse = op1(p, OP_recip, op1(p, OP_sqrt, op2(p, OP_add, variance, constant_like(p, x, epsilon))));
  int y = op2(p, OP_mul, op2(p, OP_mul, centred, *inverse), take(s, gamma));
  return beta ? op2(p, OP_add, y, take(s, beta)) : y;
}

// (x + skip + bias) normalised; outputs 1 to 3 are the mean, 1 / deviation and the sum.
static Status skip_norm(Translation *t) {
  Builder b = translate_begin(t);
  bool centre = strcmp(t->op_type, "SkipLayerNormalization") == 0;
  Value *x = t->inputs[0], *beta = centre ? translate_input(t, 3) : NULL, *bias = translate_input(t, centre ? 4 : 3);
  if (x->rank != 2 && x->rank != 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 2 or 3", x->rank);
  SumNorm s = {.p = program_new(t->graph->arena, 0), .compute = compute_dtype(x->dtype)};
  int sum = take(&s, x), mean, inverse;
  sum = op2(s.p, OP_add, sum, take(&s, t->inputs[1]));
  if (bias) sum = op2(s.p, OP_add, sum, take(&s, bias));
  int y = normalised(&s, sum, centre, node_float(t->attributes, "epsilon", 1e-12), t->inputs[2], beta, &mean, &inverse);
  program_output(s.p, program_cast(s.p, x->dtype, y));
  program_output(s.p, program_cast(s.p, x->dtype, sum));
  program_output(s.p, op2(s.p, OP_add, mean, constant_like(s.p, inverse, 0)));
  program_output(s.p, inverse);
  int64_t axis = x->rank - 1;
  Value *first = build_rowwise(&b, s.p, s.p->input_count, s.inputs, &axis, 1);
  static const int places[] = {0, 2, 3, 1};
  for (int i = 0; i < t->output_count && first; i++) t->outputs[i] = build_output(first, places[i]);
  return translate_end(t, &b);
}

// What an embedding sums up and how it is normalised; NULL where absent.
typedef struct Embedding {
  Value *words, *places, *kinds, *gamma, *beta;
} Embedding;

static Value *positions_of(Translation *t, Builder *b, int given) {
  const Value *ids = t->inputs[0];
  if (given >= 0 && translate_has(t, given)) return t->inputs[given];
  return build_range(b, DTYPE_I64, ids->dims[1], 0, 1);
}

// The sums, normalised; the mask's ones, counted for each element of the batch; the sums themselves.
static Status embedded(Translation *t, Builder *b, const Embedding *e) {
  TRY(translate_end(t, b));
  const Value *ids = t->inputs[0];
  Value *mask = translate_input(t, 7);
  SumNorm s = {.p = program_new(t->graph->arena, 0), .compute = compute_dtype(e->words->dtype)};
  int sum = take(&s, e->words), mean, inverse;
  sum = op2(s.p, OP_add, sum, take(&s, e->places));
  if (e->kinds) sum = op2(s.p, OP_add, sum, take(&s, e->kinds));
  int y = normalised(&s, sum, true, node_float(t->attributes, "epsilon", 1e-12), e->gamma, e->beta, &mean, &inverse);
  program_output(s.p, program_cast(s.p, e->words->dtype, y));
  program_output(s.p, program_cast(s.p, e->words->dtype, sum));
  int64_t axis = 2, second = 1;
  Value *first = build_rowwise(b, s.p, s.p->input_count, s.inputs, &axis, 1);
  t->outputs[0] = first;
  if (translate_wants(t, 1))
    t->outputs[1] = mask ? build_reduce(b, OP_reduce_sum, mask, &second, 1, false) : build_fill(b, DTYPE_I32, 0, 1, ids->dims);
  if (translate_wants(t, 2) && first) t->outputs[2] = build_output(first, 1);
  return translate_end(t, b);
}

static Status check_ids(const Translation *t) {
  if (t->inputs[0]->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input_ids have rank %d, expected 2", t->inputs[0]->rank);
  return OK;
}

static Status embed_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *const *in = t->inputs, *segments = translate_input(t, 1);
  TRY(check_ids(t));
  Embedding e = {.words = build_gather(&b, in[2], in[0], 0), .gamma = in[5], .beta = in[6]};
  e.places = build_gather(&b, in[3], positions_of(t, &b, 8), 0);
  if (segments && translate_has(t, 4)) e.kinds = build_gather(&b, in[4], segments, 0);
  return embedded(t, &b, &e);
}

// (x - zero) * scale; scale and zero point of table number i of the five stand at inputs 8 + i and 13 + i.
static Value *dequantised(Translation *t, Builder *b, Value *x, int i) {
  Value *scale = translate_input(t, 8 + i), *zero = translate_input(t, 13 + i);
  if (b->status || !x || !scale || !zero) return NULL;
  Program *p = program_new(b->graph->arena, 3);
  int wide = program_cast(p, DTYPE_F32, program_input(p, 0, x->dtype));
  wide = op2(p, OP_sub, wide, program_cast(p, DTYPE_F32, program_input(p, 1, zero->dtype)));
  program_output(p, op2(p, OP_mul, wide, program_input(p, 2, DTYPE_F32)));
  Value *inputs[] = {x, build_reshape(b, zero, 0, NULL), build_reshape(b, scale, 0, NULL)};
  return b->status ? NULL : build_elementwise(b, p, 3, inputs);
}

static Status quantised_embed_norm(Translation *t) {
  Builder b = translate_begin(t);
  Value *const *in = t->inputs, *segments = translate_input(t, 1);
  TRY(check_ids(t));
  Embedding e = {.words = dequantised(t, &b, build_gather(&b, in[2], in[0], 0), 0)};
  e.places = dequantised(t, &b, build_gather(&b, in[3], positions_of(t, &b, -1), 0), 1);
  if (segments && translate_has(t, 4)) e.kinds = dequantised(t, &b, build_gather(&b, in[4], segments, 0), 2);
  e.gamma = dequantised(t, &b, in[5], 3);
  e.beta = dequantised(t, &b, in[6], 4);
  return embedded(t, &b, &e);
}

// --- Distances between the rows of two matrices

static Status distances(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *y = t->inputs[1];
  const char *metric = node_string(t->attributes, "metric", "sqeuclidean");
  bool root = strcmp(metric, "euclidean") == 0;
  if (!root && strcmp(metric, "sqeuclidean") != 0)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "metric is '%s', expected euclidean or sqeuclidean", metric);
  if (x->rank != 2 || y->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs have ranks %d and %d, expected 2", x->rank, y->rank);
  Value *inputs[] = {build_unsqueeze(&b, x, (int64_t[]){1}, 1), build_unsqueeze(&b, y, (int64_t[]){0}, 1)};
  Program *p = program_new(t->graph->arena, 2);
  int difference = op2(p, OP_sub, program_input(p, 0, x->dtype), program_input(p, 1, x->dtype));
  int sum = program_reduce(p, OP_reduce_sum, op2(p, OP_mul, difference, difference), x->dtype);
  program_output(p, root ? op1(p, OP_sqrt, sum) : sum);
  int64_t axis = 2;
  Value *rows = b.status ? NULL : build_rowwise(&b, p, 2, inputs, &axis, 1);
  t->outputs[0] = build_squeeze(&b, rows, &axis, 1);
  return translate_end(t, &b);
}

const OnnxOp onnx_microsoft_layer_ops[] = {
    {"com.microsoft", "Gelu", 1, 0, 1, 1, 1, 1, gelu},
    {"com.microsoft", "BiasGelu", 1, 0, 2, 2, 1, 1, gelu},
    {"com.microsoft", "FastGelu", 1, 0, 1, 2, 1, 1, gelu},
    {"com.microsoft", "QuickGelu", 1, 0, 1, 1, 1, 1, gelu},
    {"com.microsoft", "SkipLayerNormalization", 1, 0, 3, 5, 1, 4, skip_norm},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 1, 0, 3, 4, 1, 4, skip_norm},
    {"com.microsoft", "EmbedLayerNormalization", 1, 0, 7, 9, 1, 3, embed_norm},
    {"com.microsoft", "QEmbedLayerNormalization", 1, 0, 18, 18, 1, 2, quantised_embed_norm},
    {"com.microsoft", "CDist", 1, 0, 2, 2, 1, 1, distances},
    {"com.microsoft", "ExpandDims", 1, 0, 2, 2, 1, 1, translate_unsqueeze},
    {"com.microsoft", "Trilu", 1, 0, 1, 2, 1, 1, translate_trilu},
    {"com.microsoft", "GatherND", 1, 0, 2, 2, 1, 1, translate_gather_nd},
    {"com.microsoft", "Pad", 1, 0, 2, 3, 1, 1, translate_pad},
    {"com.microsoft", "GridSample", 1, 0, 2, 2, 1, 1, translate_grid_sample},
    {0},
};
