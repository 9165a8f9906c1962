"""Sizes that are open in a model: any may come, and those that matter are planned before the first call.

    python shapes.py"""
from __future__ import annotations

import os
import time

import numpy

import ingot

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "digits", "digits.onnx")


def main() -> None:
    engine = ingot.build(MODEL)
    print(engine.inputs[0])  # image: u8[batch, 1, 8, 8]
    session = engine.session()
    session.prepare(image=(32, 1, 8, 8))
    for batch in (32, 1, 7, 32, 7):
        start = time.perf_counter()
        (probabilities,) = session.run([numpy.zeros((batch, 1, 8, 8), numpy.uint8)])
        memory = session.memory
        print("%2d images: %7.3f ms, %6d bytes of temporaries, result %s" % (batch, (time.perf_counter() - start) * 1e3, memory.arena, probabilities.shape))


if __name__ == "__main__":
    main()
