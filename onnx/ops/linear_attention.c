// Linear attention: a recurrence over time whose state is a matrix for each head, as a core scan. Everything inside is f32, as the
// operator defines. Query heads that share a key head are further rows of one product.
#include "onnx/ops/common.h"

// [B, T, H * D] becomes [B, H, T, D] in f32.
static Value *heads_of(Builder *b, Value *x, int64_t heads) {
  if (b->status || !x) return NULL;
  Dim dims[] = {x->dims[0], x->dims[1], heads, dim_div(b->graph->dims, x->dims[2], heads)};
  Value *y = build_transpose(b, build_reshape(b, x, 4, dims), (int[]){0, 2, 1, 3});
  return y && y->dtype != DTYPE_F32 ? build_cast(b, y, DTYPE_F32) : y;
}

typedef struct Rule {
  bool gated, delta;
  double scale;
  int64_t query_heads, heads;
} Rule;

static Value *pointwise(Builder *b, int count, Value *const *inputs, int (*body)(Program *p, const int *in)) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, count);
  int in[4];
  for (int i = 0; i < count; i++) in[i] = program_input(p, i, DTYPE_F32);
  program_output(p, body(p, in));
  return build_elementwise(b, p, count, inputs);
}

static int decayed(Program *p, const int *in) { return op2(p, OP_mul, in[0], op1(p, OP_exp, in[1])); }
static int corrected(Program *p, const int *in) { return op2(p, OP_mul, in[2], op2(p, OP_sub, in[0], in[1])); }
static int accumulated(Program *p, const int *in) { return op2(p, OP_add, in[0], op2(p, OP_mul, in[1], in[2])); }

// One step: slices[] are q, k, v and, where the rule has them, decay and beta, each [B, H, D].
static Status step_graph(Builder *b, const Rule *rule, Value *state, Value *const *slices) {
  DimTable *table = b->graph->dims;
  Value *q = slices[0], *k = slices[1], *v = slices[2], *decay = rule->gated ? slices[3] : NULL;
  Value *beta = rule->delta ? slices[3 + rule->gated] : NULL;
  Value *column = build_unsqueeze(b, k, (int64_t[]){3}, 1), *row = build_unsqueeze(b, v, (int64_t[]){2}, 1);
  if (decay) state = pointwise(b, 2, (Value *[]){state, build_unsqueeze(b, decay, (int64_t[]){3}, 1)}, decayed);
  if (beta) {
    Value *retrieved = build_matmul(b, build_unsqueeze(b, k, (int64_t[]){2}, 1), state);
    row = pointwise(b, 3, (Value *[]){row, retrieved, build_unsqueeze(b, beta, (int64_t[]){3}, 1)}, corrected);
  }
  state = pointwise(b, 3, (Value *[]){state, column, row}, accumulated);
  if (b->status) return b->status;
  Dim grouped[] = {q->dims[0], rule->heads, rule->query_heads / rule->heads, q->dims[2]};
  Value *read = build_scale(b, build_matmul(b, build_reshape(b, q, 4, grouped), state), rule->scale);
  if (b->status) return b->status;
  Dim merged[] = {q->dims[0], dim_mul(table, read->dims[1], read->dims[2]), read->dims[3]};
  read = build_reshape(b, read, 3, merged);
  if (b->status) return b->status;
  graph_mark_output(b->graph, state);
  graph_mark_output(b->graph, read);
  return OK;
}

static Status read_rule(const Translation *t, Rule *rule) {
  const char *name = node_string(t->attributes, "update_rule", "gated_delta");
  rule->gated = strncmp(name, "gated", 5) == 0;
  rule->delta = strcmp(name, "delta") == 0 || strcmp(name, "gated_delta") == 0;
  if (!rule->gated && !rule->delta && strcmp(name, "linear") != 0)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "update_rule is '%s'", name);
  rule->query_heads = node_int(t->attributes, "q_num_heads", 0);
  rule->heads = node_int(t->attributes, "kv_num_heads", 0);
  if (rule->heads < 1 || rule->query_heads < 1 || rule->query_heads % rule->heads)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "q_num_heads is no multiple of kv_num_heads");
  if ((rule->gated && !translate_has(t, 4)) || (rule->delta && !translate_has(t, 5)))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "update_rule '%s' lacks an input", name);
  return OK;
}

