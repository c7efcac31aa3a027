"""A comparison for programs: JSON with everything, CSV with a row a difference, and the lines of a file of known failures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from vkprobe.compare.conditions import Condition, failing
from vkprobe.compare.model import Compared, Comparison
from vkprobe.records import PipelineRecord, ResultRecord, Time
from vkprobe.report.tables import render
from vkprobe.results.names import full_name

CSV_HEADERS = (
    "device", "name", "verdict", "expected", "statistic", "old", "new", "ratio", "ci95_low", "ci95_high", "p", "clock", "reason"
)  # fmt: skip
_UNGATED = (*(Condition(name, 0.0) for name in ("slower", "worse")), *(Condition(name) for name in ("wrong", "crash", "missing")))


def as_json(comparison: Comparison) -> str:
    """One object: devices, every cell and pipeline (what is the same, too), groups, improvements, notes. Times in s."""
    return json.dumps(
        _finite(
            {
                "devices": msgspec.to_builtins(comparison.devices),
                "cells": [_object(cell) for cell in comparison.cells],
                "groups": msgspec.to_builtins(comparison.groups),
                "missing": msgspec.to_builtins(comparison.missing),
                "appeared": msgspec.to_builtins(comparison.appeared),
                "improved": msgspec.to_builtins(comparison.improved),
                "skipped": comparison.skipped,
                "notes": list(comparison.notes),
            }
        ),
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )


def _finite(value: Any) -> Any:
    """`value` with numbers that JSON has no form for as the strings that records have."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _object(cell: Compared) -> dict[str, Any]:
    old_s, new_s = cell.times or (None, None)
    j = cell.judgement
    return {
        "device": cell.device,
        "name": cell.name,
        "of": "pipeline" if isinstance(cell.record, PipelineRecord) else "result",
        "kernel": cell.record.kernel,
        "verdict": cell.verdict,
        "expected": cell.expected,
        "reason": cell.because or cell.reason,
        "old_status": cell.old.status if cell.old is not None else None,
        "new_status": cell.new.status if cell.new is not None else None,
        "old_s": old_s,
        "new_s": new_s,
        "ratio": cell.ratio,
        "ci95": None if j is None or not j.has_interval else list(j.ci95),
        "p": j.p if j is not None else None,
        "clock": _clock(cell),
        "changes": [{"statistic": c.name, "old": c.old, "new": c.new} for c in cell.changes],
    }


def _clock(cell: Compared) -> str | None:
    """The clocks of both sides, one where they are the same: `gpu`, `gpu, wall`."""
    times = [side.time for side in (cell.old, cell.new) if isinstance(side, ResultRecord) and isinstance(side.time, Time)]
    return ", ".join(dict.fromkeys(time.clock for time in times)) or None


def as_csv(comparison: Comparison) -> str:
    """A row for each pair of times (`time_s`), statistic or status; of what is the same only times."""
    return render(CSV_HEADERS, list(_rows(comparison)), "csv")


def _rows(comparison: Comparison) -> Iterator[tuple[Any, ...]]:
    for cell in comparison.cells:
        label = (cell.device, cell.name, cell.verdict, cell.expected)
        reason = cell.because or cell.reason
        if cell.times is not None:
            j = cell.judgement
            interval = (None, None) if j is None or not j.has_interval else j.ci95
            yield (*label, "time_s", *cell.times, cell.ratio, *interval, j.p if j is not None else None, _clock(cell), reason)
        elif not cell.changes and cell.verdict != "same":
            status = tuple(r.status if r is not None else None for r in (cell.old, cell.new))
            yield (*label, "status", *status, *[None] * 5, reason)
        for change in cell.changes:
            yield (*label, change.name, change.old, change.new, *[None] * 5, reason)
    for one in comparison.missing:
        expected = "known" if one.in_fails else None
        yield (one.device, None, "missing", expected, "records", one.records, 0, *[None] * 5, "the device is only in OLD")
    for one in comparison.appeared:
        yield (one.device, None, "appeared", None, "records", 0, one.records, *[None] * 5, "the device is only in NEW")


def as_fails(comparison: Comparison, conditions: Iterable[Condition] | None) -> str:
    """A line `CELL,VERDICT` or `DEVICE,missing` for whatever meets the conditions, unexpected; without conditions all that is bad."""
    several = len(comparison.devices) > 1
    asked = list(conditions or _UNGATED)
    cells = [cell for condition in asked for cell in failing(comparison, condition)]
    lines = [f"{full_name(c.device, c.record) if several else c.name},{c.verdict}" for c in cells]
    gone = [one for one in comparison.missing if not one.in_fails and any(condition.name == "missing" for condition in asked)]
    return "\n".join(dict.fromkeys([*lines, *(f"{one.device},missing" for one in gone)]))
