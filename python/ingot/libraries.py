"""Arrays of numpy, and tensors of PyTorch, CuPy and JAX without DLPack, whose ways take longer than a small model runs.

A tensor's own attributes say where it lies; results are written to tensors that the library makes, in memory and on the stream that it takes care of
from then on. What is no plain row-major tensor (a gradient is wanted of it, it is sparse, a view across rows, of a derived class) goes by DLPack as
everything else does, and is read or refused there. Nothing is imported here: whose tensor is given is imported already."""
from __future__ import annotations

import ctypes
import sys
from functools import partial
from operator import attrgetter
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple
from weakref import ref

from ingot._abi import INGOT_BOOL, INGOT_COMPLEX, INGOT_CPU, INGOT_CUDA, INGOT_FLOAT, INGOT_INT, INGOT_UINT
from ingot.dlpack import capsule, row_major
from ingot.dtypes import DTYPES, ML_DTYPES, DType, of_numpy_dtype
from ingot.errors import InvalidArgument

Device = Tuple[int, int]


class Known(NamedTuple):
    """What a struct says of a tensor, in the terms of its library: of the next one that is like it only the address is written."""

    type: Any
    owner: Any  # the library
    like: Callable[..., Optional[int]]  # its function of that name
    said: Any  # what the library has to say of a tensor that is like it
    place: Optional[Tuple[str, int]]  # of one on a GPU: whose it is, and which GPU
    sizes: Any  # what the struct points to


_addressof, _buffer = ctypes.addressof, ctypes.c_char.from_buffer


def address(array: Any) -> int:
    """Where an array's elements lie: by its buffer, or, of one that is empty or may not be written to, by the way that takes three times as long."""
    try:
        return _addressof(_buffer(array))
    except (TypeError, ValueError):
        return int(array.__array_interface__["data"][0])


class Numpy:
    """numpy, on the host."""

    name = "numpy"

    def __init__(self, numpy: Any) -> None:
        self.tensor, self._empty = numpy.ndarray, numpy.empty
        self._kinds = {row: numpy.dtype(row.typestr) for row in DTYPES if row.typestr}

    def pointer(self, value: Any) -> int:
        """As Torch."""
        return address(value)

    def said(self, value: Any) -> Any:
        """As Torch."""
        return value.dtype, value.shape

    def like(self, value: Any, known: "Known") -> Optional[int]:
        """As Torch."""
        if (value.dtype, value.shape) != known.said or not value.flags.c_contiguous:
            return None
        return address(value)

    def maker(self, row: DType, shape: Tuple[int, ...], device: Device) -> Optional[Callable[[], Any]]:
        """As Torch."""
        kind = self._kinds.get(row)
        return partial(self._empty, shape, kind) if kind is not None and device[0] == INGOT_CPU else None


LEGACY = 1  # CU_STREAM_LEGACY, and DLPack's number for it
_NUMBERS = {INGOT_FLOAT: "float", INGOT_INT: "int", INGOT_UINT: "uint", INGOT_COMPLEX: "complex"}


