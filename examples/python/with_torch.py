"""PyTorch's tensors in and out, where they lie: on a GPU if there is one, on the stream that PyTorch works on, without a copy.

    python with_torch.py"""
from __future__ import annotations

import os

import torch  # type: ignore[import-not-found,unused-ignore]

import ingot

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "digits", "digits.onnx")


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = ingot.build(MODEL, device=device)
    images = torch.randint(0, 17, (16, 1, 8, 8), dtype=torch.uint8, device=device)
    probabilities = engine(images)  # enqueued behind what made the images; nobody waits
    print(type(probabilities).__name__, tuple(probabilities.shape), probabilities.device)
    print(probabilities.argmax(1).tolist())
    room = torch.empty(16, 10, device=device)
    engine.run([images], outputs=[room])
    print("the same in memory of one's own:", bool(torch.equal(room, probabilities)))


if __name__ == "__main__":
    main()
