"""DLPack, both ways: capsules that others give are read in place; tensors of ours are given as capsules that keep them alive.

ingot_tensor is DLPack's DLTensor under another name, so what a capsule holds goes to the library as it is."""
from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple

from ingot._abi import INGOT_CPU, INGOT_CUDA, INGOT_CUDA_HOST, ingot_tensor

if TYPE_CHECKING:
    from ingot.tensors import Tensor

Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class DLManagedTensor(ctypes.Structure):
    """The form of DLPack before 1.0."""

    _fields_ = [("tensor", ingot_tensor), ("context", ctypes.c_void_p), ("deleter", Deleter)]


class DLManagedTensorVersioned(ctypes.Structure):
    """The form since 1.0."""

    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", Deleter), ("flags", ctypes.c_uint64),
                ("tensor", ingot_tensor)]


PLAIN, VERSIONED = b"dltensor", b"dltensor_versioned"
_python = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(("PyCapsule_New", _python))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))
# The same for a capsule that is being freed: its address, since nobody may hold it any more.
_dying_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _python))
_dying_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _python))

# What stands behind capsules that are out, by the address that the taker gives back.
_given: Dict[int, Tuple[Any, "Tensor"]] = {}


def row_major(shape: Sequence[int]) -> Tuple[int, ...]:
    """Strides, in elements."""
    strides, stride = [0] * len(shape), 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = stride
        stride *= max(shape[axis], 1)
    return tuple(strides)


# Both may be called when the interpreter ends and the names of this module are gone: all that they need are defaults.
def _delete(address: int, given: Dict[int, Tuple[Any, "Tensor"]] = _given) -> None:
    given.pop(address, None)


def _destroy(capsule: int, given: Dict[int, Tuple[Any, "Tensor"]] = _given, names: Tuple[bytes, bytes] = (PLAIN, VERSIONED), is_valid: Any = _dying_is_valid, pointer: Any = _dying_pointer) -> None:
    """Of a capsule that nobody took."""
    for name in names:
        if is_valid(capsule, name):
            given.pop(pointer(capsule, name), None)


_delete_in_c = Deleter(_delete)
_destroy_in_c = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(_destroy)
# Nor may the code that C calls be freed before what may call it, which others hold for as long as they like: it never is.
_keep = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", _python))
_keep(_delete_in_c)
_keep(_destroy_in_c)
_DELETE, _DESTROY = ctypes.cast(_delete_in_c, ctypes.c_void_p).value, ctypes.cast(_destroy_in_c, ctypes.c_void_p).value
_PLAIN_STRUCT, _VERSIONED_STRUCT = struct.Struct("=QiiiBBHQQQQQ"), struct.Struct("=IIQQQQiiiBBHQQQ")
_PLAIN_BYTES, _VERSIONED_BYTES = ctypes.sizeof(DLManagedTensor), ctypes.sizeof(DLManagedTensorVersioned)


def capsule(tensor: "Tensor", versioned: bool) -> Any:
    """A capsule over the tensor's memory, which keeps the tensor until the taker lets go. Its struct, with sizes and strides behind it, is written as
    bytes: field by field takes ten times as long."""
    shape = tensor.shape
    rank, head = len(shape), _VERSIONED_BYTES if versioned else _PLAIN_BYTES
    memory = (ctypes.c_char * (head + 16 * rank))()
    address = ctypes.addressof(memory)
    kind = tensor.dtype
    said = (tensor.pointer, tensor.device[0], tensor.device[1], rank, kind.code, kind.bits, 1, address + head, address + head + 8 * rank, 0)
    if versioned:
        _VERSIONED_STRUCT.pack_into(memory, 0, 1, 0, 0, _DELETE, 0, *said)
    else:
        _PLAIN_STRUCT.pack_into(memory, 0, *said, 0, _DELETE)
    struct.pack_into("=%dq" % (2 * rank), memory, head, *shape, *row_major(shape))
    _given[address] = (memory, tensor)
    return _new(address, VERSIONED if versioned else PLAIN, _DESTROY)


def tensor_in(given: Any) -> ingot_tensor:
    """The tensor of a capsule that nobody took yet. It is valid as long as the capsule, whose end gives it back."""
    if _is_valid(given, VERSIONED):
        managed: Any = DLManagedTensorVersioned.from_address(_pointer(given, VERSIONED))
        if managed.major > 1:
            raise BufferError("DLPack %d.%d is not known here" % (managed.major, managed.minor))
    elif _is_valid(given, PLAIN):
        managed = DLManagedTensor.from_address(_pointer(given, PLAIN))
    else:
        raise BufferError("no DLPack capsule, or one that was taken already: %r" % (given,))
    out: ingot_tensor = managed.tensor
    return out


def export(given: Any, stream: Optional[int]) -> Tuple[Any, ingot_tensor]:
    """Asks an object for its capsule. stream: on which it is going to be read, of one on a GPU."""
    device_type = given.__dlpack_device__()[0]
    if device_type not in (INGOT_CPU, INGOT_CUDA, INGOT_CUDA_HOST):
        raise BufferError("DLPack's device type %d is neither the host nor a CUDA device" % device_type)
    out = given.__dlpack__(stream=stream) if device_type == INGOT_CUDA else given.__dlpack__()
    return out, tensor_in(out)
