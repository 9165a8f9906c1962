"""Cases of more than eight axes: python tests/regress/ranks.py FOLDER"""
import sys
import numpy as np
from onnx import helper
from make import graph_case

folder = sys.argv[1]
rng = np.random.default_rng(5)


def x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


nine = (2, 1, 3, 2, 1, 2, 2, 3, 2)
shuffle = [node('Reshape', 'x s', 'a'), node('Transpose', 'a', 'b', perm=[0, 5, 1, 6, 2, 7, 3, 8, 4, 9]), node('Reshape', 'b t', 'y')]
graph_case(folder, 'rank10_shuffle', shuffle, dict(x=x(2, 96, 4, 3)),
           dict(s=ints(2, 2, 3, 2, 2, 2, 2, 1, 4, 3), t=ints(2, 24, 8, 6)))
graph_case(folder, 'rank9_transpose', [node('Transpose', 'x', 'y', perm=[8, 0, 7, 2, 6, 4, 3, 1, 5])], dict(x=x(*nine)), {})
graph_case(folder, 'rank9_add', [node('Add', 'x z', 'a'), node('Relu', 'a', 'y')], dict(x=x(*nine), z=x(3, 2, 1, 1, 2, 1, 2)), {})
graph_case(folder, 'rank9_slice', [node('Slice', 'x f t a s', 'y')], dict(x=x(*nine)), dict(f=ints(1, -1), t=ints(3, -9), a=ints(2, 7), s=ints(1, -2)))
graph_case(folder, 'rank9_concat', [node('Concat', 'x z x', 'y', axis=5)], dict(x=x(*nine), z=x(2, 1, 3, 2, 1, 1, 2, 3, 2)), {})
graph_case(folder, 'rank9_expand', [node('Expand', 'x s', 'y')], dict(x=x(2, 1, 3, 1, 2)), dict(s=ints(2, 1, 2, 1, 2, 3, 3, 2, 2)))
graph_case(folder, 'rank9_gather', [node('Gather', 'x i', 'y', axis=2)], dict(x=x(*nine)), dict(i=ints(2, 0)))
graph_case(folder, 'rank9_sum', [node('ReduceSum', 'x a', 'y', keepdims=0)], dict(x=x(*nine)), dict(a=ints(1, 3, 8)))
graph_case(folder, 'rank9_pad', [node('Pad', 'x p', 'y')], dict(x=x(*nine)), dict(p=ints(*[0, 0, 1] + [0] * 6 + [1] + [0] * 8)))
graph_case(folder, 'rank12_windows', [node('Reshape', 'x s', 'a'), node('Transpose', 'a', 'y', perm=[0, 1, 3, 5, 7, 9, 2, 4, 6, 8, 10, 11])],
           dict(x=x(2, 4, 4, 4, 4, 3)), dict(s=ints(1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 1)))
