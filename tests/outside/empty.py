# Makes the models named none_*: what the indices point to has no elements, so that nothing is moved; an index that is outside is an error all the
# same. Needs the onnx package.
import os, numpy
from onnx import TensorProto, checker, helper, numpy_helper, save


def make(name, nodes, y, **constants):
    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 4]), helper.make_tensor_value_info("i", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        [numpy_helper.from_array(numpy.array(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(model)
    save(model, os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".onnx"))


node, zero, one = helper.make_node, numpy.array([0]), numpy.array([1])
columns = node("Slice", ["x", "zero", "zero", "one"], ["none"])  # [3, 0]
pairs = node("Unsqueeze", ["i", "one"], ["j"])
common = {"zero": zero, "one": one}
make("none_gather", [columns, node("Gather", ["none", "i"], ["y"])], [2, 0], **common)
make(
    "none_gather_before",  # [0, 3], along the axis of 3
    [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Slice", ["t", "zero", "zero", "zero"], ["none"]), node("Gather", ["none", "i"], ["y"], axis=1)],
    [0, 2], **common,
)
make("none_gather_nd", [columns, pairs, node("GatherND", ["none", "j"], ["y"])], [2, 0], **common)
make("none_scatter_nd", [columns, pairs, node("ScatterND", ["none", "j", "u"], ["y"])], [3, 0], u=numpy.zeros((2, 0), numpy.float32), **common)
make(
    "none_roi_align",
    [node("Reshape", ["x", "s"], ["f"]), node("Slice", ["f", "zero", "zero", "one"], ["none"]), node("RoiAlign", ["none", "r", "i"], ["y"], output_height=2, output_width=2)],
    [2, 0, 2, 2], s=numpy.array([3, 1, 2, 2]), r=numpy.ones((2, 4), numpy.float32), **common,
)
