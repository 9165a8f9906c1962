"""Arrays in page-locked memory of the host, which a GPU reads and writes without a copy on the way."""
from __future__ import annotations

from typing import Any, Sequence, Union

from ingot._library import created, lib
from ingot.config import Configuration
from ingot.dtypes import DType, dtype
from ingot.errors import InvalidArgument
from ingot.tensors import HOST, Tensor, _count
from ingot.values import present


class _Pinned:
    """An ingot_pinned, freed with the last array over it."""

    __slots__ = ("handle", "__weakref__")

    def __init__(self, nbytes: int, configuration: Configuration) -> None:
        self.handle = created(lib.ingot_pinned_new, configuration.reference, nbytes)

    def __del__(self) -> None:
        handle, self.handle = getattr(self, "handle", 0), 0
        if handle:
            lib.ingot_pinned_free(handle)


def empty_pinned(shape: Union[int, Sequence[int]], dtype_: Union[str, DType, Any] = "f32", device: str = "cuda") -> Any:
    """A numpy array in page-locked memory, whose elements are anything: for inputs of sessions on a GPU, and for outputs that are given to them.

    From 128 KiB on, a GPU reads and writes it itself, several times as fast as other memory, which is copied on its way; such memory of others
    (PyTorch's pin_memory()) is recognised as well. Its pages are taken from all other programs as long as the array is there, and taking them is slow:
    make such arrays once. (An ingot.Tensor where numpy is not installed or has no such element type.) Unsupported where there is no GPU."""
    sizes = (shape,) if isinstance(shape, int) else tuple(int(size) for size in shape)
    kind = dtype(dtype_)
    if kind.name == "string" or min(sizes, default=0) < 0:
        raise InvalidArgument("there is no page-locked memory for %s of the shape %s" % (kind.name, sizes))
    owner = _Pinned(_count(sizes) * kind.itemsize, Configuration({"device": device}))
    address = lib.ingot_pinned_data(owner.handle)
    return present(Tensor._of(address, kind, sizes, HOST, owner), "numpy")
