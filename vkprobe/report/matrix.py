"""Records to the matrix: rows are requirements, workloads and kernels, columns devices under their drivers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from vkprobe.errors import UsageError
from vkprobe.records import ResultRecord
from vkprobe.report import climbs, spills
from vkprobe.report import compile as compiled
from vkprobe.report.losses import gap_cell, losses_of
from vkprobe.report.model import BAD, Cell, Column, Matrix, Row, Section
from vkprobe.report.rows import PATHS, TYPES, multiplied, rank, variants
from vkprobe.report.statistics import Finder, statistics_text
from vkprobe.report.steadiness import SOFTWARE_NOTE, because, causes
from vkprobe.requirements import evaluate, requirements
from vkprobe.results.store import DeviceKey, Store
from vkprobe.units import bytes_per_s, flops_per_s, seconds, size

OPS = {
    "gemm": "rate of 2·M·N·K FLOP per op",
    "gemv": "weights and activations moved per second, and time per op",
    "dequant": "bytes read and written per second, and time per op",
    "copy": "bytes read and written per second, between device and host those that cross",
    "peak": "multiply-adds from registers, as this driver delivers them",
    "sync": "time per op",
}
"""Ops in the order of tables -> what their cells show. An op that is not here comes last."""

_NOT_MEASURED = "not measured: the files hold no record of this cell for this device"
_NO_FACTS = "the files hold no device record of it"


def build(store: Store, *, baseline: str | None = None) -> Matrix:
    """The matrix of everything in `store`.

    Args:
        store: records, of one run or many.
        baseline: a device that others are held against: its id, or part of its id, name or driver.

    Raises:
        UsageError: the baseline names no column, or several.
    """
    columns = _columns(store)
    index = _find(columns, baseline) if baseline is not None else None
    required = _requirements(columns)
    sections = [required] if columns else []
    ladder = climbs.sections(store, columns)
    sections += ladder
    sections += _measured(store, columns, index)
    sections += compiled.sections(store, columns)
    sections += spills.sections(store, columns)
    failed = tuple(d for d in store.drivers.values() if d.state != "ok")
    return Matrix(
        headline=_headline(columns, sections) + (f"; {len(store.ladder)} climbs on the ladder" if store.ladder else ""),
        alarms=_alarms(sections, columns, sum(d.state == "error" for d in failed)),
        columns=columns,
        sections=tuple(sections),
        losses=losses_of(required, [s for s in sections if s.kind == "measured"], columns),
        failed_drivers=failed,
        events=tuple(store.events),
        runs=tuple(store.runs.values()),
        notes=_notes(columns, sections, index),
        baseline=index,
    )


def _columns(store: Store) -> tuple[Column, ...]:
    keys = list(store.devices)
    known = set(keys)
    keys += dict.fromkeys(key for key, _ in (*store.results, *store.pipelines, *store.ladder) if key not in known)
    shared = Counter(key.device for key in keys)
    taken: Counter[str] = Counter()
    columns = []
    for key in keys:
        device = store.devices.get(key)
        name = key.device if shared[key.device] == 1 else f"{key.device} {key.version or 'unknown driver'}"
        taken[name] += 1
        if taken[name] > 1:  # same id and version, another build or card
            name = f"{name} #{taken[name]}"
        columns.append(Column(id=name, key=key, device=device, software=device is not None and device.type.lower() == "cpu"))
    return tuple(sorted(columns, key=lambda c: (c.null, c.software, c.device is None)))


def _find(columns: Sequence[Column], wanted: str) -> int:
    for exact in (True, False):
        hits = [
            i
            for i, c in enumerate(columns)
            if (wanted in (c.id, c.key.device) if exact else wanted.lower() in f"{c.id} {c.name} {c.driver}".lower())
        ]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise UsageError(f"--baseline {wanted} names several devices: {', '.join(columns[i].id for i in hits)}")
    raise UsageError(f"--baseline {wanted} names no device of these files; they hold {', '.join(c.id for c in columns) or 'none'}")


def _requirements(columns: tuple[Column, ...]) -> Section:
    rows = []
    for need in requirements():
        cells = (
            Cell(status="unknown", text="unknown", reason=_NO_FACTS) if c.device is None else gap_cell(evaluate(c.device, need), need)
            for c in columns
        )
        rows.append(Row(labels=(need.path,), cells=tuple(cells)))
    note = "what each llama.cpp path asks of a device; what is missing is spelled out below"
    every = tuple(range(len(columns)))
    return Section(kind="requirements", title="Requirements", note=note, labels=("path",), columns=every, rows=tuple(rows))


_Workload = tuple[str, str, int, int, int, str, str, str, str]


def _workload(r: ResultRecord) -> _Workload:
    """What one row compares: everything of a cell but the kernel and the matrix tuple, which devices differ in.

    A peak is as large as its device, a copy's kernel is its path.
    """
    if r.op == "peak":
        return r.op, multiplied(r), 0, 0, 0, r.path, r.accumulator, r.tier, r.residency
    if r.op == "copy":
        return r.op, r.type, r.m, r.n, r.k, r.kernel, r.accumulator, r.tier, r.residency
    return r.op, r.type, r.m, r.n, r.k, r.path, r.accumulator, r.tier, r.residency


def _workload_order(workload: _Workload, split: tuple[str, str]) -> tuple[Any, ...]:
    op, type_, m, n, k, path, accumulator, tier, residency = workload
    return rank(OPS, op), rank(TYPES, type_), m, k, n, rank(PATHS, path), accumulator, tier, residency, split


def _measured(store: Store, columns: tuple[Column, ...], baseline: int | None) -> list[Section]:
    grouped: dict[_Workload, dict[DeviceKey, list[ResultRecord]]] = {}
    for (key, _), record in store.results.items():
        grouped.setdefault(_workload(record), {}).setdefault(key, []).append(record)
    # Where one device has several tuples or kernels for a workload, each gets a row; else they share one, whatever their tuple.
    lines: dict[tuple[_Workload, tuple[str, str]], dict[DeviceKey, ResultRecord]] = {}
    for workload, by_device in grouped.items():
        several = any(len(records) > 1 for records in by_device.values())
        kernels = any(len({r.tuple for r in records}) < len(records) for records in by_device.values())
        for key, records in by_device.items():
            for record in records:
                split = ((record.tuple or "") if several else "", record.kernel if kernels else "")
                lines.setdefault((workload, split), {})[key] = record
    finder = Finder((key, p) for (key, _), p in store.pipelines.items())
    sections: dict[str, list[Row]] = {}
    for workload, split in sorted(lines, key=lambda line: _workload_order(*line)):
        records_of = lines[workload, split]
        cells = [_result_cell(records_of.get(c.key), c, finder) for c in columns]
        common, cells = variants(cells, [cell.result.tuple if cell.result else None for cell in cells])
        base = cells[baseline].value if baseline is not None else None
        if base:
            cells = [cell if i == baseline else _with_ratio(cell, base) for i, cell in enumerate(cells)]
        sections.setdefault(workload[0], []).append(Row(labels=_labels(workload, (split[0] or common, split[1])), cells=tuple(cells)))
    every = tuple(range(len(columns)))
    return [
        Section(kind="measured", title=op, note=_note(op, rows), labels=("workload", "path"), columns=every, rows=tuple(rows))
        for op, rows in sections.items()
    ]


def _note(op: str, rows: Sequence[Row]) -> str:
    shares = any(cell.result is not None and isinstance(cell.result.peak_share, float) for row in rows for cell in row.cells)
    return "; ".join(filter(None, [OPS.get(op, ""), "%: of what the device's own copies and peaks allow" if shares else ""]))


def _labels(workload: _Workload, split: tuple[str, str]) -> tuple[str, str]:
    op, type_, m, n, k, path, accumulator, tier, residency = workload
    if op == "copy":
        return size(4 * k), path
    how = ("", "", "") if op == "dequant" else (path, split[0], f"{accumulator}acc")  # it accumulates nothing
    words = [*how, tier if tier != "mimic" else "", residency if residency != "cold" else "", split[1]]
    return type_ if op == "peak" else f"{type_} {m}x{n}x{k}", " ".join(filter(None, words))


def _result_cell(record: ResultRecord | None, column: Column, finder: Finder[DeviceKey]) -> Cell:
    if record is None:
        return Cell(status="absent", text="-", reason=_NOT_MEASURED)
    pipeline = finder.of(column.key, record)
    if record.status == "ok":
        value, text = _value(record)
        if isinstance(record.peak_share, float):
            text += f"  {record.peak_share:.0%}"
        unsteady = because(record.time) if record.time and not column.software else None
        return Cell(
            status="ok",
            text=f"~{text}" if unsteady else text,
            reason=record.reason or unsteady,
            value=value,
            steady=None if column.software or not record.time else record.time.steady,
            result=record,
            pipeline=pipeline,
        )
    status: str = record.status
    reason = record.reason or "no reason given"
    if status == "noop" and column.device is not None and not column.null:
        status, text = "executed nothing", "EXECUTED NOTHING"
    elif status == "noop":
        text = f"compiled {statistics_text(pipeline) if pipeline else ''}".rstrip()
    else:
        text = status.upper() if status in BAD else status
    return Cell(status=status, text=text, reason=reason, result=record, pipeline=pipeline)


def _value(record: ResultRecord) -> tuple[float | None, str]:
    """The rate that a cell is compared by, and its text."""
    median = record.time.median_s if record.time else None
    if record.op == "gemm" and record.flops_per_s:
        return record.flops_per_s, flops_per_s(record.flops_per_s)
    if record.bytes_per_s:
        timed = f"  {seconds(median)}" if median else ""
        return record.bytes_per_s, bytes_per_s(record.bytes_per_s) + timed
    if record.flops_per_s:
        return record.flops_per_s, flops_per_s(record.flops_per_s)
    return (1 / median, seconds(median)) if median else (None, "ok")


def _with_ratio(cell: Cell, base: float) -> Cell:
    if cell.value is None:
        return cell
    return msgspec.structs.replace(cell, ratio=cell.value / base)


def _counts(sections: Iterable[Section]) -> Counter[str]:
    return Counter(cell.status for s in sections if s.kind == "measured" for row in s.rows for cell in row.cells)


def _headline(columns: Sequence[Column], sections: Sequence[Section]) -> str:
    counts = _counts(sections)
    unsteady = sum(cell.steady is False for s in sections if s.kind == "measured" for row in s.rows for cell in row.cells)
    if counts.total() == 0:
        return f"{len(columns)} device{'s' * (len(columns) != 1)}, nothing measured"
    words = [f"{len(columns)} device{'s' * (len(columns) != 1)}", f"{counts.total() - counts['absent']} cells"]
    parts = [f"{counts['ok']} ok" + (f" ({unsteady} unsteady)" if unsteady else "")]
    parts += [
        f"{counts[s]} {label}"
        for s, label in (("noop", "compiled only"), ("unsupported", "unsupported"), ("skipped", "skipped"))
        if counts[s]
    ]
    return f"{', '.join(words)}: {', '.join(parts)}"


def _alarms(sections: Sequence[Section], columns: Sequence[Column], drivers_in_error: int) -> tuple[str, ...]:
    """What must not be overlooked: `2 wrong (nvidia/0)`, and so on."""
    alarms = []
    pipelines = [s for s in sections if s.kind == "pipelines"]
    for kind, chosen in (("", [s for s in sections if s.kind == "measured"]), (" while compiling", pipelines)):
        where: dict[str, Counter[str]] = {}
        for section in chosen:
            for row in section.rows:
                for i, cell in zip(section.columns, row.cells, strict=True):
                    if cell.status in BAD:
                        where.setdefault(cell.status, Counter())[columns[i].id] += 1
        alarms += [f"{count.total()} {status}{kind} ({', '.join(sorted(count))})" for status, count in sorted(where.items())]
    alarms += climbs.alarms((s for s in sections if s.kind == "ladder"), columns)
    alarms += compiled.blind(pipelines, columns)
    if drivers_in_error:
        alarms.append(f"{drivers_in_error} driver{'s' * (drivers_in_error != 1)} failed")
    return tuple(alarms)


def _notes(columns: Sequence[Column], sections: Sequence[Section], baseline: int | None) -> tuple[str, ...]:
    notes = [f"{c.id} {SOFTWARE_NOTE}." for c in columns if c.software]
    statuses = {cell.status for s in sections for row in s.rows for cell in row.cells}
    times = [cell.result.time for s in sections for row in s.rows for cell in row.cells if cell.steady is False and cell.result]
    unsteady = [because(time) or "" for time in times if time]
    if unsteady:
        notes.append(f"~ not steady: {causes(unsteady)}; which cell for what, the page's tooltips, --format json and csv tell.")
    if "noop" in statuses:
        notes.append("compiled: a null device compiles and executes nothing; its statistics are the compiler's.")
    if "absent" in statuses:
        notes.append("- not measured or compiled: the files hold no record of it for this device.")
    if baseline is not None:
        notes.append(f"0.50x: half the rate of {columns[baseline].id}.")
    return tuple(notes)
