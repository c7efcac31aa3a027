"""The matrix on a terminal, as Markdown, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from vkprobe.records import LadderRecord, PipelineRecord
from vkprobe.report.blocks import Block, blocks
from vkprobe.report.losses import shared_losses
from vkprobe.report.measured import result_json
from vkprobe.report.model import BAD, Cell, Column, Loss, Matrix, Section
from vkprobe.report.prices import in_words as price_in_words
from vkprobe.report.statistics import spill_cause
from vkprobe.report.tables import Footnotes, folded, render
from vkprobe.units import significant

_INLINE = 18
"""A reason of up to so many characters stands in its cell; a longer one becomes a footnote."""

_FEW = 2
"""With more devices than this, requirement cells say only yes or no; the conditions are spelled out below anyway."""

_HEADING = 18
"""A column's heading is folded to so many characters, or to its device's id where that is longer."""

_REGISTERS = ("registers", "spills", "tile_registers", "register_budget")

_COLOURS = {"ok": "", "met": "\x1b[32m", "partial": "\x1b[33m", "noop": "\x1b[36m"} | dict.fromkeys(BAD, "\x1b[1;31m")
_DIM = "\x1b[2m"


def cell_text(cell: Cell, footnotes: Footnotes) -> str:
    """The cell with its ratio, and its reason: in it where that is short, else as a footnote's number."""
    text = "  ".join(filter(None, [cell.text, None if cell.ratio is None else ratio_text(cell.ratio)]))
    if cell.variant and cell.status != "absent":
        # A tuple as it is; a tile by its name, where it has one.
        text = f"{text}  {cell.variant}" if cell.line else f"{cell.variant_name} {text}".strip()
    if cell.reason is None or not has_footnote(cell):
        return text
    if len(cell.reason) <= _INLINE:
        return f"{text}: {cell.reason}"
    return f"{text} [{footnotes.number(cell.reason)}]"


def has_footnote(cell: Cell) -> bool:
    """Whether its reason stands beside the tables; reasons of requirements, of cells in no file and of `~` are given once for all."""
    if cell.reason is None or cell.gap is not None or cell.status in ("absent", "noop"):
        return False
    return cell.steady is not False or (cell.result is not None and cell.result.reason is not None)


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
    if matrix.untested:
        paragraphs.append(_folded(untested_in_words(matrix), format, width))
    if matrix.columns:
        identity = render(("device", "name", "driver", "API", "type"), [_identity(c) for c in matrix.columns], format, width=width, fold=2)
        paragraphs += [heading("Devices"), identity]
    footnotes = Footnotes()
    for section in matrix.sections:
        for block in blocks(matrix, section):
            paragraphs.append(heading(_folded(f"{block.title}: {block.note}" if block.note else block.title, format, width)))
            paragraphs.append(_block(matrix, section, block, footnotes, format, width, color))
            if block.notes:
                paragraphs.append(_lines(block.notes, format, width))
        if section.kind == "requirements" and matrix.losses:
            paragraphs += [heading("What is missing, the dearest first"), _losses(matrix, format, width)]
    notes = [f"[{number}] {reason}" for number, reason in footnotes]
    if notes:
        paragraphs += [heading("Reasons"), _lines(notes, format, width)]
    if matrix.failed_drivers:
        rows = [(d.driver, d.state, d.reason or "no reason known", d.remedy or "") for d in matrix.failed_drivers]
        paragraphs += [
            heading("Drivers without a device"),
            render(("driver", "state", "reason", "what to do"), rows, format, width=width, fold=2),
        ]
    if matrix.events:
        lines = [f"{e.device}: {e.what} on {e.where}" + (f" ({e.signal})" if e.signal else "") for e in matrix.events]
        paragraphs += [heading("Events"), _lines(lines, format, width)]
    if matrix.notes:
        paragraphs += [heading("Notes"), _lines(matrix.notes, format, width)]
    return "\n\n".join(paragraphs)


def untested_in_words(matrix: Matrix) -> str:
    """Where the ladder's features were not tested."""
    return f"not tested: the ladder's features on {', '.join(matrix.columns[i].id for i in matrix.untested)}"


def _folded(text: str, format: str, width: int | None) -> str:
    return folded(text, width if format == "table" else None)


def _lines(lines: Sequence[str], format: str, width: int | None) -> str:
    return "\n".join(f"- {line}" if format == "md" else folded(f"  {line}", width, "      ") for line in lines)


def _identity(column: Column) -> tuple[str, str, str, str | None, str]:
    device = column.device
    kind = "unknown" if device is None else device.type + (", null: executes nothing" if device.null else "")
    return column.id, column.name, column.driver, device.driver.api if device else None, kind


