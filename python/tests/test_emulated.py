"""A GPU's memory and streams, on the emulated device, which reports every access that nothing orders. Run by itself: the driver is opened once."""
import ctypes
import gc
import logging
import os
import sys
import threading
import types
import weakref

import numpy
import pytest
from conftest import build, model, tensor
from onnx import TensorProto, helper

import ingot

LIBRARY = os.environ.get("INGOT_LIBCUDA", "")
if "emulator" not in LIBRARY:
    pytest.skip("only under ./dev emulate, which ./dev python calls for this file", allow_module_level=True)

logging.getLogger("ingot").setLevel(logging.CRITICAL + 1)  # after the race that is planted, all that is given back complains
DRIVER = ctypes.CDLL(LIBRARY)
pointer = ctypes.c_void_p


def call(name, *arguments):
    function = getattr(DRIVER, name)
    function.argtypes = None
    assert function(*arguments) == 0, name


class Memory:
    """A tensor of another library's on the GPU, written by work that its stream still holds."""

    def __init__(self, array, stream):
        self.array, self.asked = array, []
        self.address = pointer()
        call("cuMemAlloc_v2", ctypes.byref(self.address), ctypes.c_size_t(max(array.nbytes, 16)))
        call("cuMemcpyHtoDAsync_v2", self.address, pointer(array.ctypes.data), ctypes.c_size_t(array.nbytes), stream)

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        self.asked.append(stream)
        tensor = ingot.Tensor._of(self.address.value, ingot.dtype(self.array.dtype), self.array.shape, (2, 0), self)
        return ingot.dlpack.capsule(tensor, False)


@pytest.fixture(scope="module")
def stream():
    context, made = pointer(), pointer()
    call("cuInit", 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call("cuCtxPushCurrent_v2", context)
    call("cuStreamCreateWithPriority", ctypes.byref(made), 1, 0)
    return made


@pytest.fixture(scope="module")
def engine():
    w = helper.make_tensor("w", TensorProto.FLOAT, [16, 16], numpy.eye(16, dtype=numpy.float32).ravel() * 2)
    return ingot.build(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor("x", shape=("n", 16))], [tensor("y", shape=("n", 16))], [w]), device="cuda")


def ask_like_torch(monkeypatch, stream):
    monkeypatch.setattr(ingot.streams, "current", lambda kind, device: stream.value)


def read(result, stream):
    out = numpy.empty(result.shape, numpy.float32)
    call("cuMemcpyDtoHAsync_v2", pointer(out.ctypes.data), pointer(result.pointer), ctypes.c_size_t(out.nbytes), stream)
    call("cuStreamSynchronize", stream)
    return out


def test_host_arrays_come_and_go(engine):
    x = numpy.arange(32, dtype=numpy.float32).reshape(2, 16)
    assert numpy.array_equal(engine(x), 2 * x)


def test_on_the_callers_stream_nobody_waits(engine, stream, monkeypatch):
    ask_like_torch(monkeypatch, stream)
    x = numpy.arange(32, dtype=numpy.float32).reshape(2, 16)
    there = Memory(x, stream)
    session = engine.session()
    y = session.run([there])[0]
    assert there.asked == [stream.value]
    assert isinstance(y, ingot.Tensor) and y.__dlpack_device__() == (2, 0) and y.shape == (2, 16)
    assert numpy.array_equal(read(y, stream), 2 * x)
    again = session.run([y], on="host")[0].numpy()
    assert numpy.array_equal(again, 4 * x)


def test_results_go_to_the_callers_memory_on_the_gpu(engine, stream, monkeypatch):
    ask_like_torch(monkeypatch, stream)
    x = numpy.ones((2, 16), numpy.float32)
    there, room = Memory(x, stream), Memory(numpy.zeros((2, 16), numpy.float32), stream)
    given = engine.run([there], outputs=[room])[0]
    assert given is room
    out = ingot.Tensor._of(room.address.value, ingot.dtype("f32"), (2, 16), (2, 0), room)
    assert numpy.array_equal(read(out, stream), 2 * x)


