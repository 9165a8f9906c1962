# Writes the regression cases of what rules move and merge: views, slices and concatenations of one another, paddings in front of pools and transposed
# convolutions, scales behind products, branches that are summed. ONNX Runtime judges.
import sys

import numpy as np

import make

random = np.random.default_rng(10)


class Model(make.Model):
    def norm(self, x, channels):
        scale, variance = (self.constant(random.uniform(0.5, 1.5, channels)) for _ in range(2))
        return self("BatchNormalization", x, scale, self.draw(channels), self.draw(channels), variance)


def repvgg(m, stride=1, group=1, identity=True):
    three = m("Conv", "x", m.draw(8, 8 // group, 3, 3), pads=[1] * 4, strides=[stride] * 2, group=group)
    one = m("Conv", "x", m.draw(8, 8 // group, 1, 1), strides=[stride] * 2, group=group)
    y = m("Add", m.norm(three, 8), m.norm(one, 8))
    return m("Relu", m("Add", y, m.norm("x", 8)) if identity else y)


def padded_pool(m, kind, value=None, **attributes):
    x = "x" if value is not None else m("Relu", "x")
    padded = m("Pad", x, m.ints(0, 0, 1, 0, 0, 0, 1, 1), m.constant(value or 0))
    return m(kind, padded, kernel_shape=[3, 3], strides=[2, 2], **attributes)


def transposed(m):
    padded = m("Pad", "x", m.ints(0, 0, 1, 1, 0, 0, 1, 0))
    y = m("ConvTranspose", padded, m.draw(8, 3, 4, 4), strides=[2, 2], pads=[3, 2, 3, 1], group=2)
    return m.norm(y, 6)


def linear(m):
    y = m("Add", m("MatMul", m("Reshape", "x", m.ints(-1, 8, 64)), m.draw(64, 5)), m.draw(5))
    return m("Relu", m("Add", m("Mul", y, m.draw(5)), m.draw(5)))


def shuffled(m):
    def shuffle(x, groups):
        y = m("Reshape", x, m.ints(-1, groups, 8 // groups, 8, 8))
        return m("Reshape", m("Transpose", y, perm=[0, 2, 1, 3, 4]), m.ints(-1, 8, 8, 8))
    return m("Add", shuffle(shuffle("x", 2), 4), shuffle("x", 2))


def pieces(m):
    parts = [m("Slice", "x", m.ints(a), m.ints(b), m.ints(1)) for a, b in ((0, 2), (2, 5), (5, 8))]
    joined = m("Concat", m("Concat", parts[0], parts[1], axis=1), parts[2], "x", axis=1)
    row = m("Gather", joined, m.constant(-3, np.int64), axis=2)
    some = m("Gather", joined, m.ints(1, 4, 7, 10), axis=1)
    padded = m("Pad", m("Pad", some, m.ints(0, 1, 0, 0, 0, 1, 0, 2)), m.ints(0, 0, 1, 0, 0, 0, 0, 1))
    inner = m("Slice", padded, m.ints(1, 1, 0), m.ints(5, 9, 8), m.ints(1, 2, 3))
    return m("Add", inner, m("Slice", m("Unsqueeze", row, m.ints(2)), m.ints(2), m.ints(6), m.ints(1)))


def meeting(m):
    last = m("Transpose", "x", perm=[0, 2, 3, 1])
    y = m("Mul", m("Add", last, m.draw(8)), m("Sigmoid", last))
    y = m("Pad", y, m.ints(0, 1, 0, 0, 0, 0, 2, 1))
    y = m("Transpose", m("Concat", y, y, axis=3), perm=[0, 3, 1, 2])
    return m("Add", y, m("Expand", m.draw(18, 1, 10), m.ints(1, 18, 9, 10)))


def normalised(m, **attributes):
    x = m("Sub", "x", m.draw(1, 8, 1, 1)) if not attributes else "x"
    x = m("Div", x, m.constant(random.uniform(0.2, 2, (8, 1, 1))))
    return m("Relu", m("Conv", x, m.draw(6, 4, 3, 2), m.draw(6), group=2, **attributes))


def linear_maps(m):
    y = m.norm(m("Conv", "x", m.draw(16, 8, 1, 1), m.draw(16)), 16)
    y = m("Conv", y, m.draw(4, 16, 1, 1), strides=[2, 2])
    y = m("Add", m("MatMul", y, m.draw(4, 24)), m.draw(24))
    return m("MatMul", m("Mul", y, m.draw(24)), m.draw(24, 3))


# A block as ConvNeXt's: products over channels that lie last, whose result is scaled and added to an image.
def channels_last_block(m, x="x"):
    y = m("Transpose", m("Conv", x, m.draw(8, 1, 3, 3), m.draw(8), pads=[1] * 4, group=8), perm=[0, 2, 3, 1])
    y = m("Add", m("MatMul", y, m.draw(8, 24)), m.draw(24))
    y = m("Add", m("MatMul", m("Mul", y, m("Sigmoid", y)), m.draw(24, 8)), m.draw(8))
    return m("Add", m("Mul", m("Transpose", y, perm=[0, 3, 1, 2]), m.draw(8, 1, 1)), x)


# Norms of an image's positions in windows of 4 x 4, projected, and put back.
def windows(m):
    last = m("Transpose", "x", perm=[0, 2, 3, 1])
    y = m("LayerNormalization", last, m.draw(8), m.draw(8))
    y = m("Transpose", m("Reshape", y, m.ints(-1, 2, 4, 2, 4, 8)), perm=[0, 1, 3, 2, 4, 5])
    y = m("MatMul", m("Reshape", y, m.ints(-1, 16, 8)), m.draw(8, 8))
    y = m("Transpose", m("Reshape", y, m.ints(-1, 2, 2, 4, 4, 8)), perm=[0, 1, 3, 2, 4, 5])
    return m("Add", last, m("Reshape", y, m.ints(-1, 8, 8, 8)))


CASES = {
    "repvgg": repvgg,
    "repvgg_strided": lambda m: repvgg(m, stride=2, identity=False),
    "repvgg_grouped": lambda m: repvgg(m, group=4),
    "pad_infinity_max_pool": lambda m: padded_pool(m, "MaxPool", -np.inf),
    "pad_relu_max_pool": lambda m: padded_pool(m, "MaxPool"),
    "pad_average_pool": lambda m: padded_pool(m, "AveragePool", 0.0),
    "pad_average_pool_uncounted": lambda m: padded_pool(m, "AveragePool", 0.0, pads=[1, 1, 0, 0]),
    "pad_conv_transpose_norm": transposed,
    "columns_scaled": linear,
    "shuffle_there_and_back": shuffled,
    "pieces_of_one_another": pieces,
    "transposes_meet": meeting,
    "normalised_image": normalised,
    "normalised_padded_image": lambda m: normalised(m, pads=[1, 0, 1, 1]),
    "linear_maps": linear_maps,
    "channels_last_blocks": lambda m: m("Conv", channels_last_block(m, channels_last_block(m)), m.draw(4, 8, 1, 1)),
    "windows": windows,
}


for name, build in CASES.items():
    for called, declared in ((name, [2, 8, 8, 8]), (name + "_open", ["n", 8, 8, 8])):
        m = Model(random)
        make.model_case(sys.argv[1], called, m, [build(m)], declared, [2, 8, 8, 8])
