"""`bench zoo`: networks beside every peer that is there, in rounds that interleave: A B C A B C ...

First everything is made that needs no quiet (prepare.py). Then one row after the other is measured, each GPU
of the machine taking rows of its own: all peers of a row are prepared, each in its own process, and take turns. All goes into a file that only grows:
the same command goes on where a time limit, or anything else, cut it, on this machine or another: only rows that are not whole are prepared and measured. Exit code 3 says that it was cut.
"""
import argparse
import collections
import json
import os
import secrets
import signal
import sys
import threading
import time

from bench import files, lane, machine, peers, prepare, report, stats, store, zoo

CUT = 3
PREPARE_LIMIT = 900  # seconds
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench zoo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default=os.path.join(ROOT, "build/bench/zoo.jsonl"), help="the file of the run; gone on with where it exists")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where nvidia-smi finds a GPU")
    parser.add_argument("--ingot", action="append", metavar="NAME=PATH", help="a binary of Ingot; repeat for several. Default: build/release/ingot")
    parser.add_argument("--ways", help="of untuned,tuned,own, or NAME:WAY for one binary alone; default: all three on a GPU, quick: the first two; untuned on a CPU")
    parser.add_argument("--again", action="append", metavar="PEER", help="measured twice, for the noise; default: the first binary's first way")
    parser.add_argument("--peers", help="only those with these names or, where none has it, names that begin so; none: Ingot alone")
    parser.add_argument("--trtexec", help="TensorRT's program; default: looked for")
    parser.add_argument("--models", help="networks of the zoo, or files that end in .onnx; default: all 22")
    parser.add_argument("--batches", default=",".join(map(str, zoo.BATCHES)))
    parser.add_argument("--quick", action="store_true", help=f"twelve rows: {', '.join(zoo.QUICK)}; shorter rounds, less tuning, no max-autotune")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, help="of one measurement; default: 0.3, quick: 0.1")
    parser.add_argument("--variant-rounds", type=int, help="rounds that also measure flushed caches, calls, fresh addresses; default: 2, quick: 1")
    parser.add_argument("--variant-seconds", type=float, help="default: 0.08, quick: 0.03")
    parser.add_argument("--tune", type=float, help="seconds of tuning; default: 20, quick: 3")
    parser.add_argument("--precision", choices=("fp16", "fp32"), help="default: fp16 on a GPU, fp32 on a CPU")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; default: all cores")
    parser.add_argument("--gpus", type=int, help="how many; default: all that CUDA_VISIBLE_DEVICES lets through")
    parser.add_argument("--work", default="/tmp/ingot-bench", help="where exported networks, engines and compilers' caches are kept; found again where the folder is brought along, compiled code by the same PyTorch and Triton on the same GPU")
    parser.add_argument("--limit", type=float, default=0, help="seconds after which nothing new is begun")
    parser.add_argument("--prepare-jobs", type=int, help="what is prepared at once; default: half the cores, as far as GPU memory goes; 1: one after the other, so that max-autotune chooses on a quiet GPU")
    parser.add_argument("--prepare-limit", type=float, metavar="SECONDS", help=f"what takes longer to prepare is ended, and its peers are named as failed in its rows; 0: no limit; default: {PREPARE_LIMIT}, or half of --limit "
                        "where that is less. A run that is gone on with does not try such again, unless this names more than what ended it, or --retry is given")
    parser.add_argument("--networks", type=int, help="so many are prepared before their rows are measured; default: 6, with --limit 2, or as many as GPUs")
    parser.add_argument("--prepare-only", action="store_true", help="measures nothing: a later command with the same --work does, and finds all made that is made before")
    parser.add_argument("--retry", action="store_true", help="peers that failed in this run before try again")
    options = parser.parse_args(arguments)
    found = machine.gpus()
    options.device = options.device or ("cuda" if found else "cpu")
    on_gpu = options.device == "cuda"
    taken = found[:options.gpus] if options.gpus else found
    options.gpus = [gpu["index"] for gpu in taken] or [0]  # their indices; of a CPU its one lane
    options.precision = options.precision or ("fp16" if on_gpu else "fp32")
    options.seconds = options.seconds or (0.1 if options.quick else 0.3)
    options.tune = options.tune or (3 if options.quick else 20)
    options.variant_seconds = options.variant_seconds or (0.03 if options.quick else 0.08)
    options.variant_rounds = options.variant_rounds if options.variant_rounds is not None else (1 if options.quick else 2)
    options.ways = options.ways.split(",") if options.ways else list(("untuned",) if not on_gpu else ("untuned", "tuned") if options.quick else peers.WAYS)
    room = sum(int((gpu["memory_mib"] or 0) * 2**20 / prepare.GPU_BYTES) for gpu in taken) if on_gpu else 1 << 20
    options.prepare_jobs = options.prepare_jobs or max(1, min(len(os.sched_getaffinity(0)) // 2, room or 1))
    options.networks = options.networks or max(2 if options.limit and not options.quick else 6, len(options.gpus))
    options.threads = options.threads or (0 if on_gpu else len(os.sched_getaffinity(0)))
    if any(word.rpartition(":")[2] not in peers.WAYS for word in options.ways):
        parser.error(f"--ways takes of {','.join(peers.WAYS)}, or of NAME:WAY")
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
        self.session = f"{time.strftime('%Y-%m-%dT%H:%M:%S')}-{secrets.token_hex(3)}"
        self.store = store.Store(options.run)
        self.prepare_limit = options.prepare_limit if options.prepare_limit is not None else min(PREPARE_LIMIT, options.limit / 2 or PREPARE_LIMIT)
        self.specs, self.absent = peers.find(options)
        self.said = threading.Lock()
        self.stopped = False  # told to end: what fails from then on is no failure of a peer
        self.unusable, self.longest_preparation = {}, 0.0  # {peer: why it can run no row here}; seconds
        os.makedirs(os.path.join(options.work, "logs"), exist_ok=True)
        self.environment = {**os.environ, "PYTHONPATH": ROOT + os.pathsep * bool(os.environ.get("PYTHONPATH")) + os.environ.get("PYTHONPATH", ""), "PYTHONUNBUFFERED": "1",
                            "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "TORCHINDUCTOR_COMPILE_THREADS": "2"}
        if options.device == "cuda":  # a row's peers are made ready at once: none shall take all cores for its host's arithmetic
            self.environment.update({"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"})

    def out_of_time(self, needed=0):
        """Whether no time is left for what takes so many seconds."""
        return self.stopped or bool(self.options.limit) and time.time() - self.start + needed > self.options.limit

    def expected(self, network=None):
        """Seconds of a row: what others of its network took, or, before any has, the median of all; 0 before the first."""
        took = [(record["network"], sum(record["parts"].values())) for record in self.store.records if record["type"] == "spent"]
        own = [seconds for name, seconds in took if name == network]
        return stats.median(own or [seconds for _, seconds in took]) if took else 0.0

    def say(self, text):
        with self.said:
            print(f"{time.time() - self.start:6.0f} s  {text}", flush=True)

    def of_row(self, row):
        return peers.of_row(self.specs, row, not row.is_file and zoo.ZOO[row.network].masked)

    def left(self, row):
        return not self.store.complete(row, [spec.name for spec in self.of_row(row)], self.options.rounds, self.tries_again)

    def trying(self, row):
        """Its peers, but those that failed in it and shall not try again."""
        records = self.store.of(row)
        return [spec for spec in self.of_row(row) if not store.gave_up(records, spec.name, self.tries_again)]

    def tries_again(self, failure):
        """With --retry, or a --prepare-limit larger than the one that ended it; never twice in one start of the command."""
        limit, before = self.options.prepare_limit, failure.get("prepare_limit")
        longer = limit is not None and before is not None and (limit == 0 or limit > before)
        return failure["session"] != self.session and (self.options.retry or longer)

    def begin(self):
        for before in [r["options"] for r in self.store.records if r["type"] == "run"][-1:]:
            for name in ("device", "precision"):
                if before[name] != getattr(self.options, name):
                    self.store.close()
                    raise SystemExit(f"{self.options.run} was begun with --{name} {before[name]}: name another file with --run")
        options = {key: value for key, value in vars(self.options).items() if key not in ("work", "run", "retry", "limit", "prepare_only")}
        self.store.append({"type": "run", "session": self.session, "time": time.time(), "date": time.strftime("%Y-%m-%d %H:%M"), "options": options,
                           "machine": machine.describe(self.options.device), "peers": [{"name": s.name, "family": s.family} for s in self.specs], "absent": self.absent})
        for item in self.absent:
            self.say(f"absent: {item['peer']}: {item['why']}")


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
    run.say(f"{len(left)} of {len(rows)} rows to measure, {len(run.specs)} peers, {len(options.gpus) if options.device == 'cuda' else 'no'} GPU")
    if options.prepare_only:
        return prepare_only(run, left)
    lanes = [lane.Lane(run, gpu) for gpu in (options.gpus if left else [])]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended too
    try:
        measure(run, left, lanes)
    finally:
        run.stopped = True
        for each in lanes:
            each.close()
    left = [row for row in rows if run.left(row)]
    run.store.close()
    report.print_table(store.read(options.run))
    if left:
        print(f"cut: {len(left)} of {len(rows)} rows are not complete; the same command goes on with them: {', '.join(map(str, left))}")
        return CUT
    return 0


def prepare_only(run, rows):
    whole = prepare.prepare(run, rows) is not None
    run.store.close()
    print(f"{'prepared' if whole else 'cut: not all is prepared'}; the same command without --prepare-only measures {len(rows)} rows")
    return 0 if whole else CUT


def measure(run, rows, lanes):
    """So many networks at a time that what a time limit cuts has rows measured, not only things prepared: those may not be there when the run goes on."""
    for each in lanes:
        each.start(rows)
    for group in by_networks(rows, run.options.networks):
        start = time.time()
        if run.out_of_time(run.longest_preparation + run.expected()):
            break
        ready = prepare.prepare(run, group)
        run.longest_preparation = max(run.longest_preparation, time.time() - start)
        if ready:
            run.say("prepared; now one row after the other")
            measure_prepared(run, ready, lanes)


def by_networks(rows, count):
    """Rows of so many networks at a time."""
    names = list(dict.fromkeys(row.network for row in rows))
    return [[row for row in rows if row.network in names[first:first + count]] for first in range(0, len(names), count)]


def measure_prepared(run, rows, lanes):
    folders = {row: files.row_folder(run.options, row) for row in rows}
    for row in rows:
        record_work(run, row, folders[row])
    queue = collections.deque(rows)
    threads = [threading.Thread(target=lane.measure_rows, args=(each, queue, folders)) for each in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
