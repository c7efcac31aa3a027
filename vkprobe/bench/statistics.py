"""Judging samples: the median and its interval, and whether a cell's rounds have settled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

STEADY = 0.01
"""Rounds agree where their medians are within this of each other."""
_RESAMPLES = 2000
_LONG_BATCH_S = 0.002  # of wall time: below it, submitting weighs too much to compare the clocks
_GPU_CLOCK_TOLERANCE = 1.02


class Judged(Struct, frozen=True, kw_only=True):
    """What a cell's samples say.

    Attributes:
        median_s, ci95_s: over the settled rounds: the last ones that agree with the very last; where the last two don't
            agree, over the later half of all rounds, so that the interval spans what the cell was seen to do.
        first_settled: index of the first of those rounds.
        steady: the last two rounds agree and the clocks do.
        because: why it is not steady.
    """

    median_s: float
    ci95_s: tuple[float, float]
    first_settled: int
    steady: bool
    because: str | None


def judge(rounds: Sequence[Sequence[float]], wall: Sequence[Sequence[float]], dispatches: int, clock: str) -> Judged:
    """Judge rounds of samples (s per dispatch), with the wall time of the same submits (s per dispatch).

    The interval is a hierarchical bootstrap of the median over rounds, then samples: samples of one round are not independent.
    """
    medians = [float(np.median(r)) for r in rounds]
    first = len(rounds) - 1
    while first > 0 and abs(medians[first - 1] - medians[-1]) <= STEADY * medians[-1]:
        first -= 1
    because = None
    if len(rounds) < 2:
        because = "only one round was measured"
    elif first == len(rounds) - 1:
        because = f"the last two rounds differ by {abs(medians[-2] / medians[-1] - 1):.1%}"
        first = min(len(rounds) - 2, len(rounds) // 2)
    settled = [np.asarray(r) for r in rounds[first:]]
    median = float(np.median(np.concatenate(settled)))
    low, high = _interval(settled)
    if because is None and clock == "gpu":
        because = _clocks_disagree(settled, [np.asarray(r) for r in wall[first:]], dispatches)
    return Judged(
        median_s=median,
        ci95_s=(min(low, median), max(high, median)),
        first_settled=first,
        steady=because is None,
        because=because,
    )


def _interval(rounds: Sequence[np.ndarray]) -> tuple[float, float]:
    rng = np.random.default_rng(len(rounds))
    medians = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        chosen = rng.integers(0, len(rounds), len(rounds))
        medians[i] = np.median(np.concatenate([rng.choice(rounds[c], rounds[c].size) for c in chosen]))
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def _clocks_disagree(gpu: Sequence[np.ndarray], wall: Sequence[np.ndarray], dispatches: int) -> str | None:
    """GPU time above wall time, or far below it in a long batch: one of the clocks, or the driver, is not to be trusted."""
    ratio = float(np.median(np.concatenate(gpu) / np.concatenate(wall)))
    batch = float(np.median(np.concatenate(wall))) * dispatches
    if batch < _LONG_BATCH_S:
        return None
    if ratio > _GPU_CLOCK_TOLERANCE:
        return f"GPU time is {ratio:.2f} times the wall time of the same submits"
    if ratio < 0.5:
        return f"GPU time is only {ratio:.2f} of the wall time of the same submits"
    return None


def narrow(judged: Judged) -> bool:
    """Whether the interval's half-width is within one percent of the median."""
    low, high = judged.ci95_s
    return high - low <= 2 * STEADY * judged.median_s
