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


def case(folder, name, op, feeds, outputs=1, constants=(), domain='com.microsoft', opset=17, version=1, inputs=None, **attributes):
    """feeds: name -> array, in the order of the operator's inputs (None: absent); those named in `constants` become initializers."""
    names = [n if v is not None else '' for n, v in feeds.items()] if inputs is None else inputs
    results = [f'y{i}' for i in range(outputs)]
    attributes = {k.rstrip('_'): v for k, v in attributes.items() if v is not None}
    node = helper.make_node(op, names, results, domain=domain, **attributes)
    given = {n: v for n, v in feeds.items() if v is not None}
    graph = helper.make_graph(
        [node], 'g', [helper.make_tensor_value_info(n, KINDS[v.dtype], v.shape) for n, v in given.items() if n not in constants],
        [onnx.ValueInfoProto(name=r) for r in results], [numpy_helper.from_array(v, n) for n, v in given.items() if n in constants])
    opsets = [helper.make_opsetid('', opset)] + ([helper.make_opsetid(domain, version)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    run = {n: v for n, v in given.items() if n not in constants}
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
        expected = session.run(None, run)
    except Exception as error:
        print(f'{name}: {str(error)[:300]}')
        return
    for out, result in zip(graph.output, expected):
        out.CopyFrom(helper.make_tensor_value_info(out.name, KINDS[result.dtype], result.shape))
    model.graph.CopyFrom(graph)
    data = os.path.join(folder, name, 'test_data_set_0')
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, name, 'model.onnx'))
    for i, (n, v) in enumerate(run.items()):
        onnx.save_tensor(numpy_helper.from_array(v, n), os.path.join(data, f'input_{i}.pb'))
    for i, v in enumerate(expected):
        onnx.save_tensor(numpy_helper.from_array(v, results[i]), os.path.join(data, f'output_{i}.pb'))
