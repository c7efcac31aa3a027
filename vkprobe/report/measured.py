"""The measured sections of the matrix: a row for each workload, path and tuple, devices side by side. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from vkprobe import units
from vkprobe.cell import Cell as CellId
from vkprobe.ops import find, in_tables
from vkprobe.ops.base import Op, rank
from vkprobe.records import ResultRecord
from vkprobe.report.model import BAD, Cell, Column, Row, Section
from vkprobe.report.rows import variants
from vkprobe.report.statistics import statistics_text
from vkprobe.results.keys import DeviceKey
from vkprobe.results.store import Store
from vkprobe.results.tidy import Finder, Line

WALL_CLOCK = "wall clock"
"""The mark of a time that the host's clock took."""

_NOT_MEASURED = "not measured: the files hold no record of this cell for this device"
_SHARES = "%: of what the device's own copies and peaks allow"


def sections(store: Store, columns: tuple[Column, ...], baseline: int | None) -> list[Section]:
    """A section for each op, in the order of tables.

    Where one device has several tuples of a workload, each gets a row; else the devices share one, whatever their tuple.
    """
    grouped: dict[tuple[Any, ...], dict[DeviceKey, list[ResultRecord]]] = {}
    for (key, _), record in store.results.items():
        grouped.setdefault(find(record.op).row(record.cell), {}).setdefault(key, []).append(record)
    rows: dict[tuple[Any, ...], dict[DeviceKey, ResultRecord]] = {}
    for workload, by_device in grouped.items():
        several = any(len(records) > 1 for records in by_device.values())
        for key, records in by_device.items():
            for record in sorted(records, key=lambda r: r.at):
                rows.setdefault((workload, record.tuple if several else None), {})[key] = record
    finder = Finder((key, p) for (key, _), p in store.pipelines.items())
    by_op: dict[str, list[Row]] = {}
    for records_of in sorted(rows.values(), key=_order):
        lines = [_line(records_of.get(column.key), column, finder) for column in columns]
        row = _row(lines, columns, baseline)
        by_op.setdefault(next(line.record.op for line in lines if line is not None), []).append(row)
    return [_section(find(name), of_op, len(columns)) for name, of_op in by_op.items()]


def _order(records_of: dict[DeviceKey, ResultRecord]) -> tuple[Any, ...]:
    record = min(records_of.values(), key=lambda r: find(r.op).order(r.cell))
    return rank(in_tables(), record.op), find(record.op).order(record.cell)


def _section(op: Op, rows: Sequence[Row], columns: int) -> Section:
    shares = any(cell.line is not None and cell.line.get("peak_share") is not None for row in rows for cell in row.cells)
    return Section(
        kind="measured",
        title=op.name,
        note="; ".join(filter(None, [op.note, _SHARES if shares else ""])),
        labels=("workload", "path"),
        columns=tuple(range(columns)),
        rows=tuple(rows),
        ceiling=op.ceiling,
        one_path=op.ceiling or op.measure != "flops_per_s",
    )


def _line(record: ResultRecord | None, column: Column, finder: Finder[DeviceKey]) -> Line | None:
    if record is None:
        return None
    return Line(device=column.id, record=record, pipeline=finder.of(column.key, record), software=column.software)


def _row(lines: Sequence[Line | None], columns: Sequence[Column], baseline: int | None) -> Row:
    cells = [_cell(line, column) for line, column in zip(lines, columns, strict=True)]
    shared, cells = variants(cells, [None if line is None else line.record.tuple for line in lines])
    base = cells[baseline].value if baseline is not None else None
    if base:
        cells = [cell if i == baseline or cell.value is None else replace(cell, ratio=cell.value / base) for i, cell in enumerate(cells)]
    identity = next(line.cell for line in lines if line is not None)
    workload, around = labels(identity)
    row = Row(labels=(workload, ""), cells=tuple(cells), around=around)
    return replace(row, labels=row.labelled(shared))


def labels(cell: CellId) -> tuple[str, tuple[str, str]]:
    """A cell's workload in words; its path, and the rest of its variant but the tuple, which stands between them."""
    op = find(cell.op)
    without_tuple = replace(cell, variant=replace(cell.variant, tuple=None))
    how = op.how(without_tuple)
    v = cell.variant
    rest = [*how[1:], v.tier if v.tier != "mimic" else "", v.residency if v.residency != "cold" else ""]
    typed = v.type is not None
    workload = " ".join(filter(None, (op.kind(cell) if typed else "", op.size(cell))))
    before = " ".join(filter(None, ("" if typed else op.kind(cell), *how[:1])))
    return workload, (before, " ".join(filter(None, rest)))


def _cell(line: Line | None, column: Column) -> Cell:
    if line is None:
        return Cell(status="absent", main="-", reason=_NOT_MEASURED)
    record = line.record
    if record.status == "ok":
        main, extra = value_in_words(line)
        unsteady = line.unsteady_because
        return Cell(
            status="ok",
            main=f"~{main}" if unsteady else main,
            extra=extra,
            reason=record.reason or unsteady,
            value=line.rate,
            steady=line.steady,
            line=line,
            pipeline=line.pipeline,
        )
    status: str = record.status
    if status == "noop" and column.device is not None and not column.null:
        status, main = "executed nothing", "EXECUTED NOTHING"
    elif status == "noop":
        main = f"compiled {statistics_text(line.pipeline) if line.pipeline else ''}".rstrip()
    else:
        main = status.upper() if status in BAD else status
    return Cell(status=status, main=main, reason=record.reason or "no reason given", line=line, pipeline=line.pipeline)


def value_in_words(line: Line) -> tuple[str, tuple[str, ...]]:
    """The number that decides the op, scaled, and what stands behind it: time, share of the roofline, clock."""
    time, flops, moved, share = (line.get(name) for name in ("time_s", "flops_per_s", "bytes_per_s", "peak_share"))
    seconds = units.seconds(time) if time else None
    if flops and (line.op.measure == "flops_per_s" or not moved):
        main, extra = units.flops_per_s(flops), []
    elif moved:
        main, extra = units.bytes_per_s(moved), [seconds]
    else:
        main, extra = seconds or "ok", []
    extra += [None if share is None else f"{share:.0%}", WALL_CLOCK if line.wall_clock else None]
    return main, tuple(filter(None, extra))


def result_json(cell: Cell) -> dict[str, Any]:
    """A measured cell's numbers as plain data."""
    line = cell.line
    if line is None:
        names = ("steady", "median_s", "clock", "peak_share", "tuple")
        return {"value": cell.value, "ratio": cell.ratio, **dict.fromkeys(names)}
    return {
        "value": cell.value,
        "ratio": cell.ratio,
        "steady": line.get("steady"),
        "median_s": line.get("time_s"),
        "clock": line.get("clock"),
        "peak_share": line.get("peak_share") or None,
        "tuple": line.get("tuple"),
        "axes": line.record.axes,
    }
