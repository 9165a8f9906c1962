"""Writes python/ingot/_abi.py: what include/ingot/ingot.h declares, for ctypes.

    python generate.py HEADER OUT

The header is read by its own plain style: comments go, what is left is a list of declarations that each have one of a few forms. What has none of
them ends the run with the declaration's text, so that nothing is left out in silence; tests/test_generate.py asks the compiler for the same sizes.
"""
from __future__ import annotations

import re
import sys
from typing import Dict, List, NamedTuple, Tuple

SCALARS = {
    "void": "None", "bool": "ctypes.c_bool", "int": "ctypes.c_int", "double": "ctypes.c_double", "float": "ctypes.c_float", "size_t": "ctypes.c_size_t",
    "char": "ctypes.c_char", "uint8_t": "ctypes.c_uint8", "uint16_t": "ctypes.c_uint16", "int32_t": "ctypes.c_int32", "uint32_t": "ctypes.c_uint32",
    "int64_t": "ctypes.c_int64", "uint64_t": "ctypes.c_uint64",
}


class Field(NamedTuple):
    name: str
    kind: str


class Declarations(NamedTuple):
    """What a header declares, in its order."""

    constants: Dict[str, int]
    enums: Dict[str, Dict[str, int]]
    opaque: List[str]
    structs: Dict[str, List[Field]]
    functions: Dict[str, Tuple[str, List[str]]]


class Unknown(Exception):
    """A declaration of a form that this parser does not know."""


def without_comments(text: str) -> str:
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"//[^\n]*", " ", text)


def without_directives(text: str, found: Declarations) -> str:
    """Takes preprocessor lines out; numbers among them are constants."""
    kept = []
    skipping = False
    for line in text.split("\n"):
        words = line.split()
        if not words or not words[0].startswith("#"):
            if not skipping:
                kept.append(line)
            continue
        directive = words[0]
        if directive == "#ifdef" and words[1] == "__cplusplus":
            skipping = True
        elif directive == "#endif":
            skipping = False
        elif directive == "#define" and len(words) == 3 and re.fullmatch(r"-?\d+", words[2]):
            found.constants[words[1]] = int(words[2])
        elif directive == "#define" and (len(words) == 2 or words[1] == "INGOT_API"):
            pass
        elif directive not in ("#include", "#ifndef"):
            raise Unknown(line)
    return "\n".join(kept)


def statements(text: str) -> List[str]:
    """Splits at semicolons and bodies of functions outside of braces; white space is one blank."""
    out, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0 and text[start:at].lstrip().startswith("static inline"):
                start = at + 1  # made of what else is declared
        elif letter == ";" and depth == 0:
            out.append(" ".join(text[start:at].split()))
            start = at + 1
    if depth or text[start:].strip():
        raise Unknown(text[start:].strip()[:200])
    return out


