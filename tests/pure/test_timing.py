"""The pieces of judging times: which rounds count, what processes add, Benjamini and Hochberg."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkprobe.compare.timing import Side, adjusted, geometric_mean, judge, paired, pooled, side, unpaired


def rounds(*medians: float) -> list[list[float]]:
    """Rounds of three samples around each median."""
    return [[0.999 * m, m, 1.001 * m] for m in medians]


def test_a_first_climb_is_left_out() -> None:
    """The unit is a round: its median, as a logarithm."""
    assert side(rounds(1.5, 1.0, 1.0)).logs == (0.0, 0.0)


def test_processes_that_agree_lend_all_their_rounds() -> None:
    """If processes differ by far more than their rounds, each process is one unit."""
    alike = [Side((0.0, 0.001, -0.001), 1e-6), Side((0.0005, -0.0005, 0.0), 1e-6)]
    assert len(pooled(alike).logs) == 6
    apart = [Side((0.0, 0.001, -0.001), 1e-6), Side((0.06, 0.061, 0.059), 1e-6)]
    assert pooled(apart).logs == pytest.approx((0.0, 0.06))
    assert pooled(alike[:1]) == alike[0]


def test_one_round_each_is_never_judged() -> None:
    """The medians may be as far apart as they like."""
    (said,) = judge([unpaired(Side((0.0,), 1e-6), Side((1.0,), 1e-6))])
    assert (said.verdict, said.has_interval, said.p) == ("unclear", False, 1.0)


def test_a_difference_below_the_margin_is_no_verdict() -> None:
    """Half a percent, sure as it may be, is the same."""
    blocks = [(rounds(1.0, 1.0), rounds(1.005, 1.005))] * 12
    (said,) = judge([paired(blocks)])
    assert said.verdict == "same"
    assert said.p < 0.01


def test_an_even_drift_cancels_in_a_block() -> None:
    """A B B A: the mean place of A's rounds is that of B's."""
    drift = [math.exp(0.02 * i) for i in range(4)]
    assert paired([(rounds(drift[0], drift[3]), rounds(drift[1], drift[2]))]).log_ratio == pytest.approx(0, abs=1e-12)


def test_p_is_adjusted_for_the_table() -> None:
    """Benjamini and Hochberg's own example, 1995, section 3.2: at 5 % the first four of fifteen are found."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(q <= 0.05 for q in adjusted(p)) == 4


@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusting_keeps_the_order_and_never_lowers(p: list[float]) -> None:
    """The results are still probabilities."""
    q = adjusted(p)
    assert all(a * (1 - 1e-12) <= b <= 1 for a, b in zip(p, q, strict=True))
    order = sorted(range(len(p)), key=p.__getitem__)
    assert all(q[a] <= q[b] for a, b in pairwise(order))


def test_the_geometric_mean_treats_both_directions_alike() -> None:
    """Twice and half the time are, together, no change."""
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1)
