# Makes NAME.onnx here: models whose sizes are open, one for each way in which open sizes meet. tests/unit/api_gpu_open.c runs them at many sizes, for which no kernel may be compiled but for the
# first. Integer inputs say in their names what their values are below: ids_below_s below the size s or from its end, ids32_below_50 (of 32 bits) below 50, images_below_b not from the end. Sizes called past may be 0. Needs the onnx package.
import os, numpy
from onnx import TensorProto, checker, helper, numpy_helper, save

random = numpy.random.default_rng(1)
node = helper.make_node


def type_of(name):
    return TensorProto.FLOAT if "_below_" not in name else TensorProto.INT32 if name.startswith("ids32") else TensorProto.INT64


def values(shapes):
    return [helper.make_tensor_value_info(name, type_of(name), shape) for name, shape in shapes.items()]


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
# Rows of a length that a call brings: contiguous, read in several passes, across memory, of two axes, with where the largest is, with lengths in the program, and of half precision.
make("open_softmax", [node("Softmax", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])], {"x": ["b", 3, "s"]}, {"y": ["b", 3, "s"]})
make("open_norm", [node("InstanceNormalization", ["x", "w", "v"], ["y"])], {"x": ["b", 5, "h", "w"]}, {"y": ["b", 5, "h", "w"]}, {"w": random.normal(size=5), "v": random.normal(size=5)})
make("open_mean", [node("GlobalAveragePool", ["x"], ["y"])], {"x": ["b", 6, "h", "w"]}, {"y": ["b", 6, 1, 1]})
make("open_columns", [node("ReduceSum", ["x", "axes"], ["a"], keepdims=0), node("Abs", ["a"], ["y"])], {"x": ["b", "s", 24]}, {"y": ["b", 24]}, {"axes": ints(1)})
make("open_largest", [node("ArgMax", ["x"], ["i"], axis=1, keepdims=0), node("Cast", ["i"], ["f"], to=TensorProto.FLOAT), node("ReduceMax", ["x"], ["m"], axes=[1], keepdims=0), node("Add", ["f", "m"], ["y"])],
     {"x": ["b", "s", "t"]}, {"y": ["b", "t"]})
# A mask made of sizes alone, which each call folds.
make("made_mask", [node("Shape", ["x"], ["n"], start=1, end=2), node("Concat", ["n", "n"], ["nn"], axis=0), node("ConstantOfShape", ["nn"], ["ones"], value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])), node("Trilu", ["ones"], ["mask"], upper=0),
     node("MatMul", ["x", "z"], ["p"]), node("Add", ["p", "mask"], ["q"]), node("Softmax", ["q"], ["y"])], {"x": ["b", "s", 16], "z": ["b", 16, "s"]}, {"y": ["b", "s", "s"]})
# Products of as many rows as a call brings by a constant matrix; a bias and a residual behind; the one before them as rows of two axes.
make("product", [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "v"], ["b"]), node("Relu", ["b"], ["c"]), node("Add", ["c", "r"], ["y"])],
     {"x": ["b", "s", 64], "r": ["b", "s", 48]}, {"y": ["b", "s", 48]}, {"w": random.normal(size=(64, 48)) / 8, "v": random.normal(size=48)})
