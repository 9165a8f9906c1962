"""The inputs of a call as the library's structs, which are filled anew only where something has changed.

What a value is decides how it is read: numpy arrays, tensors of PyTorch and CuPy, buffers and everything with DLPack in place, Python's numbers and lists
through an array of the input's element type. Nothing is copied that lies row-major."""
from __future__ import annotations

import ctypes
import struct
from typing import Any, List, Optional, Sequence

from ingot import dlpack, libraries, streams
from ingot._abi import INGOT_CPU, INGOT_CUDA, INGOT_TENSORS, ingot_dtype, ingot_place, ingot_tensor
from ingot.bindings import Binding
from ingot.dtypes import BY_NAME
from ingot.errors import InvalidArgument
from ingot.libraries import Known
from ingot.tensors import Tensor
from ingot.values import STRING, address, describe, family, fill_strings, flatten, native, ndarray, sizes_of

_FORMATS = {"f32": "f", "f64": "d", "f16": "e", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bool": "?", "i4": "b",
            "u4": "B", "i2": "b", "u2": "B"}
_of_type = libraries.of_type


class Slot:
    """A struct, what it says, and what it points to while a call lasts."""

    __slots__ = ("tensor", "known", "kept")

    def __init__(self, tensor: ingot_tensor) -> None:
        self.tensor = tensor
        self.known: Optional[Known] = None
        self.kept: Any = None


