"""libingot: where it is, its functions with their types, and errors of its calls as exceptions."""
from __future__ import annotations

import ctypes
import os
from typing import Any, Callable, Optional

from ingot import _abi
from ingot.errors import BY_CODE, Error


def path() -> str:
    """The library's file: $INGOT_LIBRARY, else the one inside of this package."""
    named = os.environ.get("INGOT_LIBRARY")
    return named if named else os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "libingot.so")


def program() -> str:
    """The command line's file: beside the library that $INGOT_LIBRARY names, else the one inside of this package."""
    named = os.environ.get("INGOT_LIBRARY")
    return os.path.join(os.path.dirname(named), "ingot") if named else os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "ingot")


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(path())
    for name, (result, parameters) in _abi.FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = parameters
    return library


lib = _load()
_libc_free = ctypes.CDLL(None).free
_libc_free.argtypes = [ctypes.c_void_p]
_libc_free.restype = None


def untyped(name: str) -> Callable[..., Any]:
    """A function that returns an ingot_error, for arguments that are ctypes' own or an int for C's: they go as they are, which takes half as long."""
    function = lib[name]
    function.restype = ctypes.c_void_p
    return function


def error_of(handle: int) -> Error:
    """The exception for an ingot_error, which is freed."""
    code = lib.ingot_error_code(handle)
    message = text(lib.ingot_error_message(handle))
    lib.ingot_error_free(handle)
    return BY_CODE.get(code, Error)(message)


def check(handle: Optional[int]) -> None:
    """Raises the error that a call returned, if it did."""
    if handle:
        raise error_of(handle)


def text(given: Optional[bytes]) -> str:
    """Text of the library. Names in models need not be UTF-8; what is not goes through as it does in file names."""
    return (given or b"").decode("utf-8", "surrogateescape")


def encode(given: str) -> bytes:
    """Text for the library. A NUL inside would end it there."""
    out = given.encode("utf-8", "surrogateescape")
    if b"\0" in out:
        raise ValueError("%r holds a NUL, which ends a text in C" % given)
    return out


def owned_text(address: Optional[int]) -> str:
    """Text that the caller is to free."""
    if not address:
        raise MemoryError("no memory for a text")
    try:
        return text(ctypes.string_at(address))
    finally:
        _libc_free(address)


def owned_bytes(address: Optional[int], size: int) -> bytes:
    """Bytes that the caller is to free."""
    try:
        return ctypes.string_at(address, size) if address else b""
    finally:
        _libc_free(address)


def created(call: Callable[..., Any], *arguments: Any) -> int:
    """What a function puts in its last parameter, a handle."""
    out = ctypes.c_void_p()
    check(call(*arguments, ctypes.byref(out)))
    assert out.value
    return out.value


def version() -> str:
    """The library's version, like "0.1.0"."""
    return text(lib.ingot_version())
