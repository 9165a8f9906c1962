# Writes the regression cases of sizes that models compute from the sizes of their inputs: chains of Shape, arithmetic and Reshape, Resize, Pad, Slice, Expand, Range
# and the like, at sizes where signs and divisions go either way. ONNX Runtime judges.
import sys

import numpy as np
from onnx import TensorProto as T
from onnx import numpy_helper

import make

random = np.random.default_rng(11)


class Model(make.Model):
    def size(self, axis, of="x"):
        return self("Slice", self("Shape", of), self.ints(axis), self.ints(axis + 1))


def resized_to_other(m, **attributes):
    half = m("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = m("Resize", half, "", "", m("Shape", "x"), **attributes)
    return m("Add", y, "x")


def resized_by(m, scale):
    y = m("Resize", "x", "", m.constant([1, 1, scale, 1]), mode="nearest", nearest_mode="floor",
          coordinate_transformation_mode="asymmetric")
    return m("Reshape", y, m("Concat", m.size(0), m.ints(-1), axis=0))


def padded_to(m, after, before=0):
    amount = lambda to, axis: m("Sub", m.ints(to), m.size(axis))
    pads = m("Concat", m.ints(0, 0), amount(before, 2) if before else m.ints(0), m.ints(0, 0, 0), m.ints(0),
             amount(after, 3), axis=0)
    return m("Pad", "x", pads, m.constant(7.0))


def windows(m, size):
    def to_multiple(axis):
        left = m("Mod", m.size(axis), m.ints(size))
        return m("Mod", m("Sub", m.ints(size), left), m.ints(size))
    y = m("Pad", "x", m("Concat", m.ints(0, 0, 0, 0, 0, 0), to_multiple(2), to_multiple(3), axis=0))
    for axis in (2, 3):
        shift = m("Mod", m.ints(size // 2), m.size(axis, y))
        y = m("Concat", m("Slice", y, shift, m.ints(2**60), m.ints(axis)), m("Slice", y, m.ints(0), shift, m.ints(axis)),
              axis=axis)
    count = lambda axis: m("Div", m.size(axis, y), m.ints(size))
    apart = m("Concat", m.size(0), m.ints(8), count(2), m.ints(size), count(3), m.ints(size), axis=0)
    y = m("Transpose", m("Reshape", y, apart), perm=[0, 2, 4, 3, 5, 1])
    return m("Reshape", y, m.ints(-1, size * size, 8))


def expanded(m):
    wanted = m("Concat", m.size(0), m.ints(-1), m.ints(-1), m.ints(5, 1), m.size(2), axis=0)
    wanted = m("Slice", wanted, m.ints(0), m.ints(4))
    shape = m("Concat", m.size(0), m.ints(8), m.size(2), m.size(3), axis=0)
    open = m("Equal", wanted, m("Mul", m("ConstantOfShape", m.ints(4), value=numpy_helper.from_array(np.ones(1, np.int64))), m.ints(-1)))
    y = m("Expand", m.draw(1, 8, 1, 1), m("Where", open, shape, wanted))
    return m("Add", m("ReduceSum", "x", m.ints(3), keepdims=1), y)


def cut_off(m):
    count = m("Add", m("Div", m("Sub", m.size(2), m.ints(5)), m.ints(2)), m.ints(3))
    y = m("Expand", m.constant(1.5), m("Concat", count, m.size(3), axis=0))
    return m("Mul", y, m("ReduceMean", "x", axes=[0, 1, 2, 3], keepdims=0))


def counted_from_the_end(m):
    start = m("Sub", m.size(3), m.ints(6))
    y = m("Slice", "x", start, m.size(3), m.ints(3))
    return m("Slice", y, m.ints(-2), m("Neg", m("Sub", m.size(2), m.ints(9))), m.ints(2))


def positions(m):
    last = m("Squeeze", m.size(3), m.ints(0))
    places = m("Range", m.constant(0, np.int64), last, m.constant(1, np.int64))
    later = m("Greater", m("Unsqueeze", places, m.ints(0)), m("Unsqueeze", places, m.ints(1)))
    mask = m("Where", later, m.constant(-1e9), m.constant(0))
    scores = m("MatMul", m("Transpose", "x", perm=[0, 1, 3, 2]), "x")
    y = m("Softmax", m("Add", scores, mask), axis=-1)
    floats = m("Cast", m("Shape", y), to=T.FLOAT)
    halves = m("Cast", m("Floor", m("Div", floats, m.constant(1.0))), to=T.INT64)
    return m("Reshape", y, m("Concat", m("Slice", halves, m.ints(0), m.ints(2)), m.ints(-1), axis=0))


def least_and_most(m):
    side = m("Max", m("Min", m.size(2), m.size(3)), m.ints(2))
    even = m("Cast", m("Equal", m("Mod", side, m.ints(2)), m.ints(0)), to=T.INT64)
    y = m("Slice", "x", even, m("Add", even, side), m.ints(3))
    return m("Tile", y, m("Concat", m.ints(1, 1), m("Add", even, m.ints(1)), m.ints(1), axis=0))


def read_by_positions(m):
    count = lambda axis: m("Range", m.constant(0, np.int64), m("Squeeze", m.size(axis), m.ints(0)), m.constant(1, np.int64))
    rows, columns = (m("Unsqueeze", count(axis), m.ints(at)) for axis, at in ((2, 1), (3, 0)))
    flat = m("Reshape", "x", m.ints(0, 8, -1))
    y = m("Gather", flat, m("Add", m("Mul", rows, m.size(3)), columns), axis=2)
    turned = m("Sub", m("Sub", m.size(3), m.ints(1)), columns)
    y = m("Sub", y, m("GatherElements", "x", m("Expand", turned, m("Shape", "x")), axis=3))
    grid = m("Concat", m.size(2), m.size(3), m.ints(1), axis=0)
    joined = m("Concat", *(m("Expand", m("Unsqueeze", v, m.ints(2)), grid) for v in (rows, columns)), axis=2)
    z = m("GatherND", m("Transpose", "x", perm=[2, 3, 0, 1]), joined)
    inside = m("And", m("GreaterOrEqual", rows, m.constant(0, np.int64)), m("Less", columns, m.size(3)))
    return m("Where", inside, m("Add", y, m("Transpose", z, perm=[2, 3, 0, 1])), m.constant(9.0))


CASES = {
    "resized_to_other": (lambda m: resized_to_other(m, mode="nearest"), [(5, 8), (8, 7)]),
    "resized_to_other_linear": (lambda m: resized_to_other(m, mode="linear"), [(6, 9)]),
    "resized_to_other_cubic": (lambda m: resized_to_other(m, mode="cubic", coordinate_transformation_mode="align_corners"), [(7, 4)]),
    "resized_by_half": (lambda m: resized_by(m, 0.5), [(5, 3), (8, 8)]),
    "resized_by_more": (lambda m: resized_by(m, 1.75), [(5, 3), (4, 2)]),
    "pad_or_cut": (lambda m: padded_to(m, 6), [(4, 3), (4, 6), (4, 9)]),
    "pad_or_cut_both": (lambda m: padded_to(m, 6, 5), [(3, 8), (8, 4)]),
    "windows": (lambda m: windows(m, 4), [(8, 8), (5, 11), (4, 3)]),
    "expanded": (expanded, [(3, 5)]),
    "cut_off": (cut_off, [(2, 3), (4, 1), (5, 2), (8, 2)]),
    "counted_from_the_end": (counted_from_the_end, [(4, 9), (8, 4), (11, 6)]),
    "positions": (positions, [(3, 5), (2, 1)]),
    "least_and_most": (least_and_most, [(5, 7), (6, 4)]),
    "read_by_positions": (read_by_positions, [(3, 5), (1, 4)]),
}


for name, (build, sizes) in CASES.items():
    for height, width in sizes:
        m = Model(random)
        make.model_case(sys.argv[1], f"shape_{name}_{height}_{width}", m, [build(m)], ["n", 8, "h", "w"], [2, 8, height, width])
