// sequence: tensors held together. Every operator on sequences is translated into what it does to the elements, so that none of these
// nodes has a use left when a model has been imported; there is nothing to compute.
#include "kernels/sequence/sequence.h"

static Status infer_sequence(Node *node) {
  Value *out = node->outputs[0];
  value_set_type(out, node->input_count ? node->inputs[0]->dtype : DTYPE_F32, -1, NULL);
  out->kind = VALUE_SEQUENCE;
  return OK;
}

const OpDef op_sequence = {"sequence", "tensors held together", 0, -1, 1, 1, .infer = infer_sequence};
