// Attention as ONNX Runtime's optimiser writes it (com.microsoft): products and one rowwise program of scores. What its masks leave out
// is not removed but lowered by `mask_filter_value`, as there; what causality leaves out is removed.
#include "onnx/ops/heads.h"
#include "onnx/ops/packed_attention.h"

// What happens to the scores [B, N, S, T] before the softmax. Absent parts are NULL; all present ones broadcast.
typedef struct Masking {
  Value *added;        // floats
  Value *kept;         // integers: 0 lowers
  Value *start, *end;  // [B, 1, 1, 1]: keys before and from there on are lowered
  double filter;
  bool causal;
  Value *past;     // integers: how many keys lie before the first query
  int64_t window;  // keys that a query looks back at, itself included; -1: all
  double softcap;  // 0: none
  Value *sink;     // [1, N, 1, 1]: a score that takes weight and gives nothing
} Masking;

typedef struct ScoreProgram {
  Program *p;
  Value *inputs[8];
} ScoreProgram;

static int take(ScoreProgram *s, Value *value, DType dtype) {
  Program *p = s->p;
  s->inputs[p->input_count++] = value;
  bool converts = dtype_is_float(value->dtype) && dtype_is_float(dtype);
  return program_cast(p, dtype, program_input(p, p->input_count - 1, converts ? dtype : value->dtype));
}

static int lowered_where(Program *p, int x, int condition, double filter) {
  int lower = op3(p, OP_select, condition, constant_like(p, x, filter), constant_like(p, x, 0));
  return op2(p, OP_add, x, lower);
}

static int masked(ScoreProgram *s, int x, const Masking *m, int row, int column) {
  Program *p = s->p;
  int key = program_index(p, DTYPE_I64, column);
  if (m->kept) {
    int kept = take(s, m->kept, DTYPE_I64);
    x = lowered_where(p, x, op2(p, OP_le, kept, program_const_i(p, DTYPE_I64, 0)), m->filter);
  }
  if (m->end) x = lowered_where(p, x, op2(p, OP_ge, key, take(s, m->end, DTYPE_I64)), m->filter);
  if (m->start) x = lowered_where(p, x, op2(p, OP_lt, key, take(s, m->start, DTYPE_I64)), m->filter);
  if (m->added) x = op2(p, OP_add, x, take(s, m->added, program_dtype(p, x)));
  if (!m->causal) return x;
  int position = program_index(p, DTYPE_I64, row), outside = constant_like(p, x, -HUGE_VAL);
  if (m->past) position = op2(p, OP_add, position, take(s, m->past, DTYPE_I64));
  x = op3(p, OP_select, op2(p, OP_le, key, position), x, outside);
  if (m->window < 0) return x;
  int oldest = op2(p, OP_sub, position, program_const_i(p, DTYPE_I64, m->window));
  return op3(p, OP_select, op2(p, OP_gt, key, oldest), x, outside);
}

static Value *attend(Builder *b, Value *q, Value *k, Value *v, double scale, const Masking *m) {
  Value *products = head_products(b, q, k);
  if (b->status) return NULL;
  ScoreProgram s = {.p = program_new(b->graph->arena, 0)};
  Program *p = s.p;
  DType compute = compute_dtype(products->dtype);
  int x = take(&s, products, compute);
  x = op2(p, OP_mul, x, constant_like(p, x, scale));
  if (m->softcap > 0)
    x = op2(p, OP_mul, op1(p, OP_tanh, op2(p, OP_div, x, constant_like(p, x, m->softcap))), constant_like(p, x, m->softcap));
  x = masked(&s, x, m, 2, 3);
  int most = program_reduce(p, OP_reduce_max, x, compute), sink = m->sink ? take(&s, m->sink, compute) : -1;
  if (sink >= 0) most = op2(p, OP_max, most, sink);
  int e = op1(p, OP_exp, op2(p, OP_sub, x, most)), sum = program_reduce(p, OP_reduce_sum, e, compute);
  if (sink >= 0) sum = op2(p, OP_add, sum, op1(p, OP_exp, op2(p, OP_sub, sink, most)));
  program_output(p, program_cast(p, products->dtype, op2(p, OP_div, e, sum)));
  return head_mix(b, build_rowwise(b, p, p->input_count, s.inputs, (int64_t[]){3}, 1), v);
}

