"""A section as the tables that a reader sees, without columns that say nothing in them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from vkprobe.report.model import BAD, Cell, Matrix, Row, Section
from vkprobe.report.statistics import statistics_text


class Block(Struct, frozen=True, kw_only=True):
    """Rows of a section and the positions of their columns in it; `notes` say which columns were left out."""

    title: str
    note: str
    positions: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def blocks(matrix: Matrix, section: Section) -> list[Block]:
    """The section in one block or two: rows that only CPU devices have (their shapes are smaller) come apart.

    Left out are null devices among measured ones (their pipelines are listed once, under the compile statistics), and
    drivers that give no compile statistics among those that do.
    """
    every = tuple(range(len(section.columns)))
    if section.kind in ("requirements", "ladder", "spills"):
        return [Block(title=section.title, note=section.note, positions=every, rows=section.rows)]
    cpu = [matrix.columns[i].software for i in section.columns]
    apart = [all(software or cell.status == "absent" for software, cell in zip(cpu, row.cells, strict=True)) for row in section.rows]
    parts = [[row for row, alone in zip(section.rows, apart, strict=True) if alone is which] for which in (False, True)]
    if section.kind == "pipelines":
        parts = [list(section.rows)]
    return [_block(matrix, section, rows, first=rows is parts[0] or not parts[0]) for rows in parts if rows]


def _block(matrix: Matrix, section: Section, rows: Sequence[Row], *, first: bool) -> Block:
    there = [i for i in range(len(section.columns)) if any(row.cells[i].status != "absent" for row in rows)]
    kept = [i for i in there if any(_informs(section, row.cells[i]) for row in rows)] or there
    ids = {i: matrix.columns[section.columns[i]].id for i in there}
    left: dict[str, list[str]] = {}
    for i in there:
        if i not in kept:
            left.setdefault(_words(section, [row.cells[i] for row in rows]), []).append(ids[i])
    title = section.title if first else f"{section.title} on {', '.join(ids[i] for i in kept)}"
    notes = tuple(f"{', '.join(names)}: {words}" for words, names in left.items())
    shown = [_named(section, row, kept) for row in rows if any(row.cells[i].status != "absent" for i in kept)]
    note = section.note
    if section.one_path and len({row.labels[1] for row in shown}) == 1:
        note = "; ".join(filter(None, [note, shown[0].labels[1]]))
        shown = [msgspec.structs.replace(row, labels=(row.labels[0], "", *row.labels[2:])) for row in shown]
    return Block(title=title, note=note, positions=tuple(kept), rows=tuple(shown), notes=notes)


def _informs(section: Section, cell: Cell) -> bool:
    """Whether a column with this cell is worth its room."""
    if section.kind == "pipelines":
        return cell.status in BAD or (cell.status == "ok" and cell.pipeline is not None and bool(statistics_text(cell.pipeline)))
    return cell.status not in ("absent", "noop", "unsupported", "skipped")


def _named(section: Section, row: Row, kept: Sequence[int]) -> Row:
    """The row with the variant in its label where the shown cells share it."""
    variants = {row.cells[i].variant for i in kept if row.cells[i].status != "absent"}
    if len(variants) != 1 or None in variants:
        return row
    cells = tuple(msgspec.structs.replace(cell, variant=None) for cell in row.cells)
    return Row(labels=row.labelled(variants.pop() or ""), cells=cells, around=row.around)


def _words(section: Section, cells: Sequence[Cell]) -> str:
    counts = {status: sum(cell.status == status for cell in cells) for status in ("ok", "noop", "unsupported", "skipped")}
    done = ("ok" if section.kind == "pipelines" else "noop", "compiled")
    parts = [f"{counts[s]} {word}" for s, word in (done, ("unsupported", "unsupported"), ("skipped", "skipped")) if counts[s]]
    if section.kind == "pipelines" and counts["ok"]:
        parts[0] = f"compiled {counts['ok']} pipeline{'s' * (counts['ok'] != 1)}; the driver gives no statistics"
    reasons = dict.fromkeys(cell.reason for cell in cells if cell.status in ("unsupported", "skipped") and cell.reason)
    return ", ".join(parts) + (f" ({'; '.join(reasons)})" if reasons else "")
