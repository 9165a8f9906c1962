"""Models, engines and sessions: built, saved, described, called from threads."""
import copy
import gc
import os
import pickle
import threading

import numpy
import onnx
import pytest
from conftest import DIGITS, build, identity, model, tensor
from onnx import TensorProto, helper

import ingot
from ingot import config


def test_inputs_and_outputs_are_described(digits):
    assert digits.inputs == (ingot.Binding("image", "tensor", ingot.dtype("u8"), ("batch", 1, 8, 8), False),)
    assert digits.outputs[0].dims == ("batch", 10)
    assert str(digits.outputs[0]) == "probabilities: f32[batch, 10]"
    assert "image: u8[batch, 1, 8, 8] -> probabilities" in repr(digits)


def test_calls_by_place_and_by_name(digits, images):
    by_place = digits(images[:3])
    assert by_place.shape == (3, 10) and by_place.dtype == numpy.float32
    assert numpy.allclose(by_place.sum(1), 1, atol=1e-5)
    assert numpy.array_equal(by_place, digits(image=images[:3]))
    assert numpy.array_equal(by_place, digits.run({"image": images[:3]})["probabilities"])


def test_the_same_from_a_path_from_bytes_and_from_onnx(digits, images, tmp_path):
    expected = digits(images[:2])
    with open(DIGITS, "rb") as file:
        raw = file.read()
    for source in (raw, bytearray(raw), onnx.load(DIGITS), ingot.Model(DIGITS)):
        assert numpy.array_equal(build(source)(images[:2]), expected)


def test_saved_and_loaded(digits, images, tmp_path):
    digits.save(tmp_path / "digits.ingot")
    raw = digits.tobytes()
    assert (tmp_path / "digits.ingot").read_bytes() == raw
    for source in (tmp_path / "digits.ingot", str(tmp_path / "digits.ingot"), raw, memoryview(raw)):
        assert numpy.array_equal(ingot.load(source, device="cpu")(images[:2]), digits(images[:2]))


def test_results_stay_while_the_engine_runs_on(digits, images):
    first = digits(images[:1])
    kept = first.copy()
    for i in range(1, 20):
        digits(images[i : i + 1])
    assert numpy.array_equal(first, kept)
    session = digits.session()
    result = session.run([images[:1]])[0]
    del session
    gc.collect()
    assert numpy.array_equal(result, kept)


def test_results_have_names_and_are_copied_with_them(digits, images):
    results = digits.run([images[:1]])
    assert isinstance(results, ingot.Results) and results["probabilities"] is results[0] and [name for name, _ in results.items()] == ["probabilities"]
    again = pickle.loads(pickle.dumps(results))
    assert numpy.array_equal(again["probabilities"], results[0]) and isinstance(copy.copy(results), ingot.Results)
    with pytest.raises(KeyError, match="there are probabilities"):
        results["score"]


def test_results_are_writable_and_nobody_elses():
    engine = build(model([helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])], [tensor("x")], [tensor("y"), tensor("z")]))
    x = numpy.arange(4, dtype=numpy.float32)
    y, z = engine(x)
    y[:] = 7
    assert x.tolist() == [0, 1, 2, 3] and z.tolist() == [0, 1, 2, 3]


def test_several_outputs_have_names():
    engine = build(model([helper.make_node("Split", ["x"], ["a", "b"], num_outputs=2)], [tensor("x", shape=(4,))], [tensor("a", shape=(2,)), tensor("b", shape=(2,))]))
    results = engine(numpy.arange(4, dtype=numpy.float32))
    assert results["b"].tolist() == [2, 3] and results[0].tolist() == [0, 1] and [name for name, _ in results.items()] == ["a", "b"]
    with pytest.raises(KeyError, match="there is no output 'c'"):
        results["c"]


def test_threads_have_sessions_of_their_own(digits, images):
    expected = [digits(images[i : i + 1]) for i in range(8)]
    wrong = []

    def work(i):
        for _ in range(50):
            if not numpy.array_equal(digits(images[i : i + 1]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(digits._idle) <= 9


def test_a_session_serves_threads_one_after_the_other(digits, images):
    session = digits.session()
    expected = session.run([images[:1]])[0]
    wrong = []
    threads = [threading.Thread(target=lambda: wrong.extend(not numpy.array_equal(session.run([images[:1]])[0], expected) for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 200 and not any(wrong)


def test_a_forked_process_has_sessions_of_its_own(digits, images):
    expected = digits(images[:1])
    child = os.fork()
    if not child:
        os._exit(0 if numpy.array_equal(digits(images[:1]), expected) and digits.profile(images[:1]) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert numpy.array_equal(digits(images[:1]), expected)


def test_inputs_by_any_mapping(digits, images):
    import types

    assert numpy.array_equal(digits.run(types.MappingProxyType({"image": images[:1]}))[0], digits(images[:1]))


def test_calls_do_not_grow(digits, images):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(500):
        digits(images[:1])
    before = resident()
    for _ in range(5000):
        digits(images[:1])
    assert resident() - before < 2 << 20


def test_what_an_engine_tells(digits, images):
    assert "node" in digits.text or "conv" in digits.text
    assert "conv" in ingot.Model(DIGITS).text
    assert any(one.changes for one in digits.passes) and digits.passes[0].nodes_before > 0
    assert all(one.rule and one.pass_name for one in digits.rewrites) and digits.rewrites
    session = digits.session()
    session.prepare(image=(4, 1, 8, 8))
    assert session.memory.weights > 0 and 0 < session.memory.arena <= session.memory.unpacked
    profile = session.profile([images[:4]])
    assert profile.milliseconds > 0 and any("stem.conv (Conv)" in step.origins for step in profile)
    assert "predicted" in str(profile)
    assert session.plan([images[:4]]) == session.plan({"image": images[:4]})
    assert "stem.conv" in session.plan([images[:4]])
    sites = session.explain("right.conv", [images[:4]])["sites"]
    assert sites and all(sum(way["chosen"] for each in site["implementations"] for way in each["ways"]) == 1 for site in sites)
    assert session.time([images[:4]], seconds=0.05) > 0
    assert "threads" in session.device
    assert digits.memory.weights == session.memory.weights
    fixed = build(identity(TensorProto.FLOAT, (2,)))
    assert [plan.steps >= 0 and bool(plan.text) for plan in fixed.plans] == [True]


def test_shapes_are_prepared(digits):
    session = digits.session()
    with pytest.raises(ingot.InvalidArgument, match="there is no input 'picture'"):
        session.prepare(picture=(1,))
    with pytest.raises(ingot.InvalidArgument, match="has no shape given"):
        session.prepare()
    with pytest.raises(ingot.InvalidArgument, match="4 axes"):
        session.prepare(image=(1, 8, 8))


def test_ranges_of_shapes_are_text():
    struct = ingot._abi.ingot_config()
    config._set_shapes(struct, {"ids": ((1, 8), (16, 128, 512)), "x": (3, numpy.int64(4))})
    assert struct.tuning_shapes == b"ids:1..8x16..128..512,x:3x4"
    with pytest.raises(ingot.InvalidArgument, match="kernels of a GPU"):
        ingot.build(DIGITS, device="cpu", shapes={"image": ((1, 4), 1, 8, 8)})
