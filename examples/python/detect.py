"""Faces in a photo, drawn.

    python detect.py MODEL PHOTO OUT.png

MODEL: Ultra-Light-Fast-Generic-Face-Detector (version-RFB-320): f32[1, 3, 240, 320], of which it gives scores [1, n, 2] and boxes [1, n, 4] in fractions of the photo."""
from __future__ import annotations

import sys
from typing import Any, List, Tuple

import numpy
from PIL import Image, ImageDraw  # type: ignore[import-not-found,unused-ignore]

import ingot

LIKELY, OVERLAP = 0.7, 0.3  # least score; most overlap of two boxes that are both kept


def overlap(a: Any, b: Any) -> float:
    """What two boxes share, as a part of what they cover."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


def faces(scores: Any, boxes: Any) -> List[Tuple[float, Any]]:
    """What is likely and not covered by something likelier."""
    kept: List[Tuple[float, Any]] = []
    for index in scores[0, :, 1].argsort()[::-1]:
        score, box = float(scores[0, index, 1]), boxes[0, index]
        if score < LIKELY:
            break
        if all(overlap(box, other) < OVERLAP for _, other in kept):
            kept.append((score, box))
    return kept


def main(model: str, photo: str, out: str) -> None:
    engine = ingot.build(model)
    picture = Image.open(photo).convert("RGB")
    pixels = (numpy.asarray(picture.resize((320, 240)), numpy.float32) - 127) / 128
    found = faces(*engine(pixels.transpose(2, 0, 1)[None]))
    draw = ImageDraw.Draw(picture)
    for score, box in found:
        corners = [float(one) * size for one, size in zip(box, picture.size * 2)]
        draw.rectangle(corners, outline=(255, 0, 0), width=3)
        print("%5.1f%%  at %4d, %4d" % (score * 100, corners[0], corners[1]))
    picture.save(out)
    print("%d faces: %s" % (len(found), out))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
