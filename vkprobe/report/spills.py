"""Which kernels spill on which chip, how much, and whether their tile forces it: kernels of all types in one row. Pure.

The table shows what is a gap between compilers: only rows in which some device spills, every device that reports spills beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vkprobe.ops import in_tables
from vkprobe.ops.base import rank
from vkprobe.ops.registers import ROOM
from vkprobe.records import PipelineRecord
from vkprobe.report.model import BAD, Cell, Column, Row, Section
from vkprobe.report.statistics import CAUSES, spill_cause
from vkprobe.results.keys import DeviceKey
from vkprobe.results.store import Store

NOTE = (
    "the most of a pipeline, and how many of these kernels' pipelines do: types, tuples and workgroups together. compiler 37/128: the"
    " tile takes 37 of an invocation's 128 registers and fits, what the compiler keeps live besides does not; tile: it takes more than"
    f" there are; tight: it leaves less than {ROOM}; unknown: the tile's or the chip's registers are not known"
)
_NOT_COMPILED = "none of these pipelines was created, or the driver reports no spills"
_Line = tuple[str, str, str]
"""Op, family of kernels, tile's name."""


def sections(store: Store, columns: Sequence[Column]) -> list[Section]:
    """The table of spills, the worst first; none where no pipeline spills."""
    lines: dict[_Line, dict[DeviceKey, list[PipelineRecord]]] = {}
    for (key, _), p in store.pipelines.items():
        if p.status in ("ok", "noop") and p.spills is not None:
            lines.setdefault((p.op or "", p.family or p.kernel, p.tile_name or ""), {}).setdefault(key, []).append(p)
    reporting = {key for by_device in lines.values() for key in by_device}
    shown = tuple(i for i, column in enumerate(columns) if column.key in reporting)
    spilling = {
        line: by_device for line, by_device in lines.items() if any(p.spills for pipelines in by_device.values() for p in pipelines)
    }
    rows = tuple(
        Row(labels=line[1:], cells=tuple(_cell(spilling[line].get(columns[i].key, [])) for i in shown))
        for line in sorted(spilling, key=lambda line: _order(line, spilling[line]))
    )
    if not rows:
        return []
    return [Section(kind="spills", title="Spills", note=NOTE, labels=("kernels", "tile"), columns=shown, rows=rows)]


def health(section: Section, position: int) -> list[tuple[str, int, str]]:
    """How a column's pipelines ended, as (words, count, style): without spills, spilling by cause, failed; unsupported ones left out."""
    by_device = {id(cell.pipeline): cell.pipeline for row in section.rows for cell in [row.cells[position]] if cell.pipeline is not None}
    counts: Counter[tuple[str, str]] = Counter()
    for p in by_device.values():
        if p.status in ("ok", "noop"):
            without = "compiled" if p.spills is None else "without spills"
            counts[(f"spill ({spill_cause(p)})", f"s-{spill_cause(p)}") if p.spills else (without, "s-none")] += 1
        elif p.status != "unsupported":
            counts[p.status, "s-failed" if p.status in BAD else "s-skipped"] += 1
    order = ("s-none", *(f"s-{name}" for name in CAUSES), "s-failed", "s-skipped")
    return sorted(((words, n, style) for (words, style), n in counts.items()), key=lambda part: (order.index(part[2]), part[0]))


def _order(line: _Line, by_device: dict[DeviceKey, list[PipelineRecord]]) -> tuple[object, ...]:
    most = max(p.spills or 0 for pipelines in by_device.values() for p in pipelines)
    return -most, rank(in_tables(), line[0]), line


def _cell(pipelines: Sequence[PipelineRecord]) -> Cell:
    if not pipelines:
        return Cell(status="absent", main="-", reason=_NOT_COMPILED)
    spilling = tuple(sorted((p for p in pipelines if p.spills), key=lambda p: -(p.spills or 0)))
    if not spilling:
        return Cell(status="ok", main=f"none of {len(pipelines)}")
    worst = spilling[0]
    why = spill_cause(worst)
    share = f" {worst.tile_registers}/{worst.register_budget}" if why != "unknown" else ""
    return Cell(status="ok", main=f"{worst.spills}s in {len(spilling)} of {len(pipelines)}", extra=(f"{why}{share}",), spilling=spilling)
