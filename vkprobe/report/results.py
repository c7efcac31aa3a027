"""The table of a measuring verb: a row per cell, the value or the status, reasons as notes that cells share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from vkprobe import units
from vkprobe.records import Check, PipelineRecord, ResultRecord, Time
from vkprobe.report import statistics
from vkprobe.report.model import BAD
from vkprobe.report.rows import CEILINGS, multiplied
from vkprobe.report.steadiness import SOFTWARE_NOTE, because, causes
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.weights import WEIGHT_TYPES

PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")
_TITLED = ("device", "op", "type", "M x N x K")
_ONE_PATH = ("path", "acc")
_LABELS = ("device", "op", "kernel", "type", "path", "acc", "tuple", "M x N x K")
_HEADERS = (*_LABELS, "status", "time", "+-", "rate", "bandwidth", "of peak", "compiled", "tile")
_RATED = ("gemm", "peak")
"""Ops whose rate is arithmetic's; of all others bandwidth is shown."""
_INSIDE = ("read_shader", "copy_shader", "copy_device")
_COPIES = (*_INSIDE, "copy_to_host", "copy_from_host")


def as_text(
    results: Sequence[ResultRecord],
    form: str,
    *,
    width: int | None = None,
    pipelines: Sequence[PipelineRecord] = (),
    software: Collection[str] = (),
) -> str:
    """The results in one of the table formats.

    A terminal's table tells in its title what all rows share, and in notes the reasons; what does not fit `width` is the tile.
    CSV and JSON hold plain numbers in s, B/s and FLOP/s.

    Args:
        results: records.
        form: one of `tables.FORMATS`.
        width: columns of the terminal.
        pipelines: what was compiled for them.
        software: the devices that run on the CPU: how steady their times are is not told.
    """
    devices = list(dict.fromkeys(r.device for r in results))
    ordered = sorted(results, key=lambda r: (devices.index(r.device), *_order(r)))
    whole = ordered
    compiled = statistics.Finder((p.device, p) for p in pipelines)
    if form in ("csv", "json"):
        plain = [_plain(r, compiled.of(r.device, r)) for r in ordered]
        return render(_PLAIN, [[row[name] for name in _PLAIN] for row in plain], form)
    if any(r.op not in CEILINGS for r in whole):  # then these were measured for the shares only, unless something is wrong with them
        ordered = [r for r in whole if r.op not in CEILINGS or r.status != "ok"]
    notes = Footnotes()
    table = [_row(r, compiled.of(r.device, r), notes, judged=r.device not in software) for r in ordered]
    shared = [_HEADERS.index(name) for name in _TITLED if len({row[_HEADERS.index(name)] for row in table}) == 1]
    title = "  ".join(filter(None, (table[0][i] for i in shared))) if table else ""
    # A matrix-vector product has one path so far: it is nothing to tell apart by.
    one_path = all(r.op != "gemm" for r in ordered)
    told_once = [_HEADERS.index(name) for name in _ONE_PATH if one_path and len({row[_HEADERS.index(name)] for row in table}) == 1]
    left_out = {*shared, *told_once}
    kept = [i for i, name in enumerate(_HEADERS) if i not in left_out and (name == "status" or any(row[i] for row in table))]
    text = (
        _fitting(kept, table, width)
        if form == "table"
        else render([_HEADERS[i] for i in kept], [[row[i] for i in kept] for row in table], form)
    )
    told = [_counts(ordered, software), *(f"[{number}] {reason}" for number, reason in notes)]
    told += dict.fromkeys(f"noop: {r.reason}" for r in ordered if r.status == "noop" and r.reason)
    sharing = [r.device for r in ordered if isinstance(r.peak_share, float)]
    if sharing:
        told += [_roofline(device, [r for r in whole if r.device == device], software) for device in dict.fromkeys(sharing)]
    unsteady = [because(r.time) or "" for r in ordered if isinstance(r.time, Time) and _marked(r, software)]
    if unsteady:
        told.append(f"~ not steady: {causes(unsteady)}")
    told += [f"{device} {SOFTWARE_NOTE}" for device in devices if device in software]
    if any(row[_HEADERS.index("compiled")] for row in table):
        told.append(statistics.LEGEND)
    foot = "\n".join(f"- {line}" if form == "md" else folded(line, width, "    ") for line in told)
    return "\n\n".join(filter(None, [title, text, foot]))


def _roofline(device: str, results: Sequence[ResultRecord], software: Collection[str]) -> str:
    """What the shares of a device's cells are of."""
    copies = [r for r in results if r.op == "copy" and isinstance(r.bytes_per_s, float) and r.kernel in _INSIDE]
    best = max(copies, key=lambda r: r.bytes_per_s or 0.0, default=None)
    rates = [f"{'~' * _marked(best, software)}{units.bytes_per_s(best.bytes_per_s or 0.0)} ({best.kernel})"] if best else []
    for r in results:
        if r.op == "peak" and isinstance(r.flops_per_s, float):
            words = [r.path, *([r.type, r.tuple] if r.tuple else []), f"acc {r.accumulator}"]
            rates.append(f"{'~' * _marked(r, software)}{units.flops_per_s(r.flops_per_s)} ({' '.join(words)})")
    return f"of peak: the time that {device}'s own copies and peaks allow, over the time measured: {', '.join(rates)}"


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


