// The list of translation tables: one row a file of onnx/ops/.
#include "onnx/translate.h"

extern const OnnxOp onnx_activation_ops[], onnx_attention_ops[], onnx_cast_ops[], onnx_control_ops[], onnx_conv_ops[],
    onnx_einsum_ops[], onnx_elementwise_ops[], onnx_gather_ops[], onnx_linear_ops[], onnx_linear_attention_ops[],
    onnx_loss_ops[], onnx_movement_ops[], onnx_normalize_ops[], onnx_pool_ops[], onnx_quantize_ops[], onnx_random_ops[],
    onnx_recurrent_ops[], onnx_reduce_ops[], onnx_resize_ops[], onnx_sequence_ops[], onnx_shape_ops[], onnx_signal_ops[],
    onnx_sort_ops[], onnx_text_ops[];

const OnnxOp *const onnx_ops[] = {
    onnx_activation_ops, onnx_attention_ops,   onnx_cast_ops,      onnx_control_ops, onnx_conv_ops,
    onnx_einsum_ops,     onnx_elementwise_ops, onnx_gather_ops,    onnx_linear_ops,  onnx_linear_attention_ops,
    onnx_loss_ops,       onnx_movement_ops,    onnx_normalize_ops, onnx_pool_ops,    onnx_quantize_ops,
    onnx_random_ops,     onnx_recurrent_ops,   onnx_reduce_ops,    onnx_resize_ops,  onnx_sequence_ops,
    onnx_shape_ops,      onnx_signal_ops,      onnx_sort_ops,      onnx_text_ops,    NULL,
};
