// The driver of the translations: runs one, undoes it where it has to wait or fails, and keeps what waits as a `deferred` node.
//
// A translation appends nodes before `at`. Everything it appended lies between the node that was before `at` when it began and
// `at` itself, so undoing is removing that stretch from its end; constants it made stay behind unused and cost nothing.
#include "onnx/ops/translate.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/build.h"
#include "kernels/sequence/sequence.h"
#include "onnx/ops/node_check.h"
#include "onnx/ops/waiting.h"

const OnnxOp *onnx_op_find(const char *domain, const char *name, int opset, int *version) {
  const OnnxOp *first = NULL;
  *version = opset;
  for (const OnnxOp *const *table = onnx_ops; *table; table++) {
    for (const OnnxOp *op = *table; op->name; op++) {
      if (strcmp(op->name, name) != 0 || strcmp(op->domain, domain) != 0) continue;
      if (op->since <= opset && (op->until == 0 || opset <= op->until)) return op;
      if (!first || op->since < first->since) first = op;
    }
  }
  if (!first || opset >= first->since) return NULL;
  *version = first->since;
  return first;
}

bool onnx_op_known(const char *domain, const char *name) {
  for (const OnnxOp *const *table = onnx_ops; *table; table++)
    for (const OnnxOp *op = *table; op->name; op++)
      if (strcmp(op->name, name) == 0 && strcmp(op->domain, domain) == 0) return true;
  return false;
}

bool translate_has(const Translation *t, int input) { return input < t->input_count && t->inputs[input]; }

bool translate_dims(const Translation *t, int input, const Dim **dims, int *count) {
  *dims = NULL;
  *count = 0;
  if (!translate_has(t, input)) return false;
  *dims = build_contents(t->graph, t->inputs[input], count);
  return *dims != NULL;
}

bool translate_ints(const Translation *t, int input, const int64_t **values, int *count) {
  const Dim *dims;
  *values = NULL;
  if (!translate_dims(t, input, &dims, count)) return false;
  int64_t *out = arena_array(t->graph->arena, int64_t, (size_t)*count + 1);
  for (int i = 0; i < *count; i++)
    if (!dim_get_constant(t->graph->dims, dims[i], &out[i])) return false;
  *values = out;
  return true;
}

const Tensor *translate_constant(const Translation *t, int input) {
  return translate_has(t, input) ? t->inputs[input]->constant : NULL;
}

// The nodes between `before` (NULL: the graph's start) and `at` (NULL: its end).
static void remove_appended(Graph *graph, Node *before, Node *at) {
  for (;;) {
    Node *last = at ? at->previous : graph->last;
    if (last == before) return;
    node_remove(last);
  }
}

static bool input_unknown(const Translation *t) {
  for (int i = 0; i < t->input_count; i++) {
    const Value *value = t->inputs[i];
    if (!value) continue;
    if (value->kind == VALUE_TENSOR && (value->dtype == DTYPE_COUNT || value->rank < 0)) return true;
    if (value->kind == VALUE_OPTIONAL && !(value->producer && value->producer->op == &op_nothing)) return true;
  }
  return false;
}

// The values are immutable and in the graph's arena, so the copy shares them.
static void copy_attributes(Node *into, const Node *from) {
  if (!from || !from->attribute_count) return;
  into->attributes = arena_copy(into->graph->arena, from->attributes, sizeof *from->attributes * (size_t)from->attribute_count);
  into->attribute_count = from->attribute_count;
  into->attribute_capacity = (uint32_t)from->attribute_count;
}

static Status append_deferred(Translation *t) {
  Graph *graph = t->graph;
  Node *node = graph_add(graph, t->at, &op_deferred, t->input_count, t->inputs, t->output_count);
  copy_attributes(node, t->attributes);
  node_set_string(node, DEFERRED_OP_TYPE, t->op_type);
  node_set_string(node, DEFERRED_DOMAIN, t->domain);
  node_set_string(node, DEFERRED_NAME, t->name);
  node_set_int(node, DEFERRED_OPSET, t->opset);
  for (int i = 0; i < t->output_count; i++) t->outputs[i] = node->outputs[i];
  waiting_types(t, node);
  Status status = node_infer(node);
  if (status) node_remove(node);
  return status;
}