class Arguments:
    """The inputs of calls of one session, in the engine's order."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings = bindings
        self.array = (ingot_tensor * max(len(bindings), 1))()
        self.slots = [Slot(self.array[i]) for i in range(len(bindings))]  # of which ctypes makes a new one at every look
        self.kind = "python"  # the family of the first tensor
        self.on_gpu: Optional[int] = None  # the number of the GPU that some of it lies on
        self.ordered = streams.Order()
        self._asked: Any = None  # of which library and GPU the current stream is
        self._stream = 0

    def take(self, values: Sequence[Any]) -> None:
        """Describes the values: tensors, sequences of them, None for what is left out."""
        self.kind = "python"
        self.on_gpu = self._asked = None
        self.ordered.clear()
        for index, value in enumerate(values):
            slot = self.slots[index]
            if not self.refill(slot, value):
                self._fill(slot, self.bindings[index], value)

    def release(self) -> None:
        """Lets go of the values; structs stay described for the next call."""
        for slot in self.slots:
            slot.kept = None

    def refill(self, slot: Slot, value: Any) -> bool:
        """Whether the struct describes such a tensor already: then only the address is written."""
        known, kind = slot.known, type(value)
        if known is None:
            return False
        owner = known.owner
        if kind is ndarray:
            if owner is not ndarray or known.dtype is not value.dtype or known.shape != value.shape or not value.flags.c_contiguous:
                return False
            slot.tensor.data = address(value)
            its = "numpy"
        else:
            if _of_type(kind) is not owner or not owner.is_like(value, known):
                return False
            slot.tensor.data = owner.pointer(value)
            its = owner.name
            if known.gpu is not None:
                self.order(its, known.gpu)
        slot.kept = value
        if self.kind == "python":
            self.kind = its
        return True

    def order(self, its: str, gpu: int) -> int:
        """A tensor of a library's on a GPU: the call is ordered with that library's stream, which is given."""
        if self._asked != (its, gpu):  # once a call
            self.on_gpu = gpu
            self._stream = self.ordered.add(its, gpu)
            self._asked = (its, gpu)
        return self._stream

    def _fill(self, slot: Slot, binding: Binding, value: Any) -> None:
        slot.known = None
        if value is None:
            slot.kept = None
            describe(slot.tensor, 0, (INGOT_CPU, 0), None, ())
        elif binding.kind == "sequence" or (binding.kind == "optional" and isinstance(value, (list, tuple))):
            self._fill_sequence(slot, binding, value)
        else:
            self.fill(slot, binding, value)

    def _fill_sequence(self, slot: Slot, binding: Binding, values: Any) -> None:
        values = list(values)
        items = (ingot_tensor * max(len(values), 1))()
        inside = [Slot(items[i]) for i in range(len(values))]
        for item, value in zip(inside, values):
            self.fill(item, binding, value)
        shape = (ctypes.c_int64 * 1)(len(values))
        tensor = slot.tensor
        tensor.data = ctypes.addressof(items)
        tensor.device = ingot_place(INGOT_CPU, 0)
        tensor.ndim = 1
        tensor.dtype = ingot_dtype(INGOT_TENSORS, 64, 1)
        tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
        tensor.strides = None
        slot.kept = [items, inside, shape]

    def fill(self, slot: Slot, binding: Binding, value: Any) -> None:
        """Describes one tensor."""
        its = family(value)
        if self.kind == "python":
            self.kind = its
        slot.known = None
        if its == "numpy":
            self._fill_numpy(slot, value)
        elif its == "ingot":
            self._fill_own(slot, value)
        elif self._fill_direct(slot, its, value):
            return
        elif hasattr(value, "__dlpack__"):
            self._fill_dlpack(slot, value, its)
        else:
            self._fill_python(slot, binding, value)

    def _fill_own(self, slot: Slot, value: Tensor) -> None:
        if value._strings is not None:
            slot.kept = fill_strings(slot.tensor, value._strings, value.shape)
            return
        if value.device[0] == INGOT_CUDA:
            self.on_gpu = value.device[1]
            self.ordered.add_tensor(value)
        slot.kept = [value, describe(slot.tensor, value.pointer, value.device, value.dtype, value.shape)]

    def _fill_numpy(self, slot: Slot, value: Any) -> None:
        array, kind = native(value)
        if kind is STRING:
            slot.kept = fill_strings(slot.tensor, array.ravel().tolist(), array.shape)
            return
        sizes = describe(slot.tensor, array.__array_interface__["data"][0], (INGOT_CPU, 0), kind, array.shape)
        slot.kept = [array, sizes]
        if array is value:
            slot.known = Known(ndarray, array.dtype, array.shape, None, None, sizes)

    def _fill_direct(self, slot: Slot, its: str, value: Any) -> bool:
        """As its library's own attributes say, where it is plain."""
        library = libraries.named(its)
        if library is None or type(value) is not library.tensor:
            return False
        read = library.read(value)
        if read is None:
            return False
        kind, device, pointer = read
        shape = tuple(value.shape)
        gpu = device[1] if device[0] == INGOT_CUDA else None
        if gpu is not None:
            self.order(its, gpu)
        sizes = describe(slot.tensor, pointer, device, kind, shape)
        slot.known = Known(library, value.dtype, shape, library.place(value), gpu, sizes)
        slot.kept = value
        return True

    def _fill_dlpack(self, slot: Slot, value: Any, its: str) -> None:
        device = value.__dlpack_device__()
        stream = self.order(its, device[1]) if device[0] == INGOT_CUDA else None
        capsule, tensor = dlpack.export(value, stream)
        ctypes.memmove(ctypes.addressof(slot.tensor), ctypes.addressof(tensor), ctypes.sizeof(ingot_tensor))
        slot.kept = [value, capsule]

    def _fill_python(self, slot: Slot, binding: Binding, value: Any) -> None:
        """Numbers, lists of them, text, buffers."""
        try:
            view = memoryview(value)
        except TypeError:
            pass
        else:
            raw = view.format == "B" and view.ndim == 1
            shape = sizes_of(binding, view) if raw else None
            tensor = Tensor(value, binding.dtype if shape is not None else None, shape)
            slot.kept = [tensor, describe(slot.tensor, tensor.pointer, tensor.device, tensor.dtype, tensor.shape)]
            return
        flat, sizes = flatten(value)
        kind = binding.dtype if binding.dtype is not None else STRING if flat and isinstance(flat[0], str) else BY_NAME["f32"]
        if kind is STRING:
            slot.kept = fill_strings(slot.tensor, flat, sizes)
            return
        if kind.name not in _FORMATS:
            raise InvalidArgument("input '%s' is %s, which Python's numbers are not turned into: give an ingot.Tensor" % (binding.name, kind.name))
        try:
            data = bytearray(struct.pack("=%d%s" % (len(flat), _FORMATS[kind.name]), *flat))
        except struct.error as error:
            raise InvalidArgument("input '%s' is %s: %s" % (binding.name, kind.name, error)) from None
        memory = (ctypes.c_char * max(len(data), 1)).from_buffer(data or bytearray(1))
        slot.kept = [memory, describe(slot.tensor, ctypes.addressof(memory), (INGOT_CPU, 0), kind, sizes)]
