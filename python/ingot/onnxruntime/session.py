"""InferenceSession."""
from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ingot.bindings import Binding
from ingot.engine import Engine, Model, build, load
from ingot.errors import Cancelled, InvalidArgument
from ingot.onnxruntime import providers as _providers
from ingot.onnxruntime.binding import IOBinding
from ingot.onnxruntime.options import GraphOptimizationLevel, RunOptions, SessionOptions
from ingot.onnxruntime.values import OrtValue
from ingot.reports import Profile

ENGINE_MAGIC = b"INGOT\r\n\x1a"


class NodeArg(NamedTuple):
    """An input or output: its name, its shape (numbers, names of open sizes, None), and its type like "tensor(float)"."""

    name: str
    shape: List[Union[int, str, None]]
    type: str


class ModelMetadata(NamedTuple):
    """What a model's file says of itself."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: Dict[str, str]


class InferenceSession:
    """A model that is ready to run, in ONNX Runtime's form.

    path_or_bytes: an ONNX model or one of Ingot's engines, its path or its bytes. providers: names, or pairs of a name and options, of which the first that is
    there is used. `run` may be called from several threads at once."""

    def __init__(self, path_or_bytes: Any, sess_options: Optional[SessionOptions] = None, providers: Optional[Sequence[_providers.Provider]] = None,
                 provider_options: Optional[Sequence[Mapping[str, Any]]] = None, **kwargs: Any) -> None:
        self._options = sess_options or SessionOptions()
        self._source = path_or_bytes
        disabled = kwargs.pop("disabled_optimizers", None)
        if disabled:
            raise InvalidArgument("disabled_optimizers are ONNX Runtime's; Ingot's passes are left out by ingot.build(..., disabled_passes=...)")
        if kwargs:
            raise TypeError("InferenceSession has no argument %s" % ", ".join(kwargs))
        self._profiles: List[Tuple[float, Profile]] = []
        self._lock = threading.Lock()
        self._open(_providers.choose(providers, provider_options))

    def _open(self, chosen: _providers.Chosen) -> None:
        options: Dict[str, Any] = dict(chosen.options)
        if self._options.intra_op_num_threads > 0:
            options["threads"] = self._options.intra_op_num_threads
        if self._options.graph_optimization_level == GraphOptimizationLevel.ORT_DISABLE_ALL:
            options["disabled_passes"] = "all"
        self._chosen = chosen
        if _is_engine(self._source):
            options.pop("precision", None)
            self._engine, self._meta = load(self._source, **options), ModelMetadata("", "", "", "", "", 0, {})
        else:
            model = Model(self._source)
            says = model.properties
            self._meta = ModelMetadata(says["producer"], says["graph"], says["domain"], says["description"], says["graph_description"], model.version, model.notes)
            self._engine = build(model, **options)
        self._inputs = [_described(binding, self._options._dimensions) for binding in self._engine.inputs if not binding.has_default]
        self._overridable = [_described(binding, self._options._dimensions) for binding in self._engine.inputs if binding.has_default]
        self._outputs = [_described(binding, self._options._dimensions) for binding in self._engine.outputs]
        self._required = {one.name for one, binding in zip(self._inputs, (b for b in self._engine.inputs if not b.has_default)) if binding.kind != "optional"}
        self._prepare()

    def _prepare(self) -> None:
        """Plans for sizes that are all known, fixed by name or by the model."""
        shapes = {one.name: one.shape for one in self._inputs}
        known = all(one.type.startswith("tensor") and all(isinstance(size, int) for size in one.shape) for one in self._inputs)
        if self._options._dimensions and known and not self._overridable:
            session = self._engine.session()
            session.prepare_shapes({name: [size for size in shape if isinstance(size, int)] for name, shape in shapes.items()})
            self._engine._idle.append(session)

    # ---- what it is

    @property
    def engine(self) -> Engine:
        """Ingot's engine underneath, for programs that grow out of this form."""
        return self._engine

    def get_inputs(self) -> List[NodeArg]:
        """Inputs that a run needs."""
        return self._inputs

    def get_outputs(self) -> List[NodeArg]:
        """Outputs."""
        return self._outputs

    def get_overridable_initializers(self) -> List[NodeArg]:
        """Inputs that have a default."""
        return self._overridable

    def get_modelmeta(self) -> ModelMetadata:
        """What the model's file says of itself; of an engine nothing."""
        return self._meta

    def get_session_options(self) -> SessionOptions:
        """The options given."""
        return self._options

    def get_providers(self) -> List[str]:
        """The provider in use, and those behind it."""
        return self._chosen.names

    def get_provider_options(self) -> Dict[str, Dict[str, str]]:
        """Their options."""
        return self._chosen.provider_options

    def set_providers(self, providers: Optional[Sequence[_providers.Provider]] = None, provider_options: Optional[Sequence[Mapping[str, Any]]] = None) -> None:
        """Opens the model anew for other providers."""
        self._open(_providers.choose(providers, provider_options))

    def disable_fallback(self) -> None:
        """Nothing to turn off: a run that fails is not tried elsewhere."""

    def enable_fallback(self) -> None:
        """Nothing to turn on: a run that fails is not tried elsewhere."""

    # ---- runs

    def run(self, output_names: Optional[Sequence[str]], input_feed: Mapping[str, Any], run_options: Optional[RunOptions] = None) -> List[Any]:
        """Runs the model. output_names: which results to give, in which order; None: all. input_feed: arrays, lists of them or numbers, by name."""
        if run_options is not None and run_options.terminate:
            raise Cancelled("the run's options say to terminate")
        names = self._wanted(output_names)
        feed = self._fed(input_feed)
        if self._options.enable_profiling:
            self._note(feed)
        results = self._engine.run(feed, on="host")
        return [results[name] for name in names]

    def run_with_ort_values(self, output_names: Optional[Sequence[str]], input_dict_ort_values: Mapping[str, OrtValue], run_options: Optional[RunOptions] = None) -> List[OrtValue]:
        """As run, of OrtValues, which stay on the GPU where inputs lie there."""
        names = self._wanted(output_names)
        results = self._engine.run(self._fed({name: value._value for name, value in input_dict_ort_values.items()}))
        return [OrtValue(results[name]) for name in names]

    def run_async(self, output_names: Optional[Sequence[str]], input_feed: Mapping[str, Any], callback: Any, user_data: Any, run_options: Optional[RunOptions] = None) -> None:
        """Runs in a thread of its own, and calls callback(results, user_data, error), where error is "" if all went well."""

        def work() -> None:
            try:
                results: List[Any] = self.run(output_names, input_feed, run_options)
            except Exception as error:  # handed on, whatever it is
                callback([], user_data, str(error))
            else:
                callback(results, user_data, "")

        threading.Thread(target=work, daemon=True).start()

    def io_binding(self) -> IOBinding:
        """An empty binding."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: Optional[RunOptions] = None) -> None:
        """Runs on what is bound."""
        iobinding._run()

    def _wanted(self, names: Optional[Sequence[str]]) -> List[str]:
        known = [one.name for one in self._outputs]
        if not names:
            return known
        for name in names:
            if name not in known:
                raise InvalidArgument("Invalid output name: %s; there are %s" % (name, ", ".join(known)))
        return list(names)

    def _fed(self, feed: Mapping[str, Any]) -> Dict[str, Any]:
        missing = sorted(self._required - set(feed))
        if missing:
            raise InvalidArgument("Required inputs (%s) are missing from input feed (%s)" % (missing, sorted(feed)))
        return {name: value._value if isinstance(value, OrtValue) else value for name, value in feed.items()}

    # ---- profiling

    def _note(self, feed: Mapping[str, Any]) -> None:
        start = time.time()
        profile = self._engine._session_at_hand().profile(feed)
        with self._lock:
            self._profiles.append((start, profile))

    def get_profiling_start_time_ns(self) -> int:
        """When the first profiled run began."""
        return int(self._profiles[0][0] * 1e9) if self._profiles else 0

    def end_profiling(self) -> str:
        """Writes the steps of the runs so far for chrome://tracing; gives the file's name, "" without profiling."""
        if not self._options.enable_profiling:
            return ""
        name = "%s%s.json" % (self._options.profile_file_prefix, time.strftime("%Y-%m-%d_%H-%M-%S"))
        events: List[Dict[str, Any]] = []
        for start, profile in self._profiles:
            at = start * 1e6
            for step in profile:
                events.append({"cat": "Node", "ph": "X", "pid": os.getpid(), "tid": 0, "ts": at, "dur": step.milliseconds * 1e3, "name": step.origins or step.name,
                               "args": {"op_name": step.op, "tactic": step.tactic}})
                at += step.milliseconds * 1e3
        with open(name, "w", encoding="utf-8") as file:
            json.dump(events, file)
        self._profiles = []
        return name


def _is_engine(source: Any) -> bool:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source[: len(ENGINE_MAGIC)]) == ENGINE_MAGIC
    if hasattr(source, "SerializeToString"):
        return False
    try:
        with open(source, "rb") as file:
            return file.read(len(ENGINE_MAGIC)) == ENGINE_MAGIC
    except OSError:
        return False  # who opens it next says why


def _described(binding: Binding, dimensions: Mapping[str, int]) -> NodeArg:
    kind = "tensor(%s)" % (binding.dtype.long_name if binding.dtype else "unknown")
    if binding.kind == "sequence":
        kind = "seq(%s)" % kind
    elif binding.kind == "optional":
        kind = "optional(%s)" % kind
    return NodeArg(binding.name, [dimensions.get(size, size) if isinstance(size, str) else size for size in binding.dims or ()], kind)
