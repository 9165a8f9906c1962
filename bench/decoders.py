"""Greedy decoders as ONNX models, made by hand with random weights: the last token's embedding, one step over states of fixed sizes, logits, ArgMax, the next token; so many steps in one Loop, their tokens stacked.

Three kinds of step: a GRU of several layers; a transformer over keys and values that lie in caches of fixed length; and one whose caches grow by a row each step. Two kinds of condition: `fixed`, of which the body says that it holds; `until`, which asks each token
whether it ends the text (none does, so that both run all steps). Beside each model stands its body as a model of its own, at the first step; of growing caches in the middle.
"""
import collections
import os

import numpy

Sizes = collections.namedtuple("Sizes", "vocabulary width layers heads length steps")
SIZES = Sizes(vocabulary=8192, width=512, layers=2, heads=8, length=64, steps=64)
KINDS, CONDITIONS = ("gru", "attention", "growing"), ("fixed", "until")
NO_TOKEN = -1


class Writer:
    """Nodes, constants and states of a body."""

    def __init__(self, sizes):
        self.sizes, self.random = sizes, numpy.random.default_rng(1)
        self.nodes, self.constants, self.states, self.next, self.growing = [], {}, {}, {}, set()

    def constant(self, name, values):
        self.constants[name] = numpy.asarray(values)
        return name

    def weight(self, name, *shape):
        return self.constant(name, (self.random.normal(size=shape) / numpy.sqrt(shape[-2] if len(shape) > 1 else 1)).astype(numpy.float32))

    def ints(self, name, *values):
        return self.constant(name, numpy.array(values, numpy.int64))

    def add(self, operator, inputs, name, outputs=1, **attributes):
        from onnx import helper

        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return name if outputs == 1 else names

    def state(self, name, first):
        """What goes round; `first` before the first step."""
        self.states[name] = numpy.asarray(first)
        return name

    def goes_on_as(self, state, value):
        self.next[state] = value


def gru(writer, x):
    width = writer.sizes.width
    for layer in range(writer.sizes.layers):
        h = writer.state(f"h{layer}", numpy.zeros((1, width), numpy.float32))
        name = f"gru{layer}"
        ours = writer.add("Split", [writer.add("MatMul", [x, writer.weight(name + "_w", width, 3 * width)], name + "_x")], name + "_x3", 3, axis=1, num_outputs=3)
        theirs = writer.add("Split", [writer.add("MatMul", [h, writer.weight(name + "_u", width, 3 * width)], name + "_h")], name + "_h3", 3, axis=1, num_outputs=3)
        reset, update = (writer.add("Sigmoid", [writer.add("Add", [ours[i], theirs[i]], f"{name}_s{i}")], f"{name}_g{i}") for i in range(2))
        fresh = writer.add("Tanh", [writer.add("Add", [ours[2], writer.add("Mul", [reset, theirs[2]], name + "_rh")], name + "_n")], name + "_new")
        kept = writer.add("Mul", [update, writer.add("Sub", [h, fresh], name + "_d")], name + "_k")
        x = writer.add("Add", [fresh, kept], name + "_out")
        writer.goes_on_as(h, x)
    return x


def normalised(writer, x, name):
    width = writer.sizes.width
    return writer.add("LayerNormalization", [x, writer.constant(name + "_scale", numpy.ones(width, numpy.float32)), writer.constant(name + "_shift", numpy.zeros(width, numpy.float32))], name)


