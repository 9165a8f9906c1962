# Writes the regression cases of views that end in copies: of types that programs do not compute with, slices that begin before the first element, and reads outside
# of a tensor in a branch that is not taken.
# ONNX Runtime judges what it can run; of complex numbers numpy says what comes out.
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper, numpy_helper

random = np.random.default_rng(11)
WORDS = np.array([f"word {i}" if i % 5 else "" for i in range(24)], object).reshape(2, 3, 4)
NUMBERS = (random.normal(0, 1, (2, 3, 4)) + 1j * random.normal(0, 1, (2, 3, 4))).astype(np.complex64)
HALVES = random.normal(0, 1, (2, 3, 4)).astype(np.float16)


def ints(*values):
    return numpy_helper.from_array(np.array(values, np.int64), "_".join(["i", *map(str, values)]).replace("-", "m"))


def flattened():
    i = ints(4, 6)
    return [helper.make_node("Transpose", ["x"], ["a"], perm=[2, 0, 1]), helper.make_node("Reshape", ["a", i.name], ["y"])], [i]


def joined():
    i = ints(-1)
    return [helper.make_node("Transpose", ["x"], ["a"], perm=[2, 1, 0]), helper.make_node("Concat", ["a", "a"], ["b"], axis=1),
            helper.make_node("Transpose", ["b"], ["c"], perm=[1, 0, 2]), helper.make_node("Reshape", ["c", i.name], ["d"]),
            helper.make_node("Slice", ["d", ints(-1).name, ints(-99).name, ints(0).name, ints(-2).name], ["y"])], [
                i, ints(-99), ints(0), ints(-2)]


def backwards(start, end, step):
    def make():
        i = [ints(start, start), ints(end, end), ints(1, 2), ints(step, step)]
        named = {k.name: k for k in i}
        return [helper.make_node("Slice", ["x"] + [k.name for k in i], ["y"])], list(named.values())
    return make


def in_numpy(name, x):
    y = x.transpose(2, 0, 1).reshape(4, 6)
    if "joined" in name:
        a = x.transpose(2, 1, 0)
        y = np.concatenate([a, a], 1).transpose(1, 0, 2).reshape(-1)[::-2]
    return y


def write(folder, name, make, x, kind, dims):
    nodes, constants = make()
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", kind, dims)],
                              [helper.make_tensor_value_info("y", kind, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    y = in_numpy(name, x) if kind == T.COMPLEX64 else onnxruntime.InferenceSession(
        model.SerializeToString(), options).run(None, {"x": x})[0]
    data = os.path.join(folder, name, "test_data_set_0")
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, name, "model.onnx"))
    for file, value, called in (("input_0.pb", x, "x"), ("output_0.pb", y, "y")):
        with open(os.path.join(data, file), "wb") as out:
            out.write(numpy_helper.from_array(value, called).SerializeToString())


KINDS = {"words": (WORDS, T.STRING), "complex": (NUMBERS, T.COMPLEX64), "halves": (HALVES, T.FLOAT16)}
for kind, (x, dtype) in KINDS.items():
    for name, make in (("flattened", flattened), ("joined", joined)):
        write(sys.argv[1], f"views_{kind}_{name}", make, x, dtype, [2, 3, 4])
        write(sys.argv[1], f"views_{kind}_{name}_open", make, x, dtype, [2, "n", 4])
SLICES = {"before": (-9, -99, -1), "before_to_zero": (-9, 0, -1), "to_first": (2, -99, -2), "last": (-1, 0, -1), "beyond": (9, -99, -3)}
for name, bounds in SLICES.items():
    write(sys.argv[1], f"views_backwards_{name}", backwards(*bounds), HALVES, T.FLOAT16, [2, 3, 4])
    write(sys.argv[1], f"views_backwards_{name}_open", backwards(*bounds), HALVES, T.FLOAT16, ["a", "b", "c"])


def not_taken(places):
    def make():
        i = ints(*places)
        branches = [helper.make_graph([node], "branch", [], [helper.make_tensor_value_info(node.output[0], T.FLOAT16, None)])
                    for node in (helper.make_node("Gather", ["x", i.name], ["t"], axis=1), helper.make_node("Relu", ["x"], ["e"]))]
        never = [helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0), helper.make_node("Cast", ["s"], ["w"], to=T.FLOAT),
                 helper.make_node("IsInf", ["w"], ["c"])]
        return [*never, helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])], [i]
    return make


for name, places in {"beyond": (3, 4, 5), "before": (-9, -8), "one": (5,)}.items():
    write(sys.argv[1], f"views_outside_{name}", not_taken(places), HALVES, T.FLOAT16, [2, 3, 4])
    write(sys.argv[1], f"views_outside_{name}_open", not_taken(places), HALVES, T.FLOAT16, ["a", "b", "c"])
