"""Ingot, any version from 0.1 on: an engine is built, saved and loaded, and `ingot bench` measures it.

A binary that knows `--on-request` stays and answers for every kind; an older one is started for every round, and gives what its JSON has: `device_ms` and `host_ms`.
Ways: untuned, tuned, own (tuned, without cuBLASLt and cuDNN).
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

import numpy

from bench import peer, wire

NO_LIBRARIES = {"INGOT_CUBLASLT": "/none", "INGOT_CUDNN": "/none"}


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


class Peer:
    def __init__(self, form, options):
        self.settings, self.options = json.loads(form), options
        self.binary = self.settings["binary"]
        self.environment = {**os.environ, **(NO_LIBRARIES if self.settings["way"] == "own" else {})}
        self.asks = "--on-request" in self.output("bench", "--help")
        self.resident = None

    def output(self, *arguments, environment=None):
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, env=environment or self.environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise RuntimeError(f"ingot {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
        return done.stdout

    def common(self):
        threads = ["--threads", str(self.options.threads)] if self.options.threads else []
        return ["--device", self.options.device, *threads]

    def build(self, model):
        precision = ["--fp16"] if self.options.precision == "fp16" else []
        tune = [] if self.settings["way"] == "untuned" else ["--tune", str(self.settings["tune"])]
        with tempfile.TemporaryDirectory() as cache:
            environment = {**self.environment, "INGOT_CACHE_DIR": cache}
            self.output("--version")  # the binary's own pages
            build = ["build", model, *self.common(), *precision, *tune, "-o", self.engine, "--quiet"]
            _, cold = peer.timed(lambda: self.output(*build, environment=environment))
            facts = {"build_s": cold, "engine_bytes": os.path.getsize(self.engine)}
            if not tune:
                again = [self.engine + ".again" if word == self.engine else word for word in build]
                facts["build_warm_s"] = peer.timed(lambda: self.output(*again, environment=environment))[1]
                os.remove(self.engine + ".again")
        return facts

    def prepare(self, request):
        self.folder = request["folder"]
        self.engine = os.path.join(request["scratch"], f"{self.settings['engine']}.ingot")
        facts_path = self.engine + ".json"
        if not os.path.exists(facts_path):
            facts = self.build(request.get("model") or os.path.join(self.folder, "model.onnx"))
            with open(facts_path, "w") as file:
                json.dump(facts, file)
        with open(facts_path) as file:
            facts = json.load(file)
        self.inputs = [word for path in peer.numbered(self.folder, "input") for word in ("--input", path)]
        facts["error"] = peer.error_against_reference(self.folder, self.results(request["scratch"]))
        facts.update(self.first(request))
        facts["version"] = self.output("--version").strip()
        return facts

    def results(self, scratch):
        path = os.path.join(scratch, "outputs.npz")
        self.output("run", self.engine, *self.common(), *self.inputs, "--output", path, "--quiet")
        with numpy.load(path) as archive:
            return [archive[name] for name in archive.files]

    def first(self, request):
        """Load, first run, memory, and the steps, from a process of its own with an empty kernel cache: as a user meets a saved engine."""
        with tempfile.TemporaryDirectory() as cache:
            environment = {**self.environment, "INGOT_CACHE_DIR": cache, **count_nodes(request["scratch"], self.options.device)}
            text = self.output("bench", self.engine, *self.common(), *self.inputs, "--json", "--seconds", "0.05", "--warmup", "1", "--profile", environment=environment)
        found = parse(text)
        kept = {"load_ms": found["open_ms"], "first_run_ms": found["first_run_ms"], "weights_bytes": found["weights_bytes"], "arena_bytes": found["arena_bytes"]}
        kept.update({key: found[key] for key in ("device_bytes", "host_bytes") if key in found})
        kept.update({"steps": len(found["steps"]), "steps_by": steps_by(found["steps"])})
        nodes = os.path.join(request["scratch"], "nodes")
        if os.path.exists(nodes):
            with open(nodes) as file:
                kept["kernels"] = max([int(count) for count in file.read().split()], default=None)  # recorded anew where addresses changed
            os.remove(nodes)
        return kept

    def bench(self, *more):
        return [self.binary, "bench", self.engine, *self.common(), *self.inputs, "--json", *more]

    def measure(self, kind, seconds):
        if not self.asks:
            return self.measure_alone(kind, seconds)
        if self.resident is None:
            self.resident = subprocess.Popen(self.bench("--on-request"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        self.resident.stdin.write(f"{kind} {seconds}\n")
        self.resident.stdin.flush()
        line = self.resident.stdout.readline()
        if not line:
            raise wire.Gone(f"ingot bench ended with exit code {self.resident.wait()}")
        return json.loads(line)

    def measure_alone(self, kind, seconds):
        if kind not in ("device", "call"):
            return {"absent": "this version has no such measurement"}
        done = subprocess.run(self.bench("--seconds", str(seconds)), capture_output=True, text=True, env=self.environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"ingot bench: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        found = parse(done.stdout)
        both = {"device": {"ms": found["device_ms"], "samples": found["runs"]}, "call": {"ms": found["host_ms"], "samples": found["runs"]}}
        return {**both[kind], "also": both}

    def drop(self):
        if self.resident:
            self.resident.stdin.close()
            self.resident.wait()
            self.resident.stdout.close()
            self.resident = None


SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count_nodes.c")


def count_nodes(scratch, device):
    """The environment under which a binary of any version tells the kernel nodes of the graph that it records; empty where there is no compiler or no GPU.

    The library that Ingot opens as the driver is then one of a single function of its own, which counts and passes on; for all others the loader finds libcuda."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if device != "cuda" or not compiler:
        return {}
    driver = os.environ.get("INGOT_LIBCUDA") or libcuda()
    library = os.path.join(scratch, "count_nodes.so")
    made = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SHIM, f'-DDRIVER="{driver}"', "-Wl,--no-as-needed", driver, f"-Wl,-rpath,{os.path.dirname(driver)}"], capture_output=True, text=True) if driver else None
    if made is None or made.returncode:
        return {}
    return {"INGOT_LIBCUDA": library, "INGOT_BENCH_NODES": os.path.join(scratch, "nodes")}


def libcuda():
    found = re.findall(r"libcuda\.so\.1 .*=> (\S+)", subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout)
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":") + ["/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu"]
    found += [path for path in (os.path.join(folder, "libcuda.so.1") for folder in folders) if os.path.exists(path)]
    return found[0] if found else None
