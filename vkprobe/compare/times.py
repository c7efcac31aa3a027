"""The times of cells that are ok on both sides: which of them can be compared, and the verdicts of their table. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import fmean, median

from msgspec import UNSET, Struct
from msgspec.structs import replace

from vkprobe.builds import kernel_change
from vkprobe.compare.model import Change, Compared, Group
from vkprobe.compare.timing import Estimate, Side, both, geometric_mean, in_rounds, judge, side, unpaired
from vkprobe.records import ResultRecord, Time
from vkprobe.settling import STEADY

CLOCKS = 0.02
"""Core clocks that differ by more than this share give times that are not the driver's doing."""
_OWN_ROUNDS = 3  # that an unsteady side needs to be judged all the same
_CORE_CLOCK = "sm_clock_mhz"
_OF_DRIVER = ("kernel", "tile", "subgroup_size", "split_k")  # how a cell ran, which may be the driver's facts' doing


class Draft(Struct, frozen=True, kw_only=True):
    """A cell that is ok on both sides before its table is judged; without an estimate its verdict stands.

    Attributes:
        unsteady: which side is, and why; `unsteady_cause`: the same without its numbers.
        undecided: whether that leaves it unclear: unless its own rounds show what it varies by and the sides lie further apart. It is in
            the table all the same: who judges the quiet cells alone takes the table to be quieter than it is.
    """

    cell: Compared
    estimate: Estimate | None = None
    causes: tuple[Change, ...] = ()
    unsteady: str | None = None
    unsteady_cause: str | None = None
    undecided: bool = False


