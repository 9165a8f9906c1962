"""`bench sites`: every distinct step of the zoo's networks alone: what it took in each way of Ingot's, against its floor.

An engine is built in each way (untuned; tuned, which may take cuBLASLt and cuDNN; own, tuned without them), and its profile times each step alone, with the epilogue that is fused into it. The optimised graph
says what a step reads, writes and multiplies, so that work and bytes are counted with that epilogue too. Equal steps are one site: same operator, shapes, attributes and program. Where the tuned engine takes
a library's kernel, its time stands against the own one's; where it takes an own one, the tuner measured the libraries' as slower, or they have none.

The floor is the larger of operations over the chip's rate and bytes over its copy bandwidth, both measured here, before anything else.
"""
import argparse
import os
import re
import sys
import tempfile

from bench import export, graph_text, measure, peer, peer_ingot, report, stats, wire, zoo

LIBRARIES = ("cublaslt", "cudnn", "onednn")
COPY_BYTES = 1 << 30


def is_library(tactic):
    return tactic.startswith(LIBRARIES)


def measured_rates(device, precision):
    """{"operations": a second of a large product, "bytes": a second of a large copy, read and written}."""
    if device == "cpu":
        import numpy

        a = numpy.random.default_rng(0).standard_normal((1536, 1536)).astype("float32")
        x = numpy.ones(COPY_BYTES // 32, dtype="float32")
        best = lambda run: min(peer.timed(run)[1] for _ in range(5))
        return {"operations": 2 * 1536**3 / best(lambda: a @ a), "bytes": 2 * x.nbytes / best(x.copy)}
    import torch

    from bench import timing

    clock = timing.CudaClock()
    kind = torch.float16 if precision == "fp16" else torch.float32
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=kind) for _ in range(2))
    x = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    product = stats.median(clock.batches(lambda: a @ b, 1.0))
    copy = stats.median(clock.batches(lambda: y.copy_(x), 0.5))
    return {"operations": 2 * 8192**3 / (product / 1e3), "bytes": 2 * COPY_BYTES / (copy / 1e3)}


class Way:
    def __init__(self, binary, way, options):
        self.binary, self.way, self.options = binary, way, options
        self.environment = {**os.environ, **(peer_ingot.NO_LIBRARIES if way == "own" else {})}

    def output(self, *arguments):
        return peer_ingot.run(self.binary, *arguments, environment=self.environment)

    def steps(self, folder, scratch):
        """[{"key", "op", "name", "flops", "bytes", "tactic", "ms"}]"""
        options, engine = self.options, os.path.join(scratch, "engine.ingot")
        tune = [] if self.way == "untuned" else ["--tune", str(options.tune)]
        precision = ["--fp16"] if options.precision == "fp16" else []
        self.output("build", os.path.join(folder, "model.onnx"), "--device", options.device, *precision, *tune, "-o", engine, "--quiet")
        nodes = graph_text.parse(self.output("inspect", engine, "--after", "--device", options.device))
        profiles = [peer_ingot.parse(self.output("bench", engine, "--device", options.device, "--json", "--seconds", "0.02", "--profile"))["steps"] for _ in range(options.rounds)]
        found = []
        for index, step in enumerate(profiles[0]):
            node = nodes.get(step["name"])
            if node:
                ms = stats.median([profile[index]["ms"] for profile in profiles])
                found.append({**node, "name": step["origins"] or step["name"], "tactic": step["tactic"], "ms": ms})
        return found


def floor_ms(site, rates):
    return max(site["flops"] / rates["operations"], site["bytes"] / rates["bytes"]) * 1e3


def add(sites, row, way, steps, rates):
    for step in steps:
        site = sites.setdefault(step["key"], {"op": step["op"], "name": f"{row}: {step['name'][:80]}", "key": step["key"], "flops": step["flops"], "bytes": step["bytes"], "rows": {}, "ways": {}})
        site["rows"].setdefault(str(row), 0)
        if way not in site["ways"]:
            site["floor_ms"] = floor_ms(site, rates)
        best = site["ways"].get(way)
        if best is None or step["ms"] < best["ms"]:
            site["ways"][way] = {"tactic": step["tactic"], "ms": step["ms"]}


