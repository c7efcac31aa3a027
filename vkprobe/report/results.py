"""The table of a measuring verb: a row per cell, the value or the status with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from vkprobe import units
from vkprobe.records import ResultRecord, Time
from vkprobe.report.tables import render
from vkprobe.weights import WEIGHT_TYPES

PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")
_HEADERS = ("device", "op", "type", "path", "acc", "tuple", "M x N x K", "time", "+-", "rate", "bandwidth", "tile", "status")


def as_text(results: Sequence[ResultRecord], form: str, *, width: int | None = None) -> str:
    """The results in one of the table formats; columns that say the same in every row of a terminal's table are left out."""
    devices = list(dict.fromkeys(r.device for r in results))
    ordered = sorted(results, key=lambda r: (devices.index(r.device), *_order(r)))
    rows = [_row(r) for r in ordered]
    headers: Sequence[str] = _HEADERS
    if form == "table":
        kept = [i for i, name in enumerate(_HEADERS) if name in ("time", "status", "M x N x K") or any(row[i] for row in rows)]
        kept = [i for i in kept if i > 1 or len({row[i] for row in rows}) > 1]
        headers = [_HEADERS[i] for i in kept]
        rows = [[row[i] for i in kept] for row in rows]
    return render(headers, rows, form, width=width, pinned=min(4, len(headers) - 1))


def _order(r: ResultRecord) -> tuple[object, ...]:
    """As a person reads them, not as they came: by workload, then from the plainest path to the best."""
    types, paths = list(WEIGHT_TYPES), list(PATHS)
    rank = paths.index(r.path) if r.path in paths else len(paths)
    kind = types.index(r.type) if r.type in types else len(types)
    return r.op, r.m, r.k, r.n, kind, rank, r.tuple or "", r.accumulator


def _row(r: ResultRecord) -> list[str]:
    shape = f"{r.m}x{r.n}x{r.k}"
    told = [r.device, r.op + (" hot" if r.residency == "hot" else ""), r.type, r.path, r.accumulator, r.tuple or "", shape]
    if not isinstance(r.time, Time):
        return [*told, "", "", "", "", r.tile or "" if r.status != "unsupported" else "", r.status + (f": {r.reason}" if r.reason else "")]
    low, high = r.time.ci95_s
    spread = f"{(high - low) / 2 / r.time.median_s:.1%}"
    rate = units.flops_per_s(r.flops_per_s) if isinstance(r.flops_per_s, float) and r.op == "gemm" else ""
    bandwidth = units.bytes_per_s(r.bytes_per_s) if isinstance(r.bytes_per_s, float) and r.op != "gemm" else ""
    status = r.status if r.time.steady else f"{r.status}, unsteady: {r.time.unsteady_because}"
    return [*told, units.seconds(r.time.median_s), spread, rate, bandwidth, r.tile or "", status]
