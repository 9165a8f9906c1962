"""Cases that the specification does not allow and ONNX Runtime takes, and masks of other kinds: python tests/regress/loose.py FOLDER"""
import sys
import numpy as np
from onnx import TensorProto, helper
from make import graph_case

folder = sys.argv[1]
rng = np.random.default_rng(3)


def x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def loop(nodes):
    body = helper.make_graph(nodes, 'b', [info('i', [], TensorProto.INT64), info('c', [], TensorProto.BOOL), info('s', [2])],
                             [info('co', [], TensorProto.BOOL), info('so', [2])])
    return node('Loop', ['n', 'k', 'v'], ['y'], body=body)


def choice(backwards):
    branches = [helper.make_graph([node(op, ['x'], ['a']), node('Add', ['later', 'a'], ['b'])][::backwards], op, [], [info('b', [3])])
                for op in ('Neg', 'Abs')]
    return node('If', ['f'], ['y'], then_branch=branches[0], else_branch=branches[1])


truth, trips = np.array(True), np.array(3, np.int64)
steps = [node('Mul', ['s', 'w'], ['t']), node('Add', ['t', 's'], ['so']), node('Identity', ['c'], ['co'])]
around = [node('Relu', ['x'], ['v']), node('Abs', ['r'], ['w'])]
graph_case(folder, 'nodes_unsorted_body', [loop(steps[::-1])] + around, dict(x=x(2), r=x(2)), dict(n=trips, k=truth), twin=around + [loop(steps)])
exp = node('Exp', ['x'], ['later'])
graph_case(folder, 'nodes_unsorted_if', [choice(-1), exp], dict(x=x(3), f=truth), {}, twin=[exp, choice(1)])
graph_case(folder, 'domain_unimported', [node('LabelEncoder', ['x'], ['y'], domain='ai.onnx.ml', keys_int64s=[1, 2], values_floats=[0.5, 2.5])],
           dict(x=np.array([2, 1, 7])), {})
graph_case(folder, 'domain_unimported_microsoft', [node('BiasGelu', ['x', 'b'], ['y'], domain='com.microsoft')], dict(x=x(2, 3), b=x(3)), {})
graph_case(folder, 'split_last_unused', [node('Split', ['x'], ['y', '', ''], axis=1)], dict(x=x(2, 6)), {}, twin=[node('Split', ['x'], ['y', 'b', 'c'], axis=1)])
counted = helper.make_graph([node('Gather', ['x', 'i'], ['row']), node('Squeeze', ['row', 'zero'], ['flat']), node('Add', ['s', 'flat'], ['so']),
                             node('Identity', ['c'], ['co']), node('Cast', ['i'], ['seen'], to=TensorProto.FLOAT)], 'b',
                            [info('i', [1], TensorProto.INT64), info('c', [1], TensorProto.BOOL), info('s', [4])],
                            [info('co', [1], TensorProto.BOOL), info('so', [4]), info('seen', [1])])
graph_case(folder, 'loop_iteration_1d_scan', [node('Loop', ['n', 'k', 's'], ['y', 'z'], body=counted)], dict(x=x(3, 4), s=x(4)),
           dict(n=trips, k=np.array([True]), zero=np.array([0])), results=('y', 'z'))
q = x(1, 2, 3, 4)
for kind in ('int64', 'uint8', 'float64', 'float16', 'bool'):
    mask = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]]).astype(kind)
    graph_case(folder, f'att_mask_{kind}', [node('Attention', ['q', 'q', 'q', 'm'], ['y'])], dict(q=q), dict(m=mask), opsets=(('', 23),))
