// The row of `deferred`. Nothing is inferred: its outputs have the types that were declared for them, or none, until the
// executor has translated the node, so inference leaves them as they are. Its attributes are those of any ONNX operator.
#include "kernels/deferred.h"
#include "base/checked.h"

static Status infer_deferred(Node *node) {
  static const char *const strings[] = {DEFERRED_OP_TYPE, DEFERRED_DOMAIN, DEFERRED_NAME};
  for (size_t i = 0; i < COUNT_OF(strings); i++)
    if (!node_string(node, strings[i], NULL)) FAIL(ERROR_INVALID_MODEL, "a deferred node without %s", strings[i]);
  int64_t opset = node_int(node, DEFERRED_OPSET, 0);
  if (opset < 1 || opset > INT32_MAX) FAIL(ERROR_INVALID_MODEL, "%s is %lld", DEFERRED_OPSET, (long long)opset);
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
    .exact_values = true,
};
