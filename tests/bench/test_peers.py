"""Peers' adapters without the peers: trtexec against a stand-in, Ingot of two versions against scripts, and processes that fail in every way."""
import _ctypes  # a library that can be loaded
import json
import os
import stat
import sys
import tempfile
import types
import unittest

import numpy

from bench import peer_ingot, peer_onnxruntime, peer_trtexec, peers, timing, wire

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Folder(unittest.TestCase):
    def setUp(self):
        self.held = tempfile.TemporaryDirectory()
        self.folder = self.held.name
        x = numpy.arange(6, dtype=numpy.float32).reshape(1, 6)
        numpy.save(os.path.join(self.folder, "input_0.npy"), x)
        numpy.save(os.path.join(self.folder, "reference_0.npy"), x)
        self.request = {"do": "prepare", "network": "n", "batch": 1, "folder": self.folder, "scratch": self.folder, "input_names": ["input"]}

    def tearDown(self):
        self.held.cleanup()

    def program(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(f"#!{sys.executable}\n{text}")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path


class Trtexec(Folder):
    def adapter(self, precision="fp16"):
        return peer_trtexec.Peer(os.path.join(HERE, "trtexec"), types.SimpleNamespace(precision=precision))

    def test_builds_measures_and_compares(self):
        adapter = self.adapter()
        facts = adapter.prepare(self.request)
        self.assertEqual(facts, {"build_s": 12.5031, "error": 0.0, "version": "TensorRT 10.13.0", "load_ms": 21.3})
        self.assertEqual(adapter.measure("device", 0.3), {"ms": 1.5, "samples": 50})
        self.assertEqual(adapter.measure("call", 0.3), {"ms": 1.75, "samples": 50})
        self.assertIn("absent", adapter.measure("fresh", 0.3))
        adapter.drop()

    def test_wrong_results_show(self):
        numpy.save(os.path.join(self.folder, "reference_0.npy"), numpy.ones((1, 6), dtype=numpy.float32))
        self.assertGreater(self.adapter().prepare(self.request)["error"], 0.5)

    def test_failures_carry_its_message(self):
        os.environ["TRTEXEC_FAILS"] = "1"
        try:
            with self.assertRaisesRegex(RuntimeError, "Parsing model failed"):
                self.adapter().prepare(self.request)
        finally:
            del os.environ["TRTEXEC_FAILS"]
        with self.assertRaisesRegex(RuntimeError, "Unknown option: --useMagic"):
            self.adapter().run("--useMagic")


INGOT = """
import json, os, sys
command, arguments = sys.argv[1], sys.argv[2:]
asks = {asks}
FACTS = {{"open_ms": 3.0, "first_run_ms": 4.0, "weights_bytes": 5, "arena_bytes": 6, "device_bytes": 7, **({{"enqueue_fresh_ms": 0.008, "opening": {{"context_ms": 2.0}}}} if asks else {{}}),
         "steps": [{{"op": "conv", "tactic": "mma_conv 64x64", "ms": 0.1}}, {{"op": "conv", "tactic": "mma_conv 32x32", "ms": 0.2}}, {{"op": "copy", "tactic": "", "ms": 0.1}}]}}
if command == "--version": print("ingot {version}")
elif "--help" in arguments: print("  --on-request\\n facts  \\n" if asks else "  --profile")
elif command == "build": open(arguments[arguments.index("-o") + 1], "w").write("engine")
elif command == "run":
    import numpy
    numpy.savez(arguments[arguments.index("--output") + 1], y=numpy.load(arguments[arguments.index("--input") + 1]))
elif "--on-request" in arguments:
    for line in sys.stdin:
        words = line.split()
        if words[0] == "fail": sys.exit("ingot: out of memory")
        if words[0] == "outputs":
            import numpy
            numpy.savez(words[1], y=numpy.load(arguments[arguments.index("--input") + 1]))
        print(json.dumps(FACTS if words[0] == "facts" else {{}} if words[0] == "outputs" else {{"ms": {{"device": 2.0}}.get(words[0], 3.0), "samples": 7}}), flush=True)
else: print(json.dumps({{"device_ms": 0.25, "host_ms": 0.5, "runs": 9, **FACTS}}))
"""


class Ingot(Folder):
    def adapter(self, asks, way="untuned"):
        binary = self.program("ingot", INGOT.format(asks=asks, version="0.2.0" if asks else "0.1.0"))
        settings = {"binary": binary, "way": way, "tune": 5, "engine": f"{way}-e{asks}"}
        return peer_ingot.Peer(json.dumps(settings), types.SimpleNamespace(device="cpu", precision="fp32", threads=0))

    def test_version_0_1_is_started_for_every_round(self):
        adapter = self.adapter(False)
        facts = adapter.prepare(self.request)
        self.assertEqual((facts["error"], facts["load_ms"], facts["first_run_ms"], facts["steps"], facts["version"]), (0.0, 3.0, 4.0, 3, "ingot 0.1.0"))
        self.assertEqual(facts["steps_by"], {"conv:mma_conv": (2, 0.3), "copy:-": (1, 0.1)})
        found = adapter.measure("device", 0.1)
        self.assertEqual((found["ms"], found["also"]["call"]["ms"]), (0.25, 0.5))
        self.assertIn("absent", adapter.measure("flushed", 0.1))
        adapter.drop()

    def test_a_newer_one_is_opened_once_stays_and_answers(self):
        adapter = self.adapter(True)
        facts = adapter.prepare(self.request)
        self.assertEqual((facts["error"], facts["load_ms"], facts["device_bytes"], facts["steps"], facts["version"], facts["busy"]), (0.0, 3.0, 7, 3, "ingot 0.2.0", False))
        self.assertEqual((facts["enqueue_fresh_ms"], facts["opening"]), (0.008, {"context_ms": 2.0}))
        self.assertTrue({"build_s", "build_warm_s"} <= set(facts))
        self.assertEqual(adapter.measure("device", 0.1), {"ms": 2.0, "samples": 7})
        self.assertEqual(adapter.measure("flushed", 0.1)["ms"], 3.0)
        adapter.drop()

    def test_it_says_why_it_ended(self):
        adapter = self.adapter(True)
        adapter.prepare(self.request)
        with self.assertRaisesRegex(RuntimeError, "ingot bench: ingot: out of memory"):
            adapter.measure("fail", 0.1)
        adapter.drop()

    def test_what_is_built_or_opened_beside_others_says_so(self):
        first, second = self.adapter(True), self.adapter(True, "own")
        first.build({**self.request, "busy": True})
        facts = first.prepare({**self.request, "beside": True})
        self.assertEqual((facts["busy"], "build_s" in facts, "build_warm_s" in facts, "device_bytes" in facts), (True, True, False, False))
        facts = second.prepare(self.request)  # with the kernels of the first
        self.assertEqual((facts["busy"], "build_s" in facts, "build_warm_s" in facts, "device_bytes" in facts), (False, False, True, True))
        first.drop()
        second.drop()

    def test_an_old_binary_may_be_a_script_that_finds_its_libraries(self):
        binary = self.program("ingot", INGOT.format(asks=False, version="0.1.0"))
        script = os.path.join(self.folder, "old")
        with open(script, "w") as file:
            file.write(f'#!/bin/sh\nLD_LIBRARY_PATH=/old/lib exec {binary} "$@"\n')
        os.chmod(script, 0o755)
        before = peers.identity(script)
        with open(binary, "a") as file:
            file.write("# another build\n")
        self.assertNotEqual(peers.identity(script), before)
        settings = {"binary": script, "way": "untuned", "tune": 5, "engine": "old"}
        adapter = peer_ingot.Peer(json.dumps(settings), types.SimpleNamespace(device="cpu", precision="fp32", threads=0))
        self.assertEqual(adapter.prepare(self.request)["version"], "ingot 0.1.0")
        self.assertEqual(adapter.measure("device", 0.1)["ms"], 0.25)
        adapter.drop()


class OnnxRuntime(Folder):
    def test_a_provider_that_cannot_be_loaded_says_that_tensorrt_is_not_there(self):
        self.assertRegex(peer_onnxruntime.missing_tensorrt(self.folder), "TensorRT is not there: .* without libonnxruntime_providers_tensorrt.so")
        os.mkdir(os.path.join(self.folder, "capi"))
        library = os.path.join(self.folder, "capi", "libonnxruntime_providers_tensorrt.so")
        with open(library, "w") as file:
            file.write("no library")
        self.assertRegex(peer_onnxruntime.missing_tensorrt(self.folder), "TensorRT is not there: .*(header|short)")
        os.remove(library)
        os.symlink(_ctypes.__file__, library)
        self.assertIsNone(peer_onnxruntime.missing_tensorrt(self.folder))


class Quick(unittest.TestCase):
    def test_quick_runs_leave_out_what_compiles_for_minutes_unless_it_is_named(self):
        options = lambda quick, named: types.SimpleNamespace(device="cuda", quick=quick, peers=named)
        self.assertEqual(peers.too_slow(options(True, None)), ["torch compile max-autotune"])
        self.assertEqual(peers.too_slow(options(True, "torch")), [])
        self.assertEqual(peers.too_slow(options(False, None)), [])


class Warm(unittest.TestCase):
    def test_each_run_is_complete_before_the_next_is_enqueued(self):
        waiting, most = [], 0

        def run():
            nonlocal most
            waiting.append(1)
            most = max(most, len(waiting))

        timing.warm(run, waiting.clear, 0.01)
        self.assertEqual((most, waiting), (1, []))
        self.assertEqual((timing.warm_seconds(0.1), timing.warm_seconds(1)), (0.025, 0.05))


class Wire(Folder):
    def process(self, text):
        return wire.Process([self.program("peer", text)], {**os.environ, "PYTHONPATH": ROOT}, os.path.join(self.folder, "log"))

    def test_what_a_library_prints_is_not_an_answer(self):
        process = self.process("""
from bench import wire
class P:
    def prepare(self, request): print("noise"); return {"network": request["network"]}
    def measure(self, kind, seconds): raise ValueError("cannot\\nmore")
    def drop(self): pass
wire.serve(P())
""")
        answer = process.ask(self.request)
        self.assertEqual((answer["network"], answer["prepare_took_s"] < 10), ("n", True))
        self.assertEqual(process.ask({"do": "measure", "kind": "device", "seconds": 1}), {"error": "ValueError: cannot"})
        self.assertEqual(process.ask({"do": "drop"}), {})
        process.close()

    def test_a_peer_that_cannot_run_here_at_all_says_so(self):
        command = [sys.executable, "-m", "bench.worker", "no_such_adapter", "form", "--device", "cpu", "--precision", "fp32", "--threads", "1"]
        process = wire.Process(command, {**os.environ, "PYTHONPATH": ROOT}, os.path.join(self.folder, "log"))
        self.assertEqual(process.ask(self.request), {"error": "ModuleNotFoundError: No module named 'bench.peer_no_such_adapter'", "always": True})
        process.close()

    def test_a_process_that_ends_says_its_last_words(self):
        process = self.process("import sys\nsys.stdin.readline()\nsys.exit('out of memory')\n")
        with self.assertRaisesRegex(wire.Gone, "exit code 1: out of memory"):
            process.ask(self.request)
        process.close()

    def test_one_that_hangs_is_ended(self):
        process = self.process("import time\ntime.sleep(1000)\n")
        with self.assertRaisesRegex(wire.Gone, "no answer within"):
            process.ask(self.request, 0.2)
        self.assertIsNotNone(process.process.poll())


if __name__ == "__main__":
    unittest.main()
