"""`bench loop`: its decoders compute what their steps compute one after the other, and what is said of them."""
import contextlib
import io
import json
import os
import sys
import tempfile
import unittest

import numpy
import onnx
from onnx.reference import ReferenceEvaluator

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import decoders, loop, peer_ingot
from test_peers import ROOT

SMALL = decoders.Sizes(vocabulary=40, width=16, layers=2, heads=2, length=6, steps=5)
BINARY = os.path.join(ROOT, "build/release/ingot")


def tokens_by_steps(folder, kind, sizes):
    """The step's model by the reference of onnx, fed with what it gave."""
    step = ReferenceEvaluator(onnx.load(os.path.join(folder, "step", "model.onnx")))
    given = [numpy.load(os.path.join(folder, "step", f"input_{i}.npy")) for i in range(len(step.input_names))]
    states = [array[:, :0] if array.ndim == 3 and kind == "growing" else array for array in given[2:]]
    tokens = []
    for i in range(sizes.steps):
        found = dict(zip(step.output_names, step.run(None, dict(zip(step.input_names, [given[0], numpy.array(i), *states])))))
        assert found.pop("go_on", True)
        states = list(found.values())
        tokens.append(found["next_token"])
    return numpy.stack(tokens)


class Decoders(unittest.TestCase):
    def test_a_decoder_is_its_step_repeated(self):
        if not os.path.exists(BINARY):
            self.skipTest("Ingot is not built")
        with tempfile.TemporaryDirectory() as folder:
            for kind in decoders.KINDS:
                for condition in decoders.CONDITIONS:
                    decoders.write(kind, condition, folder, SMALL)
                    path = os.path.join(folder, "tokens.npz")
                    peer_ingot.run(BINARY, "run", os.path.join(folder, "decoder", "model.onnx"), "--device", "cpu", "--input", os.path.join(folder, "decoder", "input_0.npy"), "--output", path, "--quiet")
                    with numpy.load(path) as archive:
                        tokens = archive[archive.files[0]]
                    wanted = tokens_by_steps(folder, kind, SMALL)
                    numpy.testing.assert_array_equal(tokens, wanted, f"{kind} {condition}")
                    self.assertGreater(len(set(wanted.ravel().tolist())), 1)


class Loop(unittest.TestCase):
    def call(self, *arguments):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = loop.main(list(arguments))
        return code, said.getvalue()

    def sized(self):
        return [word for name, size in SMALL._asdict().items() for word in ("--" + name, str(size))]

    def test_a_run_on_the_cpu(self):
        if not os.path.exists(BINARY):
            self.skipTest("Ingot is not built")
        with tempfile.TemporaryDirectory() as folder:
            models, record = os.path.join(folder, "models"), os.path.join(folder, "r.json")
            self.assertEqual(self.call("--make", "--models", models, *self.sized()), (0, ""))
            code, said = self.call("--models", models, "--device", "cpu", "--threads", "1", "--rounds", "2", "--seconds", "0.02", "--ingot", f"one={BINARY}", "--ingot", "two=/none", "--record", record, *self.sized())
            self.assertEqual(code, 1)
            self.assertIn("failed: gru fixed, two:", said)
            with open(record) as file:
                rows = json.load(file)["rows"]
            self.assertEqual([(entry["decoder"], entry["condition"]) for entry in rows], [(kind, condition) for kind in decoders.KINDS for condition in decoders.CONDITIONS])
            for entry in rows:
                self.assertEqual(len(entry["rounds"]["one"]), 2)
                for times in entry["rounds"]["one"]:
                    self.assertAlmostEqual(times["over"], times["call"] - times["step"])
                    self.assertTrue(min(times["call"], times["queued"], times["step"]) > 0)

    def test_table(self):
        rounds = [{"call": 30.0 * drift, "queued": 28.0 * drift, "step": 20.0 * drift, "over": 10.0 * drift} for drift in (1, 1.1, 1.2)]
        record = {"device": "cuda", "precision": "fp16", "sizes": SMALL._asdict(), "round_count": 3, "rows": [{"decoder": "gru", "condition": "until", "rounds": {"new": rounds}, "failures": {"old": "no file"}}]}
        text = loop.table(record)
        self.assertEqual(text[0], "microseconds a step of 5, on cuda in fp16; medians of 3 rounds")
        self.assertRegex(text[-2], r"gru +until +new +33\.00 +30\.80 +22\.00 +11\.00")
        self.assertEqual(text[-1], "failed: gru until, old: no file")

    def test_what_makes_no_sense_is_refused(self):
        for words, says in ((["--kinds", "lstm"], "--kinds takes of"), (["--steps", "65"], "more steps"), (["--make"], "needs --models")):
            said = io.StringIO()
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(said):
                loop.main(words)
            self.assertIn(says, said.getvalue())
