"""The table of a measuring verb: a row per cell, the value or the status, reasons as notes that cells share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from vkprobe import units
from vkprobe.ops import find, in_tables
from vkprobe.ops.base import rank
from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.report import statistics
from vkprobe.report.measured import WALL_CLOCK
from vkprobe.report.model import BAD
from vkprobe.report.steadiness import SOFTWARE_NOTE, WALL_CLOCK_NOTE, causes
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.results import lift
from vkprobe.results.tidy import Finder, Line, axis_names

_LABELS = ("device", "op", "kernel", "type", "path", "acc", "tuple", "size")
_TITLED = ("device", "op", "type", "size")
"""Labels that stand in the title where all rows share them."""
_ONE_PATH = ("path", "acc")
_HEADERS = (*_LABELS, "status", "time", "+-", "rate", "bandwidth", "of peak", "clock", "compiled", "tile")


def as_text(
    results: Sequence[ResultRecord],
    form: str,
    *,
    width: int | None = None,
    pipelines: Sequence[PipelineRecord] = (),
    software: Collection[str] = (),
) -> str:
    """The results in one of the table formats.

    A terminal's table has what all rows share in its title, and the reasons in notes; where it is wider than `width` it leaves out the
    tile. CSV and JSON hold plain numbers in s, B/s and FLOP/s.

    Args:
        results: records.
        form: one of `tables.FORMATS`.
        width: columns of the terminal.
        pipelines: the statistics of their kernels.
        software: the devices that run on the CPU; nobody judges how steady their times are.
    """
    compiled = Finder((p.device, p) for p in pipelines)
    devices = list(dict.fromkeys(r.device for r in results))
    lines = [
        Line(device=r.device, record=lift.result(r), pipeline=compiled.of(r.device, r), software=r.device in software)
        for r in sorted(results, key=lambda r: (devices.index(r.device), rank(in_tables(), r.op), find(r.op).order(r.cell)))
    ]
    if form in ("csv", "json"):
        axes = axis_names(results)
        headers = [*_PLAIN_LABELS, *axes, *_PLAIN]
        return render(headers, [_plain(line, axes) for line in lines], form)
    # Ceilings beside other cells were measured for the shares only, so they are left out unless something is wrong with them.
    only_ceilings = all(line.op.ceiling for line in lines)
    shown = [line for line in lines if only_ceilings or not line.op.ceiling or line.record.status != "ok"]
    notes = Footnotes()
    rows = [_row(line, notes) for line in shown]
    title, kept = _columns(shown, rows)
    text = _fitting(_headers(shown), kept, rows, width) if form == "table" else _picked(_headers(shown), kept, rows, form)
    foot = [_counts(shown), *(f"[{number}] {reason}" for number, reason in notes), *_notes(lines, shown, rows)]
    notes_below = "\n".join(f"- {line}" if form == "md" else folded(line, width, "    ") for line in foot)
    return "\n\n".join(filter(None, [title, text, notes_below]))


def _headers(lines: Sequence[Line]) -> list[str]:
    """The headings; the sizes have their op's word where all are of one."""
    words = {line.op.shape_word for line in lines}
    return [words.pop() if name == "size" and len(words) == 1 else name for name in _HEADERS]


def _columns(lines: Sequence[Line], rows: Sequence[Sequence[str]]) -> tuple[str, list[int]]:
    """The title, of the labels that all rows share, and the columns that are left with something in them."""
    places = {name: i for i, name in enumerate(_HEADERS)}
    shared = [places[name] for name in _TITLED if len({row[places[name]] for row in rows}) == 1]
    one_path = not any(line.op.measure == "flops_per_s" and not line.op.ceiling for line in lines)
    once = [places[name] for name in _ONE_PATH if one_path and len({row[places[name]] for row in rows}) == 1]
    left_out = {*shared, *once}
    kept = [i for i, name in enumerate(_HEADERS) if i not in left_out and (name == "status" or any(row[i] for row in rows))]
    return "  ".join(filter(None, (rows[0][i] for i in shared))) if rows else "", kept


def _notes(lines: Sequence[Line], shown: Sequence[Line], rows: Sequence[Sequence[str]]) -> list[str]:
    """The notes below the table: what a noop means, the roofline, why times are unsteady, what the clock and the letters mean."""
    notes = list(dict.fromkeys(f"noop: {line.record.reason}" for line in shown if line.record.status == "noop" and line.record.reason))
    sharing = dict.fromkeys(line.device for line in shown if line.get("peak_share") is not None)
    notes += [_roofline(device, [line for line in lines if line.device == device]) for device in sharing]
    unsteady = [line.time for line in shown if line.steady is False and line.time is not None]
    if unsteady:
        notes.append(f"~ not steady: {causes(unsteady)}")
    notes += dict.fromkeys(f"{line.device} {WALL_CLOCK_NOTE}" for line in shown if line.wall_clock)
    notes += dict.fromkeys(f"{line.device} {SOFTWARE_NOTE}" for line in lines if line.software)
    if any(row[_HEADERS.index("compiled")] for row in rows):
        notes.append(statistics.LEGEND)
    return notes


