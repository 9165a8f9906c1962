"""Writes mixed.onnx: a small model that meets most of what allocates: a convolution, products, a recurrent layer, a loop whose trip count
is an input, an operator whose size shows when it has run, and references.

    python tests/memory/models.py
"""
import os

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper

random = np.random.default_rng(7)


def floats(name, *shape, scale=0.3):
    return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)


def integers(name, *values, shape=None):
    array = np.array(values, dtype=np.int64)
    return numpy_helper.from_array(array.reshape(shape) if shape is not None else array, name)


def save(path, nodes, inputs, outputs, initializers):
    graph = h.make_graph(nodes, "model", inputs, outputs, initializers)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], producer_name="ingot")
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def mixed(path):
    body = h.make_graph(
        [
            h.make_node("Add", ["carried", "weights"], ["next"]),
            h.make_node("Identity", ["condition"], ["again"]),
            h.make_node("ReduceSum", ["next"], ["slice"], keepdims=0),
        ],
        "body",
        [
            h.make_tensor_value_info("iteration", T.INT64, []),
            h.make_tensor_value_info("condition", T.BOOL, []),
            h.make_tensor_value_info("carried", T.FLOAT, ["batch", 6]),
        ],
        [
            h.make_tensor_value_info("again", T.BOOL, []),
            h.make_tensor_value_info("next", T.FLOAT, ["batch", 6]),
            h.make_tensor_value_info("slice", T.FLOAT, []),
        ],
    )
    nodes = [
        h.make_node("Conv", ["x", "kernel", "bias"], ["c"], pads=[1, 1, 1, 1]),
        h.make_node("Relu", ["c"], ["r"]),
        h.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        h.make_node("Flatten", ["p"], ["f"]),
        h.make_node("Gemm", ["f", "dense", "dense_bias"], ["g"]),
        h.make_node("Softmax", ["g"], ["s"], axis=1),
        h.make_node("Unsqueeze", ["s", "zero"], ["sequence"]),
        h.make_node("LSTM", ["sequence", "w", "recurrence"], ["", "hidden"], hidden_size=5),
        h.make_node("Loop", ["trips", "", "s"], ["looped", "sums"], body=body),
        h.make_node("Greater", ["looped", "threshold"], ["large"]),
        h.make_node("NonZero", ["large"], ["places"]),
        h.make_node("GatherND", ["looped", "indices"], ["chosen"]),
        h.make_node("Transpose", ["places"], ["indices"]),
        h.make_node("MatMul", ["square", "square"], ["squared"]),
        h.make_node("Det", ["squared"], ["det"]),
        h.make_node("Add", ["hidden", "det"], ["moved"]),
    ]
    nodes[11], nodes[12] = nodes[12], nodes[11]
    save(
        path,
        nodes,
        [
            h.make_tensor_value_info("x", T.FLOAT, ["batch", 3, 8, 8]),
            h.make_tensor_value_info("trips", T.INT64, []),
            h.make_tensor_value_info("square", T.FLOAT, [3, 3]),
        ],
        [
            h.make_tensor_value_info("chosen", T.FLOAT, ["n"]),
            h.make_tensor_value_info("sums", T.FLOAT, ["steps"]),
            h.make_tensor_value_info("moved", T.FLOAT, [1, "batch", 5]),
        ],
        [
            floats("kernel", 4, 3, 3, 3),
            floats("bias", 4),
            floats("dense", 64, 6),
            floats("dense_bias", 6),
            integers("zero", 0),
            floats("w", 1, 20, 6),
            floats("recurrence", 1, 20, 5),
            floats("weights", 6),
            numpy_helper.from_array(np.float32(0.2), "threshold"),
        ],
    )


if __name__ == "__main__":
    mixed(os.path.join(os.path.dirname(__file__), "mixed.onnx"))
