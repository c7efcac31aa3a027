"""Judging samples: what has settled, what is steady, and the interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkprobe.records import Unsteady
from vkprobe.session.statistics import Judged, judge


def rounds(*medians: float, spread: float = 0.001, samples: int = 9) -> list[list[float]]:
    """Rounds of samples around these medians (s), their relative spread given."""
    rng = np.random.default_rng(5)
    return [[m * (1 + spread * float(x)) for x in (*rng.uniform(-1, 1, samples - 1), 0.0)] for m in medians]


def judged(gpu: list[list[float]], wall_over_gpu: float = 1.05, dispatches: int = 1000, clock: str = "gpu") -> Judged:
    """Judge rounds whose wall time is a multiple of their GPU time."""
    return judge(gpu, [[s * wall_over_gpu for s in r] for r in gpu], dispatches, clock)


def test_equal_rounds_are_steady_from_the_first_on() -> None:
    """The median is theirs."""
    verdict = judged(rounds(1e-4, 1e-4, 1e-4))
    assert (verdict.first_settled, verdict.steady, verdict.because) == (0, True, None)
    assert verdict.median_s == pytest.approx(1e-4, rel=1e-3)


def test_a_climb_in_plateaus_is_left_behind() -> None:
    """Rates climb for rounds on some GPUs: only the last plateau counts."""
    verdict = judged(rounds(2e-4, 1.5e-4, 1.2e-4, 1e-4, 1e-4, 1e-4))
    assert (verdict.first_settled, verdict.steady) == (3, True)
    assert verdict.median_s == pytest.approx(1e-4, rel=1e-3)
    assert verdict.ci95_s[1] < 1.01e-4


def test_a_climb_that_goes_on_is_not_steady() -> None:
    """The last two rounds differ; the interval spans them."""
    verdict = judged(rounds(2e-4, 1.6e-4, 1.3e-4, 1.1e-4))
    assert not verdict.steady
    assert verdict.because == "the rounds differ by 18.1%"
    assert verdict.first_settled == 2
    assert verdict.ci95_s[0] < 1.11e-4
    assert verdict.ci95_s[1] > 1.29e-4


def test_two_settled_rounds_are_not_enough() -> None:
    """Two medians agree by chance too often."""
    verdict = judged(rounds(2e-4, 1e-4, 1e-4))
    assert (verdict.steady, verdict.because) == (False, "only 2 of 3 rounds had settled")
    assert verdict.unsteady == Unsteady(cause="unsettled", numbers=(2, 3))
    assert judged(rounds(1e-4, 1e-4)).because == "only 2 rounds were measured"


def test_a_later_round_that_is_slower_is_no_climb() -> None:
    """A clock that falls, or another mode: nothing is left out."""
    verdict = judged(rounds(1e-4, 1e-4, 1e-4, 1.05e-4))
    assert (verdict.first_settled, verdict.steady) == (0, False)


def _campaign(deviation: float, rng: np.random.Generator) -> Judged:
    """Rounds around 1 s with this deviation between them, 0.3 % within, until steady: three to five, as cells are measured."""
    samples: list[list[float]] = []
    while True:
        center = 1 + deviation * rng.standard_normal()
        samples.append([float(center * (1 + 0.003 * x)) for x in rng.standard_normal(12)])
        if len(samples) >= 3:
            verdict = judge(samples, samples, 10, "wall")
            if verdict.steady or len(samples) == 5:
                return verdict


def test_steadiness_is_no_luck() -> None:
    """Who stops at the first agreement must not find it in noise of 3 %, and does in noise of 0.1 %."""
    rng = np.random.default_rng(11)
    assert np.mean([_campaign(0.03, rng).steady for _ in range(100)]) < 0.06
    assert np.mean([_campaign(0.001, rng).steady for _ in range(100)]) > 0.97


@pytest.mark.parametrize("deviation", [0.0, 0.003, 0.01, 0.03])
def test_the_interval_covers_the_truth(deviation: float) -> None:
    """It does in at least nine of ten campaigns, whatever the noise between rounds."""
    rng = np.random.default_rng(12)
    verdicts = [_campaign(deviation, rng) for _ in range(150)]
    assert np.mean([t.ci95_s[0] <= 1 <= t.ci95_s[1] for t in verdicts]) >= 0.9


def test_alternating_rounds_are_not_steady() -> None:
    """Two modes between rounds: the interval holds both."""
    verdict = judged(rounds(1e-4, 1.3e-4, 1e-4, 1.3e-4))
    assert not verdict.steady
    assert verdict.ci95_s[0] <= 1.01e-4
    assert verdict.ci95_s[1] >= 1.29e-4


def test_two_modes_within_rounds_are_not_steady() -> None:
    """Medians of rounds may agree by chance; the interval shows the difference."""
    mixed = [[1e-4] * 5 + [1.3e-4] * 4, [1e-4] * 4 + [1.3e-4] * 5, [1e-4] * 4 + [1.3e-4] * 5]
    verdict = judged(mixed)
    assert not verdict.steady
    assert judged([[1.0] * 7 + [1.2] * 5] * 3).because == "the samples scatter: the interval is +-10.0%"


def test_one_round_is_never_steady() -> None:
    """Nothing to compare it with."""
    verdict = judged(rounds(1e-4))
    assert (verdict.steady, verdict.because, verdict.first_settled) == (False, "only one round was measured", 0)


def test_clocks_that_disagree_are_reported() -> None:
    """GPU time above the wall time of its own submit is impossible, far below it in a long batch is doubtful."""
    long = rounds(1e-4, 1e-4, 1e-4)
    assert judged(long, 0.5).because == "GPU time is 2.00 times the wall time of the same submits"
    assert judged(long, 4.0).because == "GPU time is only 0.25 of the wall time of the same submits"
    assert judged(long, 1.0).steady
    assert judged(long, 1.9).steady


def test_clocks_are_compared_in_long_batches_only() -> None:
    """Submitting weighs too much in short ones; and the wall clock is not compared with itself."""
    short = rounds(1e-6, 1e-6, 1e-6)
    assert judged(short, 4.0, dispatches=10).steady
    assert judged(rounds(1e-4, 1e-4, 1e-4), 4.0, clock="wall").steady


def test_clocks_are_compared_over_the_settled_rounds() -> None:
    """A driver that was slow to submit in its first round is forgiven."""
    gpu = rounds(3e-4, 1e-4, 1e-4, 1e-4)
    wall = [[s * 9 for s in gpu[0]], *([s * 1.1 for s in r] for r in gpu[1:])]
    assert judge(gpu, wall, 1000, "gpu").steady


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.floats(1e-7, 1.0), min_size=2, max_size=12), min_size=1, max_size=8))
def test_the_interval_holds_the_median(samples: list[list[float]]) -> None:
    """This holds whatever the rounds are; the settled ones are the last ones."""
    verdict = judged(samples)
    assert verdict.ci95_s[0] <= verdict.median_s <= verdict.ci95_s[1]
    assert 0 <= verdict.first_settled < len(samples)
    assert verdict.steady == (verdict.because is None)
    flat = [s for r in samples[verdict.first_settled :] for s in r]
    assert verdict.median_s == pytest.approx(float(np.median(flat)))


def test_judging_is_repeatable() -> None:
    """The bootstrap's generator is seeded: the same samples give the same interval."""
    data = rounds(1e-4, 1.003e-4, 1e-4, spread=0.02)
    assert judged(data) == judged(data)
