"""Google Benchmark's JSON, as its tools/compare.py reads it: every sample a repetition, then the four aggregates.

Source: google/benchmark, docs/user_guide.md ("Output Formats", "Reporting Statistics") and docs/tools.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from vkprobe import __version__
from vkprobe.records import Time
from vkprobe.results.exports.cells import Exported, counted, dumps, measured, origin, without_number

_NS = 1e9


def encode(cells: Sequence[Exported]) -> bytes:
    """The file; cells without a number are in `context`, as compare.py takes every benchmark for a time.

    Raises:
        UsageError: no cell has a number.
    """
    timed = measured(cells)
    run = next((cell.run for cell, _ in timed if cell.run is not None), None)
    context = {
        "date": max(cell.result.at for cell, _ in timed),
        "host_name": "",
        "executable": "vkprobe",
        "num_cpus": 0,
        "mhz_per_cpu": 0,
        "cpu_scaling_enabled": False,
        "caches": [],
        "load_avg": [],
        "library_version": f"vkprobe {__version__}",
        "library_build_type": "release",
        "json_schema_version": 1,
        "host": None if run is None else {"cpu": run.host.cpu, "os": run.host.os, "kernel": run.host.kernel},
        "devices": _devices(cells),
        "without_number": without_number(cells),
    }
    benchmarks = [entry for family, (cell, time) in enumerate(timed) for entry in _entries(family, cell, time)]
    return dumps({"context": context, "benchmarks": benchmarks})


def _devices(cells: Sequence[Exported]) -> list[dict[str, object]]:
    """Each device once; two hosts' `radeon/0` are two."""
    devices = {(cell.hardware, cell.result.device, cell.label): cell for cell in cells}
    return [origin(cell.result, cell.hardware, cell.device) for cell in devices.values()]


def _entries(family: int, cell: Exported, time: Time) -> list[dict[str, object]]:
    samples, walls = counted(time), time.wall_samples_s[-len(counted(time)) :]
    common: dict[str, object] = {
        "family_index": family,
        "per_family_instance_index": 0,
        "run_name": cell.fullname,
        "repetitions": len(samples),
        "threads": 1,
    }
    columns = (("FLOP/s", "flops_per_s"), ("bytes_per_second", "bytes_per_s"))
    rates = {name: value for name, quantity in columns if (value := cell.line.get(quantity)) is not None}
    entries: list[dict[str, object]] = [
        {
            "name": cell.fullname,
            **common,
            "run_type": "iteration",
            "repetition_index": i,
            "iterations": time.dispatches_per_sample,
            "real_time": sample * _NS,
            "cpu_time": (walls[i] if len(walls) == len(samples) else sample) * _NS,
            "time_unit": "ns",
        }
        for i, sample in enumerate(samples)
    ]
    label = f"{cell.result.device} {cell.result.kernel} steady={time.steady}" + (" wall clock" if cell.line.wall_clock else "")
    of_walls = walls if len(walls) == len(samples) else samples
    for name in ("mean", "median", "stddev", "cv"):
        entry = {
            "name": f"{cell.fullname}_{name}",
            **common,
            "run_type": "aggregate",
            "aggregate_name": name,
            "aggregate_unit": "percentage" if name == "cv" else "time",
            "iterations": len(samples),
            "real_time": _aggregate(name, samples),
            "cpu_time": _aggregate(name, of_walls),
            "time_unit": "ns",
        }
        entries.append({**entry, **rates, "label": label} if name == "median" else entry)
    return entries


def _aggregate(name: str, samples: Sequence[float]) -> float:
    """A statistic of samples (s): in ns, `cv` as a fraction."""
    mean = statistics.mean(samples)
    deviation = statistics.stdev(samples) if len(samples) > 1 else 0.0
    if name == "cv":
        return deviation / mean
    return _NS * {"mean": mean, "median": statistics.median(samples), "stddev": deviation}[name]
