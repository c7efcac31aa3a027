"""The matrix on a terminal, as Markdown, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from vkprobe.report.model import BAD, Cell, Column, Matrix, Section
from vkprobe.report.tables import render
from vkprobe.units import significant

_INLINE = 18
"""A reason of up to so many characters stands in its cell; a longer one becomes a footnote."""

_COLOURS = {"ok": "", "met": "\x1b[32m", "partial": "\x1b[33m", "noop": "\x1b[36m"} | dict.fromkeys(BAD, "\x1b[1;31m")
_DIM = "\x1b[2m"


class Footnotes:
    """Reasons, each numbered once however many cells share it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, reason: str) -> int:
        """The footnote's number."""
        return self._numbers.setdefault(reason, len(self._numbers) + 1)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter((number, reason) for reason, number in self._numbers.items())


def cell_text(cell: Cell, footnotes: Footnotes) -> str:
    """The cell with its ratio, and its reason: in it where that is short, else as a footnote's number.

    Reasons of requirements and of cells that are in no file stand elsewhere: what is missing, and the legend.
    """
    text = cell.text if cell.ratio is None else f"{cell.text}  {ratio_text(cell.ratio)}"
    if cell.reason is None or cell.gap is not None or cell.status in ("absent", "noop"):
        return text
    if len(cell.reason) <= _INLINE:
        return f"{text}: {cell.reason}"
    return f"{text} [{footnotes.number(cell.reason)}]"


def ratio_text(ratio: float) -> str:
    """A ratio to the baseline: two decimals, or two significant digits where that would be next to nothing.

    >>> ratio_text(0.5432), ratio_text(1834.2), ratio_text(0.000334)
    ('0.54x', '1834x', '0.00033x')
    """
    if ratio < 0.1:
        return f"{significant(ratio, 2)}x"
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:.0f}x"


def as_text(matrix: Matrix, format: str = "table", *, width: int | None = None, color: bool = False) -> str:
    """The matrix in one of the formats of `tables.FORMATS`.

    Args:
        matrix: what `build` made.
        format: `table`, `md`, `csv` (one line a row, every section) or `json`.
        width: columns of the terminal; None does not split tables.
        color: mark statuses with ANSI colours (`table` only).
    """
    if format == "json":
        return msgspec.json.format(msgspec.json.encode(as_json(matrix)), indent=1).decode()
    if format == "csv":
        return _csv(matrix)
    return _document(matrix, format, width, color)


def _document(matrix: Matrix, format: str, width: int | None, color: bool) -> str:
    heading: Callable[[str], str] = (lambda t: f"## {t}") if format == "md" else (lambda t: t)
    paragraphs = [matrix.headline]
    if matrix.alarms:
        alarm = ", ".join(matrix.alarms)
        paragraphs.append(f"**{alarm}**" if format == "md" else f"{_COLOURS['wrong']}{alarm}\x1b[0m" if color else alarm)
    if matrix.columns:
        identity = render(("device", "name", "driver", "API", "type"), [_identity(c) for c in matrix.columns], format, width=width)
        paragraphs += [heading("Devices"), identity]
    footnotes = Footnotes()
    for section in matrix.sections:
        paragraphs.append(heading(f"{section.title}: {section.note}" if section.note else section.title))
        paragraphs.append(_section(matrix, section, footnotes, format, width, color))
    notes = [f"[{number}] {reason}" for number, reason in footnotes]
    if notes:
        paragraphs += [heading("Reasons"), _lines(notes, format)]
    if matrix.losses:
        paragraphs += [heading("What is missing"), _losses(matrix, format)]
    if matrix.failed_drivers:
        rows = [(d.driver, d.state, d.reason or "no reason known", d.remedy or "") for d in matrix.failed_drivers]
        paragraphs += [heading("Drivers without a device"), render(("driver", "state", "reason", "what to do"), rows, format)]
    if matrix.events:
        lines = [f"{e.device}: {e.what} on {e.where}" + (f" ({e.signal})" if e.signal else "") for e in matrix.events]
        paragraphs += [heading("Events"), _lines(lines, format)]
    if matrix.notes:
        paragraphs += [heading("Notes"), _lines(matrix.notes, format)]
    return "\n\n".join(paragraphs)


def _lines(lines: Sequence[str], format: str) -> str:
    return "\n".join(f"- {line}" if format == "md" else f"  {line}" for line in lines)


def _identity(column: Column) -> tuple[str, str, str, str | None, str]:
    device = column.device
    kind = "unknown" if device is None else device.type + (", null: executes nothing" if device.null else "")
    return column.id, column.name, column.driver, device.driver.api if device else None, kind


