"""What the scripts beside share: writes one case, laid out as the backend suite's are, with ONNX Runtime's results as expected outputs."""
import os
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
KINDS = {np.dtype('float32'): TensorProto.FLOAT, np.dtype('int32'): TensorProto.INT32, np.dtype('int64'): TensorProto.INT64,
         np.dtype('uint8'): TensorProto.UINT8, np.dtype('int8'): TensorProto.INT8, np.dtype('bool'): TensorProto.BOOL,
         np.dtype('float64'): TensorProto.DOUBLE, np.dtype('object'): TensorProto.STRING}


def graph_case(folder, name, nodes, feeds, constants, results=('y',), opsets=(('', 17),), twin=None, expected=None):
    """feeds and constants: name -> array. twin: the same in a form that ONNX Runtime takes; expected: results where it takes
    none. What it refuses is named and left out."""
    if twin:
        expected = graph_case(None, name, twin, feeds, constants, results, opsets)
    graph = helper.make_graph(nodes, 'g', [helper.make_tensor_value_info(n, KINDS[v.dtype], v.shape) for n, v in feeds.items()],
                              [onnx.ValueInfoProto(name=r) for r in results],
                              [numpy_helper.from_array(v, n) for n, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=9)
    if expected is None:
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
            expected = session.run(None, feeds)
        except Exception as error:
            print(f'{name}: {str(error)[:300]}')
            return None
    if folder is None:
        return expected
    for out, result in zip(graph.output, expected):
        out.CopyFrom(helper.make_tensor_value_info(out.name, KINDS[result.dtype], result.shape))
    model.graph.CopyFrom(graph)
    data = os.path.join(folder, name, 'test_data_set_0')
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, name, 'model.onnx'))
    for i, (n, v) in enumerate(feeds.items()):
        onnx.save_tensor(numpy_helper.from_array(v, n), os.path.join(data, f'input_{i}.pb'))
    for i, v in enumerate(expected):
        onnx.save_tensor(numpy_helper.from_array(v, results[i]), os.path.join(data, f'output_{i}.pb'))
    return expected


def case(folder, name, op, feeds, outputs=1, constants=(), domain='com.microsoft', opset=17, version=1, inputs=None, **attributes):
    """One operator. feeds: name -> array, in the order of its inputs (None: absent); those named in `constants` become initializers. An
    underscore behind an attribute's name is dropped."""
    names = [n if v is not None else '' for n, v in feeds.items()] if inputs is None else inputs
    results = [f'y{i}' for i in range(outputs)]
    node = helper.make_node(op, names, results, domain=domain, **{k.rstrip('_'): v for k, v in attributes.items() if v is not None})
    given = {n: v for n, v in feeds.items() if v is not None}
    opsets = [('', opset)] + ([(domain, version)] if domain else [])
    graph_case(folder, name, [node], {n: v for n, v in given.items() if n not in constants},
               {n: v for n, v in given.items() if n in constants}, results, opsets)


class Model:
    """Nodes of float models with one input `x`, written by calls: m('Relu', 'x') adds a node and gives its result's name."""

    def __init__(self, random):
        self.random, self.nodes, self.constants, self.count = random, [], [], 0

    def constant(self, value, dtype=np.float32):
        self.count += 1
        name = f'c{self.count}'
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values):
        return self.constant(values, np.int64)

    def draw(self, *shape):
        return self.constant(self.random.normal(0, 0.4, shape))

    def __call__(self, kind, *inputs, **attributes):
        self.count += 1
        name = f'v{self.count}'
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def model_case(folder, name, model, results, declared, dims):
    """x: normal numbers of `dims`, declared as `declared`; what the model makes of them without any optimisation is expected."""
    graph = helper.make_graph(model.nodes, name, [helper.make_tensor_value_info('x', TensorProto.FLOAT, declared)],
                              [helper.make_tensor_value_info(result, TensorProto.FLOAT, None) for result in results], model.constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    x = model.random.normal(0, 1, dims).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {'x': x})
    data = os.path.join(folder, name, 'test_data_set_0')
    os.makedirs(data, exist_ok=True)
    onnx.save(proto, os.path.join(folder, name, 'model.onnx'))
    for file, value, called in [('input_0.pb', x, 'x')] + [(f'output_{i}.pb', y, r) for i, (y, r) in enumerate(zip(expected, results))]:
        with open(os.path.join(data, file), 'wb') as out:
            out.write(numpy_helper.from_array(value, called).SerializeToString())
