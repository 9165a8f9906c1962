// sequence: tensors held together. Every operator on sequences is translated into what it does to the elements, once these are known;
// what remains are states, results and inputs, which the runner carries. There is nothing to compute.
#include "kernels/sequence/sequence.h"

static Status infer_sequence(Node *node) {
  Value *out = node->outputs[0];
  DType empty = out->dtype < DTYPE_COUNT ? out->dtype : DTYPE_F32;
  value_set_type(out, node->input_count ? node->inputs[0]->dtype : empty, -1, NULL);
  out->kind = VALUE_SEQUENCE;
  return OK;
}

const OpDef op_sequence = {"sequence",      "tensors held together", 0, -1, 1, 1, .infer = infer_sequence,
                           .is_list = true, .exact_values = true};

static Status infer_nothing(Node *node) {
  value_set_type(node->outputs[0], DTYPE_COUNT, -1, NULL);
  node->outputs[0]->kind = VALUE_OPTIONAL;
  return OK;
}

const OpDef op_nothing = {
    "nothing", "an optional without an element", 0, 0, 1, 1, .infer = infer_nothing, .is_list = true, .exact_values = true};
