"""An A/B as a table: every measured cell with its verdict, ratio and interval, and what changed in its pipeline; the worst first."""

from __future__ import annotations

from collections import Counter

from vkprobe.compare.model import VERDICTS, Compared, Comparison
from vkprobe.records import ResultRecord
from vkprobe.report.compare import HEADINGS, SHOWN, result_name
from vkprobe.report.compare import as_text as compared_as_text
from vkprobe.report.compare_times import means, reasons
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.units import seconds

_ORDER = {verdict: i for i, verdict in enumerate(VERDICTS)}
_NO_TIMES = "null devices execute nothing: compile statistics only, no times"
_COLOURS = {"slower": "\x1b[1;31m", "wrong": "\x1b[1;31m", "crash": "\x1b[1;31m", "missing": "\x1b[31m", "faster": "\x1b[32m"}


def as_text(comparison: Comparison, form: str, *, width: int | None = None, color: bool = False, compiled: bool = False) -> str:
    """The verdicts in one of the table formats; `compiled` is set for null devices, which have pipelines only."""
    if compiled or form in ("csv", "json"):
        text = compared_as_text(comparison, form, width=width, color=color)
        return text if form in ("csv", "json") else f"{text}\n\n{'- ' * (form == 'md')}{_NO_TIMES}"
    cells = [cell for cell in comparison.cells if isinstance(cell.record, ResultRecord)]
    notes = Footnotes()
    rows = [_row(cell, notes) for cell in cells]
    columns = ["kernel", "cell", "verdict", "B / A", "95 %", "A", "B", *(HEADINGS.get(name, name) for name in SHOWN)]
    kept = [i for i, _ in enumerate(columns) if i < 3 or any(row[i] for row in rows)]
    if color:
        for cell, row in zip(cells, rows, strict=True):
            start = _COLOURS.get(cell.verdict)
            row[2] = f"{start}{row[2]}\x1b[0m" if start else row[2]
    counts = Counter(_counted_as(cell) for cell in cells)
    words = {"status": "with another status", "unjudged": "not judged"}
    summary = ", ".join(
        f"{count} {words.get(v, v)}" for v, count in sorted(counts.items(), key=lambda one: _ORDER.get(one[0], len(_ORDER)))
    )
    title = [f"A {pair.old} ({pair.old_driver}), B {pair.new} ({pair.new_driver}): {summary}" for pair in comparison.devices]
    table = render([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], form, width=width, pinned=3) if rows else ""
    foot = [*(f"[{number}] {reason}" for number, reason in notes), *reasons(cells)]
    parts = [*(folded(line, width if form == "table" else None) for line in title), table, means(comparison.groups, form, width)]
    parts.append("\n".join(f"- {line}" if form == "md" else folded(line, width, "    ") for line in foot))
    return "\n\n".join(filter(None, parts))


def _counted_as(cell: Compared) -> str:
    """Its verdict; `unsupported on both` and the like where nothing was measured."""
    return cell.verdict if cell.verdict != "same" or cell.record.status == "ok" else f"{cell.record.status} on both"


def _row(cell: Compared, notes: Footnotes) -> list[str]:
    record = cell.record
    assert isinstance(record, ResultRecord)
    verdict: str = cell.verdict
    a, b = (side.status if side is not None else "not measured" for side in (cell.old, cell.new))
    if a != b:
        verdict = f"{a} -> {b}"
    elif a != "ok":
        verdict = a
    for reason in _reasons(cell):
        verdict += f" [{notes.number(reason)}]"
    j = cell.judgement
    ratio, interval = ("", "") if j is None else (f"{j.ratio:.3f}", f"{j.ci95[0]:.3f} to {j.ci95[1]:.3f}")
    times = ["", ""] if cell.times is None else [seconds(t) for t in cell.times]
    return [record.kernel, result_name(record), verdict, ratio, interval, *times, *(_statistic(cell, n) for n in SHOWN)]


def _reasons(cell: Compared) -> list[str]:
    """Reasons why the cell isn't ok, by side where only one gives one."""
    reasons = [(side.reason if side is not None and side.status != "ok" else None) for side in (cell.old, cell.new)]
    if reasons[0] == reasons[1]:
        return [reasons[0]] if reasons[0] else []
    return [f"{side}: {reason}" for side, reason in zip("AB", reasons, strict=True) if reason]


def _statistic(cell: Compared, name: str) -> str:
    change = cell.change(name)
    if change is None:
        return ""
    old, new = ("not reported" if value is None else f"{value:g}" for value in (change.old, change.new))
    grown = f" ({change.new / change.old - 1:+.1%})" if name == "instructions" and change.old and change.new is not None else ""
    return f"{old} -> {new}{grown}"