def _section(matrix: Matrix, section: Section, footnotes: Footnotes, format: str, width: int | None, color: bool) -> str:
    headers = [*section.labels, *(_heading(matrix.columns[i], matrix.baseline == i, format) for i in section.columns)]
    rows = []
    previous = ""
    for row in section.rows:
        # A label that repeats is shown once; Markdown tables are read by machines too.
        labels = list(row.labels)
        if format == "table" and len(labels) > 1 and labels[0] == previous:
            labels[0] = ""
        previous = row.labels[0]
        rows.append([*labels, *(_coloured(cell, cell_text(cell, footnotes), color) for cell in row.cells)])
    return render(headers, rows, format, width=width, pinned=len(section.labels))


def _heading(column: Column, is_baseline: bool, format: str) -> str:
    parts = [column.id, column.driver if column.device else "", "null" if column.null else "", "baseline" if is_baseline else ""]
    return "\n".join(filter(None, parts))


def _coloured(cell: Cell, text: str, color: bool) -> str:
    if not color:
        return text
    start = _COLOURS.get(cell.status, _DIM)
    return f"{start}{text}\x1b[0m" if start else text


def _losses(matrix: Matrix, format: str) -> str:
    lines = []
    for index, column in enumerate(matrix.columns):
        mine = [loss for loss in matrix.losses if loss.column == index]
        if not mine:
            continue
        title = f"{column.id} ({column.name}, {column.driver})"
        lines.append(f"- **{title}**" if format == "md" else f"  {title}")
        for loss in mine:
            owners = ", ".join(matrix.columns[i].id for i in loss.owners) or "none here"
            source = loss.sources[-1]
            state = " (may be there)" if loss.met is None else ""
            lines.append(f"{'  - ' if format == 'md' else '    '}{loss.path}{state}: {loss.missing}. Has it: {owners}. [{source}]")
    return "\n".join(lines)


def _csv(matrix: Matrix) -> str:
    headers = ["section", "row", *(c.id for c in matrix.columns)]
    rows = []
    for section in matrix.sections:
        for row in section.rows:
            cells = dict(zip(section.columns, row.cells, strict=True))
            texts = [_plain(cells[i]) if i in cells else "" for i in range(len(matrix.columns))]
            rows.append([section.title, " ".join(filter(None, row.labels)), *texts])
    return render(headers, rows, "csv")


def _plain(cell: Cell) -> str:
    """The cell in one text without footnotes: values with their ratio, statuses with their reason."""
    text = cell.text if cell.ratio is None else f"{cell.text} {ratio_text(cell.ratio)}"
    return text if cell.reason is None else f"{text}: {cell.reason}"


def as_json(matrix: Matrix) -> dict[str, Any]:
    """The matrix as plain data; samples and facts stay in the records."""
    return {
        "headline": matrix.headline,
        "alarms": matrix.alarms,
        "baseline": None if matrix.baseline is None else matrix.columns[matrix.baseline].id,
        "columns": [
            {
                "id": c.id,
                "name": c.name,
                "null": c.null,
                "software": c.software,
                "driver": c.device.driver if c.device else None,
                "hardware": c.device.hardware if c.device else None,
            }
            for c in matrix.columns
        ],
        "sections": [_section_json(matrix, section) for section in matrix.sections],
        "missing": [
            {
                "device": matrix.columns[loss.column].id,
                "path": loss.path,
                "met": loss.met,
                "missing": loss.missing,
                "sources": loss.sources,
                "has_it": [matrix.columns[i].id for i in loss.owners],
            }
            for loss in matrix.losses
        ],
        "drivers_without_device": matrix.failed_drivers,
        "events": matrix.events,
        "notes": matrix.notes,
    }


def _section_json(matrix: Matrix, section: Section) -> dict[str, Any]:
    rows = []
    for row in section.rows:
        cells = {}
        for index, cell in zip(section.columns, row.cells, strict=True):
            found: dict[str, Any] = {"status": cell.status, "text": cell.text, "reason": cell.reason}
            if section.kind == "measured":
                time = cell.result.time if cell.result else None
                found |= {"value": cell.value, "ratio": cell.ratio, "steady": cell.steady, "median_s": time.median_s if time else None}
            if section.kind == "requirements" and cell.gap is not None:
                found |= {"met": cell.gap.met, "held": cell.gap.held, "total": cell.gap.total, "missing": cell.gap.missing}
            cells[matrix.columns[index].id] = found
        rows.append({**dict(zip(section.labels, row.labels, strict=True)), "cells": cells})
    return {"title": section.title, "kind": section.kind, "note": section.note, "rows": rows}
