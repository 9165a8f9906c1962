"""Ingot, any version from 0.1 on: an engine is built, saved and loaded, and `ingot bench` measures it.

A binary that knows `facts` among its `--on-request` opens the engine once, with an empty kernel cache, as a user meets a saved one; tells how that went, and stays to be measured: with what a call costs the host, and where opening went, as far as the binary says it. An older one
is started for every answer, and gives what its JSON has: `device_ms` and `host_ms`. Ways: untuned, tuned, own (tuned, without cuBLASLt and cuDNN).
"""
import json
import os
import subprocess
import tempfile

import numpy

from bench import nodes, peer

NO_LIBRARIES = {"INGOT_CUBLASLT": "/none", "INGOT_CUDNN": "/none"}
OLD_BATCHES = 25  # whose median a version that does not say so gives as device_ms
OPENED = {"load_ms": "open_ms", "first_run_ms": "first_run_ms", "weights_bytes": "weights_bytes", "arena_bytes": "arena_bytes", "device_bytes": "device_bytes", "host_bytes": "host_bytes",
          "enqueue_ms": "enqueue_ms", "enqueue_fresh_ms": "enqueue_fresh_ms", "opening": "opening"}


def parse(text):
    """The JSON that `ingot bench --json` prints as its last line."""
    for line in reversed(text.strip().splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError("ingot bench printed no JSON")


def steps_by(steps):
    """{"operator:tactic": [steps, milliseconds]}"""
    by = {}
    for step in steps:
        key = f"{step['op']}:{step['tactic'].split()[0] if step['tactic'] else '-'}"
        count, total = by.get(key, (0, 0.0))
        by[key] = (count + 1, round(total + step["ms"], 5))
    return by


def run(binary, *arguments, environment=None):
    """What it prints."""
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"ingot {arguments[0]}: {last_line(done.stderr, done.returncode)}")
    return done.stdout


def last_line(text, code):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


def opened(found):
    """Facts, of what `ingot bench` says of opening, first run, memory and steps."""
    return {**{name: found[key] for name, key in OPENED.items() if key in found}, "steps": len(found["steps"]), "steps_by": steps_by(found["steps"])}


class Peer:
    def __init__(self, form, options):
        self.settings, self.options = json.loads(form), options
        self.binary = self.settings["binary"]
        self.environment = {**os.environ, **(NO_LIBRARIES if self.settings["way"] == "own" else {})}
        asked = self.output("bench", "--help")
        self.asks = "--on-request" in asked and " facts " in asked
        self.version = self.output("--version").strip()
        self.resident = self.held = None

    def output(self, *arguments, environment=None):
        return run(self.binary, *arguments, environment=environment or self.environment)

    def common(self):
        threads = ["--threads", str(self.options.threads)] if self.options.threads else []
        return ["--device", self.options.device, *threads]

    def build(self, request):
        """Makes the engine, with what building it took beside it, unless it is there from before. A `busy` build keeps its kernel cache, and later builds of the row and binary start with that."""
        self.engine = os.path.join(request["scratch"], f"{self.settings['engine']}.ingot")
        if os.path.exists(self.engine + ".json"):
            with open(self.engine + ".json") as file:
                return json.load(file)
        kept = os.path.join(request["scratch"], f"{self.settings['engine'].rsplit('-', 1)[-1]}.kernels")
        with tempfile.TemporaryDirectory() as fresh:
            full = os.path.isdir(kept)
            cache = kept if full or request.get("busy") else fresh
            os.makedirs(cache, exist_ok=True)
            facts = {"build_warm_s" if full else "build_s": self.timed_build(request, cache), "engine_bytes": os.path.getsize(self.engine), "busy": bool(request.get("busy"))}
            if self.settings["way"] == "untuned" and cache == fresh:
                facts["build_warm_s"] = self.timed_build(request, cache)
        with open(self.engine + ".json", "w") as file:
            json.dump(facts, file)
        return facts

    def timed_build(self, request, cache):
        precision = ["--fp16"] if self.options.precision == "fp16" else []
        tune = [] if self.settings["way"] == "untuned" else ["--tune", str(self.settings["tune"])]
        model = os.path.join(request["folder"], "model.onnx")
        environment = {**self.environment, "INGOT_CACHE_DIR": cache}
        return peer.timed(lambda: self.output("build", model, *self.common(), *precision, *tune, "-o", self.engine, "--quiet", environment=environment))[1]

    def prepare(self, request):
        facts = self.build(request)
        self.inputs = [word for path in peer.numbered(request["folder"], "input") for word in ("--input", path)]
        self.held = tempfile.TemporaryDirectory()
        counting = nodes.environment(self.held.name, self.options.device)
        environment = {**self.environment, "INGOT_CACHE_DIR": self.settings.get("cache") or os.path.join(self.held.name, "kernels"), **counting}
        path = os.path.join(self.held.name, "outputs.npz")
        facts.update(self.open(path, environment) if self.asks else self.first(path, environment))
        with numpy.load(path) as archive:
            facts["error"] = self.error(request, [archive[name] for name in archive.files])
        if request.get("beside"):  # what else took memory meanwhile, nobody knows
            facts.pop("device_bytes", None)
            facts["busy"] = True
        return {**facts, "version": self.version, "kernels": nodes.counted(self.held.name)}

    def error(self, request, outputs):
        return peer.error_against_reference(request["folder"], outputs)

    def open(self, path, environment):
        self.errors = os.path.join(self.held.name, "errors")
        with open(self.errors, "w") as errors:
            command = [*self.bench("--on-request"), "--warmup", "3"]
            self.resident = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        self.ask(f"outputs {path}")
        return opened(self.ask("facts"))

    def ask(self, line):
        try:
            self.resident.stdin.write(line + "\n")
            self.resident.stdin.flush()
            answer = self.resident.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self.resident.wait()
            with open(self.errors) as file:
                raise RuntimeError(f"ingot bench: {last_line(file.read(), code)}")
        return json.loads(answer)

    def first(self, path, environment):
        """Of a binary that does not stay: its results, and what a short run of its bench says."""
        self.output("run", self.engine, *self.common(), *self.inputs, "--output", path, "--quiet")
        return opened(parse(self.output(*self.bench("--seconds", "0.05", "--warmup", "1", "--profile")[1:], environment=environment)))

    def bench(self, *more):
        return [self.binary, "bench", self.engine, *self.common(), *self.inputs, "--json", *more]

    def measure(self, kind, seconds):
        return self.ask(f"{kind} {seconds}") if self.asks else self.measure_alone(kind, seconds)

    def measure_alone(self, kind, seconds):
        if kind not in ("device", "call"):
            return {"absent": "this version has no such measurement"}
        found = parse(self.output(*self.bench("--seconds", str(seconds))[1:]))
        both = {"device": {"ms": found["device_ms"], "samples": OLD_BATCHES}, "call": {"ms": found["host_ms"], "samples": found["runs"]}}
        return {**both[kind], "also": both}

    def drop(self):
        if self.resident:
            self.resident.stdin.close()
            self.resident.wait()
            self.resident.stdout.close()
        if self.held:
            self.held.cleanup()
        self.resident = self.held = None
