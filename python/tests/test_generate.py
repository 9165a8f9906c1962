"""The binding: all that the header declares is in it, and structs lie as a C compiler lays them."""
import ctypes
import os
import re
import subprocess

import pytest
from conftest import ROOT

import generate
from ingot import _abi

HEADER = os.path.join(ROOT, "include", "ingot", "ingot.h")


def header():
    with open(HEADER, encoding="utf-8") as file:
        return generate.without_comments(file.read())


def test_every_function_is_bound():
    declared = set(re.findall(r"INGOT_API[^;]*?\b(ingot_\w+)\s*\(", header()))
    assert len(declared) > 70
    assert declared == set(_abi.FUNCTIONS)


def test_every_number_is_there():
    names = set(re.findall(r"\bINGOT_[A-Z0-9_]+\b", header())) - {"INGOT_H", "INGOT_API"}
    enums = [value for value in vars(_abi).values() if isinstance(value, type) and hasattr(value, "__members__")]
    assert names == {name for enum in enums for name in enum.__members__} | {name for name in vars(_abi) if name.startswith("INGOT_")}


def test_every_struct_is_there():
    declared = set(re.findall(r"typedef struct (\w+) \{", header()))
    assert declared == {name for name, value in vars(_abi).items() if isinstance(value, type) and issubclass(value, ctypes.Structure)}


def test_structs_lie_as_the_compiler_lays_them(tmp_path):
    structs = {name: value for name, value in vars(_abi).items() if isinstance(value, type) and issubclass(value, ctypes.Structure)}
    rows, expected = [], []
    for name, struct in structs.items():
        rows.append('printf("%%zu\\n", sizeof(%s));' % name)
        expected.append(ctypes.sizeof(struct))
        for field, *_ in struct._fields_:
            rows.append('printf("%%zu\\n", offsetof(%s, %s));' % (name, field))
            expected.append(getattr(struct, field).offset)
    source = tmp_path / "layout.c"
    source.write_text('#include <stdio.h>\n#include "ingot/ingot.h"\nint main(void) { %s }\n' % "\n".join(rows))
    subprocess.run(["cc", "-I", os.path.join(ROOT, "include"), str(source), "-o", str(tmp_path / "layout")], check=True)
    printed = subprocess.run([str(tmp_path / "layout")], check=True, stdout=subprocess.PIPE).stdout.split()
    assert [int(number) for number in printed] == expected


def test_the_binding_is_that_of_this_header():
    with open(HEADER, encoding="utf-8") as file, open(_abi.__file__, encoding="utf-8") as made:
        assert generate.render(generate.parse(file.read())) == made.read(), "run python/generate.py"


@pytest.mark.parametrize("text", ["INGOT_API int ingot_f(int (*)[3]);", "int ingot_global;", "typedef union u { int a; } u;", "INGOT_API ingot_unknown *ingot_f(void);",
                                  "#pragma pack(1)", "typedef struct a { int x[3]; } a;", "enum { A = B };"])
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(generate.Unknown):
        generate.parse(text)


def test_the_documentation_is_up_to_date():
    import document

    with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as file:
        assert document.render() == file.read(), "run python/document.py docs/python.md"
