"""`python -m ingot` is the command line: `python -m ingot run model.onnx --input photo.jpg --top 5`."""
from __future__ import annotations

import os
import sys

from ingot._library import program


def main() -> None:
    """Becomes the program `ingot`, with this one's arguments; does not return."""
    path = program()
    os.execv(path, [path] + sys.argv[1:])


if __name__ == "__main__":
    main()
