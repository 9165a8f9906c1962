# Makes small.onnx: a network of fixed shapes with one of each thing whose failure differs: weights that are packed, several kernels,
# a product to tune. Needs the onnx package.
import numpy, onnx
from onnx import helper, numpy_helper

random = numpy.random.default_rng(1)
constants = {
    "w": random.normal(size=(4, 2, 3, 3)) / 4, "b": random.normal(size=4) / 4,
    "v": random.normal(size=(64, 8)) / 8, "c": random.normal(size=8) / 8,
}
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v", "c"], ["gemm"]),
        helper.make_node("Softmax", ["gemm"], ["y"]),
    ],
    "small",
    [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, 8, 8])],
    [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 8])],
    [numpy_helper.from_array(value.astype(numpy.float32), name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, __file__.replace(".py", ".onnx"))