static Status refuse_input(const Translation *t, int input, const char *name) {
  if (translate_has(t, input)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its input %d, %s, is not supported", input, name);
  return OK;
}

static Status refuse_value(const Translation *t, const char *attribute, int64_t expected) {
  int64_t value = node_int(t->attributes, attribute, expected);
  if (value != expected)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "%s is %lld, only %lld is supported", attribute, (long long)value,
                   (long long)expected);
  return OK;
}

// The scale asked for, or 1 / sqrt(size); waits where the size is unknown.
static bool scale_of(Translation *t, Dim size, double *out) {
  *out = node_float(t->attributes, "scale", 0);
  if (*out != 0) return true;
  if (!dim_is_static(size) || size < 1) t->deferred = true;
  else *out = 1 / sqrt((double)size);
  return !t->deferred;
}

static Value *past_length(Builder *b, const Value *past) {
  return past ? build_reshape(b, build_dims(b, &past->dims[past->rank - 2], 1), 0, NULL) : NULL;
}

// Lengths [B] (or ends, then starts, [2B]), flags of keys [B, T], or of keys for each query [B, S, T].
static Status read_mask(Translation *t, Builder *b, int input, Dim batch, Masking *m) {
  Value *mask = translate_input(t, input);
  DimTable *table = t->graph->dims;
  if (!mask) return OK;
  const Dim *d = mask->dims, each[] = {batch, 1, 1, 1};
  if (mask->rank == 1 && (d[0] == batch || d[0] == dim_mul(table, batch, 2))) {
    bool both = d[0] != batch;
    m->end = build_reshape(b, both ? build_slice_axis(b, mask, 0, 0, batch) : mask, 4, each);
    if (both) m->start = build_reshape(b, build_slice_axis(b, mask, 0, batch, batch), 4, each);
  } else if (mask->rank == 1 && (!dim_is_static(batch) || !dim_is_static(d[0]))) {
    t->deferred = true;
  } else if (mask->rank == 2) {
    m->kept = build_reshape(b, mask, 4, (Dim[]){d[0], 1, 1, d[1]});
  } else if (mask->rank == 3) {
    m->kept = build_reshape(b, mask, 4, (Dim[]){d[0], 1, d[1], d[2]});
  } else {
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED,
                   "a mask of rank %d is not supported: expected lengths, [batch, keys] or [batch, queries, keys]", mask->rank);
  }
  return OK;
}

static Status heads_attribute(const Translation *t, const char *name, int64_t *out) {
  *out = node_int(t->attributes, name, 0);
  if (*out < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s is %lld, expected at least 1", name, (long long)*out);
  return OK;
}

// --- MultiHeadAttention

// The part of a bias [Dq + Dk + Dv] that belongs to x[B, L, D], added.
static Value *add_part(Builder *b, Value *x, Value *bias, Dim from) {
  return bias && x && !b->status ? build_add(b, x, build_slice_axis(b, bias, 0, from, x->dims[2])) : x;
}

// One of several projections packed along an axis: [B, L, N, count, H] becomes [B, N, L, H].
static Value *unpacked(Builder *b, Value *packed, int index) {
  Value *x = build_squeeze(b, build_slice_axis(b, packed, 3, index, 1), (int64_t[]){3}, 1);
  return x ? build_transpose(b, x, (int[]){0, 2, 1, 3}) : NULL;
}

typedef struct Projections {
  Value *q, *k, *v;  // [B, N, L, H]
} Projections;

static Status read_projections(Translation *t, Builder *b, int64_t heads, Projections *out) {
  Value *q = t->inputs[0], *k = translate_input(t, 1), *v = translate_input(t, 2), *bias = translate_input(t, 3);
  DimTable *table = t->graph->dims;
  bool packed = q->rank == 5 || (k && k->rank == 5);
  if (bias && (packed || (k && k->rank != 3)))
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "a bias is only supported for queries, keys and values of rank 3");
  if (q->rank == 5 && !k && !v) {
    *out = (Projections){unpacked(b, q, 0), unpacked(b, q, 1), unpacked(b, q, 2)};
    return OK;
  }
  if (q->rank != 3 || !k) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its query has rank %d, expected 3 with keys", q->rank);
  out->q = split_heads(b, add_part(b, q, bias, 0), heads);
  if (k->rank == 5 && !v) {
    out->k = unpacked(b, k, 0);
    out->v = unpacked(b, k, 1);
  } else if (k->rank == 4 && v && v->rank == 4) {
    out->k = k;
    out->v = v;
  } else if (k->rank == 3 && v && v->rank == 3) {
    out->k = split_heads(b, add_part(b, k, bias, q->dims[2]), heads);
    out->v = split_heads(b, add_part(b, v, bias, dim_add(table, q->dims[2], k->dims[2])), heads);
  } else {
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its key has rank %d and its value %d", k->rank, v ? v->rank : 0);
  }
  return OK;
}

