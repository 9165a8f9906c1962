// LSTM, GRU and RNN: one core operator. layout 1 has the batch first and is transposed around it.
#include "onnx/ops/common.h"

static Value *swap_input(Builder *b, Value *x, bool swap) { return x && swap ? build_swap(b, x, 0, 1) : x; }

static void copy_floats(Node *node, const Node *from, const char *name, const char *as) {
  int count;
  const double *values = node_floats(from, name, &count);
  if (values) node_set_floats(node, as, values, count);
}

static Status recurrent(Translation *t) {
  Builder b = translate_begin(t);
  const Node *a = t->attributes;
  bool batch_first = node_int(a, "layout", 0) != 0, lstm = strcmp(t->op_type, "LSTM") == 0,
       gru = strcmp(t->op_type, "GRU") == 0;
  for (int i = 0; i < 3; i++)
    if (t->inputs[i]->rank != 3)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d has rank %d, expected 3", i, t->inputs[i]->rank);
  Value *inputs[8] = {0};
  for (int i = 0; i < 8; i++) inputs[i] = translate_input(t, i);
  inputs[0] = swap_input(&b, inputs[0], batch_first);
  for (int i = 5; i <= 6; i++) inputs[i] = swap_input(&b, inputs[i], batch_first);
  int count = 8;
  while (!inputs[count - 1]) count--;
  Node *node = node_start(&b, "recurrent", count, inputs, lstm ? 3 : 2);
  node_set_string(node, "kind", lstm ? "lstm" : gru ? "gru" : "rnn");
  node_set_string(node, "direction", node_string(a, "direction", "forward"));
  int names;
  const char *const *activations = node_strings(a, "activations", &names);
  if (activations) node_set_strings(node, "activations", activations, names);
  copy_floats(node, a, "activation_alpha", "alpha");
  copy_floats(node, a, "activation_beta", "beta");
  Dim hidden = t->inputs[2]->dims[t->inputs[2]->rank - 1];
  int64_t size = node_int(a, "hidden_size", dim_is_static(hidden) ? hidden : 0);
  if (size < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "hidden_size is missing");
  node_set_int(node, "hidden", size);
  if (node_attribute(a, "clip")) node_set_float(node, "clip", node_float(a, "clip", 0));
  if (gru) node_set_int(node, "linear_before_reset", node_int(a, "linear_before_reset", 0));
  if (lstm) node_set_int(node, "input_forget", node_int(a, "input_forget", 0));
  Value *y = node_done(&b, node);
  for (int i = 0; i < t->output_count && y; i++) {
    Value *out = build_output(y, i);
    if (batch_first && i == 0) out = build_transpose(&b, out, (int[]){2, 0, 1, 3});
    else if (batch_first) out = build_swap(&b, out, 0, 1);
    t->outputs[i] = out;
  }
  return translate_end(t, &b);
}

const OnnxOp onnx_recurrent_ops[] = {
    {"", "LSTM", 1, 0, 3, 8, 0, 3, recurrent},
    {"", "GRU", 1, 0, 3, 6, 0, 2, recurrent},
    {"", "RNN", 1, 0, 3, 6, 0, 2, recurrent},
    {0},
};
