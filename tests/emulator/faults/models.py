# Makes small.onnx, a network of fixed shapes with one of each thing whose failure differs (weights that are packed, several kernels), and
# product.onnx, one site that is quick to tune, open.onnx and rows.onnx, whose one half is of an open shape, with one kernel for all and with another (of a convolution whose channels are open) for each, and chain.onnx, of enough kernels for a recorded graph to pay
# whose calls bring other addresses, branches.onnx, whose two branches run side by side on a GPU that is large enough, and grow.onnx, whose memory grows with its rows and whose result for equal rows does not, and
# loop.onnx, a loop that data ends and a scan. Needs the onnx package.
import os, numpy
from onnx import TensorProto, checker, helper, numpy_helper, save

random = numpy.random.default_rng(1)


def values(shapes):
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def make(name, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes, name, values(inputs), values(outputs),
        [numpy_helper.from_array(value if value.dtype == numpy.int64 and key in ("image", "point", "trips") else value.astype(numpy.float32), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".onnx"))


make(
    "small",
    [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "v", "c"], ["gemm"]),
        helper.make_node("Softmax", ["gemm"], ["y"]),
    ],
    {"x": [1, 2, 8, 8]}, {"y": [1, 8]},
    {
        "w": random.normal(size=(4, 2, 3, 3)) / 4, "b": random.normal(size=4) / 4,
        "v": random.normal(size=(64, 8)) / 8, "c": random.normal(size=8) / 8,
    },
)
make("product", [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [4, 16]}, {"y": [4, 8]}, {"w": random.normal(size=(16, 8)) / 4})
make(
    "open",
    [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Softmax", ["z"], ["v"])],
    {"x": ["n", 8], "z": [4, 8]}, {"y": ["n", 8], "v": [4, 8]}, {},
)
make(
    "rows",
    [
        helper.make_node("Softmax", ["x"], ["s"], axis=0), helper.make_node("Unsqueeze", ["s", "image"], ["i"]), helper.make_node("Shape", ["x"], ["n"], end=1), helper.make_node("Concat", ["n", "n"], ["nn"], axis=0),
        helper.make_node("ConstantOfShape", ["nn"], ["ones"], value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])), helper.make_node("EyeLike", ["ones"], ["e"]), helper.make_node("Unsqueeze", ["e", "point"], ["w"]),
        helper.make_node("Conv", ["i", "w"], ["c"]), helper.make_node("Squeeze", ["c", "image"], ["y"]), helper.make_node("Softmax", ["z"], ["v"]),
    ],
    {"x": ["n", 8], "z": [4, 8]}, {"y": ["n", 8], "v": [4, 8]}, {"image": numpy.array([0, 2], dtype=numpy.int64), "point": numpy.array([2, 3], dtype=numpy.int64)},
)
turns = [node for i in range(6) for node in (helper.make_node("Softmax", [f"v{i}"], [f"s{i}"]), helper.make_node("Transpose", [f"s{i}"], [f"v{i + 1}"]))]
make("chain", turns, {"v0": [4, 8]}, {"v6": [4, 8]}, {})
sides = [node for i in range(4) for node in (helper.make_node("Softmax", [f"a{i}" if i else "h"], [f"a{i + 1}"], axis=i % 2), helper.make_node("Softmax", [f"b{i}" if i else "h"], [f"b{i + 1}"], axis=1 - i % 2))]
make("branches", [helper.make_node("LpNormalization", ["x"], ["h"]), *sides, helper.make_node("Sub", ["a4", "b4"], ["y"])], {"x": [4, 8]}, {"y": [4, 8]}, {})
make(
    "grow",
    [
        helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Transpose", ["s"], ["t"]), helper.make_node("Softmax", ["t"], ["u"], axis=0),
        helper.make_node("Transpose", ["u"], ["v"]), helper.make_node("LpNormalization", ["v"], ["w"]),
        helper.make_node("ReduceMax", ["w"], ["y"], axes=[0], keepdims=1),
    ],
    {"x": ["n", 8]}, {"y": [1, 8]}, {},
)
# A state and stacked rows, until what is computed says so; and a scan along the second axis.
value = helper.make_tensor_value_info
body = helper.make_graph(
    [helper.make_node("Add", ["s", "s"], ["next"]), helper.make_node("ReduceMax", ["next"], ["largest"], keepdims=0), helper.make_node("Less", ["largest", "most"], ["more"])],
    "body", [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s", TensorProto.FLOAT, [4, 5])],
    [value("more", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [4, 5]), value("next", TensorProto.FLOAT, [4, 5])],
)
slices = helper.make_graph(
    [helper.make_node("Add", ["a", "e"], ["c"])], "slices", [value("a", TensorProto.FLOAT, [4]), value("e", TensorProto.FLOAT, [4])],
    [value("c", TensorProto.FLOAT, [4]), value("c", TensorProto.FLOAT, [4])],
)
make(
    "loop",
    [
        helper.make_node("Loop", ["trips", "", "x"], ["last", "rows"], body=body),
        helper.make_node("Scan", ["zero", "x"], ["sum", "sums"], body=slices, num_scan_inputs=1, scan_input_axes=[1]),
        helper.make_node("ReduceMax", ["rows"], ["top"], axes=[0, 1], keepdims=0), helper.make_node("ReduceMax", ["sums"], ["other"], axes=[0], keepdims=0),
        helper.make_node("ReduceMax", ["last"], ["end"], axes=[0], keepdims=0), helper.make_node("Concat", ["end", "top", "sum", "other"], ["y"], axis=0),
    ],
    {"x": [4, 5]}, {"y": [18]},
    {"trips": numpy.array(6, dtype=numpy.int64), "most": numpy.array(4), "zero": numpy.zeros(4)},
)
