"""DLPack both ways on the host: in place, kept alive as long as somebody holds the memory, given back once."""
import ctypes
import gc
import os
import subprocess
import sys

import numpy
import pytest
from conftest import build, identity
from onnx import TensorProto

import ingot
from ingot import dlpack


class Foreign:
    """A tensor of another library's: numpy behind DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


@pytest.fixture(scope="module")
def engine():
    return build(identity(TensorProto.FLOAT, ("n", "m")))


def test_others_are_read_in_place(engine):
    x = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    session = engine.session()
    session._arguments.take([Foreign(x)])
    assert session._arguments.array[0].data == x.ctypes.data
    session._arguments.release()
    assert numpy.array_equal(engine(Foreign(x)), x)
    with pytest.raises(ingot.InvalidArgument, match="not row-major"):
        engine(Foreign(x.T))


def test_others_are_given_back(engine):
    import sys

    x = numpy.zeros((2, 3), numpy.float32)
    before = sys.getrefcount(x)
    for _ in range(10):
        engine(Foreign(x))
    gc.collect()
    assert sys.getrefcount(x) == before


def test_a_capsule_lives_as_long_as_the_run(engine, monkeypatch):
    """Of an output too: its shape is read while the library works."""
    alive = []

    class Watched(Foreign):
        def __dlpack__(self, **options):
            tensor = ingot.Tensor(self.array)
            return dlpack.capsule(tensor, False)

    run = ingot.session._run_into

    def counted(*arguments):
        alive.append(len(dlpack._given))
        return run(*arguments)

    monkeypatch.setattr(ingot.session, "_run_into", counted)
    x, room = numpy.ones((2, 3), numpy.float32), numpy.zeros((2, 3), numpy.float32)
    engine.run([Watched(x)], outputs=[Watched(room)])
    assert alive == [2] and not dlpack._given and numpy.array_equal(room, x)


def test_results_are_written_to_others(engine):
    x, room = numpy.ones((2, 3), numpy.float32), numpy.zeros((2, 3), numpy.float32)
    engine.run([x], outputs=[Foreign(room)])
    assert numpy.array_equal(room, x)


def test_others_take_ours_in_place(engine):
    y = engine(ingot.Tensor(bytearray(numpy.arange(6, dtype=numpy.float32).tobytes()), "f32", (2, 3)))
    assert isinstance(y, ingot.Tensor) and y.__dlpack_device__() == (1, 0)
    taken = numpy.from_dlpack(y)
    assert taken.ctypes.data == y.pointer and taken.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(dlpack._given) == 1
    del y
    gc.collect()
    assert taken.tolist() == [[0, 1, 2], [3, 4, 5]]
    del taken
    gc.collect()
    assert not dlpack._given


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_that_nobody_takes_is_given_back(version):
    tensor = ingot.Tensor(bytearray(8), "f32", (2,))
    capsule = tensor.__dlpack__(max_version=version)
    inside = dlpack.tensor_in(capsule)
    assert (inside.data, inside.ndim, inside.shape[0], inside.strides[0], inside.dtype.bits) == (tensor.pointer, 1, 2, 1, 32)
    assert len(dlpack._given) == 1
    del capsule
    assert not dlpack._given


def test_what_dlpack_cannot_say_is_refused():
    tensor = ingot.Tensor(bytearray(8), "f32", (2,))
    for call in (lambda: ingot.Tensor(["a"]).__dlpack__(), lambda: tensor.__dlpack__(copy=True), lambda: tensor.__dlpack__(dl_device=(2, 0)), lambda: dlpack.tensor_in(object())):
        with pytest.raises(BufferError):
            call()


def test_other_devices_are_refused(engine):
    class Elsewhere(Foreign):
        def __dlpack_device__(self):
            return (8, 0)  # Metal

    with pytest.raises(BufferError, match="device type 8"):
        engine(Elsewhere(numpy.zeros((1, 1), numpy.float32)))


def test_elements_lie_as_ingot_tensor_says():
    assert ctypes.sizeof(dlpack.DLManagedTensor) == 64 and dlpack.DLManagedTensorVersioned.tensor.offset == 32


AT_THE_END = """
import ctypes, gc
import numpy
from conftest import build, identity
from onnx import TensorProto
from ingot import dlpack

y = build(identity(TensorProto.FLOAT, ("n",)))(numpy.ones(1 << 14, numpy.float32)).base  # the tensor that a large result of numpy's lies in
taken, free = numpy.from_dlpack(y), y.__dlpack__()
assert len(dlpack._given) == 2
given = dlpack._given
for name in [name for name in vars(dlpack) if not name.startswith("__")]:
    delattr(dlpack, name)  # as the interpreter does when it ends
gc.collect()
called = []
others = [ctypes.CFUNCTYPE(None, ctypes.c_void_p)(called.append) for _ in range(64)]  # where freed code was
del taken, free
assert not called and not given, (called, given)
print("fine")
"""


def test_capsules_outlive_the_names_of_the_module():
    """Others hold them for as long as they like, until after the interpreter has cleared this package's modules."""
    folder = os.path.dirname(os.path.abspath(__file__))
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    run = subprocess.run([sys.executable, "-c", AT_THE_END], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert (run.returncode, run.stdout, run.stderr) == (0, "fine\n", "")
