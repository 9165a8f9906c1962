"""On a machine with a GPU: python gpu.py [torch] [cupy] [jax]. Needs ingot (the wheel, or PYTHONPATH and INGOT_LIBRARY) and the libraries named.

Of each: no copies (addresses compared), right streams (a race planted without order is found, the same with order is not), 100,000 calls without growth,
8 threads, microseconds of a call over C; and what page-locked memory gains. Prints a line each and ends with 1 if one is wrong."""
import contextlib
import ctypes
import faulthandler
import gc
import os
import sys
import threading
import time

import numpy

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the memory that others need here

import ingot
from ingot import _abi
from ingot._library import check, lib

N, CALLS = 1 << 20, int(os.environ.get("CALLS", "100000"))
failed = []


def begin(name):
    """What is tried, before it is: after a crash it is the last line."""
    print("...  %s" % name, flush=True)


def say(name, good, what):
    print("%-4s %-44s %s" % ("ok" if good else "BAD", name, what), flush=True)
    if not good:
        failed.append(name)


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def model(size):
    """y = x + x of one axis, in protobuf's form; neither onnx nor numpy of a certain version is needed."""
    kind = field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08" + varint(size)))))
    node = field(1, field(1, b"x") + field(1, b"x") + field(2, b"y") + field(4, b"Add"))
    return b"\x08\x08" + field(7, node + field(2, b"g") + field(11, field(1, b"x") + kind) + field(12, field(1, b"y") + kind)) + field(8, b"\x10\x0d")


class Torch:
    name = "torch"

    def __init__(self):
        import torch

        self.t = torch

    def make(self, size, value=1.0):
        return self.t.full((size,), value, device="cuda", dtype=self.t.float32)

    def address(self, tensor):
        return tensor.data_ptr()

    def host(self, tensor):
        return tensor.cpu().numpy()

    def late(self, tensor, value):
        """Work of some milliseconds on the current stream, then the tensor is written to."""
        big = self.t.ones(4096, 4096, device="cuda")
        for _ in range(20):
            big = big @ big * 1e-4
        tensor.fill_(value)

    def side_stream(self):
        return self.t.cuda.stream(self.t.cuda.Stream())

    def wait(self):
        self.t.cuda.synchronize()


class Cupy:
    name = "cupy"

    def __init__(self):
        import cupy

        self.c = cupy

    def make(self, size, value=1.0):
        return self.c.full(size, value, dtype=self.c.float32)

    def address(self, tensor):
        return tensor.data.ptr

    def host(self, tensor):
        return self.c.asnumpy(tensor)

    def late(self, tensor, value):
        big = self.c.ones((4096, 4096), dtype=self.c.float32)
        for _ in range(1000):  # no products: cuBLAS is nothing that is tried here
            big *= 1.0001
        tensor.fill(value)

    def side_stream(self):
        return self.c.cuda.Stream(non_blocking=True)

    def wait(self):
        self.c.cuda.Device().synchronize()


class Jax:
    name = "jax"

    def __init__(self):
        import jax

        if jax.default_backend() != "gpu":
            raise ImportError("JAX has no GPU")
        self.j = jax

    def make(self, size, value=1.0):
        return self.j.numpy.full((size,), value, dtype=self.j.numpy.float32).block_until_ready()

    def address(self, tensor):
        return tensor.unsafe_buffer_pointer()

    def host(self, tensor):
        return numpy.asarray(tensor)

    def wait(self):
        pass


def no_copies(kit, engine):
    x = kit.make(N)
    session = engine.session()
    session._arguments.take([x])
    say(kit.name + ": an input is read where it lies", session._arguments.array[0].data + session._arguments.array[0].byte_offset == kit.address(x), hex(kit.address(x)))
    session._arguments.release()
    y = session.run([x])[0]
    say(kit.name + ": a result is of the same kind and right", type(y) is type(x) and (kit.host(y) == 2).all(), type(y).__name__)
    tensor = session.run([ingot.Tensor._of(kit.address(x), ingot.dtype("f32"), (N,), (2, 0), x)])[0]
    say(kit.name + ": a result is taken where it lies", kit.address(ingot.values.present(tensor, kit.name)) == tensor.pointer, hex(tensor.pointer))


