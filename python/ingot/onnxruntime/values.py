"""OrtValue: a value that a session takes or gives, on the host or a GPU."""
from __future__ import annotations

import ctypes
from typing import Any, List, Optional, Sequence, Tuple

import numpy

from ingot import dlpack
from ingot.dtypes import BY_KEY, BY_NAME, DType, of_numpy_dtype
from ingot.errors import InvalidArgument, Unsupported
from ingot.tensors import HOST, Tensor


class OrtDevice:
    """A kind of device and its number."""

    _NAMES = {"cpu": 1, "cuda": 2, "cuda_pinned": 3}

    def __init__(self, kind: str, number: int = 0) -> None:
        if kind.lower() not in self._NAMES:
            raise InvalidArgument("the device %r is neither cpu nor cuda" % kind)
        self._kind, self._number = kind.lower(), number

    @staticmethod
    def make(ort_device_name: str, device_id: int, vendor_id: int = -1) -> "OrtDevice":
        """By name and number."""
        return OrtDevice(ort_device_name, device_id)

    def device_type(self) -> str:
        """"cpu" or "cuda"."""
        return self._kind

    def device_id(self) -> int:
        """Its number."""
        return self._number


class OrtValue:
    """A tensor, a list of tensors, or None. Made by the functions `ortvalue_from_...`."""

    def __init__(self, value: Any, session: Any = None) -> None:
        self._value = value
        self._session = session

    @staticmethod
    def ortvalue_from_numpy(numpy_obj: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        """Of an array, which it shares. To put it on a GPU, give a session a tensor that lies there: PyTorch's or CuPy's."""
        if device_type.lower() != "cpu":
            raise Unsupported("Ingot copies nothing to a GPU by itself: give the array, or a tensor of PyTorch's or CuPy's that lies there (OrtValue.from_dlpack)")
        return OrtValue(numpy_obj)

    @staticmethod
    def ortvalue_from_shape_and_type(shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        """A new array on the host."""
        if device_type.lower() != "cpu":
            raise Unsupported("Ingot allocates no memory on a GPU for others: take PyTorch's or CuPy's (OrtValue.from_dlpack)")
        return OrtValue(numpy.empty(shape, element_type))

    @staticmethod
    def from_dlpack(data: Any, is_bool_tensor: bool = False) -> "OrtValue":
        """Of whatever has DLPack, in place; or of a capsule."""
        if not hasattr(data, "__dlpack__"):
            inside = dlpack.tensor_in(data)
            kind = BY_KEY.get((inside.dtype.code, inside.dtype.bits))
            if kind is None:
                raise InvalidArgument("Ingot has no element type for DLPack code %d with %d bits" % (inside.dtype.code, inside.dtype.bits))
            shape = tuple(inside.shape[: inside.ndim])
            return OrtValue(Tensor._of((inside.data or 0) + inside.byte_offset, BY_NAME["bool"] if is_bool_tensor else kind, shape,
                                       (inside.device.device_type, inside.device.device_id), data))
        return OrtValue(data)

    def __dlpack__(self, **options: Any) -> Any:
        """DLPack."""
        return self._value.__dlpack__(**options)

    def __dlpack_device__(self) -> Tuple[int, int]:
        """DLPack."""
        device: Tuple[int, int] = self._value.__dlpack_device__()
        return device

    def to_dlpack(self) -> Any:
        """A capsule."""
        return self._value.__dlpack__()

    def numpy(self) -> Any:
        """As a numpy array, where it is on the host."""
        if self._value is None or isinstance(self._value, (list, numpy.ndarray)):
            return self._value
        if self._value.__dlpack_device__()[0] == 2:
            raise Unsupported("the value lies on a GPU: take it with torch.from_dlpack or cupy.from_dlpack, or bind the output to the cpu")
        return numpy.asarray(self._value)

    def shape(self) -> List[int]:
        """Its sizes."""
        return list(self._value.shape)

    def _dtype(self) -> Optional[DType]:
        kind = getattr(self._value, "dtype", None)
        return kind if isinstance(kind, DType) else of_numpy_dtype(numpy.dtype(str(kind).replace("torch.", ""))) if kind is not None else None

    def data_type(self) -> str:
        """"tensor(float)" and so on."""
        kind = self._dtype()
        return "tensor(%s)" % kind.long_name if kind is not None else "seq"

    def element_type(self) -> int:
        """ONNX's number of the element type."""
        kind = self._dtype()
        return kind.onnx if kind is not None else 0

    def device_name(self) -> str:
        """"cpu" or "cuda"."""
        return "cuda" if not isinstance(self._value, (list, numpy.ndarray)) and self.__dlpack_device__()[0] == 2 else "cpu"

    def data_ptr(self) -> int:
        """The address of its first element."""
        if isinstance(self._value, Tensor):
            return self._value.pointer
        if isinstance(self._value, numpy.ndarray):
            return int(self._value.__array_interface__["data"][0])
        capsule = self._value.__dlpack__()
        inside = dlpack.tensor_in(capsule)
        return (inside.data or 0) + int(inside.byte_offset)

    def has_value(self) -> bool:
        """Whether it is no empty optional."""
        return self._value is not None

    def is_tensor(self) -> bool:
        """Whether it is a tensor."""
        return self._value is not None and not isinstance(self._value, list)

    def is_tensor_sequence(self) -> bool:
        """Whether it is a list of tensors."""
        return isinstance(self._value, list)

    def update_inplace(self, array: Any) -> None:
        """Copies an array of the same shape and type over it, on the host."""
        self.numpy()[...] = array


def of_memory(kind: Any, shape: Sequence[int], pointer: int, device: Tuple[int, int] = HOST) -> Tensor:
    """A tensor over memory that is somebody's, who keeps it."""
    row = kind if isinstance(kind, DType) else of_numpy_dtype(numpy.dtype(kind))
    if row is None:
        raise InvalidArgument("Ingot has no element type for %r" % (kind,))
    return Tensor._of(ctypes.c_void_p(pointer).value or 0, row, tuple(shape), device, None)
