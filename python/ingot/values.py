"""Values of callers' as the library's tensors, and results as values of the kind that the caller uses.

What a value is decides how it is read: numpy arrays, buffers and everything with DLPack in place, Python's numbers and lists through an array of the
input's element type. Nothing is copied that lies row-major."""
from __future__ import annotations

import ctypes
import struct
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ingot import dlpack, streams
from ingot._abi import INGOT_CPU, INGOT_CUDA, INGOT_TENSORS, ingot_dtype, ingot_place, ingot_tensor
from ingot._library import encode
from ingot.bindings import Binding
from ingot.dtypes import BY_NAME, DTYPES, DType, of_numpy_dtype
from ingot.errors import InvalidArgument
from ingot.tensors import Tensor, _count

try:
    import numpy

    _ndarray: Any = numpy.ndarray
except ImportError:
    numpy = None  # type: ignore[assignment,unused-ignore]
    _ndarray = ()

_STRING = BY_NAME["string"]
_FORMATS = {"f32": "f", "f64": "d", "f16": "e", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bool": "?", "i4": "b",
            "u4": "B", "i2": "b", "u2": "B"}
_small: Dict[DType, Any] = {row: numpy.dtype(row.typestr) for row in DTYPES if row.typestr} if numpy is not None else {}
_rows: Dict[Any, Optional[DType]] = {}  # by numpy.dtype
_addressof, _buffer = ctypes.addressof, ctypes.c_char.from_buffer
_families: Dict[type, str] = {}