static Status multi_head_attention(Translation *t) {
  Builder b = translate_begin(t);
  int64_t heads;
  double scale;
  Projections x;
  TRY(heads_attribute(t, "num_heads", &heads));
  TRY(refuse_input(t, 8, "past_sequence_length"));
  TRY(refuse_input(t, 9, "cache_indirection"));
  if (translate_wants(t, 3)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output 3, qk, is not supported");
  TRY(read_projections(t, &b, heads, &x));
  TRY(translate_end(t, &b));
  Value *past = translate_input(t, 6);
  if (past && translate_has(t, 7)) {
    x.k = build_concat2(&b, past, x.k, 2);
    x.v = build_concat2(&b, t->inputs[7], x.v, 2);
  }
  TRY(translate_end(t, &b));
  Masking m = {.added = translate_input(t, 5), .filter = node_float(t->attributes, "mask_filter_value", -10000), .window = -1};
  m.causal = node_int(t->attributes, "unidirectional", 0) != 0;
  if (m.causal) m.past = past_length(&b, past);
  TRY(read_mask(t, &b, 4, x.q->dims[0], &m));
  if (!scale_of(t, x.q->dims[3], &scale) || t->deferred) return translate_end(t, &b);
  t->outputs[0] = merge_heads(&b, attend(&b, x.q, x.k, x.v, scale, &m));
  if (translate_wants(t, 1)) t->outputs[1] = x.k;
  if (translate_wants(t, 2)) t->outputs[2] = x.v;
  return translate_end(t, &b);
}

// --- Attention: one product with the weights of all three projections

static Status hidden_sizes(Translation *t, Dim total, Dim *sizes) {
  int count;
  const int64_t *given = node_ints(t->attributes, "qkv_hidden_sizes", &count);
  if (given && count != 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "qkv_hidden_sizes has %d values, expected 3", count);
  for (int i = 0; i < 3; i++) sizes[i] = given ? given[i] : dim_div(t->graph->dims, total, 3);
  return OK;
}

Status translate_packed_attention(Translation *t, Builder *b, Value *projected, int bias, int mask, int past, int added) {
  int64_t heads;
  double scale;
  Dim sizes[3], at = 0;
  Value *x[3];
  TRY(heads_attribute(t, "num_heads", &heads));
  TRY(refuse_value(t, "do_rotary", 0));
  TRY(refuse_value(t, "past_present_share_buffer", 0));
  TRY(translate_end(t, b));
  TRY(hidden_sizes(t, projected->dims[2], sizes));
  if (translate_has(t, bias)) TRY(check_channels(t, bias, bias, projected->dims[2]));
  if (translate_has(t, bias)) projected = build_add(b, projected, t->inputs[bias]);
  for (int i = 0; i < 3; i++) {
    x[i] = split_heads(b, build_slice_axis(b, projected, 2, at, sizes[i]), heads);
    at = dim_add(t->graph->dims, at, sizes[i]);
  }
  Value *before = past >= 0 ? translate_input(t, past) : NULL;
  if (before && before->rank != 5) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its past has rank %d, expected 5", before->rank);
  for (int i = 0; i < 2; i++) {
    Value *half = before ? build_squeeze(b, build_slice_axis(b, before, 0, i, 1), (int64_t[]){0}, 1) : NULL;
    if (half) x[i + 1] = build_concat2(b, half, x[i + 1], 2);
  }
  TRY(translate_end(t, b));
  Masking m = {.filter = node_float(t->attributes, "mask_filter_value", -10000), .window = -1};
  m.added = added >= 0 ? translate_input(t, added) : NULL;
  m.causal = node_int(t->attributes, "unidirectional", 0) != 0;
  if (m.causal) m.past = past_length(b, before);
  TRY(read_mask(t, b, mask, projected->dims[0], &m));
  if (!scale_of(t, x[0]->dims[3], &scale) || t->deferred) return translate_end(t, b);
  t->outputs[0] = merge_heads(b, attend(b, x[0], x[1], x[2], scale, &m));
  if (translate_wants(t, 1)) {
    int64_t first = 0;
    t->outputs[1] = build_concat2(b, build_unsqueeze(b, x[1], &first, 1), build_unsqueeze(b, x[2], &first, 1), 0);
  }
  return translate_end(t, b);
}

static Status packed_attention(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *weights = t->inputs[1];
  if (x->rank != 3 || weights->rank != 2)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d and its weights %d, expected 3 and 2", x->rank,
                   weights->rank);
  TRY(refuse_input(t, 6, "past_sequence_length"));
  return translate_packed_attention(t, &b, build_product(&b, x, weights), 2, 3, 4, 5);
}

