// The list of translation tables: one row a file of onnx/ops/.
#include "onnx/translate.h"

extern const OnnxOp onnx_basic_ops[];

const OnnxOp *const onnx_ops[] = {
    onnx_basic_ops,
    NULL,
};