def _block(matrix: Matrix, section: Section, block: Block, footnotes: Footnotes, format: str, width: int | None, color: bool) -> str:
    columns = [section.columns[i] for i in block.positions]
    brief = section.kind == "requirements" and len(columns) > _FEW
    rows = []
    previous = ""
    for row in block.rows:
        # A label that repeats is shown once; Markdown tables are read by machines too.
        labels = list(row.labels)
        if format == "table" and len(labels) > 1 and labels[0] == previous:
            labels[0] = ""
        previous = row.labels[0]
        cells = [row.cells[i] for i in block.positions]
        texts = [_brief(cell) if brief else cell_text(cell, footnotes) for cell in cells]
        rows.append([*labels, *(_coloured(cell, text, color) for cell, text in zip(cells, texts, strict=True))])
    names = [name for k, name in enumerate(section.labels) if k == 0 or any(row.labels[k] for row in block.rows)]
    rows = [[text for k, text in enumerate(row) if k >= len(section.labels) or section.labels[k] in names] for row in rows]
    headers = [*names, *(_heading(matrix.columns[i], matrix.baseline == i) for i in columns)]
    return render(headers, rows, format, width=width, pinned=len(names))


def _brief(cell: Cell) -> str:
    """`no` for `no: VK_KHR_shader_bfloat16`: many devices leave no room for it, and it is spelled out below."""
    return cell.brief or cell.text


def _heading(column: Column, is_baseline: bool) -> str:
    driver = folded(column.driver, max(_HEADING, len(column.id)), "") if column.device else ""
    return "\n".join(filter(None, [column.id, driver, "null" if column.null else "", "baseline" if is_baseline else ""]))


def _coloured(cell: Cell, text: str, color: bool) -> str:
    if not color:
        return text
    spills = bool(cell.spilling) or (cell.pipeline is not None and cell.line is None and cell.pipeline.spills)
    start = _COLOURS["partial"] if spills and cell.status == "ok" else _COLOURS.get(cell.status, _DIM)
    return f"{start}{text}\x1b[0m" if start else text


def _losses(matrix: Matrix, format: str, width: int | None) -> str:
    """By gap, the dearest first; a gap that several devices share stands once."""
    lines = []
    for loss, lacking in shared_losses(matrix.losses):
        who = ", ".join(matrix.columns[i].id for i in lacking)
        verb = "may lack" if loss.met is None else "lack" if len(lacking) > 1 else "lacks"
        first = f"**{loss.path}**" if format == "md" else loss.path
        lines.append(f"- {first}: {who} {verb} it" if format == "md" else folded(f"  {first}: {who} {verb} it", width, "      "))
        details = loss_details(matrix, loss)
        lines += [f"  - {detail}" if format == "md" else folded(f"    {detail}", width, "      ") for detail in details]
    return "\n".join(lines)


def loss_details(matrix: Matrix, loss: Loss) -> list[str]:
    """The missing conditions, what closing the gap is worth where that was measured, who has it, and the source."""
    owners = ", ".join(matrix.columns[i].id for i in loss.owners)
    worth = [price_in_words(loss.prices)] if loss.prices else []
    has = f"has it: {owners}" if owners else "no device here has it"
    return ["; ".join(loss.missing), *worth, f"{has}; source {loss.sources[-1]}"]


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
    variant = cell.variant if cell.status == "ok" else None
    text = " ".join(filter(None, [cell.text, None if cell.ratio is None else ratio_text(cell.ratio), variant]))
    return text if cell.reason is None else f"{text}: {cell.reason}"


def as_json(matrix: Matrix) -> dict[str, Any]:
    """The matrix as plain data; samples and facts stay in the records."""
    return {
        "headline": matrix.headline,
        "alarms": matrix.alarms,
        "untested": [matrix.columns[i].id for i in matrix.untested],
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
                "missing": "; ".join(loss.missing),
                "sources": loss.sources,
                "prices": loss.prices,
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
            fields: dict[str, Any] = {"status": cell.status, "text": cell.text, "reason": cell.reason}
            if section.kind == "measured":
                fields |= result_json(cell)
            if section.kind == "pipelines" and cell.pipeline is not None:
                fields |= {name: getattr(cell.pipeline, name) for name in ("tile", "subgroup_size", *_REGISTERS)}
            if section.kind == "spills":
                fields["spilling"] = [_spill_json(p) for p in cell.spilling]
            if section.kind == "ladder":
                fields["climbs"] = [_climb_json(climb) for climb in cell.climbs]
            if section.kind == "requirements" and cell.gap is not None:
                fields |= {"met": cell.gap.met, "held": cell.gap.held, "total": cell.gap.total, "missing": cell.gap.missing}
            cells[matrix.columns[index].id] = fields
        rows.append({**dict(zip(section.labels, row.labels, strict=True)), "cells": cells})
    return {"title": section.title, "kind": section.kind, "note": section.note, "rows": rows}


def _spill_json(p: PipelineRecord) -> dict[str, Any]:
    names = ("kernel", "type", "tile", "subgroup_size", *_REGISTERS)
    return {**{name: getattr(p, name) for name in names}, "cause": spill_cause(p)}


def _climb_json(climb: LadderRecord) -> dict[str, Any]:
    names = ("feature", "tuple", "rung", "status", "reason", "ratio", "facts")
    return {name: getattr(climb, name) for name in names}
