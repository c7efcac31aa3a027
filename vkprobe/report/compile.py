"""Compile statistics chip beside chip: rows kernels, columns devices. Pure; computed from records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from vkprobe.ops import in_tables
from vkprobe.ops.base import PATHS, rank
from vkprobe.records import PipelineRecord
from vkprobe.report.model import BAD, Cell, Column, Matrix, Row, Section
from vkprobe.report.rows import variants
from vkprobe.report.statistics import LEGEND, spills_in_words, statistics_text
from vkprobe.results.keys import DeviceKey
from vkprobe.results.store import Store
from vkprobe.units import seconds
from vkprobe.weights import WEIGHT_TYPES

_NOT_COMPILED = "not compiled: the files hold no record of this pipeline for this device"
TILE_SIZES = ("s", "m", "l")
"""Names of tiles that are short enough to stand in a cell."""
_DEMAND = "Max live registers"
_DEMAND_NOTE = (
    "r is the most registers that are live at once (Max live registers), spilled ones included: each thread has the whole register file"
)
_Kernel = tuple[str, str, str, str]
_Line = tuple[_Kernel, str]


def sections(store: Store, columns: Sequence[Column]) -> list[Section]:
    """The table of compile statistics; none where there is no pipeline.

    A kernel is one row, whatever tiles its devices have, unless a device has several of it: then they are distinguished by as
    little as does it (N, the tile's size, its tuple, all of it).
    """
    having = {key for key, _ in store.pipelines}
    shown = tuple(i for i, c in enumerate(columns) if c.key in having)
    grouped: dict[_Kernel, dict[DeviceKey, list[PipelineRecord]]] = {}
    for (key, _), p in store.pipelines.items():
        grouped.setdefault((p.op or "", p.type, p.path, p.kernel), {}).setdefault(key, []).append(p)
    lines: dict[_Line, dict[DeviceKey, PipelineRecord]] = {}
    for kernel, by_device in grouped.items():
        detail = _detail(by_device.values())
        names = {tile_words(p)[detail] for records in by_device.values() for p in records if p.tile}
        for key, records in by_device.items():
            for p in records:
                # A pipeline that the device can't run has no tile of its own: it stands in every row of the kernel.
                for name in [tile_words(p)[detail]] if p.tile or not names else names:
                    lines.setdefault((kernel, name), {})[key] = p
    rows = []
    for line in sorted(lines, key=_order):
        pipelines = [lines[line].get(columns[i].key) for i in shown]
        tiles = [tile_words(p)[-1] if p and p.status == "ok" else None for p in pipelines]
        common, cells = variants([_cell(p) for p in pipelines], tiles)
        rows.append(Row(labels=(line[0][3], common or line[1]), cells=tuple(cells)))
    if not rows:
        return []
    return [Section(kind="pipelines", title="Compile statistics", note=LEGEND, labels=("kernel", "tile"), columns=shown, rows=tuple(rows))]


def tile_words(p: PipelineRecord) -> tuple[str, ...]:
    """A kernel's pipelines in growing detail: nothing, the tile's size or N, with its tuple, all of it, with the subgroup size."""
    size = p.tile_name or ""
    more = p.tuple or ("" if p.subgroups is None else f"{p.subgroups} subgroups")
    subgroup = f"sg{p.subgroup_size}" if p.subgroup_size and p.tile else ""
    return "", size, f"{size} {more}".strip(), p.tile or "", " ".join(filter(None, (p.tile, subgroup)))


def _detail(devices: Collection[Sequence[PipelineRecord]]) -> int:
    """The least detail at which each device has one pipeline a row."""
    for detail in range(4):
        if all(len({tile_words(p)[detail] for p in records}) == len(records) for records in devices):
            return detail
    return 4


def _order(line: _Line) -> tuple[Any, ...]:
    (op, type_, path, kernel), name = line
    return rank(in_tables(), op), rank(WEIGHT_TYPES, type_), rank(PATHS, path), kernel, name


def _cell(p: PipelineRecord | None) -> Cell:
    if p is None:
        return Cell(status="absent", main="-", reason=_NOT_COMPILED)
    if p.status in ("ok", "noop"):
        statistics = statistics_text(p)
        name = p.tile_name if p.tile_name in TILE_SIZES else None
        return Cell(status="ok", main=statistics or "compiled", reason=p.reason, pipeline=p, variant_name=name or "")
    main = p.status.upper() if p.status in BAD else p.status
    return Cell(status=p.status, main=main, reason=p.reason or "no reason given", pipeline=p)


def _compiled(section: Section, column: int) -> list[PipelineRecord]:
    """The pipelines that were created on the section's column, each once."""
    cells = (row.cells[column] for row in section.rows)
    return list({id(c.pipeline): c.pipeline for c in cells if c.pipeline is not None and c.status == "ok"}.values())


def blind(pipelines: Sequence[Section], columns: Sequence[Column]) -> list[str]:
    """The alarm for matrix paths whose ISA has no matrix instruction."""
    count: Counter[str] = Counter()
    for section in pipelines:
        for position, index in enumerate(section.columns):
            # A reason beside `ok` is there only for this.
            count[columns[index].id] += sum(p.matrix_instructions == 0 and p.reason is not None for p in _compiled(section, position))
    blind_ones = +count
    if not blind_ones:
        return []
    return [
        f"{blind_ones.total()} coopmat pipeline{'s' * (blind_ones.total() != 1)} without a matrix instruction"
        f" ({', '.join(sorted(blind_ones))})"
    ]


def compile_matrix(matrix: Matrix, *, times: bool) -> Matrix:
    """The parts of a matrix that `compile` prints: the table, alarms, spills and times; `times` adds a table of them."""
    kept = [section for section in matrix.sections if section.kind == "pipelines"]
    spills = [section for section in matrix.sections if section.kind == "spills"]
    notes = [note for section in kept for note in _notes(section, matrix.columns)]
    counts = Counter(cell.status for section in kept for row in section.rows for cell in row.cells if cell.status != "absent")
    devices = len(kept[0].columns) if kept else 0
    words = ", ".join(f"{n} {status}" for status, n in sorted(counts.items(), key=lambda item: (item[0] != "ok", -item[1])))
    headline = f"{devices} device{'s' * (devices != 1)}, {counts.total()} pipeline{'s' * (counts.total() != 1)}: {words}"
    spilling = sum(bool(p.spills) for section in kept for i in range(len(section.columns)) for p in _compiled(section, i))
    headline += f"; {spilling} spill{'s' * (spilling == 1)}" if spilling else ""
    shown = [*kept, *spills, *(_times(section) for section in kept if times)]
    return msgspec.structs.replace(matrix, headline=headline, sections=tuple(shown), losses=(), notes=tuple(notes))


def _times(section: Section) -> Section:
    rows = tuple(msgspec.structs.replace(row, cells=tuple(_time(cell) for cell in row.cells)) for row in section.rows)
    return msgspec.structs.replace(section, title="Creation time", note="of one pipeline, the driver's caches off", rows=rows)


def _time(cell: Cell) -> Cell:
    if cell.status != "ok" or cell.pipeline is None or cell.pipeline.compile_s is None:
        return cell
    return Cell(status="ok", main=seconds(cell.pipeline.compile_s), pipeline=msgspec.structs.replace(cell.pipeline, spills=None))


def _notes(section: Section, columns: Sequence[Column]) -> list[str]:
    """By device: how long its pipelines took, which spills most, how to read its registers."""
    notes = []
    for position, index in enumerate(section.columns):
        created = _compiled(section, position)
        timed = [p for p in created if p.compile_s is not None]
        if timed:
            slowest = max(timed, key=lambda p: p.compile_s or 0.0)
            took, longest = seconds(sum(p.compile_s or 0.0 for p in timed)), seconds(slowest.compile_s or 0.0)
            several = "s" * (len(timed) != 1)
            text = f"{columns[index].id}: {len(timed)} pipeline{several} created in {took}, slowest {slowest.kernel} ({longest})"
            notes.append("; ".join(filter(None, [text, spills_in_words(created)])))
    demand = [
        columns[index].id
        for position, index in enumerate(section.columns)
        if any(p.registers is not None and p.registers == p.raw.get(_DEMAND) for p in _compiled(section, position))
    ]
    return notes + ([f"{', '.join(demand)}: {_DEMAND_NOTE}"] if demand else [])
