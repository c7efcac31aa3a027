"""A comparison as a table: what differs, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vkprobe.compare.compare import growth
from vkprobe.compare.model import VERDICTS, Change, Compared, Comparison, DevicePair
from vkprobe.records import PipelineRecord
from vkprobe.report.tables import Footnotes, folded, render

_SHOWN = ("spills", "registers", "instructions", "matrix_instructions")
_HEADINGS = {"matrix_instructions": "matrix"}
_FEW = 2
_UNJUDGED = "not judged yet: timing comparison comes with `ab`"
_COLOURS = {"wrong": "\x1b[1;31m", "crash": "\x1b[1;31m", "missing": "\x1b[31m", "worse": "\x1b[33m", "better": "\x1b[32m"}


def as_text(comparison: Comparison, form: str, *, width: int | None = None, color: bool = False) -> str:
    """The comparison in one of the table formats; CSV and JSON hold one row a change, what is the same left out."""
    if form in ("csv", "json"):
        return render(("device", "kernel", "cell", "verdict", "statistic", "old", "new", "reason"), list(_plain(comparison)), form)
    notes = Footnotes()
    parts = []
    for pair in comparison.devices:
        cells = [cell for cell in comparison.cells if cell.device == pair.new]
        parts.append(folded(_title(pair, cells), width if form == "table" else None))
        parts.append(_table(cells, form, width, color, notes))
    foot = [*(f"[{number}] {reason}" for number, reason in notes), *comparison.notes]
    foot += [f"{device} is only in OLD ({count} records): missing" for device, count in comparison.missing]
    foot += [f"{device} is only in NEW ({count} records)" for device, count in comparison.appeared]
    unjudged = sum(cell.verdict == "unjudged" for cell in comparison.cells)
    if unjudged:
        foot.append(f"{unjudged} measured cell{'s' * (unjudged != 1)} ok in both files: {_UNJUDGED}")
    parts.append("\n".join(f"- {line}" if form == "md" else folded(line, width, "    ") for line in foot))
    return "\n\n".join(filter(None, parts))


def _title(pair: DevicePair, cells: Sequence[Compared]) -> str:
    """Which device, which drivers, how many of each verdict."""
    counts: Counter[str] = Counter(cell.verdict for cell in cells)
    name = pair.new if pair.old == pair.new else f"{pair.old} -> {pair.new}"
    drivers = pair.old_driver if pair.old_driver == pair.new_driver else f"{pair.old_driver} -> {pair.new_driver}"
    words = {"status": "with another status", "unjudged": "not judged"}
    return f"{name} ({drivers}): " + ", ".join(f"{counts[v]} {words.get(v, v)}" for v in VERDICTS if counts[v])


def _table(cells: Sequence[Compared], form: str, width: int | None, color: bool, notes: Footnotes) -> str:
    cells = [cell for cell in cells if cell.verdict not in ("same", "unjudged")]
    if not cells:
        return ""
    named = Counter((cell.record.kernel, _brief(cell)) for cell in cells)
    rows = [_row(cell, notes, brief=named[cell.record.kernel, _brief(cell)] == 1) for cell in cells]
    headers = ["kernel", "cell", "verdict", *(_HEADINGS.get(name, name) for name in _SHOWN), "others"]
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
    shown = [_change(cell.change(name)) for name in _SHOWN]
    kernel, name = _name(cell)
    others = [c for c in cell.changes if c.name not in _SHOWN]
    return [kernel, _brief(cell) if brief else name, verdict, *shown, _others(others)]


def _name(cell: Compared) -> tuple[str, str]:
    """The kernel, and which of its pipelines or cells."""
    r = cell.record
    if isinstance(r, PipelineRecord):
        return r.kernel, r.tile or ""
    return r.kernel, " ".join(filter(None, (f"{r.m}x{r.n}x{r.k}", r.tuple, "hot" if r.residency == "hot" else "")))


def _brief(cell: Compared) -> str:
    """Of a tile its size (or N) and its tuple: `l 16x16x16`, `n4`."""
    name = _name(cell)[1]
    if not isinstance(cell.record, PipelineRecord):
        return name
    words = name.split()
    return " ".join([*words[:1], *(word for word in words[3:4] if word.count("x") == 2)])


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    text = f"{_value(change.old)} -> {_value(change.new)}"
    if change.name == "instructions" and change.old and change.new is not None:
        text += f" ({growth(change):+.1%})"
    return text


def _value(value: Any) -> str:
    if value is None:
        return "not told"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _others(changes: Sequence[Change]) -> str:
    told = [f"{c.name.replace('_', ' ')} {_change(c)}" for c in changes[:_FEW]]
    left = len(changes) - _FEW
    return ", ".join(told) + (f" and {left} more" if left > 0 else "")


def _plain(comparison: Comparison) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for cell in comparison.cells:
        if cell.verdict == "same":
            continue
        label = (cell.device, *_name(cell), cell.verdict)
        reason = _UNJUDGED if cell.verdict == "unjudged" else cell.reason
        status = tuple(r.status if r is not None else None for r in (cell.old, cell.new))
        if not cell.changes:
            rows.append((*label, "status", *status, reason))
        rows += [(*label, change.name, change.old, change.new, reason) for change in cell.changes]
    rows += [(device, None, None, "missing", "records", count, 0, "the device is only in OLD") for device, count in comparison.missing]
    return rows + [
        (device, None, None, "appeared", "records", 0, count, "the device is only in NEW") for device, count in comparison.appeared
    ]
