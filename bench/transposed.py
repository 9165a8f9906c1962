"""`bench transposed`: transposed convolutions of drawn shapes, alone, beside cuDNN's best backward-data as PyTorch finds it.

Both take the same half-precision tensors, channels-last, without bias or activation; PyTorch lets cuDNN search its algorithms and replays a CUDA graph. They take
turns, shape by shape, and results are compared with PyTorch's in fp32. Each way of Ingot's is one process a shape, which builds in memory, tunes, and stays to be measured; kernels are cached
from shape to shape. The record is written after each shape, and a run that is begun again goes on behind it. On a CPU PyTorch's own convolution stands for cuDNN's, both in fp32.
"""
import argparse
import json
import os
import random
import sys
import tempfile

from bench import lane, machine, measure, peer_ingot, peers, report, stats, timing, wire

# Kernel, stride, padding, output padding, dilation: what decoders, generators and detectors use, and some that they do not.
WINDOWS = ((2, 2, 0, 0, 1), (4, 2, 1, 0, 1), (3, 2, 1, 1, 1), (5, 2, 2, 1, 1), (4, 4, 0, 0, 1), (3, 1, 1, 0, 1), (3, 1, 2, 0, 2), (6, 3, 1, 0, 1))
LARGEST_FLOPS = 4e11
LARGEST_RESULT = 1 << 27  # elements


def drawn(count, seed):
    """[{"batch", "channels", "filters", "height", "width", "groups", "window"}], as many as asked, all different."""
    source, found = random.Random(seed), []
    while len(found) < count:
        channels, filters = (8 * 2 ** source.randint(0, 6) * source.choice((1, 1, 1, 3)) for _ in range(2))
        groups = source.choice((1, 1, 1, 1, 4))
        shape = {"batch": source.choice((1, 1, 4, 16, 32)), "channels": channels, "filters": filters, "height": source.choice((7, 8, 14, 16, 20, 28, 32, 56, 64, 128)),
                 "width": source.choice((7, 8, 14, 16, 20, 28, 32, 56, 64, 128)), "groups": groups, "window": source.choice(WINDOWS)}
        fits = flops(shape) <= LARGEST_FLOPS and shape["batch"] * filters * shape["height"] * shape["width"] * shape["window"][1] ** 2 <= LARGEST_RESULT
        if fits and channels % groups == 0 and filters // groups >= 8 and channels // groups >= 8 and shape not in found:
            found.append(shape)
    return found


def flops(shape):
    return 2.0 * shape["batch"] * shape["height"] * shape["width"] * shape["channels"] * shape["filters"] // shape["groups"] * shape["window"][0] ** 2


def described(shape):
    kernel, stride, padding, extra, dilation = shape["window"]
    more = (f" g{shape['groups']}" if shape["groups"] > 1 else "") + (f" d{dilation}" if dilation > 1 else "")
    return f"{shape['batch']}x{shape['channels']}x{shape['height']}x{shape['width']} to {shape['filters']}, k{kernel} s{stride} p{padding}+{extra}{more}"


def settings(shape):
    _, stride, padding, extra, dilation = shape["window"]
    return {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation, "groups": shape["groups"]}


