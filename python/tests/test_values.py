"""Values in and out: element types with and without a name in numpy, strings, sequences, optionals, memory of the caller's."""
import array
import subprocess
import sys

import numpy
import pytest
from conftest import build, identity, model, tensor
from onnx import TensorProto, helper

import ingot

WITH_NUMPY = [row for row in ingot.DTYPES if row.typestr]
WITHOUT_NUMPY = [row for row in ingot.DTYPES if not row.typestr and row.name != "string"]


@pytest.mark.parametrize("row", WITH_NUMPY, ids=str)
def test_types_of_numpy(row):
    x = numpy.array([[0, 1, 0], [1, 1, 0]]).astype(row.typestr)
    y = build(identity(row.onnx, ("n", 3)))(x)
    assert y.dtype == x.dtype and numpy.array_equal(x, y)


@pytest.mark.parametrize("row", WITHOUT_NUMPY, ids=str)
def test_types_that_numpy_has_no_name_for(row):
    raw = bytes(range(0, row.itemsize * 2))  # of packed types: 0 and 1
    x = ingot.Tensor(bytearray(raw), row, (1, 2))
    y = build(identity(row.onnx, ("n", 2)))(x)
    assert isinstance(y, ingot.Tensor) and y.dtype is row and y.shape == (1, 2) and y.tobytes() == raw


def test_types_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for row in WITHOUT_NUMPY:
        x = numpy.array([[-1 if row.name in ("i4", "i2") else 1, 1]]).astype(getattr(ml_dtypes, ingot.dtypes.ML_DTYPES[row.name]))
        y = build(identity(row.onnx, ("n", 2)))(x)
        assert y.dtype == x.dtype and numpy.array_equal(x.astype(float), y.astype(float)), row


def test_strings():
    engine = build(identity(TensorProto.STRING, ("n", 2)))
    words = [["Straße", ""], ["日本", "d"]]
    for x in (numpy.array(words, dtype=object), numpy.array(words), words):
        y = engine(x)
        assert y.dtype == object and y.tolist() == words
    y = engine(ingot.Tensor(["a", "b"], shape=(1, 2)))
    assert y.tolist() == [["a", "b"]]
    with pytest.raises(ValueError, match="NUL"):
        engine([["a\0b", "c"]])


