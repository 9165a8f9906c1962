"""Options, by keyword, as the C interface's configuration. Every function that opens, builds, loads or runs takes them; each uses what concerns it."""
from __future__ import annotations

import ctypes
import logging
import os
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, Mapping, Optional, Sequence, TypedDict, Union

from ingot import _abi as abi
from ingot._library import check, encode, lib, text
from ingot.errors import InvalidArgument
from ingot.progress import Progress, Watch

if TYPE_CHECKING:
    Path = Union[str, "os.PathLike[str]"]

logger = logging.getLogger("ingot")


class Options(TypedDict, total=False):
    """What calls may be told, by keyword. What is asked for and cannot be had is refused, not ignored.

    device: "auto" (CUDA where a usable GPU is, else the CPU), "cpu", "cuda" or "cuda:1".
    precision: "fp16", "bf16", "tf32", or several; beyond the model's own. Decided when an engine is built.
    shapes: `{"ids": (1, 128)}`: shapes to tune, plan and compile for where the model leaves them open. `{"ids": ((1, 8), (16, 128, 512))}`: sizes from the least to the most,
        with the usual one between; kernels that take sizes as arguments are compiled for all of them, the rest when a shape is met. Other sizes run, too.
    tune: seconds of measuring kernels; 0: the cost model picks.
    tuning_file: a database of measurements, read before and added to while tuning; what it knows is not measured again.
    targets: "sm_80,H100": GPUs to build for that need not be here.
    disabled_passes: passes or rules to leave out, PASS, RULE, RULE@NODE or "all"; a text or several.
    limits: `{"memory": bytes, "time": seconds}` of one call on the host; exceeding one raises `ingot.LimitReached`.
    workspace_limit: bytes one operator may use beside its tensors.
    model_limit: bytes of a model or an engine that is accepted; 64 GiB if not said.
    plan_cache_limit: bytes of plans that a session remembers; 256 MiB if not said.
    threads: CPU threads; one a core if not said.
    cache_directory: where compiled kernels are kept.
    cuda_context, cuda_stream: the caller's CUcontext and CUstream as integers; Ingot uses the device's primary context and a stream of its own else.
    cuda_graph: False launches kernel by kernel instead of replaying a CUDA graph.
    streams: branches of a model that run side by side on a GPU, at most; 1: none do; 4 if not said.
    untrusted_engine: True for an engine of a stranger's: its kernels are compiled anew.
    check_plans: True prints every plan and reads it back before it runs.
    progress: True draws a bar; or a function, see `ingot.Progress`.
    """

    device: str
    precision: Union[str, Sequence[str]]
    shapes: Mapping[str, Sequence[Union[int, Sequence[int]]]]
    tune: float
    tuning_file: Path
    targets: Union[str, Sequence[str]]
    disabled_passes: Union[str, Sequence[str]]
    limits: Mapping[str, float]
    workspace_limit: int
    model_limit: int
    plan_cache_limit: int
    threads: int
    cache_directory: Path
    cuda_context: int
    cuda_stream: int
    cuda_graph: bool
    streams: int
    untrusted_engine: bool
    check_plans: bool
    progress: Union[bool, Progress]


_PRECISIONS = {"fp16": abi.INGOT_FP16, "bf16": abi.INGOT_BF16, "tf32": abi.INGOT_TF32}
_DEVICES = {"auto": abi.ingot_device.INGOT_DEVICE_AUTO, "cpu": abi.ingot_device.INGOT_DEVICE_CPU, "cuda": abi.ingot_device.INGOT_DEVICE_CUDA}
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)  # by ingot_severity
_LIMITS = {"memory": "memory_limit", "time": "time_limit"}

_LOG = dict(abi.ingot_config._fields_)["log"]  # type: ignore[arg-type,unused-ignore]
_PROGRESS = dict(abi.ingot_config._fields_)["progress"]  # type: ignore[arg-type,unused-ignore]
_PULSE = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)  # the same function, of whose arguments all but the first are left where the caller put them


def _write_log(context: Optional[int], severity: int, message: Optional[bytes]) -> None:
    logger.log(_LEVELS[severity] if severity < len(_LEVELS) else logging.DEBUG, "%s", text(message))


_write_log_in_c = _LOG(_write_log)