make("deep_product", [node("MatMul", ["x", "w"], ["y"])], {"x": ["n", 2048]}, {"y": ["n", 32]}, {"w": random.normal(size=(2048, 32)) / 45})
# Rows of a table; of an axis that is open, as its indices are, and along the last axis.
make("embedding", [node("Gather", ["table", "ids_below_50"], ["y"])], {"ids_below_50": ["b", "s"]}, {"y": ["b", "s", 24]}, {"table": numpy.arange(1200).reshape(50, 24) / 100})
make("rows", [node("Gather", ["x", "ids_below_s"], ["y"], axis=1)], {"x": ["b", "s", 12], "ids_below_s": ["k"]}, {"y": ["b", "k", 12]})
make("picked", [node("Gather", ["x", "ids32_below_s"], ["y"], axis=2)], {"x": ["b", 5, "s"], "ids32_below_s": ["k", 2]}, {"y": ["b", 5, "k", 2]})
make("elements", [node("GatherElements", ["x", "ids_below_s"], ["y"], axis=1)], {"x": ["b", "s", 6], "ids_below_s": ["b", "k", 6]}, {"y": ["b", "k", 6]})
make("places", [node("GatherND", ["x", "ids_below_s"], ["y"])], {"x": ["s", "s", 8], "ids_below_s": ["b", "k", 2]}, {"y": ["b", "k", 8]})
make("batched_places", [node("GatherND", ["x", "ids_below_t"], ["y"], batch_dims=1)], {"x": ["b", "t", "c"], "ids_below_t": ["b", "k", 1]}, {"y": ["b", "k", "c"]})
# Elements and slices that are replaced, or added to.
make("scattered", [node("ScatterElements", ["x", "ids_below_s", "u"], ["y"], axis=1)], {"x": ["b", "s", 6], "ids_below_s": ["b", "k", 6], "u": ["b", "k", 6]}, {"y": ["b", "s", 6]})
make("scattered_sums", [node("ScatterElements", ["x", "ids_below_s", "u"], ["y"], axis=1, reduction="add")], {"x": ["b", "s", 6], "ids_below_s": ["b", "k", 6], "u": ["b", "k", 6]},
     {"y": ["b", "s", 6]})
make("scattered_rows", [node("ScatterND", ["x", "ids_below_s", "u"], ["y"])], {"x": ["s", "t", 4], "ids_below_s": ["b", "k", 1], "u": ["b", "k", "t", 4]}, {"y": ["s", "t", 4]})
make("scattered_row_sums", [node("ScatterND", ["x", "ids_below_s", "u"], ["y"], reduction="add")], {"x": ["s", "t", 4], "ids_below_s": ["b", "k", 1], "u": ["b", "k", "t", 4]}, {"y": ["s", "t", 4]})
# Joined along an open axis, of which there may be nothing yet; along the last one; with one that is turned; with a program that works on what is joined.
make("joined", [node("Concat", ["p", "x"], ["y"], axis=2)], {"p": ["b", 4, "past", 8], "x": ["b", 4, "s", 8]}, {"y": ["b", 4, "both", 8]})
make("joined_last", [node("Concat", ["x", "z", "w"], ["y"], axis=2)], {"x": ["b", "s", "c"], "z": ["b", "s", "d"], "w": ["b", "s", 8]}, {"y": ["b", "s", "all"]})
make("joined_turned", [node("Transpose", ["z"], ["t"], perm=[0, 2, 1]), node("Concat", ["x", "t"], ["y"], axis=1)], {"x": ["b", "c", "s"], "z": ["b", "s", "d"]}, {"y": ["b", "both", "s"]})
make("joined_programs", [node("Concat", ["x", "z"], ["a"], axis=1), node("Add", ["a", "m"], ["m2"]), node("Relu", ["m2"], ["r"]), node("Concat", ["a", "r"], ["y"], axis=2)],
     {"x": ["b", "s", 8], "z": ["b", "t", 8], "m": ["b", 1, 8]}, {"y": ["b", "both", 16]})
# More than one launch takes; of half precision, and what is picked of that; of a part that lies elsewhere each time.
make("joined_many", [node("Concat", ["x", "z", "w", "v"] * 5, ["y"], axis=1)], {"x": ["b", "s", 3], "z": ["b", "t", 3], "w": ["b", "u", 3], "v": ["b", "past", 3]}, {"y": ["b", "all", 3]})
make("joined_halves", [node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16), node("Cast", ["z"], ["g"], to=TensorProto.FLOAT16), node("Concat", ["h", "g"], ["c"], axis=2), node("Gather", ["c", "ids_below_s"], ["e"], axis=1),
     node("Cast", ["e"], ["y"], to=TensorProto.FLOAT)], {"x": ["b", "s", 16], "z": ["b", "s", "c"], "ids_below_s": ["k"]}, {"y": ["b", "k", "d"]})
