"""Sessions: what runs an engine. One call at a time; an engine makes as many as it has callers."""
from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING, Any, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ingot import _abi as abi
from ingot import reports
from ingot._library import check, created, error_of, lib, owned_text, text
from ingot.config import Configuration
from ingot.dtypes import BY_KEY, BY_NAME, DType
from ingot.errors import InvalidArgument
from ingot.streams import LEGACY
from ingot.tensors import HOST, Device, Tensor
from ingot.values import Arguments, address, copied_if_small, described, is_like, present

if TYPE_CHECKING:
    from ingot.engine import Engine

Inputs = Union[Sequence[Any], Mapping[str, Any]]
Outputs = Union[None, Sequence[Any], Mapping[str, Any]]


class Results(Tuple[Any, ...]):
    """The outputs of a run in the engine's order, which have names too: `results["scores"]`, `results[0]`, `scores, boxes = results`."""

    names: Tuple[str, ...]

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError("there is no output %r; there are %s" % (key, ", ".join(self.names)))
            key = self.names.index(key)
        return super().__getitem__(key)

    def items(self) -> Iterator[Tuple[str, Any]]:
        """Pairs of name and value."""
        return iter(zip(self.names, self))


class Session:
    """Runs an engine on one device with memory of its own: `engine.session(device="cpu", threads=2)`.

    A call from a second thread waits for the first; make a session for each thread instead, they share the weights. Ctrl-C ends a run."""

    def __init__(self, engine: "Engine", options: Mapping[str, Any]) -> None:
        self.engine = engine
        self._handle = 0
        self._lock = threading.Lock()
        self.process = os.getpid()  # that may use it: not one that is forked from it
        self._garbage: List[Tuple[int, int]] = []  # results nobody holds any more, each with the stream that it was handed to
        self._configuration = Configuration(options)
        self._watch = self._configuration.watch
        with self._watch:
            self._handle = created(lib.ingot_session_create, engine._handle, self._configuration.reference)
        self._inputs = engine.inputs
        self._input_names = {binding.name: index for index, binding in enumerate(engine.inputs)}
        self._output_names = tuple(binding.name for binding in engine.outputs)
        self._arguments = Arguments(engine.inputs)
        count = len(engine.outputs)
        self._outputs = (abi.ingot_output * max(count, 1))()
        self._slots = [self._outputs[i] for i in range(count)]
        for slot in self._slots:
            slot.size = ctypes.sizeof(abi.ingot_output)
        # Views of the structs, of which ctypes makes a new one at every look.
        self._views = [(tensor, tensor.dtype, tensor.device) for tensor in (slot.tensor for slot in self._slots)]
        self._placed: Any = None  # what the structs say since the last call: (place, gpu) of all
        self._nothing: Tuple[None, ...] = (None,) * count
        self._rooms: List[Any] = [None] * count  # (dtype, shape, what the struct points to) of the caller's array that a struct describes
        self._kept: List[Any] = []  # what structs of outputs point to while a run lasts
        self._taken = ctypes.c_void_p()
        self._taken_reference = ctypes.byref(self._taken)

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            self._drain()
            lib.ingot_session_free(self._handle)
            self._handle = 0

    @property
    def device(self) -> str:
        """What it runs on, like "NVIDIA H200 (CUDA device 0, sm_90)"."""
        return text(lib.ingot_session_device(self._handle))

    @property
    def memory(self) -> reports.Memory:
        """The memory bill, for the shapes set or run last."""
        return reports.read_memory(self._handle)

    def run(self, inputs: Inputs = (), outputs: Outputs = None, on: Optional[str] = None) -> Results:
        """Runs the model.

        inputs: values in the engine's order, or by name; None leaves out one that has a default. A value is an array or tensor of any library with
        DLPack or numpy's interface, a buffer, an ingot.Tensor, a number or nested lists of them; a sequence is a list of such.
        outputs: where results go, in order or by name: writable arrays or tensors that have the result's shape and type, on the host or the session's
        GPU, or None to be given one.
        on: "host" or "device": where results are that nobody gave a place for. If not said, on the GPU where an input lay there.

        Results are of the first input's kind (numpy for Python's own numbers) and own their memory; they were not copied, but for numpy's of at most 16 KiB,
        which is faster than keeping them. On a GPU they may still be
        being computed: whoever takes them by DLPack is ordered behind that. InvalidArgument where an input does not fit the model."""
        finish_others(inputs, self)
        with self._lock:
            raw, kind = self._run(inputs, outputs, on)
        # Whoever takes a tensor by DLPack comes back to its session, to be ordered: now that it is free.
        results = Results([present(value._plain(), kind) if type(value) is _Raw else value for value in raw])
        results.names = self._output_names
        return results

    def _run(self, inputs: Inputs, outputs: Outputs, on: Optional[str]) -> Tuple[List[Any], str]:
        self._drain()
        arguments = self._arguments
        values = self._ordered(inputs)
        arguments.take(values)
        ordered = arguments.ordered
        try:
            on_gpu = arguments.on_gpu
            place = 1 if on == "host" or (on is None and on_gpu is None) else 2
            given = self._place(outputs, place, on_gpu or 0)
            if ordered.streams or ordered.tensors:
                ordered.before(self)
            with self._watch:
                error = lib.ingot_session_run_into(self._handle, arguments.array, len(values), self._outputs, len(self._slots))
                if error:
                    raise error_of(error)
            results = [self._result(i) if given[i] is None else given[i] for i in range(len(given))]
            if ordered.streams or ordered.tensors or ordered.unknown:
                ordered.after(self)
        finally:
            arguments.release()
            self._kept.clear()
        return results, arguments.kind

    def prepare(self, **shapes: Sequence[int]) -> None:
        """Plans and compiles for these input shapes now rather than at the first run: `prepare(x=(1, 3, 224, 224))`."""
        self.prepare_shapes(shapes)

    def prepare_shapes(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """As prepare, of names that are no identifiers."""
        for name in shapes:
            self._index(name)
        pointer = ctypes.POINTER(ctypes.c_int64)
        rows = (pointer * max(len(self._inputs), 1))()
        for index, binding in enumerate(self._inputs):
            shape = shapes.get(binding.name)
            if shape is None and binding.has_default:
                continue
            if shape is None and binding.dims is not None and all(isinstance(size, int) for size in binding.dims):
                shape = [size for size in binding.dims if isinstance(size, int)]
            if shape is None:
                raise InvalidArgument("input '%s' has no shape given" % binding.name)
            if binding.dims is not None and len(shape) != len(binding.dims):
                raise InvalidArgument("input '%s' has %d axes, but the shape given has %d" % (binding.name, len(binding.dims), len(shape)))
            rows[index] = ctypes.cast((ctypes.c_int64 * max(len(shape), 1))(*shape), pointer)
        with self._lock, self._watch:
            check(lib.ingot_session_set_shapes(self._handle, rows, len(self._inputs)))

    def synchronize(self) -> None:
        """Returns when all that was given to a GPU is done."""
        with self._lock:
            self._synchronize()

    def profile(self, inputs: Inputs = ()) -> reports.Profile:
        """Runs once with a timer around each step."""
        finish_others(inputs, self)
        with self._lock, _Given(self, inputs) as count, self._watch:
            return reports.read_profile(created(lib.ingot_session_profile, self._handle, self._arguments.array, count))

    def time(self, inputs: Inputs = (), seconds: float = 1.0) -> float:
        """Milliseconds that one inference takes when runs are enqueued back to back: the median, measured for about `seconds`."""
        out = ctypes.c_double()
        finish_others(inputs, self)
        with self._lock, _Given(self, inputs) as count, self._watch:
            check(lib.ingot_session_time(self._handle, self._arguments.array, count, seconds, ctypes.byref(out)))
        return out.value

    def plan(self, inputs: Inputs = ()) -> str:
        """The plan that a call with these inputs follows, as text. Made, where it is not yet, but not run."""
        finish_others(inputs, self)
        with self._lock, _Given(self, inputs) as count, self._watch:
            return owned_text(created(lib.ingot_session_plan_text, self._handle, self._arguments.array, count))

    # ---- inputs and outputs

    def _index(self, name: str) -> int:
        index = self._input_names.get(name)
        if index is None:
            raise InvalidArgument("there is no input %r; there are %s" % (name, ", ".join(self._input_names) or "none"))
        return index

    def _ordered(self, inputs: Inputs) -> Sequence[Any]:
        if type(inputs) is tuple or type(inputs) is list or not isinstance(inputs, Mapping):
            if len(inputs) > len(self._inputs):
                raise InvalidArgument("the model has %d inputs, but %d were given" % (len(self._inputs), len(inputs)))
            return inputs
        out: List[Any] = [None] * len(self._inputs)
        for name, value in inputs.items():
            out[self._index(name)] = value
        for binding in self._inputs:
            if binding.name not in inputs and not binding.has_default and binding.kind != "optional":
                raise InvalidArgument("input '%s' is missing: %s" % (binding.name, binding))
        return out

    def _place(self, outputs: Outputs, place: int, gpu: int) -> Sequence[Any]:
        """Says where results go; gives what the caller brought for each."""
        if outputs is None and self._placed == (place, gpu):
            return self._nothing
        given: List[Any] = [None] * len(self._slots)
        self._placed = (place, gpu) if outputs is None else None
        if outputs is not None:
            names = outputs if isinstance(outputs, Mapping) else dict(zip(self._output_names, outputs))
            if len(names) < len(outputs) or not set(names) <= set(self._output_names):
                raise InvalidArgument("outputs are given for %s, but the model has %s" % (", ".join(map(str, outputs)), ", ".join(self._output_names)))
            given = [names.get(name) for name in self._output_names]
        for index, (slot, value) in enumerate(zip(self._slots, given)):
            if value is not None:
                self._place_callers(index, slot, value)
                continue
            self._rooms[index] = None
            slot.owner = abi.ingot_owner.INGOT_OWNED_BY_SESSION
            slot.tensor.device.device_type = place
            slot.tensor.device.device_id = gpu if place == 2 else 0
        return given

    def _place_callers(self, index: int, slot: abi.ingot_output, value: Any) -> None:
        room = self._rooms[index]
        if room is not None and is_like(value, room) and value.flags.writeable:
            self._views[index][0].data = address(value)
            return
        array = getattr(value, "flags", None)
        if array is not None and hasattr(array, "writeable") and not (array.writeable and array.c_contiguous):
            raise InvalidArgument("an output is given an array that is read-only or not row-major")
        if isinstance(value, (bytes, str, list, tuple)):
            raise InvalidArgument("an output is given %s, which cannot be written to" % type(value).__name__)
        kept = self._arguments._fill_tensor(self._views[index][0], _ANY, value)
        self._kept.append(kept)
        self._rooms[index] = described(value, kept)
        slot.owner = abi.ingot_owner.INGOT_OWNED_BY_CALLER
        slot.capacity = 0

    def _result(self, index: int) -> Any:
        kind = self._arguments.kind
        tensor, dtype, place = self._views[index]
        row = BY_KEY.get((dtype.code, dtype.bits))
        if row is None:
            self._placed = None  # the struct was cleared
            return self._no_tensor(index, kind)
        shape = tuple(tensor.shape[: tensor.ndim])
        if row is _STRING:
            return present(_strings(tensor, shape), kind)
        if place.device_type != 2 and kind == "numpy":
            small = copied_if_small(tensor.data, row, shape)
            if small is not None:
                return small
        check(lib.ingot_session_take_output(self._handle, index, self._taken_reference))
        handle = self._taken.value
        assert handle is not None
        device = (2, place.device_id) if place.device_type == 2 else HOST
        return _Raw._of(tensor.data or 0, row, shape, device, _Taken(self, handle, device), self)

    def _no_tensor(self, index: int, kind: str) -> Any:
        """A sequence, or None. Elements are lent and copied, whoever else has the list."""
        if lib.ingot_session_output_kind(self._handle, index) == abi.ingot_kind.INGOT_NOTHING:
            return None
        element = abi.ingot_tensor()
        out = []
        for number in range(lib.ingot_session_output_length(self._handle, index)):
            check(lib.ingot_session_output_element(self._handle, index, number, ctypes.byref(element)))
            row = BY_KEY[(element.dtype.code, element.dtype.bits)]
            shape = tuple(element.shape[: element.ndim])
            out.append(present(_strings(element, shape) if row is _STRING else _copied(element, row, shape), kind))
        return out

    # ---- a GPU's memory and streams

    def _let_go(self, handle: int, stream: int) -> None:
        """A result on a GPU that nobody holds any more, from any thread: freed now if no call lasts, else in front of the next."""
        self._garbage.append((handle, stream))
        if self._lock.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._lock.release()

    def _drain(self) -> None:
        while self._garbage:
            handle, stream = self._garbage.pop()
            if stream:
                self._follow(stream)
            lib.ingot_result_free(handle)

    def _follow(self, stream: int) -> None:
        check(lib.ingot_session_follow(self._handle, stream))

    def _precede(self, stream: int) -> None:
        check(lib.ingot_session_precede(self._handle, stream))

    def _synchronize(self) -> None:
        check(lib.ingot_session_synchronize(self._handle))

    def _hand_over(self, tensor: Tensor, stream: Optional[int]) -> None:
        """Before someone reads the tensor on a stream; the memory is freed behind what that stream holds then."""
        with self._lock:
            if stream is None:
                self._synchronize()
            else:
                self._precede(stream)
        if isinstance(tensor._owner, _Taken):
            tensor._owner.stream = LEGACY if stream is None else stream


class _Raw(Tensor):
    """A result that is to be presented as the caller's kind of tensor."""

    __slots__ = ()

    def _plain(self) -> Tensor:
        return Tensor._of(self.pointer, self.dtype, self.shape, self.device, self._owner, self._session)


def finish_others(inputs: Inputs, session: Optional[Session]) -> None:
    """Waits for inputs on a GPU that another session computes. Before one's own session is taken: two that wait for each other would never end."""
    for value in inputs.values() if isinstance(inputs, Mapping) else inputs:
        if isinstance(value, Tensor) and value._session is not None and value._session is not session and value.device[0] == 2:
            value._session.synchronize()


class _Given:
    """Inputs of a call that gives no results: taken, and ordered with the streams they come from. Gives how many there are."""

    def __init__(self, session: Session, inputs: Inputs) -> None:
        self._session, self._values = session, inputs

    def __enter__(self) -> int:
        values = self._session._ordered(self._values)
        self._session._arguments.take(values)
        self._session._arguments.ordered.before(self._session)
        return len(values)

    def __exit__(self, *error: Any) -> None:
        arguments = self._session._arguments
        arguments.ordered.after(self._session)
        arguments.release()


class _Taken:
    """A result's memory. The session's device outlives it."""

    __slots__ = ("session", "handle", "on_gpu", "stream")

    def __init__(self, session: Session, handle: int, device: Device) -> None:
        self.session = session
        self.handle = handle
        self.on_gpu = device[0] == 2
        self.stream = 0

    def __del__(self) -> None:
        if self.on_gpu:
            self.session._let_go(self.handle, self.stream)
        else:
            _free(self.handle)


_free = lib.ingot_result_free


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


_STRING = BY_NAME["string"]
_ANY: Any = None
