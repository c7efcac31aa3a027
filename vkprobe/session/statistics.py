"""Judging samples: the median and its interval, and whether a cell's rounds have settled. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from vkprobe.records import Unsteady
from vkprobe.results.causes import in_words
from vkprobe.settling import STEADY, first_settled

F64 = NDArray[np.float64]

_SETTLED_ROUNDS = 3
_RESAMPLES = 1000
_LONG_BATCH_S = 0.002  # of wall time: below it, submitting weighs too much to compare the clocks
_GPU_CLOCK_TOLERANCE = 1.02
# Quantile 0.975 of Student's t by degrees of freedom (1 to 15): an interval from few rounds is wide.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


class Judged(Struct, frozen=True, kw_only=True):
    """Statistics of a cell's samples.

    Attributes:
        median_s, ci95_s: over the settled rounds.
        first_settled: index of the first settled round: those before it were slower than all later ones, as rates climb at first.
        steady: at least three settled rounds, all within one percent of each other, a narrow interval, clocks that agree.
        because: why it is not steady.
        unsteady: the same as data.
    """

    median_s: float
    ci95_s: tuple[float, float]
    first_settled: int
    steady: bool
    because: str | None
    unsteady: Unsteady | None = None


def judge(rounds: Sequence[Sequence[float]], wall: Sequence[Sequence[float]], dispatches: int, clock: str) -> Judged:
    """Judge rounds of samples (s per dispatch), with the wall time of the same submits (s per dispatch).

    The interval is the wider of a hierarchical bootstrap of the median (rounds, then samples) and Student's t on the rounds' medians.
    """
    medians = [float(np.median(r)) for r in rounds]
    first = first_settled(medians)
    settled = [np.asarray(r, np.float64) for r in rounds[first:]]
    median = float(np.median(np.concatenate(settled)))
    low, high = _interval(settled, medians[first:])
    interval = (min(low, median), max(high, median))
    cause = (
        _scatter(medians[first:], len(rounds))
        or _wide(interval, median)
        or (_clocks_disagree(settled, [np.asarray(r, np.float64) for r in wall[first:]], dispatches) if clock == "gpu" else None)
    )
    because = None if cause is None else in_words(cause)
    return Judged(median_s=median, ci95_s=interval, first_settled=first, steady=cause is None, because=because, unsteady=cause)


def _scatter(medians: Sequence[float], rounds: int) -> Unsteady | None:
    if rounds < 2:
        return Unsteady(cause="one-round")
    spread = max(medians) / min(medians) - 1
    if spread > STEADY:
        return Unsteady(cause="rounds-differ", numbers=(spread,))
    if len(medians) < _SETTLED_ROUNDS:
        if len(medians) < rounds:
            return Unsteady(cause="unsettled", numbers=(len(medians), rounds))
        return Unsteady(cause="few-rounds", numbers=(rounds,))
    return None


def _wide(interval: tuple[float, float], median: float) -> Unsteady | None:
    half = (interval[1] - interval[0]) / 2 / median
    return Unsteady(cause="scatter", numbers=(half,)) if half > STEADY else None


def _interval(rounds: Sequence[F64], medians: Sequence[float]) -> tuple[float, float]:
    rng = np.random.default_rng(len(rounds))
    sizes = np.array([r.size for r in rounds])
    padded = np.zeros((len(rounds), sizes.max()))
    for row, samples in zip(padded, rounds, strict=True):
        row[: samples.size] = samples
    chosen = rng.integers(0, len(rounds), (_RESAMPLES, len(rounds), 1))
    picks = (rng.random((_RESAMPLES, len(rounds), sizes.max())) * sizes[chosen]).astype(np.intp)
    drawn = np.median(padded[chosen, picks], axis=(1, 2))
    low, high = (float(q) for q in np.quantile(drawn, (0.025, 0.975)))
    if len(medians) > 1:
        logs = np.log(medians)  # ratios: no bound falls below zero
        half = _T[min(len(medians) - 2, len(_T) - 1)] * float(np.std(logs, ddof=1)) / math.sqrt(len(medians))
        center = float(np.median(medians))
        low, high = min(low, center * math.exp(-half)), max(high, center * math.exp(half))
    return low, high


def _clocks_disagree(gpu: Sequence[F64], wall: Sequence[F64], dispatches: int) -> Unsteady | None:
    """GPU time above wall time, or far below it in a long batch: one of the clocks, or the driver, is not to be trusted."""
    ratio = float(np.median(np.concatenate(gpu) / np.concatenate(wall)))
    batch = float(np.median(np.concatenate(wall))) * dispatches
    if batch < _LONG_BATCH_S:
        return None
    if ratio > _GPU_CLOCK_TOLERANCE:
        return Unsteady(cause="gpu-clock-high", numbers=(ratio,))
    if ratio < 0.5:
        return Unsteady(cause="gpu-clock-low", numbers=(ratio,))
    return None
