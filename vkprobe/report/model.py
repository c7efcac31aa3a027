"""The matrix as frozen types, which the renderings read. Everything here is computed from records."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from vkprobe.records import (
    LOST_STATUSES,
    DeviceRecord,
    DriverRecord,
    EventRecord,
    LadderRecord,
    PipelineRecord,
    PriceRecord,
    ResultRecord,
    RunRecord,
)
from vkprobe.requirements import Gap
from vkprobe.results.keys import DeviceKey
from vkprobe.results.tidy import Line

BAD = LOST_STATUSES | {"wrong", "executed nothing"}
"""Statuses that stand out: a driver, or the tool, failed."""


class Column(Struct, frozen=True, kw_only=True):
    """One device under one driver.

    Attributes:
        id: unique in the matrix: the device's id, with the words that distinguish columns which share it.
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
        main: the value or status.
        extra: numbers that stand behind it: time, share, range.
        brief: a shorter `main` for tables of many columns; empty where there is none.
        value: the rate that cells of one row are compared by (FLOP/s or B/s; higher is better).
        ratio: value over the baseline's.
        steady: of a measured cell; None where times are not judged, on a CPU device.
        variant: the tuple or tile that distinguishes it from its row's other cells.
        variant_name: a short name of the variant, which stands before the value; empty where the variant has none.
        line: of a measured cell.
        spilling: in a table of spills, the pipelines that spill, the worst first.
    """

    status: str
    main: str
    extra: tuple[str, ...] = ()
    brief: str = ""
    reason: str | None = None
    value: float | None = None
    ratio: float | None = None
    steady: bool | None = None
    variant: str | None = None
    variant_name: str = ""
    line: Line | None = None
    pipeline: PipelineRecord | None = None
    gap: Gap | None = None
    climbs: tuple[LadderRecord, ...] = ()
    spilling: tuple[PipelineRecord, ...] = ()

    @property
    def text(self) -> str:
        """Everything that is shown, without the reason."""
        return "  ".join((self.main, *self.extra))

    @property
    def result(self) -> ResultRecord | None:
        """The record of a measured cell."""
        return None if self.line is None else self.line.record


class Row(Struct, frozen=True, kw_only=True):
    """One line of a section: its labels, as many as the section has, and a cell per column.

    Attributes:
        around: the parts of the second label before and after a variant that all shown cells share.
    """

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    around: tuple[str, str] = ("", "")

    def labelled(self, variant: str) -> tuple[str, ...]:
        """The labels with a variant in the second one."""
        before, after = self.around
        return (self.labels[0], " ".join(filter(None, (before, variant, after))), *self.labels[2:])


class Section(Struct, frozen=True, kw_only=True):
    """Rows of one kind.

    Attributes:
        columns: indices into the matrix's; compile statistics leave out devices that have none.
        ceiling: of measured rows, they measure the device itself.
        one_path: of measured rows, a path that all of them share is named once, above them.
    """

    kind: Literal["requirements", "ladder", "measured", "pipelines", "spills"]
    title: str
    note: str
    labels: tuple[str, ...]
    columns: tuple[int, ...]
    rows: tuple[Row, ...]
    ceiling: bool = False
    one_path: bool = False


class Loss(Struct, frozen=True, kw_only=True):
    """A path that a device doesn't have, or may not have.

    Attributes:
        column: the device's.
        missing: the conditions that aren't met, in words.
        owners: the columns that have the path.
        prices: how many times faster the device's work would be with it, one for each op and type that was measured.
    """

    column: int
    path: str
    label: str
    met: bool | None
    missing: tuple[str, ...]
    sources: tuple[str, ...]
    owners: tuple[int, ...]
    prices: tuple[PriceRecord, ...] = ()

    @property
    def dearest(self) -> PriceRecord | None:
        """The highest price."""
        return max(self.prices, key=lambda price: price.ratio, default=None)


class Matrix(Struct, frozen=True, kw_only=True):
    """Everything that a report shows, in order.

    Attributes:
        untested: the columns with measured cells on which no feature of the ladder was climbed: nobody knows whether those are right.
    """

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
    untested: tuple[int, ...] = ()