// --- GroupQueryAttention: a cache of keys and values, of which each sequence of the batch has filled its own part

typedef struct Cache {
  Dim batch, queries, kept, total;  // kept: places in the cache given; total: in the one returned
  Value *past;                      // [B, 1]: how many places of it are filled
} Cache;

// past[b] = lengths[b] + 1 - queries, but 0 where everything is new: then shorter sequences of the batch are padded behind.
static Value *filled(Builder *b, const Cache *c, Value *lengths, Value *total) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 3);
  Value *queries = build_dims(b, &c->queries, 1);
  int count = program_input(p, 1, DTYPE_I64), length = program_cast(p, DTYPE_I64, program_input(p, 0, lengths->dtype));
  int past = op2(p, OP_sub, op2(p, OP_add, length, program_const_i(p, DTYPE_I64, 1)), count),
      zero = program_const_i(p, DTYPE_I64, 0);
  int fresh = op2(p, OP_eq, count, program_cast(p, DTYPE_I64, program_input(p, 2, total->dtype)));
  program_output(p, op2(p, OP_max, op3(p, OP_select, fresh, zero, past), zero));
  Value *inputs[] = {build_reshape(b, lengths, 2, (Dim[]){c->batch, 1}), queries, build_reshape(b, total, 1, (Dim[]){1})};
  return b->status ? NULL : build_elementwise(b, p, 3, inputs);
}

// The cache returned: place t holds what was at t before where that is filled, else the new element t - past, and zeros behind
// them. new: [B, S, G, H].
static Value *updated(Builder *b, const Cache *c, Value *old, Value *new) {
  DimTable *table = b->graph->dims;
  if (b->status || !new) return NULL;
  if (!old && c->total == c->queries) return build_transpose(b, new, (int[]){0, 2, 1, 3});
  Value *parts[3], *limits[2];
  int count = 0;
  if (old) parts[count++] = build_transpose(b, old, (int[]){0, 2, 1, 3});
  parts[count++] = new;
  parts[count++] = build_fill(b, new->dtype, 0, 4, (Dim[]){c->batch, 1, new->dims[2], new->dims[3]});
  Value *all = build_concat(b, count, parts, 1);
  Dim dims[] = {c->batch, c->total}, zeros = dim_add(table, c->kept, c->queries);
  limits[0] = build_dims(b, &c->kept, 1);
  limits[1] = build_dims(b, &zeros, 1);
  Program *p = program_new(b->graph->arena, 3);
  int at = program_index(p, DTYPE_I64, 1), past = program_input(p, 0, DTYPE_I64);
  int moved = op2(p, OP_add, op2(p, OP_sub, at, past), program_input(p, 1, DTYPE_I64));
  moved = op2(p, OP_min, moved, program_input(p, 2, DTYPE_I64));
  program_output(p, op3(p, OP_select, op2(p, OP_lt, at, past), at, moved));
  Value *places = build_elementwise_over(b, p, 3, (Value *[]){c->past, limits[0], limits[1]}, 2, dims);
  if (b->status) return NULL;
  Value *inputs[] = {all, build_unsqueeze(b, places, (int64_t[]){2}, 1)};
  Node *node = node_start(b, "gather_nd", 2, inputs, 1);
  node_set_int(node, "batch_dims", 1);
  Value *y = node_done(b, node);
  return y ? build_transpose(b, y, (int[]){0, 2, 1, 3}) : NULL;
}

