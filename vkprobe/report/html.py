"""The matrix as one self-contained HTML file: inline style and SVG, no script, no link to anything outside."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
from markupsafe import Markup

from vkprobe import __version__
from vkprobe.records import DeviceRecord, Time
from vkprobe.report.blocks import Block, blocks
from vkprobe.report.charts import Bar, BarGroup, Stack, bar_chart, stacked_bars, strip
from vkprobe.report.climbs import lines as climb_lines
from vkprobe.report.losses import shared_losses
from vkprobe.report.model import BAD, Cell, Column, Loss, Matrix, Row, Section
from vkprobe.report.spills import health
from vkprobe.report.statistics import numbers, spill_cause
from vkprobe.report.tables import Footnotes
from vkprobe.report.text import has_footnote, loss_details, ratio_text, untested_in_words
from vkprobe.requirements.facts import lookup
from vkprobe.results.tidy import Line
from vkprobe.units import seconds, size

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_OPEN_STRIPS = 80
"""Sections with more strips than this start closed."""

_LAST = ("spills", "pipelines")
"""Kinds of sections that come last, the gaps before the long table."""

_MARKS = {"met": "yes", "unmet": "no", "partial": "partial", "unknown": "unknown"}


def as_html(matrix: Matrix, *, title: str = "vkprobe matrix") -> str:
    """The whole page."""
    footnotes = Footnotes()
    ordered = sorted(matrix.sections, key=lambda section: _LAST.index(section.kind) if section.kind in _LAST else -1)
    sections = [_block(matrix, section, block, footnotes) for section in ordered for block in blocks(matrix, section)]
    return _ENVIRONMENT.get_template("matrix.html").render(
        title=title,
        version=__version__,
        matrix=matrix,
        cards=[_card(matrix, i) for i in range(len(matrix.columns))],
        sections=sections,
        charts=[chart for section in matrix.sections if section.kind == "measured" for chart in _charts(matrix, section)],
        strips=[s for section in matrix.sections if section.kind == "measured" for s in _strips(matrix, section)],
        losses=[_gap(matrix, loss, lacking) for loss, lacking in shared_losses(matrix.losses)],
        footnotes=list(footnotes),
        paths=sorted({_result_path(row) for s in matrix.sections if s.kind == "measured" for row in s.rows} - {""}),
        when=_when(matrix),
        untested=untested_in_words(matrix) if matrix.untested else "",
    )


def _when(matrix: Matrix) -> str:
    times = sorted(run.at for run in matrix.runs)
    if not times:
        return ""
    first, last = times[0][:16].replace("T", " "), times[-1][:16].replace("T", " ")
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _card(matrix: Matrix, index: int) -> dict[str, Any]:
    column = matrix.columns[index]
    gaps = [(row.labels[0], row.cells[index]) for s in matrix.sections if s.kind == "requirements" for row in s.rows]
    return {
        "column": column,
        "baseline": index == matrix.baseline,
        "wall_clock": any(line.wall_clock for line in _lines(matrix, index)),
        "facts": _facts(column.device) if column.device else [],
        "paths": [(path, cell.status, cell.reason or "") for path, cell in gaps],
    }


def _lines(matrix: Matrix, index: int) -> list[Line]:
    """The measured cells of a column."""
    places = [(row, s.columns.index(index)) for s in matrix.sections if s.kind == "measured" and index in s.columns for row in s.rows]
    return [line for row, position in places if (line := row.cells[position].line) is not None]


def _facts(device: DeviceRecord) -> list[tuple[str, str]]:
    """Facts that identify a device and its driver, in pairs; unknown ones are left out."""
    driver, hardware = device.driver, device.hardware
    shared = lookup(device.properties, "VkPhysicalDeviceProperties", "limits.maxComputeSharedMemorySize")
    low = lookup(device.properties, "VkPhysicalDeviceSubgroupSizeControlProperties", "minSubgroupSize")
    high = lookup(device.properties, "VkPhysicalDeviceSubgroupSizeControlProperties", "maxSubgroupSize")
    tuples = device.coopmat.khr
    local = [heap.bytes for heap in device.heaps or [] if heap.device_local]
    pairs: list[tuple[str, str | None]] = [
        ("driver", " ".join(filter(None, [driver.name, driver.version]))),
        ("info", driver.info),
        ("API", driver.api),
        ("conformance", driver.conformance),
        ("build id", driver.build_id),
        ("manifest", driver.icd),
        ("kernel module", driver.kernel_module),
        ("device id", f"{hardware.vendor_id:04x}:{hardware.device_id:04x}"),
        ("PCI", hardware.pci),
        ("chip", hardware.chip),
        ("local memory", size(max(local)) if local else None),
        ("shared memory", size(shared) if isinstance(shared, (int, float)) else None),
        ("subgroups", None if low is None or high is None else f"{low}" if low == high else f"{low} to {high}"),
        ("coopmat tuples", None if tuples is None else str(len(tuples))),
    ]
    return [(name, value) for name, value in pairs if value]


def _gap(matrix: Matrix, loss: Loss, lacking: Sequence[int]) -> dict[str, Any]:
    _, *price, owners = loss_details(matrix, loss)
    return {
        "path": loss.path,
        "status": "unknown" if loss.met is None else "unmet",
        "lacking": [matrix.columns[i].id for i in lacking],
        "missing": loss.missing,
        "price": price[0] if price else None,
        "owners": owners,
    }


def _block(matrix: Matrix, section: Section, block: Block, footnotes: Footnotes) -> dict[str, Any]:
    columns = [section.columns[i] for i in block.positions]
    best = _bests(matrix, section)
    named = [k == 0 or any(row.labels[k] for row in block.rows) for k in range(len(section.labels))]
    rows, previous = [], ""
    for row in block.rows:
        cells = [row.cells[i] for i in block.positions]
        rows.append(
            {
                "labels": [label for label, kept in zip(row.labels, named, strict=True) if kept],
                "repeats": len(row.labels) > 1 and row.labels[0] == previous,
                "path": _result_path(row),
                "cells": [
                    _cell(c, matrix.columns[i], best.get((row.labels[0], i if matrix.columns[i].software else None), 0.0), footnotes)
                    for i, c in zip(columns, cells, strict=True)
                ],
            }
        )
        previous = row.labels[0]
    return {
        "section": section,
        "title": block.title,
        "note": block.note,
        "labels": [label for label, kept in zip(section.labels, named, strict=True) if kept],
        "notes": block.notes,
        "anchor": re.sub(r"[^a-z0-9]+", "-", block.title.lower()),
        "columns": [(matrix.columns[i], i == matrix.baseline) for i in columns],
        "rows": rows,
        "chart": _health(matrix, section, block) if section.kind == "pipelines" else None,
    }


def _health(matrix: Matrix, section: Section, block: Block) -> Markup:
    """How each device's pipelines ended, side by side."""
    return stacked_bars([Stack(heading=matrix.columns[section.columns[i]].id, parts=health(section, i)) for i in block.positions])


