"""Verdicts on times: the ratio of medians of each cell, its interval, and what a whole table of them allows to be said. Pure.

The unit is the round (of `ab`, a block of rounds A B B A), not the sample: samples of one round share clocks, caches and whatever
else runs. A table is judged together: the variance between few rounds of one cell is weighed with what all cells have in common, and
p-values are held against Benjamini and Hochberg's line, so that a table without any difference has a false verdict in less than one
of a hundred cases however many cells it has.
What changes from one process to the next (a kernel with two speeds) is in the interval only where a side has several processes; and
what drifts more slowly than a campaign takes looks like a change between two campaigns: `ab` interleaves, so that it cancels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Literal

import msgspec
from msgspec import Struct

from vkprobe.compare.student import Prior, moderated, prior, quantile, two_sided
from vkprobe.settling import first_settled

TimeVerdict = Literal["slower", "faster", "same", "unclear"]

ALPHA = 0.01
"""How often a table without a difference may have a false verdict."""
MARGIN = 0.01
"""A difference below this share is none that is worth a verdict, however sure."""
EQUAL = 0.02
"""Times are the same where the interval of their ratio is within this of 1."""
REPRODUCED = 0.0025
"""The standard deviation of a campaign's medians from one campaign to the next that is taken for granted: of 15 steady cells measured
twice within ten minutes on one H200 none differed by more than 0.7 %."""
_CONFIDENCE = 0.05  # of an interval: it misses the ratio this often


class Side(Struct, frozen=True):
    """A cell's rounds in one of the two: logarithms of their medians, and the variance that a round's samples give such a median."""

    logs: tuple[float, ...]
    within: float


class Estimate(Struct, frozen=True):
    """A cell's difference before its table is known.

    Attributes:
        log_ratio: of NEW (or B) over OLD (or A).
        s2: variance of one unit, `df` its degrees of freedom; not below `within`, what the samples alone give it.
        scale: what s2 is multiplied with to be the variance of log_ratio.
        floor: variance of log_ratio that no number of rounds takes away.
        alone: an unsteady cell: its own rounds say what it varies by, whatever the table has in common.
    """

    log_ratio: float
    s2: float
    df: float
    within: float
    scale: float
    floor: float = 0.0
    alone: bool = False


class Judgement(Struct, frozen=True):
    """Verdict on a cell's times, with the ratio NEW over OLD, its 95 % interval, and p after Benjamini and Hochberg."""

    ratio: float
    ci95: tuple[float, float]
    p: float
    verdict: TimeVerdict

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval: one round on each side gives none."""
        return math.isfinite(self.ci95[1])


def side(rounds: Sequence[Sequence[float]]) -> Side:
    """The settled rounds of one process, each its samples (s)."""
    medians = [median(r) for r in rounds]
    settled = rounds[first_settled(medians) :]
    return Side(tuple(math.log(median(r)) for r in settled), fmean(_of_median(r) for r in settled))


def pooled(sides: Sequence[Side]) -> Side:
    """Several processes of one side. Where they differ by more than their rounds do, a process is the unit."""
    return _joined(sides, by_process=_differ(sides))


def both(old: Sequence[Side], new: Sequence[Side]) -> tuple[Side, Side]:
    """The processes of both sides, in one unit: where those of either differ, a process is the unit of both."""
    by_process = _differ(old) or _differ(new)
    return _joined(old, by_process=by_process), _joined(new, by_process=by_process)


def in_rounds(sides: Sequence[Side]) -> Side:
    """All rounds of one side's processes."""
    return _joined(sides, by_process=False)


def _joined(sides: Sequence[Side], *, by_process: bool) -> Side:
    within = fmean(s.within for s in sides)
    if by_process:
        return Side(tuple(fmean(s.logs) for s in sides), within * len(sides) / sum(len(s.logs) for s in sides))
    return Side(tuple(log for s in sides for log in s.logs), within)


def _differ(sides: Sequence[Side]) -> bool:
    """Whether processes differ by more than the rounds within them."""
    means = [fmean(s.logs) for s in sides]
    inner = sum((log - mean) ** 2 for s, mean in zip(sides, means, strict=True) for log in s.logs)
    count = sum(len(s.logs) for s in sides)
    degrees = count - len(sides)
    between = count / len(sides) * _spread(means)
    return len(sides) > 1 and degrees > 0 and between > max(inner / degrees, fmean(s.within for s in sides)) * _SUSPICIOUS


_SUSPICIOUS = 3.0  # F of processes over rounds from which on processes are taken to differ


def unpaired(old: Side, new: Side) -> Estimate:
    """Two campaigns, at different times."""
    df = len(old.logs) + len(new.logs) - 2
    squares = sum((log - fmean(s.logs)) ** 2 for s in (old, new) for log in s.logs)
    return Estimate(
        log_ratio=fmean(new.logs) - fmean(old.logs),
        s2=squares / df if df else 0.0,
        df=df,
        within=(old.within + new.within) / 2,
        scale=1 / len(old.logs) + 1 / len(new.logs),
        floor=2 * REPRODUCED**2,
    )