class _Unusable(Exception):
    """Why times can't be judged: the message; `cause` is the same without its numbers."""

    def __init__(self, message: str, cause: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause


def drafted(cell: Compared, old: Sequence[ResultRecord], new: Sequence[ResultRecord], causes: Sequence[Change] = ()) -> Draft:
    """Draft of a cell from its runs on both sides.

    Args:
        cell: of the newest records.
        old, new: all runs of the cell that count, the newest last.
        causes: statistics of its pipeline that differ, which stand beside a verdict.
    """
    theirs = {(r.run, r.at) for r in old}
    new = [r for r in new if (r.run, r.at) not in theirs] or new  # NEW may hold OLD's records too: `cat`
    before, after = old[-1], new[-1]
    try:
        a, b = _times("OLD", old), _times("NEW", new)
        newest = (a[-1].median_s, b[-1].median_s)
        if not all(math.isfinite(t) and t > 0 for t in newest):
            raise _Unusable("a median is no positive number")
        cell = replace(cell, times=newest)
        _comparable(before, after, a, b)
        runs = _sides("OLD", a), _sides("NEW", b)
    except _Unusable as why:
        return Draft(cell=replace(cell, verdict="unjudged", because=str(why), cause=why.cause))
    reasons = _unsteady(a), _unsteady(b)
    rounds = in_rounds(runs[0]), in_rounds(runs[1])
    explained = all(_shows_cause(s) for s, why in zip(rounds, reasons, strict=True) if why)
    ran = tuple(Change(f, getattr(before, f), getattr(after, f)) for f in _OF_DRIVER if getattr(before, f) != getattr(after, f))
    typical = (math.exp(fmean(rounds[0].logs)), math.exp(fmean(rounds[1].logs)))
    return Draft(
        cell=replace(cell, times=typical),
        estimate=replace(unpaired(*both(*runs)), alone=any(reasons)),
        causes=(*ran, *causes),
        unsteady=_unsteady_in_words(*reasons),
        unsteady_cause=_unsteady_in_words(_cause(a), _cause(b)),
        undecided=any(reasons) and not (explained and _apart(*rounds)),
    )


def finished(drafts: Sequence[Draft]) -> list[Compared]:
    """The cells with their verdicts: those with an estimate are judged together, as one table."""
    judgements = iter(judge([d.estimate for d in drafts if d.estimate is not None]))
    cells = []
    for draft in drafts:
        if draft.estimate is None:
            cells.append(draft.cell)
            continue
        said = next(judgements)
        if draft.undecided:
            cells.append(replace(draft.cell, verdict="unclear", because=draft.unsteady, cause=draft.unsteady_cause))
            continue
        because = None
        if said.verdict == "unclear":
            undecided = "the interval holds both a change and none" if draft.estimate.df else "one round on each side"
            because = draft.unsteady or undecided
        changes = draft.causes if said.verdict in ("slower", "faster") else ()
        cells.append(
            replace(draft.cell, verdict=said.verdict, judgement=said, because=because, cause=draft.unsteady_cause, changes=changes)
        )
    return cells


def groups(cells: Iterable[Compared]) -> tuple[Group, ...]:
    """Geometric means of judged cells by device, op and path; by type too where such a group has several, of more than one cell."""
    judged = [c for c in cells if c.judgement is not None and isinstance(c.record, ResultRecord)]
    means = []
    for (device, op, path), members in _by(judged, ("op", "path")).items():
        of_types = _by(members, ("type",))
        means.append(_group(device, op, path, None, members))
        if len(of_types) > 1:
            means += [_group(device, op, path, weights, some) for (_, weights), some in of_types.items()]
    return tuple(g for g in means if g.cells > 1)


def _by(cells: Sequence[Compared], fields: Sequence[str]) -> dict[tuple[str, ...], list[Compared]]:
    grouped: dict[tuple[str, ...], list[Compared]] = {}
    for cell in cells:
        grouped.setdefault((cell.device, *(getattr(cell.record, name) or "" for name in fields)), []).append(cell)
    return dict(sorted(grouped.items()))


def _group(device: str, op: str, path: str, weights: str | None, cells: Sequence[Compared]) -> Group:
    ratios = [c.judgement.ratio for c in cells if c.judgement is not None]
    return Group(device=device, op=op, path=path, type=weights, ratio=geometric_mean(ratios), cells=len(ratios))


def _times(name: str, records: Sequence[ResultRecord]) -> list[Time]:
    times = [r.time for r in records if r.time is not UNSET]
    if not times:
        raise _Unusable(f"{name} holds no time of it")
    return times


def _comparable(old: ResultRecord, new: ResultRecord, a: Sequence[Time], b: Sequence[Time]) -> None:
    other = kernel_change(old, new)
    if other is not None:
        raise _Unusable(other)
    if old.tile != new.tile and None in (old.spirv_sha, new.spirv_sha):
        raise _Unusable("another tile was measured, and not both sides name their SPIR-V module")
    if a[-1].clock != b[-1].clock:
        raise _Unusable(f"clocks differ: {a[-1].clock} in OLD, {b[-1].clock} in NEW")
    clocks = other_core_clock(a, b)
    if clocks:
        raise _Unusable(clocks, "core clocks")


def other_core_clock(old: Sequence[Time], new: Sequence[Time]) -> str | None:
    """Why the core clocks keep times from being judged, both in MHz; None where they are alike or weren't recorded."""
    before, after = _core_clock(old), _core_clock(new)
    if before and after and abs(after / before - 1) > CLOCKS:
        return f"core clocks differ: {before:.0f} MHz against {after:.0f} MHz"
    return None


def _core_clock(times: Sequence[Time]) -> float | None:
    """MHz, over all rounds; None where it wasn't recorded."""
    readings = [
        row[_CORE_CLOCK]
        for time in times
        if isinstance(rows := time.telemetry.get("rounds"), list)
        for row in rows
        if isinstance(row, dict) and isinstance(row.get(_CORE_CLOCK), (int, float))
    ]
    return float(median(readings)) if readings else None


def _unsteady(times: Sequence[Time]) -> str | None:
    """Why a side is unsteady: most of its runs were."""
    wavering = [t for t in times if not t.steady]
    if 2 * len(wavering) <= len(times) and len(wavering) < len(times):
        return None
    return wavering[-1].unsteady_because or "its rounds do not agree"


def _cause(times: Sequence[Time]) -> str | None:
    """The cause of an unsteady side without its numbers; None where it is steady."""
    reason = _unsteady(times)
    if reason is None:
        return None
    causes = [t.unsteady.cause for t in times if not t.steady and t.unsteady is not None]
    return causes[-1] if causes else reason


def _shows_cause(unsteady: Side) -> bool:
    """Whether the rounds of an unsteady side show what it varies by; else something else makes it unsteady, such as a clock."""
    spread = math.exp(max(unsteady.logs) - min(unsteady.logs)) - 1
    scatter = 2 * math.sqrt(unsteady.within / len(unsteady.logs))
    return len(unsteady.logs) >= _OWN_ROUNDS and max(spread, scatter) > STEADY


def _apart(a: Side, b: Side) -> bool:
    """Whether the nearest rounds of both sides lie further apart than the farthest of one: two speeds of one kernel never do."""
    low, high = sorted((a, b), key=lambda s: max(s.logs))
    return min(high.logs) - max(low.logs) > max(max(s.logs) - min(s.logs) for s in (a, b))


def _unsteady_in_words(old: str | None, new: str | None) -> str | None:
    if not old and not new:
        return None
    if old == new:
        return f"unsteady in OLD and NEW: {old}"
    return "; ".join(f"unsteady in {name}: {why}" for name, why in (("OLD", old), ("NEW", new)) if why)


def _sides(name: str, times: Sequence[Time]) -> list[Side]:
    """The steady runs; all runs if none is steady."""
    return [side(_rounds(name, t)) for t in ([t for t in times if t.steady] or times)]


def _rounds(name: str, time: Time) -> list[list[float]]:
    if not time.samples_s or len(time.samples_s) != len(time.rounds):
        raise _Unusable(f"{name} has {len(time.samples_s)} samples in {len(time.rounds)} places of rounds", f"samples of {name}")
    if not all(math.isfinite(s) and s > 0 for s in time.samples_s):
        raise _Unusable(f"{name} has a sample that is no positive number")
    pairs = groupby(sorted(zip(time.rounds, time.samples_s, strict=True), key=lambda p: p[0]), key=lambda p: p[0])
    return [[sample for _, sample in pair] for _, pair in pairs]
