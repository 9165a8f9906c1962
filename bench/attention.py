"""`bench attention`: attention alone, beside PyTorch's flash attention and cuDNN's.

A row is eight attentions of one size, each with the last one's result for queries, so that what it costs to begin does not count for one: as an ONNX model of products and softmaxes, which Ingot puts together, and as a
CUDA graph of PyTorch's `scaled_dot_product_attention`, once by each library that takes the row. All take the same tensors of half precision, turn by turn, and results are compared with PyTorch's in fp32.
Lengths of causal ones are open, as exports have them that make their masks from sizes: of a size that is known, the mask becomes a constant.
Windows have a bias, which flash attention does not take; PyTorch's memory-efficient attention stands there instead.
"""
import argparse
import json
import os
import sys
import tempfile

from bench import lane, machine, measure, peer_ingot, peers, report, stats, timing, transposed, wire

IN_A_ROW = 8
LIBRARIES = {"flash": "FLASH_ATTENTION", "cudnn": "CUDNN_ATTENTION", "efficient": "EFFICIENT_ATTENTION"}


def rows():
    """[{"batch", "heads", "size", "length", "causal", "bias"}]"""
    found = []
    for size in (64, 128):
        for causal in (False, True):
            for length in (128, 197):
                found += [row_of(batch, 12, size, length, causal) for batch in (1, 32) if batch > 1 or size == 64]
            found += [row_of(8192 // length, 16, size, length, causal) for length in (512, 1024, 2048, 4096)]
    return found + [row_of(windows, heads, 32, 49, False, bias=True) for windows, heads in ((64, 3), (2048, 3), (128, 12))]


def row_of(batch, heads, size, length, causal, bias=False):
    return {"batch": batch, "heads": heads, "size": size, "length": length, "causal": causal, "bias": bias}


def described(row):
    return f"{row['batch']}x{row['heads']} heads of {row['size']}, length {row['length']}" + (", causal" if row["causal"] else "") + (", bias" if row["bias"] else "")


def flops(row):
    """Of one attention; of a causal one, half."""
    return 4.0 * row["batch"] * row["heads"] * row["length"] ** 2 * row["size"] / (2 if row["causal"] else 1)


def write_model(path, row):
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    length, last = "length" if row["causal"] else row["length"], "q"
    shape = [row["batch"], row["heads"], length, row["size"]]
    tensor = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT16, dims)
    constants = {"scale": numpy.float16(row["size"] ** -0.5)}
    given, nodes = [tensor(name, shape) for name in "qkv"], [helper.make_node("Transpose", ["k"], ["keys"], perm=[0, 1, 3, 2])]
    if row["bias"]:
        given.append(tensor("bias", [1, row["heads"], length, length]))
    if row["causal"]:
        constants.update(zero=numpy.int64(0), one=numpy.int64(1), second=numpy.array([1]), nothing=numpy.float16(-numpy.inf))
        nodes += [helper.make_node("Shape", ["q"], ["length"], start=2, end=3), helper.make_node("Squeeze", ["length"], ["count"]), helper.make_node("Range", ["zero", "count", "one"], ["columns"]), helper.make_node("Unsqueeze", ["columns", "second"], ["rows"]), helper.make_node("Greater", ["columns", "rows"], ["ahead"])]
    for i in range(IN_A_ROW):
        nodes += [helper.make_node("MatMul", [last, "keys"], [f"products{i}"]), helper.make_node("Mul", [f"products{i}", "scale"], [f"scaled{i}"])]
        scores, last = f"scaled{i}", f"y{i}"
        if row["bias"] or row["causal"]:
            nodes.append(helper.make_node(*(("Add", [scores, "bias"]) if row["bias"] else ("Where", ["ahead", "nothing", scores])), [f"masked{i}"]))
            scores = f"masked{i}"
        nodes += [helper.make_node("Softmax", [scores], [f"weights{i}"]), helper.make_node("MatMul", [f"weights{i}", "v"], [last])]
    graph = helper.make_graph(nodes, "attention", given, [tensor(last, shape)], [numpy_helper.from_array(numpy.array(value), name) for name, value in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class Libraries:
    """PyTorch's side, timed as every peer is."""

    def __init__(self, row, folder, clock):
        import numpy
        import torch

        self.row, self.clock = row, clock
        generator = torch.Generator().manual_seed(0)
        draw = lambda *size: torch.randn(*size, generator=generator).to("cuda", torch.float16)
        self.tensors = [draw(row["batch"], row["heads"], row["length"], row["size"]) for _ in range(3)]
        self.bias = draw(1, row["heads"], row["length"], row["length"]) if row["bias"] else None
        for i, given in enumerate([*self.tensors, *([self.bias] if row["bias"] else [])]):
            numpy.save(os.path.join(folder, f"input_{i}.npy"), given.cpu().numpy())
        write_model(os.path.join(folder, "model.onnx"), row)
        self.ready, self.absent = {}, {}
        for name in LIBRARIES:
            try:
                self.ready[name] = transposed.captured(lambda: self.by(name, *self.tensors))
            except RuntimeError as error:
                self.absent[name] = wire.first_line(error)

    def by(self, name, q, k, v):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with sdpa_kernel(getattr(SDPBackend, LIBRARIES[name])):
            for _ in range(IN_A_ROW):
                q = self.product(q, k, v, self.bias)
        return q

    def product(self, q, k, v, bias):
        import torch

        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=self.row["causal"])

    def reference(self):
        """A few of a batch at a time: scores in fp32 are large."""
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        parts, bias = [], None if self.bias is None else self.bias.float()
        with sdpa_kernel(SDPBackend.MATH):
            for q, k, v in zip(*(t.split(8) for t in self.tensors)):
                q, k, v = q.float(), k.float(), v.float()
                for _ in range(IN_A_ROW):
                    q = self.product(q, k, v, bias)
                parts.append(q)
        return torch.cat(parts)

    def measure(self, name, seconds):
        return stats.median(self.clock.batches(self.ready[name], seconds)) / IN_A_ROW


def measured(row, clock, options, folder, cache):
    libraries = Libraries(row, folder, clock)
    form = {"binary": os.path.abspath(options.ingot), "way": options.way, "tune": options.tune, "cache": cache}
    peer = transposed.InMemory(json.dumps(form), argparse.Namespace(device="cuda", precision="fp16", threads=0))
    entry = {**row, "flops": flops(row), "rounds": [], "absent": libraries.absent}
    try:
        facts = peer.prepare({"folder": folder, "reference": libraries.reference()})
        if not facts["error"] <= lane.LARGEST_ERROR["fp16"]:
            raise RuntimeError(f"results differ from PyTorch's by {facts['error']:.1e}")
        entry.update(error=facts["error"], kernels=facts["kernels"], tactics=facts["steps_by"])
        for _ in range(options.rounds):
            times = {name: libraries.measure(name, options.seconds) for name in libraries.ready}
            entry["rounds"].append({**times, "ingot": peer.measure("device", options.seconds)["ms"] / IN_A_ROW})
    finally:
        peer.drop()
    return entry


def milliseconds(entry):
    """Of one attention, by everybody: medians of the rounds."""
    return {name: stats.median([times[name] for times in entry["rounds"]]) for name in entry["rounds"][0]}


def ratio(entry):
    """The fastest library's time over Ingot's; above 1, Ingot is faster."""
    times = milliseconds(entry)
    return min(ms for name, ms in times.items() if name != "ingot") / times["ingot"]


def table(record):
    lines = [["attention", *(f"{name} us" for name in LIBRARIES), "ingot us", "library/ingot", "TFLOP/s", "error", "kernels"]]
    for entry in record["rows"]:
        times = milliseconds(entry)
        lines.append([described(entry), *(f"{times[name] * 1e3:.1f}" if name in times else report.NONE for name in LIBRARIES), f"{times['ingot'] * 1e3:.1f}", f"{ratio(entry):.2f}",
                      f"{entry['flops'] / times['ingot'] / 1e9:.0f}", f"{entry['error']:.1e}", " ".join(entry["tactics"])])
    out = report.columns(lines) if record["rows"] else ["nothing was measured"]
    if record["rows"]:
        ratios = [ratio(entry) for entry in record["rows"]]
        out.append(f"the fastest library over Ingot, {record['way']}: {stats.geometric_mean(ratios):.3f} (geometric mean of {len(ratios)}), {min(ratios):.2f} to {max(ratios):.2f}")
    return out + [f"failed: {failure}" for failure in record["failures"]]


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench attention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", default=os.path.join(measure.ROOT, "build/release/ingot"))
    parser.add_argument("--way", choices=peers.WAYS, default="untuned")
    parser.add_argument("--tune", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--record", metavar="FILE", help="written after each row")
    options = parser.parse_args(arguments)
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    clock = timing.CudaClock()
    record = {"machine": machine.describe("cuda"), "torch": torch.__version__, "way": options.way, "tune": options.tune, "binary": peers.identity(options.ingot), "in_a_row": IN_A_ROW, "rows": [], "failures": []}
    with tempfile.TemporaryDirectory() as cache:
        for row in rows():
            with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
                try:
                    record["rows"].append(measured(row, clock, options, folder, cache))
                    print(f"{described(row)}: {ratio(record['rows'][-1]):.2f}", flush=True)
                except Exception as error:
                    record["failures"].append(f"{described(row)}: {wire.first_line(error)}")
                    print(f"failed: {record['failures'][-1]}", flush=True)
            report.write_record(options.record, record)
            torch.cuda.empty_cache()
    print("\n".join(table(record)))
    return 1 if record["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
