"""Writes docs/python.md from the docstrings of the public names: python document.py OUT

The introduction and the table of programs are python/documentation.md; where it says {reference}, the names go, module by module."""
from __future__ import annotations

import inspect
import os
import re
import sys
from typing import Any, List, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import ingot  # noqa: E402
import ingot.onnxruntime  # noqa: E402

SECTIONS: Tuple[Tuple[str, Any, Tuple[str, ...]], ...] = (
    ("Building, loading, running", ingot, ("build", "load", "Options", "Engine", "Session", "Results", "Model", "Binding")),
    ("Tensors and element types", ingot, ("Tensor", "empty_pinned", "DType", "dtype", "DTYPES")),
    ("What engines tell", ingot, ("Memory", "Pass", "Rewrite", "Plan", "Profile", "Step")),
    ("Progress", ingot, ("Progress", "ProgressBar")),
    ("Errors", ingot, ("Error", "Code", "InvalidArgument", "InvalidModel", "Unsupported", "OutOfMemory", "InputOutputError", "DeviceError", "NotFound", "Corrupt",
                       "Mismatch", "Cancelled", "InternalError", "LimitReached")),
    ("In ONNX Runtime's form: ingot.onnxruntime", ingot.onnxruntime, tuple(name for name in ingot.onnxruntime.__all__ if name != "__version__")),
)
WITHOUT_DOCSTRINGS = {"DTYPES": "The table of element types, one `DType` each.", "Progress": "`progress(stage, fraction, seconds_left)`, which may return False to stop the call with "
                      "`ingot.Cancelled`. stage is \"opening\", \"passes\", \"compiling\", \"tuning\" or \"running\"; fraction how much of it is done, 0 where that is "
                      "unknown; seconds_left is negative where unknown."}


class Undocumented(Exception):
    """A public name without a docstring."""


def text_of(name: str, value: Any) -> str:
    """A docstring; every public name has one."""
    text = WITHOUT_DOCSTRINGS.get(name) or inspect.getdoc(value)
    if not text:
        raise Undocumented(name)
    return re.sub(r"(?m)^([a-z_]+(?:, [a-z_]+)*): ", r"- **\1**: ", text)


def signature(value: Any) -> str:
    """With the annotations as they are written."""
    try:
        shown = str(inspect.signature(value))
    except (TypeError, ValueError):
        return ""
    return re.sub(r"'([^']*)'", r"\1", shown).replace("Unpack[Options]", "Options").replace("(self, ", "(").replace("(self)", "()").replace('"', "")


def members(kind: Any) -> List[Tuple[str, Any]]:
    """What a class itself has that is public: functions, properties, numbers of an enum."""
    return [(name, value) for name, value in vars(kind).items() if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, (property, staticmethod, classmethod)))]


def described(name: str, value: Any, out: List[str]) -> None:
    shows = inspect.isfunction(value) or (inspect.isclass(value) and "__init__" in vars(value) and not hasattr(value, "_fields"))
    out += ["### `%s%s`" % (name, signature(value) if shows and not issubclass_of_error(value) else ""), "", text_of(name, value), ""]
    if hasattr(value, "_fields"):
        out += ["Fields: %s." % ", ".join("`%s`" % field for field in value._fields), ""]
    if inspect.isclass(value) and hasattr(value, "__members__"):
        out += ["Values: %s." % ", ".join("`%s` %d" % (one.name, one.value) for one in value.__members__.values()), ""]
    for member, its in members(value) if inspect.isclass(value) else []:
        inside = its.fget if isinstance(its, property) else its.__func__ if isinstance(its, (staticmethod, classmethod)) else its
        shown = "" if isinstance(its, property) else signature(inside)
        out += ["- **`.%s%s`** %s" % (member, shown, " ".join(text_of("%s.%s" % (name, member), inside).split()))]
    out += [""]


def issubclass_of_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def reference() -> str:
    """All public names, each once."""
    out: List[str] = []
    told = set()
    for title, module, names in SECTIONS:
        out += ["## " + title, ""]
        for name in names:
            described(name, getattr(module, name), out)
            told.add(name)
    missing = (set(ingot.__all__) | set(ingot.onnxruntime.__all__)) - told - {"__version__"}
    if missing:
        raise Undocumented("no section has %s" % ", ".join(sorted(missing)))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def render() -> str:
    with open(os.path.join(HERE, "documentation.md"), encoding="utf-8") as file:
        text = file.read()
    with open(os.path.join(HERE, "programs.md"), encoding="utf-8") as file:
        return text.replace("{programs}", file.read().strip()).replace("{reference}", reference())


if __name__ == "__main__":
    made = render()
    with open(sys.argv[1], "w", encoding="utf-8") as out_file:
        out_file.write(made)