def _roofline(device: str, lines: Sequence[Line]) -> str:
    """The rates that the shares of a device's cells are of: its fastest copy, and every peak."""
    roofs = [line for line in lines if line.op.roof(line.cell) and line.rate is not None]
    moved = [line for line in roofs if line.op.measure == "bytes_per_s"]
    best = [max(moved, key=lambda line: line.rate or 0.0)] if moved else []
    texts = [f"{_mark(line)}{_rate(line)} ({_roof_name(line)})" for line in [*best, *(line for line in roofs if line not in moved)]]
    return f"of peak: the time that {device}'s own copies and peaks allow, over the time measured: {', '.join(texts)}"


def _rate(line: Line) -> str:
    scaled = units.flops_per_s if line.op.measure == "flops_per_s" else units.bytes_per_s
    return scaled(line.rate or 0.0)


def _roof_name(line: Line) -> str:
    v = line.cell.variant
    if v.path is None:
        return line.op.kind(line.cell)
    return " ".join(filter(None, (v.path, *((v.type, v.tuple) if v.tuple else ()), v.accumulator and f"acc {v.accumulator}")))


def _mark(line: Line) -> str:
    return "~" if line.steady is False else ""


def _picked(headers: Sequence[str], kept: Sequence[int], rows: Sequence[Sequence[str]], form: str) -> str:
    return render([headers[i] for i in kept], [[row[i] for i in kept] for row in rows], form)


def _fitting(headers: Sequence[str], kept: Sequence[int], rows: Sequence[Sequence[str]], width: int | None) -> str:
    """The table; without its tiles where it would not fit."""
    tile = _HEADERS.index("tile")
    for columns in (list(kept), [i for i in kept if i != tile]):
        text = _picked(headers, columns, rows, "table")
        if width is None or max(map(len, text.splitlines()), default=0) <= width:
            return text
    picked = [[row[i] for i in columns] for row in rows]
    pinned = sum(_HEADERS[i] in _LABELS for i in columns)
    return render([headers[i] for i in columns], picked, width=width, pinned=pinned)


def _counts(lines: Sequence[Line]) -> str:
    counts = Counter(line.record.status for line in lines)
    unsteady = sum(line.steady is False for line in lines)
    words = [f"{n} {status}" + (f" ({unsteady} unsteady)" if status == "ok" and unsteady else "") for status, n in counts.most_common()]
    return ", ".join(words)


def _row(line: Line, notes: Footnotes) -> list[str]:
    """A row for people: scaled units, the reason as a note, an unsteady time marked as in the matrix."""
    r, op, cell = line.record, line.op, line.cell
    kernel, kind = ("", op.kind(cell)) if r.type is not None else (op.kind(cell), "")
    how = op.how(cell)
    path = (r.path or "") if how else ""
    accumulator = r.accumulator or ""
    status = r.status.upper() if r.status in BAD else r.status
    if r.reason and r.status != "noop":
        status += f" [{notes.number(r.reason)}]"
    label = [line.device, r.op + (" hot" if r.residency == "hot" else ""), kernel, kind, path, accumulator, r.tuple or ""]
    row = [*label, op.size(cell), status]
    if line.time is None:
        compiled = statistics.statistics_text(line.pipeline) if line.pipeline and r.status == "noop" else ""
        return [*row, "", "", "", "", "", "", compiled, r.tile or "" if r.status != "unsupported" else ""]
    low, high = line.time.ci95_s
    spread = f"{(high - low) / 2 / line.time.median_s:.1%}"
    flops, moved, share = (line.get(name) for name in ("flops_per_s", "bytes_per_s", "peak_share"))
    rate = units.flops_per_s(flops) if flops is not None and op.measure == "flops_per_s" else ""
    bandwidth = units.bytes_per_s(moved) if moved is not None and op.measure == "bytes_per_s" else ""
    time = f"{_mark(line)}{units.seconds(line.time.median_s)}"
    clock = WALL_CLOCK if line.wall_clock else ""
    return [*row, time, spread, rate, bandwidth, "" if share is None else f"{share:.0%}", clock, "", r.tile or ""]


_PLAIN_LABELS = ("device", "op", "residency", "type", "mode", "path", "accumulator", "tuple")
_PLAIN = (
    *("status", "reason", "time_s", "ci95_low_s", "ci95_high_s", "clock", "flops_per_s", "bytes_per_s", "peak_share"),
    *("steady", "unsteady_because", "nmse", "compile_s", "kernel", "tier", "tile", "subgroup_size"),
    *("registers", "spills", "instructions", "matrix_instructions"),
)


def _plain(line: Line, axes: Sequence[str]) -> list[Any]:
    """A row for machines: stored units, null for what there is not."""
    sizes = [line.record.axes.get(name) for name in axes]
    return [*map(line.get, _PLAIN_LABELS), *sizes, *map(line.get, _PLAIN)]
