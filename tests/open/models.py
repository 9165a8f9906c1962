# Makes NAME.onnx here: models whose sizes are open, one for each way in which open sizes meet. tests/unit/api_gpu_open.c runs them at many sizes, for which no kernel may be compiled but for the
# first. Needs the onnx package.
import os, numpy
from onnx import TensorProto, checker, helper, numpy_helper, save

random = numpy.random.default_rng(1)
node = helper.make_node


def values(shapes):
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def make(name, nodes, inputs, outputs, constants=()):
    constants = [numpy_helper.from_array(numpy.asarray(value, dtype=None if numpy.asarray(value).dtype == numpy.int64 else numpy.float32), key) for key, value in dict(constants).items()]
    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".onnx"))


def ints(*numbers):
    return numpy.array(numbers, dtype=numpy.int64)


# Axes that merge to one, along which a constant is repeated.
make("merged", [node("Mul", ["x", "w"], ["a"]), node("Sigmoid", ["a"], ["b"]), node("Mul", ["a", "b"], ["y"])], {"x": ["b", "s", 24]}, {"y": ["b", "s", 24]}, {"w": random.normal(size=24)})
# All of it one open axis, which vectors do not divide.
make("flat", [node("Exp", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])], {"x": ["n"]}, {"y": ["n"]})
# Views and a permutation: open strides.
make("heads", [node("Reshape", ["x", "shape"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]), node("Add", ["t", "m"], ["y"])],
     {"x": ["b", "s", 32], "m": ["b", 1, "s", 1]}, {"y": ["b", 4, "s", 8]}, {"shape": ints(0, 0, 4, 8)})
# Tiles: both sides are contiguous along another axis, and both axes are open; and with one that is not.
make("turned", [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Tanh", ["t"], ["y"])], {"x": ["b", "s", "c"]}, {"y": ["b", "c", "s"]})
make("turned_rows", [node("Transpose", ["x"], ["t"], perm=[2, 0, 1]), node("Neg", ["t"], ["y"])], {"x": ["b", "s", 40]}, {"y": [40, "b", "s"]})
# A mask that is repeated along an axis in the middle.
make("mask", [node("Unsqueeze", ["m", "axes"], ["u"]), node("Add", ["x", "u"], ["y"])], {"x": ["b", "s", "t"], "m": ["b", "t"]}, {"y": ["b", "s", "t"]}, {"axes": ints(1)})
# Sizes that may be equal or one, which only a call tells.
make("broadcast", [node("Sub", ["x", "m"], ["y"])], {"x": ["b", "s"], "m": ["c", "t"]}, {"y": ["broadcast", "both"]})
# Every second one, from behind: strides that are no multiples of two, and a place that depends on the size.
make("slices", [node("Slice", ["x", "starts", "ends", "axes", "steps"], ["a"]), node("Abs", ["a"], ["y"])], {"x": ["b", "s", 12]}, {"y": ["b", "half", 12]},
     {"starts": ints(-1), "ends": ints(-(2**31)), "axes": ints(1), "steps": ints(-2)})
# What a program reads of sizes.
make("sizes", [node("Shape", ["x"], ["n"], start=1, end=2), node("Cast", ["n"], ["f"], to=TensorProto.FLOAT), node("Div", ["x", "f"], ["y"])], {"x": ["b", "s", 8]}, {"y": ["b", "s", 8]})
# Rows: of a length that every call has, as many as a call brings; contiguous, across memory in columns, turned, and more than one result.
make("softmax", [node("Softmax", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])], {"x": ["b", "s", 40]}, {"y": ["b", "s", 40]})
make("norm", [node("LayerNormalization", ["x", "w", "v"], ["y"])], {"x": ["b", "s", 72]}, {"y": ["b", "s", 72]}, {"w": random.normal(size=72), "v": random.normal(size=72)})
make("long_rows", [node("Softmax", ["x"], ["y"])], {"x": ["n", 3000]}, {"y": ["n", 3000]})
make("columns", [node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)], {"x": ["b", 33, "s"]}, {"y": ["b", "s"]})
make("wide_columns", [node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0)], {"x": ["b", 33, "s", 8]}, {"y": ["b", "s", 8]})
make("turned_softmax", [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Softmax", ["t"], ["y"])], {"x": ["b", 20, "s"]}, {"y": ["b", "s", 20]})
# Products of as many rows as a call brings by a constant matrix; a bias and a residual behind; the one before them as rows of two axes.
make("product", [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "v"], ["b"]), node("Relu", ["b"], ["c"]), node("Add", ["c", "r"], ["y"])],
     {"x": ["b", "s", 64], "r": ["b", "s", 48]}, {"y": ["b", "s", 48]}, {"w": random.normal(size=(64, 48)) / 8, "v": random.normal(size=48)})
make("deep_product", [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 2048]}, {"y": ["n", 32]}, {"w": random.normal(size=(2048, 32)) / 45})
