"""Tensors of PyTorch's without DLPack, on the host: a stand-in with the same names, whose DLPack tells when it is asked."""
import collections
import sys
import types

import numpy
import pytest
from conftest import build, identity, model
from onnx import TensorProto, helper

import ingot
from ingot import libraries


class Tensor:
    """As torch.Tensor, over numpy."""

    requires_grad = negative = False
    layout = "strided"
    device = collections.namedtuple("device", "type index")("cpu", None)

    def __init__(self, array):
        self.array, self.asked = array, 0

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: "torch." + self.array.dtype.name)

    def data_ptr(self):
        return self.array.ctypes.data

    def is_contiguous(self):
        return self.array.flags.c_contiguous

    def is_neg(self):
        return self.negative

    def is_conj(self):
        raise AssertionError("of a type that is not complex")

    def new_empty_strided(self, shape, strides):
        made = numpy.empty(shape, self.array.dtype)
        assert not made.size or [size * made.itemsize for size in strides] == list(made.strides)
        return Tensor(made)

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **options):
        self.asked += 1
        if self.requires_grad:
            raise BufferError("a gradient is wanted of it")
        return self.array.__dlpack__()


Tensor.__module__ = "torch"


@pytest.fixture
def torch(monkeypatch):
    """The stand-in as what is imported."""
    names = ("float32", "float64", "int64", "bool", "complex64", "complex128")
    module = types.SimpleNamespace(Tensor=Tensor, strided="strided", version=types.SimpleNamespace(hip=None), _C=types.SimpleNamespace(),
                                   empty=lambda size, dtype, device: Tensor(numpy.empty(size, dtype[len("torch.") :])),
                                   from_dlpack=lambda tensor: Tensor(numpy.from_dlpack(tensor)), **{name: "torch." + name for name in names})
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setattr(libraries, "_opened", {})
    return module


@pytest.fixture(scope="module")
def engine():
    return build(identity(TensorProto.FLOAT, ("n", "m")))


def test_plain_tensors_are_read_without_dlpack(engine, torch):
    session = engine.session()
    for i in range(3):
        x = Tensor(numpy.arange(6, dtype=numpy.float32).reshape(2, 3) + i)
        session._arguments.take([x])
        assert session._arguments.array[0].data == x.array.ctypes.data
        session._arguments.release()
        y = session.run([x])[0]
        assert type(y) is Tensor and numpy.array_equal(y.array, x.array) and not x.asked


def test_structs_follow_what_changes(engine, torch):
    """From call to call the shape, the library, and back."""
    session = engine.session()
    for make in (Tensor, numpy.asarray, Tensor, numpy.ndarray.tolist, Tensor):
        for shape in ((2, 3), (3, 2), (4096, 2), (2, 3), (0, 2)):
            x = numpy.random.rand(*shape).astype(numpy.float32)
            if x.size or make is not numpy.ndarray.tolist:
                y = session.run([make(x)])[0]
                assert numpy.array_equal(getattr(y, "array", y), x) and type(y) is (Tensor if make is Tensor else numpy.ndarray)


def test_what_is_not_plain_goes_by_dlpack(engine, torch):
    session = engine.session()
    x = Tensor(numpy.ones((2, 3), numpy.float32))
    session.run([x])
    other = type("Parameter", (Tensor,), {})(x.array)
    session.run([other])
    assert other.asked == 1
    x.requires_grad = True
    with pytest.raises(BufferError, match="gradient"):
        session.run([x])
    turned = Tensor(numpy.ones((3, 2), numpy.float32).T)
    with pytest.raises(ingot.InvalidArgument, match="not row-major"):
        session.run([turned])
    x.requires_grad, x.negative = False, True
    with pytest.raises(ingot.InvalidArgument, match="resolve_neg"):
        session.run([x])
    x.negative = False
    assert numpy.array_equal(session.run([x])[0].array, x.array)


def test_results_go_to_a_tensor_of_the_callers(engine, torch):
    session = engine.session()
    x = Tensor(numpy.ones((2, 3), numpy.float32))
    for room in (Tensor(numpy.zeros((2, 3), numpy.float32)), numpy.zeros((2, 3), numpy.float32), Tensor(numpy.zeros((2, 3), numpy.float32))):
        assert session.run([x], outputs=[room])[0] is room
        assert numpy.array_equal(getattr(room, "array", room), x.array)
    y = session.run([x])[0]
    assert session.run([x])[0] is not y
    with pytest.raises(ingot.InvalidArgument, match="said to be"):
        session.run([x], outputs=[Tensor(numpy.zeros((2, 4), numpy.float32))])


