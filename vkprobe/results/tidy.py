"""One line per device and cell with every stored field and the numbers that follow from it; every view takes its values from here.

A quantity has a name, a unit and a direction. Views name the quantities that they show and scale them for people; nothing is computed
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Literal, TypeVar

from msgspec import Struct

from vkprobe.cell import VARIANT_FIELDS, Cell
from vkprobe.ops import find
from vkprobe.ops.base import Op
from vkprobe.records import Check, PipelineRecord, ResultRecord, Time

UNKNOWN_CAUSE = "the rounds do not agree"


class Line(Struct, frozen=True, kw_only=True):
    """One cell on one device.

    Attributes:
        device: the column's name.
        pipeline: the statistics of its kernel; None where nothing was compiled or recorded.
        software: the device runs on the CPU, so nobody judges how steady its times are.
    """

    device: str
    record: ResultRecord
    pipeline: PipelineRecord | None = None
    software: bool = False

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.record.cell

    @property
    def op(self) -> Op:
        """The cell's op."""
        return find(self.record.op)

    @property
    def time(self) -> Time | None:
        """The timing; None where nothing was timed."""
        return self.record.time if isinstance(self.record.time, Time) else None

    @property
    def steady(self) -> bool | None:
        """Whether the time is steady; None where nothing was timed or nobody judges it."""
        return None if self.software or self.time is None else self.time.steady

    @property
    def unsteady_because(self) -> str | None:
        """Why the time isn't steady; None where it is or where nobody judges it."""
        return None if self.time is None or self.steady is not False else self.time.unsteady_because or UNKNOWN_CAUSE

    @property
    def wall_clock(self) -> bool:
        """Whether the host's clock timed it: submitting is part of each time then."""
        return self.time is not None and self.time.clock == "wall"

    @property
    def rate(self) -> float | None:
        """The number that cells of one row are compared by: the op's own rate, else another one, else dispatches per second."""
        for name in (self.op.measure, "bytes_per_s", "flops_per_s"):
            rate: float | None = self.get(name)
            if rate:
                return rate
        return 1 / self.time.median_s if self.time is not None and self.time.median_s > 0 else None

    def get(self, name: str) -> Any:
        """The value of a quantity in stored units; None where there is none."""
        return QUANTITIES[name].of(self)


class Quantity(Struct, frozen=True, kw_only=True):
    """One column of the table.

    Attributes:
        unit: `s`, `B`, `FLOP/s`, `B/s`; empty for counts, shares and words.
        better: the direction in which it improves; None where it has none.
    """

    name: str
    of: Callable[[Line], Any]
    unit: str = ""
    better: Literal["higher", "lower"] | None = None


def _stored(name: str) -> Callable[[Line], Any]:
    return lambda line: getattr(line.record, name)


def _number(name: str) -> Callable[[Line], Any]:
    """A field of the record that is only set where something was measured."""

    def value(line: Line) -> Any:
        number = getattr(line.record, name)
        return number if isinstance(number, (int, float)) else None

    return value


def _timed(of: Callable[[Time], Any]) -> Callable[[Line], Any]:
    return lambda line: None if line.time is None else of(line.time)


def _checked(name: str) -> Callable[[Line], Any]:
    return lambda line: getattr(line.record.check, name) if isinstance(line.record.check, Check) else None


def _compiled(name: str) -> Callable[[Line], Any]:
    return lambda line: None if line.pipeline is None else getattr(line.pipeline, name)


_ALL = (
    Quantity(name="device", of=lambda line: line.device),
    Quantity(name="op", of=lambda line: line.record.op),
    *(Quantity(name=name, of=_stored(name)) for name in VARIANT_FIELDS),
    Quantity(name="status", of=_stored("status")),
    Quantity(name="reason", of=_stored("reason")),
    Quantity(name="time_s", of=_timed(lambda t: t.median_s), unit="s", better="lower"),
    Quantity(name="ci95_low_s", of=_timed(lambda t: t.ci95_s[0]), unit="s", better="lower"),
    Quantity(name="ci95_high_s", of=_timed(lambda t: t.ci95_s[1]), unit="s", better="lower"),
    Quantity(name="clock", of=_timed(lambda t: t.clock)),
    Quantity(name="steady", of=_timed(lambda t: t.steady)),
    Quantity(name="unsteady_because", of=_timed(lambda t: None if t.steady else t.unsteady_because or UNKNOWN_CAUSE)),
    Quantity(name="flops_per_s", of=_number("flops_per_s"), unit="FLOP/s", better="higher"),
    Quantity(name="bytes_per_s", of=_number("bytes_per_s"), unit="B/s", better="higher"),
    Quantity(name="peak_share", of=_number("peak_share"), better="higher"),
    Quantity(name="nmse", of=_checked("nmse"), better="lower"),
    Quantity(name="compile_s", of=_number("compile_s"), unit="s", better="lower"),
    Quantity(name="working_set_bytes", of=_number("working_set_bytes"), unit="B"),
    Quantity(name="kernel", of=_stored("kernel")),
    Quantity(name="tile", of=_stored("tile")),
    Quantity(name="subgroup_size", of=_stored("subgroup_size")),
    Quantity(name="split_k", of=_stored("split_k")),
    Quantity(name="spirv_sha", of=_stored("spirv_sha")),
    Quantity(name="registers", of=_compiled("registers"), better="lower"),
    Quantity(name="spills", of=_compiled("spills"), better="lower"),
    Quantity(name="instructions", of=_compiled("instructions"), better="lower"),
    Quantity(name="code_bytes", of=_compiled("code_bytes"), unit="B", better="lower"),
    Quantity(name="occupancy", of=_compiled("occupancy"), better="higher"),
    Quantity(name="matrix_instructions", of=_compiled("matrix_instructions")),
)
QUANTITIES: dict[str, Quantity] = {one.name: one for one in _ALL}
"""Every quantity by name; an axis of a cell is no quantity but `line.record.axes`."""


def axis_names(records: Iterable[ResultRecord]) -> list[str]:
    """The axes that these cells have, each once, in the order of their ops."""
    return list(dict.fromkeys(name for record in records for name in record.axes))


D = TypeVar("D", bound=Hashable)


class Finder(Generic[D]):
    """Finds the compile statistics that belong to a result, by device and kernel."""

    def __init__(self, pipelines: Iterable[tuple[D, PipelineRecord]]) -> None:
        self._by_kernel: dict[tuple[D, str], list[PipelineRecord]] = {}
        for device, record in pipelines:
            self._by_kernel.setdefault((device, record.kernel), []).append(record)

    def of(self, device: D, result: ResultRecord) -> PipelineRecord | None:
        """The pipeline of the same kernel; of several, the one of the same tile and subgroup size."""
        same = self._by_kernel.get((device, result.kernel), [])
        exact = [p for p in same if (p.tile, p.subgroup_size) == (result.tile, result.subgroup_size)]
        if exact:
            return exact[0]
        return same[0] if len(same) == 1 else None
