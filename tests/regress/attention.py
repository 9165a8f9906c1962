# Writes the regression cases of attention as models have it: heads seen through views, masks before and behind the scale, positions, windows, guards against rows that
# see nothing, keys shared by heads, weights that are given out. ONNX Runtime judges.
import sys

import numpy as np

import make

random = np.random.default_rng(12)
LENGTH, WIDTH, HEADS = 13, 32, 4


class Model(make.Model):
    def draw(self, *shape):
        return self.constant(random.normal(0, 0.2, shape))

    def linear(self, x, width=WIDTH):
        return self("Add", self("MatMul", x, self.draw(WIDTH, width)), self.draw(width))

    def heads(self, x, heads=HEADS, width=WIDTH):
        return self("Transpose", self("Reshape", x, self.ints(0, -1, heads, width // heads)), perm=[0, 2, 1, 3])

    def scores(self, q, k):
        return self("Mul", self("MatMul", q, self("Transpose", k, perm=[0, 1, 3, 2])), self.constant((WIDTH // HEADS) ** -0.5))

    def joined(self, y):
        """Away from zero, where rounding would count for more than it is: what is added goes with the product."""
        return self("Add", self("Reshape", self("Transpose", y, perm=[0, 2, 1, 3]), self.ints(0, -1, WIDTH)), self.constant(4.0))

    def attend(self, change=lambda m, s: s, weights=lambda m, p: p, keys_heads=HEADS, source="x"):
        q = self.heads(self.linear("x"))
        k, v = (self.heads(self.linear(source, WIDTH // HEADS * keys_heads), keys_heads, WIDTH // HEADS * keys_heads) for _ in range(2))
        p = weights(self, self("Softmax", change(self, self.scores(q, k)), axis=-1))
        return self.joined(self("MatMul", p, v)), p


def causal(m, s):
    size = m("Slice", m("Shape", "x"), m.ints(1), m.ints(2))
    ones = m("Expand", m.constant([[1.0]]), m("Concat", size, size, axis=0))
    earlier = m("Cast", m("Trilu", ones, upper=0), to=9)
    return m("Where", earlier, s, m.constant(-np.inf))


def blind(m, s):
    """The third row sees nothing."""
    size = m("Slice", m("Shape", "x"), m.ints(1), m.ints(2))
    rows = m("Range", m.constant(0, np.int64), m("Squeeze", size), m.constant(1, np.int64))
    third = m("Unsqueeze", m("Equal", rows, m.constant(2, np.int64)), m.ints(1))
    return m("Where", third, m.constant(-np.inf), s)


def guard(m, p):
    return m("Where", m("IsNaN", p), m.constant(0.0), p)


def packed(m):
    q, k, v = (m.heads(m("Slice", qkv, m.ints(i * WIDTH), m.ints((i + 1) * WIDTH), m.ints(2))) for qkv in [m.linear("x", 3 * WIDTH)] for i in range(3))
    return m.joined(m("MatMul", m("Softmax", m.scores(q, k), axis=-1), v))


def wide(m):
    """One head, larger than a kernel has room for."""
    q, k, v = (m.heads(m.linear("x", width), 1, width) for width in (272, 272, WIDTH))
    p = m("Softmax", m("Mul", m("MatMul", q, m("Transpose", k, perm=[0, 1, 3, 2])), m.constant(0.06)), axis=-1)
    return m.joined(m("MatMul", p, v))


def windows(m, s):
    size = m("Shape", s)
    two = m("Reshape", m("Add", s, m.draw(1, HEADS, LENGTH, LENGTH)), m.ints(1, 2, HEADS, LENGTH, LENGTH))
    return m("Reshape", m("Add", two, m.draw(2, 1, LENGTH, LENGTH)), size)


CASES = {
    "plain": lambda m: m.attend()[:1],
    "causal": lambda m: m.attend(causal)[:1],
    "guarded": lambda m: m.attend(blind, guard)[:1],
    "weights_given": lambda m: m.attend(),
    "shared_keys": lambda m: m.attend(keys_heads=1)[:1],
    "packed": lambda m: [packed(m)],
    "windows": lambda m: m.attend(windows)[:1],
    "of_another_length": lambda m: m.attend(source=m("Slice", "x", m.ints(0), m.ints(7), m.ints(1)))[:1],
    "twice": lambda m: [m("Add", *(m.attend()[0] for _ in range(2)))],
    "capped": lambda m: m.attend(lambda m, s: m("Mul", m("Tanh", s), m.constant(2.0)))[:1],
    "wide": lambda m: [wide(m)],
    "without_keys": lambda m: m.attend(source=m("Slice", "x", m.ints(0), m.ints(0), m.ints(1)))[:1],
}

for name, build in CASES.items():
    for called, declared in ((name, [2, LENGTH, WIDTH]), (name + "_open", ["n", "length", WIDTH])):
        if called == "windows_open":
            continue
        m = Model(random)
        make.model_case(sys.argv[1], "attention_" + called, m, build(m), declared, [2, LENGTH, WIDTH])
