// Control flow. The importer made captured values explicit: they are the last inputs of the node and of each of its graphs. An `If`
// whose condition is known becomes the branch taken.
#include "onnx/ops/common.h"

static Value *as_scalar(Builder *b, Value *x) { return x && x->rank > 0 ? build_reshape(b, x, 0, NULL) : x; }

static int captures_of(const Translation *t) { return (int)node_int(t->attributes, "captures", 0); }

static Status get_graph(const Translation *t, const char *name, Graph **out) {
  *out = node_graph(t->attributes, name);
  if (!*out) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the attribute '%s' is missing", name);
  return OK;
}

static Status if_op(Translation *t) {
  Builder b = translate_begin(t);
  Graph *branches[2];
  TRY(get_graph(t, "else_branch", &branches[0]));
  TRY(get_graph(t, "then_branch", &branches[1]));
  for (int i = 0; i < 2; i++)
    if (branches[i]->output_count < t->output_count || branches[i]->input_count != t->input_count - 1)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "a branch has %d inputs and %d outputs", branches[i]->input_count,
                     branches[i]->output_count);
  const int64_t *condition;
  int count;
  if (translate_ints(t, 0, &condition, &count) && count == 1) {
    Graph *taken = branches[*condition != 0];
    Value **results = arena_array(t->graph->arena, Value *, (size_t)taken->output_count + 1);
    TRY(translate_inline(t, taken, t->inputs + 1, results));
    for (int i = 0; i < t->output_count; i++) t->outputs[i] = results[i];
    return OK;
  }
  Value **inputs = arena_copy(t->graph->arena, t->inputs, sizeof *inputs * (size_t)t->input_count);
  inputs[0] = as_scalar(&b, inputs[0]);
  TRY(translate_end(t, &b));
  Node *node = node_start(&b, "if", t->input_count, inputs, branches[1]->output_count);
  node_set_graph(node, "then_branch", branches[1]);
  node_set_graph(node, "else_branch", branches[0]);
  Value *first = node_done(&b, node);
  for (int i = 0; i < t->output_count && first; i++) t->outputs[i] = build_output(first, i);
  return translate_end(t, &b);
}

