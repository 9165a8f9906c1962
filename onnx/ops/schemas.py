#!/usr/bin/env python3
"""Writes onnx/ops/schemas.inc: what the specification says of the attributes, inputs, outputs and types of each version of the
operators that onnx/ops/ translates. Facts come from the onnx package; those of com.microsoft from the onnxruntime package.

  python onnx/ops/schemas.py        (from the top of the repository; needs onnx and onnxruntime)
"""
import glob
import re
import onnx.defs
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

NAMES = {'float': 'f32', 'float16': 'f16', 'bfloat16': 'bf16', 'double': 'f64', 'float8e4m3fn': 'f8e4m3fn',
         'float8e4m3fnuz': 'f8e4m3fnuz', 'float8e5m2': 'f8e5m2', 'float8e5m2fnuz': 'f8e5m2fnuz', 'float8e8m0': 'f8e8m0',
         'float4e2m1': 'f4e2m1', 'complex64': 'c64', 'complex128': 'c128', 'bool': 'bool', 'string': 'string'}
NAMES |= {f'{u}int{n}': f'{"u" if u else "i"}{n}' for u in ('', 'u') for n in (2, 4, 8, 16, 32, 64)}
GROUPS = {'signed': 'i8 i16 i32 i64', 'unsigned': 'u8 u16 u32 u64', 'floats': 'f16 f32 f64',
          'f8': 'f8e4m3fn f8e4m3fnuz f8e5m2 f8e5m2fnuz', 'complex': 'c64 c128'}
KINDS = {'FLOAT': 'float', 'INT': 'int', 'STRING': 'string', 'TENSOR': 'tensor', 'GRAPH': 'graph', 'SPARSE_TENSOR': 'sparse',
         'TYPE_PROTO': 'type', 'FLOATS': 'floats', 'INTS': 'ints', 'STRINGS': 'strings', 'TENSORS': 'tensors',
         'GRAPHS': 'graphs'}


def type_name(text):
    tensor = re.fullmatch(r'tensor\((\w+)\)', text)
    if tensor:
        return NAMES[tensor.group(1)]
    return 'seq' if text.startswith('seq') else 'optional' if text.startswith('optional') else 'other'


def type_set(texts):
    names = dict.fromkeys(map(type_name, texts))
    out = []
    for group, members in GROUPS.items():
        if all(m in names for m in members.split()):
            out.append(group)
            for m in members.split():
                del names[m]
    return '+'.join(out + sorted(names))


def is_homogeneous(p):
    return p.is_homogeneous if hasattr(p, 'is_homogeneous') else p.isHomogeneous


def parameters(formals, constraints):
    marks = {'Optional': lambda p: '?', 'Variadic': lambda p: '*' if is_homogeneous(p) else '~'}
    out = []
    for p in formals:
        kind = p.type_str if hasattr(p, 'type_str') else p.typeStr
        if kind not in constraints:
            kind = type_set([kind])
        option = str(p.option).split('.')[1].split(':')[0]
        out.append(f'{p.name}:{kind}{marks[option](p) if option in marks else ""}')
    return ' '.join(out)


def row(s):
    attributes = ' '.join(f'{name}:{KINDS[str(a.type).split(".")[1].split(":")[0]]}{"!" if a.required else ""}'
                          for name, a in sorted(s.attributes.items()))
    constraints = {c.type_param_str: type_set(c.allowed_type_strs) for c in s.type_constraints}
    types = ' '.join(f'{name}={types}' for name, types in constraints.items())
    return (f'SCHEMA("{s.domain}", "{s.name}", {s.since_version}, "{attributes}", "{parameters(s.inputs, constraints)}",\n'
            f'       "{parameters(s.outputs, constraints)}", "{types}")')


def main():
    known = set()
    for path in glob.glob('onnx/ops/*.c'):
        known |= set(re.findall(r'\{"([\w.]*)", "(\w+)", \d+', open(path).read()))
    official = [s for s in onnx.defs.get_all_schemas_with_history() if not s.deprecated]
    named = {(s.domain, s.name) for s in official}
    ours = [s for s in runtime.get_all_operator_schema() if not s.deprecated and (s.domain, s.name) not in named]
    rows = {(s.domain, s.name, s.since_version): row(s) for s in official + ours if (s.domain, s.name) in known}
    with open('onnx/ops/schemas.inc', 'w') as out:
        out.write('// Written by onnx/ops/schemas.py: SCHEMA(domain, operator, since, attributes, inputs, outputs, types), sorted. A mark '
                  'behind an\n// attribute: ! required. Behind an input or output: ? optional, * any number of one type, ~ any '
                  'number of any types.\n')
        out.write('\n'.join(rows[key] for key in sorted(rows)) + '\n')


main()
