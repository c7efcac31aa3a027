"""Verdicts on a commit from measured cells: bad if a condition holds, good if none does, unclear if the samples don't decide it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from vkprobe.compare.conditions import DEFAULT_SHARE, parse
from vkprobe.compare.model import Compared
from vkprobe.compare.timing import ALPHA, Judgement, Side, judge, pooled, unpaired
from vkprobe.errors import UsageError
from vkprobe.records import LOST_STATUSES, Status

Verdict = Literal["bad", "unclear", "good"]
_ORDER: tuple[Verdict, ...] = ("bad", "unclear", "good")
DEFAULT_TIMES = "slower:3%,wrong,crash"
DEFAULT_STATISTICS = f"worse:{DEFAULT_SHARE:.0%},wrong,crash"
OF_STATISTICS = frozenset({"worse", "changed"})
"""The conditions that compile statistics meet, and nothing else does."""
CONFIRMED = 2
"""Processes that a slower time must be seen in: a kernel with two speeds keeps one of them for a process's life."""
_MOST_CHANGES = 3
_CONDITION = {"wrong": "wrong", "unsupported": "missing", **dict.fromkeys(LOST_STATUSES, "crash")}


class Asked(Struct, frozen=True):
    """The conditions under which a commit is bad: name -> share, which only `slower` and `worse` read."""

    shares: dict[str, float]

    def __contains__(self, name: str) -> bool:
        return name in self.shares


class Finding(Struct, frozen=True, kw_only=True):
    """Verdict on one cell, explained in `words`; `size` sorts equal verdicts, the worst last (a ratio; infinite where there is none)."""

    name: str
    verdict: Verdict
    words: str
    size: float = math.inf


def asked(text: str, *, crash: bool | None = None, wrong: bool | None = None) -> Asked:
    """The conditions of --bad-if; `crash` and `wrong` add one or take it away, None leaves it.

    >>> asked("slower:5%,crash", crash=False, wrong=True).shares
    {'slower': 0.05, 'wrong': 0.05}

    Raises:
        UsageError: an unknown condition or no threshold; or none is left.
    """
    try:
        shares = {condition.name: condition.share for condition in parse(text)}
    except UsageError as error:
        raise UsageError(str(error).replace("--fail-on", "--bad-if")) from None
    for name, wanted in (("crash", crash), ("wrong", wrong)):
        if wanted:
            shares.setdefault(name, DEFAULT_SHARE)
        elif wanted is not None:
            shares.pop(name, None)
    if not shares:
        raise UsageError(f"--bad-if {text}: no condition is left")
    return Asked(shares)


def by_status(name: str, status: Status, reason: str | None, conditions: Asked) -> Finding:
    """Finding for a cell that isn't ok: bad if the conditions ask for its status, else unclear, as are skipped and noop cells."""
    verdict: Verdict = "bad" if _CONDITION.get(status) in conditions.shares else "unclear"
    return Finding(name=name, verdict=verdict, words=f"{status}: {reason}" if reason else status)


def not_measured(name: str, because: str | None = None) -> Finding:
    """Finding for a cell that produced no record."""
    return Finding(name=name, verdict="unclear", words=f"not measured: {because}" if because else "not measured")


def by_times(cells: Mapping[str, tuple[Side, Sequence[Side]]], share: float, *, least_processes: int = CONFIRMED) -> list[Finding]:
    """Whether times got longer by more than `share`: cell -> (the good commit's rounds, those of each process of this one).

    The ratio is held against 1 + share itself, not against 1: good says that it is below, bad that it is above; the cells of one
    process are judged together, as a table. Processes that agree settle it: one that says good, or `least_processes` that say bad.
    Where they disagree or are all unclear, all their rounds together do.
    """
    limit = 1 + share
    together = _judged({name: (good, pooled(new)) for name, (good, new) in cells.items()}, limit)
    most = max((len(new) for _, new in cells.values()), default=0)
    alone = [_judged({name: (good, new[i]) for name, (good, new) in cells.items() if i < len(new)}, limit) for i in range(most)]
    return [_timed(name, together[name], [table[name] for table in alone if name in table], limit, least_processes) for name in cells]


def _judged(table: Mapping[str, tuple[Side, Side]], limit: float) -> dict[str, Judgement]:
    """The ratios over `limit` of a table."""
    estimates = [unpaired(good, new) for good, new in table.values()]
    return dict(zip(table, judge([replace(e, log_ratio=e.log_ratio - math.log(limit)) for e in estimates]), strict=True))


def _says(judgement: Judgement) -> Verdict:
    return "unclear" if judgement.p > ALPHA else "good" if judgement.ratio < 1 else "bad"


def _timed(name: str, together: Judgement, alone: Sequence[Judgement], limit: float, least_processes: int) -> Finding:
    said = [verdict for verdict in map(_says, alone) if verdict != "unclear"]
    verdict = _says(together)
    low, high = together.ci95
    if len(set(said)) == 1 and (said[0] == "good" or len(said) >= least_processes):
        verdict = said[0]
        low, high = min(j.ci95[0] for j in alone), max(j.ci95[1] for j in alone)
    elif verdict == "bad" and len(alone) < least_processes:
        verdict = "unclear"
    words = f"{together.ratio * limit:.3g}x [{low * limit:.3g}, {high * limit:.3g}]"
    words += {"bad": f", over {limit:.3g}x", "good": "", "unclear": f", {limit:.3g}x can't be distinguished from it"}[verdict]
    return Finding(name=name, verdict=verdict, words=words, size=together.ratio * limit)


def by_statistics(name: str, cell: Compared, conditions: Asked) -> Finding:
    """Finding for a pipeline that `compare` has paired."""
    if cell.new is None:
        verdict: Verdict = "bad" if "missing" in conditions else "unclear"
        return Finding(name=name, verdict=verdict, words="missing: this build has no such pipeline")
    if cell.new.status != "ok":
        return by_status(name, cell.new.status, cell.new.reason, conditions)
    worse = cell.verdict == "worse" and "worse" in conditions
    changed = bool(cell.changes) and "changed" in conditions
    words = ", ".join(f"{c.name} {c.old} -> {c.new}" for c in cell.changes[:_MOST_CHANGES]) or "same"
    instructions = cell.change("instructions")
    size = instructions.new / instructions.old if instructions and instructions.old and instructions.new else 1.0
    return Finding(name=name, verdict="bad" if worse or changed else "good", words=words, size=size)


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Verdict on the whole commit: one bad cell makes it bad, else one unclear cell leaves it open."""
    return min((f.verdict for f in findings), key=_ORDER.index)


def worst(findings: Sequence[Finding]) -> Finding:
    """The cell to name."""
    return max(findings, key=lambda f: (-_ORDER.index(f.verdict), f.size))


def line(commit: str, findings: Sequence[Finding]) -> str:
    """The line that a step prints."""
    verdict, cell = verdict_of(findings), worst(findings)
    word = "skip" if verdict == "unclear" else verdict
    count = sum(f.verdict == verdict for f in findings)
    return f"{commit} {word}: {cell.name} {cell.words} ({count} of {len(findings)} {verdict})"