def test_results_that_the_inputs_content_shapes(torch):
    """Their shapes are believed until one is another."""
    node = helper.make_node("NonZero", ["x"], ["y"])
    info = helper.make_tensor_value_info
    session = build(model([node], [info("x", TensorProto.FLOAT, ["n"])], [info("y", TensorProto.INT64, [1, "k"])])).session()
    for given in ([1, 0, 1], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 0]):
        x = numpy.array(given, numpy.float32)
        assert session.run([Tensor(x)])[0].array.tolist() == numpy.array(numpy.nonzero(x)).tolist()
    assert not session._places._makes


def test_an_array_that_cannot_be_written_in_place_is_refused(engine):
    room = numpy.zeros((2, 3), numpy.dtype(">f4"))
    with pytest.raises(ingot.InvalidArgument, match="in place"):
        engine.run([numpy.ones((2, 3), numpy.float32)], outputs=[room])


def test_an_older_library_goes_by_dlpack(engine, torch):
    del torch.strided
    x = Tensor(numpy.ones((2, 3), numpy.float32))
    assert numpy.array_equal(engine(x).array, x.array) and x.asked == 1


class Array:
    """A stand-in for JAX's arrays, of a type that is not where jax.Array is."""

    layout, device_set = "{1,0}", None

    def __init__(self, array):
        self.array, self.asked, self.waited = array, 0, 0
        self.dtype, self.shape, self.ndim, self._pjrt_layout = array.dtype, array.shape, array.ndim, self.layout
        self.sharding = types.SimpleNamespace(device_set=self.device_set or {CPU})

    def block_until_ready(self):
        self.waited += 1

    def unsafe_buffer_pointer(self):
        return self.array.ctypes.data

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        self.asked += 1
        return self.array.__dlpack__()


Array.__module__ = "jaxlib"


class Device:
    platform = "cpu"


CPU = Device()


@pytest.fixture
def jax(monkeypatch):
    """The stand-in as what is imported; what was made below jax.dlpack is in .wrapped."""
    module = types.SimpleNamespace(config=types.SimpleNamespace(jax_enable_x64=False), wrapped=[],
                                   dlpack=types.SimpleNamespace(from_dlpack=lambda tensor: Array(numpy.from_dlpack(tensor))))

    def wrap(capsule, device, stream, copy, kind):
        """dlpack_managed_tensor_to_buffer(dlpack, device: Device, stream, copy, dl_device_type)"""
        assert device is CPU and stream is None and copy is None and kind == 1
        module.wrapped.append(numpy.from_dlpack(types.SimpleNamespace(__dlpack__=lambda **options: capsule, __dlpack_device__=lambda: (1, 0))))
        return Array(module.wrapped[-1])

    for name, content in (("jax", module), ("jax._src.array", types.SimpleNamespace(ArrayImpl=Array)),
                          ("jax._src.lib", types.SimpleNamespace(_jax=types.SimpleNamespace(dlpack_managed_tensor_to_buffer=wrap, collect_garbage=lambda: None)))):
        monkeypatch.setitem(sys.modules, name, content)
    monkeypatch.setattr(libraries, "_opened", {})
    return module


def test_arrays_of_jax_are_read_by_their_attributes_and_made_below_its_dlpack(engine, jax):
    session = engine.session()
    for i in range(3):
        x = Array(numpy.arange(6, dtype=numpy.float32).reshape(2, 3) + i)
        y = session.run([x])[0]
        assert type(y) is Array and numpy.array_equal(y.array, x.array) and not x.asked and x.waited
        assert y.array is jax.wrapped[-1]
        session.run([x])
        assert x.waited == 1  # what was there once is there
    turned = Array(numpy.arange(6, dtype=numpy.float32).reshape(2, 3))
    turned._pjrt_layout = "{0,1}"
    session.run([turned])
    assert turned.asked == 1
    spread = Array(numpy.ones((2, 3), numpy.float32))
    spread.sharding = types.SimpleNamespace(device_set={CPU, Device()})
    session.run([spread])
    assert spread.asked == 1
    with pytest.raises(ingot.InvalidArgument, match="cannot be written to"):
        session.run([x], outputs=[x])


def test_numbers_of_64_bits_become_arrays_of_jax_as_it_says_itself(jax):
    engine = build(identity(TensorProto.INT64, ("n", "m")))
    x = Array(numpy.arange(6).reshape(2, 3))
    assert numpy.array_equal(engine(x).array, x.array) and not jax.wrapped
    jax.config.jax_enable_x64 = True
    assert numpy.array_equal(engine(x).array, x.array) and len(jax.wrapped) == 1


def test_a_version_of_jax_with_another_function(engine, jax):
    del sys.modules["jax._src.lib"]._jax.dlpack_managed_tensor_to_buffer
    x = Array(numpy.ones((2, 3), numpy.float32))
    assert numpy.array_equal(engine(x).array, x.array) and not jax.wrapped and not x.asked
