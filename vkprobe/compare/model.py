"""The frozen types of a comparison."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from vkprobe.compare.timing import Judgement
from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.results.names import cell_name

Verdict = Literal[
    "wrong", "crash", "missing", "slower", "status", "worse", "mixed", "unclear", "unjudged", "changed", "better", "faster", "appeared",
    "same",
]  # fmt: skip
VERDICTS: dict[str, str] = {
    "wrong": "NEW's result is wrong",
    "crash": "NEW ended in crash, timeout, device-lost or error",
    "missing": "NEW has no such cell, or can't run what OLD could",
    "slower": "its time got longer",
    "status": "another status",
    "worse": "more spills, more instructions beyond the threshold, or no matrix instructions any more",
    "mixed": "some statistics got worse, others better",
    "unclear": "the samples don't show whether its time changed, or are unsteady",
    "unjudged": "both ok, but what was measured can't be held against each other",
    "changed": "other statistics differ",
    "better": "fewer spills, or fewer instructions beyond the threshold",
    "faster": "its time got shorter",
    "appeared": "OLD has no such cell",
    "same": "no difference",
}
"""Every verdict and what it says, the worst first."""


class Change(Struct, frozen=True):
    """One statistic that differs; None on a side that doesn't report it."""

    name: str
    old: Any
    new: Any


class Compared(Struct, frozen=True, kw_only=True):
    """A cell or pipeline of a device, in both files or in one.

    Attributes:
        device: its id in NEW; in OLD where NEW has none.
        changes: statistics that differ, those of the normal form first.
        times: (s) of OLD and NEW, where both are ok: what was typical of the settled rounds.
        judgement: of the times, where both sides are steady and comparable.
        because: why the verdict is `unclear` or `unjudged`.
        cause: the same without its numbers, so that cells of one cause can be counted together; None where `because` has no numbers.
        expected: whether the files of expectations list the cell: `known` with this verdict, or `flaky`.
        reason: of NEW's status, where that is not ok.
    """

    device: str
    verdict: Verdict
    old: PipelineRecord | ResultRecord | None
    new: PipelineRecord | ResultRecord | None
    changes: tuple[Change, ...] = ()
    times: tuple[float, float] | None = None
    judgement: Judgement | None = None
    because: str | None = None
    cause: str | None = None
    expected: Literal["known", "flaky"] | None = None

    @property
    def name(self) -> str:
        """The cell's name, as `cell_name` returns it."""
        return cell_name(self.record)

    @property
    def ratio(self) -> float | None:
        """Ratio of the times, NEW over OLD."""
        if self.judgement is not None:
            return self.judgement.ratio
        return self.times[1] / self.times[0] if self.times is not None else None

    @property
    def record(self) -> PipelineRecord | ResultRecord:
        """NEW's record where there is one, else OLD's."""
        either = self.new if self.new is not None else self.old
        assert either is not None
        return either

    @property
    def reason(self) -> str | None:
        """Why NEW's record isn't ok."""
        return self.new.reason if self.new is not None and self.new.status != "ok" else None

    def change(self, name: str) -> Change | None:
        """The change of one statistic."""
        return next((c for c in self.changes if c.name == name), None)


class DevicePair(Struct, frozen=True, kw_only=True):
    """The same hardware in both files, under whatever drivers."""

    old: str
    new: str
    old_driver: str
    new_driver: str


class Group(Struct, frozen=True, kw_only=True):
    """The geometric mean of the ratios of several judged cells of a device; `type` is None for all types together."""

    device: str
    op: str
    path: str
    type: str | None
    ratio: float
    cells: int


class Improvement(Struct, frozen=True, kw_only=True):
    """A line (`where`: file and number) of the known failures that no longer holds: the cell has a better verdict now."""

    where: str
    device: str
    name: str
    listed: str
    verdict: Verdict


class Alone(Struct, frozen=True):
    """A device that only one file has, with how many records; `in_fails` where a line `DEVICE,missing` lists it."""

    device: str
    records: int
    in_fails: bool = False


class Comparison(Struct, frozen=True, kw_only=True):
    """OLD against NEW as a whole.

    Attributes:
        cells: of paired devices, the worst first.
        missing, appeared: devices that only OLD or only NEW has.
        notes: sentences about the pairing that a reader has to know.
        groups: of the judged cells, by device, op and path, then by type too.
        improved: known failures that no longer fail.
        unlisted: lines of the known failures that name nothing which either file has, as sentences.
        skipped: how many cells and pipelines were left out because a file says so.
    """

    devices: tuple[DevicePair, ...]
    cells: tuple[Compared, ...]
    missing: tuple[Alone, ...] = ()
    appeared: tuple[Alone, ...] = ()
    notes: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    improved: tuple[Improvement, ...] = ()
    unlisted: tuple[str, ...] = ()
    skipped: int = 0
