"""`bench transposed`: transposed convolutions of drawn shapes, alone, beside cuDNN's best backward-data as PyTorch finds it.

Both take the same half-precision tensors, channels-last, without bias or activation; PyTorch lets cuDNN search its algorithms and replays a CUDA graph. They take
turns, shape by shape, and results are compared with PyTorch's in fp32.
"""
import argparse
import json
import os
import random
import sys
import tempfile

from bench import machine, measure, peer, peer_ingot, report, stats, timing

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
    """Its input and output are channels-last, as a network's inner tensors are: no layout changes at the edges."""
    import onnx
    from onnx import helper, numpy_helper

    kernel, stride, padding, extra, dilation = shape["window"]
    half = onnx.TensorProto.FLOAT16
    nodes = [helper.make_node("Transpose", ["x"], ["rows"], perm=[0, 3, 1, 2]),
             helper.make_node("ConvTranspose", ["rows", "w"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4, output_padding=[extra] * 2,
                              dilations=[dilation] * 2, group=shape["groups"]),
             helper.make_node("Transpose", ["y"], ["out"], perm=[0, 2, 3, 1])]
    given = helper.make_tensor_value_info("x", half, [shape["batch"], shape["height"], shape["width"], shape["channels"]])
    graph = helper.make_graph(nodes, "transposed", [given], [helper.make_tensor_value_info("out", half, list(result))], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def prepared(shape, folder):
    """Writes the row's files; returns PyTorch's function that enqueues it."""
    import numpy
    import torch

    generator = torch.Generator().manual_seed(0)
    draw = lambda *size, scale=1.0: (torch.randn(*size, generator=generator) * scale).half().cuda()
    x = draw(shape["batch"], shape["channels"], shape["height"], shape["width"]).contiguous(memory_format=torch.channels_last)
    reach = shape["channels"] // shape["groups"] * shape["window"][0] ** 2
    w = draw(shape["channels"], shape["filters"] // shape["groups"], shape["window"][0], shape["window"][0], scale=reach**-0.5)
    reference = torch.nn.functional.conv_transpose2d(x.float(), w.float(), **settings(shape)).permute(0, 2, 3, 1).contiguous()
    write_model(os.path.join(folder, "model.onnx"), shape, w.cpu().numpy(), reference.shape)
    numpy.save(os.path.join(folder, "input_0.npy"), x.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    numpy.save(os.path.join(folder, "reference_0.npy"), reference.cpu().numpy())
    last = w.contiguous(memory_format=torch.channels_last)
    return lambda: torch.nn.functional.conv_transpose2d(x, last, **settings(shape))


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


def row(shape, clock, options, folder):
    replay = captured(prepared(shape, folder))
    form = json.dumps({"binary": os.path.abspath(options.ingot), "way": options.way, "tune": options.tune, "engine": "transposed"})
    ingot = peer_ingot.Peer(form, argparse.Namespace(device="cuda", precision="fp16", threads=0))
    facts = ingot.prepare({"folder": folder, "scratch": folder})
    rounds = []
    for _ in range(options.rounds):
        rounds.append({"cudnn_ms": stats.median(clock.batches(replay, options.seconds)), "ingot_ms": ingot.measure("device", options.seconds)["ms"]})
    ingot.drop()
    return {**shape, "flops": flops(shape), "rounds": rounds, "ratio": stats.median([r["cudnn_ms"] / r["ingot_ms"] for r in rounds]), "error": facts["error"],
            "kernels": facts.get("kernels"), "tactics": facts["steps_by"]}


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench transposed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", default=os.path.join(measure.ROOT, "build/release/ingot"))
    parser.add_argument("--way", choices=("untuned", "tuned", "own"), default="own")
    parser.add_argument("--tune", type=float, default=2)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--record", metavar="FILE")
    options = parser.parse_args(arguments)
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    clock, rows, failures = timing.CudaClock(), [], []
    for shape in drawn(options.count, options.seed):
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            try:
                rows.append(row(shape, clock, options, folder))
                print(f"{rows[-1]['ratio']:.2f}  {described(shape)}  {' '.join(rows[-1]['tactics'])}", flush=True)
            except Exception as error:
                failures.append(f"{described(shape)}: {str(error).strip().splitlines()[0]}")
                print(f"failed: {failures[-1]}", flush=True)
    record = {"machine": machine.describe("cuda"), "way": options.way, "rows": rows, "failures": failures}
    print("\n".join(table(record)))
    if options.record:
        with open(options.record, "w") as file:
            json.dump(record, file, indent=1)
    return 1 if failures else 0


def table(record):
    lines = [["transposed convolution", "cuDNN ms", "Ingot ms", "cuDNN/Ingot", "TFLOP/s", "error"]]
    for entry in sorted(record["rows"], key=lambda entry: entry["ratio"]):
        cudnn, ingot = (stats.median([r[name] for r in entry["rounds"]]) for name in ("cudnn_ms", "ingot_ms"))
        lines.append([described(entry), report.milliseconds(cudnn), report.milliseconds(ingot), f"{entry['ratio']:.2f}", f"{entry['flops'] / ingot / 1e9:.0f}", f"{entry['error']:.1e}"])
    ratios = [entry["ratio"] for entry in record["rows"]]
    if not ratios:
        return ["nothing was measured"]
    return [*report.columns(lines), f"{len(ratios)} shapes: cuDNN over Ingot {stats.geometric_mean(ratios):.3f} (geometric mean), {min(ratios):.2f} to {max(ratios):.2f}; "
            f"{sum(ratio >= 0.8 for ratio in ratios)} of them at least 0.8", *[f"failed: {failure}" for failure in record["failures"]]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
