"""pytest-benchmark's JSON, whole, so that `pytest-benchmark compare` and `--benchmark-compare` read it.

Source: pytest-benchmark 5.3.1, documentation ("Comparing past runs") and the files that it writes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from vkprobe import __version__
from vkprobe.records import RunRecord, Time
from vkprobe.results.exports.cells import Exported, counted, dumps, identity, measured, without_number

_VERSION = "5.3.1"  # of the tool whose fields these are


def encode(cells: Sequence[Exported]) -> bytes:
    """The file; cells without a number are listed under `vkprobe`, never given one. Raises UsageError where none has one."""
    timed = measured(cells)
    body = {
        "machine_info": _machine(next((cell.run for cell, _ in timed if cell.run is not None), None)),
        "commit_info": {
            "id": "unversioned",
            "time": None,
            "author_time": None,
            "dirty": False,
            "project": "vkprobe",
            "branch": "(unknown)",
        },
        "benchmarks": [_benchmark(cell, time) for cell, time in timed],
        "datetime": max(cell.result.at for cell, _ in timed),
        "version": _VERSION,
        "vkprobe": {"tool": f"vkprobe {__version__}", "without_number": without_number(cells)},
    }
    return dumps(body, indent=4)


def _machine(run: RunRecord | None) -> dict[str, object]:
    """The machine that was measured on; fields that its records lack are null."""
    host = run.host if run is not None else None
    unknown = ("node", "processor", "machine", "python_compiler", "python_implementation", "python_implementation_version")
    return {
        **dict.fromkeys(unknown),
        "python_version": None,
        "python_build": None,
        "release": host.kernel if host else None,
        "system": host.os if host else None,
        "cpu": {"brand_raw": host.cpu} if host and host.cpu else {},
    }


def _benchmark(cell: Exported, time: Time) -> dict[str, object]:
    result = cell.result
    extra = {
        **identity(cell),
        "status": result.status,
        "steady": time.steady,
        "unsteady_because": time.unsteady_because,
        "clock": time.clock,
        "ci95_s": list(time.ci95_s),
        "dispatches_per_sample": time.dispatches_per_sample,
        "check": None if result.check is UNSET else msgspec.to_builtins(result.check),
        "flops_per_s": cell.line.get("flops_per_s"),
        "bytes_per_s": cell.line.get("bytes_per_s"),
    }
    names = ("op", "kernel", "type", "mode", "path", "accumulator", "tuple", "residency", "tier")
    params = {**{name: cell.line.get(name) for name in names}, **result.axes}
    return {
        "group": cell.hardware,
        "name": cell.name + (f"[{cell.label}]" if cell.label else ""),
        "fullname": cell.fullname,
        "params": params,
        "param": cell.label or None,
        "extra_info": extra,
        "options": {
            "disable_gc": False,
            "timer": f"vkprobe.{time.clock}",
            "min_rounds": 1,
            "max_time": 0.0,
            "min_time": 0.0,
            "precision": None,
            "confidence": None,
            "warmup": False,
        },
        "stats": stats(counted(time)),
    }


def stats(data: Sequence[float]) -> dict[str, object]:
    """Statistics of samples (s) as pytest-benchmark writes them, `data` included; quartiles as it computes them."""
    ordered = sorted(data)
    n, total = len(ordered), sum(ordered)
    mean = statistics.mean(ordered)
    deviation = statistics.stdev(ordered) if n > 1 else 0
    q1, q3 = _quartiles(ordered)
    iqr = q3 - q1
    low, high = q1 - 1.5 * iqr, q3 + 1.5 * iqr
    beyond = sum(not mean - deviation <= value <= mean + deviation for value in ordered)
    tukey = sum(not low <= value <= high for value in ordered)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": n,
        "median": statistics.median(ordered),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": tukey,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{tukey}",
        "ld15iqr": next(value for value in ordered if value >= low),
        "hd15iqr": next(value for value in reversed(ordered) if value <= high),
        "ops": n / total,
        "total": total,
        "data": list(data),
        "iterations": 1,
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """First and third quartile: medians of the halves; of an odd count, the mean of those with and without the middle value.

    >>> _quartiles([1.0, 2.0, 3.0, 4.0]), _quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    ((1.5, 3.5), (1.75, 4.25))
    """
    n = len(ordered)
    if n == 1:
        return ordered[0], ordered[0]
    if n % 2 == 0:
        return statistics.median(ordered[: n // 2]), statistics.median(ordered[n // 2 :])
    weight, i = (0.75, n // 4 - 1) if n % 4 == 1 else (0.25, n // 4)
    return (1 - weight) * ordered[i] + weight * ordered[i + 1], weight * ordered[-2 - i] + (1 - weight) * ordered[-1 - i]
