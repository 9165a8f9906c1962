// Ordering, running sums and selection of boxes.
#include "onnx/ops/common.h"

static Status topk_of(Translation *t, Dim k) {
  Builder b = translate_begin(t);
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", -1), t->inputs[0]->rank, &axis));
  Node *node = node_start(&b, "topk", 1, t->inputs, 2);
  node_set_dims(node, "k", &k, 1);
  node_set_int(node, "axis", axis);
  node_set_int(node, "largest", node_int(t->attributes, "largest", 1));
  node_set_int(node, "sorted", node_int(t->attributes, "sorted", 1));
  t->outputs[0] = node_done(&b, node);
  if (t->outputs[0]) t->outputs[1] = build_output(t->outputs[0], 1);
  return translate_end(t, &b);
}

static Status topk_old(Translation *t) {
  int64_t k = node_int(t->attributes, "k", -1);
  if (k < 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "k is %lld", (long long)k);
  return topk_of(t, k);
}

static Status topk(Translation *t) {
  const Dim *k;
  int count;
  NEED_SIZES(t, 1, &k, &count, 1);
  return topk_of(t, *k);
}

static Status unique(Translation *t) {
  Builder b = translate_begin(t);
  Node *node = node_start(&b, "unique", 1, t->inputs, 4);
  if (node_attribute(t->attributes, "axis")) {
    int axis;
    TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), t->inputs[0]->rank, &axis));
    node_set_int(node, "axis", axis);
  }
  node_set_int(node, "sorted", node_int(t->attributes, "sorted", 1));
  Value *first = node_done(&b, node);
  for (int i = 0; i < t->output_count && first; i++) t->outputs[i] = build_output(first, i);
  return translate_end(t, &b);
}

static Status cumulative(Translation *t) {
  Builder b = translate_begin(t);
  const int64_t *given;
  int count, axis;
  NEED_INTS(t, 1, &given, &count);
  TRY(normalise_axis(t, given[0], t->inputs[0]->rank, &axis));
  Node *node = node_start(&b, "cumulative", 1, t->inputs, 1);
  node_set_string(node, "kind", strcmp(t->op_type, "CumProd") == 0 ? "prod" : "sum");
  node_set_int(node, "axis", axis);
  node_set_int(node, "exclusive", node_int(t->attributes, "exclusive", 0));
  node_set_int(node, "reverse", node_int(t->attributes, "reverse", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

static Status non_max_suppression(Translation *t) {
  Builder b = translate_begin(t);
  Value *inputs[5];
  for (int i = 0; i < 5; i++) inputs[i] = translate_input(t, i);
  Node *node = node_start(&b, "nms", t->input_count, inputs, 1);
  node_set_int(node, "center_point_box", node_int(t->attributes, "center_point_box", 0));
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

const OnnxOp onnx_sort_ops[] = {
    {"", "TopK", 1, 9, 1, 1, 2, 2, topk_old},
    {"", "TopK", 10, 0, 2, 2, 2, 2, topk},
    {"", "Unique", 11, 0, 1, 1, 1, 4, unique},
    {"", "CumSum", 11, 0, 2, 2, 1, 1, cumulative},
    {"", "CumProd", 26, 0, 2, 2, 1, 1, cumulative},
    {"", "NonMaxSuppression", 10, 0, 2, 5, 1, 1, non_max_suppression},
    {0},
};
