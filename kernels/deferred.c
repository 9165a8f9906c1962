// The row of `deferred`. Nothing is inferred: its outputs have the types that were declared for them, or none, until the
// executor has translated the node, so inference leaves them as they are. Its attributes are those of any ONNX operator.
#include "kernels/deferred.h"

static Status infer_deferred(Node *node) {
  if (!node_string(node, DEFERRED_OP_TYPE, NULL)) FAIL(ERROR_INVALID_MODEL, "a deferred node without %s", DEFERRED_OP_TYPE);
  return OK;
}

const OpDef op_deferred = {
    .name = "deferred",
    .help = "an ONNX operator that waits for operands known only at run time",
    .min_inputs = 0,
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = -1,
    .attributes = NULL,  // any
    .infer = infer_deferred,
    .data_dependent = true,
};
