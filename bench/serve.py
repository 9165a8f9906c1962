"""`bench serve`: 1 to 32 sessions of one engine, each in a thread of its own, all calling as fast as they can: throughput, and p50 and p99 of a call, host to host.

Beside it ONNX Runtime in the same form (one session, as many threads, since its sessions may be shared). Peers take turns, several times.
"""
import argparse
import os
import sys
import tempfile
import threading
import time

from bench import export, files, half, measure, peer, peer_ingot, report, stats, wire, zoo

SESSIONS = (1, 2, 4, 8, 16, 32)


def ingot(binary, engine, inputs, count, options):
    threads = ["--threads", str(options.threads)] if options.threads else []
    found = peer_ingot.parse(peer_ingot.run(binary, "bench", engine, "--device", options.device, *threads, *inputs, "--json", "--sessions", str(count), "--seconds", str(options.seconds)))
    return {key: found[key] for key in ("per_second", "p50_ms", "p99_ms")}


class OnnxRuntime:
    def __init__(self, folder, options):
        import onnxruntime

        on_gpu = options.device == "cuda"
        provider = "CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        self.session = onnxruntime.InferenceSession(half.path(folder) if on_gpu else os.path.join(folder, "model.onnx"), settings, providers=[provider])
        if self.session.get_providers()[0] != provider:
            raise RuntimeError(f"{provider} is not there")
        loaded = peer.load_inputs(folder)
        self.feeds = dict(zip([i.name for i in self.session.get_inputs()], peer.halved(loaded) if on_gpu else loaded))

    def __call__(self, count, seconds):
        times, barrier, end = [[] for _ in range(count)], threading.Barrier(count), []

        def run(mine):
            for _ in range(3):
                self.session.run(None, self.feeds)
            if barrier.wait() == 0:
                end.append(time.perf_counter() + seconds)
            barrier.wait()
            while time.perf_counter() < end[0]:
                mine.append(peer.timed(lambda: self.session.run(None, self.feeds))[1] * 1e3)

        threads = [threading.Thread(target=run, args=(mine,)) for mine in times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everything = [t for mine in times for t in mine]
        return {"per_second": len(everything) / seconds, "p50_ms": stats.median(everything), "p99_ms": stats.percentile(everything, 0.99)}


def contenders(folder, scratch, options):
    """{name: function(count) -> result}, and {name: why not}."""
    found, failures = {}, {}
    inputs = [word for path in peer.numbered(folder, "input") for word in ("--input", path)]
    for text in options.ingot:
        label, equals, path = text.partition("=")
        label, path = (label, path) if equals else ("ingot", text)
        engine = os.path.join(scratch, label + ".ingot")
        tune = ["--tune", str(options.tune)] if options.tune else []
        precision = ["--fp16"] if options.device == "cuda" else []
        try:
            peer_ingot.run(path, "build", os.path.join(folder, "model.onnx"), "--device", options.device, *precision, *tune, "-o", engine, "--quiet")
        except RuntimeError as error:
            failures[label] = str(error)
        else:
            found[label] = lambda count, path=path, engine=engine: ingot(path, engine, inputs, count, options)
    if options.peers != "none":
        try:
            session = OnnxRuntime(folder, options)
            found["ort"] = lambda count: session(count, options.seconds)
        except Exception as error:
            failures["ort"] = wire.first_line(error)
    return found, failures


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench serve", description=__doc__)
    parser.add_argument("--network", default="resnet50", help="of the zoo, or a file that ends in .onnx")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="of a session on the CPU")
    parser.add_argument("--sessions", default=",".join(map(str, SESSIONS)))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tune", type=float, default=0)
    parser.add_argument("--ingot", action="append", metavar="NAME=PATH")
    parser.add_argument("--peers", choices=("none",), help="none: Ingot alone")
    parser.add_argument("--work", default="/tmp/ingot-bench")
    parser.add_argument("--record", metavar="FILE")
    options = parser.parse_args(arguments)
    options.ingot = options.ingot or [os.path.join(measure.ROOT, "build/release/ingot")]
    row = zoo.rows([options.network], [options.batch])[0]
    folder = files.file_folder(options.work, row) if row.is_file else export.row_folder(options.work, row, options.device == "cuda")
    record = {"network": row.network, "batch": row.batch, "device": options.device, "threads": options.threads, "seconds": options.seconds, "rounds": options.rounds, "peers": {}}
    with tempfile.TemporaryDirectory() as scratch:
        found, record["failures"] = contenders(folder, scratch, options)
        for count in map(int, options.sessions.split(",")):
            for _ in range(options.rounds):
                for name, run in list(found.items()):
                    try:
                        result = run(count)
                        record["peers"].setdefault(name, {}).setdefault(str(count), []).append(result)
                    except Exception as error:
                        record["failures"][name] = f"{count} sessions: {wire.first_line(error)}"
                        del found[name]
    print("\n".join(table(record)))
    report.write_record(options.record, record)
    return 0


def table(record):
    lines = [["peer", "sessions", "calls/s", "p50 ms", "p99 ms", "p99/p50"]]
    for name, counts in record["peers"].items():
        for count, rounds in counts.items():
            middle = {key: stats.median([r[key] for r in rounds]) for key in ("per_second", "p50_ms", "p99_ms")}
            lines.append([name, count, f"{middle['per_second']:.1f}", report.milliseconds(middle["p50_ms"]), report.milliseconds(middle["p99_ms"]), f"{middle['p99_ms'] / middle['p50_ms']:.2f}"])
    return [f"{record['network']} b{record['batch']} on {record['device']}: sessions side by side, host to host; medians of {record['rounds']} rounds of {record['seconds']} s", *report.columns(lines),
            *[f"failed: {name}: {error}" for name, error in record["failures"].items()]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