def _bests(matrix: Matrix, section: Section) -> dict[tuple[str, int | None], float]:
    """The best rate of each workload, over its paths and over all devices but those that run on the CPU: they have their own."""
    values: dict[tuple[str, int | None], list[float]] = {}
    for row in section.rows:
        for i, cell in zip(section.columns, row.cells, strict=True):
            if cell.value:
                values.setdefault((row.labels[0], i if matrix.columns[i].software else None), []).append(cell.value)
    return {key: max(rates) for key, rates in values.items() if len(rates) > 1}  # one alone is neither fast nor slow


def _result_path(row: Row) -> str:
    """The path of a measured row, for its colour."""
    return next((cell.line.record.path or "" for cell in row.cells if cell.line), "")


def _cell(cell: Cell, column: Column, best: float, footnotes: Footnotes) -> dict[str, Any]:
    """A cell for the template: classes, text, heat (0 to 1), share of the workload's best, footnote, tooltip."""
    heat = share = 0.0
    if cell.value and best:
        share = cell.value / best
        heat = 0.0 if column.software else max(0.0, 1 + math.log10(share) / 1.5)
    classes = [cell.status.replace(" ", "-")]
    if cell.status in BAD:
        classes.append("bad")
    if column.software:
        classes.append("software")
    if cell.steady is False:
        classes.append("unsteady")
    pipeline = cell.pipeline
    if pipeline is not None and pipeline.spills:
        classes.append("spills")
    if cell.spilling:
        classes.append(f"spilling c-{spill_cause(cell.spilling[0])}")
    note = None
    if cell.reason and has_footnote(cell):
        note = footnotes.number(cell.reason)
    time = cell.line.time if cell.line else None
    return {
        "classes": " ".join(classes),
        "text": Markup("_<wbr>").join(cell.main.split("_")) if cell.gap is not None else cell.main,
        "extra": "  ".join(cell.extra),
        "heat": round(heat, 3),
        "share": round(100 * share, 1),
        "ratio": None if cell.ratio is None else ratio_text(cell.ratio),
        "note": note,
        "variant": cell.variant if cell.status != "absent" else None,
        "title": _tooltip(cell),
        "strip": strip(time, 120, 20) if time else None,
        "statistics": _statistics(cell) if cell.line is None else [],
    }


def _statistics(cell: Cell) -> list[tuple[str, str, bool]]:
    """Compile statistics as (number, unit, whether it should worry)."""
    if cell.pipeline is None or cell.status != "ok":
        return []
    return [(str(value), letter, worry) for value, letter, worry in numbers(cell.pipeline)]


def _tooltip(cell: Cell) -> str:
    lines = [cell.reason or ""]
    if cell.line is not None:
        lines += _result_lines(cell.line)
    lines += climb_lines(cell.climbs)
    lines += [f"{p.kernel} {p.tile or ''}: {p.spills} spills, {p.registers} registers" for p in cell.spilling]
    if cell.pipeline is not None:
        if cell.pipeline.compile_s is not None:
            lines.append(f"pipeline created in {seconds(cell.pipeline.compile_s)}")
        lines += [f"{name}: {value}" for name, value in cell.pipeline.raw.items()]
    return "\n".join(filter(None, lines))


