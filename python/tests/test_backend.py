"""ingot.backend: the functions of onnx's interface, and a sample of its test suite (`python python/suite.py tests/suite/passing.txt` runs all)."""
import os
import subprocess
import sys

import numpy
import onnx
import pytest
from conftest import DIGITS, ROOT
from onnx import helper

import ingot
from ingot import backend


def test_prepare_and_run(images, digits):
    prepared = backend.prepare(onnx.load(DIGITS), "CPU", threads=1)
    outputs = prepared.run(images[:2])
    assert numpy.array_equal(outputs.probabilities, digits(images[:2])) and len(outputs) == 1
    assert numpy.array_equal(prepared.run({"image": images[:2]})[0], outputs[0])
    assert numpy.array_equal(backend.run_model(onnx.load(DIGITS), [images[:2]])[0], outputs[0])


def test_run_node():
    a, b = numpy.arange(3, dtype=numpy.float32), numpy.ones(3, numpy.float32)
    assert backend.run_node(helper.make_node("Add", ["a", "b"], ["y"]), [a, b])[0].tolist() == [1, 2, 3]
    assert backend.run_node(helper.make_node("Clip", ["a", "", "b"], ["y"]), {"a": a, "b": numpy.float32(1)})[0].tolist() == [0, 1, 1]
    info = [(numpy.float32, (3,))]
    assert backend.run_node(helper.make_node("Dropout", ["a"], ["y"]), [a], outputs_info=info, opset_version=7)[0].tolist() == [0, 1, 2]
    with pytest.raises(ingot.Error):
        backend.run_node(helper.make_node("NoSuchOperator", ["a"], ["y"]), [a], outputs_info=info)


def test_devices():
    assert backend.supports_device("CPU") and backend.is_compatible(onnx.load(DIGITS))
    assert not backend.supports_device("TPU")
    if "INGOT_LIBCUDA" not in os.environ:
        with pytest.raises(ingot.Error):
            backend.prepare(onnx.load(DIGITS), "CUDA:7")


def test_a_sample_of_onnxs_own_tests():
    program = [sys.executable, os.path.join(ROOT, "python", "suite.py"), "--every", "16", os.path.join(ROOT, "tests", "suite", "passing.txt")]
    run = subprocess.run(program, stdout=subprocess.PIPE, universal_newlines=True)
    assert run.returncode == 0 and "118 of 118 cases pass" in run.stdout, run.stdout
