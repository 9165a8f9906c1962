"""Ingot beside ONNX Runtime's CPU provider on the same cores in one run: one model, batch 1, fp32. The two take turns, and each turn's median
counts; what is compared is the best turn of each, so that a busy machine disturbs both alike.

    python3 bench/cpu_peers.py --ingot build/release/ingot --model resnet50.onnx --threads 2 --record cpu.json
"""
import argparse
import json
import statistics
import subprocess
import time

import numpy
import onnxruntime


def onnxruntime_ms(session, inputs, seconds):
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        session.run(None, inputs)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def ingot_ms(options, seconds):
    command = [options.ingot, "bench", options.model, "--device", "cpu", "--threads", str(options.threads), "--seconds", str(seconds), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["host_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--record")
    options = parser.parse_args()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
    inputs = {i.name: numpy.random.default_rng(0).standard_normal([d if isinstance(d, int) else 1 for d in i.shape]).astype(numpy.float32) for i in session.get_inputs()}
    onnxruntime_ms(session, inputs, 0.5)
    turns = [(onnxruntime_ms(session, inputs, 2), ingot_ms(options, 2)) for _ in range(options.turns)]
    theirs, ours = min(t for t, _ in turns), min(o for _, o in turns)
    record = {"model": options.model.rsplit("/", 1)[-1], "threads": options.threads, "onnxruntime": onnxruntime.__version__, "onnxruntime_ms": round(theirs, 2),
              "ingot_ms": round(ours, 2), "ingot_over_onnxruntime": round(ours / theirs, 3), "turns_ms": [[round(t, 2), round(o, 2)] for t, o in turns]}
    print(json.dumps(record))
    if options.record:
        json.dump(record, open(options.record, "w"), indent=1)


if __name__ == "__main__":
    main()