// Runs the translation; t->deferred says whether it has to wait. Nothing is left behind unless it succeeded.
static Status attempt(Translation *t) {
  const OnnxOp *op = onnx_op_find(t->domain, t->op_type, t->opset, &t->opset);
  if (!op)
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "version %d of domain '%s' has no such operator here", t->opset,
                   t->domain[0] ? t->domain : "ai.onnx");
  TRY(node_check(t, op));
  memset(t->outputs, 0, sizeof *t->outputs * (size_t)t->output_count);
  t->deferred = input_unknown(t);
  t->wants = -1;
  if (t->deferred) return OK;
  Node *before = t->at ? t->at->previous : t->graph->last;
  Status status = op->translate(t);
  for (int i = 0; !status && !t->deferred && i < t->output_count; i++)
    if (!t->outputs[i] && i < op->min_outputs)
      status = status_context(status_make(ERROR_INTERNAL, "the translation left output %d out", i), "node '%s' (%s)", t->name,
                              t->op_type);
  if (status || t->deferred) {
    memset(t->outputs, 0, sizeof *t->outputs * (size_t)t->output_count);
    remove_appended(t->graph, before, t->at);
  }
  return status;
}

Status translate_run(Translation *t) {
  TRY(attempt(t));
  return t->deferred ? append_deferred(t) : OK;
}

static Status copy_list(Graph *graph, Node *at, const Value *x, Value **out) {
  const Node *list = x->producer;
  Node *copy = graph_add(graph, at, list->op, list->input_count, list->inputs, 1);
  *out = copy->outputs[0];
  TRY(node_infer(copy));
  (*out)->dtype = x->dtype;
  return OK;
}

Status translate_copy(Graph *graph, Node *at, Value *x, Value **out) {
  if (x->kind != VALUE_TENSOR && x->producer && (x->producer->op == &op_sequence || x->producer->op == &op_nothing))
    return copy_list(graph, at, x, out);
  if (x->kind == VALUE_TENSOR && x->dtype != DTYPE_COUNT && x->rank >= 0) return build_copy(graph, at, x, out);
  Translation t = {.graph = graph,
                   .at = at,
                   .op_type = "Identity",
                   .domain = "",
                   .name = x->name,
                   .opset = 16,
                   .input_count = 1,
                   .inputs = &x,
                   .output_count = 1,
                   .outputs = out};
  return append_deferred(&t);
}

static void note_wants(Node *node, const Translation *t) {
  if (t->wants >= 0) node_set_int(node, DEFERRED_WANTS, t->wants);
}

Status translate_deferred(Node *node, Value **results, bool *done) {
  Graph *graph = node->graph;
  int count = node->output_count;
  Translation t = {
      .graph = graph,
      .at = node,
      .op_type = node_string(node, DEFERRED_OP_TYPE, ""),
      .domain = node_string(node, DEFERRED_DOMAIN, ""),
      .name = node_string(node, DEFERRED_NAME, ""),
      .opset = (int)node_int(node, DEFERRED_OPSET, 1),
      .input_count = node->input_count,
      .inputs = node->inputs,
      .output_count = count,
      .outputs = arena_array(graph->arena, Value *, (size_t)count + 1),
      .attributes = node,
  };
  while (t.input_count > 0 && !t.inputs[t.input_count - 1]) t.input_count--;
  Origin *origins = graph->current_origins;
  int origin_count = graph->current_origin_count;
  graph->current_origins = node->origins;
  graph->current_origin_count = node->origin_count;
  *done = false;
  Status status = attempt(&t);
  graph->current_origins = origins;
  graph->current_origin_count = origin_count;
  if (!status && t.deferred) note_wants(node, &t);
  if (status || t.deferred) return status;
  for (int i = 0; i < count; i++)
    if (!t.outputs[i] && value_use_count(node->outputs[i]))
      TRANSLATE_FAIL(&t, ERROR_UNSUPPORTED, "output %d is used but not computed", i);
  for (int i = 0; i < count; i++) {
    if (!t.outputs[i]) continue;
    Value *result = t.outputs[i];
    if (node->outputs[i]->is_output && (result->is_input || result->is_output))
      TRY(translate_copy(graph, node, result, &result));
    value_replace(node->outputs[i], result);
    if (results) results[i] = result;
  }
  node_remove(node);
  *done = true;
  return OK;
}