def write_model(path, shape, weights, result):
    """In the weights' precision. Its input and output are channels-last, as a network's inner tensors are: no layout changes at the edges."""
    import onnx
    from onnx import helper, numpy_helper

    kernel, stride, padding, extra, dilation = shape["window"]
    kind = helper.np_dtype_to_tensor_dtype(weights.dtype)
    nodes = [helper.make_node("Transpose", ["x"], ["rows"], perm=[0, 3, 1, 2]),
             helper.make_node("ConvTranspose", ["rows", "w"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4, output_padding=[extra] * 2,
                              dilations=[dilation] * 2, group=shape["groups"]),
             helper.make_node("Transpose", ["y"], ["out"], perm=[0, 2, 3, 1])]
    given = helper.make_tensor_value_info("x", kind, [shape["batch"], shape["height"], shape["width"], shape["channels"]])
    graph = helper.make_graph(nodes, "transposed", [given], [helper.make_tensor_value_info("out", kind, list(result))], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def prepared(shape, folder, device):
    """Writes the row's files; returns PyTorch's function that enqueues it, and its results in fp32, channels last."""
    import numpy
    import torch

    kind = torch.float16 if device == "cuda" else torch.float32
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size, scale=1.0: (torch.randn(*size, generator=generator) * scale).to(device, kind)
    x = draw(shape["batch"], shape["channels"], shape["height"], shape["width"]).contiguous(memory_format=torch.channels_last)
    reach = shape["channels"] // shape["groups"] * shape["window"][0] ** 2
    w = draw(shape["channels"], shape["filters"] // shape["groups"], shape["window"][0], shape["window"][0], scale=reach**-0.5)
    reference = torch.nn.functional.conv_transpose2d(x.float(), w.float(), **settings(shape)).permute(0, 2, 3, 1).contiguous()
    write_model(os.path.join(folder, "model.onnx"), shape, w.cpu().numpy(), reference.shape)
    numpy.save(os.path.join(folder, "input_0.npy"), x.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    last = w.contiguous(memory_format=torch.channels_last)
    return lambda: torch.nn.functional.conv_transpose2d(x, last, **settings(shape)), reference


def captured(run):
    import torch

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = run()
    return lambda: (graph.replay(), kept)


class Library:
    """PyTorch's side, timed as every peer is."""

    def __init__(self, shape, folder, device, clock):
        run, self.reference = prepared(shape, folder, device)
        self.clock, self.run = clock, captured(run) if device == "cuda" else run

    def measure(self, seconds):
        if self.clock:
            return stats.median(self.clock.batches(self.run, seconds))
        timing.warm(self.run, lambda: None, 0)
        return stats.median(timing.wall(self.run, seconds))


class InMemory(peer_ingot.Peer):
    """Built by the process that is measured, so that there is one a shape. Results are compared where PyTorch's are: they may be hundreds of megabytes."""

    def build(self, request):
        self.engine = os.path.join(request["folder"], "model.onnx")
        return {}

    def error(self, request, outputs):
        import torch

        wanted = request["reference"]
        got = torch.from_numpy(outputs[0]).to(wanted.device)
        if got.shape != wanted.shape or not bool(got.isfinite().all()):
            return float("inf")
        return float((got.float() - wanted).norm(dtype=torch.float64) / wanted.norm(dtype=torch.float64))

    def common(self):
        precision = ["--fp16"] if self.options.precision == "fp16" else []
        return [*super().common(), *precision, *(["--tune", str(self.settings["tune"])] if self.settings["way"] != "untuned" else [])]


def row(shape, clock, options, folder, cache):
    library = Library(shape, folder, options.device, clock)
    adapter = argparse.Namespace(device=options.device, precision="fp16" if options.device == "cuda" else "fp32", threads=options.threads)
    entry, ready = {**shape, "flops": flops(shape), "rounds": [], "ways": {}}, {}
    try:
        for way in options.ways:
            form = {"binary": os.path.abspath(options.ingot), "way": way, "tune": options.tune, "cache": cache}
            ready[way] = InMemory(json.dumps(form), adapter)
            facts = ready[way].prepare({"folder": folder, "reference": library.reference})
            if not facts["error"] <= lane.LARGEST_ERROR[adapter.precision]:
                raise RuntimeError(f"{way}: results differ from PyTorch's by {facts['error']:.1e}")
            entry["ways"][way] = {"error": facts["error"], "kernels": facts["kernels"], "tactics": facts["steps_by"]}
        for _ in range(options.rounds):
            entry["rounds"].append({"library_ms": library.measure(options.seconds), **{way + "_ms": peer.measure("device", options.seconds)["ms"] for way, peer in ready.items()}})
    finally:
        for peer in ready.values():
            peer.drop()
    for way, found in entry["ways"].items():
        found["ratio"] = stats.median([r["library_ms"] / r[way + "_ms"] for r in entry["rounds"]])
    return entry


def milliseconds(entry, name):
    return stats.median([r[name + "_ms"] for r in entry["rounds"]])


def line(entry):
    ways = "  ".join(f"{way} {milliseconds(entry, way):.4f} ms {found['ratio']:.2f} {' '.join(found['tactics'])}" for way, found in entry["ways"].items())
    return f"{described(entry)}  library {milliseconds(entry, 'library'):.4f} ms  {ways}"


def begun(options):
    """The record so far, of the same binary, ways and machine; else an empty one."""
    new = {"machine": machine.describe(options.device), "ways": options.ways, "seed": options.seed, "tune": options.tune, "binary": peers.identity(options.ingot), "rows": [], "failures": []}
    if options.record and os.path.exists(options.record):
        with open(options.record) as file:
            old = json.load(file)
        if all(old.get(name) == value for name, value in json.loads(json.dumps(new)).items() if name not in ("rows", "failures")):
            return {**old, "failures": []}
        print(f"{options.record} is of something else, and begun anew")
    return new


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench transposed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; default: all cores")
    parser.add_argument("--ingot", default=os.path.join(measure.ROOT, "build/release/ingot"))
    parser.add_argument("--ways", default="own", help="of untuned,tuned,own")
    parser.add_argument("--tune", type=float, default=1)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--record", metavar="FILE", help="written after each shape; gone on with where it exists")
    options = parser.parse_args(arguments)
    options.ways = options.ways.split(",")
    if any(way not in peers.WAYS for way in options.ways):
        parser.error(f"--ways takes of {','.join(peers.WAYS)}")
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(options.threads or torch.get_num_threads())
    clock, record = timing.CudaClock() if options.device == "cuda" else None, begun(options)
    done = {described(entry) for entry in record["rows"]}
    with tempfile.TemporaryDirectory() as cache:
        for shape in drawn(options.count, options.seed):
            if described(shape) in done:
                continue
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                try:
                    record["rows"].append(row(shape, clock, options, folder, cache))
                    print(line(record["rows"][-1]), flush=True)
                except Exception as error:
                    record["failures"].append(f"{described(shape)}: {wire.first_line(error)}")
                    print(f"failed: {record['failures'][-1]}", flush=True)
            report.write_record(options.record, record)
            if options.device == "cuda":
                torch.cuda.empty_cache()
    print("\n".join(table(record)))
    return 1 if record["failures"] else 0


def table(record):
    ways = record["ways"]
    lines = [["transposed convolution", "library ms", *(f"{way} ms" for way in ways), *(f"library/{way}" for way in ways), "TFLOP/s", "error"]]
    for entry in sorted(record["rows"], key=lambda entry: entry["ways"][ways[-1]]["ratio"]):
        times = {way: milliseconds(entry, way) for way in ways}
        lines.append([described(entry), report.milliseconds(milliseconds(entry, "library")), *map(report.milliseconds, times.values()), *(f"{entry['ways'][way]['ratio']:.2f}" for way in ways),
                      f"{entry['flops'] / min(times.values()) / 1e9:.0f}", f"{max(found['error'] for found in entry['ways'].values()):.1e}"])
    out = report.columns(lines) if record["rows"] else ["nothing was measured"]
    for way in ways if record["rows"] else []:
        ratios = [entry["ways"][way]["ratio"] for entry in record["rows"]]
        out.append(f"{way}: {len(ratios)} shapes: library over Ingot {stats.geometric_mean(ratios):.3f} (geometric mean), {min(ratios):.2f} to {max(ratios):.2f}; "
                   f"{sum(ratio >= 0.8 for ratio in ratios)} of them at least 0.8")
    return out + [f"failed: {failure}" for failure in record["failures"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