class Parser:
    """Statements to declarations."""

    def __init__(self) -> None:
        self.found = Declarations({}, {}, [], {}, {})

    def run(self, header: str) -> Declarations:
        for statement in statements(without_directives(without_comments(header), self.found)):
            self.statement(statement)
        return self.found

    def statement(self, text: str) -> None:
        forms = (
            (r"typedef struct (\w+) \1", self.opaque),
            (r"typedef struct (\w+) \{(.*)\} \1", self.struct),
            (r"typedef enum (\w+) \{(.*)\} \1", self.enum),
            (r"enum \{(.*)\}", self.constants),
            (r"INGOT_API (.*?)(\w+)\(([^()]*)\)", self.function),
        )
        for form, take in forms:
            match = re.fullmatch(form, text)
            if match:
                take(*match.groups())
                return
        raise Unknown(text)

    def opaque(self, name: str) -> None:
        self.found.opaque.append(name)

    def values(self, body: str) -> Dict[str, int]:
        out: Dict[str, int] = {}
        following = 0
        for entry in filter(None, (part.strip() for part in body.split(","))):
            match = re.fullmatch(r"(\w+)(?: = (-?\d+))?", entry)
            if not match:
                raise Unknown(entry)
            following = int(match[2]) if match[2] else following
            out[match[1]] = following
            following += 1
        return out

    def enum(self, name: str, body: str) -> None:
        self.found.enums[name] = self.values(body)

    def constants(self, body: str) -> None:
        self.found.constants.update(self.values(body))

    def struct(self, name: str, body: str) -> None:
        if name in self.found.opaque:
            self.found.opaque.remove(name)
        fields: List[Field] = []
        for declaration in filter(None, (part.strip() for part in body.split(";"))):
            fields += self.fields(declaration)
        self.found.structs[name] = fields

    def fields(self, text: str) -> List[Field]:
        callback = re.fullmatch(r"(.+?)\(\*(\w+)\)\((.*)\)", text)
        if callback:
            return [Field(callback[2], self.callback(callback[1].strip(), callback[3]))]
        match = re.fullmatch(r"((?:const )?\w+) (.+)", text.replace("* ", "*"))
        if not match:
            raise Unknown(text)
        out = []
        for declarator in (part.strip() for part in match[2].split(",")):
            one = re.fullmatch(r"(\**)(\w+)", declarator)
            if not one:
                raise Unknown(text)
            out.append(Field(one[2], self.type(match[1] + " " + one[1])))
        return out

    def callback(self, result: str, parameters: str) -> str:
        return "ctypes.CFUNCTYPE(%s)" % ", ".join([self.type(result)] + self.parameters(parameters))

    def parameters(self, text: str) -> List[str]:
        """Types of parameters. One may be a callback itself; its own parameters hold commas."""
        if text.strip() == "void":
            return []
        out, depth, start = [], 0, 0
        for at, letter in enumerate(text + ","):
            depth += (letter == "(") - (letter == ")")
            if letter == "," and not depth:
                out.append(self.parameter(text[start:at].strip()))
                start = at + 1
        return out

    def parameter(self, text: str) -> str:
        callback = re.fullmatch(r"(.+?)\(\*\w+\)\((.*)\)", text)
        if callback:
            return self.callback(callback[1].strip(), callback[2])
        match = re.fullmatch(r"(.*[ *])\w+", text)
        if not match:
            raise Unknown(text)
        return self.type(match[1])

    def type(self, text: str) -> str:
        """A C type as the ctypes expression for it. Text is c_char_p only where it is const: what the caller frees keeps its address."""
        words = text.replace("*", " * ").split()
        constant = words[0] == "const"
        words = [word for word in words if word != "const"]
        base, stars = words[0], len(words) - 1
        if words[1:] != ["*"] * stars:
            raise Unknown(text)
        if base in SCALARS:
            if not stars:
                return SCALARS[base]
            if base == "char" and constant:
                return self.pointer("ctypes.c_char_p", stars - 1)
            if base in ("void", "char"):
                return self.pointer("ctypes.c_void_p", stars - 1)
            return self.pointer(SCALARS[base], stars)
        if base in self.found.enums:
            return self.pointer("ctypes.c_int", stars)
        if base in self.found.opaque and stars:
            return self.pointer("ctypes.c_void_p", stars - 1)
        if base in self.found.structs:
            return self.pointer(base, stars)
        raise Unknown(text)

    def pointer(self, base: str, stars: int) -> str:
        return "ctypes.POINTER(" * stars + base + ")" * stars

    def function(self, result: str, name: str, parameters: str) -> None:
        self.found.functions[name] = (self.type(result), self.parameters(parameters))


def parse(header: str) -> Declarations:
    """What the header's text declares; Unknown where some of it cannot be read."""
    return Parser().run(header)


def render(found: Declarations) -> str:
    """The declarations as a Python module."""
    lines = ['"""Made by python/generate.py from ingot.h: its constants, structs and functions."""', "from __future__ import annotations", "",
             "import ctypes", "import enum", "from typing import Any, Dict, List, Tuple", ""]
    lines += ["%s = %d" % row for row in found.constants.items()]
    for name, values in found.enums.items():
        lines += ["", "", "class %s(enum.IntEnum):" % name] + ["    %s = %d" % row for row in values.items()]
    for name, fields in found.structs.items():
        lines += ["", "", "class %s(ctypes.Structure):" % name, "    _fields_ = ["]
        lines += ['        ("%s", %s),' % field for field in fields] + ["    ]"]
    lines += ["", "", "FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {"]
    lines += ['    "%s": (%s, [%s]),' % (name, result, ", ".join(parameters)) for name, (result, parameters) in found.functions.items()]
    return "\n".join(lines + ["}", ""])


def main(arguments: List[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as file:
        text = file.read()
    try:
        made = render(parse(text))
    except Unknown as error:
        print("generate.py: %s: this declaration has none of the forms that are known: %s" % (arguments[0], error), file=sys.stderr)
        return 1
    with open(arguments[1], "w", encoding="utf-8") as file:
        file.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
