"""An A/B's comparison: each cell's verdict from its blocks, beside the statistics of its pipelines. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Protocol, TypeVar

import msgspec

from vkprobe.cell import Cell
from vkprobe.compare.compare import NORMAL, compare
from vkprobe.compare.model import VERDICTS, Change, Compared, Comparison
from vkprobe.compare.times import groups
from vkprobe.compare.timing import Judgement, judge, paired_lives
from vkprobe.records import AnyRecord, PipelineRecord, ResultRecord, RunRecord
from vkprobe.results.store import Store
from vkprobe.settling import FEWEST_BLOCKS, Block


class Pair(Protocol):
    """A cell on both drivers: its blocks by the life of the workers that they were measured in, and how it ended on each."""

    @property
    def lives(self) -> list[list[Block]]: ...  # noqa: D102
    @property
    def blocks(self) -> int: ...  # noqa: D102
    @property
    def records(self) -> tuple[ResultRecord | None, ResultRecord | None]: ...  # noqa: D102
    @property
    def pipelines(self) -> tuple[PipelineRecord | None, PipelineRecord | None]: ...  # noqa: D102


P = TypeVar("P", bound=Pair)


def judged(pairs: Sequence[P]) -> list[tuple[P, Judgement]]:
    """The verdicts of those that have blocks enough, as one table."""
    there = [pair for pair in pairs if pair.blocks >= FEWEST_BLOCKS]
    return list(zip(there, judge([paired_lives(pair.lives) for pair in there]), strict=True))


def unclear(pairs: Sequence[P]) -> list[P]:
    """The pairs that further blocks may still decide."""
    return [pair for pair, judgement in judged(pairs) if judgement.verdict != "same"]


def comparison(records: Sequence[AnyRecord], devices: tuple[str, str], pairs: Sequence[Pair], *, threshold: float) -> Comparison:
    """Everything of A against B: pipelines, and cells with the verdict of their blocks and the statistics of their pipelines.

    Args:
        records: of the run.
        devices: A's id and B's.
        pairs: what was measured; none of null devices.
        threshold: how many more instructions, as a share, make a pipeline worse.
    """
    verdicts = {r.cell: (j, _typical(pair)) for pair, j in judged(pairs) if (r := pair.records[0]) is not None}
    pipelines = {r.cell: pair.pipelines for pair in pairs for r in reversed(pair.records) if r is not None}
    a, b = (Store(r for r in records if isinstance(r, RunRecord) or getattr(r, "device", None) == device) for device in devices)
    compared = compare(a, b, names=("--a", "--b"), threshold=threshold)
    if not pairs:
        return compared
    cells = [_cell(cell, verdicts, pipelines) if isinstance(cell.record, ResultRecord) else cell for cell in compared.cells]
    return msgspec.structs.replace(compared, cells=tuple(sorted(cells, key=_badness)), groups=groups(cells))


def _typical(pair: Pair) -> tuple[float, float]:
    """The times (s) of both in what was judged."""
    blocks = [block for life in pair.lives for block in life]
    a, b = (math.exp(fmean(math.log(median(r)) for block in blocks for r in block[which])) for which in (0, 1))
    return a, b


def _cell(
    cell: Compared,
    verdicts: dict[Cell, tuple[Judgement, tuple[float, float]]],
    pipelines: dict[Cell, tuple[PipelineRecord | None, PipelineRecord | None]],
) -> Compared:
    assert isinstance(cell.record, ResultRecord)
    key = cell.record.cell
    changes = _changes(*pipelines.get(key, (None, None)))
    because: str | None
    if cell.old is None or cell.new is None:  # both sides have every cell: the run ended before this one had it
        if cell.verdict in ("wrong", "crash"):
            return msgspec.structs.replace(cell, changes=changes)
        because = f"the run ended before {'A' if cell.old is None else 'B'} had measured it"
        return msgspec.structs.replace(cell, verdict="unjudged", because=because, changes=changes)
    if not cell.old.status == cell.new.status == "ok":
        return msgspec.structs.replace(cell, changes=changes)
    if key not in verdicts:
        because = f"fewer than {FEWEST_BLOCKS} whole blocks were measured"
        return msgspec.structs.replace(cell, verdict="unjudged", judgement=None, because=because, changes=changes)
    judgement, times = verdicts[key]
    because = "the interval holds both a change and none" if judgement.verdict == "unclear" else None
    return msgspec.structs.replace(cell, verdict=judgement.verdict, judgement=judgement, times=times, because=because, changes=changes)


def _changes(a: PipelineRecord | None, b: PipelineRecord | None) -> tuple[Change, ...]:
    if a is None or b is None:
        return ()
    return tuple(Change(name, getattr(a, name), getattr(b, name)) for name in NORMAL if getattr(a, name) != getattr(b, name))


def _badness(cell: Compared) -> tuple[int, float]:
    """Sorts the worst first, of each verdict what is farthest from equal; the order is otherwise kept."""
    return list(VERDICTS).index(cell.verdict), -abs(math.log(cell.ratio)) if cell.ratio else 0.0
