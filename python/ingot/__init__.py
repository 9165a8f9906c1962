"""Ingot: casts an ONNX model into an engine and runs it, on an NVIDIA GPU or a CPU.

    import ingot

    engine = ingot.build("model.onnx", precision="fp16")
    probabilities = engine(image)
    engine.save("model.ingot")

Tensors are those of numpy, PyTorch, CuPy, JAX and whatever else speaks DLPack, in place; results come as the same kind. Messages go to the logger
"ingot". Errors are exceptions: `ingot.Error` and what is under it."""
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from ingot._library import version as _version
from ingot.bindings import Binding
from ingot.config import Options
from ingot.dtypes import DTYPES, DType, dtype
from ingot.engine import Engine, Model, build, load
from ingot.errors import (Cancelled, Code, Corrupt, DeviceError, Error, InputOutputError, InternalError, InvalidArgument, InvalidModel, LimitReached, Mismatch,
                          NotFound, OutOfMemory, Unsupported)
from ingot.pinned import empty_pinned
from ingot.progress import Progress, ProgressBar
from ingot.reports import Memory, Pass, Plan, Profile, Rewrite, Step
from ingot.results import Results
from ingot.session import Session
from ingot.tensors import Tensor

if _TYPE_CHECKING:
    from ingot.onnxruntime import (ExecutionMode, GraphOptimizationLevel, InferenceSession, IOBinding, OrtValue, RunOptions, SessionOptions,
                                   get_available_providers, get_device)

__version__ = _version()
# What programs for ONNX Runtime name; it takes numpy, so it is opened when it is asked for.
_ONNX_RUNTIME = ("ExecutionMode", "GraphOptimizationLevel", "IOBinding", "InferenceSession", "OrtValue", "RunOptions", "SessionOptions", "get_available_providers", "get_device")


def __getattr__(name: str) -> _Any:
    if name not in _ONNX_RUNTIME:
        raise AttributeError("module 'ingot' has no attribute %r" % name)
    import ingot.onnxruntime

    return getattr(ingot.onnxruntime, name)


__all__ = [
    "Binding", "Cancelled", "Code", "Corrupt", "DTYPES", "DType", "DeviceError", "Engine", "Error", "ExecutionMode", "GraphOptimizationLevel", "IOBinding",
    "InferenceSession", "InputOutputError", "InternalError", "InvalidArgument", "InvalidModel", "LimitReached", "Memory", "Mismatch", "Model", "NotFound",
    "Options", "OrtValue", "OutOfMemory", "Pass", "Plan", "Profile", "Progress", "ProgressBar", "Results", "Rewrite", "RunOptions", "Session",
    "SessionOptions", "Step", "Tensor", "Unsupported", "build", "dtype", "empty_pinned", "get_available_providers", "get_device", "load",
]
