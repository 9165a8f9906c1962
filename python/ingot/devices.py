"""Which devices are there: asked by opening a session of the smallest model."""
from __future__ import annotations

import functools
from typing import Any

from ingot.errors import DeviceError, Unsupported


def _field(number: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes([number << 3 | 2, len(content)]) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def _smallest() -> bytes:
    """y = Neg(x) of one float, in protobuf's form: short enough for lengths of one byte."""
    kind = _field(2, _field(1, _number(1, 1), _field(2, _field(1, _number(1, 1)))))
    node = _field(1, _field(1, b"x"), _field(2, b"y"), _field(4, b"Neg"))
    graph = _field(7, node, _field(2, b"g"), _field(11, _field(1, b"x"), kind), _field(12, _field(1, b"y"), kind))
    return _number(1, 8) + graph + _field(8, _number(2, 13))


@functools.lru_cache(maxsize=None)
def is_there(device: str) -> bool:
    """Whether a device like "cuda:1" can be used."""
    from ingot.engine import build

    options: Any = {"device": device}
    try:
        build(_smallest(), **options).session()
        return True
    except (DeviceError, Unsupported):
        return False
