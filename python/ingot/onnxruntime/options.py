"""SessionOptions and RunOptions: what programs set, kept as set, and what of it Ingot has."""
from __future__ import annotations

import enum
from typing import Any, Dict

from ingot.config import logger
from ingot.errors import Unsupported


class GraphOptimizationLevel(enum.IntEnum):
    """ORT_DISABLE_ALL leaves Ingot's passes out; the others are all the same here: every pass keeps results."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(enum.IntEnum):
    """Of no consequence here: a plan says what runs at once."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(enum.IntEnum):
    """Of no consequence here: a plan says in which order steps run."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


class OrtAllocatorType(enum.IntEnum):
    """Kinds of allocators, for programs that name them."""

    INVALID = -1
    ORT_DEVICE_ALLOCATOR = 0
    ORT_ARENA_ALLOCATOR = 1


class OrtMemType(enum.IntEnum):
    """Kinds of memory, for programs that name them."""

    CPU_INPUT = -2
    CPU_OUTPUT = -1
    DEFAULT = 0


# What programs set and Ingot has no use for: with its default, which is no news.
_WITHOUT_USE: Dict[str, Any] = {
    "enable_cpu_mem_arena": True, "enable_mem_pattern": True, "enable_mem_reuse": True, "execution_mode": ExecutionMode.ORT_SEQUENTIAL,
    "execution_order": ExecutionOrder.DEFAULT, "inter_op_num_threads": 0, "log_severity_level": -1, "log_verbosity_level": 0, "logid": "",
    "use_deterministic_compute": False, "use_per_session_threads": True,
}


class SessionOptions:
    """How a session is to be.

    graph_optimization_level, intra_op_num_threads (0: one a core), enable_profiling with profile_file_prefix, and dimensions by name are taken. What only
    tells ONNX Runtime how to do its work (arenas, memory patterns, execution modes, log levels: see logging) is kept, and noted in the log where it is not the default.
    Operators of one's own and a path for an optimised ONNX model are refused."""

    def __init__(self) -> None:
        self.graph_optimization_level: int = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.intra_op_num_threads = 0
        self.enable_profiling = False
        self.profile_file_prefix = "ingot_profile_"
        self.optimized_model_filepath = ""
        self._dimensions: Dict[str, int] = {}
        self._entries: Dict[str, str] = {}
        for name, value in _WITHOUT_USE.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "optimized_model_filepath" and value:
            raise Unsupported("Ingot writes engines, no optimised ONNX models: ingot.Engine.save")
        if name in _WITHOUT_USE and value != _WITHOUT_USE[name]:
            logger.info("SessionOptions.%s = %r changes nothing here", name, value)
        object.__setattr__(self, name, value)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keeps an entry; none of them changes anything here, which the log says."""
        logger.info("the session entry %s = %r changes nothing here", key, value)
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry that was added."""
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """An open dimension's size: it is described so, and the session is planned for it when all of an input's sizes are known."""
        self._dimensions[name] = size

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Refused: Ingot does not read denotations."""
        raise Unsupported("dimensions are told by their names here: add_free_dimension_override_by_name")

    def register_custom_ops_library(self, path: str) -> None:
        """Refused: Ingot has no operators of others'."""
        raise Unsupported("operators from '%s' cannot be had: Ingot runs the operators of ONNX" % path)

    def add_initializer(self, name: str, value: Any) -> None:
        """Refused: weights are the model's."""
        raise Unsupported("a model's weights cannot be replaced from outside")

    def add_external_initializers(self, names: Any, values: Any) -> None:
        """Refused: weights are the model's."""
        raise Unsupported("a model's weights cannot be replaced from outside")


class RunOptions:
    """How one run is to be. Of it nothing but `terminate`, set before the run, has an effect here."""

    def __init__(self) -> None:
        self.log_severity_level = -1
        self.log_verbosity_level = 0
        self.logid = ""
        self.only_execute_path_to_fetches = False
        self.terminate = False
        self._entries: Dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keeps an entry; none of them changes anything here, which the log says."""
        logger.info("the run's entry %s = %r changes nothing here", key, value)
        self._entries[key] = value

    def get_run_config_entry(self, key: str) -> str:
        """An entry that was added."""
        return self._entries[key]


def disable_telemetry_events() -> None:
    """Nothing to turn off: Ingot tells nobody what it runs."""


def enable_telemetry_events() -> None:
    """Refused: Ingot tells nobody what it runs."""
    raise Unsupported("Ingot has no telemetry")


def set_default_logger_severity(severity: int) -> None:
    """Sets the level of the log "ingot": 0 verbose, 1 info, 2 warning, 3 error, 4 fatal."""
    logger.setLevel((10, 20, 30, 40, 50)[min(max(severity, 0), 4)])


def set_default_logger_verbosity(verbosity: int) -> None:
    """Changes nothing here: the log has one level of details, which severity 0 shows."""