def streams(kit, engine):
    if not hasattr(kit, "late"):
        return
    session = engine.session()
    session.run([kit.make(N)])
    for ordered in (True, False):
        wrong = 0
        for _ in range(5):
            x = kit.make(N, 1.0)
            kit.wait()
            begin("%s: a stream of one's own, %s order" % (kit.name, "in" if ordered else "out of"))
            with kit.side_stream():
                kit.late(x, 3.0)
                if ordered:
                    y = session.run([x])[0]
                    value = kit.host(y)
                else:  # the same work without order: what Ingot reads is what is there
                    raw = ingot.Tensor._of(kit.address(x), ingot.dtype("f32"), (N,), (2, 0), x)
                    value = session.run([raw], on="host")[0].numpy()
            wrong += int(not (value == 6).all())
            kit.wait()
        say("%s: %s" % (kit.name, "on a stream of one's own" if ordered else "the planted race is found"), wrong == 0 if ordered else wrong > 0, "%d of 5 wrong" % wrong)


def outlives(kit, engine):
    """What was taken on a stream that is gone before it: CuPy destroys one with its last object."""
    session = engine.session()
    x = kit.make(N, 3.0)
    kit.wait()
    raw = ingot.Tensor._of(kit.address(x), ingot.dtype("f32"), (N,), (2, 0), x)
    right = True
    for way in ("made", "taken") * 3:
        with kit.side_stream() if hasattr(kit, "side_stream") else contextlib.nullcontext():
            y = session.run([x])[0] if way == "made" else ingot.values.present(session.run([raw])[0], kit.name)
            right = right and (kit.host(y) == 6).all()
        begin("%s: a result that was %s is let go of after its stream" % (kit.name, way))
        del y
        gc.collect()
        right = right and (kit.host(session.run([x])[0]) == 6).all()
    say(kit.name + ": a result outlives its stream", right and not session._garbage, "made by the library, and taken from the session")


def growth(kit, engine):
    x = kit.make(256)
    small = ingot.build(model(256), device="cuda")
    for _ in range(1000):
        small(x)
    before, start = resident(), time.perf_counter()
    for _ in range(CALLS):
        small(x)
    kit.wait()
    grown = resident() - before
    say(kit.name + ": %d calls" % CALLS, grown < 8 << 20, "%+.1f MiB on the host, %.1f us a call" % (grown / 2**20, (time.perf_counter() - start) / CALLS * 1e6))


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def threads(kit, engine):
    wrong = []

    def work(i):
        x = kit.make(N, float(i))
        for _ in range(100):
            if not (kit.host(engine(x))[:16] == 2 * i).all():
                wrong.append(i)

    all_ = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for one in all_:
        one.start()
    for one in all_:
        one.join()
    say(kit.name + ": 8 threads", not wrong, "%d wrong" % len(wrong))


