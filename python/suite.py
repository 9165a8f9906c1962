"""The onnx package's own backend tests through ingot.backend: python suite.py [--every N] [--device cpu|cuda] PASSING

PASSING is tests/suite/passing.txt, the cases that the C runner passes: as many must pass here, and on the emulated GPU (./dev emulate, --device cuda:
four minutes on two cores). What the runner of onnx cannot judge is in
CANNOT_BE_JUDGED, with the reason; a case there that passes is told, so that the list does not outlive its reasons."""
from __future__ import annotations

import argparse
import collections
import sys
import unittest
from typing import Any, Dict, List, Set

import onnx.backend.test

import ingot.backend

FOLDERS = {"Node": "node", "Simple": "simple", "PyTorchConverted": "pytorch-converted", "PyTorchOperator": "pytorch-operator"}
CANNOT_BE_JUDGED: Dict[str, str] = {
    "node/test_loop16_seq_none": "the result is a sequence of tensors without axes, of which onnx's runner asks the length",
}


class Result(unittest.TestResult):
    """Counts, and keeps why what failed did."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: Set[str] = set()

    def addSuccess(self, test: Any) -> None:
        self.passed.add(name_of(test))


def name_of(test: Any) -> str:
    """As in passing.txt: "node/test_abs"."""
    category = type(test).__name__[len("OnnxBackend"): -len("ModelTest")]
    return "%s/%s" % (FOLDERS.get(category, category.lower()), test._testMethodName.rpartition("_")[0])


def cases(device: str, wanted: List[str]) -> unittest.TestSuite:
    """The runner's tests of a device that are wanted."""
    names = set(wanted)
    suite = unittest.TestSuite()
    for case in onnx.backend.test.BackendTest(ingot.backend.IngotBackend, __name__).test_cases.values():
        for test in unittest.defaultTestLoader.loadTestsFromTestCase(case):
            if test._testMethodName.endswith("_" + device) and name_of(test) in names:  # type: ignore[union-attr]
                suite.addTest(test)
    return suite


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("passing")
    options.add_argument("--every", type=int, default=1, help="each Nth case only")
    options.add_argument("--device", default="cpu")
    given = options.parse_args()
    with open(given.passing, encoding="utf-8") as file:
        wanted = [line for line in file.read().split("\n") if line and not line.startswith("#")][:: given.every]
    suite, result = cases(given.device, wanted), Result()
    suite.run(result)
    reasons = collections.OrderedDict((name_of(test), text.strip().splitlines()[-1]) for test, text in result.failures + result.errors)
    missing = set(wanted) - result.passed - set(reasons)
    for name, reason in reasons.items():
        print("%s: %s" % (name, CANNOT_BE_JUDGED.get(name) or reason))
    for name in sorted(missing):
        print("%s: the runner did not run it" % name)
    unexplained = (set(reasons) | missing) - set(CANNOT_BE_JUDGED)
    needless = set(CANNOT_BE_JUDGED) & result.passed
    for name in sorted(needless):
        print("%s: passes, though it is said that it cannot be judged" % name)
    print("%d of %d cases pass, %d cannot be judged by onnx's runner, %d fail" % (len(result.passed), len(wanted), len(wanted) - len(result.passed) - len(unexplained), len(unexplained)))
    return 1 if unexplained or needless else 0


if __name__ == "__main__":
    sys.exit(main())