def _log_most() -> int:
    """The least severe messages that the logger wants: others are not made."""
    level = logger.getEffectiveLevel()
    return max((severity for severity, its in enumerate(_LEVELS) if its >= level), default=0)


def _joined(given: Union[str, Iterable[str]]) -> bytes:
    return encode(given if isinstance(given, str) else ",".join(given))


def _file(given: "Path") -> bytes:
    return os.fsencode(given)


def _set_device(struct: abi.ingot_config, given: str) -> None:
    kind, _, index = given.partition(":")
    if kind not in _DEVICES or (index and (kind != "cuda" or not index.isdigit())):
        raise InvalidArgument('device is %r; it may be "auto", "cpu", "cuda" or "cuda:1"' % (given,))
    struct.device = _DEVICES[kind]
    struct.device_index = int(index or 0)


def _set_precision(struct: abi.ingot_config, given: Union[str, Sequence[str]]) -> None:
    bits = 0
    for name in given.split(",") if isinstance(given, str) else given:
        if name not in _PRECISIONS:
            raise InvalidArgument("precision %r is none of %s" % (name, ", ".join(_PRECISIONS)))
        bits |= _PRECISIONS[name]
    struct.precision = bits


def _size_text(size: Union[int, Sequence[int]]) -> str:
    return "..".join(str(int(end)) for end in size) if isinstance(size, Sequence) else str(int(size))


def _set_shapes(struct: abi.ingot_config, given: Mapping[str, Sequence[Union[int, Sequence[int]]]]) -> None:
    struct.tuning_shapes = encode(",".join("%s:%s" % (name, "x".join(_size_text(size) for size in shape)) for name, shape in given.items()))


def _set_limits(struct: abi.ingot_config, given: Mapping[str, float]) -> None:
    for name, value in given.items():
        if name not in _LIMITS:
            raise InvalidArgument("limits has %r; it may have %s" % (name, " and ".join(_LIMITS)))
        setattr(struct, _LIMITS[name], int(value) if name == "memory" else float(value))


def _setter(field: str, convert: Callable[[Any], Any]) -> Callable[[abi.ingot_config, Any], None]:
    return lambda struct, given: setattr(struct, field, convert(given))


_SETTERS: Dict[str, Callable[[abi.ingot_config, Any], None]] = {
    "device": _set_device,
    "precision": _set_precision,
    "shapes": _set_shapes,
    "tune": _setter("tuning_seconds", float),
    "tuning_file": _setter("tuning_file", _file),
    "targets": _setter("targets", _joined),
    "disabled_passes": _setter("disabled_passes", _joined),
    "limits": _set_limits,
    "workspace_limit": _setter("workspace_limit", int),
    "model_limit": _setter("model_limit", int),
    "plan_cache_limit": _setter("plan_cache_limit", int),
    "threads": _setter("threads", int),
    "cache_directory": _setter("cache_directory", _file),
    "cuda_context": _setter("cuda_context", int),
    "cuda_stream": _setter("cuda_stream", int),
    "cuda_graph": _setter("no_cuda_graph", lambda graph: not graph),
    "streams": _setter("streams", int),
    "untrusted_engine": _setter("untrusted_engine", bool),
    "check_plans": _setter("check_plans", bool),
}


class Configuration:
    """An ingot_config made of options, with what it points to."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.watch = Watch(options.get("progress"))
        self.struct = abi.ingot_config()
        check(lib.ingot_config_init_sized(ctypes.byref(self.struct), ctypes.sizeof(self.struct)))
        for name, value in options.items():
            if name == "progress" or value is None:
                continue
            if name not in _SETTERS:
                raise TypeError("there is no option %r; there are %s, progress" % (name, ", ".join(_SETTERS)))
            _SETTERS[name](self.struct, value)
        self.struct.log = _write_log_in_c
        self.struct.log_most = _log_most()
        self.struct.progress = _PROGRESS(self.watch.tell) if self.watch.tells else self._pulse()
        self.reference = ctypes.byref(self.struct)

    def _pulse(self) -> Any:
        listener = self.watch.listen()
        next(listener)
        self._listener = _PULSE(listener.send)
        return ctypes.cast(self._listener, _PROGRESS)  # type: ignore[type-var,unused-ignore]