def _result_lines(line: Line) -> list[str]:
    r, share = line.record, line.get("peak_share")
    lines = [f"kernel {r.kernel}" + (f", tile {r.tile}" if r.tile else "") + (f", tuple {r.tuple}" if r.tuple else "")]
    if line.time is not None:
        low, high = line.time.ci95_s
        lines.append(f"median {seconds(line.time.median_s)}, 95 % interval {seconds(low)} to {seconds(high)}, {line.time.clock} clock")
    if share is not None:
        lines.append(f"{share:.0%} of what the device's own copies and peaks allow")
    if r.check:
        lines.append(f"checked: {r.check.method}; nmse {r.check.nmse}, bound {r.check.bound}")
    return lines


def _charts(matrix: Matrix, section: Section) -> list[dict[str, Any]]:
    """Bar charts: one for each type and size, all batch sizes together; devices as groups, paths and batch sizes as bars."""
    grouped: dict[tuple[Any, ...], list[Row]] = {}
    for row in section.rows:
        line = next((cell.line for cell in row.cells if cell.line), None)
        if line is not None and any(cell.value for cell in row.cells):
            key = () if section.ceiling else (line.record.type, _sizes(line))
            grouped.setdefault(key, []).append(row)
    charts = []
    for key, rows in grouped.items():
        several = len({row.labels[0] for row in rows}) > 1
        groups = []
        for position, index in enumerate(section.columns):
            column = matrix.columns[index]
            bars = [
                _bar(row, row.cells[position], several)
                for row in rows
                if row.cells[position].status not in ("absent", "noop", "unsupported")
            ]
            if any(bar.value for bar in bars):
                groups.append(
                    BarGroup(heading=f"{column.id}  {column.name}", bars=bars, own_scale=column.software and len(matrix.columns) > 1)
                )
        words = [] if not key else [key[0], "x".join(key[1])] if several else [rows[0].labels[0]]
        charts.append({"title": " ".join((section.title, *words)), "svg": bar_chart(groups)})
    return charts


def _sizes(line: Line) -> tuple[str, ...]:
    """A cell's axes, the batch left open."""
    return tuple("…" if name == line.op.batch else str(value) for name, value in line.record.axes.items())


def _bar(row: Row, cell: Cell, several: bool) -> Bar:
    prefix = ""
    if several and cell.line is not None:
        batch = cell.line.op.batch
        prefix = f"{batch.upper()}={cell.line.record.axes[batch]} " if batch else f"{row.labels[0]} "
    style = "bad" if cell.status in BAD else f"p-{_result_path(row)}"
    return Bar(
        label=f"{prefix}{row.labels[1]}".strip() or row.labels[0], text=cell.text, value=cell.value, style=style, title=_tooltip(cell)
    )


def _strips(matrix: Matrix, section: Section) -> list[dict[str, Any]]:
    """The samples of every measured cell, by device."""
    groups = []
    for position, index in enumerate(section.columns):
        cells = [(row, row.cells[position]) for row in section.rows]
        entries = [_strip_entry(row, cell, cell.line.time) for row, cell in cells if cell.line is not None and cell.line.time is not None]
        if entries:
            groups.append(
                {"title": f"{section.title} on {matrix.columns[index].id}", "entries": entries, "open": len(entries) <= _OPEN_STRIPS}
            )
    return groups


def _strip_entry(row: Row, cell: Cell, time: Time) -> dict[str, Any]:
    low, high = time.ci95_s
    spread = 100 * (max(time.samples_s) - min(time.samples_s)) / time.median_s if time.samples_s and time.median_s else 0.0
    return {
        "labels": row.labels,
        "svg": strip(time),
        "median": seconds(time.median_s),
        "interval": f"{seconds(low)} to {seconds(high)}",
        "spread": f"{spread:.1f} %",
        "settled": seconds(time.settle_s),
        "wall_clock": time.clock == "wall",
        "samples": len(time.samples_s),
        "rounds": len(set(time.rounds)),
        "steady": cell.steady is not False,
        "because": cell.reason if cell.steady is False else None,
        "by_round": [] if cell.steady is not False else [seconds(value) for value in _round_medians(time)],
    }


def _round_medians(time: Time) -> list[float]:
    """The median of each round's samples, s; they show a cell that alternates between two speeds."""
    rounds: dict[int, list[float]] = {}
    for index, value in zip(time.rounds, time.samples_s, strict=False):
        rounds.setdefault(index, []).append(value)
    return [median(values) for values in rounds.values()]


def _mark(status: str) -> Markup:
    """A status as a word, for the template."""
    return Markup.escape(_MARKS.get(status, status))


def _listed(values: Sequence[str]) -> str:
    return ", ".join(values)


_ENVIRONMENT.filters["mark"] = _mark
_ENVIRONMENT.filters["listed"] = _listed
