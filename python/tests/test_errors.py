"""Errors and their codes, messages of the log, progress, limits and Ctrl-C."""
import io
import logging
import os
import signal
import threading
import time

import numpy
import pytest
from conftest import DIGITS, build, slow_model

import ingot
from ingot import _abi


def test_every_code_has_its_exception():
    assert {int(code) for code in _abi.ingot_code} - {0} == set(ingot.errors.BY_CODE)
    assert [code.name for code in ingot.Code] == [code.name[len("INGOT_"):] for code in _abi.ingot_code]


def test_errors_say_what_is_wrong(digits, images, tmp_path):
    for call, kind, python, says in (
        (lambda: build(str(tmp_path / "none.onnx")), ingot.InputOutputError, OSError, "none.onnx"),
        (lambda: build(b"none"), ingot.InvalidModel, ValueError, ""),
        (lambda: ingot.load(b"none"), ingot.Corrupt, ValueError, ""),
        (lambda: digits(images[:1].astype(float)), ingot.InvalidArgument, ValueError, "input 'image' is u8, but f64 was given"),
        (lambda: digits(images[:1, :, :7]), ingot.InvalidArgument, ValueError, "image"),
        (lambda: digits(), ingot.InvalidArgument, ValueError, "0 were given"),
        (lambda: digits(1, 2), ingot.InvalidArgument, ValueError, "2 were given"),
        (lambda: digits(picture=1), ingot.InvalidArgument, ValueError, "there is no input 'picture'"),
        (lambda: digits(images[:1], image=images[:1]), ingot.InvalidArgument, ValueError, "by place and by name"),
        (lambda: build(DIGITS, limits={"memory": 1000}), ingot.LimitReached, ingot.Error, ""),
        (lambda: build(DIGITS, device="tpu"), ingot.InvalidArgument, ValueError, "tpu"),
        (lambda: build(DIGITS, precision="fp12"), ingot.InvalidArgument, ValueError, "fp12"),
        (lambda: build(DIGITS, disabled_passes="none"), ingot.InvalidArgument, ValueError, "none"),
        (lambda: build(DIGITS, speed=3), TypeError, TypeError, "speed"),
        (lambda: ingot.dtype("f33"), ingot.InvalidArgument, ValueError, "f33"),
    ):
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, python) and says in str(caught.value)
    assert caught.value.code == ingot.Code.INVALID_ARGUMENT


def test_every_option_reaches_the_configuration():
    given = {"device": "cuda:1", "precision": ("fp16", "tf32"), "shapes": {"x": (1, 2)}, "tune": 3, "tuning_file": "t", "targets": ["sm_80", "H100"], "limits": {"memory": 5, "time": 6},
             "disabled_passes": ["a", "b"], "workspace_limit": 7, "model_limit": 8, "plan_cache_limit": 9, "threads": 10, "cache_directory": "c", "cuda_context": 11,
             "cuda_stream": 12, "cuda_graph": False, "streams": 2, "untrusted_engine": True, "check_plans": True, "progress": lambda *_: None}
    assert set(given) == set(ingot.Options.__annotations__)
    from ingot.config import Configuration

    struct = Configuration(given).struct
    left_out = {"log_context", "progress_context", "cancellation", "host_allocator", "device_allocator", "parallel", "parallel_context"}  # Python has no use for them
    unset = {field for field, *_ in _abi.ingot_config._fields_ if not getattr(struct, field)}
    assert unset == left_out
    assert (struct.precision, struct.tuning_shapes, struct.targets, struct.memory_limit, struct.time_limit) == (5, b"x:1x2", b"sm_80,H100", 5, 6.0)


def test_messages_go_to_logging(caplog):
    with caplog.at_level(logging.DEBUG, logger="ingot"):
        engine = build(DIGITS)
        engine.session()
    assert any("running on" in record.message for record in caplog.records if record.levelno == logging.INFO)
    caplog.clear()
    with caplog.at_level(logging.ERROR, logger="ingot"):
        build(DIGITS).session()
    assert not caplog.records


def test_progress_is_told_and_may_stop(digits):
    told = []
    build(DIGITS, progress=lambda *one: told.append(one))
    assert {"opening", "passes"} <= {stage for stage, _, _ in told} and all(isinstance(left, float) for _, _, left in told)
    with pytest.raises(ingot.Cancelled):
        build(DIGITS, progress=lambda *one: False)

    def fails(stage, fraction, left):
        raise RuntimeError("in " + stage)

    with pytest.raises(RuntimeError, match="in opening"):
        build(DIGITS, progress=fails)


def test_the_bar_is_drawn_in_terminals_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    for to in (terminal, file):
        bar = ingot.ProgressBar(to)
        build(DIGITS, progress=bar)
        bar("tuning", 0.5, 12.0)
        bar.close()
    assert "tuning    [###############...............]  50%    12 s left" in terminal.getvalue() and file.getvalue() == ""


def run_slow(engine):
    x = numpy.eye(64, dtype=numpy.float32)
    engine(numpy.int64(10**9), x)


def test_limits_of_time():
    with pytest.raises(ingot.LimitReached):
        run_slow(build(slow_model(), limits={"time": 0.2}))


def test_ctrl_c_ends_a_run_and_the_session_goes_on():
    engine = build(slow_model())
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_slow(engine)
    assert time.monotonic() - start < 20
    timer.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert engine(numpy.int64(1), numpy.eye(64, dtype=numpy.float32)).trace() == 64


def test_ctrl_c_ends_a_run_like_the_one_before():
    """For which the handler is left where it is: what it raises comes when the callback brings Python back."""
    engine = build(slow_model())
    session, x = engine.session(), numpy.eye(64, dtype=numpy.float32)
    count = numpy.ones((), numpy.int64)
    for _ in range(2):
        assert session.run([count, x])[0].trace() == 64
    count[()] = 10**9
    for _ in range(2):
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            session.run([count, x])
        assert 0.2 < time.monotonic() - start < 20
        timer.join()
    count[()] = 1
    for _ in range(2):
        assert session.run([count, x])[0].trace() == 64


@pytest.mark.parametrize("wait", [0, 0.001, 0.01])
def test_ctrl_c_before_the_first_callback(wait):
    """What comes in the first moments of a run, as much as later."""
    engine = build(slow_model())
    session, x, count = engine.session(), numpy.eye(64, dtype=numpy.float32), numpy.ones((), numpy.int64)
    for _ in range(2):
        session.run([count, x])
    count[()] = 10**9
    start = time.monotonic()
    timer = threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        session.run([count, x])
    assert time.monotonic() - start < 20
    timer.join()


def test_a_handler_of_the_callers_has_its_turn():
    seen = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(ingot.Cancelled):
            run_slow(build(slow_model()))
    finally:
        signal.signal(signal.SIGINT, previous)
    assert seen == [signal.SIGINT]


def test_other_threads_run_while_one_is_in_a_call():
    engine = build(slow_model(), limits={"time": 0.5})
    thread = threading.Thread(target=lambda: pytest.raises(ingot.LimitReached, run_slow, engine))
    thread.start()
    start, turns = time.monotonic(), 0
    while thread.is_alive() and time.monotonic() - start < 30:
        turns += 1
        time.sleep(0.001)
    assert turns > 20
