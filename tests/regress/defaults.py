"""Initializers that are also inputs, declared without a shape: python tests/regress/defaults.py FOLDER"""
import os
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

folder = sys.argv[1]
rng = np.random.default_rng(11)
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


def case(name, nodes, feeds, defaults, given):
    """defaults: name -> array; given: what overrides some of them."""
    inputs = [helper.make_tensor_value_info(n, FLOAT, v.shape) for n, v in feeds.items()]
    inputs += [helper.make_tensor_value_info(n, INT if v.dtype == np.int64 else FLOAT, None) for n, v in defaults.items()]
    graph = helper.make_graph(nodes, 'g', inputs, [helper.make_tensor_value_info('y', FLOAT, None)],
                              [numpy_helper.from_array(v, n) for n, v in defaults.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    expected = session.run(None, {**feeds, **given})[0]
    data = os.path.join(folder, name, 'test_data_set_0')
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, name, 'model.onnx'))
    for i, n in enumerate([*feeds, *defaults]):
        value = {**feeds, **given}.get(n)
        if value is not None:
            onnx.save_tensor(numpy_helper.from_array(value, n), os.path.join(data, f'input_{i}.pb'))
    onnx.save_tensor(numpy_helper.from_array(expected, 'y'), os.path.join(data, 'output_0.pb'))


layer = [node('MatMul', 'x w', 'm'), node('Add', 'm b', 'a'), node('Relu', 'a', 'y')]
weights = dict(w=x(3, 4), b=x(4))
case('init_rank_kept', layer, dict(x=x(2, 3)), weights, {})
case('init_rank_fewer', layer, dict(x=x(2, 3)), weights, dict(b=x()))
case('init_rank_more', layer, dict(x=x(2, 3)), weights, dict(b=x(2, 4), w=x(5, 3, 4)))
case('init_rank_of_axes', [node('ReduceSum', 'x a', 's', keepdims=0), node('Neg', 's', 'y')], dict(x=x(2, 3, 4)), dict(a=np.array([1])),
     dict(a=np.array([0, -1])))
case('init_rank_of_places', [node('Gather', 'x i', 'y', axis=1)], dict(x=x(2, 5)), dict(i=np.array([1, 0])), dict(i=np.array([[3, 4], [0, -1]])))
