"""`bench shapes`: networks whose batch, and length or sides, are open, each over many shapes drawn with a seed: the first answer to each, repeated ones, and compiler calls.

All take the same shapes in the same order, each peer in one process from beginning to end. Compilations are counted from outside: kernels that appear in the peer's cache
directory, which starts empty. On a GPU each Ingot also takes part as an engine built for the ranges, without a compiler, which for --static shapes takes turns with a model that has that shape alone. Version 0.1 has no session that outlives a shape from the command line, and takes no part.
"""
import argparse
import concurrent.futures
import copy
import functools
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time

from bench import measure, peer, report, stats, wire, zoo

# Of a first answer: what was done before anything ran. The record of a graph falls into the second.
PARTS = ("specialise_ms", "plan_ms", "kernels_ms", "constants_ms", "upload_ms", "bind_ms")

MEMORY = ("weights_bytes", "arena_bytes", "device_bytes", "host_bytes")

# An engine of ranges beside a model of one shape: kinds of time, turns of each, and their length.
KINDS, TURNS, TURN_SECONDS = ("call", "device"), 3, 0.1

# What is open beside the batch.
NETWORKS = {"bert-base-128": ("length",), "gpt2-512": ("length",), "resnet50": (), "lstm-2x512-bi": ("length",), "centernet_r18": ("height", "width")}
SIDES = range(256, 513, 32)
MOST_OF_SIDES = 4  # images of a call, where sides are open: a call is host to host, and those are large


def axes(network, largest_batch, longest):
    """What each open axis may be."""
    lengths = range(8 if longest >= 8 else 1, longest + 1)
    most = min(largest_batch, MOST_OF_SIDES) if "height" in NETWORKS[network] else largest_batch
    return [range(1, most + 1), *(lengths if name == "length" else SIDES for name in NETWORKS[network])]


def drawn(network, count, largest_batch, longest, seed=0):
    """[(batch, ...)], all different."""
    source, found, of = random.Random(seed), [], axes(network, largest_batch, longest)
    while len(found) < min(count, math.prod(map(len, of))):
        shape = tuple(map(source.choice, of))
        if shape not in found:
            found.append(shape)
    return found


def dims(network, batch, *others):
    kind, *sizes = zoo.ZOO[network].takes
    if kind == "image":
        return (batch, 3, *(others or sizes[:1] * 2))
    return (batch, *others) if kind == "tokens" else (*others, batch, *sizes[1:])


def export_open(network, path):
    """The network with its batch, and length or sides, open."""
    import torch

    kind = zoo.ZOO[network].takes[0]
    names = dict(enumerate(dims(network, "batch", *NETWORKS[network])))
    axes = {axis: name for axis, name in names.items() if name in ("batch", *NETWORKS[network])}
    module = zoo.build(network)
    with torch.no_grad():
        torch.onnx.export(module, tuple(zoo.inputs(network, 2)), path, dynamo=False, opset_version=17, input_names=["input"], output_names=["output"], dynamic_axes={"input": axes})


