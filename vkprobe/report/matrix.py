"""Records to the matrix: rows are requirements, workloads and kernels, columns devices under their drivers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vkprobe.errors import UsageError
from vkprobe.report import climbs, measured, spills
from vkprobe.report import compile as compiled
from vkprobe.report.losses import gap_cell, losses_of
from vkprobe.report.model import BAD, Cell, Column, Matrix, Row, Section
from vkprobe.report.steadiness import SOFTWARE_NOTE, WALL_CLOCK_NOTE, causes
from vkprobe.requirements import evaluate, requirements
from vkprobe.results.keys import labels
from vkprobe.results.store import Store

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
    sections += measured.sections(store, columns, index)
    sections += compiled.sections(store, columns)
    sections += spills.sections(store, columns)
    failed = tuple(d for d in store.drivers.values() if d.state != "ok")
    return Matrix(
        headline=_headline(columns, sections) + (f"; {len(store.ladder)} climbs on the ladder" if store.ladder else ""),
        alarms=_alarms(sections, columns, sum(d.state == "error" for d in failed)),
        columns=columns,
        sections=tuple(sections),
        losses=losses_of(required, columns, store, index),
        failed_drivers=failed,
        events=tuple(store.events),
        runs=tuple(store.runs.values()),
        notes=_notes(columns, sections, index),
        baseline=index,
        untested=_untested(store, columns),
    )


def _untested(store: Store, columns: Sequence[Column]) -> tuple[int, ...]:
    """The columns with cells but without a climb of any feature."""
    with_cells = {key for key, _ in store.results}
    climbed = {key for (key, _), climb in store.ladder.items() if climb.feature is not None}
    return tuple(i for i, column in enumerate(columns) if column.key in with_cells - climbed)


def _columns(store: Store) -> tuple[Column, ...]:
    keys = list(store.devices)
    listed = set(keys)
    keys += dict.fromkeys(key for key, _ in (*store.results, *store.pipelines, *store.ladder) if key not in listed)
    columns = [
        Column(id=name, key=key, device=device, software=device is not None and device.type.lower() == "cpu")
        for key, name in labels(keys).items()
        for device in [store.devices.get(key)]
    ]
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
            Cell(status="unknown", main="unknown", reason=_NO_FACTS) if c.device is None else gap_cell(evaluate(c.device, need), need)
            for c in columns
        )
        rows.append(Row(labels=(need.path,), cells=tuple(cells)))
    note = "what each llama.cpp path asks of a device; missing conditions are spelled out below"
    every = tuple(range(len(columns)))
    return Section(kind="requirements", title="Requirements", note=note, labels=("path",), columns=every, rows=tuple(rows))


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
    """The failures, counted by status and device: `2 wrong (nvidia/0)`."""
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
    lines = [
        (column, cell.line) for s in sections for row in s.rows for column, cell in zip(s.columns, row.cells, strict=True) if cell.line
    ]
    wall = dict.fromkeys(columns[i].id for i, line in lines if line.wall_clock)
    notes += [f"{name} {WALL_CLOCK_NOTE}." for name in wall]
    unsteady = [line.time for _, line in lines if line.steady is False and line.time is not None]
    if unsteady:
        notes.append(f"~ not steady: {causes(unsteady)}; the page's tooltips, --format json and csv say which cells.")
    if "noop" in statuses:
        notes.append("compiled: a null device compiles and executes nothing; its statistics are the compiler's.")
    if "absent" in statuses:
        notes.append("- not measured or compiled: the files hold no record of it for this device.")
    if baseline is not None:
        notes.append(f"0.50x: half the rate of {columns[baseline].id}.")
    return tuple(notes)
