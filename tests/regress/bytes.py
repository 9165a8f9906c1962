"""Writes the cases of products and convolutions of bytes: every pair of types, zero points of a tensor and of channels, extreme values, depths and
widths that fill no unit, padding that must be a zero point, operands known while building and only at run time.

    python3 tests/regress/bytes.py tests/regress
"""
import sys

import numpy as np
from onnx import helper

from make import graph_case

rng = np.random.default_rng(5)
folder = sys.argv[1]
TYPES = {'u8': np.uint8, 'i8': np.int8}


def data(kind, *shape):
    info = np.iinfo(TYPES[kind])
    out = rng.integers(info.min, info.max + 1, shape).astype(TYPES[kind])
    if out.size > 8:
        out.flat[:2], out.flat[-2:] = info.min, info.max
    return out


def point(kind, value=None, *shape):
    return np.full(shape, value, TYPES[kind]) if value is not None else data(kind, *shape)


def node_case(name, op, feeds, constants, **attributes):
    inputs = {n: v for n, v in feeds.items() if v is not None}
    node = helper.make_node(op, [n if v is not None else '' for n, v in feeds.items()], ['y'], **attributes)
    return graph_case(folder, name, [node], {n: v for n, v in inputs.items() if n not in constants},
                      {n: v for n, v in inputs.items() if n in constants})


# ONNX Runtime sums convolutions of other pairs than u8 by u8 not at all: exact sums, from numpy, judge them.
def sums(x, xz, w, wz, stride, pad, group):
    a, b = x.astype(np.int64) - (0 if xz is None else int(xz)), w.astype(np.int64)
    if wz is not None:
        b = b - wz.astype(np.int64).reshape(-1, 1, 1, 1)
    a = np.pad(a, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    m, c, k, _ = b.shape
    rows = (a.shape[2] - k) // stride + 1
    y = np.zeros((a.shape[0], m, rows, rows), np.int64)
    for o in range(m):
        first = o // (m // group) * c
        for i in range(rows):
            for j in range(rows):
                y[:, o, i, j] = (a[:, first:first + c, i * stride:i * stride + k, j * stride:j * stride + k] * b[o]).sum((1, 2, 3))
    return y.astype(np.int32)


def matmuls():
    for a in TYPES:
        for b in TYPES:
            x, w = data(a, 5, 37), data(b, 37, 70)
            node_case(f'bytes_{a}_{b}', 'MatMulInteger', dict(a=x, b=w, az=point(a), bz=point(b)), ('b', 'bz'))
            node_case(f'bytes_{a}_{b}_columns', 'MatMulInteger', dict(a=data(a, 14, 64), b=data(b, 64, 33), az=point(a), bz=data(b, 33)), ('b', 'bz'))
    x, w = data('u8', 2, 3, 13, 40), data('i8', 40, 31)
    node_case('bytes_bare', 'MatMulInteger', dict(a=x, b=w), ('b',))
    node_case('bytes_bare_i8', 'MatMulInteger', dict(a=data('i8', 7, 12), b=data('u8', 12, 5)), ('b',))
    node_case('bytes_open', 'MatMulInteger', dict(a=x, b=w, az=point('u8'), bz=point('i8')), ())
    node_case('bytes_open_zero', 'MatMulInteger', dict(a=x, b=w, az=point('u8'), bz=point('i8')), ('b',))
    node_case('bytes_batches', 'MatMulInteger', dict(a=data('u8', 3, 1, 6, 20), b=data('i8', 4, 20, 9), az=point('u8', 255), bz=point('i8', -128)), ('b', 'bz'))
    node_case('bytes_row', 'MatMulInteger', dict(a=data('u8', 1, 1027), b=data('u8', 1027, 130), az=point('u8', 3), bz=point('u8', 200)), ('b', 'bz'))
    node_case('bytes_extremes', 'MatMulInteger', dict(a=np.full((3, 300), 255, np.uint8), b=np.full((300, 40), -128, np.int8), az=point('u8', 0), bz=point('i8', 127)), ('b', 'bz'))
    node_case('bytes_qlinear', 'QLinearMatMul', dict(a=data('u8', 9, 50), s=np.float32(.01), az=point('u8'), b=data('i8', 50, 21), t=np.float32(.02), bz=point('i8', 5), u=np.float32(.3), yz=point('u8', 100)),
              ('b', 's', 't', 'bz', 'u', 'yz'))


def convolutions():
    for a, b, channels, filters, group, stride, pad, kernel, per_channel in (
            ('u8', 'u8', 3, 16, 1, 2, 1, 3, False), ('u8', 'u8', 16, 40, 1, 1, 1, 3, False), ('u8', 'u8', 12, 8, 2, 1, 2, 5, False),
            ('u8', 'i8', 6, 10, 2, 1, 1, 3, True), ('i8', 'i8', 8, 33, 1, 2, 1, 3, True), ('i8', 'u8', 5, 7, 1, 1, 0, 1, True),
            ('u8', 'u8', 9, 9, 9, 1, 1, 3, False), ('i8', 'i8', 9, 9, 9, 2, 1, 3, True)):
        x, w = data(a, 2, channels, 11, 11), data(b, filters, channels // group, kernel, kernel)
        xz, wz = point(a), data(b, filters) if per_channel else point(b)
        name = f'bytes_conv_{a}_{b}_{channels}_{filters}_{group}'
        feeds, constants = {'x': x, 'xz': xz}, {'w': w, 'wz': wz}
        node = helper.make_node('ConvInteger', ['x', 'w', 'xz', 'wz'], ['y'], strides=[stride] * 2, pads=[pad] * 4, group=group)
        graph_case(folder, name, [node], feeds, constants, expected=[sums(x, xz, w, wz, stride, pad, group)])
    x, w = data('u8', 1, 8, 9, 9), data('i8', 12, 8, 3, 3)
    for name, zero in (('bytes_qconv', point('i8', 0, 12)), ('bytes_qconv_zero', point('i8', 0))):
        node_case(name, 'QLinearConv', dict(x=x, s=np.float32(.02), xz=point('u8', 77), w=w, t=np.full(zero.shape, .01, np.float32), wz=zero, u=np.float32(.2), yz=point('u8', 120),
                                            b=rng.integers(-500, 500, 12).astype(np.int32)), ('s', 'xz', 'w', 't', 'wz', 'u', 'yz', 'b'), pads=[1, 1, 1, 1])


# A tensor large enough that several threads share its one row of minima and maxima; the next product reads what it was quantised to.
def dynamic():
    nodes = [helper.make_node('DynamicQuantizeLinear', ['x'], ['q', 's', 'z']), helper.make_node('MatMulInteger', ['q', 'w', 'z'], ['m']),
             helper.make_node('Cast', ['m'], ['f'], to=1), helper.make_node('Mul', ['f', 's'], ['y'])]
    for name, x in (('bytes_dynamic', rng.standard_normal((300, 520)).astype(np.float32)), ('bytes_dynamic_positive', rng.random((300, 520)).astype(np.float32) + 1)):
        graph_case(folder, name, nodes, {'x': x}, {'w': rng.integers(-128, 128, (520, 4)).astype(np.int8)}, results=('y', 'z', 's'))


matmuls()
convolutions()
dynamic()