def over_c(kit, engine):
    small = ingot.build(model(256), device="cuda")
    x, room = kit.make(256), kit.make(256)
    session = small.session()
    session.run([x])
    session.run([x], outputs=None if kit.name == "jax" else [room])
    a, o = session._arguments, session._places
    a.take([x])
    if kit.name == "jax":
        o.lend(False)
    else:
        o.describe([room], [x], False)

    def timed(call, count=5000):
        best = 1e9
        for _ in range(5):
            session.synchronize()
            start = time.perf_counter()
            for _ in range(count):
                call()
            best = min(best, (time.perf_counter() - start) / count * 1e6)
        return best

    in_c = timed(lambda: check(lib.ingot_session_run_into(session._handle, a.array, 1, o.array, 1)))
    python = timed(lambda: session.run([x]))
    if kit.name == "jax":  # a call waits for the GPU, since JAX says of no stream that it is the one
        kept = []
        parts = (("reading", lambda: a.take([x])), ("running and waiting", lambda: (session._call(1, None), session.synchronize())),
                 ("an array of a result", lambda: kept.append(ingot.values.present(tensor, kit.name)) or kept.clear()))
        raw = ingot.Tensor._of(kit.address(x), ingot.dtype("f32"), (256,), (2, 0), x)
        tensor = ingot.Tensor._of(kit.address(x), ingot.dtype("f32"), (256,), (2, 0), x)
        whole = timed(lambda: session.run([raw]), 1000)
        a.take([x])
        o.lend(False)
        shown = ", ".join("%s %.1f us" % (name, timed(call, 1000)) for name, call in parts)
        say(kit.name + ": a call", python < 150, "C %.1f us without waiting, Python %.1f us; a result taken and given back %.1f us, %s" % (in_c, python, whole, shown))
        return
    into = timed(lambda: session.run([x], outputs=[room]))
    say(kit.name + ": a call over C", min(python, into) - in_c < 20, "C %.1f us, Python %.1f us, into the caller's memory %.1f us" % (in_c, python, into))
    stream = ingot.streams.current(kit.name, 0)
    a.take([x])
    o.describe([room], [x], False)
    alone, ordered = timed(lambda: session._call(1, None)), timed(lambda: session._call(1, stream))
    parts = (("reading", lambda: (a.take([x]), a.release())), ("a stream", lambda: ingot.streams.current(kit.name, 0)),
             ("the caller's place", lambda: (o.describe([room], [x], False), a.release())), ("a place that is made", lambda: (o.describe(None, [x], False), a.release())),
             ("exchanging Ctrl-C's handler", lambda: session._watch.__enter__().__exit__(None, None, None)), ("results", lambda: session._results([x])))
    shown = ", ".join("%s %.1f us" % (name, timed(call, 1000)) for name, call in parts)
    print("     %s: order %.1f us (C's call %.1f us with it, %.1f us alone), %s" % (kit.name, ordered - alone, ordered, alone, shown), flush=True)


def numpy_over_c():
    small = ingot.build(model(256), device="cuda")
    x, session = numpy.ones(256, numpy.float32), small.session()
    for _ in range(2):
        session.run([x])
    session._arguments.take([x])
    out = (_abi.ingot_tensor * 1)()
    for name, call in (("C", lambda: check(lib.ingot_session_run(session._handle, session._arguments.array, 1, out, 1))), ("Python", lambda: session.run([x]))):
        start = time.perf_counter()
        for _ in range(5000):
            call()
        print("     numpy on the host, %s: %.1f us a call" % (name, (time.perf_counter() - start) / 5000 * 1e6), flush=True)


def pinned():
    """The same arrays to the GPU and back, in ordinary memory and in page-locked memory."""
    count = 1 << 24
    session = ingot.build(model(count), device="cuda").session()
    times, right = [], True
    for make in (numpy.empty, ingot.empty_pinned):
        x, y = make(count, "float32"), make(count, "float32")
        x[:], y[:] = numpy.arange(count, dtype=numpy.float32), 0
        best = 1e9
        for _ in range(8):
            start = time.perf_counter()
            session.run([x], outputs=[y])
            best = min(best, time.perf_counter() - start)
        right = right and bool((y == 2 * x).all())
        times.append(best)
    rates = [2 * 4 * count / seconds / 1e9 for seconds in times]
    say("page-locked memory", right and times[0] > times[1], "%.1f GB/s there and back, %.1f GB/s of ordinary memory: %.1f times" % (rates[1], rates[0], times[0] / times[1]))


def main(names):
    assert ctypes.sizeof(_abi.ingot_tensor) == 48
    engine = ingot.build(model(N), device="cuda")
    print(ingot.__version__, engine.session().device, flush=True)
    numpy_over_c()
    begin("page-locked memory")
    pinned()
    checked = 0
    for kind in (Torch, Cupy, Jax):
        if names and kind.name not in names:
            continue
        try:
            kit = kind()
        except (ImportError, RuntimeError) as error:
            print("     %s is not there: not checked (%s)" % (kind.name, error), flush=True)
            continue
        checked += 1
        for part in (no_copies, streams, outlives, growth, threads, over_c):
            begin("%s: %s" % (kit.name, part.__name__))
            part(kit, engine)
            gc.collect()
    if not checked:
        print("nothing was checked: there is none of torch, cupy and jax")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    faulthandler.enable()
    sys.exit(main(sys.argv[1:]))
