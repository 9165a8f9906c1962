"""What adapters of peers share: a row's files, comparing results, and measuring a callable by kinds.

An adapter is a class with prepare(request) -> facts, measure(kind, seconds) -> {"ms", "samples"} or {"absent": why}, and drop(); Ingot's also has build(request). `InProcess` does the
measuring for those whose engine runs in this Python process; they say `enqueue` (inputs and results stay on the device), `call` (host to host)
and `call_on` (device to device, given inputs).
"""
import glob
import os
import resource
import time

import numpy

from bench import stats, timing


def load_inputs(folder):
    return [numpy.load(path) for path in numbered(folder, "input")]


def numbered(folder, stem):
    found = glob.glob(os.path.join(folder, f"{stem}_*.npy"))
    return sorted(found, key=lambda path: int(path.rsplit("_", 1)[1][:-4]))


def halved(arrays):
    return [a.astype(numpy.float16) if a.dtype == numpy.float32 else a for a in arrays]


def error_against_reference(folder, outputs):
    """The largest relative error over the outputs, and whether there are as many as in the reference. None: there is no reference."""
    references = numbered(folder, "reference")
    if not references:
        return None
    if len(references) != len(outputs):
        raise RuntimeError(f"{len(outputs)} outputs where the reference has {len(references)}")
    return max(stats.relative_error(got, numpy.load(path)) for got, path in zip(outputs, references))


def peak_host_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(function):
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def result(samples):
    return {"ms": stats.median(samples), "samples": len(samples)}


class InProcess:
    device = "cpu"
    clock = host_flush = None

    def settle(self):
        if self.device == "cuda":
            self.clock.settle()

    def measure(self, kind, seconds):
        """On a CPU `enqueue` is a whole run and `call` what a caller does; on a GPU `fresh` goes through `call_on`. `device` comes first in a turn, and is warmed up by the clock;
        what follows it by a few runs."""
        if kind == "device":
            if self.device == "cuda":
                return result(self.clock.batches(self.enqueue, seconds))
            timing.warm(self.enqueue, self.settle, timing.warm_seconds(seconds))
            return result(timing.wall(self.enqueue, seconds))
        if kind == "flushed":
            if self.device == "cuda":
                return result(self.clock.flushed(self.enqueue, seconds))
            self.host_flush = self.host_flush or timing.HostFlush()
            return result(timing.wall(self.enqueue, seconds, self.host_flush))
        if kind == "call":
            timing.warm(self.call, self.settle, 0)
            return result(timing.wall(self.call, seconds))
        if kind == "call_device" and self.device == "cpu":
            return {"absent": "there is no device beside the host"}
        sets = self.input_sets(timing.FRESH_SETS if kind == "fresh" else 1)
        turn = iter(range(1 << 62))

        def run():
            self.call_on(sets[next(turn) % len(sets)])
            self.settle()

        timing.warm(run, self.settle, 0)
        return result(timing.wall(run, seconds))