static Status linear_attention(Translation *t) {
  Builder b = translate_begin(t);
  Rule rule = {0};
  TRY(read_rule(t, &rule));
  for (int i = 0; i < 3; i++)
    if (t->inputs[i]->rank != 3)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has rank %d, expected 3", i, t->inputs[i]->rank);
  Value *inputs[6];
  int count = 4;
  inputs[1] = heads_of(&b, t->inputs[0], rule.query_heads);
  inputs[2] = heads_of(&b, t->inputs[1], rule.heads);
  inputs[3] = heads_of(&b, t->inputs[2], rule.heads);
  if (rule.gated) inputs[count++] = heads_of(&b, t->inputs[4], rule.heads);
  if (rule.delta) {
    Value *beta = t->inputs[5];
    inputs[count++] = heads_of(&b, beta, beta->dims[2] == 1 ? 1 : rule.heads);
  }
  if (b.status) return translate_end(t, &b);
  if (!dim_is_static(inputs[1]->dims[3])) {
    t->deferred = true;
    return OK;
  }
  rule.scale = node_float(t->attributes, "scale", 0);
  if (rule.scale == 0) rule.scale = 1 / sqrt((double)inputs[1]->dims[3]);
  DType state_dtype = translate_has(t, 3) ? t->inputs[3]->dtype : t->inputs[0]->dtype;
  Dim state_dims[] = {inputs[1]->dims[0], rule.heads, inputs[1]->dims[3], inputs[3]->dims[3]};
  if (!translate_has(t, 3)) inputs[0] = build_fill(&b, DTYPE_F32, 0, 4, state_dims);
  else inputs[0] = state_dtype == DTYPE_F32 ? t->inputs[3] : build_cast(&b, t->inputs[3], DTYPE_F32);
  Graph *body = graph_new_inside(t->graph, "step");
  Value *arguments[6];
  arguments[0] = graph_add_input(body, NULL, DTYPE_F32, 4, state_dims);
  for (int i = 1; i < count; i++) {
    Dim slice[] = {inputs[i]->dims[0], inputs[i]->dims[1], inputs[i]->dims[3]};
    arguments[i] = graph_add_input(body, NULL, DTYPE_F32, 3, slice);
  }
  Builder inside = {body, NULL, OK};
  Status status = step_graph(&inside, &rule, arguments[0], arguments + 1);
  if (status) return status_context(status, "node '%s' (%s)", t->name, t->op_type);
  Node *node = node_start(&b, "scan", count, inputs, 2);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", 1);
  node_set_int(node, "scan_inputs", count - 1);
  node_set_ints(node, "input_axes", (int64_t[]){2, 2, 2, 2, 2}, count - 1);
  node_set_ints(node, "input_directions", (int64_t[]){0, 0, 0, 0, 0}, count - 1);
  node_set_ints(node, "output_axes", (int64_t[]){2}, 1);
  node_set_ints(node, "output_directions", (int64_t[]){0}, 1);
  Value *state = node_done(&b, node);
  if (!state) return translate_end(t, &b);
  Value *y = build_transpose(&b, build_output(state, 1), (int[]){0, 2, 1, 3});
  if (y) y = build_reshape(&b, y, 3, (Dim[]){y->dims[0], y->dims[1], dim_mul(t->graph->dims, y->dims[2], y->dims[3])});
  t->outputs[0] = y && t->inputs[0]->dtype != DTYPE_F32 ? build_cast(&b, y, t->inputs[0]->dtype) : y;
  if (translate_wants(t, 1)) t->outputs[1] = state_dtype != DTYPE_F32 ? build_cast(&b, state, state_dtype) : state;
  return translate_end(t, &b);
}

const OnnxOp onnx_linear_attention_ops[] = {
    {"", "LinearAttention", 27, 0, 3, 6, 1, 2, linear_attention},
    {0},
};