def test_numbers_lists_and_buffers():
    engine = build(identity(TensorProto.FLOAT, ("n", 2)))
    assert engine([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert engine(memoryview(array.array("f", [1, 2, 3, 4])).cast("B").cast("f", (2, 2))).tolist() == [[1, 2], [3, 4]]
    assert engine(array.array("f", [1, 2, 3, 4]).tobytes()).tolist() == [[1, 2], [3, 4]]
    assert build(identity(TensorProto.INT64, ()))(7).item() == 7
    with pytest.raises(ingot.InvalidArgument, match="different lengths"):
        engine([[1, 2], [3]])


def test_arrays_that_lie_otherwise_are_laid_row_major():
    engine = build(identity(TensorProto.FLOAT, ("n", "m")))
    x = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
    for view in (x.T, x[::2], x[:, ::-1], x.astype(">f4")):
        assert numpy.array_equal(engine(view), view)
    assert engine(numpy.zeros((0, 4), numpy.float32)).shape == (0, 4)


def test_no_copies():
    """An input that is handed through is copied once, by the run; what the run made is not copied again."""
    engine = build(identity(TensorProto.FLOAT))
    x = numpy.arange(8, dtype=numpy.float32)
    session = engine.session()
    session._arguments.take([x])
    assert session._arguments.array[0].data == x.ctypes.data
    large = numpy.arange(8192, dtype=numpy.float32)
    y = session.run([large])[0]
    owner = y.base
    assert isinstance(owner, ingot.Tensor) and owner.pointer == y.ctypes.data


def test_read_only_and_empty_arrays():
    engine = build(identity(TensorProto.FLOAT))
    x = numpy.arange(4, dtype=numpy.float32)
    x.setflags(write=False)
    for _ in range(3):  # the first call describes the array, others find it described
        assert engine(x).tolist() == [0, 1, 2, 3]
        assert engine(x[:0]).shape == (0,)
        assert engine(x[:0]).tolist() == []


def test_results_go_where_the_caller_says(digits, images):
    expected = digits(images[:2])
    room = numpy.full((4, 10), 42, numpy.float32)
    given = digits.run([images[:2]], outputs={"probabilities": room[1:3]})
    assert given[0].base is room and numpy.array_equal(room[1:3], expected) and (room[[0, 3]] == 42).all()
    session = digits.session()
    for given in (images[:2], images[:3], images[:2], images[:2]):  # what structs say of the last call does not matter
        rooms = [numpy.empty((len(given), 10), numpy.float32), numpy.empty((len(given), 10), numpy.float32)]
        for room_ in rooms:
            assert session.run([given], outputs=[room_])[0] is room_
        assert numpy.array_equal(rooms[0], digits(given)) and numpy.array_equal(rooms[1], rooms[0])
        assert numpy.array_equal(session.run([given])[0], rooms[0])
    memory = bytearray(expected.nbytes)
    digits.run([images[:2]], outputs=[ingot.Tensor(memory, "f32", (2, 10))])
    assert bytes(memory) == expected.tobytes()
    assert numpy.array_equal(digits.run([images[:2]], outputs=[None])[0], expected)
    for wrong, says in ((numpy.empty((3, 10), numpy.float32), "is f32"), (numpy.empty((2, 10)), "is f32"), (b"", "cannot be written"), (room.T, "not row-major")):
        with pytest.raises(ingot.InvalidArgument, match=says):
            digits.run([images[:2]], outputs=[wrong])
    room.setflags(write=False)
    with pytest.raises(ingot.InvalidArgument, match="read-only"):
        digits.run([images[:2]], outputs=[room[:2]])
    with pytest.raises(ingot.InvalidArgument, match="scores"):
        digits.run([images[:2]], outputs={"scores": room})


def test_sequences_and_optionals():
    sequence = helper.make_tensor_sequence_value_info
    engine = build(model([helper.make_node("SequenceInsert", ["s", "x"], ["t"])], [sequence("s", TensorProto.FLOAT, None), helper.make_tensor_value_info("x", TensorProto.FLOAT, (None,))],
                         [sequence("t", TensorProto.FLOAT, None)]))
    assert [binding.kind for binding in engine.inputs] == ["sequence", "tensor"]
    parts = [numpy.ones(2, numpy.float32), numpy.zeros(3, numpy.float32)]
    out = engine(parts, numpy.full(1, 5, numpy.float32))
    assert [one.tolist() for one in out] == [[1, 1], [0, 0, 0], [5]]
    assert [one.tolist() for one in engine([], numpy.full(1, 5, numpy.float32))] == [[5]]


def test_an_input_with_a_default_may_be_left_out():
    default = helper.make_tensor("b", TensorProto.FLOAT, [1], [10.0])
    engine = build(model([helper.make_node("Add", ["a", "b"], ["y"])], [tensor("a", shape=(1,)), tensor("b", shape=(1,))], [tensor("y", shape=(1,))], [default]))
    one = numpy.ones(1, numpy.float32)
    assert engine(one).tolist() == [11] and engine(a=one).tolist() == [11] and engine(one, None).tolist() == [11] and engine(one, one).tolist() == [2]
    assert engine.inputs[1].has_default
    with pytest.raises(ingot.InvalidArgument, match="input 'a' is missing"):
        engine(b=one)


def test_numpy_is_optional(tmp_path):
    (tmp_path / "model.onnx").write_bytes(identity(TensorProto.FLOAT, (2, 2)))
    program = """
import sys
sys.modules["numpy"] = None
import ingot
engine = ingot.build(sys.argv[1], device="cpu")
y = engine([[1, 2], [3, 4]])
assert isinstance(y, ingot.Tensor) and y.tolist() == [[1, 2], [3, 4]] and y.memory().cast("f").tolist() == [1, 2, 3, 4], y
assert engine(y).tolist() == y.tolist()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.onnx")], check=True)


def test_pinned_memory_takes_a_gpu():
    for wrong in ({"dtype_": "string"}, {"shape": (2, -1)}, {"device": "cpu"}):
        with pytest.raises(ingot.InvalidArgument):
            ingot.empty_pinned(**{"shape": (2, 3), "device": "cuda", **wrong})
    with pytest.raises((ingot.Unsupported, ingot.DeviceError), match="there is no GPU|libcuda"):
        ingot.empty_pinned(4, device="cuda:97")