// x[B, S, N, H] turned by its positions past + s, or by those given.
static Value *turned_by_position(Translation *t, Builder *b, const Cache *c, Value *x) {
  if (b->status) return NULL;
  Value *positions = translate_input(t, 9), *tables[2];
  if (!positions) {
    Program *p = program_new(b->graph->arena, 1);
    program_output(p, op2(p, OP_add, program_input(p, 0, DTYPE_I64), program_index(p, DTYPE_I64, 1)));
    positions = build_elementwise_over(b, p, 1, (Value *[]){c->past}, 2, (Dim[]){c->batch, c->queries});
  }
  for (int i = 0; i < 2; i++)
    tables[i] = build_unsqueeze(b, build_gather(b, t->inputs[7 + i], positions, 0), (int64_t[]){2}, 1);
  if (b->status) return NULL;
  Dim turns = dim_mul(b->graph->dims, tables[0]->dims[3], 2);
  return rotary_turn(b, x, tables[0], tables[1], turns, node_int(t->attributes, "rotary_interleaved", 0) != 0);
}

static Status check_group_query(Translation *t) {
  static const char *const names[] = {"k_scale", "v_scale", "q_norm_weight", "k_norm_weight", "query_seqlens"};
  static const char *const quantized[] = {"k_quant_type", "v_quant_type"};
  for (int i = 0; i < 5; i++) TRY(refuse_input(t, 12 + i, names[i]));
  TRY(refuse_value(t, "qk_output", 0));
  TRY(refuse_value(t, "sliding_window_cache", 0));
  TRY(refuse_value(t, "kv_cache_bit_width", 0));
  TRY(refuse_value(t, "causal", 1));
  for (int i = 0; i < 2; i++)
    if (strcmp(node_string(t->attributes, quantized[i], "NONE"), "NONE") != 0)
      TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "%s is not NONE", quantized[i]);
  if (translate_wants(t, 3)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "its output 3, output_qk, is not supported");
  if (t->inputs[0]->rank != 3) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its query has rank %d, expected 3", t->inputs[0]->rank);
  bool rotary = node_int(t->attributes, "do_rotary", 0) != 0;
  if (rotary && (!translate_has(t, 7) || !translate_has(t, 8)))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "do_rotary is set without tables");
  return OK;
}

// Query, keys and values as [B, S, heads, H]; keys and values may be packed behind the query.
static void group_query_parts(Translation *t, Builder *b, int64_t heads, int64_t groups, Value *parts[3]) {
  Value *q = t->inputs[0], *x[3] = {q, translate_input(t, 1), translate_input(t, 2)};
  DimTable *table = t->graph->dims;
  Dim size = dim_div(table, q->dims[2], x[1] ? heads : heads + 2 * groups), at = 0;
  int64_t counts[] = {heads, groups, groups};
  for (int i = 0; i < 3; i++) {
    Dim width = dim_mul(table, size, counts[i]);
    Value *part = x[1] ? x[i] : build_slice_axis(b, q, 2, at, width);
    at = dim_add(table, at, width);
    parts[i] = part ? build_reshape(b, part, 4, (Dim[]){part->dims[0], part->dims[1], counts[i], size}) : NULL;
  }
}

