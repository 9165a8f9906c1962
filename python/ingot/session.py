"""Sessions: what runs an engine. One call at a time; an engine makes as many as it has callers."""
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from ingot import _abi as abi
from ingot import reports
from ingot._library import check, created, error_of, lib, owned_text, text, untyped
from ingot.arguments import Arguments
from ingot.config import Configuration
from ingot.errors import Error, InvalidArgument
from ingot.places import Outputs, Places
from ingot.results import Raw, Results, Taker, results_named
from ingot.tensors import Tensor
from ingot.values import present

if TYPE_CHECKING:
    from ingot.engine import Engine

_run_into, _run_ordered = untyped("ingot_session_run_into"), untyped("ingot_session_run_ordered")
Inputs = Union[Sequence[Any], Mapping[str, Any]]


_process = object()


def _fork() -> None:
    global _process
    _process = object()


os.register_at_fork(after_in_child=_fork)


def current_process() -> object:
    """Stands for this process: a child that is forked has another one. Asking the system takes longer."""
    return _process


class Session:
    """Runs an engine on one device with memory of its own: `engine.session(device="cpu", threads=2)`.

    A call from a second thread waits for the first; make a session for each thread instead, they share the weights. Ctrl-C ends a run."""

    def __init__(self, engine: "Engine", options: Mapping[str, Any]) -> None:
        self.engine = engine
        self._handle = 0
        self._lock = threading.Lock()
        self.process = current_process()  # that may use it: not one that is forked from it
        self._garbage: List[int] = []  # results on a GPU that nobody holds any more
        self._held = 0  # results on a GPU that were taken and not given back
        self._configuration = Configuration(options)
        self._watch = self._configuration.watch
        with self._watch:
            self._handle = created(lib.ingot_session_create, engine._handle, self._configuration.reference)
        self._inputs = engine.inputs
        self._input_names = {binding.name: index for index, binding in enumerate(engine.inputs)}
        self._arguments = Arguments(engine.inputs)
        self._places = Places(engine.outputs, self._arguments)
        self._enqueued = -1  # the version of the arguments that ran last
        self._unfinished = False  # whether there may be results that nobody waited for
        # What a run is given each time, as ctypes passes it on without a look at its type.
        self._at, self._output_count = ctypes.c_void_p(self._handle), len(engine.outputs)
        self._inputs_at, self._outputs_at = ctypes.c_void_p(ctypes.addressof(self._arguments.array)), ctypes.c_void_p(ctypes.addressof(self._places.array))
        self._results = results_named(self._places.names)
        self._taker = Taker(self._places.structs)

    _ended = False
    # Found here when the interpreter ends and modules are gone.
    _free, _free_result = staticmethod(lib.ingot_session_free), staticmethod(lib.ingot_result_free)

    def __del__(self) -> None:
        # Where a result goes with it in a cycle, the session may be asked first; it ends with the last of them.
        self._ended = True
        if getattr(self, "_handle", 0):
            self._drain()

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

        Results are of the first input's kind (numpy for Python's own numbers) and own their memory; they were not copied, but for numpy's and PyTorch's of
        at most 16 KiB on the host, which is faster than keeping them. On a GPU they may still be being computed: PyTorch's and CuPy's current stream, and
        whoever takes them by DLPack, is ordered behind that. InvalidArgument where an input does not fit the model."""
        finish_others(inputs, self)
        with self._lock:
            results, kind = self._run(inputs, outputs, on)
        # Whoever takes a tensor by DLPack comes back to its session, to be ordered: now that it is free.
        return self._results([present(value.plain(), kind) if type(value) is Raw else value for value in results] if kind else results)

    def _run(self, inputs: Inputs, outputs: Outputs, on: Optional[str]) -> Tuple[Sequence[Any], str]:
        """The results, and as what kind of tensors those that are Raw are to be presented; "" where none is."""
        if self._garbage:
            self._drain()
        arguments, places = self._arguments, self._places
        values = self._ordered(inputs)
        ordered = arguments.ordered
        try:
            arguments.take(values)
            host = on == "host" or (on is None and arguments.on_gpu is None)
            given = places.describe(outputs, values, host)
            stream = ordered.alone() if ordered.streams else None
            if stream is None:
                ordered.before(self)
            error = self._enqueue(len(values), stream)
            if error is not None and places.made and isinstance(error, InvalidArgument):
                given = places.lend(host)
                error = self._enqueue(len(values), stream)
                if error is None:
                    places.mistaken()
            if error is not None:
                if stream is None:
                    with contextlib.suppress(Error):
                        ordered.after(self)  # what was enqueued before it failed may still read the inputs
                try:
                    raise error
                finally:
                    del error  # which its traceback would hold, and with it all that the caller's function does
            if places.lends:
                given = [self._taker.result(self, i, arguments.kind) if one is None else one for i, one in enumerate(given)]
                if places.unseen is not None:
                    places.remember(given)
            if stream is None:
                ordered.after(self)
        finally:
            arguments.release()
        return given, arguments.kind if places.lends else ""

    def _enqueue(self, count: int, stream: Optional[int]) -> Optional[Exception]:
        """One run, ordered with a stream if one is given."""
        version = self._arguments.version
        if version != self._enqueued or self._watch.is_needed():
            with self._watch:
                error = self._call(count, stream)
            self._enqueued = version if error is None else -1
            return error
        error = self._call(count, stream)  # nothing is compiled any more
        self._watch.finish()
        return error

    def _call(self, count: int, stream: Optional[int]) -> Optional[Exception]:
        self._unfinished = True
        if stream is None:
            error = _run_into(self._at, self._inputs_at, count, self._outputs_at, self._output_count)
        else:
            error = _run_ordered(self._at, ctypes.c_void_p(stream), self._inputs_at, count, self._outputs_at, self._output_count)
        return error_of(error) if error else None

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

    def explain(self, site: Union[str, int], inputs: Inputs = ()) -> Dict[str, Any]:
        """Why steps of that plan are computed as they are: what there was to choose from for the ONNX node, the result or the number of a step, and what chose."""
        finish_others(inputs, self)
        with self._lock, _Given(self, inputs) as count, self._watch:
            text = owned_text(created(lib.ingot_session_explain, self._handle, self._arguments.array, count, str(site).encode(), True))
        explanation: Dict[str, Any] = json.loads(text)
        return explanation

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

    # ---- a GPU's memory and streams

    def _let_go(self, handle: int) -> None:
        """A result on a GPU that nobody holds any more, from any thread: freed now if no call lasts, else in front of the next."""
        self._garbage.append(handle)
        if self._lock.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._lock.release()

    def _drain(self) -> None:
        # Freeing waits for whatever the GPU has been given, on whosever stream: nobody need know who took a result, or whether that stream is there still.
        while self._garbage:
            self._free_result(self._garbage.pop())
            self._held -= 1
        if self._ended and not self._held and self._handle:
            handle, self._handle = self._handle, 0
            self._free(handle)

    def _follow(self, stream: int) -> None:
        check(lib.ingot_session_follow(self._handle, stream))

    def _precede(self, stream: int) -> None:
        check(lib.ingot_session_precede(self._handle, stream))

    def _synchronize(self) -> None:
        check(lib.ingot_session_synchronize(self._handle))
        self._unfinished = False

    def _hand_over(self, stream: Optional[int]) -> None:
        """Before someone reads a result on a stream."""
        with self._lock:
            if stream is not None:
                self._precede(stream)
            elif self._unfinished:
                self._synchronize()


def finish_others(inputs: Inputs, session: Optional[Session]) -> None:
    """Waits for inputs on a GPU that another session computes. Before one's own session is taken: two that wait for each other would never end."""
    for value in inputs if type(inputs) is list or type(inputs) is tuple or not isinstance(inputs, Mapping) else inputs.values():
        if type(value) is Tensor and value._session is not None and value._session is not session and value.device[0] == 2:
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
