"""What is in a picture?

    python classify.py [MODEL PICTURE.png...]

Without arguments: the digits of examples/digits, whose model takes their pixels as they are. MODEL: one input of numbers, [n, channels, height, width] with channels of 0 to
255, or u8; pictures are read by Pillow and scaled to it."""
from __future__ import annotations

import os
import sys
from typing import Any, List

import numpy

import ingot

DIGITS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "digits")


def read(path: str, binding: ingot.Binding) -> Any:
    """A picture as the input's type and size."""
    from PIL import Image  # type: ignore[import-not-found,unused-ignore]

    assert binding.dims is not None and binding.dtype is not None
    channels, height, width = (int(size) if isinstance(size, int) else 224 for size in binding.dims[1:])
    pixels = numpy.asarray(Image.open(path).convert("L" if channels == 1 else "RGB").resize((width, height)))
    return pixels.reshape(height, width, channels).transpose(2, 0, 1)[None].astype(binding.dtype.typestr)


def main(arguments: List[str]) -> None:
    engine = ingot.build(arguments[0] if arguments else os.path.join(DIGITS, "digits.onnx"))
    if arguments:
        pictures = [(path, read(path, engine.inputs[0])) for path in arguments[1:]]
    else:
        images, labels = (numpy.load(os.path.join(DIGITS, name)) for name in ("test_images.npy", "test_labels.npy"))
        pictures = [("a %d" % labels[i], images[i : i + 1]) for i in range(5)]
    for name, picture in pictures:
        scores = engine(picture)[0]
        likeliest = scores.argsort()[::-1][:3]
        print("%s: %s" % (name, ", ".join("%d (%.3g)" % (index, scores[index]) for index in likeliest)))


if __name__ == "__main__":
    main(sys.argv[1:])
