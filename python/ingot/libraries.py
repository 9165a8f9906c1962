"""Tensors of PyTorch and CuPy without DLPack, both of whose ways take longer than a small model runs.

A tensor's own attributes say where it lies; results are written to tensors that the library makes, in memory and on the stream that it takes care of
from then on. What is no plain row-major tensor (a gradient is wanted of it, it is sparse, a view across rows, of a derived class) goes by DLPack as
everything else does, and is read or refused there. Nothing is imported here: whose tensor is given is imported already."""
from __future__ import annotations

import sys
from functools import partial
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from ingot._abi import INGOT_BOOL, INGOT_COMPLEX, INGOT_CPU, INGOT_CUDA, INGOT_FLOAT, INGOT_INT, INGOT_UINT
from ingot.dlpack import row_major
from ingot.dtypes import DTYPES, ML_DTYPES, DType, of_numpy_dtype
from ingot.errors import InvalidArgument

Device = Tuple[int, int]


class Known(NamedTuple):
    """What a struct says of a tensor, in the terms of its library: of the next one that is like it only the address is written."""

    owner: Any  # the library; numpy.ndarray of an array
    dtype: Any
    shape: Tuple[int, ...]
    place: Any
    gpu: Optional[int]
    sizes: Any  # what the struct points to


LEGACY = 1  # CU_STREAM_LEGACY, and DLPack's number for it
_NUMBERS = {INGOT_FLOAT: "float", INGOT_INT: "int", INGOT_UINT: "uint", INGOT_COMPLEX: "complex"}


class Torch:
    """PyTorch, on the host and on CUDA's GPUs."""

    name = "torch"

    def __init__(self, torch: Any) -> None:
        self.tensor = torch.Tensor
        self._torch, self._strided, self._cuda = torch, torch.strided, torch.version.hip is None
        self._raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)  # a tenth of what the stream's object takes
        names = {row: ML_DTYPES.get(row.name) or ("bool" if row.code == INGOT_BOOL else "%s%d" % (_NUMBERS.get(row.code), row.bits)) for row in DTYPES if row.bits >= 8}
        self._dtypes = {row: getattr(torch, name) for row, name in names.items() if hasattr(torch, name)}
        self._complex = (torch.complex64, torch.complex128)
        self._rows = {its: row for row, its in self._dtypes.items()}
        self._places: Dict[Any, Optional[Device]] = {}

    def pointer(self, value: Any) -> int:
        """Where the elements lie."""
        return value.data_ptr()  # type: ignore[no-any-return,unused-ignore]

    def is_plain(self, value: Any) -> bool:
        """Whether the memory, row-major, is all there is to a tensor."""
        return value.layout is self._strided and value.is_contiguous() and not (
            value.requires_grad or value.is_neg() or (value.dtype in self._complex and value.is_conj()))

    def is_like(self, value: Any, known: Known) -> bool:
        """Whether a tensor is plain, and as a struct says already."""
        return known.dtype is value.dtype and known.shape == value.shape and known.place == value.device and self.is_plain(value)

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

    def place(self, value: Any) -> Any:
        """The library's device of a tensor, as is_like compares it."""
        return value.device

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

    def is_like(self, value: Any, known: Known) -> bool:
        """As Torch."""
        return bool(known.dtype == value.dtype and known.shape == value.shape and known.place == value.data.device_id and value.flags.c_contiguous)

    def read(self, value: Any) -> Optional[Tuple[DType, Device, int]]:
        """As Torch."""
        kind = value.dtype
        if kind not in self._rows:
            self._rows[kind] = of_numpy_dtype(kind) if kind.kind in "biufcV" and kind.isnative else None
        row = self._rows[kind]
        if row is None or row.bits < 8 or not self._cuda or not value.flags.c_contiguous:
            return None
        return row, (INGOT_CUDA, value.data.device_id), value.data.ptr

    def place(self, value: Any) -> Any:
        """As Torch."""
        return value.data.device_id

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


KINDS: Dict[str, Any] = {"torch": Torch, "cupy": Cupy}
_opened: Dict[str, Any] = {}  # by name; None of a version that lacks what is asked for here: its tensors go by DLPack
_by_type: Dict[type, Any] = {}


def named(name: str) -> Any:
    """The library of that name, if it is one of ours and somebody imported it; else None."""
    library = _opened.get(name)
    if library is not None or name in _opened or name not in KINDS or name not in sys.modules:
        return library
    try:
        library = KINDS[name](sys.modules[name])
    except AttributeError:
        pass
    else:
        _by_type[library.tensor] = library
    _opened[name] = library
    return library


of_type: Callable[[type], Any] = _by_type.get  # the library that a tensor's type, itself and no derived one, is of, once a tensor of it was seen
