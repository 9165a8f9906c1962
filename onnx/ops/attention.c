// Attention and rotary embeddings, as products and one rowwise program.
#include "onnx/ops/heads.h"

// A mask may be shorter than the keys: the rest is masked out.
static Value *padded_mask(Builder *b, Value *mask, Dim keys) {
  if (b->status || !mask || mask->rank == 0) return b->status ? NULL : mask;
  DimTable *table = b->graph->dims;
  Dim have = mask->dims[mask->rank - 1];
  if (have == keys || have == 1) return mask;
  Dim pads[2 * MAX_RANK] = {0};
  pads[2 * mask->rank - 1] = dim_most(table, dim_sub(table, keys, have), 0);
  if (pads[2 * mask->rank - 1] == 0) return mask;
  Value *outside = build_scalar(b, mask->dtype, mask->dtype == DTYPE_BOOL ? 0 : -HUGE_VAL);
  Node *node = node_start(b, "pad", 2, (Value *[]){mask, outside}, 1);
  node_set_dims(node, "pads", pads, 2 * mask->rank);
  node_set_string(node, "mode", "constant");
  return node_done(b, node);
}

typedef struct Scores {
  Value *inputs[4];
  int count;
} Scores;

static int scores_input(Program *p, Scores *s, Value *value, DType dtype) {
  s->inputs[s->count] = value;
  p->input_count = s->count + 1;
  return program_input(p, s->count++, dtype);
}

// How many keys the first query may look at beyond the first one: those of the past, or, where the caller keeps the cache, what is valid
// in it less the queries themselves; else the queries start where the keys do.
static int causal_offset(Program *p, Scores *s, const Value *products, Value *past, int length) {
  if (past) return scores_input(p, s, past, DTYPE_I64);
  if (length >= 0) return op2(p, OP_sub, length, program_extent(p, DTYPE_I64, products->rank - 2));
  return program_const_i(p, DTYPE_I64, 0);
}

// softmax(softcap(scale * products) + bias), and the stage that qk_matmul_output_mode asks for as a second output. A query that may look
// at nothing has weights of zero.
static Value *softmax_scores(Translation *t, Builder *b, Value *products, Value *mask, Value *valid, Value *past,
                             double scale) {
  if (b->status) return NULL;
  const Node *a = t->attributes;
  Scores s = {0};
  Program *p = program_new(t->graph->arena, 0);
  DType dtype = products->dtype, compute = compute_dtype(dtype);
  int x = scores_input(p, &s, products, compute);
  x = op2(p, OP_mul, x, constant_like(p, x, scale));
  int stages[4];
  double cap = node_float(a, "softcap", 0);
  stages[0] = x;
  if (cap > 0) x = op2(p, OP_mul, op1(p, OP_tanh, op2(p, OP_div, x, constant_like(p, x, cap))), constant_like(p, x, cap));
  stages[1] = x;
  int outside = constant_like(p, x, -HUGE_VAL), row = products->rank - 2, column = products->rank - 1;
  if (mask && mask->dtype == DTYPE_BOOL) x = op3(p, OP_select, scores_input(p, &s, mask, DTYPE_BOOL), x, outside);
  else if (mask) x = op2(p, OP_add, x, scores_input(p, &s, mask, compute));
  int length = valid ? program_cast(p, DTYPE_I64, scores_input(p, &s, valid, valid->dtype)) : -1;
  if (node_int(a, "is_causal", 0)) {
    int reach = op2(p, OP_add, program_index(p, DTYPE_I64, row), causal_offset(p, &s, products, past, length));
    x = op3(p, OP_select, op2(p, OP_le, program_index(p, DTYPE_I64, column), reach), x, outside);
  }
  if (valid) x = op3(p, OP_select, op2(p, OP_lt, program_index(p, DTYPE_I64, column), length), x, outside);
  stages[2] = x;
  int most = program_reduce(p, OP_reduce_max, x, compute);
  int e = op1(p, OP_exp, op2(p, OP_sub, x, most));
  x = op2(p, OP_div, e, program_reduce(p, OP_reduce_sum, e, compute));
  x = op3(p, OP_select, op2(p, OP_eq, most, outside), constant_like(p, x, 0), x);
  stages[3] = x;
  program_output(p, program_cast(p, dtype, x));
  int64_t mode = node_int(a, "qk_matmul_output_mode", 0);
  if (translate_wants(t, 3)) program_output(p, program_cast(p, dtype, stages[mode]));
  int64_t axis = column;
  Value *y = build_rowwise(b, p, s.count, s.inputs, &axis, 1);
  if (y && translate_wants(t, 3)) t->outputs[3] = build_output(y, 1);
  return y;
}

