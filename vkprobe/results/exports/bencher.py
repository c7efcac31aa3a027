"""Bencher Metric Format: a benchmark's measures, each a value with the bounds of its interval.

Source: https://bencher.dev/docs/reference/bencher-metric-format; the built-in measures `latency` (ns) and `throughput` (operations/s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vkprobe.results.exports.cells import Exported, dumps, measured

_NS = 1e9
_MOST_NAME = 1024


def encode(cells: Sequence[Exported]) -> bytes:
    """The file; the format has no place for cells without a number. Raises UsageError where no cell has one.

    `latency` is the median and its 95 % interval in ns, `throughput` dispatches/s; `flops` and `bandwidth` are in FLOP/s and B/s.
    """
    body: dict[str, dict[str, dict[str, float]]] = {}
    for cell, time in measured(cells):
        low, high = time.ci95_s
        measures = {
            "latency": {"value": time.median_s * _NS, "lower_value": low * _NS, "upper_value": high * _NS},
            "throughput": {"value": _over(1, time.median_s), "lower_value": _over(1, high), "upper_value": _over(1, low)},
        }
        for name, quantity in (("flops", "flops_per_s"), ("bandwidth", "bytes_per_s")):
            rate = cell.line.get(quantity)
            if rate is not None:
                work = rate * time.median_s
                measures[name] = {"value": rate, "lower_value": _over(work, high), "upper_value": _over(work, low)}
        body[cell.fullname[:_MOST_NAME]] = {name: metric for name, metric in measures.items() if math.isfinite(metric["value"])}
    return dumps(body)


def _over(work: float, time: float) -> float:
    """A rate; inf, which is left out, where the interval's bound is no time."""
    return work / time if time > 0 else math.inf
