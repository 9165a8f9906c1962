"""A model in half precision, made of that in fp32: every value of fp32 becomes one of fp16, so that no operator meets both and no product stays in fp32.

This is the form that users of ONNX Runtime take. Exporting a module that is half precision itself is no replacement: PyTorch's exporter writes some constants in fp32 whatever the module is (0 and
-inf, where attention has a mask), and all that follows them becomes fp32, or is refused. What an operator's schema wants in fp32 (the scales of Resize, the bounds of Range) stays so, between casts.
Constants that fp16 has no number for become its largest rather than infinite, or its least rather than zero, which would be a divisor.
"""
import os

import numpy
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

NAME = "model_half.onnx"
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "output_datatype")  # the type of a result; `stash_type` is that of what is computed inside


def path(folder):
    """The model of a row's folder in half precision, made where it is not there yet, whole or not at all."""
    wanted = os.path.join(folder, NAME)
    if not os.path.exists(wanted):
        unfinished = f"{wanted}.{os.getpid()}"
        fold(os.path.join(folder, "model.onnx"), unfinished)
        onnx.save(convert(onnx.load(unfinished)), unfinished)
        os.replace(unfinished, wanted)
    return wanted


def fold(source, wanted):
    """By ONNX Runtime itself, in fp32: of half precision its folding knows few operators, and would leave the rest to every inference."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = wanted
    onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])


def convert(model):
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    Converter(model).graph(model.graph)
    return model


def rounded(tensor):
    values, limits = numpy_helper.to_array(tensor), numpy.finfo(numpy.float16)
    with numpy.errstate(over="ignore", under="ignore"):
        halves = values.astype(numpy.float16)
    halves = numpy.where(numpy.isinf(halves) & numpy.isfinite(values), numpy.copysign(limits.max, values), halves)
    halves = numpy.where((halves == 0) & (values != 0), numpy.copysign(limits.smallest_subnormal, values), halves)
    return numpy_helper.from_array(halves.astype(numpy.float16), tensor.name)


def convert_type(kind):
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(kind, which)
        tensor.elem_type = TensorProto.FLOAT16 if tensor.elem_type == TensorProto.FLOAT else tensor.elem_type
    elif which in ("sequence_type", "optional_type"):
        convert_type(getattr(kind, which).elem_type)


def subgraphs(graph):
    for node in graph.node:
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs):
                yield inner
                yield from subgraphs(inner)


def float_values(model):
    """Names of the values of fp32, by inference over the model without its weights."""
    typed = lambda t: helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
    known, graph = {value.name for value in model.graph.input}, model.graph
    inputs = [*graph.input, *(typed(t) for t in graph.initializer if t.name not in known)]
    bare = helper.make_model(helper.make_graph(graph.node, "bare", inputs, graph.output), opset_imports=model.opset_import, ir_version=model.ir_version)
    bare = onnx.shape_inference.infer_shapes(bare).graph
    found = set()
    for each in (bare, *subgraphs(bare)):
        found |= {value.name for value in (*each.input, *each.output, *each.value_info) if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        found |= {tensor.name for tensor in each.initializer if tensor.data_type == TensorProto.FLOAT}
    return found


def takes_half(formals, place):
    """Whether the operand or result at this place may be of half precision."""
    kinds = formals[min(place, len(formals) - 1)].types
    return "tensor(float16)" in kinds or "tensor(float)" not in kinds


class Converter:
    def __init__(self, model):
        self.versions = {entry.domain: entry.version for entry in model.opset_import}
        self.floats = float_values(model)
        self.constants = {}  # {name: tensor} of fp32, as they were
        self.made = 0

    def schema(self, node):
        """None: an operator that onnx does not know, which is believed to take half precision."""
        try:
            return onnx.defs.get_schema(node.op_type, self.versions.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            return None

    def graph(self, graph):
        floats = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT]
        self.constants.update({tensor.name: tensor for tensor in floats})
        nodes = [made for node in graph.node for made in self.node(node)]
        del graph.node[:]
        graph.node.extend(nodes)
        for tensor in floats:
            tensor.CopyFrom(rounded(tensor))
        for value in (*graph.input, *graph.output, *graph.value_info):
            convert_type(value.type)

    def node(self, node):
        """The node, between the casts and constants that it needs."""
        before, after, schema = [], [], self.schema(node)
        for place, name in enumerate(node.input):
            if name in self.floats and schema and not takes_half(schema.inputs, place):
                node.input[place] = self.as_float(name, before)
        for place, name in enumerate(node.output):
            if name in self.floats and schema and not takes_half(schema.outputs, place):
                node.output[place] = self.name_for(name)
                after.append(helper.make_node("Cast", [node.output[place]], [name], to=TensorProto.FLOAT16))
        self.attributes(node)
        return [*before, node, *after]

    def attributes(self, node):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(numpy.array(helper.get_attribute_value(attribute), numpy.float32))))
            if attribute.type == AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                if node.op_type == "Constant":
                    self.constants[node.output[0]] = TensorProto.FromString(attribute.t.SerializeToString())
                attribute.t.CopyFrom(rounded(attribute.t))
            elif attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            for inner in ([attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs):
                self.graph(inner)

    def as_float(self, name, before):
        wanted = self.name_for(name)
        constant = self.constants.get(name)
        before.append(helper.make_node("Constant", [], [wanted], value=constant) if constant else helper.make_node("Cast", [name], [wanted], to=TensorProto.FLOAT))
        return wanted

    def name_for(self, name):
        self.made += 1
        return f"{name}_fp32_{self.made}"
