// A convolution pads by itself: zeros put around its input by a Pad become part of its own padding. Exact where weights are finite: what it
// pads itself it does not multiply, and zero times infinity is no number. Constants that are not are left alone.
#include <math.h>
#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/pad/pad.h"
#include "passes/rewrite.h"

static bool pads_with_zero(const Node *pad) {
  if (strcmp(node_string(pad, "mode", "constant"), "constant")) return false;
  if (pad->input_count < 2 || !pad->inputs[1]) return true;
  const Tensor *value = pad->inputs[1]->constant;
  return value && tensor_get_f(value, 0) == 0;
}

static bool may_be_finite(const Value *weights) {
  const Tensor *tensor = weights->constant;
  for (int64_t i = 0, count = tensor ? tensor_count(tensor) : 0; i < count; i++)
    if (!isfinite(tensor_get_f(tensor, i))) return false;
  return true;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  FOR_NODES_SAFE(node, graph) {
    if (node->op != &op_conv || !node->inputs[0]->producer || node->inputs[0]->producer->op != &op_pad) continue;
    Node *pad = node->inputs[0]->producer;
    int rank = node->inputs[0]->rank, count;
    const Dim *extra = node_dims(pad, "pads", &count);
    if (only_user(node->inputs[0]) != node || !pads_with_zero(pad) || count != 2 * rank) continue;
    if (dtype_is_float(node->inputs[1]->dtype) && !may_be_finite(node->inputs[1])) continue;
    int64_t pads[2 * MAX_RANK] = {0};
    const int64_t *own = node_ints(node, "pads", &count);
    bool fits = extra[0] == 0 && extra[1] == 0 && extra[rank] == 0 && extra[rank + 1] == 0;
    int spatial = rank - 2;
    for (int i = 0; i < spatial && fits; i++) {
      fits = dim_is_static(extra[2 + i]) && dim_is_static(extra[rank + 2 + i]);
      pads[i] = extra[2 + i] + (own ? own[i] : 0);
      pads[spatial + i] = extra[rank + 2 + i] + (own ? own[spatial + i] : 0);
    }
    if (!fits) continue;
    node_set_ints(node, "pads", pads, 2 * spatial);
    node_set_input(node, 0, pad->inputs[0]);
    node_merge_origins(node, pad);
    node_remove(pad);
    ++*changes;
  }
  return OK;
}

const Pass pass_pad_into_conv = {"pad_into_conv", "takes zero padding into convolutions", true, run};
