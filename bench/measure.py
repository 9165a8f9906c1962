"""`bench zoo`: networks beside every peer that is there, in rounds that interleave: A B C A B C ...

First everything is made that needs no quiet (ONNX files, compiled forms of PyTorch), several networks at once. Then one row after the other is measured, each GPU
of the machine taking rows of its own: all peers of a row are prepared, each in its own process, and take turns. All goes into a file that only grows:
the same command goes on where a time limit, or anything else, cut it. Exit code 3 says that it was cut.
"""
import argparse
import collections
import json
import os
import subprocess
import sys
import threading
import time

from bench import files, lane, machine, peers, report, store, zoo

CUT = 3
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=os.path.join(ROOT, "build/bench/zoo.jsonl"), help="the file of the run; gone on with where it exists")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where nvidia-smi finds a GPU")
    parser.add_argument("--ingot", action="append", metavar="NAME=PATH", help="a binary of Ingot; repeat for several. Default: build/release/ingot")
    parser.add_argument("--ways", help="of untuned,tuned,own; default: all three on a GPU, untuned on a CPU")
    parser.add_argument("--again", action="append", metavar="PEER", help="measured twice, for the noise; default: the first binary's first way")
    parser.add_argument("--peers", help="only those with these names or, where none has it, names that begin so; none: Ingot alone")
    parser.add_argument("--trtexec", help="TensorRT's program; default: looked for")
    parser.add_argument("--models", help="networks of the zoo, or files that end in .onnx; default: all 22")
    parser.add_argument("--batches", default=",".join(map(str, zoo.BATCHES)))
    parser.add_argument("--quick", action="store_true", help=f"twelve rows: {', '.join(zoo.QUICK)}; shorter rounds, less tuning")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="of one measurement; default: 0.3, quick: 0.15")
    parser.add_argument("--variant-rounds", type=int, help="rounds that also measure flushed caches, calls, fresh addresses; default: 2, quick: 1")
    parser.add_argument("--variant-seconds", type=float, default=0.08)
    parser.add_argument("--tune", type=float, help="seconds of tuning; default: 20, quick: 5")
    parser.add_argument("--precision", choices=("fp16", "fp32"), help="default: fp16 on a GPU, fp32 on a CPU")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; default: all cores")
    parser.add_argument("--gpus", type=int, help="default: all of the machine")
    parser.add_argument("--work", default="/tmp/ingot-bench", help="where exported networks, engines and compilers' caches are kept")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which nothing new is begun")
    parser.add_argument("--prepare-jobs", type=int, help="networks prepared at once; 1: each alone, so that max-autotune chooses on a quiet GPU")
    parser.add_argument("--retry", action="store_true", help="peers that failed in this run before try again")
    options = parser.parse_args(arguments)
    found = machine.gpus()
    options.device = options.device or ("cuda" if found else "cpu")
    on_gpu = options.device == "cuda"
    options.gpus = (options.gpus or len(found) or 1) if on_gpu else 1
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    options.seconds = options.seconds or (0.15 if options.quick else 0.3)
    options.tune = options.tune or (5 if options.quick else 20)
    options.variant_rounds = options.variant_rounds if options.variant_rounds is not None else (1 if options.quick else 2)
    options.ways = options.ways.split(",") if options.ways else list(peers.WAYS if on_gpu else ("untuned",))
    options.prepare_jobs = options.prepare_jobs or max(1, min(8, len(os.sched_getaffinity(0)) // 3))
    options.threads = options.threads or (0 if on_gpu else len(os.sched_getaffinity(0)))
    if any(way not in peers.WAYS for way in options.ways):
        parser.error(f"--ways takes of {','.join(peers.WAYS)}")
    default = os.path.join(ROOT, "build/release/ingot")
    options.ingot = options.ingot or ([default] if os.path.exists(default) else [])
    return options


def rows_of(options):
    names = options.models.split(",") if options.models else list(zoo.QUICK) if options.quick else zoo.measured()
    return zoo.rows(names, [int(batch) for batch in options.batches.split(",")])


class Run:
    """What lanes share: the store, the specs, the clock."""

    def __init__(self, options):
        self.options, self.start = options, time.time()
        self.session = f"{time.strftime('%Y-%m-%dT%H:%M:%S')}-{os.getpid()}"
        self.store = store.Store(options.run)
        self.specs, self.absent = peers.find(options)
        self.said = threading.Lock()
        os.makedirs(os.path.join(options.work, "logs"), exist_ok=True)
        self.environment = {**os.environ, "PYTHONPATH": ROOT + os.pathsep * bool(os.environ.get("PYTHONPATH")) + os.environ.get("PYTHONPATH", ""), "PYTHONUNBUFFERED": "1",
                            "TORCHINDUCTOR_CACHE_DIR": os.path.join(options.work, "inductor"), "TRITON_CACHE_DIR": os.path.join(options.work, "triton")}

    def out_of_time(self):
        return bool(self.options.limit) and time.time() - self.start > self.options.limit

    def say(self, text):
        with self.said:
            print(f"{time.time() - self.start:6.0f} s  {text}", flush=True)

    def of_row(self, row):
        return peers.of_row(self.specs, row, not row.is_file and zoo.ZOO[row.network].masked)

    def left(self, row):
        return self.store.rounds_left(row, [spec.name for spec in self.of_row(row)], self.options.rounds, self.options.retry)

    def begin(self):
        options = {key: value for key, value in vars(self.options).items() if key not in ("work", "run", "retry", "limit")}
        self.store.append({"type": "run", "session": self.session, "time": time.time(), "date": time.strftime("%Y-%m-%d %H:%M"), "options": options,
                           "machine": machine.describe(self.options.device), "peers": [{"name": s.name, "family": s.family} for s in self.specs], "absent": self.absent})
        for item in self.absent:
            self.say(f"absent: {item['peer']}: {item['why']}")


def prepare(run, rows):
    """One process a network, several at once; those whose export failed are recorded. False: out of time."""
    options, waiting, active, failed = run.options, collections.deque(), [], set()
    compiled = ",".join(spec.name for spec in run.specs if spec.module) if options.device == "cuda" else ""
    for name in dict.fromkeys(row.network for row in rows if not row.is_file):
        batches = ",".join(str(row.batch) for row in rows if row.network == name)
        waiting.append((name, [sys.executable, "-m", "bench.warm", name, "--batches", batches, "--folder", options.work, "--device", options.device, "--precision", options.precision]
                        + ["--compile", compiled] * bool(compiled)))
    count = 0
    while waiting or active:
        if run.out_of_time():
            for _, process, _ in active:
                process.kill()
            return None
        while waiting and len(active) < options.prepare_jobs:
            name, command = waiting.popleft()
            log = os.path.join(options.work, "logs", f"prepare-{name}.log")
            environment = {**run.environment, **({"CUDA_VISIBLE_DEVICES": str(count % options.gpus)} if options.device == "cuda" else {})}
            active.append((name, subprocess.Popen(command, stdout=open(log, "w"), stderr=subprocess.STDOUT, env=environment), log))
            count += 1
        time.sleep(0.2)
        for item in [item for item in active if item[1].poll() is not None]:
            active.remove(item)
            name, process, log = item
            if process.returncode:
                failed.add(name)
                last = ([line for line in open(log).read().splitlines() if line.strip()] or ["no message"])[-1]
                run.say(f"{name}: cannot be prepared: {last}")
                for row in rows:
                    if row.network == name:
                        for spec in run.of_row(row):
                            run.store.append({"type": "failure", "network": row.network, "batch": row.batch, "peer": spec.name, "session": run.session, "error": f"export: {last[:300]}"})
    return [row for row in rows if row.network not in failed]


def record_work(run, row, folder):
    path = os.path.join(folder, "work.json")
    if os.path.exists(path) and not any(r["type"] == "work" and r["network"] == row.network and r["batch"] == row.batch for r in run.store.records):
        with open(path) as file:
            counted = json.load(file)
        distinct = {}
        for step in counted["steps"]:
            same = distinct.setdefault(step["key"], {**step, "times": 0})
            same["times"] += 1
        run.store.append({"type": "work", "network": row.network, "batch": row.batch, "flops": counted["flops"], "uncounted": counted["uncounted"],
                          "steps": [{k: s[k] for k in ("op", "flops", "elements", "times", "key")} for s in distinct.values()]})


def main(arguments):
    options = parse(arguments)
    run = Run(options)
    rows = rows_of(options)
    run.begin()
    left = [row for row in rows if run.left(row)]
    run.say(f"{len(left)} of {len(rows)} rows to measure, {len(run.specs)} peers, {options.gpus if options.device == 'cuda' else 'no'} GPU")
    ready = prepare(run, left)
    if ready:
        run.say("prepared")
        folders = {row: files.row_folder(options, row) for row in ready}
        for row in ready:
            record_work(run, row, folders[row])
        queue = collections.deque(ready)
        lanes = [threading.Thread(target=lane.measure_rows, args=(run, queue, folders, gpu)) for gpu in range(options.gpus)]
        for thread in lanes:
            thread.start()
        for thread in lanes:
            thread.join()
    left = [row for row in rows if run.left(row)]
    run.store.close()
    report.print_table(store.read(options.run))
    if left:
        print(f"cut: {len(left)} of {len(rows)} rows are not complete; the same command goes on with them: {', '.join(map(str, left))}")
        return CUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