make("joined_swapped", [node("Shape", ["x"], ["n"], start=1, end=2), node("Div", ["n", "two"], ["h"]), node("Slice", ["x", "h", "end", "one"], ["p"]), node("Slice", ["x", "zero", "h", "one"], ["q"]), node("Concat", ["p", "q"], ["y"], axis=1)],
     {"x": ["b", "s", 6]}, {"y": ["b", "s", 6]}, {"one": ints(1), "zero": ints(0), "two": ints(2), "end": ints(2**31)})
# What lies around.
make("padded", [node("Pad", ["x", "pads"], ["y"])], {"x": ["b", "s", 6]}, {"y": ["b", "more", 7]}, {"pads": ints(0, 2, 0, 0, 1, 1)})
make("padded_edge", [node("Pad", ["x", "pads"], ["y"], mode="edge")], {"x": ["b", "s", "t"]}, {"y": ["b", "more", "wide"]}, {"pads": ints(0, 2, 0, 0, 1, 1)})
make("padded_reflect", [node("Pad", ["x", "pads"], ["y"], mode="reflect")], {"x": ["b", 3, "t"]}, {"y": ["b", 3, "wide"]}, {"pads": ints(0, 0, 1, 0, 0, 0)})
# As much as fills up to a multiple of four.
make("padded_multiple", [node("Shape", ["x"], ["s"], start=1, end=2), node("Neg", ["s"], ["n"]), node("Mod", ["n", "four"], ["m"]), node("Concat", ["before", "m", "none"], ["pads"], axis=0), node("Pad", ["x", "pads"], ["a"]),
     node("Abs", ["a"], ["y"])], {"x": ["b", "s", 6]}, {"y": ["b", "whole", 6]}, {"four": ints(4), "before": ints(0, 0, 0, 0), "none": ints(0)})
