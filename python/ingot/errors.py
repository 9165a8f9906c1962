"""Errors: one exception for each code of the C interface, all of them an `ingot.Error`.

Where Python has an exception for the same thing, ours is that too: `except ValueError` catches a malformed model, `except MemoryError` a refused allocation.
"""
from __future__ import annotations

import enum
from typing import Dict, Type


class Code(enum.IntEnum):
    """What went wrong, as `ingot_code` counts."""

    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_MODEL = 2
    UNSUPPORTED = 3
    OUT_OF_MEMORY = 4
    IO = 5
    DEVICE = 6
    NOT_FOUND = 7
    CORRUPT = 8
    MISMATCH = 9
    CANCELLED = 10
    INTERNAL = 11
    LIMIT = 12


class Error(Exception):
    """A call of Ingot failed. `str(error)` names the node, the file offset and what was expected; `error.code` is the kind of failure."""

    code: Code = Code.INTERNAL

    @property
    def message(self) -> str:
        """What went wrong, in words."""
        return str(self)


class InvalidArgument(Error, ValueError):
    """The caller broke the contract of a function: a wrong type, a shape that does not fit, an option that makes no sense."""

    code = Code.INVALID_ARGUMENT


class InvalidModel(Error, ValueError):
    """The model is malformed; the message lists every problem found."""

    code = Code.INVALID_MODEL


class Unsupported(Error, NotImplementedError):
    """Well formed, but Ingot does not do it."""

    code = Code.UNSUPPORTED


class OutOfMemory(Error, MemoryError):
    """Host or device memory was refused."""

    code = Code.OUT_OF_MEMORY


class InputOutputError(Error, OSError):
    """A file could not be opened, read or written."""

    code = Code.IO


class DeviceError(Error, RuntimeError):
    """The CUDA driver or one of its libraries failed, or there is no GPU where one was asked for."""

    code = Code.DEVICE


class NotFound(Error, LookupError):
    """No input, output or device has that name."""

    code = Code.NOT_FOUND


class Corrupt(Error, ValueError):
    """An engine file fails its checks."""

    code = Code.CORRUPT


class Mismatch(Error):
    """Results that should agree do not."""

    code = Code.MISMATCH


class Cancelled(Error):
    """The caller, or its progress callback, asked to stop."""

    code = Code.CANCELLED


class InternalError(Error, RuntimeError):
    """A defect of Ingot: please report it."""

    code = Code.INTERNAL


class LimitReached(Error):
    """A limit of the call, of memory or of time, was reached."""

    code = Code.LIMIT


BY_CODE: Dict[int, Type[Error]] = {
    int(kind.code): kind
    for kind in (InvalidArgument, InvalidModel, Unsupported, OutOfMemory, InputOutputError, DeviceError, NotFound, Corrupt, Mismatch, Cancelled,
                 InternalError, LimitReached)
}
