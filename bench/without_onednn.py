"""What oneDNN is worth: models on Ingot's CPU with the library and without it, in turns of one run; the best median of each.

    python3 bench/without_onednn.py --ingot build/release/ingot resnet50.onnx mobilenet_v2.onnx --record own.json
"""
import argparse
import json
import os
import subprocess
import time


def median_ms(options, model, threads, library):
    command = [options.ingot, "bench", model, "--device", "cpu", "--threads", str(threads), "--seconds", str(options.seconds), "--json"]
    environment = dict(os.environ) if library else {**os.environ, "INGOT_ONEDNN": "/none"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)["host_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--record")
    options = parser.parse_args()
    record = {"date": time.strftime("%Y-%m-%d"), "load_average": round(os.getloadavg()[0], 1)}
    for model in options.models:
        for threads in options.threads:
            turns = [[median_ms(options, model, threads, library) for library in (True, False)] for _ in range(options.turns)]
            with_it, without = (min(turn[i] for turn in turns) for i in range(2))
            name = os.path.splitext(os.path.basename(model))[0]
            record[f"{name}, {threads} threads"] = {"onednn_ms": round(with_it, 2), "own_ms": round(without, 2), "own_over_onednn": round(without / with_it, 2)}
    print(json.dumps(record))
    if options.record:
        json.dump(record, open(options.record, "w"), indent=1)


if __name__ == "__main__":
    main()
