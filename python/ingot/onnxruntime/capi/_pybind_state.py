"""Functions and errors under the names that programs know. An error of theirs is the one of Ingot's that says the same."""
from ingot.errors import Error as Fail
from ingot.errors import InputOutputError as NoSuchFile
from ingot.errors import InternalError as RuntimeException
from ingot.errors import InvalidArgument
from ingot.errors import InvalidModel as InvalidGraph
from ingot.errors import InvalidModel as InvalidProtobuf
from ingot.errors import NotFound as NoModel
from ingot.errors import Unsupported as NotImplemented
from ingot.onnxruntime import get_all_providers, get_available_providers, get_device

__all__ = ["Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented", "RuntimeException", "get_all_providers",
           "get_available_providers", "get_device"]