def test_a_session_and_its_results_may_go_by_the_cycle_collector(engine):
    """In any order: the session is asked to go while a result still needs its device."""
    x = numpy.ones((2, 16), numpy.float32)
    for results in (1, 3):
        session = engine.session()
        cycle = [session] + [session.run([x], on="device")[0] for _ in range(results)]
        cycle.append(cycle)
        gone = weakref.ref(session)
        del session, cycle
        gc.collect()
        assert gone() is None


def test_a_run_that_is_refused_is_held_by_no_cycle(engine):
    gc.disable()
    try:
        session = engine.session()
        try:
            session.run([numpy.ones((2, 3, 4), numpy.float32)])
            pytest.fail("it is not refused")
        except ingot.Error:
            pass
        gone = weakref.ref(session)
        del session
        assert gone() is None
    finally:
        gc.enable()


def test_a_taker_on_another_stream_is_ordered_and_memory_goes_behind_it(engine, stream):
    session = engine.session()
    x = numpy.ones((2, 16), numpy.float32)
    y = session.run([x], on="device")[0]
    y = y if isinstance(y, ingot.Tensor) else pytest.fail("a numpy array of memory on a GPU")
    capsule = y.__dlpack__(stream=stream.value)
    assert numpy.array_equal(read(y, stream), 2 * x)
    del capsule, y
    gc.collect()
    assert not session._garbage
    session.run([x])


def test_a_takers_stream_may_end_before_the_result(engine, stream):
    """CuPy destroys a stream with its last object, work on it or not; what was taken on it may live on."""
    session = engine.session()
    x = numpy.ones((2, 16), numpy.float32)
    y = session.run([x], on="device")[0]
    short = pointer()
    call("cuStreamCreateWithPriority", ctypes.byref(short), 1, 0)
    there = Memory(numpy.zeros((2, 16), numpy.float32), short)
    capsule = y.__dlpack__(stream=short.value)
    call("cuMemcpyDtoDAsync_v2", there.address, pointer(y.pointer), ctypes.c_size_t(y.nbytes), short)
    copied = pointer()
    call("cuEventCreate", ctypes.byref(copied), 0)
    call("cuEventRecord", copied, short)
    call("cuStreamDestroy_v2", short)
    del capsule, y
    gc.collect()
    assert not session._garbage
    session.run([x], on="device")
    call("cuStreamWaitEvent", stream, copied, 0)
    assert (content(there, stream) == 2).all()


class Library:
    """What ingot.libraries asks of a library, of Memory as its tensors."""

    name, tensor = "torch", Memory

    def __init__(self, stream):
        self.current, self.made, self.fitting = stream, [], lambda shape: shape

    def pointer(self, value):
        return value.address.value

    def said(self, value):
        return value.array.shape

    def like(self, value, known):
        return value.address.value if known.said == value.array.shape else None

    def read(self, value):
        return ingot.dtype("f32"), (2, 0), value.address.value

    def stream(self, device):
        return self.current.value

    def maker(self, row, shape, device):
        assert row.name == "f32" and device == (2, 0)

        def make():
            self.made.append(Memory(numpy.full(self.fitting(shape), numpy.nan, numpy.float32), self.current))
            return self.made[-1]

        return make


def content(memory, stream):
    return read(ingot.Tensor._of(memory.address.value, ingot.dtype("f32"), memory.array.shape, (2, 0), memory), stream)


@pytest.fixture
def library(monkeypatch, stream):
    out = Library(stream)
    monkeypatch.setattr(Memory, "shape", property(lambda self: self.array.shape), raising=False)
    monkeypatch.setattr(Memory, "dtype", property(lambda self: self.array.dtype), raising=False)
    monkeypatch.setitem(ingot.libraries._opened, "torch", out)
    monkeypatch.setitem(ingot.values._families, Memory, "torch")
    monkeypatch.setattr(ingot.session, "present", lambda tensor, kind: tensor)
    return out


