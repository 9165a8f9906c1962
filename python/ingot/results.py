"""Results of a run: under their names, and their memory for as long as somebody holds it."""
from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Iterator, List, Sequence, Tuple, Type

from ingot import _abi as abi
from ingot._library import check, lib, text
from ingot.dtypes import BY_KEY, DType
from ingot.tensors import HOST, Device, Tensor
from ingot.values import STRING, copied_if_small, present

if TYPE_CHECKING:
    from ingot.session import Session


class Results(Tuple[Any, ...]):
    """The outputs of a run in the engine's order, which have names too: `results["scores"]`, `results[0]`, `scores, boxes = results`."""

    __slots__ = ()
    names: Tuple[str, ...] = ()

    def __reduce__(self) -> Any:
        return _restored, (self.names, tuple(self))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError("there is no output %r; there are %s" % (key, ", ".join(self.names)))
            key = self.names.index(key)
        return super().__getitem__(key)

    def items(self) -> Iterator[Tuple[str, Any]]:
        """Pairs of name and value."""
        return iter(zip(self.names, self))


def results_named(names: Tuple[str, ...]) -> Type[Results]:
    """The type of an engine's results, so that each of them need not be told the names."""
    return type("Results", (Results,), {"__slots__": (), "names": names})


def _restored(names: Tuple[str, ...], values: Tuple[Any, ...]) -> Results:
    """Results that were pickled or copied."""
    return results_named(names)(values)


class Raw(Tensor):
    """A result that is to be presented as the caller's kind of tensor."""

    __slots__ = ()

    def plain(self) -> Tensor:
        """For the caller."""
        return Tensor._of(self.pointer, self.dtype, self.shape, self.device, self._owner, self._session)


class Taken:
    """A result's memory. The session's device outlives it."""

    __slots__ = ("session", "handle", "on_gpu")
    _free = staticmethod(lib.ingot_result_free)  # found here when the interpreter ends and modules are gone

    def __init__(self, session: "Session", handle: int, device: Device) -> None:
        self.session = session
        self.handle = handle
        self.on_gpu = device[0] == abi.INGOT_CUDA
        session._held += self.on_gpu

    def __del__(self) -> None:
        if self.on_gpu:
            self.session._let_go(self.handle)
        else:
            self._free(self.handle)


class Taker:
    """Takes what a session's run lent. It does not hold the session, which holds it."""

    def __init__(self, outputs: Sequence[abi.ingot_output]) -> None:
        # Views of the structs, of which ctypes makes a new one at every look.
        self._views = [(tensor, tensor.dtype, tensor.device) for tensor in (output.tensor for output in outputs)]
        self._taken = ctypes.c_void_p()
        self._reference = ctypes.byref(self._taken)

    def result(self, session: "Session", index: int, kind: str) -> Any:
        """A result for a caller whose tensors are of that kind; of memory that is taken, Raw."""
        tensor, dtype, place = self._views[index]
        row = BY_KEY.get((dtype.code, dtype.bits))
        if row is None:
            return _no_tensor(session, index, kind)
        shape = tuple(tensor.shape[: tensor.ndim])
        if row is STRING:
            return present(_strings(tensor, shape), kind)
        if place.device_type != abi.INGOT_CUDA and kind == "numpy":
            small = copied_if_small(tensor.data, row, shape)
            if small is not None:
                return small
        check(lib.ingot_session_take_output(session._handle, index, self._reference))
        handle = self._taken.value
        assert handle is not None
        device = (abi.INGOT_CUDA, place.device_id) if place.device_type == abi.INGOT_CUDA else HOST
        return Raw._of(tensor.data or 0, row, shape, device, Taken(session, handle, device), session)


def _no_tensor(session: "Session", index: int, kind: str) -> Any:
    """A sequence, or None. Elements are lent and copied, whoever else has the list."""
    handle = session._handle
    if lib.ingot_session_output_kind(handle, index) == abi.ingot_kind.INGOT_NOTHING:
        return None
    element = abi.ingot_tensor()
    out: List[Any] = []
    for number in range(lib.ingot_session_output_length(handle, index)):
        check(lib.ingot_session_output_element(handle, index, number, ctypes.byref(element)))
        row = BY_KEY[(element.dtype.code, element.dtype.bits)]
        shape = tuple(element.shape[: element.ndim])
        out.append(present(_strings(element, shape) if row is STRING else _copied(element, row, shape), kind))
    return out


def _strings(tensor: abi.ingot_tensor, shape: Tuple[int, ...]) -> Tensor:
    count = 1
    for size in shape:
        count *= size
    array = ctypes.cast(tensor.data, ctypes.POINTER(ctypes.c_char_p)) if count else ()
    return Tensor([text(array[i]) for i in range(count)], None, shape)


def _copied(tensor: abi.ingot_tensor, row: DType, shape: Tuple[int, ...]) -> Tensor:
    count = row.itemsize
    for size in shape:
        count *= size
    return Tensor(bytearray(ctypes.string_at(tensor.data, count)) if count else bytearray(), row, shape)