def fixed_caches(writer):
    """A function that puts a row into a cache, and the mask of what is not there yet."""
    sizes = writer.sizes
    places = writer.constant("places", numpy.arange(sizes.length, dtype=numpy.int64).reshape(1, sizes.length, 1))
    here = writer.add("Equal", [places, "i"], "here")
    later = writer.add("Greater", [writer.add("Reshape", [places, writer.ints("as_row", 1, 1, sizes.length)], "places_row"), "i"], "later")
    mask = writer.add("Where", [later, writer.constant("never", numpy.float32(-1e4)), writer.constant("nothing", numpy.float32(0))], "mask")

    def put(name, row):
        cache = writer.state(name, numpy.zeros((sizes.heads, sizes.length, sizes.width // sizes.heads), numpy.float32))
        writer.goes_on_as(cache, writer.add("Where", [here, row, cache], name + "_now"))
        return name + "_now"

    return put, mask


def growing_caches(writer):
    sizes = writer.sizes

    def put(name, row):
        cache = writer.state(name, numpy.zeros((sizes.heads, 0, sizes.width // sizes.heads), numpy.float32))
        writer.growing.add(name)
        writer.goes_on_as(cache, writer.add("Concat", [cache, row], name + "_now", axis=1))
        return name + "_now"

    return put, None


def attention(writer, x, caches):
    sizes = writer.sizes
    width, size = sizes.width, sizes.width // sizes.heads
    put, mask = caches(writer)
    apart = writer.ints("apart", sizes.heads, 1, size)
    for layer in range(sizes.layers):
        name = f"layer{layer}"
        products = writer.add("MatMul", [normalised(writer, x, name + "_norm"), writer.weight(name + "_qkv", width, 3 * width)], name + "_p")
        q, k, v = (writer.add("Reshape", [part, apart], part + "_heads") for part in writer.add("Split", [products], name + "_p3", 3, axis=1, num_outputs=3))
        keys, values = put(f"k{layer}", k), put(f"v{layer}", v)
        scores = writer.add("MatMul", [q, writer.add("Transpose", [keys], name + "_kt", perm=[0, 2, 1])], name + "_qk")
        scaled = writer.add("Mul", [scores, writer.constant("scale", numpy.float32(size**-0.5))], name + "_scaled")
        masked = writer.add("Add", [scaled, mask], name + "_masked") if mask else scaled
        read = writer.add("MatMul", [writer.add("Softmax", [masked], name + "_soft", axis=-1), values], name + "_read")
        joined = writer.add("Reshape", [read, writer.ints("joined", 1, width)], name + "_joined")
        x = writer.add("Add", [x, writer.add("MatMul", [joined, writer.weight(name + "_o", width, width)], name + "_o_out")], name + "_mid")
        inner = writer.add("Relu", [writer.add("MatMul", [normalised(writer, x, name + "_norm2"), writer.weight(name + "_up", width, 4 * width)], name + "_upped")], name + "_inner")
        x = writer.add("Add", [x, writer.add("MatMul", [inner, writer.weight(name + "_down", 4 * width, width)], name + "_downed")], name + "_out")
    return x


def step(kind, condition, sizes):
    """A Writer with the whole step; what `until` asks is go_on."""
    writer = Writer(sizes)
    token = writer.state("token", numpy.array([1], numpy.int64))
    table = writer.constant("embedding", writer.random.normal(size=(sizes.vocabulary, sizes.width)).astype(numpy.float32))
    embedded = writer.add("Gather", [table, token], "embedded")
    x = writer.add("Add", [embedded, "context"], "x")
    x = gru(writer, x) if kind == "gru" else attention(writer, x, growing_caches if kind == "growing" else fixed_caches)
    logits = writer.add("MatMul", [x, writer.weight("to_logits", sizes.width, sizes.vocabulary)], "logits")
    chosen = writer.add("ArgMax", [logits], "chosen", axis=1, keepdims=0)
    writer.goes_on_as(token, chosen)
    if condition == "until":
        ends = writer.add("Equal", [chosen, writer.ints("end", NO_TOKEN)], "ends")
        writer.add("Reshape", [writer.add("Not", [ends], "goes"), writer.ints("scalar")], "go_on")
    return writer


def value(name, array_or_type, shape=None):
    from onnx import helper

    if shape is None:
        array_or_type, shape = helper.np_dtype_to_tensor_dtype(array_or_type.dtype), array_or_type.shape
    return helper.make_tensor_value_info(name, array_or_type, list(shape))


def saved(nodes, inputs, outputs, constants, path):
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(nodes, "decoder", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def in_the_middle(writer):
    grown = lambda array: writer.random.normal(size=(array.shape[0], writer.sizes.steps // 2, array.shape[2])).astype(array.dtype)
    return {name: grown(array) if name in writer.growing else array for name, array in writer.states.items()}


def write(kind, condition, folder, sizes=SIZES):
    """folder/decoder/model.onnx and folder/step/model.onnx, each with its inputs as input_0.npy and so on."""
    from onnx import TensorProto, helper

    writer = step(kind, condition, sizes)
    context = (0.1 * numpy.random.default_rng(2).normal(size=(1, sizes.width))).astype(numpy.float32)  # little, so that tokens are not all alike
    shape = lambda name, array: [array.shape[0], None, array.shape[2]] if name in writer.growing else array.shape
    kind_of = lambda array: helper.np_dtype_to_tensor_dtype(array.dtype)
    number, go, go_on = value("i", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("go_on", TensorProto.BOOL, ())
    states = [value(name, kind_of(array), shape(name, array)) for name, array in writer.states.items()]
    after = [value("next_" + name, kind_of(array), shape(name, array)) for name, array in writer.states.items()]
    handed = [helper.make_node("Identity", [writer.next[name]], ["next_" + name]) for name in writer.states]
    known = [helper.make_node("Identity", ["go"], ["go_on"])] if condition == "fixed" else []
    # The step alone is what of the body has to run: not what it hands on, nor what it gives twice.
    body = helper.make_graph([*writer.nodes, *handed, *known, helper.make_node("Identity", ["chosen"], ["row"])], "step", [number, go, *states], [go_on, *after, value("row", TensorProto.INT64, (1,))])
    loop = helper.make_node("Loop", ["steps", "", *["first_" + name for name in writer.states]], [*["last_" + name for name in writer.states], "tokens"], body=body)
    firsts = {"first_" + name: array for name, array in writer.states.items()}
    both = {"decoder": ([loop], [value("context", context)], [value("tokens", TensorProto.INT64, (sizes.steps, 1))], {**writer.constants, **firsts, "steps": numpy.array(sizes.steps, numpy.int64)}, [context]),
            "step": ([*writer.nodes, *handed], [value("context", context), number, *states], after if known else [go_on, *after], writer.constants, [context, numpy.array(3, numpy.int64), *in_the_middle(writer).values()])}
    for name, (nodes, inputs, outputs, constants, given) in both.items():
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        saved(nodes, inputs, outputs, constants, os.path.join(folder, name, "model.onnx"))
        for index, array in enumerate(given):
            numpy.save(os.path.join(folder, name, f"input_{index}.npy"), array)
