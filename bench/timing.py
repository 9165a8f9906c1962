"""Timing inside a peer's process. Samples are milliseconds of one inference; what a round reports is their median.

Kinds, which every peer measures alike where it can:

    device       inferences enqueued back to back, inputs and results staying where they are; batches of them between two events (on a CPU: the clock)
    flushed      one inference between two events, each after a write larger than every cache
    call         one call from tensors in host memory to results in host memory, by the clock
    call_device  one call from tensors on the device to results on the device, complete when it returns, by the clock
    fresh        as call_device (on a CPU: call), with inputs at addresses that no call before had
"""
import time

KINDS = ("device", "flushed", "call", "call_device", "fresh")
BATCH_MS = 5.0  # what lies between two events is at least so long, so that the events' own cost does not count
FLUSH_BYTES = 256 << 20
FRESH_SETS = 8


def wall(run, seconds, before=None, least=5):
    """`run` by the clock, with `before` outside of it."""
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < least or time.perf_counter() < end:
        if before:
            before()
        start = time.perf_counter()
        run()
        samples.append((time.perf_counter() - start) * 1e3)
    return samples


def warm_seconds(seconds):
    """How long to warm up for a measurement of so many seconds."""
    return min(0.05, seconds / 4)


def warm(run, settle, seconds, least=3):
    """Complete runs, one after another: a peer that only enqueues would else queue up far more of them than run in that time."""
    count, end = 0, time.perf_counter() + seconds
    while count < least or time.perf_counter() < end:
        run()
        settle()
        count += 1


class CudaClock:
    """Events of PyTorch on a stream; the time between them is the device's."""

    def __init__(self, stream=None):
        import torch

        self.torch, self.stream = torch, stream or torch.cuda.current_stream()
        self.scratch = None

    def settle(self):
        self.stream.synchronize()

    def between(self, run, times=1, before=None):
        start, stop = self.torch.cuda.Event(True), self.torch.cuda.Event(True)
        if before:
            before()
        start.record(self.stream)
        for _ in range(times):
            run()
        stop.record(self.stream)
        return start, stop

    def batches(self, run, seconds):
        warm(run, self.settle, warm_seconds(seconds))
        start, stop = self.between(run, 3)
        self.settle()
        each = max(start.elapsed_time(stop) / 3, 1e-3)
        times = max(1, int(BATCH_MS / each + 0.999))
        count = max(5, int(seconds * 1e3 / (each * times)))
        pairs = [self.between(run, times) for _ in range(count)]
        self.settle()
        return [start.elapsed_time(stop) / times for start, stop in pairs]

    def flush(self):
        if self.scratch is None:
            self.scratch = self.torch.empty(FLUSH_BYTES, dtype=self.torch.uint8, device="cuda")
        with self.torch.cuda.stream(self.stream):
            self.scratch.fill_(1)

    def flushed(self, run, seconds):
        warm(run, self.settle, 0)
        start, stop = self.between(run)
        self.settle()
        count = max(5, min(200, int(seconds * 1e3 / (start.elapsed_time(stop) + 0.2))))
        pairs = [self.between(run, before=self.flush) for _ in range(count)]
        self.settle()
        return [start.elapsed_time(stop) for start, stop in pairs]


class HostFlush:
    """Writes more than the processor's caches hold."""

    def __init__(self):
        import numpy

        self.scratch = numpy.zeros(FLUSH_BYTES // 8, dtype=numpy.int64)

    def __call__(self):
        self.scratch += 1