class Torch:
    """PyTorch, on the host and on CUDA's GPUs."""

    name = "torch"
    said = staticmethod(attrgetter("dtype", "shape", "device", "layout", "requires_grad"))  # all at once takes less than one after the other

    def __init__(self, torch: Any) -> None:
        self.tensor = torch.Tensor
        self._torch, self._strided, self._cuda = torch, torch.strided, torch.version.hip is None
        self._raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # a tenth of what the stream's object takes
        names = {row: ML_DTYPES.get(row.name) or ("bool" if row.code == INGOT_BOOL else "%s%d" % (_NUMBERS.get(row.code), row.bits)) for row in DTYPES if row.bits >= 8}
        self._dtypes = {row: getattr(torch, name) for row, name in names.items() if hasattr(torch, name)}
        self._complex = (torch.complex64, torch.complex128)
        self._rows = {its: row for row, its in self._dtypes.items()}
        self._places: Dict[Any, Optional[Device]] = {}

    def is_plain(self, value: Any) -> bool:
        """Whether the memory, row-major, is all there is to a tensor."""
        return value.layout is self._strided and value.is_contiguous() and not (
            value.requires_grad or value.is_neg() or (value.dtype in self._complex and value.is_conj()))

    def pointer(self, value: Any) -> int:
        """Where the elements lie."""
        return value.data_ptr()  # type: ignore[no-any-return,unused-ignore]

    def like(self, value: Any, known: Known) -> Optional[int]:
        """Where a tensor's elements lie, if it is plain and as a struct says already; else None."""
        if self.said(value) != known.said or not value.is_contiguous() or value.is_neg():
            return None
        return value.data_ptr()  # type: ignore[no-any-return,unused-ignore]

    def read(self, value: Any) -> Optional[Tuple[DType, Device, int]]:
        """Element type, place and address of a plain tensor; None of others."""
        if value.is_neg():  # which PyTorch's DLPack says nothing of
            raise InvalidArgument("a tensor of PyTorch's is the negative of what its memory holds: give its .resolve_neg()")
        row, place = self._rows.get(value.dtype), self._place(value.device)
        if row is None or place is None or not self.is_plain(value):
            return None
        try:
            return row, place, value.data_ptr()
        except RuntimeError:  # one that stands for others, as inside of torch.vmap
            return None

    def _place(self, device: Any) -> Optional[Device]:
        if device not in self._places:
            kinds = {"cpu": INGOT_CPU, "cuda": INGOT_CUDA} if self._cuda else {"cpu": INGOT_CPU}
            self._places[device] = (kinds[device.type], device.index or 0) if device.type in kinds else None
        return self._places[device]

    def maker(self, row: DType, shape: Tuple[int, ...], device: Device) -> Optional[Callable[[], Any]]:
        """What makes tensors whose elements nobody wrote yet; None where there is no such type."""
        kind = self._dtypes.get(row)
        if kind is None:
            return None
        pattern = self._torch.empty(0, dtype=kind, device=self._torch.device("cuda", device[1]) if device[0] == INGOT_CUDA else "cpu")
        return partial(pattern.new_empty_strided, shape, row_major(shape))  # half of what torch.empty takes

    def stream(self, device: int) -> int:
        """The current stream, as DLPack and the driver number it."""
        if self._raw_stream is not None:
            return self._raw_stream(device) or LEGACY
        return self._torch.cuda.current_stream(device).cuda_stream or LEGACY


class Cupy:
    """CuPy, on CUDA's GPUs."""

    name = "cupy"
    said = staticmethod(attrgetter("dtype", "shape", "data.device_id"))

    def __init__(self, cupy: Any) -> None:
        import numpy

        self.tensor = cupy.ndarray
        self._kinds = {row: numpy.dtype(row.typestr) for row in DTYPES if row.typestr}
        self._device, self._current_device = cupy.cuda.Device, cupy.cuda.runtime.getDevice
        ask = cupy.cuda.get_current_stream  # until CuPy 13 a thread had one for all devices
        self._current_stream = ask if int(cupy.__version__.partition(".")[0]) >= 13 else lambda device: ask()
        self._cuda = not cupy.cuda.runtime.is_hip
        self._rows: Dict[Any, Optional[DType]] = {}  # by numpy.dtype

    def pointer(self, value: Any) -> int:
        """As Torch."""
        return value.data.ptr  # type: ignore[no-any-return,unused-ignore]

    def like(self, value: Any, known: Known) -> Optional[int]:
        """As Torch."""
        if self.said(value) != known.said or not value.flags.c_contiguous:
            return None
        return value.data.ptr  # type: ignore[no-any-return,unused-ignore]

    def read(self, value: Any) -> Optional[Tuple[DType, Device, int]]:
        """As Torch."""
        kind = value.dtype
        if kind not in self._rows:
            self._rows[kind] = of_numpy_dtype(kind) if kind.kind in "biufcV" and kind.isnative else None
        row = self._rows[kind]
        if row is None or row.bits < 8 or not self._cuda or not value.flags.c_contiguous:
            return None
        return row, (INGOT_CUDA, value.data.device_id), value.data.ptr

    def maker(self, row: DType, shape: Tuple[int, ...], device: Device) -> Optional[Callable[[], Any]]:
        """As Torch."""
        kind = self._kinds.get(row)
        return partial(self._make, shape, kind, device[1]) if kind is not None and device[0] == INGOT_CUDA else None

    def _make(self, shape: Tuple[int, ...], kind: Any, device: int) -> Any:
        if self._current_device() == device:
            return self.tensor(shape, kind)
        with self._device(device):
            return self.tensor(shape, kind)

    def stream(self, device: int) -> int:
        """As Torch."""
        return self._current_stream(device).ptr or LEGACY


