"""Models and engines: `ingot.build` casts a model into an engine, `ingot.load` reads one, an engine is called with tensors."""
from __future__ import annotations

import ctypes
import itertools
import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple, Union

from ingot import _abi as abi
from ingot import reports
from ingot._library import check, created, lib, owned_bytes, owned_text, text
from ingot.bindings import Binding, read_binding
from ingot.config import Configuration, Options
from ingot.errors import InvalidArgument
from ingot.results import Results
from ingot.session import Inputs, Session, current_process

if TYPE_CHECKING:
    from typing_extensions import Unpack

Source = Any  # a path, bytes or another buffer, an onnx.ModelProto


def _raw_bytes(source: Any) -> Optional[bytes]:
    """The bytes of a model or an engine that is no file: bytes, or an onnx.ModelProto."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if hasattr(source, "SerializeToString"):
        serialized: bytes = source.SerializeToString()
        return serialized
    return None


class Model:
    """An ONNX model that was read and checked: from a file's path, from bytes, or from an onnx.ModelProto.

    folder: where external data of a model that is no file is looked for; without one it is refused. The file of a path stays mapped while the object
    lives: nobody may shorten or rewrite it. Options: model_limit, limits, progress. InvalidModel, InputOutputError."""

    def __init__(self, source: Source, folder: Union[None, str, "os.PathLike[str]"] = None, **options: "Unpack[Options]") -> None:
        self._handle = 0
        configuration = Configuration(options)
        raw = _raw_bytes(source)
        with configuration.watch:
            if raw is None:
                self._handle = created(lib.ingot_model_open, os.fsencode(source), configuration.reference)
            else:
                where = None if folder is None else os.fsencode(folder)
                self._handle = created(lib.ingot_model_open_memory, raw, len(raw), where, configuration.reference)

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            lib.ingot_model_free(self._handle)

    @property
    def properties(self) -> Dict[str, str]:
        """What the file says of itself: producer, producer_version, domain, description, graph, graph_description; "" where it does not."""
        prefix = len("INGOT_MODEL_")
        return {one.name[prefix:].lower(): text(lib.ingot_model_property(self._handle, one)) for one in abi.ingot_property}

    @property
    def version(self) -> int:
        """The model's version; 0 where the file has none."""
        return int(lib.ingot_model_version(self._handle))

    @property
    def notes(self) -> Dict[str, str]:
        """What its maker noted in the file (metadata_props), like the classes' names."""
        out: Dict[str, str] = {}
        value = ctypes.c_char_p()
        for index in itertools.count():  # a name may come twice: the last one counts
            name = lib.ingot_model_note(self._handle, index, ctypes.byref(value))
            if name is None:
                break
            out[text(name)] = text(value.value)
        return out

    @property
    def text(self) -> str:
        """The imported graph, before any pass."""
        return owned_text(lib.ingot_model_text(self._handle))


