"""A comparison as a table: what differs, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from vkprobe.compare.compare import growth
from vkprobe.compare.model import VERDICTS, Change, Compared, Comparison, DevicePair
from vkprobe.ops import find
from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.report import compare_data, compare_times
from vkprobe.report.compare_times import EXPECTED, TIMED
from vkprobe.report.tables import Footnotes, folded, render

SHOWN = ("spills", "registers", "instructions", "matrix_instructions")
HEADINGS = {"matrix_instructions": "matrix"}
_FEW = 2
_COLOURS = {
    "wrong": "\x1b[1;31m",
    "crash": "\x1b[1;31m",
    "missing": "\x1b[31m",
    "slower": "\x1b[31m",
    "worse": "\x1b[33m",
    "mixed": "\x1b[33m",
    "better": "\x1b[32m",
    "faster": "\x1b[32m",
}


def as_text(comparison: Comparison, form: str, *, width: int | None = None, color: bool = False) -> str:
    """The comparison in one of the table formats; JSON holds everything, CSV one row a difference."""
    if form == "json":
        return compare_data.as_json(comparison)
    if form == "csv":
        return compare_data.as_csv(comparison)
    notes = Footnotes()
    parts = []
    for pair in comparison.devices:
        cells = [cell for cell in comparison.cells if cell.device == pair.new]
        results = [cell for cell in cells if isinstance(cell.record, ResultRecord)]
        parts.append(folded(_title(pair, cells), width if form == "table" else None))
        parts.append(_table([cell for cell in results if cell.verdict not in TIMED], form, width, color, notes))
        parts.append(compare_times.table(results, form, width, _COLOURS if color else {}, notes))
        parts.append(compare_times.means((g for g in comparison.groups if g.device == pair.new), form, width))
        parts.append(_table([cell for cell in cells if isinstance(cell.record, PipelineRecord)], form, width, color, notes))
    foot = [*(f"[{number}] {reason}" for number, reason in notes), *_foot(comparison)]
    parts.append("\n".join(f"- {line}" if form == "md" else folded(line, width, "    ") for line in foot))
    return "\n\n".join(filter(None, parts))


def _foot(comparison: Comparison) -> Iterator[str]:
    yield from compare_times.reasons(comparison.cells)
    yield from comparison.notes
    for one in comparison.missing:
        yield f"{one.device} is only in OLD ({one.records} records): missing{', which --fails lists' * one.in_fails}"
    for one in comparison.appeared:
        yield f"{one.device} is only in NEW ({one.records} records)"
    if comparison.skipped:
        yield f"{comparison.skipped} cells and pipelines are skipped: --skips lists them"
    for line in comparison.improved:
        yield f"unexpected improvement: {line.where}: {line.name} is no longer {line.listed} but {line.verdict}: remove the line"


def _title(pair: DevicePair, cells: Sequence[Compared]) -> str:
    """Which device, which drivers, how many of each verdict; cells apart from pipelines where there are both."""
    name = pair.new if pair.old == pair.new else f"{pair.old} -> {pair.new}"
    drivers = pair.old_driver if pair.old_driver == pair.new_driver else f"{pair.old_driver} -> {pair.new_driver}"
    measured = [cell for cell in cells if isinstance(cell.record, ResultRecord)]
    compiled = [cell for cell in cells if isinstance(cell.record, PipelineRecord)]
    if measured and compiled:
        summary = f"of {len(measured)} cells {_counted(measured)}; of {len(compiled)} pipelines {_counted(compiled)}"
    else:
        summary = _counted(cells) or "nothing left to compare"
    return f"{name} ({drivers}): {summary}"


def _counted(cells: Sequence[Compared]) -> str:
    counts: Counter[str] = Counter(cell.verdict for cell in cells)
    words = {"status": "with another status", "unjudged": "not judged"}
    return ", ".join(f"{counts[v]} {words.get(v, v)}" for v in VERDICTS if counts[v])


def _table(cells: Sequence[Compared], form: str, width: int | None, color: bool, notes: Footnotes) -> str:
    cells = [cell for cell in cells if cell.verdict not in ("same", "unjudged")]
    if not cells:
        return ""
    named = Counter((cell.record.kernel, _brief(cell)) for cell in cells)
    rows = [_row(cell, notes, brief=named[cell.record.kernel, _brief(cell)] == 1) for cell in cells]
    headers = ["kernel", "cell", "verdict", *(HEADINGS.get(name, name) for name in SHOWN), "others"]
    kept = [i for i, name in enumerate(headers) if any(row[i] for row in rows)]
    if color:
        for cell, row in zip(cells, rows, strict=True):
            start = _COLOURS.get(cell.verdict)
            row[2] = f"{start}{row[2]}\x1b[0m" if start else row[2]
    return _fitting([headers[i] for i in kept], [[row[i] for i in kept] for row in rows], form, width)


def _fitting(headers: Sequence[str], rows: Sequence[Sequence[str]], form: str, width: int | None) -> str:
    """The table; without the other statistics where it would be too wide, then in several parts."""
    labels = sum(name in ("kernel", "cell", "verdict") for name in headers)
    text = render(headers, rows, form)
    if form != "table" or width is None or max(map(len, text.splitlines())) <= width:
        return text
    kept = [i for i, name in enumerate(headers) if name != "others" or len(headers) == labels + 1]
    return render([headers[i] for i in kept], [[row[i] for i in kept] for row in rows], form, width=width, pinned=labels)


def _row(cell: Compared, notes: Footnotes, *, brief: bool) -> list[str]:
    verdict: str = cell.verdict
    if cell.old is not None and cell.new is not None and cell.old.status != cell.new.status:
        verdict = f"{cell.old.status} -> {cell.new.status}"
    elif cell.verdict == "appeared" and cell.new is not None and cell.new.status != "ok":
        verdict = f"appeared, {cell.new.status}"
    if cell.reason:
        verdict += f" [{notes.number(cell.reason)}]"
    if cell.expected:
        verdict += f" [{notes.number(EXPECTED[cell.expected])}]"
    shown = [_change(cell.change(name)) for name in SHOWN]
    kernel, name = _name(cell)
    others = [c for c in cell.changes if c.name not in SHOWN]
    return [kernel, _brief(cell) if brief else name, verdict, *shown, _others(others)]


def _name(cell: Compared) -> tuple[str, str]:
    """The kernel, and which of its pipelines or cells."""
    r = cell.record
    if isinstance(r, PipelineRecord):
        return r.kernel, r.tile or ""
    return r.kernel, result_name(r)


def result_name(r: ResultRecord) -> str:
    """Which of a kernel's cells: its size, its tuple, and whether it is hot."""
    return " ".join(filter(None, (find(r.op).size(r.cell), r.tuple, "hot" if r.residency == "hot" else "")))


def _brief(cell: Compared) -> str:
    """A tile's size (or N) and its tuple: `l 16x16x16`, `n4`; the whole tile if it has neither."""
    r = cell.record
    if not isinstance(r, PipelineRecord):
        return _name(cell)[1]
    return " ".join(filter(None, (r.tile_name, r.tuple))) or r.tile or ""


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    text = f"{_value(change.old)} -> {_value(change.new)}"
    if change.name == "instructions" and change.old and change.new is not None:
        text += f" ({growth(change):+.1%})"
    return text


def _value(value: Any) -> str:
    if value is None:
        return "not reported"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _others(changes: Sequence[Change]) -> str:
    texts = [f"{c.name.replace('_', ' ')} {_change(c)}" for c in changes[:_FEW]]
    left = len(changes) - _FEW
    return ", ".join(texts) + (f" and {left} more" if left > 0 else "")
