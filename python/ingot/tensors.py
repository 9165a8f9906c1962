"""Tensors of Ingot's own: for element types that numpy has no name for, for memory on a GPU, and where numpy is not installed."""
from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple, Union

from ingot import dlpack
from ingot._abi import INGOT_CPU, INGOT_CUDA
from ingot.dtypes import BY_NAME, ML_DTYPES, DType, dtype, of_format
from ingot.errors import InvalidArgument

if TYPE_CHECKING:
    from ingot.session import Session

Device = Tuple[int, int]  # DLPack's type (1: the host, 2: CUDA, 3: pinned memory of the host) and number
HOST: Device = (INGOT_CPU, 0)
EXPORTED_ON_GPU = "a tensor on a GPU: take it with torch.from_dlpack, cupy.from_dlpack or jax.dlpack.from_dlpack, or ask for on=\"host\""


class Tensor:
    """A row-major tensor: shape, element type, and memory on the host or a GPU.

    `Tensor(data, dtype, shape)` describes memory of the caller's, which it keeps alive and does not copy: a writable buffer (bytearray,
    array.array, memoryview, numpy array). bytes, which nobody may write to, are copied. Of strings data is a flat list of str.
    The session's results own their memory until they, and all that was made of them without a copy, are gone.

    Without copies: numpy.asarray(tensor), numpy.from_dlpack(tensor), memoryview(tensor.memory()), torch.from_dlpack(tensor) ...
    4- and 2-bit numbers take a byte each."""

    __slots__ = ("dtype", "shape", "device", "pointer", "_owner", "_strings", "_session", "__weakref__")

    def __init__(self, data: Any, dtype_: Union[None, str, DType] = None, shape: Optional[Sequence[int]] = None) -> None:
        self.device: Device = HOST
        self._session: Optional["Session"] = None
        self._strings: Optional[List[str]] = None
        if isinstance(data, (list, tuple)):
            self.dtype: DType = BY_NAME["string"]
            self._strings = [str(one) for one in data]
            self.shape: Tuple[int, ...] = tuple(shape) if shape is not None else (len(data),)
            self.pointer = 0
            self._owner: Any = None
            if _count(self.shape) != len(self._strings):
                raise InvalidArgument("%d strings do not fill the shape %s" % (len(self._strings), self.shape))
            return
        view = memoryview(data)
        kind = dtype(dtype_) if dtype_ is not None else of_format(view.format)
        if kind is None:
            raise InvalidArgument("no element type of Ingot is a buffer's format %r: say dtype_" % view.format)
        self.dtype = kind
        self.shape = tuple(shape) if shape is not None else (tuple(view.shape or ()) if dtype_ is None else (view.nbytes // kind.itemsize,))
        if not view.c_contiguous:
            raise InvalidArgument("the buffer is not row-major")
        if _count(self.shape) * kind.itemsize != view.nbytes:
            raise InvalidArgument("a buffer of %d bytes is no %s of the shape %s" % (view.nbytes, kind.name, self.shape))
        if view.readonly:
            view = memoryview(bytearray(view.cast("B") if view.nbytes else b""))
        flat = view.cast("B") if view.nbytes else memoryview(bytearray(1))
        self._owner = (ctypes.c_char * flat.nbytes).from_buffer(flat)
        self.pointer = ctypes.addressof(self._owner)

    @classmethod
    def _of(cls, pointer: int, kind: DType, shape: Tuple[int, ...], device: Device, owner: Any, session: Optional["Session"] = None) -> "Tensor":
        """Of memory that the owner keeps; session: whose stream wrote it."""
        self = cls.__new__(cls)
        self.pointer, self.dtype, self.shape, self.device, self._owner, self._strings, self._session = pointer, kind, shape, device, owner, None, session
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return _count(self.shape) * self.dtype.itemsize

    @property
    def size(self) -> int:
        """Number of elements."""
        return _count(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        place = {INGOT_CPU: "", INGOT_CUDA: " on cuda:%d" % self.device[1]}.get(self.device[0], " in pinned memory")
        return "ingot.Tensor(%s[%s]%s)" % (self.dtype.name, ", ".join(map(str, self.shape)), place)

    def memory(self) -> memoryview:
        """The elements as writable bytes on the host, without a copy; they stay valid as long as the view."""
        self._need_host()
        owner = (ctypes.c_char * self.nbytes).from_address(self.pointer) if self.nbytes else ctypes.create_string_buffer(0)
        owner._tensor = self  # type: ignore[attr-defined,unused-ignore]
        return memoryview(owner).cast("B")

    def tobytes(self) -> bytes:
        """A copy of the elements as bytes, from the host."""
        self._need_host()
        return ctypes.string_at(self.pointer, self.nbytes)

    def tolist(self) -> Any:
        """Nested lists of Python's numbers, or of str. Of element types that Python has no number for, integers with their bits."""
        flat: Sequence[Any] = self._strings if self._strings is not None else self._flat()
        return _nested(flat, self.shape)

    def numpy(self) -> Any:
        """A numpy array over the same memory (of strings: a new one of objects). Types that numpy lacks are those of the package ml_dtypes,
        where it is installed; TypeError where not."""
        import numpy

        if self._strings is not None:
            out = numpy.empty(len(self._strings), dtype=object)
            out[:] = self._strings
            return out.reshape(self.shape)
        self._need_host()
        if self.dtype.typestr:
            return numpy.asarray(self)
        try:
            import ml_dtypes  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise TypeError("numpy has no %s: install ml_dtypes, or take .memory()" % self.dtype.name) from None
        return numpy.frombuffer(self.memory(), dtype=getattr(ml_dtypes, ML_DTYPES[self.dtype.name])).reshape(self.shape)

    @property
    def __array_interface__(self) -> Any:
        if self._strings is not None or not self.dtype.typestr:
            raise AttributeError("numpy has no dtype for %s" % self.dtype.name)
        if self.device[0] == INGOT_CUDA:
            raise AttributeError(EXPORTED_ON_GPU)
        return {"version": 3, "shape": self.shape, "typestr": self.dtype.typestr, "data": (self.pointer, False), "strides": None}

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Any:
        """For numpy.asarray, of types that only ml_dtypes and lists of strings have a form for."""
        array = self.numpy()
        return array.astype(dtype) if dtype is not None else array

    def __dlpack_device__(self) -> Device:
        """DLPack: where the memory is."""
        return self.device

    def __dlpack__(self, *, stream: Optional[int] = None, max_version: Optional[Tuple[int, int]] = None,
                   dl_device: Optional[Device] = None, copy: Optional[bool] = None) -> Any:
        """DLPack: a capsule over the same memory, which it keeps alive.

        On a GPU `stream` is the one that the taker works on (1: the legacy default stream, 2: that of the thread, -1: no ordering), which then
        waits for the session's results; without one the call returns when they are there."""
        if self._strings is not None:
            raise BufferError("DLPack has no strings")
        if copy or (dl_device is not None and tuple(dl_device) != self.device):
            raise BufferError("only views are given, where the memory is: %r" % (self.device,))
        if self.device[0] == INGOT_CUDA and self._session is not None and stream != -1:
            self._session._hand_over(stream)
        return dlpack.capsule(self, max_version is not None and max_version[0] >= 1)

    def _need_host(self) -> None:
        if self._strings is not None:
            raise TypeError("strings have no memory to view: take .tolist()")
        if self.device[0] == INGOT_CUDA:
            raise TypeError(EXPORTED_ON_GPU)

    def _flat(self) -> Sequence[Any]:
        memory = self.memory()
        form: Any = _MEMORY_FORMATS.get(self.dtype.name) or ("H" if self.dtype.itemsize == 2 else "B")
        if self.dtype.name in ("c64", "c128"):
            parts = memory.cast("f" if self.dtype.name == "c64" else "d") if self.nbytes else memory
            return [complex(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
        if self.dtype.name == "f16":
            import struct

            return struct.unpack("<%de" % self.size, memory)
        return memory.cast(form).tolist() if self.nbytes else []


_MEMORY_FORMATS = {"f32": "f", "f64": "d", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bool": "?", "i4": "b", "i2": "b"}


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _nested(flat: Sequence[Any], shape: Tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return list(flat)
    step = _count(shape[1:])
    return [_nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
