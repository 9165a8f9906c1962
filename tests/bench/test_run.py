"""A run from beginning to end, with a program that stands for Ingot: cut, gone on with on another machine, its rows whole."""
import collections
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest

import onnx
from onnx import helper

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import lane, measure, store, zoo
from test_peers import INGOT, ROOT, Folder


def write_model(path, factor):
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 6])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], f"identity{factor}", [value("x")], [value("y")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def pid_in(path):
    """What a process writes there once it runs."""
    end = time.time() + 60
    while time.time() < end and not (os.path.exists(path) and os.path.getsize(path)):
        time.sleep(0.05)
    with open(path) as file:
        return int(file.read())


def runs(pid):
    """Not a process that ended and that nobody has asked about yet."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Bench(Folder):
    """A folder with a program that stands for Ingot, and `bench zoo` with it."""

    def setUp(self):
        super().setUp()
        self.run_file = os.path.join(self.folder, "run.jsonl")
        self.models = [os.path.join(self.folder, f"m{i}.onnx") for i in range(2)]
        for index, path in enumerate(self.models):
            write_model(path, index)
        self.binary = self.program("ingot", INGOT.format(asks=True, version="0.2.0"))

    def bench(self, models, work, *more):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = measure.main(["--device", "cpu", "--run", self.run_file, "--work", os.path.join(self.folder, work), "--ingot", f"ingot={self.binary}", "--peers", "none", "--models", ",".join(models),
                                 "--rounds", "2", "--seconds", "0.01", "--variant-rounds", "1", *more])
        return code, said.getvalue()


class Runs(Bench):
    def test_a_run_that_goes_on_elsewhere_prepares_only_what_is_left(self):
        code, said = self.bench(self.models, "never", "--limit", "0.000001")
        self.assertEqual(code, measure.CUT, said)
        self.assertIn("2 of 2 rows are not complete", said)
        self.assertEqual(self.bench(self.models[:1], "here")[0], 0)
        with open(self.run_file) as file:
            lines = [json.loads(line) for line in file]
        for record in lines:
            if record["type"] == "run":
                record["machine"]["cpu"] = "another processor"
        lines += [{**next(r for r in lines if r["type"] == "round"), "network": self.models[1]}]  # of the other row one round only: it was cut
        with open(self.run_file, "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in lines)
        code, said = self.bench(self.models, "there")
        self.assertEqual(code, 0, said)
        self.assertIn("1 of 2 rows to measure", said)
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder, "there"))), ["engines", "logs", zoo.Row(self.models[1], 1).folder])
        self.assertIn("measured on different cards", said)
        rounds = [r for r in store.read(self.run_file) if r["type"] == "round" and r["network"] == self.models[1]]
        self.assertEqual(sorted((r["peer"], r["round"]) for r in rounds[1:]), [(peer, number) for peer in ("ingot untuned", "ingot untuned again") for number in range(2)])
        self.assertEqual((rounds[1]["device_ms"], rounds[1]["fresh_ms"], rounds[1]["samples"]), (2.0, 3.0, 7))
        self.assertRegex(said, r"time: preparing \d+ s; 2 rows: .*measured \d+ s")
        self.assertEqual(self.bench(self.models, "nowhere")[0], 0)
        self.assertEqual(os.listdir(os.path.join(self.folder, "nowhere")), ["logs"])

    def test_preparing_alone_measures_nothing(self):
        code, said = self.bench(self.models, "here", "--prepare-only")
        self.assertEqual(code, 0, said)
        self.assertIn("prepared; the same command without --prepare-only measures 2 rows", said)
        self.assertEqual([r["type"] for r in store.read(self.run_file) if r["type"] in ("facts", "round")], [])
        self.assertEqual(self.bench(self.models, "here")[0], 0)
        self.assertEqual(self.bench(self.models, "there", "--prepare-only", "--limit", "0.000001", "--retry")[0], 0)  # nothing is left

    def test_a_quick_run_says_what_was_made_ready_beside_others(self):
        code, said = self.bench(self.models[:1], "here", "--quick")
        self.assertEqual(code, 0, said)
        facts = [r for r in store.read(self.run_file) if r["type"] == "facts"]
        self.assertEqual([(r["busy"], "device_bytes" in r) for r in facts], [(True, False)] * 2)
        self.assertRegex(said, r"made ready at once \d")
        self.assertNotRegex(said, r"made ready alone")

    def test_one_that_is_told_to_end_leaves_nothing_running_and_blames_nobody(self):
        slow = self.program("slow", "import os, sys, time\nif '--help' in sys.argv or '--version' in sys.argv: sys.exit(0)\nopen(os.path.join(os.path.dirname(sys.argv[0]), 'pid'), 'w').write(str(os.getpid()))\ntime.sleep(100)")
        command = [sys.executable, "-m", "bench", "zoo", "--device", "cpu", "--run", self.run_file, "--work", os.path.join(self.folder, "work"), "--ingot", f"slow={slow}", "--peers", "none", "--models", self.models[0]]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pid = pid_in(os.path.join(self.folder, "pid"))
        process.terminate()
        self.assertEqual(process.wait(30), 128 + signal.SIGTERM)
        self.assertEqual([r for r in store.read(self.run_file) if r["type"] == "failure"], [])
        self.assertFalse(runs(pid))

    def test_files_of_one_name_or_changed_since_are_told_apart(self):
        other = os.path.join(self.folder, "elsewhere")
        os.makedirs(other)
        write_model(os.path.join(other, "m0.onnx"), 3)
        folders = {zoo.Row(path, 1).folder for path in (self.models[0], os.path.join(other, "m0.onnx"))}
        write_model(self.models[0], 1234567)
        self.assertEqual(len(folders | {zoo.Row(self.models[0], 1).folder}), 3)

    def test_a_run_of_another_precision_is_not_mixed_in(self):
        self.assertEqual(self.bench(self.models[:1], "here")[0], 0)
        with self.assertRaisesRegex(SystemExit, "was begun with --precision fp32"):
            self.bench(self.models, "here", "--precision", "fp16")

    def test_a_peer_that_fails_is_named_and_the_others_are_measured(self):
        broken = self.program("broken", "import sys\nif '--help' in sys.argv or '--version' in sys.argv: sys.exit(0)\nsys.exit('ingot: no memory')")
        code, said = self.bench(self.models[:1], "here", "--ingot", f"broken={broken}")
        self.assertEqual(code, 0, said)
        self.assertIn("broken untuned: RuntimeError: ingot build: ingot: no memory", said)
        self.assertIn("A/A: ingot untuned", said)


class Limits(unittest.TestCase):
    """What still fits into the time that is left."""

    def setUp(self):
        spent = lambda network, *parts: {"type": "spent", "network": network, "parts": dict(enumerate(parts))}
        self.run_ = types.SimpleNamespace(store=types.SimpleNamespace(records=[spent("large", 300, 100), spent("small", 10), spent("small", 20), {"type": "round"}]),
                                          start=time.time(), stopped=False, options=types.SimpleNamespace(limit=60))
        self.run_.out_of_time = lambda needed=0: measure.Run.out_of_time(self.run_, needed)
        self.run_.expected = lambda network=None: measure.Run.expected(self.run_, network)

    def test_a_row_takes_what_others_of_its_network_took_or_the_median(self):
        self.assertEqual([self.run_.expected(name) for name in ("large", "small", "another")], [400, 15, 20])
        self.run_.store.records = []
        self.assertEqual(self.run_.expected("large"), 0)

    def test_rows_that_no_longer_fit_are_passed_over(self):
        measured, rows = [], zoo.rows(["vgg16", "resnet18", "unet"], [1])
        self.run_.store.records[0]["network"] = "vgg16"
        each = types.SimpleNamespace(run=self.run_, wait=lambda: None, row=lambda row, folder: measured.append(row.network))
        lane.measure_rows(each, collections.deque(rows), dict.fromkeys(rows))
        self.assertEqual(measured, ["resnet18", "unet"])


if __name__ == "__main__":
    unittest.main()
