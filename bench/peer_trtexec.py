"""TensorRT through `trtexec`, the program that comes with it: for machines that have it and no Python package.

It builds and saves an engine once; each measurement is a run of it with a CUDA graph, and the median that it prints is taken: of `GPU Compute Time` without
transfers (device), of `Latency` with them (call). Results come from --exportOutput and are compared like everybody's.
"""
import json
import os
import re
import subprocess
import time

import numpy

from bench import peer

NUMBER = r"([-+0-9.eE]+)"
TIMES = re.compile(rf"(Latency|GPU Compute Time|Enqueue Time|H2D Latency|D2H Latency): min = {NUMBER} ms, max = {NUMBER} ms, mean = {NUMBER} ms, median = {NUMBER} ms")
BUILT = re.compile(rf"Engine built in {NUMBER} sec")
LOADED = re.compile(rf"Engine (?:loaded|deserialized) in {NUMBER} sec")
THROUGHPUT = re.compile(rf"Throughput: {NUMBER} qps")
VERSION = re.compile(r"TensorRT version: ([\d.]+)")
TAG = re.compile(r"\[TensorRT v(\d+)\]")


def parse(text):
    """What trtexec printed: {"Latency": median ms, "GPU Compute Time": ..., "build_s", "load_s", "qps", "version"}, what of it there is."""
    found = {match[0]: float(match[4]) for match in TIMES.findall(text)}
    for name, pattern in (("build_s", BUILT), ("load_s", LOADED), ("qps", THROUGHPUT)):
        match = pattern.search(text)
        if match:
            found[name] = float(match[1])
    version = VERSION.search(text) or TAG.search(text)
    if version:
        found["version"] = version[1]
    return found


def failure(text):
    errors = [line for line in text.splitlines() if "[E]" in line]
    return (errors or [line for line in text.splitlines() if line.strip()] or ["it printed nothing"])[-1].strip()


class Peer:
    def __init__(self, form, options):
        self.program, self.options = form, options

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        if done.returncode or "&&&& FAILED" in done.stdout:
            raise RuntimeError(f"trtexec: {failure(done.stdout)}")
        return parse(done.stdout)

    def prepare(self, request):
        folder = request["folder"]
        self.engine = os.path.join(request["scratch"], "engine.trt")
        model = os.path.join(folder, "model.onnx")
        precision = ["--fp16"] if self.options.precision == "fp16" else []
        start = time.perf_counter()
        built = self.run(f"--onnx={model}", f"--saveEngine={self.engine}", "--noTF32", "--skipInference", *precision)
        wall = time.perf_counter() - start
        self.inputs = self.input_arguments(request)
        exported = os.path.join(request["scratch"], "outputs.json")
        loaded = self.run(f"--loadEngine={self.engine}", *self.inputs, f"--exportOutput={exported}", "--iterations=1", "--duration=0", "--warmUp=0", "--useCudaGraph")
        facts = {"build_s": built.get("build_s", wall), "error": peer.error_against_reference(folder, self.outputs(exported, folder)),
                 "version": f"TensorRT {built.get('version') or loaded.get('version') or 'of unknown version'}"}
        if "load_s" in loaded:
            facts["load_ms"] = loaded["load_s"] * 1e3
        return facts

    @staticmethod
    def input_arguments(request):
        """--loadInputs takes raw bytes, by the inputs' names."""
        pairs = []
        for name, array in zip(request["input_names"], peer.load_inputs(request["folder"])):
            path = os.path.join(request["scratch"], f"{len(pairs)}.bin")
            array.tofile(path)
            pairs.append(f"{name}:{path}")
        return ["--loadInputs=" + ",".join(pairs)] if pairs else []

    @staticmethod
    def outputs(path, folder):
        """In the order of the reference, by shape where trtexec lists them otherwise."""
        with open(path) as file:
            listed = json.load(file)
        arrays = [numpy.array(item["values"], dtype=numpy.float64).reshape([int(d) for d in str(item["dimensions"]).split("x")]) for item in listed]
        ordered = []
        for reference in peer.numbered(folder, "reference"):
            shape = numpy.load(reference, mmap_mode="r").shape
            match = next((a for a in arrays if a.shape == shape), None)
            if match is None:
                raise RuntimeError(f"trtexec gave no output of shape {shape}")
            arrays = [a for a in arrays if a is not match]
            ordered.append(match)
        return ordered

    def measure(self, kind, seconds):
        if kind not in ("device", "call"):
            return {"absent": "trtexec has no such measurement"}
        transfers = ["--noDataTransfers"] if kind == "device" else []
        # Whole seconds are what --duration takes: short measurements are counted in iterations.
        found = self.run(f"--loadEngine={self.engine}", *self.inputs, "--useCudaGraph", "--useSpinWait", "--warmUp=50", f"--duration={int(seconds)}", "--iterations=50", *transfers)
        title = "GPU Compute Time" if kind == "device" else "Latency"
        if title not in found:
            raise RuntimeError(f"trtexec printed no line '{title}: ... median = ...'")
        return {"ms": found[title], "samples": 50}

    def drop(self):
        if os.path.exists(self.engine):
            os.remove(self.engine)