def cached(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


def ranges(options):
    """Of the network's input, as `ingot build --shapes` takes them: all that may be drawn."""
    of = axes(options.network, options.largest_batch, options.longest)
    low, high = dims(options.network, *(axis[0] for axis in of)), dims(options.network, *(axis[-1] for axis in of))
    return "input:" + "x".join(str(a) if a == b else f"{a}..{b}" for a, b in zip(low, high))


def built(binary, model, engine, shapes, options):
    """The engine, and what making it took."""
    precision = ["--fp16"] if options.precision == "fp16" else []
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        run = subprocess.run([binary, "build", model, "--device", options.device, *precision, "--shapes", shapes, "-o", engine, "--quiet"], capture_output=True, text=True,
                             env={**os.environ, "INGOT_CACHE_DIR": cache})
        if run.returncode:
            raise RuntimeError(run.stderr.strip() or f"ingot build ended with exit code {run.returncode}")
        return engine, {"build_s": time.perf_counter() - start, "engine_bytes": os.path.getsize(engine), "kernels": cached(cache)}


def ingot_of_ranges(binary, made, model, shapes, options):
    """In the session there is no compiler. Where models of one shape take part, its size is compared with that of an engine of the first."""
    if isinstance(made, Exception):
        raise made
    engine, facts = made
    rows = ingot(binary, engine, shapes, options, {"INGOT_NVRTC": "/none"})
    rows[0].update(facts)
    for row, shape in zip(rows, shapes[:options.static]):
        row["beside"] = beside_one_shape(binary, engine, model, shape, options)
    if options.static:
        with tempfile.TemporaryDirectory() as folder:
            fixed, size = os.path.join(folder, "fixed.onnx"), dims(options.network, *shapes[0])
            fix_input(model, size, fixed)
            rows[0]["engine_of_one_bytes"] = built(binary, fixed, os.path.join(folder, "fixed.ingot"), named(size), options)[1]["engine_bytes"]
    return rows


def fix_input(model, sizes, path):
    """The model with these sizes and no others."""
    import onnx

    proto = onnx.load(model)
    del proto.graph.value_info[:]
    for axis, size in zip(proto.graph.input[0].type.tensor_type.shape.dim, sizes):
        axis.dim_value = size
    onnx.save(proto, path)


class Waiting:
    """An `ingot bench` that waits for requests."""

    def __init__(self, binary, model, size, options, environment):
        precision = ["--fp16"] if options.precision == "fp16" else []
        command = [binary, "bench", model, "--device", options.device, *precision, "--on-request", "--json", "--shapes", named(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"ingot bench ended with exit code {self.process.wait()}")
        found = json.loads(answer)
        if "error" in found:
            raise RuntimeError(found["error"])
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def named(size):
    return "input:" + "x".join(map(str, size))


def beside_one_shape(binary, engine, model, shape, options):
    """{kind: {"open": ms, "one": ms}} of the engine of ranges and of a model that has this shape and no other, which take turns once both have all that they need."""
    size = dims(options.network, *shape)
    with tempfile.TemporaryDirectory() as folder:
        fixed, cache = os.path.join(folder, "fixed.onnx"), os.path.join(folder, "cache")
        os.mkdir(cache)
        fix_input(model, size, fixed)
        with Waiting(binary, engine, size, options, {"INGOT_NVRTC": "/none"}) as of_ranges, Waiting(binary, fixed, size, options, {"INGOT_CACHE_DIR": cache}) as of_one:
            both = {"open": of_ranges, "one": of_one}
            times = {}
            for kind in KINDS:
                times[kind] = {name: [] for name in both}
                for _ in range(TURNS):
                    for name, process in both.items():
                        times[kind][name].append(process.ask(f"{kind} {TURN_SECONDS}")["ms"])
    return {kind: {name: stats.median(each) for name, each in of.items()} for kind, of in times.items()}


def ingot(binary, model, shapes, options, more=()):
    rows = []
    with tempfile.TemporaryDirectory() as cache, Waiting(binary, model, dims(options.network, *shapes[0]), options, {"INGOT_CACHE_DIR": cache, **dict(more)}) as process:
        before = cached(cache)
        for shape in shapes:
            found = process.ask(f"shapes {named(dims(options.network, *shape))} {options.seconds}")
            rows.append({"first_ms": found["first_ms"], "ms": found["ms"], "again_ms": found["again_ms"], "compiled": cached(cache) - before, **{part: found[part] for part in ("specialised", *PARTS, *MEMORY) if part in found}})
            before = cached(cache)
    return rows


def timed_calls(call, seconds):
    """First and repeated, of a function that is complete when it returns."""
    _, first = peer.timed(call)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        times.append(peer.timed(call)[1])
    return {"first_ms": first * 1e3, "ms": stats.median(times) * 1e3}


def arrays(network, shapes):
    import numpy

    source = numpy.random.default_rng(0)
    for shape in shapes:
        size = dims(network, *shape)
        yield source.integers(0, 30000, size) if zoo.ZOO[network].takes[0] == "tokens" else source.standard_normal(size).astype("float32")


def torch_peer(compiled):
    def run(model, shapes, options):
        import torch

        module = zoo.build(options.network).to(options.device)
        half = options.precision == "fp16"
        module = torch.compile(module.half() if half else module, dynamic=True) if compiled else module.half() if half else module
        rows = []
        with torch.inference_mode():
            for array in arrays(options.network, shapes):
                x = torch.from_numpy(array)
                x = x.half() if half and x.is_floating_point() else x
                rows.append(timed_calls(lambda: module(x.to(options.device)).cpu(), options.seconds))
        return rows

    return run


def onnxruntime_peer(model, shapes, options):
    import onnxruntime

    provider = "CUDAExecutionProvider" if options.device == "cuda" else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(model, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} is not there")
    return [timed_calls(lambda: session.run(None, {"input": array}), options.seconds) for array in arrays(options.network, shapes)]


def peers(options, engines):
    found = {}
    for text in options.ingot:
        label, equals, path = text.partition("=")
        label, path = (label, path) if equals else ("ingot", text)
        if "asked" in options.ways:
            found[label] = lambda model, shapes, options, path=path: ingot(path, model, shapes, options)
        if options.device == "cuda" and "ranges" in options.ways:
            found[label + " of ranges"] = lambda model, shapes, options, path=path: ingot_of_ranges(path, engines[path], model, shapes, options)
    for name, run in (("torch eager", torch_peer(False)), ("torch compile dynamic", torch_peer(True)), ("ort", onnxruntime_peer)):
        if not options.peers or any(name.startswith(word) for word in options.peers.split(",")):
            found[name] = run
    return found


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench shapes", description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, nargs="+", default=["bert-base-128"])
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--largest-batch", type=int, default=32)
    parser.add_argument("--longest", type=int, default=128)
    parser.add_argument("--static", type=int, default=0, metavar="COUNT", help="at the first COUNT shapes the engine of ranges takes turns with a model of each alone")
    parser.add_argument("--seconds", type=float, default=0.1, help="of repeated answers to each shape")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--ingot", action="append", metavar="NAME=PATH")
    parser.add_argument("--ways", nargs="+", choices=("asked", "ranges"), default=("asked", "ranges"), help="Ingot that compiles when a shape is asked for, and that of an engine built for ranges")
    parser.add_argument("--peers")
    parser.add_argument("--record", metavar="FILE")
    options = parser.parse_args(arguments)
    options.ingot = options.ingot or [os.path.join(measure.ROOT, "build/release/ingot")]
    options.precision = "fp16" if options.device == "cuda" else "fp32"
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor() as pool:
        # Exported and built side by side, measured one after the other.
        made = [(of, pool.submit(prepared, of, folder)) for of in map(functools.partial(for_network, options), options.network)]
        concurrent.futures.wait([future for _, future in made])
        for of, future in made:
            record = measured(of, future.result())
            print("\n".join(table(record)), flush=True)
            report.write_record(of.record, record)
    return 0


def for_network(options, network):
    """One network's options: of several each has a record of its own, NAME.json's is NAME-NETWORK.json."""
    of = copy.copy(options)
    of.network = network
    if options.record and len(options.network) > 1:
        of.record = "-".join((options.record.removesuffix(".json"), network)) + ".json"
    return of


def prepared(options, folder):
    """(model, {binary: its engine of all shapes, or the error})"""
    folder = os.path.join(folder, options.network)
    os.mkdir(folder)
    model, engines = os.path.join(folder, "model.onnx"), {}
    subprocess.run([sys.executable, "-c", "import sys; from bench import shapes; shapes.export_open(*sys.argv[1:])", options.network, model], check=True, cwd=measure.ROOT)
    for number, text in enumerate(options.ingot if options.device == "cuda" else ()):
        path = text.partition("=")[2] or text
        try:
            engines[path] = built(path, model, os.path.join(folder, f"{number}.ingot"), ranges(options), options)
        except RuntimeError as error:
            engines[path] = error
    return model, engines


def measured(options, found):
    model, engines = found
    shapes = drawn(options.network, options.count, options.largest_batch, options.longest)
    record = {"network": options.network, "device": options.device, "precision": options.precision, "shapes": shapes, "peers": {}, "failures": {}}
    for name, run in peers(options, engines).items():
        try:
            record["peers"][name] = run(model, shapes, options)
        except Exception as error:
            record["failures"][name] = wire.first_line(error)
        print(f"{options.network}: {name}: {record['failures'].get(name, 'done')}", flush=True)
    return record


def over_one_shape(rows, kind):
    """[ratio] for each shape that was also measured beside a model of it alone."""
    return [row["beside"][kind]["open"] / row["beside"][kind]["one"] for row in rows if "beside" in row]


def beyond(record):
    """What first answers wait for, and what open shapes cost later ones."""
    lines = []
    for name, rows in record["peers"].items():
        parts = [(part, stats.median([row[part] for row in rows[1:]])) for part in PARTS if len(rows) > 1 and part in rows[-1]]
        if parts:
            over = stats.median([row["first_ms"] - row["ms"] for row in rows[1:]])
            again = stats.median([row["first_ms"] - row["again_ms"] for row in rows[1:]])
            lines.append(f"{name}: a first answer takes {over:.2f} ms more than later ones, {again:.2f} more than one to the same shape after a pause and of inputs as new; of these " + ", ".join(f"{part.removesuffix('_ms')} {ms:.2f}" for part, ms in parts))
        if rows and "device_bytes" in rows[-1]:
            most, weights, arena = (max(row[key] for row in rows) for key in ("device_bytes", "weights_bytes", "arena_bytes"))
            lines.append(f"{name}: at most {most / 1e6:.1f} MB on the device: weights {weights / 1e6:.1f}, and {(most - weights) / max(arena, 1):.2f} times the largest arena, {arena / 1e6:.1f}; "
                         f"{max(row['host_bytes'] for row in rows) / 1e6:.0f} MB on the host")
        if (calls := over_one_shape(rows, "call")):
            alone = over_one_shape(rows, "device")
            lines.append(f"{name}: calls take {stats.geometric_mean(calls):.3f} times as long as with a model of that shape alone, {max(calls):.3f} at worst, over {len(calls)} shapes in turns; "
                         f"on the device {stats.geometric_mean(alone):.3f}, {max(alone):.3f} at worst")
    return lines


def size_over_one(row):
    return f" ({row['engine_bytes'] / row['engine_of_one_bytes']:.2f} times the engine of the first shape alone)" if "engine_of_one_bytes" in row else ""


def table(record):
    lines = [["peer", "first of all", "first: median", "p99", "most", "repeated: median", "all shapes twice, s", "compiled", "specialised"]]
    for name, rows in record["peers"].items():
        first, again = [row["first_ms"] for row in rows], [row["ms"] for row in rows]
        counts = [str(sum(row[key] for row in rows)) if key in rows[0] else report.NONE for key in ("compiled", "specialised")]
        lines.append([name, *map(report.milliseconds, (first[0], stats.median(first[1:] or first), stats.percentile(first, 0.99), max(first), stats.median(again))), f"{(sum(first) + sum(again)) / 1e3:.2f}", *counts])
    made = [f"{name}: built in {rows[0]['build_s']:.1f} s, {rows[0]['engine_bytes'] / 1e6:.1f} MB{size_over_one(rows[0])}, {rows[0]['kernels']} kernels" for name, rows in record["peers"].items() if "build_s" in rows[0]]
    return [f"{record['network']}, {record['device']}, {record['precision']}: {len(record['shapes'])} shapes; milliseconds of a call, host to host", *report.columns(lines), *beyond(record), *made,
            *[f"failed: {name}: {error}" for name, error in record["failures"].items()]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
