"""Medians, spreads and ratios with their noise.

A round gives one number, the median of its samples. Over rounds the median is reported, and the interquartile range beside it. Rounds of all peers interleave, so
numbers of the same round saw the same machine: ratios are taken within rounds, and their interval comes from resampling whole rounds.
"""
import math

import numpy

RESAMPLES = 4000
PIECE = 1 << 18  # elements compared at once, so that results of gigabytes are not copied whole


def median(values):
    return float(numpy.median(numpy.asarray(values, dtype=float)))


def interquartile(values):
    """(first quartile, third quartile)"""
    low, high = numpy.percentile(numpy.asarray(values, dtype=float), [25, 75])
    return float(low), float(high)


def spread(values):
    """Half the interquartile range over the median: what a reader may add and subtract."""
    low, high = interquartile(values)
    middle = median(values)
    return (high - low) / 2 / middle if middle else 0.0


def ratio(above, below, confidence=0.95, seed=0):
    """above / below of paired rounds: {"ratio", "low", "high", "rounds"}. The ratio is that of the medians; the interval holds `confidence` of what it becomes
    when rounds are drawn with replacement, the same rounds for both. With one round there is no interval: low and high are None."""
    a, b = numpy.asarray(above, dtype=float), numpy.asarray(below, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError("ratios are of the same rounds of both")
    result = {"ratio": float(numpy.median(a) / numpy.median(b)), "low": None, "high": None, "rounds": int(a.size)}
    if a.size > 1:
        drawn = numpy.random.default_rng(seed).integers(0, a.size, (RESAMPLES, a.size))
        ratios = numpy.median(a[drawn], axis=1) / numpy.median(b[drawn], axis=1)
        tail = (1 - confidence) / 2 * 100
        result["low"], result["high"] = (float(v) for v in numpy.percentile(ratios, [tail, 100 - tail]))
    return result


def geometric_mean(values):
    values = numpy.asarray(values, dtype=float)
    return float(numpy.exp(numpy.log(values).mean())) if values.size else None


def percentile(values, share):
    return float(numpy.percentile(numpy.asarray(values, dtype=float), share * 100))


def relative_error(got, wanted):
    """The norm of the difference over that of what is wanted, in double. inf where shapes differ or something is not finite that should be."""
    got, wanted = numpy.asarray(got), numpy.asarray(wanted)
    if got.shape != wanted.shape:
        return float("inf")
    got, wanted, squares, differences = got.ravel(), wanted.ravel(), 0.0, 0.0
    for first in range(0, got.size, PIECE):
        a, b = got[first:first + PIECE].astype(numpy.float64), wanted[first:first + PIECE].astype(numpy.float64)
        squares += float(b @ b)
        b -= a
        differences += float(b @ b)
    if not math.isfinite(differences):
        return float("inf")
    return math.sqrt(differences / squares) if squares else math.sqrt(differences)
