"""The matrix as frozen types: what the renderings read. Everything here is computed from records."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from vkprobe.records import DeviceRecord, DriverRecord, EventRecord, LadderRecord, PipelineRecord, ResultRecord, RunRecord
from vkprobe.requirements import Gap
from vkprobe.results.store import DeviceKey

BAD = frozenset({"wrong", "crash", "timeout", "device-lost", "error", "executed nothing"})
"""Statuses that stand out: a driver, or the tool, failed."""


class Column(Struct, frozen=True, kw_only=True):
    """One device under one driver.

    Attributes:
        id: unique in the matrix: the device's id, with the driver's version where two columns share it.
        device: None where the files hold no record of it.
        software: a CPU device, whose timings mean nothing absolute.
    """

    id: str
    key: DeviceKey
    device: DeviceRecord | None
    software: bool = False

    @property
    def null(self) -> bool:
        """Whether it enumerates and compiles but executes nothing."""
        return self.device is not None and self.device.null

    @property
    def name(self) -> str:
        """The device's name as its driver gives it."""
        return self.device.name.strip() if self.device else "no device record"

    @property
    def driver(self) -> str:
        """The driver's name and version."""
        if self.device is None:
            return "driver unknown"
        return " ".join(filter(None, [self.device.driver.name, self.device.driver.version])) or "driver unknown"


class Cell(Struct, frozen=True, kw_only=True):
    """A value, or a status with its reason.

    Attributes:
        status: of records; `met partial unmet unknown` for requirements; `absent` where the files hold nothing;
            `executed nothing` for a noop of a device that is no null device.
        text: what is shown; the reason not included.
        value: the rate that cells of one row are compared by (FLOP/s or B/s; higher is better).
        ratio: value over the baseline's.
        steady: of a measured cell; None where times are not judged, on a CPU device.
        variant: in what it differs from its row's other cells: a matrix tuple, a tile.
        spilling: of a table of spills, the pipelines that do, the worst first.
    """

    status: str
    text: str
    reason: str | None = None
    value: float | None = None
    ratio: float | None = None
    steady: bool | None = None
    variant: str | None = None
    result: ResultRecord | None = None
    pipeline: PipelineRecord | None = None
    gap: Gap | None = None
    climbs: tuple[LadderRecord, ...] = ()
    spilling: tuple[PipelineRecord, ...] = ()


class Row(Struct, frozen=True, kw_only=True):
    """One line of a section: what it is, in as many words as the section has labels, and a cell per column."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


class Section(Struct, frozen=True, kw_only=True):
    """Rows of one kind. `columns` are indices into the matrix's (compile statistics leave out who has none)."""

    kind: Literal["requirements", "ladder", "measured", "pipelines", "spills"]
    title: str
    note: str
    labels: tuple[str, ...]
    columns: tuple[int, ...]
    rows: tuple[Row, ...]


class Price(Struct, frozen=True, kw_only=True):
    """What a path is worth where it was measured: how many times the rate of the best other path, and over how many workloads."""

    op: str
    column: int
    ratio: float
    workloads: int


class Loss(Struct, frozen=True, kw_only=True):
    """A path that a device does not have (or may not have), what is missing, the columns that have it, and what it is worth there."""

    column: int
    path: str
    label: str
    met: bool | None
    missing: str
    sources: tuple[str, ...]
    owners: tuple[int, ...]
    price: Price | None = None


class Matrix(Struct, frozen=True, kw_only=True):
    """Everything a report shows, in order."""

    headline: str
    alarms: tuple[str, ...]
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    losses: tuple[Loss, ...]
    failed_drivers: tuple[DriverRecord, ...]
    events: tuple[EventRecord, ...]
    runs: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    baseline: int | None = None