def paired(blocks: Sequence[tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]]) -> Estimate:
    """Blocks A B B A, each (A's rounds, B's rounds), of samples (s): a clock that drifts evenly through a block cancels out."""
    differences = [fmean(math.log(median(r)) for r in b) - fmean(math.log(median(r)) for r in a) for a, b in blocks]
    within = fmean(fmean(_of_median(r) for r in a) / len(a) + fmean(_of_median(r) for r in b) / len(b) for a, b in blocks)
    return Estimate(
        log_ratio=fmean(differences),
        s2=_spread(differences),
        df=len(differences) - 1,
        within=within,
        scale=1 / len(differences),
    )


def paired_lives(lives: Sequence[Sequence[tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]]]) -> Estimate:
    """Blocks as `paired` has them, by the processes that they were measured in: the unit where they differ by more than blocks do.

    The variance stays that of a block, so that a table's are of one kind.
    """
    lives = [life for life in lives if life]
    every = paired([block for life in lives for block in life])
    differences = [[paired([block]).log_ratio for block in life] for life in lives]
    inner = sum((d - fmean(life)) ** 2 for life in differences for d in life)
    degrees = sum(map(len, lives)) - len(lives)
    if len(lives) < 2 or not degrees:
        return every
    between = sum(len(life) * (fmean(life) - every.log_ratio) ** 2 for life in differences) / (len(lives) - 1)
    if between <= max(inner / degrees, every.within) * _SUSPICIOUS:
        return every
    return msgspec.structs.replace(every, s2=between, df=len(lives) - 1)


def judge(table: Sequence[Estimate]) -> list[Judgement]:
    """The verdicts of a table, cell by cell."""
    common = prior([(e.s2, e.df) for e in table])
    weighed = [_weighed(e, common) for e in table]
    raw = [_p(e, error, df) for e, (error, df) in zip(table, weighed, strict=True)]
    return [_judged(e, error, df, p) for e, (error, df), p in zip(table, weighed, adjusted(raw), strict=True)]


def _p(e: Estimate, error: float, df: float) -> float:
    if not df:
        return 1.0
    return two_sided(e.log_ratio / error, df) if error else float(e.log_ratio == 0)


def _weighed(e: Estimate, common: Prior) -> tuple[float, float]:
    """The standard error of log_ratio, and its degrees of freedom."""
    if not e.df:  # one round each: nothing shows how much rounds differ
        return 0.0, 0.0
    s2, df = (e.s2, e.df) if e.alone else moderated(e.s2, e.df, common)
    # What a table has in common may make a cell's variance larger, never smaller: some cells vary more than others.
    return math.sqrt(max(s2, e.s2, e.within) * e.scale + e.floor), df


def _judged(e: Estimate, error: float, df: float, p: float) -> Judgement:
    ratio = _exp(e.log_ratio)
    if not df:
        return Judgement(ratio, (0.0, math.inf), 1.0, "unclear")
    half = quantile(_CONFIDENCE, df) * error
    low, high = _exp(e.log_ratio - half), _exp(e.log_ratio + half)
    verdict: TimeVerdict = "unclear"
    if p <= ALPHA and abs(ratio - 1) >= MARGIN:
        verdict = "slower" if ratio > 1 else "faster"
    elif low >= 1 / (1 + EQUAL) and high <= 1 + EQUAL:
        verdict = "same"
    return Judgement(ratio, (low, high), p, verdict)


def _exp(log: float) -> float:
    return math.exp(max(-_MOST_LOG, min(_MOST_LOG, log)))


_MOST_LOG = 700.0  # of a float


def adjusted(p: Sequence[float]) -> list[float]:
    """p-values after Benjamini and Hochberg: of those at most x, a share x of false ones is to be expected.

    >>> [round(q, 3) for q in adjusted([0.01, 0.04, 0.03])]
    [0.03, 0.04, 0.04]
    """
    order = sorted(range(len(p)), key=p.__getitem__, reverse=True)
    least, values = 1.0, [1.0] * len(p)
    for rank, i in zip(range(len(p), 0, -1), order, strict=True):
        least = min(least, p[i] * len(p) / rank)
        values[i] = least
    return values


def geometric_mean(ratios: Sequence[float]) -> float:
    """The geometric mean of a group's ratios."""
    return math.exp(fmean(math.log(r) for r in ratios))


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = fmean(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1)


def _of_median(samples: Sequence[float]) -> float:
    """The variance of the logarithm of a round's median, from the middle half of its samples: pi/2 of that of a mean, of normal noise."""
    if len(samples) < 2:
        return 0.0
    middle = median(samples)
    sigma = 1.4826 * median(abs(s - middle) for s in samples) / middle
    return math.pi / 2 * sigma * sigma / len(samples)