# Running sums.
make("running", [node("CumSum", ["x", "axis"], ["y"])], {"x": ["b", "s", 4]}, {"y": ["b", "s", 4]}, {"axis": ints(1)})
make("running_rows", [node("CumSum", ["x", "axis"], ["y"], exclusive=1)], {"x": ["b", "s"]}, {"y": ["b", "s"]}, {"axis": ints(1)})
# The largest of a row; of what lies along another axis; of more than fit into shared memory, or less.
make("largest", [node("TopK", ["x", "k"], ["y", "at"], axis=1)], {"x": ["b", "s"]}, {"y": ["b", 1]}, {"k": ints(1)})
make("largest_of_many", [node("TopK", ["x", "k"], ["y", "at"], axis=1)], {"x": ["b", "s", "c"]}, {"y": ["b", 1, "c"]}, {"k": ints(1)})
make("largest_of_all", [node("Reshape", ["x", "all"], ["r"]), node("TopK", ["r", "k"], ["y", "at"], axis=0)], {"x": ["s", 128]}, {"y": [3]}, {"all": ints(-1), "k": ints(3)})
# Convolutions of as many images as a call brings, and of the sizes they have: of few channels, padded, strided, single points, in groups, one filter a channel, transposed, patches.
def conv(x, y, out, into, kernel, **more):
    name = "w" + y
    weights = random.normal(size=(out, into, kernel, kernel)) / numpy.sqrt(into * kernel * kernel)
    return node("Conv", [x, name], [y], pads=[more.pop("pad", kernel // 2)] * 4, **more), {name: weights}


def convolutions(name, steps, inputs, outputs, constants=()):
    nodes, weights = [], dict(constants)
    for step in steps:
        if isinstance(step, tuple):
            weights.update(step[1])
            step = step[0]
        nodes.append(step)
    make(name, nodes, inputs, outputs, weights)


for name, h, w in (("images", 12, 9), ("images_of_sizes", "h", "w")):
    convolutions(name, [conv("x", "a", 32, 3, 3, strides=[2, 2]), node("Relu", ["a"], ["b"]), conv("b", "c", 32, 32, 3), node("Add", ["c", "b"], ["d"]), node("Relu", ["d"], ["e"]), conv("e", "y", 40, 32, 1)],
                 {"x": ["n", 3, h, w]}, {"y": ["n", 40, "u", "v"]})
    convolutions(name + "_in_groups", [conv("x", "a", 32, 16, 1), node("Relu", ["a"], ["b"]), conv("b", "c", 32, 16, 3, group=2), node("Relu", ["c"], ["d"]), conv("d", "e", 32, 1, 3, group=32, strides=[2, 2]), node("Relu", ["e"], ["f"]),
                                    conv("f", "y", 16, 32, 1)], {"x": ["n", 16, h, w]}, {"y": ["n", 16, "u", "v"]})
convolutions("patches", [conv("x", "a", 32, 3, 4, strides=[4, 4], pad=0), node("Relu", ["a"], ["b"]), conv("b", "y", 16, 32, 1)], {"x": ["n", 3, 16, 24]}, {"y": ["n", 16, 4, 6]})
make("images_transposed", [node("Relu", ["x"], ["r"]), node("ConvTranspose", ["r", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["a"], ["y"])], {"x": ["n", 16, 5, 4]}, {"y": ["n", 24, "u", "v"]},
     {"w": random.normal(size=(16, 24, 4, 4)) / 8})
# Recurrent layers of as many steps and rows as a call brings: of small weights in one launch, and of weights that tensor cores take in half precision, whose initial states come, too.
def layer(kind, gates, size, hidden, directions):
    return {"w": random.normal(size=(directions, gates * hidden, size)) / numpy.sqrt(size), "r": random.normal(size=(directions, gates * hidden, hidden)) / numpy.sqrt(hidden), "v": random.normal(size=(directions, 2 * gates * hidden)) / 4}


make("steps", [node("GRU", ["x", "w", "r", "v"], ["y"], hidden_size=8, direction="bidirectional")], {"x": ["t", "b", 12]}, {"y": ["t", 2, "b", 8]}, layer("GRU", 3, 12, 8, 2))
make("steps_from_states", [node("LSTM", ["x", "w", "r", "v", "", "h"], ["y", "z"], hidden_size=128)], {"x": ["t", "b", 16], "h": [1, "b", 128]}, {"y": ["t", 1, "b", 128]}, layer("LSTM", 4, 16, 128, 1))
# Windows, as many as an image has; images that are made larger, as many as there are, and of the sizes they have; regions of images.
make("pooled", [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {"x": ["b", 3, "h", "w"]}, {"y": ["b", 3, "u", "v"]})
make("averaged", [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1)], {"x": ["b", 3, "h", "w"]}, {"y": ["b", 3, "u", "v"]})
make("pooled_places", [node("MaxPool", ["x"], ["a", "i"], kernel_shape=[2], strides=[2], pads=[1, 1]), node("Cast", ["i"], ["f"], to=TensorProto.FLOAT), node("Add", ["a", "f"], ["y"])], {"x": ["b", 3, "w"]}, {"y": ["b", 3, "v"]})
make("resized", [node("Resize", ["x", "", "scales"], ["a"], mode="linear"), node("Add", ["a", "m"], ["y"])], {"x": ["b", 3, 5, 4], "m": ["b", 3, 1, 1]}, {"y": ["b", 3, 10, 12]}, {"scales": numpy.array([1.0, 1.0, 2.0, 3.0])})
make("enlarged", [node("Resize", ["x", "", "scales"], ["y"], mode="linear")], {"x": ["b", 3, "h", "w"]}, {"y": ["b", 3, "u", "v"]}, {"scales": numpy.array([1.0, 1.0, 2.0, 1.5])})
make("repeated", [node("Resize", ["x", "", "scales"], ["y"], mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric")], {"x": ["b", 3, "h", "w"]}, {"y": ["b", 3, "u", "v"]},
     {"scales": numpy.array([1.0, 1.0, 2.0, 3.0])})
make("regions", [node("RoiAlign", ["x", "r", "images_below_b"], ["y"], output_height=2, output_width=3, sampling_ratio=2)], {"x": ["b", 3, "h", "w"], "r": ["k", 4], "images_below_b": ["k"]}, {"y": ["k", 3, 2, 3]})
make("sampled", [node("GridSample", ["x", "g"], ["y"])], {"x": ["b", 3, "h", "w"], "g": ["b", "u", "v", 2]}, {"y": ["b", 3, "u", "v"]})
# Attention over as many positions as a call brings: a layer with its products; and alone, with a mask of the keys, of pairs, or of what follows; heads of 64 and of an odd size; queries of one length over
# keys of another; lengths in front of the batch.
def attention(name, heads, size, of="x", mask=None, inputs=None, causal=False, turned=False, projected=0):
    width, weights, nodes = heads * size, {"shape": ints(0, 0, heads, size), "flat": ints(0, 0, heads * size), "scale": numpy.sqrt(size)}, []
    for part, source, perm in (("q", "x", [0, 2, 1, 3]), ("k", of, [0, 2, 3, 1]), ("v", of, [0, 2, 1, 3])):
        weights["w" + part] = random.normal(size=(projected, width)) / numpy.sqrt(projected) if projected else random.normal(size=width) / 2
        weights["b" + part] = random.normal(size=width) / 4
        perm = [1, 2, 3, 0] if turned and part == "k" else [1, 2, 0, 3] if turned else perm
        nodes += [node("MatMul" if projected else "Mul", [source, "w" + part], [part + "1"]), node("Add", [part + "1", "b" + part], [part + "2"]), node("Reshape", [part + "2", "shape"], [part + "3"]), node("Transpose", [part + "3"], [part], perm=perm)]
    nodes += [node("MatMul", ["q", "k"], ["products"]), node("Div", ["products", "scale"], ["scaled"])]
    scores = "scaled"
    if mask:
        nodes, scores = nodes + [node("Add", [scores, mask], ["masked"])], "masked"
    if causal:
        weights.update({"zero": numpy.array(0), "one": numpy.array(1), "below": numpy.array(-1e4), "first": ints(0), "second": ints(1)})
        nodes += [node("Shape", ["x"], ["n1"], start=1, end=2), node("Squeeze", ["n1"], ["n"]), node("Range", ["zero", "n", "one"], ["at"]), node("Unsqueeze", ["at", "first"], ["columns"]), node("Unsqueeze", ["at", "second"], ["rows"]),
                  node("Greater", ["columns", "rows"], ["behind"]), node("Where", ["behind", "below", scores], ["before"])]
        scores = "before"
    last = "joined" if projected else "y"
    nodes += [node("Softmax", [scores], ["p"]), node("MatMul", ["p", "v"], ["o"]), node("Transpose", ["o"], ["t"], perm=[2, 0, 1, 3] if turned else [0, 2, 1, 3]), node("Reshape", ["t", "flat"], [last])]
    if projected:
        weights["wo"] = random.normal(size=(width, projected)) / numpy.sqrt(width)
        nodes += [node("MatMul", ["joined", "wo"], ["out"]), node("Add", ["out", "x"], ["y"])]
    first = [*(["s", "b"] if turned else ["b", "s"]), projected or width]
    make(name, nodes, {"x": first, **(inputs or {})}, {"y": first}, weights)


attention("attention_layer", 2, 64, mask="m", inputs={"m": ["b", 1, 1, "s"]}, projected=32)
attention("attention", 2, 64)
attention("attention_mask", 2, 64, mask="m", inputs={"m": ["b", 1, 1, "s"]})
attention("attention_odd", 3, 40, mask="m", inputs={"m": ["b", 1, "s", "s"]})
attention("attention_causal", 2, 64, causal=True)
attention("attention_across", 2, 40, of="z", mask="m", inputs={"z": ["b", "t", 80], "m": ["b", 1, 1, "t"]})
attention("attention_turned", 2, 64, turned=True)
# Products of a batch: of two matrices that a call brings, along an axis of any length, and of one matrix by all.
make("products", [node("MatMul", ["x", "z"], ["y"])], {"x": ["b", "s", 24], "z": ["b", 24, "t"]}, {"y": ["b", "s", "t"]})
make("products_deep", [node("MatMul", ["x", "z"], ["y"])], {"x": ["b", 3, "s", "t"], "z": ["b", 3, "t", 24]}, {"y": ["b", 3, "s", 24]})
make("products_shared", [node("Transpose", ["z"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["a"]), node("Add", ["a", "r"], ["y"])], {"x": ["b", "s", "c"], "z": ["n", "c"], "r": ["b", 1, "n"]}, {"y": ["b", "s", "n"]})
# Transposed convolutions of images of any size: what follows from it by the stride alone, the pixels of a point together, and phases that end apart.
def transposed(x, y, into, out, kernel, **more):
    name = "w" + y
    return node("ConvTranspose", [x, name], [y], **more), {name: random.normal(size=(into, out, kernel, kernel)) / numpy.sqrt(into * kernel)}


convolutions("images_transposed_of_sizes", [transposed("x", "a", 16, 24, 4, strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["a"], ["b"]), transposed("b", "c", 24, 16, 2, strides=[2, 2]), node("Relu", ["c"], ["d"]),
                                            transposed("d", "y", 16, 16, 3, strides=[2, 2], pads=[1, 1, 1, 1])], {"x": ["n", 16, "h", "w"]}, {"y": ["n", 16, "u", "v"]})
convolutions("images_transposed_by_three", [transposed("x", "a", 16, 16, 5, strides=[3, 3], pads=[2, 1, 1, 2]), node("Relu", ["a"], ["y"])], {"x": ["n", 16, "h", "w"]}, {"y": ["n", 16, "u", "v"]})
# Sizes that only a run shows: what is above a threshold, and which boxes of that overlap no better one.
make("counted", [node("Greater", ["x", "threshold"], ["above"]), node("NonZero", ["above"], ["at"]), node("Transpose", ["at"], ["places"], perm=[1, 0]), node("GatherND", ["x", "places"], ["scores"]), node("Gather", ["at", "last"], ["box"], axis=0),
                 node("Gather", ["z", "box"], ["boxes"], axis=0), node("Unsqueeze", ["boxes", "front"], ["b"]), node("Unsqueeze", ["scores", "fronts"], ["s"]), node("NonMaxSuppression", ["b", "s", "most", "overlap"], ["chosen"]),
                 node("Gather", ["chosen", "third"], ["kept"], axis=1), node("Gather", ["boxes", "kept"], ["a"], axis=0), node("Gather", ["scores", "kept"], ["c"], axis=0), node("Unsqueeze", ["c", "behind"], ["d"]), node("Concat", ["a", "d"], ["y"], axis=1)],
     {"x": ["c", "n"], "z": ["n", 4]}, {"y": ["found", 5]},
     {"threshold": numpy.array(1.1), "last": numpy.array(1), "front": ints(0), "fronts": ints(0, 1), "most": ints(20), "overlap": numpy.array([0.3]), "third": numpy.array(2), "behind": ints(1)})


# What a model computes of data, or is told, and sizes follow from: how much is kept, made, put in front, how often something is repeated; and one such size behind the other.
def reading(name, nodes, inputs, outputs, constants=()):
    count = [node("Greater", ["x", "least"], ["more"]), node("Cast", ["more"], ["ones"], to=TensorProto.FLOAT), node("ReduceSum", ["ones", "first"], ["sum"], keepdims=1), node("Cast", ["sum"], ["count"], to=TensorProto.INT64)]
    make(name, count + nodes, {"x": ["n"], **inputs}, outputs, {"least": numpy.array(0.3), "first": ints(0), "one": ints(1), "width": ints(24), "w": random.normal(size=(24, 24)) / 5, **dict(constants)})


reading("read_kept", [node("Slice", ["z", "first", "count", "first"], ["a"]), node("MatMul", ["a", "w"], ["b"]), node("Relu", ["b"], ["y"])], {"z": ["n", 24]}, {"y": ["kept", 24]})
reading("read_repeated", [node("ReduceMean", ["z"], ["m"], axes=[0], keepdims=1), node("Max", ["count", "one"], ["c"]), node("Concat", ["c", "width"], ["shape"], axis=0), node("Expand", ["m", "shape"], ["a"]), node("MatMul", ["a", "w"], ["y"])],
        {"z": ["n", 24]}, {"y": ["made", 24]})
reading("read_best", [node("MatMul", ["z", "w"], ["a"]), node("TopK", ["a", "count"], ["y", "places"], axis=0)], {"z": ["n", 24]}, {"y": ["kept", 24]})
reading("read_padded", [node("Concat", ["count", "first", "one", "first"], ["pads"], axis=0), node("Pad", ["z", "pads"], ["a"]), node("Softmax", ["a"], ["y"])], {"z": ["n", 24]}, {"y": ["padded", 24]})
reading("read_made", [node("Squeeze", ["count"], ["end"]), node("Range", ["zero", "end", "step"], ["r"]), node("Cast", ["r"], ["f"], to=TensorProto.FLOAT), node("Sin", ["f"], ["y"])], {"z": ["n", 24]}, {"y": ["made"]},
        {"zero": numpy.array(0), "step": numpy.array(1)})
reading("read_regrouped", [node("Mul", ["count", "width"], ["length"]), node("Reshape", ["z", "all"], ["a"]), node("Slice", ["a", "first", "length", "first"], ["b"]), node("Reshape", ["b", "rows"], ["c"]),
                           node("ReduceMax", ["c"], ["y"], axes=[1], keepdims=1)], {"z": ["n", 24]}, {"y": ["kept", 1]}, {"all": ints(-1), "rows": ints(-1, 24)})
reading("read_again", [node("Slice", ["z", "first", "count", "first"], ["a"]), node("ReduceSum", ["a", "one"], ["s"], keepdims=0), node("Greater", ["s", "least"], ["large"]), node("NonZero", ["large"], ["at"]), node("Squeeze", ["at", "first"], ["places"]),
                       node("Gather", ["a", "places"], ["b"], axis=0), node("ReduceSum", ["b", "first"], ["t"], keepdims=1), node("Greater", ["t", "least"], ["rows"]), node("Cast", ["rows"], ["true"], to=TensorProto.FLOAT), node("ReduceSum", ["true", "one"], ["u"], keepdims=0),
                       node("Cast", ["u"], ["again"], to=TensorProto.INT64), node("Slice", ["b", "first", "again", "one"], ["c"]), node("Tanh", ["c"], ["y"])], {"z": ["n", 24]}, {"y": ["kept", "wide"]})
make("read_told", [node("Max", ["images_below_30", "one"], ["told"]), node("Slice", ["x", "first", "told", "first"], ["a"]), node("Sigmoid", ["a"], ["y"])], {"x": ["n", 24], "images_below_30": [1]}, {"y": ["kept", 24]}, {"first": ints(0), "one": ints(1)})