static Status attention(Translation *t) {
  Builder b = translate_begin(t);
  Value *q = t->inputs[0], *k = t->inputs[1], *v = t->inputs[2], *mask = translate_input(t, 3), *valid = translate_input(t, 6);
  bool flat = q->rank == 3;
  if ((q->rank != 3 && q->rank != 4) || k->rank != q->rank || v->rank != q->rank)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "Q, K and V have ranks %d, %d and %d, expected 3 or 4", q->rank, k->rank, v->rank);
  int64_t mode = node_int(t->attributes, "qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "qk_matmul_output_mode is %lld", (long long)mode);
  for (int i = 4; i <= 5; i++)
    if (translate_has(t, i) && t->inputs[i]->rank != 4) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d must have rank 4", i);
  int64_t query_heads = node_int(t->attributes, "q_num_heads", 0), heads = node_int(t->attributes, "kv_num_heads", 0);
  if (flat && (query_heads < 1 || heads < 1))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "q_num_heads and kv_num_heads are missing");
  if (flat) {
    q = split_heads(&b, q, query_heads);
    k = split_heads(&b, k, heads);
    v = split_heads(&b, v, heads);
  }
  Value *past = NULL;
  if (translate_has(t, 4)) {
    past = build_reshape(&b, build_dims(&b, &t->inputs[4]->dims[2], 1), 0, NULL);
    k = build_concat2(&b, t->inputs[4], k, 2);
    if (translate_has(t, 5)) v = build_concat2(&b, t->inputs[5], v, 2);
  }
  if (b.status) return translate_end(t, &b);
  if (!dim_is_static(q->dims[3])) {
    t->deferred = true;
    return OK;
  }
  if (translate_wants(t, 1)) t->outputs[1] = k;
  if (translate_wants(t, 2)) t->outputs[2] = v;
  double scale = node_float(t->attributes, "scale", q->dims[3] > 0 ? 1 / sqrt((double)q->dims[3]) : 1);
  Value *products = head_products(&b, q, k);
  if (valid) valid = build_reshape(&b, valid, 4, (Dim[]){valid->dims[0], 1, 1, 1});
  if (mask && dtype_is_integer(mask->dtype)) mask = build_cast(&b, mask, compute_dtype(q->dtype));  // numbers to add
  Value *weights = softmax_scores(t, &b, products, padded_mask(&b, mask, k->dims[2]), valid, past, scale);
  if (b.status) return translate_end(t, &b);
  if (weights->dtype != v->dtype) weights = build_cast(&b, weights, v->dtype);
  Value *y = head_mix(&b, weights, v);
  t->outputs[0] = flat ? merge_heads(&b, y) : y;
  return translate_end(t, &b);
}

// Pairs (halves of the head, or neighbours when interleaved) turned by the angle of their position.
static Status rotary_embedding(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *tables[2] = {t->inputs[1], t->inputs[2]};
  bool flat = x->rank == 3, interleaved = node_int(t->attributes, "interleaved", 0) != 0;
  int64_t heads = node_int(t->attributes, "num_heads", 0);
  if (x->rank != 3 && x->rank != 4) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 3 or 4", x->rank);
  if (flat && heads < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_heads is missing");
  DimTable *table = t->graph->dims;
  int head_axis = flat ? 2 : 1;
  if (flat) x = build_reshape(&b, x, 4, (Dim[]){x->dims[0], x->dims[1], heads, dim_div(table, x->dims[2], heads)});
  if (b.status) return translate_end(t, &b);
  Dim whole = x->dims[3], turns = node_int(t->attributes, "rotary_embedding_dim", 0);
  if (turns == 0) turns = whole;
  int64_t known = node_int(t->attributes, "rotary_embedding_dim", 0);
  if (known < 0 || (dim_is_static(whole) && known > whole))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "rotary_embedding_dim is %lld", (long long)known);
  for (int i = 0; i < 2; i++) {
    if (translate_has(t, 3)) tables[i] = build_gather(&b, tables[i], t->inputs[3], 0);
    tables[i] = build_unsqueeze(&b, tables[i], (int64_t[]){head_axis}, 1);
  }
  Value *y = rotary_turn(&b, x, tables[0], tables[1], turns, interleaved);
  t->outputs[0] = flat ? build_reshape(&b, y, 3, t->inputs[0]->dims) : y;
  return translate_end(t, &b);
}

// Runs one of the operator's graphs on the scores, if it is there.
static Value *modified(Translation *t, Builder *b, const char *name, Value *x) {
  Graph *graph = node_graph(t->attributes, name);
  if (!graph || b->status || !x) return x;
  Value **arguments = arena_array(t->graph->arena, Value *, (size_t)t->input_count + 1), *result = NULL;
  arguments[0] = x;
  for (int i = 3; i < t->input_count; i++) arguments[i - 2] = t->inputs[i];  // captures
  if (graph->output_count != 1 || graph->input_count != t->input_count - 2)
    b->status =
        status_make(ERROR_INVALID_MODEL, "%s has %d inputs and %d outputs", name, graph->input_count, graph->output_count);
  else b->status = translate_inline(t, graph, arguments, &result);
  return result;
}

static Status flex_attention(Translation *t) {
  Builder b = translate_begin(t);
  Value *q = t->inputs[0], *k = t->inputs[1], *v = t->inputs[2];
  if (q->rank != 4 || k->rank != 4 || v->rank != 4) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its inputs must have rank 4");
  if (!dim_is_static(q->dims[3])) {
    t->deferred = true;
    return OK;
  }
  DType dtype;
  TRY(dtype_attribute(t, "softmax_precision", compute_dtype(q->dtype), &dtype));
  double scale = node_float(t->attributes, "scale", q->dims[3] > 0 ? 1 / sqrt((double)q->dims[3]) : 1);
  Value *x = head_products(&b, q, k);
  x = build_scale(&b, build_cast(&b, x, dtype), scale);
  x = modified(t, &b, "score_mod", x);
  x = modified(t, &b, "prob_mod", build_softmax(&b, x, 3));
  x = head_mix(&b, x, build_cast(&b, v, dtype));
  t->outputs[0] = build_cast(&b, x, v->dtype);
  return translate_end(t, &b);
}

const OnnxOp onnx_attention_ops[] = {
    {"", "Attention", 23, 0, 3, 7, 1, 4, attention},
    {"", "RotaryEmbedding", 23, 0, 3, 4, 1, 1, rotary_embedding},
    {"ai.onnx.preview", "FlexAttention", 1, 0, 3, -1, 1, 1, flex_attention},
    {0},
};