def finished(site, counts):
    """With its fastest way, and the fastest own one against a library's where one was taken."""
    best = min(site["ways"].values(), key=lambda way: way["ms"])
    own = [way["ms"] for way in site["ways"].values() if not is_library(way["tactic"])]
    library = [way["ms"] for way in site["ways"].values() if is_library(way["tactic"])]
    return {**site, "rows": {row: counts[row, site["key"]] for row in site["rows"]}, "ms": best["ms"], "tactic": best["tactic"],
            "library_over_own": min(library) / min(own) if own and library else None}


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench sites", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(zoo.measured()))
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--ingot", default=os.path.join(measure.ROOT, "build/release/ingot"))
    parser.add_argument("--ways", help="default: untuned,tuned,own on a GPU, untuned on a CPU")
    parser.add_argument("--tune", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3, help="profiles of each engine")
    parser.add_argument("--work", default="/tmp/ingot-bench")
    parser.add_argument("--record", metavar="FILE", help="what `bench report --sites` reads")
    parser.add_argument("--top", type=int, default=40, help="sites in the table: those that lose most above their floors")
    options = parser.parse_args(arguments)
    options.precision = "fp16" if options.device == "cuda" else "fp32"
    ways = options.ways.split(",") if options.ways else ["untuned", "tuned", "own"] if options.device == "cuda" else ["untuned"]
    rates = measured_rates(options.device, options.precision)
    sites, counts, failures = {}, {}, []
    for row in zoo.rows(options.models.split(","), [int(b) for b in options.batches.split(",")]):
        for way in ways:
            try:
                folder = export.row_folder(options.work, row, options.precision == "fp16")
                with tempfile.TemporaryDirectory() as scratch:
                    steps = Way(os.path.abspath(options.ingot), way, options).steps(folder, scratch)
            except Exception as error:
                failures.append(f"{row} {way}: {wire.first_line(error)}")
                continue
            add(sites, row, way, steps, rates)
            for step in steps:
                counts[str(row), step["key"]] = sum(other["key"] == step["key"] for other in steps)
        print(f"{row}: {len(sites)} distinct sites so far", flush=True)
    record = {"device": options.device, "precision": options.precision, "rates": rates, "ways": ways, "failures": failures, "sites": [finished(site, counts) for site in sites.values()]}
    print("\n".join(table(record, options.top)))
    report.write_record(options.record, record)
    return 0


def lost_ms(site):
    return (site["ms"] - site["floor_ms"]) * sum(site["rows"].values())


def table(record, top):
    rates = record["rates"]
    lines = [["site", "times", *record["ways"], "fastest", "floor", "x floor", "lib/own", "by"]]
    for site in sorted(record["sites"], key=lost_ms, reverse=True)[:top]:
        times = [report.milliseconds(site["ways"][way]["ms"]) if way in site["ways"] else report.NONE for way in record["ways"]]
        lines.append([re.sub(r"\s+", " ", site["key"])[:64], str(sum(site["rows"].values())), *times, report.milliseconds(site["ms"]), report.milliseconds(site["floor_ms"]),
                      f"{site['ms'] / site['floor_ms']:.1f}" if site["floor_ms"] else report.NONE, f"{site['library_over_own']:.2f}" if site["library_over_own"] else report.NONE, site["tactic"][:28]])
    out = [f"{rates['operations'] / 1e12:.2f} TFLOP/s and {rates['bytes'] / 1e12:.3f} TB/s, measured here; {len(record['sites'])} distinct sites, those first that lose most above their floors", *report.columns(lines)]
    for op in sorted({site["op"] for site in record["sites"]}):
        of_op = [site for site in record["sites"] if site["op"] == op and site["floor_ms"]]
        if of_op:
            compared = [site["library_over_own"] for site in of_op if site["library_over_own"]]
            out.append(f"{op}: {len(of_op)} sites, {stats.geometric_mean([s['ms'] / s['floor_ms'] for s in of_op]):.2f} times the floor (geometric mean)"
                       + (f"; libraries over own kernels {stats.geometric_mean(compared):.3f} in {len(compared)} of them" if compared else ""))
    return out + [f"failed: {failure}" for failure in record["failures"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
