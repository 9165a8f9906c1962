"""`bench loop`: what a step of a loop costs over its kernels. Greedy decoders (bench/decoders.py) whose steps are one Loop, called whole; beside each its body as a model of its own, replayed.

`call` is a whole call, host to host, over its steps; `queued` the same with calls enqueued one behind the other, so that a loop which leaves everything on the device is not waited for. `step` is the body alone, a recorded graph enqueued
back to back: its kernels and what lies between them. `over` is what `call` has beyond `step`: the loop's own cost, and a sixty-fourth of what a call costs that has no loop. Several builds take turns.
"""
import argparse
import os
import sys
import tempfile

from bench import decoders, machine, measure, peer, peer_ingot, peers, report, stats, wire


def built(binary, folder, scratch, options):
    """An engine of the folder's model; the words that bench is called with."""
    engine = os.path.join(scratch, "-".join(os.path.relpath(folder, options.models).split(os.sep)) + ".ingot")
    precision = ["--fp16"] if options.fp16 else []
    tune = ["--tune", str(options.tune)] if options.tune else []
    peer_ingot.run(binary, "build", os.path.join(folder, "model.onnx"), "--device", options.device, *precision, *tune, "-o", engine, "--quiet")
    threads = ["--threads", str(options.threads)] if options.threads else []
    inputs = [word for path in peer.numbered(folder, "input") for word in ("--input", path)]
    return ["bench", engine, "--device", options.device, *threads, *inputs, "--json", "--seconds", str(options.seconds)]


def microseconds(binary, words, options):
    found = {name: peer_ingot.parse(peer_ingot.run(binary, *words[name])) for name in ("decoder", "step")}
    steps = options.sizes.steps
    times = {"call": found["decoder"]["host_ms"] * 1e3 / steps, "queued": found["decoder"]["device_ms"] * 1e3 / steps, "step": found["step"]["device_ms"] * 1e3}
    return {**times, "over": times["call"] - times["step"]}


def row(kind, condition, options, scratch):
    folder = os.path.join(options.models, f"{kind}-{condition}")
    if not os.path.exists(os.path.join(folder, "step", "model.onnx")):
        decoders.write(kind, condition, folder, options.sizes)
    entry, words = {"decoder": kind, "condition": condition, "rounds": {}, "failures": {}}, {}
    for label, path in options.ingot:
        mine = os.path.join(scratch, label)
        os.makedirs(mine, exist_ok=True)
        try:
            words[label] = {name: built(path, os.path.join(folder, name), mine, options) for name in ("decoder", "step")}
        except (OSError, RuntimeError) as error:
            entry["failures"][label] = wire.first_line(error)
    for _ in range(options.rounds):
        for label, path in options.ingot:
            if label in words:
                entry["rounds"].setdefault(label, []).append(microseconds(path, words[label], options))
    return entry


def named(text):
    label, equals, path = text.partition("=")
    return (label, path) if equals else ("ingot", text)


def table(record):
    lines = [["decoder", "condition", "ingot", "call us", "queued us", "step us", "over us"]]
    for entry in record["rows"]:
        for label, rounds in entry["rounds"].items():
            middle = [f"{stats.median([times[name] for times in rounds]):.2f}" for name in ("call", "queued", "step", "over")]
            lines.append([entry["decoder"], entry["condition"], label, *middle])
    failures = [f"failed: {entry['decoder']} {entry['condition']}, {label}: {error}" for entry in record["rows"] for label, error in entry["failures"].items()]
    return [f"microseconds a step of {record['sizes']['steps']}, on {record['device']} in {record['precision']}; medians of {record['round_count']} rounds", *report.columns(lines), *failures]


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench loop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--threads", type=int, default=0, help="of a CPU; default: all cores")
    parser.add_argument("--fp16", action="store_true")
    parser.add_argument("--ingot", action="append", metavar="NAME=PATH")
    parser.add_argument("--kinds", default=",".join(decoders.KINDS))
    parser.add_argument("--conditions", default=",".join(decoders.CONDITIONS))
    parser.add_argument("--models", metavar="FOLDER", help="what is there is measured, what is not is made there, which needs onnx; default: made anew")
    parser.add_argument("--make", action="store_true", help="the models alone, to be measured elsewhere")
    parser.add_argument("--tune", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    for name, default in decoders.SIZES._asdict().items():
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--record", metavar="FILE")
    options = parser.parse_args(arguments)
    options.ingot = [named(text) for text in options.ingot or [os.path.join(measure.ROOT, "build/release/ingot")]]
    options.sizes = decoders.Sizes(**{name: getattr(options, name) for name in decoders.Sizes._fields})
    rows = [(kind, condition) for kind in options.kinds.split(",") for condition in options.conditions.split(",")]
    if any(kind not in decoders.KINDS or condition not in decoders.CONDITIONS for kind, condition in rows):
        parser.error(f"--kinds takes of {','.join(decoders.KINDS)}, --conditions of {','.join(decoders.CONDITIONS)}")
    if options.sizes.steps > options.sizes.length or options.sizes.width % options.sizes.heads:
        parser.error("there are more steps than the caches are long, or the heads do not divide the width")
    if options.make and not options.models:
        parser.error("--make needs --models")
    with tempfile.TemporaryDirectory() as scratch:
        options.models = options.models or os.path.join(scratch, "models")
        if options.make:
            for kind, condition in rows:
                decoders.write(kind, condition, os.path.join(options.models, f"{kind}-{condition}"), options.sizes)
            return 0
        record = {"machine": machine.describe(options.device), "device": options.device, "precision": "fp16" if options.fp16 else "fp32", "sizes": options.sizes._asdict(), "round_count": options.rounds, "tune": options.tune,
                  "binaries": {label: peers.identity(path) for label, path in options.ingot if os.path.isfile(path)}, "rows": []}
        for kind, condition in rows:
            record["rows"].append(row(kind, condition, options, scratch))
            report.write_record(options.record, record)
    print("\n".join(table(record)))
    return 1 if any(entry["failures"] for entry in record["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
