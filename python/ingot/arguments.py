"""The inputs of a call as the library's structs, which are filled anew only where something has changed.

What a value is decides how it is read: numpy arrays, tensors of PyTorch and CuPy, buffers and everything with DLPack in place, Python's numbers and lists
through an array of the input's element type. Nothing is copied that lies row-major."""
from __future__ import annotations

import ctypes
import struct
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ingot import dlpack, libraries, streams
from ingot._abi import INGOT_COMPLEX, INGOT_CPU, INGOT_CUDA, INGOT_TENSORS, ingot_dtype, ingot_place, ingot_tensor
from ingot.bindings import Binding
from ingot.dtypes import BY_NAME
from ingot.errors import InvalidArgument
from ingot.libraries import Known
from ingot.tensors import Tensor
from ingot.values import STRING, describe, family, fill_strings, flatten, native, ndarray, sizes_of

_FORMATS = {"f32": "f", "f64": "d", "f16": "e", "i8": "b", "i16": "h", "i32": "i", "i64": "q", "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "bool": "?", "i4": "b",
            "u4": "B", "i2": "b", "u2": "B"}


class Slot:
    """A struct, and what it says."""

    __slots__ = ("tensor", "known")

    def __init__(self, tensor: ingot_tensor) -> None:
        self.tensor = tensor
        self.known: Optional[Known] = None


class Arguments:
    """The inputs of calls of one session, in the engine's order."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self.bindings = bindings
        self.array = (ingot_tensor * max(len(bindings), 1))()
        self.slots = [Slot(self.array[i]) for i in range(len(bindings))]  # of which ctypes makes a new one at every look
        self.kind = "python"  # the family of the first tensor
        self.on_gpu: Optional[int] = None  # the number of the GPU that some of it lies on
        self.ordered = streams.Order()
        self.version = 0  # changes where inputs are not like those of the call before, but for their addresses
        self._count = -1
        self._kept: List[Any] = []  # what structs point to while a call lasts
        self._places: Dict[Tuple[str, int], Tuple[str, int]] = {}
        self._asked: Any = None  # of which library and GPU the current stream is
        self._stream: Optional[int] = None

    def take(self, values: Sequence[Any]) -> None:
        """Describes the values: tensors, sequences of them, None for what is left out."""
        self.kind = "python"
        self.on_gpu = self._asked = None
        self.ordered.clear()
        same = len(values) == self._count
        self._count = -1  # until all are described
        for index, value in enumerate(values):
            slot = self.slots[index]
            if not self.refill(slot, value):
                same = False
                self._fill(slot, self.bindings[index], value)
        self._count = len(values)
        if not same:
            self.version += 1

    def release(self) -> None:
        """Lets go of the values, outputs too; structs stay described for the next call."""
        self._kept.clear()

    def refill(self, slot: Slot, value: Any) -> bool:
        """Whether the struct describes such a tensor already: then only the address is written."""
        known = slot.known
        if known is None or type(value) is not known.type:
            return False
        address = known.like(value, known)
        if address is None:
            return False
        slot.tensor.data = address
        self._kept.append(value)
        if known.place is not self._asked and known.place is not None:
            self.order(known.place, known.owner)
        if self.kind == "python":
            self.kind = known.owner.name
        return True

    def order(self, place: Tuple[str, int], owner: Any = None) -> Optional[int]:
        """A tensor of a library's on a GPU: the call is ordered with that library's stream, which is given. None of one that has no such thing: the
        elements are there, and the call returns when its work is done."""
        if place != self._asked:  # once a call
            self.on_gpu = place[1]
            self._stream = self.ordered.add(owner.stream(place[1]) if owner is not None else streams.current(*place))
            self._asked = place
        return self._stream

    def _fill(self, slot: Slot, binding: Binding, value: Any) -> None:
        slot.known = None
        if value is None:
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
        self._kept.append((items, inside, shape))

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
            self._kept.append(fill_strings(slot.tensor, value._strings, value.shape))
            return
        if value.device[0] == INGOT_CUDA:
            self.on_gpu = value.device[1]
            self.ordered.add_tensor(value)
        self._kept.append((value, describe(slot.tensor, value.pointer, value.device, value.dtype, value.shape)))

    def _fill_numpy(self, slot: Slot, value: Any) -> None:
        array, kind = native(value)
        if kind is STRING:
            self._kept.append(fill_strings(slot.tensor, array.ravel().tolist(), array.shape))
            return
        sizes = describe(slot.tensor, array.__array_interface__["data"][0], (INGOT_CPU, 0), kind, array.shape)
        self._kept.append((array, sizes))
        if array is value and type(value) is ndarray:
            library = libraries.named("numpy")
            slot.known = Known(ndarray, library, library.like, library.said(array), None, sizes)

    def _fill_direct(self, slot: Slot, its: str, value: Any) -> bool:
        """As its library's own attributes say, where it is plain."""
        library = libraries.named(its)
        if library is None or type(value) is not library.tensor:
            return False
        read = library.read(value)
        if read is None:
            return False
        kind, device, pointer = read
        place = self._places.setdefault((its, device[1]), (its, device[1])) if device[0] == INGOT_CUDA else None  # the same object each time
        if place is not None:
            self.order(place)
        sizes = describe(slot.tensor, pointer, device, kind, tuple(value.shape))
        self._kept.append((value, sizes))
        if kind.code != INGOT_COMPLEX:  # those may be conjugates: they are asked every time
            slot.known = Known(library.tensor, library, library.like, library.said(value), place, sizes)
        return True

    def _fill_dlpack(self, slot: Slot, value: Any, its: str) -> None:
        device = value.__dlpack_device__()
        stream = None
        if device[0] == INGOT_CUDA:
            stream = self.order((its, device[1])) or self.ordered.add(libraries.LEGACY)
        capsule, tensor = dlpack.export(value, stream)
        ctypes.memmove(ctypes.addressof(slot.tensor), ctypes.addressof(tensor), ctypes.sizeof(ingot_tensor))
        self._kept.append((value, capsule))

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
            self._kept.append((tensor, describe(slot.tensor, tensor.pointer, tensor.device, tensor.dtype, tensor.shape)))
            return
        flat, sizes = flatten(value)
        kind = binding.dtype if binding.dtype is not None else STRING if flat and isinstance(flat[0], str) else BY_NAME["f32"]
        if kind is STRING:
            self._kept.append(fill_strings(slot.tensor, flat, sizes))
            return
        if kind.name not in _FORMATS:
            raise InvalidArgument("input '%s' is %s, which Python's numbers are not turned into: give an ingot.Tensor" % (binding.name, kind.name))
        try:
            data = bytearray(struct.pack("=%d%s" % (len(flat), _FORMATS[kind.name]), *flat))
        except struct.error as error:
            raise InvalidArgument("input '%s' is %s: %s" % (binding.name, kind.name, error)) from None
        memory = (ctypes.c_char * max(len(data), 1)).from_buffer(data or bytearray(1))
        self._kept.append((memory, describe(slot.tensor, ctypes.addressof(memory), (INGOT_CPU, 0), kind, sizes)))