def family(value: Any) -> str:
    """Whose kind of tensor a value is: "numpy", "torch", "cupy", "jax", "ingot", or "python"."""
    kind = type(value)
    known = _families.get(kind)
    if known is None:
        top = kind.__module__.partition(".")[0]
        names = {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax", "numpy": "numpy"}
        known = "ingot" if kind is Tensor else "numpy" if isinstance(value, _ndarray) else names.get(top, "python")
        _families[kind] = known
    return known


def address(array: Any) -> int:
    """Where an array's elements lie: by its buffer, or, of one that is empty or may not be written to, by the way that takes three times as long."""
    try:
        return _addressof(_buffer(array))
    except (TypeError, ValueError):
        return int(array.__array_interface__["data"][0])


def is_like(value: Any, known: Tuple[Any, ...]) -> bool:
    """Whether a value is a row-major numpy array of the type and shape that a struct describes already."""
    return type(value) is _ndarray and known[0] is value.dtype and known[1] == value.shape and bool(value.flags.c_contiguous)


def described(value: Any, kept: Any) -> Any:
    """What is_like is to know of a numpy array that a struct was just filled with in place; None of other values."""
    return (value.dtype, value.shape, kept[1]) if type(value) is _ndarray and type(kept) is list and kept[0] is value else None


class Arguments:
    """The inputs of calls of one session, in the engine's order: structs that are filled anew where something has changed."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings = bindings
        self.array = (ingot_tensor * max(len(bindings), 1))()
        self.slots = [self.array[i] for i in range(len(bindings))]  # of which ctypes makes a new one at every look
        self._known: List[Any] = [None] * len(bindings)  # (dtype, shape) of the numpy array that a slot describes
        self._kept: List[Any] = [None] * len(bindings)  # what a slot points to
        self.kind = "python"  # the family of the first tensor
        self.on_gpu: Optional[int] = None  # the number of the GPU that some of it lies on
        self.ordered = streams.Order()

    def take(self, values: Sequence[Any]) -> None:
        """Describes the values: tensors, sequences of them, None for what is left out."""
        self.kind = "python"
        self.on_gpu = None
        self.ordered.clear()
        for index, value in enumerate(values):
            if type(value) is _ndarray:
                known = self._known[index]
                if known is not None and is_like(value, known):
                    self.slots[index].data = address(value)
                    self._kept[index] = value
                    if self.kind == "python":
                        self.kind = "numpy"
                    continue
            self._known[index] = None
            self._kept[index] = self._fill(self.slots[index], index, value)

    def release(self) -> None:
        """Lets go of the values; structs stay described for the next call."""
        for index in range(len(self._kept)):
            self._kept[index] = None

    def _fill(self, slot: ingot_tensor, index: int, value: Any) -> Any:
        binding = self.bindings[index]
        if value is None:
            _describe(slot, 0, (INGOT_CPU, 0), None, ())
            return None
        if binding.kind == "sequence" or (binding.kind == "optional" and isinstance(value, (list, tuple))):
            return self._fill_sequence(slot, index, value)
        return self._fill_tensor(slot, binding, value, index)

    def _fill_sequence(self, slot: ingot_tensor, index: int, values: Any) -> Any:
        values = list(values)
        items = (ingot_tensor * max(len(values), 1))()
        kept = [self._fill_tensor(items[i], self.bindings[index], value) for i, value in enumerate(values)]
        shape = (ctypes.c_int64 * 1)(len(values))
        slot.data = ctypes.addressof(items)
        slot.device = ingot_place(INGOT_CPU, 0)
        slot.ndim = 1
        slot.dtype = ingot_dtype(INGOT_TENSORS, 64, 1)
        slot.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        slot.strides = None
        return [items, kept, shape]

    def _fill_tensor(self, slot: ingot_tensor, binding: Binding, value: Any, index: Optional[int] = None) -> Any:
        its = family(value)
        if self.kind == "python":
            self.kind = its
        if its == "numpy":
            return self._fill_numpy(slot, value, index)
        if its == "ingot":
            if value._strings is not None:
                return _fill_strings(slot, value._strings, value.shape)
            if value.device[0] == INGOT_CUDA:
                self.on_gpu = value.device[1]
                self.ordered.add_tensor(value)
            return [value, _describe(slot, value.pointer, value.device, value.dtype, value.shape)]
        if hasattr(value, "__dlpack__"):
            return self._fill_dlpack(slot, value, its)
        return self._fill_python(slot, binding, value)

    def _fill_numpy(self, slot: ingot_tensor, value: Any, index: Optional[int]) -> Any:
        array = numpy.asarray(value)
        kind = _rows.get(array.dtype)
        if kind is None:
            kind = _rows[array.dtype] = of_numpy_dtype(array.dtype.newbyteorder("=")) if array.dtype.kind != "V" or array.dtype.names is None else None
        if kind is None:
            raise InvalidArgument("Ingot has no element type for numpy's %s" % array.dtype)
        if kind is _STRING:
            return _fill_strings(slot, array.ravel().tolist(), array.shape)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if kind.name in ("i4", "i2"):  # ml_dtypes leaves the other bits of a byte as they come
            array, index = array.astype(numpy.int8), None
        if not array.flags.c_contiguous:
            array = numpy.ascontiguousarray(array).reshape(array.shape)
        shape = _describe(slot, array.__array_interface__["data"][0], (INGOT_CPU, 0), kind, array.shape)
        if index is not None:
            self._known[index] = (array.dtype, array.shape, shape)
        return [array, shape]

    def _fill_dlpack(self, slot: ingot_tensor, value: Any, its: str) -> Any:
        stream = None
        device = value.__dlpack_device__()
        if device[0] == INGOT_CUDA:
            self.on_gpu = device[1]
            stream = self.ordered.add(its, device[1])
        capsule, tensor = dlpack.export(value, stream)
        ctypes.memmove(ctypes.addressof(slot), ctypes.addressof(tensor), ctypes.sizeof(ingot_tensor))
        return [value, capsule]

    def _fill_python(self, slot: ingot_tensor, binding: Binding, value: Any) -> Any:
        """Numbers, lists of them, text, buffers."""
        try:
            view = memoryview(value)
        except TypeError:
            pass
        else:
            raw = view.format == "B" and view.ndim == 1
            shape = _sizes_of(binding, view) if raw else None
            tensor = Tensor(value, binding.dtype if shape is not None else None, shape)
            return [tensor, _describe(slot, tensor.pointer, tensor.device, tensor.dtype, tensor.shape)]
        flat, sizes = _flatten(value)
        kind = binding.dtype if binding.dtype is not None else _STRING if flat and isinstance(flat[0], str) else BY_NAME["f32"]
        if kind is _STRING:
            return _fill_strings(slot, flat, sizes)
        if kind.name not in _FORMATS:
            raise InvalidArgument("input '%s' is %s, which Python's numbers are not turned into: give an ingot.Tensor" % (binding.name, kind.name))
        try:
            data = bytearray(struct.pack("=%d%s" % (len(flat), _FORMATS[kind.name]), *flat))
        except struct.error as error:
            raise InvalidArgument("input '%s' is %s: %s" % (binding.name, kind.name, error)) from None
        memory = (ctypes.c_char * max(len(data), 1)).from_buffer(data or bytearray(1))
        return [memory, _describe(slot, ctypes.addressof(memory), (INGOT_CPU, 0), kind, sizes)]


def _sizes_of(binding: Binding, view: memoryview) -> Optional[Tuple[int, ...]]:
    """The shape of raw bytes: the input's, with at most one open size, which the bytes decide."""
    if binding.dims is None or binding.dtype is None:
        return None
    fixed = [size if isinstance(size, int) else -1 for size in binding.dims]
    if fixed.count(-1) > 1:
        return None
    if -1 in fixed:
        rest = _count([size for size in fixed if size != -1]) * binding.dtype.itemsize
        fixed[fixed.index(-1)] = view.nbytes // rest if rest else 0
    return tuple(fixed)


def _describe(slot: ingot_tensor, pointer: int, device: Tuple[int, int], kind: Optional[DType], shape: Sequence[int]) -> Any:
    """Fills a struct; gives what it points to."""
    sizes = (ctypes.c_int64 * len(shape))(*shape) if shape else None
    slot.data = pointer
    slot.device = ingot_place(*device)
    slot.ndim = len(shape)
    slot.dtype = ingot_dtype(kind.code, kind.bits, 1) if kind is not None else ingot_dtype(0, 0, 0)
    slot.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)) if sizes is not None else None
    slot.strides = None
    slot.byte_offset = 0
    return sizes