def test_a_librarys_tensors_are_read_and_made_on_its_stream(engine, stream, library):
    """Written and read on the library's stream without a wait: the emulated device finds what is not ordered."""
    session = engine.session()
    for i in range(5):
        x = numpy.full((2 + i // 3, 16), i, numpy.float32)  # an open size: the fourth call's is new
        there = Memory(x, stream)
        y = session.run([there])[0]
        assert not there.asked
        if i in (0, 3):
            assert isinstance(y, ingot.Tensor)
            assert numpy.array_equal(read(y, stream), 2 * x)
        else:
            assert y is library.made[-1]
            assert numpy.array_equal(content(y, stream), 2 * x)
        call("cuMemcpyHtoDAsync_v2", there.address, pointer(numpy.zeros_like(x).ctypes.data), ctypes.c_size_t(x.nbytes), stream)
    assert len(library.made) == 3


def test_a_kernel_writes_results_of_open_sizes_itself(engine, stream, library):
    there, room = Memory(numpy.ones((3, 16), numpy.float32), stream), Memory(numpy.full((3, 16), 7, numpy.float32), stream)
    session = engine.session()
    assert session.run([there], outputs=[room])[0] is room
    assert (content(room, stream) == 2).all()
    small = Memory(numpy.full((2, 16), 7, numpy.float32), stream)
    with pytest.raises(ingot.InvalidArgument, match="said to be"):
        session.run([there], outputs=[small])
    assert (content(small, stream) == 7).all()
    assert session.run([there], outputs=[room])[0] is room


def test_a_result_that_is_not_as_before_is_lent(engine, stream, library):
    session = engine.session()
    there = Memory(numpy.ones((2, 16), numpy.float32), stream)
    session.run([there])
    library.fitting = lambda shape: (shape[0] + 1,) + shape[1:]
    for _ in range(2):
        y = session.run([there])[0]
        assert isinstance(y, ingot.Tensor) and y.shape == (2, 16) and (read(y, stream) == 2).all()
    assert len(library.made) == 1


def test_a_taker_that_asks_for_order_while_results_are_given(engine, stream, monkeypatch):
    """As PyTorch does: from_dlpack asks the tensor for its capsule, which asks the session for order."""
    taken = []

    class Torch:
        @staticmethod
        def from_dlpack(tensor):
            taken.append(tensor)
            return tensor.__dlpack__(stream=stream.value)

    monkeypatch.setitem(sys.modules, "torch", Torch)
    monkeypatch.setitem(ingot.values._families, Memory, "torch")
    ask_like_torch(monkeypatch, stream)
    x = numpy.ones((2, 16), numpy.float32)
    there = Memory(x, stream)
    thread = threading.Thread(target=lambda: taken.append(engine(there)), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and type(taken[1]).__name__ == "PyCapsule"
    assert numpy.array_equal(read(taken[0], stream), 2 * x)


def test_a_result_of_another_session_is_waited_for(engine):
    x = numpy.ones((2, 16), numpy.float32)
    sessions = [engine.session(), engine.session()]
    results = [session.run([x], on="device")[0] for session in sessions]
    for i in (0, 1, 0):
        assert (sessions[i].run([results[1 - i]], on="host")[0].numpy() == 4).all()


@pytest.mark.parametrize("other", [False, True])
def test_sessions_on_threads_of_their_own(engine, other):
    """Each is given a tensor of its own, or the other's, which it waits for while that one runs."""
    x = numpy.ones((2, 16), numpy.float32)
    sessions = [engine.session(), engine.session()]
    results = [session.run([x], on="device")[0] for session in sessions]
    for session in sessions:
        session.synchronize()
    right = []

    def work(i):
        given = results[1 - i if other else i]
        right.append(all((sessions[i].run([given], on="host")[0].numpy() == 4).all() for _ in range(20)))

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert right == [True, True]


class Cupy:
    """A stand-in for CuPy: its names, on memory of the emulated device, and streams that end with their object."""

    __version__ = "14.0.0"

    def __init__(self):
        cupy = self
        self.streams = []

        class ndarray:
            def __init__(self, shape, dtype, taken=None):
                self.shape, self.dtype, self.taken = shape, numpy.dtype(dtype), taken
                there = pointer()
                if taken is None:
                    call("cuMemAlloc_v2", ctypes.byref(there), ctypes.c_size_t(4096))
                self.data = types.SimpleNamespace(ptr=there.value, device_id=0)
                self.flags = types.SimpleNamespace(c_contiguous=True)

            def __dlpack__(self, **options):
                raise AssertionError("read without DLPack")

        class Stream:
            def __enter__(self):
                made = pointer()
                call("cuStreamCreateWithPriority", ctypes.byref(made), 1, 0)
                self.ptr = made.value
                cupy.streams.append(self)
                return pointer(self.ptr)

            def __exit__(self, *error):
                call("cuStreamDestroy_v2", pointer(cupy.streams.pop().ptr))

        ndarray.__module__ = "cupy"
        self.ndarray, self.Stream = ndarray, Stream
        self.cuda = types.SimpleNamespace(Device=None, get_current_stream=lambda device: self.streams[-1], runtime=types.SimpleNamespace(getDevice=lambda: 0, is_hip=False))

    def from_dlpack(self, tensor):
        capsule = tensor.__dlpack__(stream=self.streams[-1].ptr, max_version=(1, 0), copy=None)
        out = self.ndarray(tensor.shape, "<f4", capsule)
        out.data.ptr = ingot.dlpack.tensor_in(capsule).data
        return out


def test_cupys_arrays_on_streams_that_end(engine, monkeypatch):
    cupy = Cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.delitem(ingot.libraries._opened, "cupy", raising=False)
    session, results = engine.session(), []
    for i in range(6):
        with cupy.Stream() as stream:
            x, source = cupy.ndarray((2, 16), "<f4"), numpy.full((2, 16), i, numpy.float32)
            call("cuMemcpyHtoDAsync_v2", pointer(x.data.ptr), pointer(source.ctypes.data), ctypes.c_size_t(source.nbytes), stream)
            y = session.run([x])[0]
            assert type(y) is cupy.ndarray and (y.taken is None) == (i > 0)
            out = numpy.empty((2, 16), numpy.float32)
            call("cuMemcpyDtoHAsync_v2", pointer(out.ctypes.data), pointer(y.data.ptr), ctypes.c_size_t(out.nbytes), stream)
            call("cuStreamSynchronize", stream)
            assert (out == 2 * i).all()
            results.append(y)
    results.clear()
    del y
    gc.collect()
    assert not session._garbage and not ingot.dlpack._given


class JaxArray:
    """A stand-in for JAX's arrays on a GPU: waiting for one waits for the stream that writes it."""

    def __init__(self, address, shape, kept, stream=None, device=None):
        self.address, self.shape, self.kept, self.stream = address, shape, kept, stream
        self.dtype, self.ndim, self._pjrt_layout = numpy.dtype("<f4"), len(shape), "{1,0}"
        self.sharding = types.SimpleNamespace(device_set={device or JAX_DEVICE}, memory_kind="device")

    def block_until_ready(self):
        if self.stream is not None:
            call("cuStreamSynchronize", self.stream)

    def unsafe_buffer_pointer(self):
        return self.address

    def __dlpack__(self, **options):
        raise AssertionError("read without DLPack")


JaxArray.__module__ = "jaxlib"
JAX_HOST = type("Device", (), {"platform": "cpu"})()
JAX_DEVICE = type("Device", (), {"platform": "gpu", "local_hardware_id": 0, "client": types.SimpleNamespace(platform_version="cuda 13000")})()


@pytest.mark.parametrize("beside", [False, True])
def test_jaxs_arrays_are_waited_for_and_results_are_there(stream, library, monkeypatch, beside):
    """Where another library's tensor alone orders the call, too; nobody orders what is read afterwards."""

    def wrap(capsule, device, stream, copy, kind):
        """(dlpack, device, stream, copy, dl_device_type)"""
        assert device is JAX_DEVICE and kind == 2
        held = ingot.dlpack.tensor_in(capsule)
        return JaxArray(held.data, tuple(held.shape[: held.ndim]), capsule)

    for name, content in (("jax", types.SimpleNamespace(config=types.SimpleNamespace(jax_enable_x64=False))),
                          ("jax._src.array", types.SimpleNamespace(ArrayImpl=JaxArray)),
                          ("jax._src.lib", types.SimpleNamespace(_jax=types.SimpleNamespace(dlpack_managed_tensor_to_buffer=wrap, collect_garbage=lambda: None)))):
        monkeypatch.setitem(sys.modules, name, content)
    monkeypatch.delitem(ingot.libraries._opened, "jax", raising=False)
    monkeypatch.setattr(ingot.session, "present", ingot.values.present)
    session = ingot.build(model([helper.make_node("Add", ["x", "z"], ["y"])], [tensor("x", shape=("n", 16)), tensor("z", shape=(1, 16))], [tensor("y", shape=("n", 16))]),
                          device="cuda").session()
    other = pointer()
    call("cuStreamCreateWithPriority", ctypes.byref(other), 1, 0)
    ingot.libraries.named("jax")._devices[(2, 0)] = JAX_DEVICE  # as after an array that lay there
    for i in range(4):
        array, z = numpy.full((2, 16), i, numpy.float32), numpy.ones((1, 16), numpy.float32)
        memory = Memory(array, other)
        x = JaxArray(array.ctypes.data, (2, 16), array, device=JAX_HOST) if beside else JaxArray(memory.address.value, (2, 16), memory, other)
        y = session.run([x, Memory(z, stream) if beside else z])[0]
        assert type(y) is JaxArray
        out, third = numpy.empty((2, 16), numpy.float32), pointer()
        call("cuStreamCreateWithPriority", ctypes.byref(third), 1, 0)
        call("cuMemcpyDtoHAsync_v2", pointer(out.ctypes.data), pointer(y.address), ctypes.c_size_t(out.nbytes), third)
        call("cuStreamSynchronize", third)
        assert (out == i + 1).all()


def test_arrays_in_pinned_memory(engine):
    """The emulated device reads and writes them when a copy's turn comes."""
    session = engine.session()
    x, y = ingot.empty_pinned((4096, 16)), ingot.empty_pinned((4096, 16), numpy.float32)
    assert type(x) is numpy.ndarray and x.dtype == numpy.float32 and x.shape == (4096, 16) and x.flags.writeable
    for i in range(3):
        x[:] = numpy.arange(16) + i
        expected = 2 * x
        assert session.run([x], outputs=[y])[0] is y and numpy.array_equal(y, expected)
        there = session.run([x], on="device")[0]
        x[:] = 0
        assert numpy.array_equal(session.run([there], on="host")[0].numpy(), 2 * expected)
    view = y[1:2]
    del x, y
    gc.collect()
    assert numpy.array_equal(view, expected[1:2])
    assert ingot.empty_pinned((0, 3), "i64").shape == (0, 3) and ingot.empty_pinned(2, "bf16").dtype.name in ("bf16", "bfloat16")


def test_providers_of_a_gpu():
    import ingot.onnxruntime as ort

    assert ort.get_available_providers()[-2:] == ["CUDAExecutionProvider", "CPUExecutionProvider"] and ort.get_device() == "GPU"
    digits = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "digits", "digits.onnx")
    session = ort.InferenceSession(digits, providers=[("CUDAExecutionProvider", {"device_id": 0})])
    assert session.get_providers() == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    binding = session.io_binding()
    binding.bind_cpu_input("image", numpy.zeros((1, 1, 8, 8), numpy.uint8))
    binding.bind_output("probabilities", "cuda")
    session.run_with_iobinding(binding)
    assert binding.get_outputs()[0].device_name() == "cuda"
    (result,) = session.run(None, {"image": numpy.zeros((1, 1, 8, 8), numpy.uint8)})
    assert abs(result.sum() - 1) < 1e-5


def test_a_race_is_found(engine, stream):
    """The same without order, for the test to have teeth: the emulated device reports it."""
    session = engine.session()
    x = numpy.ones((2, 16), numpy.float32)
    there = Memory(x, stream)
    session._arguments.take([ingot.Tensor._of(there.address.value, ingot.dtype("f32"), (2, 16), (2, 0), there)])
    session._places.lend(False)
    error = ingot._library.lib.ingot_session_run_into(session._handle, session._arguments.array, 1, session._places.array, 1)
    with pytest.raises(ingot.DeviceError):
        ingot._library.check(error)
        session.synchronize()