class Engine:
    """A finished engine: `engine(x)`, `engine(name=x)`. Made by `ingot.build` and `ingot.load`.

    Calls may come from several threads at once; each runs in a session of its own, which is kept for the next one. Sessions share the weights."""

    def __init__(self, handle: int, options: Mapping[str, Any]) -> None:
        self._handle = handle
        self._options = dict(options)
        self._idle: List[Session] = []
        self._last: Optional[Session] = None
        self.inputs: Tuple[Binding, ...] = tuple(read_binding(lib.ingot_engine_input(handle, i)) for i in range(lib.ingot_engine_input_count(handle)))
        self.outputs: Tuple[Binding, ...] = tuple(read_binding(lib.ingot_engine_output(handle, i)) for i in range(lib.ingot_engine_output_count(handle)))

    def __del__(self) -> None:
        if getattr(self, "_handle", 0):
            lib.ingot_engine_free(self._handle)

    def __repr__(self) -> str:
        return "ingot.Engine(%s -> %s)" % ("; ".join(map(str, self.inputs)), "; ".join(map(str, self.outputs)))

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Runs the model: inputs in order or by name. One output comes as it is, several as `ingot.Results`. See Session.run for what values may be."""
        if named:
            if inputs:
                named.update(self._named(inputs, named))
            results = self.run(named)
        else:
            results = self.run(inputs)
        return results[0] if len(results) == 1 else results

    def _named(self, inputs: Tuple[Any, ...], named: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(inputs) > len(self.inputs):
            raise InvalidArgument("the model has %d inputs, but %d were given" % (len(self.inputs), len(inputs)))
        out = {binding.name: value for binding, value in zip(self.inputs, inputs)}
        both = sorted(set(out) & set(named))
        if both:
            raise InvalidArgument("input '%s' is given by place and by name" % both[0])
        return out

    def run(self, inputs: Inputs = (), outputs: Any = None, on: Optional[str] = None) -> Results:
        """As Session.run, in a session that is not at work."""
        session = self._take()
        try:
            return session.run(inputs, outputs, on)
        finally:
            self._last = session
            self._idle.append(session)

    def _take(self) -> Session:
        """A session that is not at work, of this process: one that was forked has the other's in the list, which are of no use to it."""
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                return self.session()
            if session.process is current_process():
                return session

    def session(self, **options: "Unpack[Options]") -> Session:
        """A session of one's own. Options that are not said are those that the engine was built or loaded with."""
        return Session(self, {**self._options, **options})

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Writes the engine to a file. InputOutputError."""
        check(lib.ingot_engine_save(self._handle, os.fsencode(path)))

    def tobytes(self) -> bytes:
        """The same bytes as a file would have."""
        memory, size = ctypes.c_void_p(), ctypes.c_size_t()
        check(lib.ingot_engine_save_memory(self._handle, ctypes.byref(memory), ctypes.byref(size)))
        return owned_bytes(memory.value, size.value)

    @property
    def text(self) -> str:
        """The optimised graph."""
        return owned_text(lib.ingot_engine_text(self._handle))

    @property
    def passes(self) -> List[reports.Pass]:
        """What each pass did when the engine was built, in order."""
        return reports.read_passes(self._handle)

    @property
    def rewrites(self) -> List[reports.Rewrite]:
        """What the rules of the passes did, one application after the other."""
        return reports.read_rewrites(self._handle)

    @property
    def plans(self) -> List[reports.Plan]:
        """Plans that the engine holds."""
        return reports.read_plans(self._handle)

    @property
    def memory(self) -> reports.Memory:
        """The memory bill of the session that ran last; zeros before the first run."""
        return self._last.memory if self._last is not None else reports.Memory(0, 0, 0)

    def profile(self, *inputs: Any, **named: Any) -> reports.Profile:
        """One profiled run: the time of each step."""
        return self._session_at_hand().profile({**self._named(inputs, named), **named} if named else inputs)

    def time(self, *inputs: Any, **named: Any) -> float:
        """Milliseconds that one inference takes when runs are enqueued back to back, measured for a second. See Session.time."""
        return self._session_at_hand().time({**self._named(inputs, named), **named} if named else inputs)

    def _session_at_hand(self) -> Session:
        if self._last is None or self._last.process is not current_process():
            self._last = self.session()
            self._idle.append(self._last)
        return self._last


def build(model: Source, folder: Union[None, str, "os.PathLike[str]"] = None, **options: "Unpack[Options]") -> Engine:
    """Casts a model into an engine: a path, bytes, an onnx.ModelProto or an `ingot.Model`. See `ingot.Options`.

    folder: where external data of a model that is no file is looked for. Ctrl-C ends it. InvalidModel, Unsupported, InputOutputError, InvalidArgument,
    LimitReached, Cancelled."""
    opened = model if isinstance(model, Model) else Model(model, folder, **options)
    configuration = Configuration(options)
    with configuration.watch:
        handle = created(lib.ingot_engine_build, opened._handle, configuration.reference)
    return Engine(handle, options)


def load(engine: Source, **options: "Unpack[Options]") -> Engine:
    """Reads an engine from a file's path or from bytes. See `ingot.Options`; of a stranger's engine say untrusted_engine=True. Corrupt, InputOutputError."""
    configuration = Configuration(options)
    raw = _raw_bytes(engine)
    with configuration.watch:
        if raw is None:
            handle = created(lib.ingot_engine_load, os.fsencode(engine), configuration.reference)
        else:
            handle = created(lib.ingot_engine_load_memory, raw, len(raw), configuration.reference)
    return Engine(handle, options)

