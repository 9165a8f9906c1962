"""What the tests of the Python package share: small models, and the digits' engine. `./dev python` runs them."""
import os
import sys

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.path.insert(0, HERE)

import ingot  # noqa: E402

DIGITS = os.path.join(ROOT, "examples", "digits", "digits.onnx")


def model(nodes, inputs, outputs, initializers=(), opset=21):
    """Bytes of a model. inputs, outputs: value infos."""
    graph = helper.make_graph(nodes, "test", inputs, outputs, list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return made.SerializeToString()


def tensor(name, kind=TensorProto.FLOAT, shape=("n",)):
    return helper.make_tensor_value_info(name, kind, shape)


def identity(kind, shape=("n",)):
    return model([helper.make_node("Identity", ["x"], ["y"])], [tensor("x", kind, shape)], [tensor("y", kind, shape)])


def build(source, **options):
    return ingot.build(source, **{"device": "cpu", "threads": 1, **options})


def slow_model():
    """A loop that runs for minutes, unless it is stopped."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["state", "state"], ["next"]), helper.make_node("Identity", ["go_on"], ["go"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), tensor("state", shape=(64, 64))],
        [helper.make_tensor_value_info("go", TensorProto.BOOL, []), tensor("next", shape=(64, 64))])
    return model([helper.make_node("Loop", ["count", "", "x"], ["y"], body=body)], [helper.make_tensor_value_info("count", TensorProto.INT64, []), tensor("x", shape=(64, 64))],
                 [tensor("y", shape=(64, 64))])


@pytest.fixture(scope="session")
def digits():
    return build(DIGITS)


@pytest.fixture(scope="session")
def images():
    return numpy.load(os.path.join(ROOT, "examples", "digits", "test_images.npy"))
