"""InferenceSession in ONNX Runtime's form: what programs ask of it."""
import json
import logging
import os
import threading

import numpy
import onnx
import pytest
from conftest import DIGITS, model, tensor
from onnx import TensorProto, helper

import ingot
import ingot.onnxruntime as ort

CPU = ["CPUExecutionProvider"]


@pytest.fixture(scope="module")
def session():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(DIGITS, options, providers=CPU)


def test_inputs_outputs_and_runs(session, images, digits):
    (image,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape, image.type) == ("image", ["batch", 1, 8, 8], "tensor(uint8)")
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    expected = digits(images[:2])
    for names in (None, [], ["probabilities"]):
        (result,) = session.run(names, {image.name: images[:2]})
        assert numpy.array_equal(result, expected)
    assert "1 threads" in session.engine._last.device
    with pytest.raises(ingot.InvalidArgument, match="Invalid output name: scores"):
        session.run(["scores"], {"image": images[:2]})
    with pytest.raises(ValueError, match="Required inputs .*image.* are missing"):
        session.run(None, {})
    with pytest.raises(ingot.InvalidArgument, match="there is no input 'x'"):
        session.run(None, {"image": images[:2], "x": images})
    options = ort.RunOptions()
    options.terminate = True
    with pytest.raises(ingot.Cancelled):
        session.run(None, {"image": images[:2]}, options)


def test_names_of_the_top_module():
    assert ingot.InferenceSession is ort.InferenceSession and ingot.get_device() == "CPU"
    for name in ingot.__all__:
        assert getattr(ingot, name) is not None
    with pytest.raises(AttributeError):
        ingot.NoSuchName


def test_bytes_and_engines(images, digits, tmp_path):
    digits.save(tmp_path / "digits.ingot")
    with open(DIGITS, "rb") as file:
        raw = file.read()
    for source in (raw, onnx.load(DIGITS), str(tmp_path / "digits.ingot"), digits.tobytes()):
        assert numpy.array_equal(ort.InferenceSession(source, providers=CPU).run(None, {"image": images[:2]})[0], digits(images[:2]))


def test_what_a_file_says_of_itself():
    made = onnx.load_from_string(model([helper.make_node("Neg", ["x"], ["y"])], [tensor("x")], [tensor("y")]))
    made.producer_name, made.domain, made.doc_string, made.model_version, made.graph.doc_string = "maker", "org.test", "a model", 7, "a graph"
    helper.set_model_props(made, {"character": "a\nb", "": "empty"})
    meta = ort.InferenceSession(made, providers=CPU).get_modelmeta()
    assert meta == ort.ModelMetadata("maker", "test", "org.test", "a model", "a graph", 7, {"character": "a\nb", "": "empty"})


def test_kinds_of_values_are_described():
    sequence = helper.make_tensor_sequence_value_info
    default = helper.make_tensor("d", TensorProto.FLOAT, [1], [1.0])
    made = model([helper.make_node("SequenceInsert", ["s", "x"], ["t"]), helper.make_node("Add", ["x", "d"], ["y"])],
                 [sequence("s", TensorProto.FLOAT, None), tensor("x", shape=(1,)), tensor("d", shape=(1,))], [sequence("t", TensorProto.FLOAT, None), tensor("y", shape=(1,))], [default])
    session = ort.InferenceSession(made, providers=CPU)
    assert [one.type for one in session.get_inputs()] == ["seq(tensor(float))", "tensor(float)"]
    assert [one.name for one in session.get_overridable_initializers()] == ["d"]
    one = numpy.ones(1, numpy.float32)
    sequence, total = session.run(None, {"s": [], "x": one})
    assert isinstance(sequence, list) and sequence[0].tolist() == [1] and total.tolist() == [2]
    assert session.run(["y"], {"s": [], "x": one, "d": 3 * one})[0].tolist() == [4]


def test_options_are_taken_noted_or_refused(caplog, tmp_path, images):
    options = ort.SessionOptions()
    with caplog.at_level(logging.INFO, logger="ingot"):
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        options.add_session_config_entry("session.x", "1")
    assert [record.message for record in caplog.records] == ["SessionOptions.enable_mem_pattern = False changes nothing here", "SessionOptions.log_severity_level = 3 changes nothing here",
                                                             "the session entry session.x = '1' changes nothing here"]
    assert options.get_session_config_entry("session.x") == "1"
    for refused in (lambda: setattr(options, "optimized_model_filepath", "x.onnx"), lambda: options.register_custom_ops_library("x.so"), lambda: options.add_initializer("w", 1),
                    lambda: options.add_free_dimension_override_by_denotation("BATCH", 1)):
        with pytest.raises(ingot.Unsupported):
            refused()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_free_dimension_override_by_name("batch", 3)
    session = ort.InferenceSession(DIGITS, options, providers=CPU)
    assert session.get_inputs()[0].shape == [3, 1, 8, 8] and not session.engine.rewrites
    assert session.engine._idle[0].memory.arena > 0
    with pytest.raises(TypeError, match="speed"):
        ort.InferenceSession(DIGITS, providers=CPU, speed=1)


