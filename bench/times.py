"""How long ResNet-50 takes to build with a cold and a warm kernel cache, and a saved engine to load and answer (fp16, untuned).

    python3 bench/times.py --ingot build/release/ingot --zoo zoo --record times.json
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def timed(command, environment):
    start = time.time()
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise SystemExit(f"{' '.join(command)}: {result.stderr.strip().splitlines()[-1]}")
    return time.time() - start, result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--record", required=True)
    options = parser.parse_args()
    import peers

    model = peers.export("resnet50", 1, options.zoo)
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, INGOT_CACHE_DIR=os.path.join(folder, "cache"))
        engine = os.path.join(folder, "resnet50.ingot")
        build = [options.ingot, "build", model, "--device", "cuda", "--fp16", "-o", engine, "--quiet"]
        timed([options.ingot, "--version"], environment)  # the binary's own pages
        cold, _ = timed(build, environment)
        warm = min(timed(build, environment)[0] for _ in range(3))
        empty = dict(os.environ, INGOT_CACHE_DIR=os.path.join(folder, "empty"))
        loads = []
        for _ in range(5):
            _, out = timed([options.ingot, "bench", engine, "--device", "cuda", "--json", "--seconds", "0.05", "--warmup", "1"], empty)
            result = json.loads(out)
            loads.append((result["open_ms"] + result["first_run_ms"], result["open_ms"], result["first_run_ms"]))
        load = min(loads)
        record = {"build_cold_s": round(cold, 3), "build_warm_s": round(warm, 3), "load_and_answer_ms": round(load[0], 1), "open_ms": round(load[1], 1), "first_run_ms": round(load[2], 1),
                  "engine_mib": round(os.path.getsize(engine) / 2**20, 1)}
    json.dump(record, open(options.record, "w"), indent=1)
    print(json.dumps(record))
    sys.exit(not (cold < 5 and warm < 1 and load[0] < 300))


if __name__ == "__main__":
    main()