def _marked(r: ResultRecord, software: Collection[str]) -> bool:
    return isinstance(r.time, Time) and not r.time.steady and r.device not in software


def _counts(results: Sequence[ResultRecord], software: Collection[str]) -> str:
    counts = Counter(r.status for r in results)
    unsteady = sum(_marked(r, software) for r in results)
    words = [f"{n} {status}" + (f" ({unsteady} unsteady)" if status == "ok" and unsteady else "") for status, n in counts.most_common()]
    return ", ".join(words)


def _order(r: ResultRecord) -> tuple[object, ...]:
    """As a person reads them, not as they came: by workload, then from the plainest path to the best."""
    types, paths = list(WEIGHT_TYPES), list(PATHS)
    rank = paths.index(r.path) if r.path in paths else len(paths)
    kind = types.index(r.type) if r.type in types else len(types)
    if r.op == "peak":
        return r.op, rank, kind, r.type, r.tuple or "", r.accumulator
    if r.op == "copy":
        return r.op, _COPIES.index(r.kernel) if r.kernel in _COPIES else len(_COPIES), r.k
    return r.op, r.m, r.k, r.n, kind, rank, r.tuple or "", r.accumulator


def _workload(r: ResultRecord) -> str:
    """The shape in words: of a copy its size; a peak has none."""
    if r.op == "copy":
        return units.size(4 * r.k)
    return "" if r.op == "peak" else f"{r.m}x{r.n}x{r.k}"


def _row(r: ResultRecord, pipeline: PipelineRecord | None, notes: Footnotes, *, judged: bool) -> list[str]:
    """A row for people: scaled units, the reason as a note, an unsteady time marked as in the matrix."""
    kernel, kind = (r.kernel, "") if r.op == "copy" else ("", multiplied(r) if r.op == "peak" else r.type)
    path, accumulator = ("", "") if r.op in ("dequant", "copy") else (r.path, r.accumulator)  # nothing is accumulated
    status = r.status.upper() if r.status in BAD else r.status
    if r.reason and r.status != "noop":
        status += f" [{notes.number(r.reason)}]"
    label = [r.device, r.op + (" hot" if r.residency == "hot" else ""), kernel, kind, path, accumulator, r.tuple or ""]
    told = [*label, _workload(r), status]
    if not isinstance(r.time, Time):
        compiled = statistics.statistics_text(pipeline) if pipeline and r.status == "noop" else ""
        return [*told, "", "", "", "", "", compiled, r.tile or "" if r.status != "unsupported" else ""]
    low, high = r.time.ci95_s
    spread = f"{(high - low) / 2 / r.time.median_s:.1%}"
    rate = units.flops_per_s(r.flops_per_s) if isinstance(r.flops_per_s, float) and r.op in _RATED else ""
    bandwidth = units.bytes_per_s(r.bytes_per_s) if isinstance(r.bytes_per_s, float) and r.op not in _RATED else ""
    share = f"{r.peak_share:.0%}" if isinstance(r.peak_share, float) else ""
    time = units.seconds(r.time.median_s)
    return [*told, time if r.time.steady or not judged else f"~{time}", spread, rate, bandwidth, share, "", r.tile or ""]


_CELL = ("device", "op", "residency", "type", "path", "accumulator", "tuple", "m", "n", "k")
_TIMED = ("time_s", "ci95_low_s", "ci95_high_s", "flops_per_s", "bytes_per_s", "peak_share", "steady", "unsteady_because", "nmse")
_MADE = ("compile_s", "kernel", "tier", "tile", "subgroup_size")
_COMPILED = ("registers", "spills", "instructions", "matrix_instructions")
_PLAIN = (*_CELL, "status", "reason", *_TIMED, *_MADE, *_COMPILED)


def _plain(r: ResultRecord, pipeline: PipelineRecord | None) -> dict[str, Any]:
    """A row for machines: stored units, null for what there is not."""
    row: dict[str, Any] = dict.fromkeys(_PLAIN)
    row |= {name: getattr(r, name) for name in (*_CELL, "status", "reason", *_MADE)}
    if pipeline is not None:
        row |= {name: getattr(pipeline, name) for name in _COMPILED}
    if isinstance(r.time, Time):
        low, high = r.time.ci95_s
        row |= {"time_s": r.time.median_s, "ci95_low_s": low, "ci95_high_s": high}
        row |= {"steady": r.time.steady, "unsteady_because": because(r.time)}
        row |= {name: value for name in ("flops_per_s", "bytes_per_s", "peak_share") if isinstance(value := getattr(r, name), float)}
    if isinstance(r.check, Check):
        row["nmse"] = r.check.nmse
    return row
