"""Ingot in ONNX Runtime's form, for programs that were written for it: `import ingot.onnxruntime as onnxruntime`.

What programs set is taken where Ingot has the same; what would change nothing here is noted in the log "ingot"; what cannot be done is refused with
`ingot.Unsupported`. docs/python.md has a table of programs that run."""
from ingot import __version__
from ingot.onnxruntime.binding import IOBinding
from ingot.onnxruntime.options import (ExecutionMode, ExecutionOrder, GraphOptimizationLevel, OrtAllocatorType, OrtMemType, RunOptions, SessionOptions,
                                       disable_telemetry_events, enable_telemetry_events, set_default_logger_severity, set_default_logger_verbosity)
from ingot.onnxruntime.providers import get_all_providers, get_available_providers, get_device
from ingot.onnxruntime.session import InferenceSession, ModelMetadata, NodeArg
from ingot.onnxruntime.values import OrtDevice, OrtValue

__all__ = [
    "ExecutionMode", "ExecutionOrder", "GraphOptimizationLevel", "IOBinding", "InferenceSession", "ModelMetadata", "NodeArg", "OrtAllocatorType", "OrtDevice",
    "OrtMemType", "OrtValue", "RunOptions", "SessionOptions", "__version__", "disable_telemetry_events", "enable_telemetry_events", "get_all_providers", "get_available_providers", "get_device",
    "set_default_logger_severity", "set_default_logger_verbosity",
]
