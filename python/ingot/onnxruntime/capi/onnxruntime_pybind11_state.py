"""The same as _pybind_state, under its other name."""
from ingot.onnxruntime.capi._pybind_state import *  # noqa: F403
from ingot.onnxruntime.capi._pybind_state import __all__ as __all__
