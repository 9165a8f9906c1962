"""Two builds of Ingot on a CPU, in turns of one run: medians of whole calls, and of the pooling steps of small models that are nothing else.

    python3 bench/two_builds.py --before old/ingot --after build/release/ingot --pools \
        examples/digits/digits.onnx@image:450x1x8x8 face.onnx --turns 7 --record two.json
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time

# name: operator, dims as they lie in memory, whether the channels are innermost, attributes
SQUARE_2 = dict(kernel_shape=[2, 2], strides=[2, 2])
SQUARE_3 = dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
DENSE_3 = dict(kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
POOLS = {
    "max 3x3/2 of 112x112x64": ("MaxPool", [112, 112, 64], True, SQUARE_3),
    "max 2x2/2 of 56x56x128": ("MaxPool", [56, 56, 128], True, SQUARE_2),
    "max 3x3/1 of 28x28x192": ("MaxPool", [28, 28, 192], True, DENSE_3),
    "max 5x5/1 of 20x20x256": ("MaxPool", [20, 20, 256], True, dict(kernel_shape=[5, 5], pads=[2, 2, 2, 2])),
    "mean 2x2/2 of 28x28x128": ("AveragePool", [28, 28, 128], True, SQUARE_2),
    "mean 3x3/1 of 28x28x192": ("AveragePool", [28, 28, 192], True, DENSE_3),
    "mean of 7x7x2048": ("AveragePool", [7, 7, 2048], True, dict(kernel_shape=[7, 7])),
    "max 3x3/2 of 64x112x112": ("MaxPool", [64, 112, 112], False, SQUARE_3),
    "max 3x3/2 of 512x14x14": ("MaxPool", [512, 14, 14], False, SQUARE_3),
    "max 2x2/2 of 128x56x56": ("MaxPool", [128, 56, 56], False, SQUARE_2),
    "mean 3x3/1 of 192x28x28": ("AveragePool", [192, 28, 28], False, DENSE_3),
    "mean of 2048x7x7": ("AveragePool", [2048, 7, 7], False, dict(kernel_shape=[7, 7])),
}


def save_pool(path, operator, dims, channels_last, attributes):
    import onnx
    from onnx import TensorProto, helper
    around = [("x", "in", [0, 3, 1, 2]), ("out", "y", [0, 2, 3, 1])] if channels_last else []
    nodes = [helper.make_node("Transpose", [a], [b], perm=perm) for a, b, perm in around]
    nodes.insert(1, helper.make_node(operator, ["in" if around else "x"], ["out" if around else "y"], **attributes))
    tensors = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in (("x", dims), ("y", None))]
    model = helper.make_model(helper.make_graph(nodes, "pool", *tensors), opset_imports=[helper.make_opsetid("", 19)])
    model.ir_version = 8
    onnx.save(model, path)


def bench(ingot, model, shapes, threads, seconds, *more):
    command = [ingot, "bench", model, "--device", "cpu", "--threads", str(threads), "--seconds", str(seconds), *more]
    return subprocess.run(command + (["--shapes", shapes] if shapes else []), capture_output=True, text=True, check=True).stdout


def call_ms(ingot, model, shapes, threads, seconds):
    return json.loads(bench(ingot, model, shapes, threads, seconds, "--json"))["host_ms"]


def pool_ms(ingot, model, shapes, threads, seconds):
    lines = re.findall(r"^ *([0-9.]+) +[0-9.]+%  pool ", bench(ingot, model, shapes, threads, seconds, "--profile"), re.M)
    return sum(float(ms) for ms in lines)


def compare(options, measure, model, shapes, threads, seconds):
    builds = options.before, options.after
    turns = [[measure(ingot, model, shapes, threads, seconds) for ingot in builds] for _ in range(options.turns)]
    before, after = zip(*turns)
    row = {"before_ms": round(statistics.median(before), 4), "after_ms": round(statistics.median(after), 4),
           "before_best_ms": round(min(before), 4), "after_best_ms": round(min(after), 4)}
    row["ratio"] = round(row["after_ms"] / row["before_ms"], 3)
    row["best_ratio"] = round(row["after_best_ms"] / row["before_best_ms"], 3)
    row["load_average"] = round(os.getloadavg()[0], 1)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="model.onnx, or model.onnx@SHAPES")
    parser.add_argument("--before", required=True)
    parser.add_argument("--after", required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--pools", action="store_true", help="the pooling steps too, at batch 1 and 32")
    parser.add_argument("--record")
    options = parser.parse_args()
    record = {"date": time.strftime("%Y-%m-%d"), "turns": options.turns}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(model.partition("@")[0], model.partition("@")[2], os.path.basename(model), call_ms, options.seconds) for model in options.models]
        for name, (operator, dims, channels_last, attributes) in POOLS.items() if options.pools else ():
            for batch in (1, 32):
                path = os.path.join(folder, f"{len(jobs)}.onnx")
                save_pool(path, operator, [batch] + dims, channels_last, attributes)
                jobs.append((path, "", f"{name}, batch {batch}", pool_ms, options.seconds / 4))
        for path, shapes, name, measure, seconds in jobs:
            for threads in options.threads:
                row = record[f"{name}, {threads} threads"] = compare(options, measure, path, shapes, threads, seconds)
                print(f"{name}, {threads} threads: {row['before_ms']} {row['after_ms']} ms, {row['ratio']} (best {row['best_ratio']})", flush=True)
    if options.record:
        json.dump(record, open(options.record, "w"), indent=1)


if __name__ == "__main__":
    main()