static Status group_query_attention(Translation *t) {
  Builder b = translate_begin(t);
  int64_t heads, groups;
  double scale;
  const Dim *total;
  int count;
  TRY(heads_attribute(t, "num_heads", &heads));
  TRY(heads_attribute(t, "kv_num_heads", &groups));
  TRY(check_group_query(t));
  NEED_SIZES(t, 6, &total, &count, 1);
  Value *parts[3], *old[] = {NULL, translate_input(t, 3), translate_input(t, 4)};
  group_query_parts(t, &b, heads, groups, parts);
  TRY(translate_end(t, &b));
  if (!parts[1] || !parts[2]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its value is missing");
  if (!scale_of(t, parts[0]->dims[3], &scale)) return OK;
  Cache c = {.batch = parts[0]->dims[0], .queries = parts[0]->dims[1], .kept = old[1] ? old[1]->dims[2] : 0};
  c.total = dim_most(t->graph->dims, c.kept, *total);
  c.past = filled(&b, &c, t->inputs[5], t->inputs[6]);
  if (node_int(t->attributes, "do_rotary", 0))
    for (int i = 0; i < 2; i++) parts[i] = turned_by_position(t, &b, &c, parts[i]);
  Value *q = b.status ? NULL : build_transpose(&b, parts[0], (int[]){0, 2, 1, 3}), *present[3];
  for (int i = 1; i < 3; i++) present[i] = updated(&b, &c, old[i], parts[i]);
  TRY(translate_end(t, &b));
  Masking m = {.causal = true, .added = translate_input(t, 10), .softcap = node_float(t->attributes, "softcap", 0)};
  m.window = node_int(t->attributes, "local_window_size", -1);
  m.past = build_reshape(&b, c.past, 4, (Dim[]){c.batch, 1, 1, 1});
  m.sink = translate_has(t, 11) ? build_reshape(&b, t->inputs[11], 4, (Dim[]){1, heads, 1, 1}) : NULL;
  if (!m.sink && node_int(t->attributes, "smooth_softmax", 0) > 0) m.sink = build_fill(&b, q->dtype, 0, 4, (Dim[]){1, 1, 1, 1});
  t->outputs[0] = merge_heads(&b, attend(&b, q, present[1], present[2], scale, &m));
  for (int i = 1; i < 3; i++)
    if (translate_wants(t, i)) t->outputs[i] = present[i];
  return translate_end(t, &b);
}

// --- RotaryEmbedding: positions count from an offset, or are given for each element

static Status rotary(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0], *positions = t->inputs[1], *tables[2] = {t->inputs[2], t->inputs[3]};
  DimTable *table = t->graph->dims;
  TRY(refuse_value(t, "is_packed_batching", 0));
  if (node_float(t->attributes, "scale", 1) != 1) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "scale is not 1");
  if (x->rank != 3 && x->rank != 4) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its input has rank %d, expected 3 or 4", x->rank);
  int64_t heads = node_int(t->attributes, "num_heads", 0), partial = node_int(t->attributes, "rotary_embedding_dim", 0);
  Dim half = tables[0]->dims[1], turns = dim_mul(table, half, 2);
  if (partial > 0 && heads < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_heads is missing beside rotary_embedding_dim");
  if (x->rank == 4) x = build_transpose(&b, x, (int[]){0, 2, 1, 3});
  else {
    Dim count = heads > 0 ? heads : dim_div(table, x->dims[2], turns),
        size = heads > 0 ? dim_div(table, x->dims[2], heads) : turns;
    x = build_reshape(&b, x, 4, (Dim[]){x->dims[0], x->dims[1], count, size});
  }
  TRY(translate_end(t, &b));
  if (positions->rank == 1) {
    Program *p = program_new(t->graph->arena, 1);
    program_output(p, op2(p, OP_add, program_input(p, 0, DTYPE_I64), program_index(p, DTYPE_I64, 1)));
    Value *offset = build_reshape(&b, positions, 2, (Dim[]){1, 1});
    positions = b.status ? NULL : build_elementwise_over(&b, p, 1, &offset, 2, (Dim[]){1, x->dims[1]});
  }
  for (int i = 0; i < 2; i++) tables[i] = build_unsqueeze(&b, build_gather(&b, tables[i], positions, 0), (int64_t[]){2}, 1);
  Value *y = rotary_turn(&b, x, tables[0], tables[1], turns, node_int(t->attributes, "interleaved", 0) != 0);
  TRY(translate_end(t, &b));
  t->outputs[0] =
      t->inputs[0]->rank == 4 ? build_transpose(&b, y, (int[]){0, 2, 1, 3}) : build_reshape(&b, y, 3, t->inputs[0]->dims);
  return translate_end(t, &b);
}

const OnnxOp onnx_microsoft_attention_ops[] = {
    {"com.microsoft", "MultiHeadAttention", 1, 0, 1, 10, 1, 4, multi_head_attention},
    {"com.microsoft", "Attention", 1, 0, 2, 7, 1, 2, packed_attention},
    {"com.microsoft", "GroupQueryAttention", 1, 0, 7, 17, 1, 4, group_query_attention},
    {"com.microsoft", "RotaryEmbedding", 1, 0, 4, 4, 1, 1, rotary},
    {0},
};
