"""Work and bytes of each step, from the text of an optimised graph (`ingot inspect --after`): what a region reads and writes counts once, what its nodes multiply is added up."""
import math
import re

BYTES = {"f64": 8, "i64": 8, "u64": 8, "f32": 4, "i32": 4, "u32": 4, "f16": 2, "bf16": 2, "i16": 2, "u16": 2}  # all others one
VALUE = re.compile(r"%([^\s,(){}]+?): (\w+)\[([^\]]*)\]")
NODE = re.compile(r"^\s*((?:%[^=]*?, )*%[^=]*?) = (\w+)\(([^)]*)\)\s*(.*)$")
ORIGINS = re.compile(r" origins \[.*$")
OPERAND = re.compile(r"%([^\s,()]+)")


def dims_of(text):
    """None where a size is open."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else None


def operations(op, operands, result):
    """Twice the multiply-adds of what multiplies; of everything else none count."""
    size = math.prod
    if op == "conv":
        return 2 * size(result) * size(operands[1][1:])
    if op == "conv_transpose":
        return 2 * size(operands[0]) * size(operands[1][1:])
    if op == "matmul":
        return 2 * size(result) * operands[0][-1]
    if op in ("lstm", "gru", "rnn", "recurrent"):
        steps, batch = operands[0][:2]
        return 2 * steps * batch * sum(size(dims) for dims in operands[1:3])
    return 0


def described(match, types):
    """A node without a body; None where a size is open."""
    results = [name for name, _, _ in VALUE.findall(match[1])]
    operands = OPERAND.findall(match[3])
    values = [types.get(name, ("?", None)) for name in (*operands, *results)]
    if not results or any(dims is None for _, dims in values):
        return None
    shapes = [dims for _, dims in values]
    order = re.findall(r"order\([^)]*\)", match[1])
    return {"op": match[2], "flops": operations(match[2], shapes[: len(operands)], shapes[len(operands)]), "bytes": sum(BYTES.get(kind, 1) * math.prod(dims) for kind, dims in values),
            "types": f"{' '.join(kind + '[' + 'x'.join(map(str, dims)) + ']' for kind, dims in values)} {' '.join(order)}", "rest": ORIGINS.sub("", match[4])}


def with_body(node, inside):
    """A region is what its nodes are; with a single operator in front of a program it goes by that operator's name."""
    named = inside[0]["op"] if len(inside) == 2 and inside[1]["op"] == "elementwise" else node["op"]
    return {**node, "op": named, "flops": sum(inner["flops"] for inner in inside), "rest": " ".join(f"{inner['op']} {inner['rest']}" for inner in inside)}


def parse_lines(lines, types, inside):
    """The nodes of one graph, by the first value that each computes; inside: of a region, whose end is the end."""
    nodes = {}
    for line in lines:
        if inside and line.lstrip().startswith("}"):
            break
        head, _, body = line.partition(" {body: graph ")
        for name, kind, dims in VALUE.findall(line.split(" = ")[0]):
            types[name] = (kind, dims_of(dims))
        match = NODE.match(head if body else line)
        if not match or line.lstrip().startswith("const "):
            continue
        parts = parse_lines(lines, {name: (kind, dims_of(dims)) for name, kind, dims in VALUE.findall(body)}, True) if match[2] == "region" else {}
        node = described(match, types)
        if node:
            nodes[VALUE.findall(match[1])[0][0]] = with_body(node, list(parts.values())) if parts else node
    return nodes


def parse(text):
    """{name of the value that a node computes: {"op", "key", "flops", "bytes"}}, of nodes whose sizes are all known."""
    return {name: {"op": node["op"], "flops": node["flops"], "bytes": node["bytes"], "key": f"{node['op']} {node['types']} {node['rest']}"} for name, node in parse_lines(iter(text.splitlines()), {}, False).items()}
