"""Ingot: casts an ONNX model into an engine and runs it, on an NVIDIA GPU or a CPU.

    import ingot

    engine = ingot.build("model.onnx", precision="fp16")
    probabilities = engine(image)
    engine.save("model.ingot")

Tensors are those of numpy, PyTorch, CuPy, JAX and whatever else speaks DLPack, in place; results come as the same kind. Messages go to the logger
"ingot". Errors are exceptions: `ingot.Error` and what is under it."""
from ingot._library import version as _version
from ingot.bindings import Binding
from ingot.config import Options
from ingot.dtypes import DTYPES, DType, dtype
from ingot.engine import Engine, Model, build, load
from ingot.errors import (Cancelled, Code, Corrupt, DeviceError, Error, InputOutputError, InternalError, InvalidArgument, InvalidModel, LimitReached, Mismatch,
                          NotFound, OutOfMemory, Unsupported)
from ingot.progress import Progress, ProgressBar
from ingot.reports import Memory, Pass, Plan, Profile, Rewrite, Step
from ingot.session import Results, Session
from ingot.tensors import Tensor

__version__ = _version()
__all__ = [
    "Binding", "Cancelled", "Code", "Corrupt", "DTYPES", "DType", "DeviceError", "Engine", "Error", "InputOutputError", "InternalError", "InvalidArgument",
    "InvalidModel", "LimitReached", "Memory", "Mismatch", "Model", "NotFound", "Options", "OutOfMemory", "Pass", "Plan", "Profile", "Progress",
    "ProgressBar", "Results", "Rewrite", "Session", "Step", "Tensor", "Unsupported", "build", "dtype", "load",
]
