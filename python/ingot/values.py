"""What callers' values are, their parts as a struct says them, and results as values of the kind that the caller uses."""
from __future__ import annotations

import ctypes
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ingot import libraries
from ingot._abi import INGOT_CPU, INGOT_CUDA, ingot_dtype, ingot_place, ingot_tensor
from ingot._library import encode
from ingot.bindings import Binding
from ingot.dtypes import BY_NAME, DTYPES, DType, of_numpy_dtype
from ingot.errors import InvalidArgument
from ingot.tensors import Tensor, _count

try:
    import numpy

    ndarray: Any = numpy.ndarray
except ImportError:
    numpy = None  # type: ignore[assignment,unused-ignore]
    ndarray = ()

STRING = BY_NAME["string"]
_small: Dict[DType, Any] = {row: numpy.dtype(row.typestr) for row in DTYPES if row.typestr} if numpy is not None else {}
_rows: Dict[Any, Optional[DType]] = {}  # by numpy.dtype
_families: Dict[type, str] = {}


def family(value: Any) -> str:
    """Whose kind of tensor a value is: "numpy", "torch", "cupy", "jax", "ingot", or "python"."""
    kind = type(value)
    known = _families.get(kind)
    if known is None:
        top = kind.__module__.partition(".")[0]
        names = {"torch": "torch", "cupy": "cupy", "jax": "jax", "jaxlib": "jax", "numpy": "numpy"}
        known = "ingot" if kind is Tensor else "numpy" if isinstance(value, ndarray) else names.get(top, "python")
        _families[kind] = known
    return known


def native(value: Any) -> Tuple[Any, DType]:
    """An array as Ingot reads it, the same one if it can be, and its element type."""
    array = numpy.asarray(value)
    kind = _rows.get(array.dtype)
    if kind is None:
        kind = _rows[array.dtype] = of_numpy_dtype(array.dtype.newbyteorder("=")) if array.dtype.kind != "V" or array.dtype.names is None else None
    if kind is None:
        raise InvalidArgument("Ingot has no element type for numpy's %s" % array.dtype)
    if kind is STRING:
        return array, kind
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if kind.name in ("i4", "i2"):  # ml_dtypes leaves the other bits of a byte as they come
        array = array.astype(numpy.int8)
    if not array.flags.c_contiguous:
        array = numpy.ascontiguousarray(array).reshape(array.shape)
    return array, kind


def sizes_of(binding: Binding, view: memoryview) -> Optional[Tuple[int, ...]]:
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


def describe(slot: ingot_tensor, pointer: int, device: Tuple[int, int], kind: Optional[DType], shape: Sequence[int]) -> Any:
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


def fill_strings(slot: ingot_tensor, values: Sequence[Any], shape: Sequence[int]) -> Any:
    encoded = []
    for one in values:
        encoded.append(encode(one.decode("utf-8", "surrogateescape") if isinstance(one, bytes) else str(one)))
    array = (ctypes.c_char_p * max(len(encoded), 1))(*encoded)
    return [array, encoded, describe(slot, ctypes.addressof(array), (INGOT_CPU, 0), STRING, tuple(shape))]


def flatten(value: Any) -> Tuple[List[Any], Tuple[int, ...]]:
    """Nested lists row-major, and their shape."""
    if not isinstance(value, (list, tuple)):
        return [value], ()
    parts = [flatten(one) for one in value]
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
    return ndarray(shape, known, bytearray(ctypes.string_at(pointer, count) if count else 1)) if count <= SMALL else None


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
        library = libraries.named("jax")
        array = library.taken(tensor) if library is not None else None
        if array is not None:
            return array
        import jax  # type: ignore[import-not-found,import-untyped,unused-ignore]

        return jax.dlpack.from_dlpack(tensor)
    if kind == "ingot" or numpy is None or tensor.device[0] == INGOT_CUDA:
        return tensor
    if tensor.dtype.typestr:
        return numpy.asarray(tensor)
    return tensor.numpy() if "ml_dtypes" in sys.modules else tensor

