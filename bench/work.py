"""The work that a model's graph asks for, and the time below which a chip cannot do it.

Counted are convolutions, products and recurrent layers: twice the multiply-adds, and each operand and result once. Of a product of two computed values (attention)
only the operations and what enters the attention count, since a fused one keeps its scores on the chip. Everything else is taken as free: fused into those. So
the floor is one that a perfect step-by-step engine could reach, not one that this or any other does; an engine that keeps values on the chip from
one convolution to the next could in principle go below.

    floor = sum over steps of max(operations / the chip's rate, bytes / the chip's bandwidth)
"""
import math

# Operations a second of the matrix units in half precision (fp32 accumulation, random data) and bytes a second of a device-to-device copy, both
# measured, by the name that nvidia-smi gives.
RATES = {
    "NVIDIA H200": {"operations": 790e12, "bytes": 4.3e12},
    "NVIDIA H100 80GB HBM3": {"operations": 790e12, "bytes": 3.0e12},
}
LARGEST_SHAPE = 512  # elements of a constant that may be a shape
FOLDED = ("ConstantOfShape", "Mul", "Equal", "Where")
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def shapes_of(model):
    """Name -> dims of every value whose shape is known, and the names of constants."""
    shapes, constants = {}, set()
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
            dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
            if None not in dims:
                shapes[value.name] = tuple(dims)
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        constants.add(tensor.name)
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants.add(node.output[0])
            for attribute in node.attribute:
                if attribute.name == "value":
                    shapes[node.output[0]] = tuple(attribute.t.dims)
        elif node.input and all(name in constants for name in node.input if name):
            constants.update(node.output)
    return shapes, constants


def fold(model):
    """Shapes that an exporter computes from constants (of -1 and "keep this"), which inference does not follow, become constants."""
    import onnx
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if math.prod(tensor.dims) <= LARGEST_SHAPE}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value" and math.prod(node.attribute[0].t.dims) <= LARGEST_SHAPE:
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type in FOLDED and all(name in known for name in node.input):
            given = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(known[name].dtype), known[name].shape) for name in dict.fromkeys(node.input)]
            graph = onnx.helper.make_graph([node], "one", given, [onnx.helper.make_empty_tensor_value_info(node.output[0])])
            one = onnx.helper.make_model(graph, opset_imports=model.opset_import)
            known[node.output[0]] = ReferenceEvaluator(one).run(None, {name: known[name] for name in node.input})[0]
            constant = numpy_helper.from_array(known[node.output[0]])
            node.CopyFrom(onnx.helper.make_node("Constant", [], list(node.output), node.name, value=constant))


def attributes_of(node):
    import onnx

    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def step(node, shapes, constants):
    """{"op", "name", "flops", "elements", "key"} of one node, or None where a shape is not known."""
    read = [name for name in node.input if name]
    if any(name not in shapes for name in (*node.input[:2], node.output[0])):
        return None
    a, b, y = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
    size = math.prod
    attributes = attributes_of(node)
    elements = sum(size(shapes.get(name, ())) for name in read) + size(y)
    if node.op_type == "Conv":
        flops = 2 * size(y) * size(b[1:])
    elif node.op_type == "ConvTranspose":
        flops = 2 * size(a) * size(b[1:])
    elif node.op_type == "MatMul":
        flops = 2 * size(y) * a[-1]
        if node.input[0] not in constants and node.input[1] not in constants:
            elements = min(size(a), size(b)) + min(size(y), max(size(a), size(b)))  # scores, in or out, are not counted
    elif node.op_type == "Gemm":
        flops = 2 * size(y) * (a[0] if attributes.get("transA") else a[1])
    else:  # steps, batch, width; directions, gates * hidden, width
        flops = 2 * a[0] * a[1] * b[0] * b[1] * (a[2] + attributes["hidden_size"])
    kept = {k: v for k, v in attributes.items() if k in ("strides", "pads", "dilations", "group", "output_padding", "transA", "transB")}
    return {"op": node.op_type, "name": node.name, "flops": int(flops), "elements": int(elements), "key": f"{node.op_type} {a} {b} {sorted(kept.items())}"}


def count(path):
    """{"steps": [...], "flops": all of them, "uncounted": names of nodes whose shapes are not known} of an ONNX file with fixed shapes."""
    import onnx

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and math.prod(tensor.dims) > LARGEST_SHAPE:  # of weights the dims are enough, and inference would copy them several times
            tensor.ClearField("raw_data")
    fold(model)
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes, constants = shapes_of(model)
    steps, uncounted = [], []
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            counted = step(node, shapes, constants)
            if counted:
                steps.append(counted)
            else:
                uncounted.append(node.name)
    return {"steps": steps, "flops": sum(s["flops"] for s in steps), "uncounted": uncounted}


def floor_ms(steps, rates, width):
    """Of elements that are `width` bytes wide; None where the chip's rates are not known."""
    if not rates:
        return None
    return sum(max(s["flops"] / rates["operations"], s["elements"] * width / rates["bytes"]) for s in steps) * 1e3
