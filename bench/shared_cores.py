"""Several processes on the same cores, each running one model over and over: N of Ingot, then N of ONNX Runtime, in turns. A turn's median is that of
its processes' medians, its 99th percentile the worst of theirs; what is compared is the median of the turns, all of one run.

    python3 bench/shared_cores.py --ingot build/release/ingot --model face.onnx --processes 3 --cores 0,1 --record shared.json
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

THEIRS = """
import json, sys, time
import numpy, onnxruntime
model, threads, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads, settings.log_severity_level = threads, 3
session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
random = numpy.random.default_rng(0)
inputs = {i.name: random.standard_normal([d if isinstance(d, int) else 1 for d in i.shape]).astype(numpy.float32) for i in session.get_inputs()}
for _ in range(10): session.run(None, inputs)
times, end = [], time.perf_counter() + seconds
while time.perf_counter() < end:
    start = time.perf_counter()
    session.run(None, inputs)
    times.append((time.perf_counter() - start) * 1e3)
times.sort()
print(json.dumps({"host_ms": times[len(times) // 2], "host_p99_ms": times[min(len(times) * 99 // 100, len(times) - 1)]}))
"""


def turn(command, options):
    """(median, p99) of one turn."""
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(options.processes)]
    results = [json.loads(process.communicate()[0]) for process in started]
    return statistics.median(r["host_ms"] for r in results), max(r["host_p99_ms"] for r in results)


def summary(turns):
    median, p99 = (statistics.median(t[k] for t in turns) for k in (0, 1))
    return {"median_ms": round(median, 3), "p99_ms": round(p99, 3), "p99_over_median": round(p99 / median, 2), "turns_ms": [[round(v, 3) for v in t] for t in turns]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--cores", default="0,1")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--record")
    options = parser.parse_args()
    cores = [int(core) for core in options.cores.split(",")]
    os.sched_setaffinity(0, cores)
    threads = str(len(cores))
    ours = [options.ingot, "bench", options.model, "--device", "cpu", "--threads", threads, "--seconds", str(options.seconds), "--json"]
    theirs = [sys.executable, "-c", THEIRS, options.model, threads, str(options.seconds)]
    turns = [(turn(ours, options), turn(theirs, options)) for _ in range(options.turns)]
    mine, peer = summary([t[0] for t in turns]), summary([t[1] for t in turns])
    record = {"model": options.model.rsplit("/", 1)[-1], "processes": options.processes, "cores": len(cores), "load_average": round(os.getloadavg()[0], 1),
              "date": time.strftime("%Y-%m-%d"), "ingot": mine, "onnxruntime": peer, "median_over_onnxruntime": round(mine["median_ms"] / peer["median_ms"], 3)}
    print(json.dumps(record))
    if options.record:
        json.dump(record, open(options.record, "w"), indent=1)


if __name__ == "__main__":
    main()