MOST_WAITED = 256  # arrays of JAX's that are known to be there
COLLECTED_AFTER = 256  # of JAX's arrays that are made here: where they were made JAX notes, and forgets with its next operation, which may never come


class Jax:
    """JAX, on the host and on CUDA's GPUs. Its arrays never change, so there is no maker: a result is taken from the session.

    jax.dlpack.from_dlpack is Python that takes longer than a model of a millisecond's tenth; what it calls in the end is called here, where the version
    has it with the arguments that are known."""

    name = "jax"
    said = staticmethod(attrgetter("dtype", "shape", "sharding", "_pjrt_layout"))

    def __init__(self, jax: Any) -> None:
        self.tensor = sys.modules["jax._src.array"].ArrayImpl
        self._config = jax.config
        below = getattr(sys.modules.get("jax._src.lib"), "_jax", None)
        wrap = getattr(below, "dlpack_managed_tensor_to_buffer", None)
        says = str(getattr(wrap, "__doc__", ""))
        self._wrap: Any = wrap if "copy" in says and "dl_device_type" in says and hasattr(below, "collect_garbage") else None
        self._collect: Any = getattr(below, "collect_garbage", None)
        self._made = 0
        self._devices: Dict[Device, Any] = {}  # JAX's, of the arrays that were read
        self._there: Dict[int, Any] = {}  # arrays that were waited for, weakly

    def like(self, value: Any, known: Known) -> Optional[int]:
        """As Torch. The elements are there when it returns: JAX says of no stream that it is the one."""
        if self.said(value) != known.said:
            return None
        self._wait(value)
        return value.unsafe_buffer_pointer()  # type: ignore[no-any-return,unused-ignore]

    def _wait(self, value: Any) -> None:
        """Until the elements are there. That is asked once of an array, of which JAX remembers every asking as long as it lives."""
        there = self._there.get(id(value))
        if there is not None and there() is value:
            return
        value.block_until_ready()
        if len(self._there) >= MOST_WAITED:
            self._there = {}
        self._there[id(value)] = ref(value)

    def read(self, value: Any) -> Optional[Tuple[DType, Device, int]]:
        """As Torch, and as like."""
        row = of_numpy_dtype(value.dtype)
        devices = list(value.sharding.device_set)
        row_major_layout = "{%s}" % ",".join(map(str, range(value.ndim - 1, -1, -1)))
        if row is None or row.bits < 8 or len(devices) != 1 or str(value._pjrt_layout) != row_major_layout:
            return None
        (one,) = devices
        if one.platform == "cpu":
            device = (INGOT_CPU, 0)
        elif one.platform in ("gpu", "cuda") and "cuda" in one.client.platform_version and value.sharding.memory_kind == "device":
            device = (INGOT_CUDA, one.local_hardware_id)
        else:
            return None
        self._devices[device] = one
        self._wait(value)
        return row, device, value.unsafe_buffer_pointer()

    def maker(self, row: DType, shape: Tuple[int, ...], device: Device) -> Optional[Callable[[], Any]]:
        """As Torch."""
        return None

    def stream(self, device: int) -> Optional[int]:
        """As Torch."""
        return None

    def taken(self, tensor: Any) -> Any:
        """A result of Ingot's as an array over the same memory, when it is there; None where the public way has to do it: numbers of 64 bits may have
        to become others."""
        device = self._devices.get(tensor.device)
        if self._wrap is None or device is None or tensor.dtype.bits < 8 or (tensor.dtype.bits > 32 and not self._config.jax_enable_x64):
            return None
        if tensor.device[0] == INGOT_CUDA and tensor._session is not None:
            tensor._session._hand_over(None)
        self._made += 1
        if self._made % COLLECTED_AFTER == 0:
            self._collect()
        return self._wrap(capsule(tensor, False), device, None, None, tensor.device[0])


KINDS: Dict[str, Any] = {"numpy": Numpy, "torch": Torch, "cupy": Cupy, "jax": Jax}
_opened: Dict[str, Any] = {}  # by name; None of a version that lacks what is asked for here: its tensors go by DLPack


def named(name: str) -> Any:
    """The library of that name, if it is one of ours and somebody imported it; else None."""
    library = _opened.get(name)
    if library is not None or name in _opened or name not in KINDS or name not in sys.modules:
        return library
    try:
        library = KINDS[name](sys.modules[name])
    except (AttributeError, KeyError):
        pass
    _opened[name] = library
    return library
