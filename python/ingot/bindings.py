"""Inputs and outputs of an engine, as it describes them."""
from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

from ingot._library import lib, text
from ingot.dtypes import BY_NAME, DType

KINDS = ("nothing", "tensor", "sequence", "optional")  # by ingot_kind


class Binding(NamedTuple):
    """An input or output.

    kind: "tensor", "sequence" (of tensors) or "optional" (one of the other two, or None).
    dtype: the element type; None where only a run tells.
    dims: a number for each axis, or the name of an open one ("batch", "2*seq"), or None for one without a name; None where the rank is not known.
    has_default: the input may be left out."""

    name: str
    kind: str
    dtype: Optional[DType]
    dims: Optional[Tuple[Union[int, str, None], ...]]
    has_default: bool

    def __str__(self) -> str:
        sizes = "..." if self.dims is None else ", ".join("?" if size is None else str(size) for size in self.dims)
        inside = "%s[%s]" % (self.dtype.name if self.dtype else "unknown", sizes)
        return "%s: %s%s" % (self.name, inside if self.kind == "tensor" else "%s of %s" % (self.kind, inside), " (has a default)" if self.has_default else "")


def read_binding(handle: int) -> Binding:
    """An ingot_binding."""
    rank = lib.ingot_binding_rank(handle)
    sizes = lib.ingot_binding_dims(handle) if rank > 0 else ()
    dims = None
    if rank >= 0:
        dims = tuple(int(sizes[k]) if sizes[k] >= 0 else text(lib.ingot_binding_dim_name(handle, k)) or None for k in range(rank))
    return Binding(text(lib.ingot_binding_name(handle)), KINDS[lib.ingot_binding_kind(handle)], BY_NAME.get(text(lib.ingot_binding_dtype_name(handle))), dims,
                   bool(lib.ingot_binding_has_default(handle)))
