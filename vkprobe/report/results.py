"""The table of a measuring verb: a row per cell, the value or the status, reasons as notes that cells share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vkprobe import units
from vkprobe.records import PipelineRecord, ResultRecord, Time
from vkprobe.report import statistics
from vkprobe.report.model import BAD
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.weights import WEIGHT_TYPES

PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")
_TITLED = ("device", "op", "type", "M x N x K")
_LABELS = ("device", "op", "type", "path", "acc", "tuple", "M x N x K")
_HEADERS = (*_LABELS, "status", "time", "+-", "rate", "bandwidth", "compiled", "tile", "reason")
_UNSTEADY = "~ not steady: the last two rounds do not agree"


def as_text(results: Sequence[ResultRecord], form: str, *, width: int | None = None, pipelines: Sequence[PipelineRecord] = ()) -> str:
    """The results in one of the table formats.

    A terminal's table tells in its title what all rows share, and in notes the reasons; what does not fit `width` is the tile.
    """
    devices = list(dict.fromkeys(r.device for r in results))
    ordered = sorted(results, key=lambda r: (devices.index(r.device), *_order(r)))
    compiled = statistics.Finder((p.device, p) for p in pipelines)
    rows = [_row(r, compiled.of(r.device, r)) for r in ordered]
    if form != "table":
        return render(_HEADERS, rows, form)
    notes = Footnotes()
    shared = [_HEADERS.index(name) for name in _TITLED if len({row[_HEADERS.index(name)] for row in rows}) == 1]
    title = "  ".join(filter(None, (rows[0][i] for i in shared))) if rows else ""
    kept = [i for i, name in enumerate(_HEADERS[:-1]) if i not in shared and (name == "status" or any(row[i] for row in rows))]
    table = [[*_noted(r, row, notes)] for r, row in zip(ordered, rows, strict=True)]
    text = _fitting(kept, table, width)
    told = [_counts(ordered), *(f"[{number}] {reason}" for number, reason in notes)]
    told += dict.fromkeys(f"noop: {r.reason}" for r in ordered if r.status == "noop" and r.reason)
    if any(isinstance(r.time, Time) and not r.time.steady for r in ordered):
        told.append(_UNSTEADY)
    if any(row[_HEADERS.index("compiled")] for row in rows):
        told.append(statistics.LEGEND)
    foot = "\n".join(folded(line, width, "    ") for line in told)
    return "\n\n".join(filter(None, [title, text, foot]))


def _fitting(kept: Sequence[int], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """The table; without its tiles where it would not fit."""
    tile = _HEADERS.index("tile")
    for columns in (list(kept), [i for i in kept if i != tile]):
        headers = [_HEADERS[i] for i in columns]
        picked = [[row[i] for i in columns] for row in rows]
        text = render(headers, picked)
        if width is None or max(map(len, text.splitlines()), default=0) <= width:
            return text
    return render(headers, picked, width=width, pinned=sum(name in _LABELS for name in headers))


def _noted(r: ResultRecord, row: Sequence[str], notes: Footnotes) -> list[str]:
    """The row with its reason as a note; an unsteady time is marked, as in the matrix."""
    cells = list(row)
    status, time = _HEADERS.index("status"), _HEADERS.index("time")
    if r.status in BAD:
        cells[status] = r.status.upper()
    if r.reason and r.status != "noop":
        cells[status] += f" [{notes.number(r.reason)}]"
    if isinstance(r.time, Time) and not r.time.steady:
        cells[time] = f"~{cells[time]}"
    return cells


def _counts(results: Sequence[ResultRecord]) -> str:
    counts = Counter(r.status for r in results)
    unsteady = sum(isinstance(r.time, Time) and not r.time.steady for r in results)
    words = [f"{n} {status}" + (f" ({unsteady} unsteady)" if status == "ok" and unsteady else "") for status, n in counts.most_common()]
    return ", ".join(words)


def _order(r: ResultRecord) -> tuple[object, ...]:
    """As a person reads them, not as they came: by workload, then from the plainest path to the best."""
    types, paths = list(WEIGHT_TYPES), list(PATHS)
    rank = paths.index(r.path) if r.path in paths else len(paths)
    kind = types.index(r.type) if r.type in types else len(types)
    return r.op, r.m, r.k, r.n, kind, rank, r.tuple or "", r.accumulator


def _row(r: ResultRecord, pipeline: PipelineRecord | None) -> list[str]:
    label = [r.device, r.op + (" hot" if r.residency == "hot" else ""), r.type, r.path, r.accumulator, r.tuple or ""]
    told = [*label, f"{r.m}x{r.n}x{r.k}", r.status]
    if not isinstance(r.time, Time):
        tile = r.tile or "" if r.status != "unsupported" else ""
        compiled = statistics.statistics_text(pipeline) if pipeline and r.status == "noop" else ""
        return [*told, "", "", "", "", compiled, tile, r.reason or ""]
    low, high = r.time.ci95_s
    spread = f"{(high - low) / 2 / r.time.median_s:.1%}"
    rate = units.flops_per_s(r.flops_per_s) if isinstance(r.flops_per_s, float) and r.op == "gemm" else ""
    bandwidth = units.bytes_per_s(r.bytes_per_s) if isinstance(r.bytes_per_s, float) and r.op != "gemm" else ""
    because = r.reason or ("" if r.time.steady else f"not steady: {r.time.unsteady_because}")
    return [*told, units.seconds(r.time.median_s), spread, rate, bandwidth, "", r.tile or "", because]