def _fill_strings(slot: ingot_tensor, values: Sequence[Any], shape: Sequence[int]) -> Any:
    encoded = []
    for one in values:
        encoded.append(encode(one.decode("utf-8", "surrogateescape") if isinstance(one, bytes) else str(one)))
    array = (ctypes.c_char_p * max(len(encoded), 1))(*encoded)
    return [array, encoded, _describe(slot, ctypes.addressof(array), (INGOT_CPU, 0), _STRING, tuple(shape))]


def _flatten(value: Any) -> Tuple[List[Any], Tuple[int, ...]]:
    """Nested lists row-major, and their shape."""
    if not isinstance(value, (list, tuple)):
        return [value], ()
    parts = [_flatten(one) for one in value]
    shapes = {shape for _, shape in parts}
    if len(shapes) > 1:
        raise InvalidArgument("nested lists of different lengths are no tensor")
    return [one for flat, _ in parts for one in flat], (len(value),) + (shapes.pop() if shapes else ())


SMALL = 16 << 10  # bytes that are copied sooner than their memory is kept


def copied_if_small(pointer: int, row: DType, shape: Tuple[int, ...]) -> Any:
    """A small result on the host as a numpy array of its own; else None."""
    known = _small.get(row)
    if known is None:
        return None
    count = row.itemsize
    for size in shape:
        count *= size
    return _ndarray(shape, known, bytearray(ctypes.string_at(pointer, count) if count else 1)) if count <= SMALL else None


def present(tensor: Tensor, kind: str) -> Any:
    """A result as the caller's kind of tensor, over the same memory."""
    if tensor._strings is not None:
        return tensor.numpy() if kind in ("numpy", "python") and numpy is not None else tensor
    if kind == "torch":
        import torch  # type: ignore[import-not-found,unused-ignore]

        return torch.from_dlpack(tensor)
    if kind == "cupy" and tensor.device[0] == INGOT_CUDA:
        import cupy  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return cupy.from_dlpack(tensor)
    if kind == "jax":
        import jax  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return jax.dlpack.from_dlpack(tensor)
    if kind == "ingot" or numpy is None or tensor.device[0] == INGOT_CUDA:
        return tensor
    if tensor.dtype.typestr:
        return numpy.asarray(tensor)
    return tensor.numpy() if "ml_dtypes" in sys.modules else tensor