static Status loop(Translation *t) {
  Builder b = translate_begin(t);
  Graph *body;
  TRY(get_graph(t, "body", &body));
  int states = body->input_count - 2 - captures_of(t);
  if (states < 0 || body->output_count < 1 + states)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its body has %d inputs and %d outputs", body->input_count, body->output_count);
  int count = body->input_count;
  Value **inputs = arena_array(t->graph->arena, Value *, (size_t)count + 1);
  if (t->input_count > count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its body takes fewer inputs than it has");
  for (int i = 0; i < t->input_count; i++) inputs[i] = t->inputs[i];
  for (int i = 2; i < count; i++)
    if (!inputs[i]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its body takes more inputs than it has");
  for (int i = 0; i < 2; i++) inputs[i] = as_scalar(&b, inputs[i]);
  TRY(translate_end(t, &b));
  Node *node = node_start(&b, "loop", count, inputs, body->output_count - 1);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", states);
  Value *first = node_done(&b, node);
  for (int i = 0; i < MIN(t->output_count, body->output_count - 1) && first; i++) t->outputs[i] = build_output(first, i);
  return translate_end(t, &b);
}

static Status scan_axes(const Translation *t, const char *name, int count, int64_t *out) {
  int given;
  const int64_t *values = node_ints(t->attributes, name, &given);
  if (values && given != count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "%s has %d values, expected %d", name, given, count);
  for (int i = 0; i < count; i++) out[i] = values ? values[i] : 0;
  return OK;
}

// The core node: states, scan inputs and captures go in; the axes are normalised.
static Status scan_node(Translation *t, Builder *b, Graph *body, int inputs, Value *const *values, int scans, Value **first) {
  int states = body->input_count - scans - captures_of(t), slices = body->output_count - states;
  if (states < 0 || slices < 0 || inputs != body->input_count || t->output_count > body->output_count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its body has %d inputs and %d outputs", body->input_count, body->output_count);
  for (int i = 0; i < inputs; i++)
    if (!values[i]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is missing", i);
  Arena *arena = t->graph->arena;
  int64_t *in_axes = arena_array(arena, int64_t, (size_t)scans + 1),
          *in_directions = arena_array(arena, int64_t, (size_t)scans + 1);
  int64_t *out_axes = arena_array(arena, int64_t, (size_t)slices + 1),
          *out_directions = arena_array(arena, int64_t, (size_t)slices + 1);
  TRY(scan_axes(t, "scan_input_axes", scans, in_axes));
  TRY(scan_axes(t, t->opset < 9 ? "directions" : "scan_input_directions", scans, in_directions));
  TRY(scan_axes(t, "scan_output_axes", slices, out_axes));
  TRY(scan_axes(t, "scan_output_directions", slices, out_directions));
  for (int i = 0; i < scans; i++) {
    int axis;
    TRY(normalise_axis(t, in_axes[i], values[states + i]->rank, &axis));
    in_axes[i] = axis;
  }
  for (int i = 0; i < slices; i++) {
    int axis, rank = body->outputs[states + i]->rank;
    if (rank < 0) continue;
    TRY(normalise_axis(t, out_axes[i], rank + 1, &axis));
    out_axes[i] = axis;
  }
  Node *node = node_start(b, "scan", inputs, values, body->output_count);
  node_set_graph(node, "body", body);
  node_set_int(node, "states", states);
  node_set_int(node, "scan_inputs", scans);
  node_set_ints(node, "input_axes", in_axes, scans);
  node_set_ints(node, "input_directions", in_directions, scans);
  node_set_ints(node, "output_axes", out_axes, slices);
  node_set_ints(node, "output_directions", out_directions, slices);
  *first = node_done(b, node);
  return translate_end(t, b);
}

static Status scan(Translation *t) {
  Builder b = translate_begin(t);
  Graph *body;
  TRY(get_graph(t, "body", &body));
  Value *first;
  int scans = (int)node_int(t->attributes, "num_scan_inputs", 0);
  if (scans < 1 || scans > t->input_count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_scan_inputs is %d", scans);
  TRY(scan_node(t, &b, body, t->input_count, t->inputs, scans, &first));
  for (int i = 0; i < t->output_count; i++) t->outputs[i] = build_output(first, i);
  return OK;
}

// Opset 8 scans every element of a batch by itself: a scan over the batch whose body is the scan over time.
static Status scan_batched(Translation *t) {
  Builder b = translate_begin(t);
  Graph *body;
  TRY(get_graph(t, "body", &body));
  if (translate_has(t, 0)) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "sequence_lens is given");
  int count = t->input_count - 1, scans = (int)node_int(t->attributes, "num_scan_inputs", 0), captures = captures_of(t);
  if (count < 1 || scans < 1 || scans > count - captures)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "num_scan_inputs is %d", scans);
  int each = count - captures;
  Graph *outer = graph_new_inside(t->graph, "batch");
  Value **inner = arena_array(t->graph->arena, Value *, (size_t)count + 1);
  for (int i = 0; i < count; i++) {
    const Value *x = t->inputs[i + 1];
    if (!x) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is missing", i + 1);
    if (i < each && x->rank < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has no batch axis", i + 1);
    inner[i] = i < each ? graph_add_input(outer, NULL, x->dtype, x->rank - 1, x->dims + 1)
                        : graph_add_input(outer, NULL, x->dtype, x->rank, x->dims);
  }
  Builder within = {outer, NULL, OK};
  Value *first;
  TRY(scan_node(t, &within, body, count, inner, scans, &first));
  for (int i = 0; i < t->output_count; i++) graph_mark_output(outer, build_output(first, i));
  int64_t *zeros = arena_array(t->graph->arena, int64_t, (size_t)(each + t->output_count) + 1);
  Node *node = node_start(&b, "scan", count, t->inputs + 1, t->output_count);
  node_set_graph(node, "body", outer);
  node_set_int(node, "states", 0);
  node_set_int(node, "scan_inputs", each);
  node_set_ints(node, "input_axes", zeros, each);
  node_set_ints(node, "input_directions", zeros, each);
  node_set_ints(node, "output_axes", zeros, t->output_count);
  node_set_ints(node, "output_directions", zeros, t->output_count);
  first = node_done(&b, node);
  for (int i = 0; i < t->output_count && first; i++) t->outputs[i] = build_output(first, i);
  return translate_end(t, &b);
}

const OnnxOp onnx_control_ops[] = {
    {"", "If", 1, 0, 1, -1, 1, -1, if_op},
    {"", "Loop", 1, 0, 0, -1, 0, -1, loop},
    {"", "Scan", 8, 8, 0, -1, 1, -1, scan_batched},
    {"", "Scan", 9, 0, 1, -1, 1, -1, scan},
    {0},
};
