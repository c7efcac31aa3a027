"""Bencher Metric Format: a benchmark's measures, each a value with the bounds of its interval.

Source: https://bencher.dev/docs/reference/bencher-metric-format; the built-in measures `latency` (ns) and `throughput` (operations/s).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import UNSET

from vkprobe.results.exports.cells import Exported, measured

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
            "throughput": {"value": 1 / time.median_s, "lower_value": 1 / high, "upper_value": 1 / low},
        }
        for name, rate in (("flops", cell.result.flops_per_s), ("bandwidth", cell.result.bytes_per_s)):
            if rate is not UNSET:
                work = float(rate) * time.median_s
                measures[name] = {"value": float(rate), "lower_value": work / high, "upper_value": work / low}
        body[cell.fullname[:_MOST_NAME]] = measures
    return json.dumps(body, indent=2).encode() + b"\n"
