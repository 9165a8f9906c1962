"""Element types: one row each of one table, under the names that Ingot uses everywhere ("f32", "i64", "bf16", "f8e4m3fn")."""
from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple, Union

from ingot import _abi as abi
from ingot.errors import InvalidArgument


class DType(NamedTuple):
    """An element type. In memory an element takes `itemsize` bytes: 4- and 2-bit numbers one each, strings a pointer."""

    name: str
    code: int  # of DLPack
    bits: int
    itemsize: int
    typestr: Optional[str]  # as numpy writes it; None where numpy has no such type
    onnx: int  # TensorProto.DataType
    long_name: str  # as ONNX Runtime has it in "tensor(float)"

    def __str__(self) -> str:
        return self.name


def _row(name: str, code: int, bits: int, typestr: Optional[str], onnx: int, long_name: str) -> DType:
    return DType(name, code, bits, (bits + 7) // 8, typestr, onnx, long_name)


DTYPES: Tuple[DType, ...] = (
    _row("f32", abi.INGOT_FLOAT, 32, "<f4", 1, "float"),
    _row("f16", abi.INGOT_FLOAT, 16, "<f2", 10, "float16"),
    _row("bf16", abi.INGOT_BFLOAT, 16, None, 16, "bfloat16"),
    _row("f64", abi.INGOT_FLOAT, 64, "<f8", 11, "double"),
    _row("f8e4m3fn", abi.INGOT_FLOAT8_E4M3FN, 8, None, 17, "float8e4m3fn"),
    _row("f8e4m3fnuz", abi.INGOT_FLOAT8_E4M3FNUZ, 8, None, 18, "float8e4m3fnuz"),
    _row("f8e5m2", abi.INGOT_FLOAT8_E5M2, 8, None, 19, "float8e5m2"),
    _row("f8e5m2fnuz", abi.INGOT_FLOAT8_E5M2FNUZ, 8, None, 20, "float8e5m2fnuz"),
    _row("f8e8m0", abi.INGOT_FLOAT8_E8M0FNU, 8, None, 24, "float8e8m0"),
    _row("f4e2m1", abi.INGOT_FLOAT4_E2M1FN, 4, None, 23, "float4e2m1"),
    _row("i8", abi.INGOT_INT, 8, "|i1", 3, "int8"),
    _row("i16", abi.INGOT_INT, 16, "<i2", 5, "int16"),
    _row("i32", abi.INGOT_INT, 32, "<i4", 6, "int32"),
    _row("i64", abi.INGOT_INT, 64, "<i8", 7, "int64"),
    _row("u8", abi.INGOT_UINT, 8, "|u1", 2, "uint8"),
    _row("u16", abi.INGOT_UINT, 16, "<u2", 4, "uint16"),
    _row("u32", abi.INGOT_UINT, 32, "<u4", 12, "uint32"),
    _row("u64", abi.INGOT_UINT, 64, "<u8", 13, "uint64"),
    _row("i4", abi.INGOT_INT, 4, None, 22, "int4"),
    _row("u4", abi.INGOT_UINT, 4, None, 21, "uint4"),
    _row("i2", abi.INGOT_INT, 2, None, 26, "int2"),
    _row("u2", abi.INGOT_UINT, 2, None, 25, "uint2"),
    _row("bool", abi.INGOT_BOOL, 8, "|b1", 9, "bool"),
    _row("c64", abi.INGOT_COMPLEX, 64, "<c8", 14, "complex64"),
    _row("c128", abi.INGOT_COMPLEX, 128, "<c16", 15, "complex128"),
    _row("string", abi.INGOT_STRING, 64, None, 8, "string"),
)
BY_NAME: Dict[str, DType] = {row.name: row for row in DTYPES}
BY_KEY: Dict[Tuple[int, int], DType] = {(row.code, row.bits): row for row in DTYPES}
BY_TYPESTR: Dict[str, DType] = {row.typestr: row for row in DTYPES if row.typestr}
# The names of the package ml_dtypes, whose arrays numpy takes.
ML_DTYPES: Dict[str, str] = {
    "bf16": "bfloat16", "f8e4m3fn": "float8_e4m3fn", "f8e4m3fnuz": "float8_e4m3fnuz", "f8e5m2": "float8_e5m2", "f8e5m2fnuz": "float8_e5m2fnuz",
    "f8e8m0": "float8_e8m0fnu", "f4e2m1": "float4_e2m1fn", "i4": "int4", "u4": "uint4", "i2": "int2", "u2": "uint2",
}
_FROM_ML_DTYPES: Dict[str, DType] = {long: BY_NAME[short] for short, long in ML_DTYPES.items()}
_FORMATS: Dict[str, str] = {  # of memoryview, by the row's typestr
    "f": "<f4", "d": "<f8", "e": "<f2", "b": "|i1", "h": "<i2", "i": "<i4", "q": "<i8", "l": "<i8", "B": "|u1", "H": "<u2", "I": "<u4", "Q": "<u8", "L": "<u8",
    "?": "|b1", "c": "|u1",
}


def dtype(given: Union[str, DType, Any]) -> DType:
    """The row for a name ("f32"), a row, a numpy dtype or a scalar type (numpy.float32). InvalidArgument where there is none."""
    if isinstance(given, DType):
        return given
    if isinstance(given, str) and given in BY_NAME:
        return BY_NAME[given]
    found = _of_numpy(given)
    if found is None:
        raise InvalidArgument("%r is no element type; they are %s" % (given, ", ".join(BY_NAME)))
    return found


def _of_numpy(given: Any) -> Optional[DType]:
    """The row of what numpy takes for a dtype."""
    try:
        import numpy
    except ImportError:
        return None
    try:
        return of_numpy_dtype(numpy.dtype(given))
    except TypeError:
        return None


def of_numpy_dtype(given: Any) -> Optional[DType]:
    """The row of a numpy.dtype, those of ml_dtypes among them; None where Ingot has no such type."""
    if given.kind in "OUST":
        return BY_NAME["string"]
    found = BY_TYPESTR.get(given.str)
    return found if found is not None else _FROM_ML_DTYPES.get(given.name)


def of_format(given: str) -> Optional[DType]:
    """The row of a memoryview's format."""
    return BY_TYPESTR.get(_FORMATS.get(given.lstrip("@=<"), ""))
