"""Where the results of a call go: to the caller's memory, to tensors of the caller's library that are made for them, or to memory that the session lends."""
from __future__ import annotations

import ctypes
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

from ingot import _abi as abi
from ingot import libraries
from ingot.arguments import Arguments, Slot
from ingot.bindings import Binding
from ingot.dtypes import of_numpy_dtype
from ingot.errors import InvalidArgument
from ingot.libraries import address
from ingot.tensors import HOST, Tensor
from ingot.values import SMALL, family, ndarray

Outputs = Union[None, Sequence[Any], Mapping[str, Any]]
MOST_SHAPES = 256  # of inputs, whose results are remembered


class Places:
    """The outputs of calls of one session, in the engine's order.

    The first run with inputs of some shapes is lent memory for its results. From then on their shapes are known, and PyTorch and CuPy make the tensors
    that the next runs write to: such memory is theirs, on their stream, which costs less than to take memory from the session and to give it back."""

    def __init__(self, bindings: Sequence[Binding], arguments: Arguments) -> None:
        self.bindings = bindings
        self.names = tuple(binding.name for binding in bindings)
        self._arguments = arguments
        count = len(bindings)
        self.array = (abi.ingot_output * max(count, 1))()
        self.structs = [self.array[i] for i in range(count)]  # of which ctypes makes a new one at every look
        for struct in self.structs:
            struct.size = ctypes.sizeof(abi.ingot_output)
        self.slots = [Slot(struct.tensor) for struct in self.structs]  # what is known is known of the caller's memory
        self._nothing: Tuple[None, ...] = (None,) * count
        self._tensors = all(binding.kind == "tensor" for binding in bindings)  # structs of others are cleared by a run
        self._lent: Any = None  # where all are lent, as the structs say since the last call: (host, gpu)
        self._open = any(binding.dims is None or not all(isinstance(size, int) for size in binding.dims) for binding in bindings)
        self._makes = True
        self._makers: Dict[Any, List[Any]] = {}  # what makes tensors for results; None for one that stays lent
        self._current: Any = None  # those for inputs as they came last: (version of the arguments, host, library, makers, whose stream)
        self._described: List[Any] = [(None, None)] * count  # (maker, what is known): whose tensors a struct describes
        self.unseen: Any = None  # what the makers for a call like the last are to be found by, if it is the first of its kind
        self.made = False  # whether the last call's results go to tensors that were made
        self.lends = False  # whether some are lent

    def describe(self, outputs: Outputs, values: Sequence[Any], host: bool) -> Sequence[Any]:
        """Says where the results of these inputs go; gives what each is written to, None of what is lent. host: if the caller does not say."""
        self.unseen = None
        self.made = self.lends = False
        if outputs is None:
            return self._make(values, host) or self.lend(host)
        given = self._callers(outputs)
        self._lent = None
        refill = self._arguments.refill
        for index, value in enumerate(given):
            if value is None:
                self._lend(index, host)
            elif (type(value) is ndarray and not value.flags.writeable) or not refill(self.slots[index], value):
                self._write_to(index, value)
        return given

    def lend(self, host: bool) -> Sequence[Any]:
        """All results are lent."""
        self.made, self.lends = False, True
        lent = (host, self._arguments.on_gpu)
        if self._lent != lent:
            for index in range(len(self.slots)):
                self._lend(index, host)
            self._lent = lent if self._tensors else None
        return self._nothing

    def _lend(self, index: int, host: bool) -> None:
        struct = self.structs[index]
        self.lends = True
        self.slots[index].known = None
        struct.owner = abi.ingot_owner.INGOT_OWNED_BY_SESSION
        struct.tensor.device.device_type = abi.INGOT_CPU if host else abi.INGOT_CUDA
        struct.tensor.device.device_id = 0 if host else self._arguments.on_gpu or 0

    def _callers(self, outputs: Any) -> Sequence[Any]:
        if (type(outputs) is list or type(outputs) is tuple) and len(outputs) == len(self.names):
            return outputs  # type: ignore[no-any-return,unused-ignore]
        names = outputs if isinstance(outputs, Mapping) else dict(zip(self.names, outputs))
        if len(names) < len(outputs) or not set(names) <= set(self.names):
            raise InvalidArgument("outputs are given for %s, but the model has %s" % (", ".join(map(str, outputs)), ", ".join(self.names)))
        return [names.get(name) for name in self.names]

    def _write_to(self, index: int, value: Any) -> None:
        slot, struct = self.slots[index], self.structs[index]
        self._need_writable(value)
        self._arguments.fill(slot, self.bindings[index], value)
        if slot.known is None and isinstance(value, ndarray) and slot.tensor.data != address(value):
            raise InvalidArgument("an output is given an array of numpy's %s, which Ingot does not write in place" % value.dtype)
        struct.owner = abi.ingot_owner.INGOT_OWNED_BY_CALLER
        struct.capacity = 0

    @staticmethod
    def _need_writable(value: Any) -> None:
        flags = getattr(value, "flags", None)
        if flags is not None and hasattr(flags, "writeable") and not (flags.writeable and flags.c_contiguous):
            raise InvalidArgument("an output is given an array that is read-only or not row-major")
        if isinstance(value, (bytes, str, list, tuple)) or family(value) == "jax":
            raise InvalidArgument("an output is given %s, which cannot be written to" % type(value).__name__)

    # ---- tensors that are made

    def _make(self, values: Sequence[Any], host: bool) -> Sequence[Any]:
        current = self._current
        if current is None or current[0] != self._arguments.version or current[1] != host:
            current = self._current = self._find_makers(values, host)
            if current is None:
                return ()
        _, _, library, makers, place = current
        if place is not None:
            self._arguments.order(place)  # what the memory was used for before
        self._lent = None
        self.made = True
        return [self._made(index, maker, library, host) for index, maker in enumerate(makers)]

    def _find_makers(self, values: Sequence[Any], host: bool) -> Any:
        arguments = self._arguments
        gpu, library = arguments.on_gpu, libraries.named(arguments.kind)
        if library is None or not self._makes or (not host and gpu is None):
            return None
        shapes = _shapes(values) if self._open else True
        if shapes is None:
            return None
        call = (library.name, HOST if host else (abi.INGOT_CUDA, gpu), shapes)
        makers = self._makers.get(call)
        if not makers:
            self.unseen = call if makers is None else None
            return None
        return arguments.version, host, library, makers, None if host else (library.name, gpu)

    def _made(self, index: int, maker: Any, library: Any, host: bool) -> Any:
        if maker is None:
            return self._lend(index, host)
        value, slot, described = maker(), self.slots[index], self._described[index]
        if slot.known is not None and described[0] is maker and described[1] is slot.known:
            slot.tensor.data = library.pointer(value)
        else:
            self._write_to(index, value)
            self._described[index] = (maker, slot.known)
        return value

    def remember(self, results: Sequence[Any]) -> None:
        """After a run like none before: how the next one's are made. A kernel on a GPU writes to them itself; on the host they are copied, so only
        small ones are made there."""
        name, device, _ = self.unseen
        library = libraries.named(name)
        if len(self._makers) >= MOST_SHAPES:
            self._makers.clear()
        makers = [_maker_like(library, one, device) for one in results]
        self._makers[self.unseen] = makers if any(makers) else []
        self._current = None

    def mistaken(self) -> None:
        """Results were not as they had been of inputs of the same shapes, since what inputs hold decides: all are lent from now on."""
        self._makes = False
        self._makers.clear()
        self._current = None


def _maker_like(library: Any, result: Any, device: Any) -> Any:
    if type(result) is ndarray:  # a small one, which was copied
        row = of_numpy_dtype(result.dtype)
        return library.maker(row, result.shape, device) if row is not None else None
    if not isinstance(result, Tensor) or result._strings is not None or (device == HOST and result.nbytes > SMALL):
        return None
    return library.maker(result.dtype, result.shape, device)


def _shapes(values: Sequence[Any]) -> Any:
    """The shapes of inputs, None where one is no tensor."""
    shapes = tuple([getattr(value, "shape", None) for value in values])
    for shape in shapes:
        if not isinstance(shape, tuple):
            return None
    return shapes