def test_providers():
    assert ort.get_available_providers() == CPU and set(CPU) < set(ort.get_all_providers())
    with pytest.warns(UserWarning, match="CUDAExecutionProvider is not there"):
        session = ort.InferenceSession(DIGITS, providers=[("CUDAExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"])
    assert session.get_providers() == CPU and session.get_provider_options() == {"CPUExecutionProvider": {}}
    session.set_providers(CPU, [{"arena_extend_strategy": "kSameAsRequested"}])
    assert session.get_provider_options()["CPUExecutionProvider"] == {"arena_extend_strategy": "kSameAsRequested"}
    from ingot.onnxruntime.providers import _gpu

    assert _gpu("TensorrtExecutionProvider", {"device_id": "1", "trt_fp16_enable": True, "trt_engine_cache_path": "c", "user_compute_stream": "5", "trt_max_workspace_size": 9}) == {
        "device": "cuda:1", "precision": ["fp16"], "cache_directory": "c", "cuda_stream": 5, "workspace_limit": 9}
    with pytest.raises(ingot.Unsupported, match="trt_int8_enable"):
        _gpu("TensorrtExecutionProvider", {"trt_int8_enable": 1})


def test_bindings(session, images, digits):
    expected = digits(images[:2])
    binding = session.io_binding()
    binding.bind_cpu_input("image", images[:2])
    binding.bind_output("probabilities")
    session.run_with_iobinding(binding)
    assert numpy.array_equal(binding.copy_outputs_to_cpu()[0], expected)
    room = numpy.zeros((2, 10), numpy.float32)
    pixels = numpy.ascontiguousarray(images[:2])
    binding.bind_input("image", "cpu", 0, numpy.uint8, pixels.shape, pixels.ctypes.data)
    binding.bind_output("probabilities", "cpu", 0, numpy.float32, room.shape, room.ctypes.data)
    session.run_with_iobinding(binding)
    assert numpy.array_equal(room, expected)
    value = ort.OrtValue.ortvalue_from_shape_and_type((2, 10), numpy.float32)
    binding.clear_binding_outputs()
    binding.bind_ortvalue_input("image", ort.OrtValue.ortvalue_from_numpy(pixels))
    binding.bind_ortvalue_output("probabilities", value)
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    assert numpy.array_equal(value.numpy(), expected) and binding.get_outputs()[0].data_ptr() == value.data_ptr()


def test_values(session, images, digits):
    value = ort.OrtValue.ortvalue_from_numpy(numpy.zeros((2, 3), numpy.float32))
    assert (value.shape(), value.data_type(), value.element_type(), value.device_name(), value.is_tensor(), value.has_value()) == ([2, 3], "tensor(float)", 1, "cpu", True, True)
    value.update_inplace(numpy.ones((2, 3), numpy.float32))
    again = ort.OrtValue.from_dlpack(value.to_dlpack())
    assert again.numpy().sum() == 6 and again.data_ptr() == value.data_ptr()
    with pytest.raises(ingot.Unsupported):
        ort.OrtValue.ortvalue_from_numpy(numpy.zeros(1), "cuda")
    (result,) = session.run_with_ort_values(None, {"image": ort.OrtValue.ortvalue_from_numpy(images[:2])})
    assert numpy.array_equal(result.numpy(), digits(images[:2]))


def test_asynchronous_runs(session, images, digits):
    done, seen = threading.Event(), []

    def callback(results, user_data, error):
        seen.append((results, user_data, error))
        done.set()

    session.run_async(None, {"image": images[:1]}, callback, "data")
    assert done.wait(60) and numpy.array_equal(seen[0][0][0], digits(images[:1])) and seen[0][1:] == ("data", "")
    done.clear()
    session.run_async(None, {}, callback, None)
    assert done.wait(60) and "Required inputs" in seen[1][2]


def test_profiling(images, tmp_path):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "p")
    session = ort.InferenceSession(DIGITS, options, providers=CPU)
    session.run(None, {"image": images[:1]})
    assert session.get_profiling_start_time_ns() > 0
    name = session.end_profiling()
    with open(name) as file:
        events = json.load(file)
    assert os.path.dirname(name) == str(tmp_path) and any("stem.conv" in event["name"] for event in events) and all(event["dur"] >= 0 for event in events)
