"""Models quantised by ONNX Runtime's quantize_dynamic, on Ingot's CPU and on ONNX Runtime's in turns of one run: a stack of products of a transformer's
size and a small network of convolutions, made here with random weights. The medians of both are compared, best turn of each.

    python3 bench/int8_peers.py --ingot build/release/ingot --threads 2 --record int8.json
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

random = numpy.random.default_rng(0)


def weights(*shape):
    return (random.standard_normal(shape) / numpy.sqrt(numpy.prod(shape[1:] if len(shape) == 4 else shape[:1]))).astype(numpy.float32)


def save(path, nodes, values, x, y):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)], [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
                              [numpy_helper.from_array(value, name) for name, value in values.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def products(path):
    nodes, values, last = [], {}, "x"
    for i in range(6):
        values[f"w{i}"], values[f"b{i}"] = weights(*((768, 3072) if i % 2 == 0 else (3072, 768))), weights(3072 if i % 2 == 0 else 768)
        out = f"r{i}" if i < 5 else "y"
        nodes += [helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]), helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]), helper.make_node("Relu", [f"a{i}"], [out])]
        last = out
    save(path, nodes, values, [128, 768], [128, 768])


def convolutions(path):
    values, channels, last = {"s": weights(16, 3, 3, 3)}, 16, "c"
    nodes = [helper.make_node("Conv", ["x", "s"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2])]
    for i in range(6):
        wider, stride = (channels * 2, 2) if i % 2 == 0 else (channels, 1)
        values[f"w{i}"] = weights(wider, channels, 3, 3)
        out = f"r{i}" if i < 5 else "y"
        nodes += [helper.make_node("Conv", [last, f"w{i}"], [f"m{i}"], pads=[1, 1, 1, 1], strides=[stride, stride]), helper.make_node("Relu", [f"m{i}"], [out])]
        channels, last = wider, out
    save(path, nodes, values, [1, 3, 224, 224], [1, channels, 14, 14])


def theirs_ms(session, inputs, seconds):
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def ours_ms(options, model, seconds):
    command = [options.ingot, "bench", model, "--device", "cpu", "--threads", str(options.threads), "--seconds", str(seconds), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["host_ms"]


def measure(options, model):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    inputs = {i.name: random.standard_normal(i.shape).astype(numpy.float32) for i in session.get_inputs()}
    theirs_ms(session, inputs, 0.5)
    turns = [(theirs_ms(session, inputs, options.seconds), ours_ms(options, model, options.seconds)) for _ in range(options.turns)]
    theirs, ours = min(t for t, _ in turns), min(o for _, o in turns)
    return {"onnxruntime_ms": round(theirs, 3), "ingot_ms": round(ours, 3), "ingot_over_onnxruntime": round(ours / theirs, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--record")
    options = parser.parse_args()
    record = {"threads": options.threads, "onnxruntime": onnxruntime.__version__, "load_average": round(os.getloadavg()[0], 1), "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in (("products", products), ("convolutions", convolutions)):
            path = os.path.join(folder, name + ".onnx")
            make(path)
            for kind in (QuantType.QInt8, QuantType.QUInt8):
                if name == "convolutions" and kind == QuantType.QInt8:
                    continue  # ONNX Runtime has no ConvInteger of signed weights
                quantised = os.path.join(folder, f"{name}_{kind.name}.onnx")
                quantize_dynamic(path, quantised, weight_type=kind)
                record[f"{name}_{kind.name}"] = measure(options, quantised)
    print(json.dumps(record))
    if options.record:
        json.dump(record, open(options.record, "w"), indent=1)


if __name__ == "__main__":
    main()
