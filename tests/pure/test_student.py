"""Student's t against published tables, and what a table's variances have in common."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkprobe.compare.student import moderated, prior, quantile, two_sided


@pytest.mark.parametrize(
    ("df", "p", "t"),
    [
        (1, 0.5, 1.000), (1, 0.05, 12.706), (1, 0.01, 63.657), (2, 0.05, 4.303), (2, 0.001, 31.599), (4, 0.1, 2.132),
        (4, 0.05, 2.776), (4, 0.01, 4.604), (5, 0.02, 3.365), (10, 0.05, 2.228), (10, 0.001, 4.587), (30, 0.01, 2.750),
        (120, 0.05, 1.980), (math.inf, 0.05, 1.960), (math.inf, 0.01, 2.576), (math.inf, 0.001, 3.291),
    ],
)  # fmt: skip
def test_quantiles_of_the_published_table(df: float, p: float, t: float) -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, to its three decimals; p of both tails."""
    assert quantile(p, df) == pytest.approx(t, abs=6e-4)


@given(st.floats(1e-9, 0.999), st.floats(0.5, 1e5))
def test_the_quantile_inverts_the_probability(p: float, df: float) -> None:
    """This holds for fractional degrees of freedom too."""
    assert two_sided(quantile(p, df), df) == pytest.approx(p, rel=1e-6)


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 5.0, 300.0])
def test_closed_forms(t: float) -> None:
    """One degree of freedom is Cauchy's distribution; two have an algebraic form; infinitely many are normal."""
    assert two_sided(t, 1) == pytest.approx(1 - 2 / math.pi * math.atan(t), abs=1e-12)
    assert two_sided(-t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-12)
    assert two_sided(t, math.inf) == pytest.approx(math.erfc(t / math.sqrt(2)))


def drawn(df: float, s2: float, own: int, count: int, seed: int) -> list[tuple[float, float]]:
    """Variances of `own` degrees of freedom around true ones from a scaled inverse chi-squared distribution."""
    rng = random.Random(seed)
    variances = []
    for _ in range(count):
        true = s2 if math.isinf(df) else s2 * df / rng.gammavariate(df / 2, 2)
        variances.append((true * rng.gammavariate(own / 2, 2) / own, float(own)))
    return variances


@pytest.mark.parametrize("df", [6.0, 20.0])
def test_the_common_variance_is_found(df: float) -> None:
    """4000 cells with 4 degrees of freedom each give its scale and how closely cells keep to it."""
    common = prior(drawn(df, 1e-4, 4, 4000, 1))
    assert common.s2 == pytest.approx(1e-4, rel=0.15)
    assert df / 2 < common.df < 2 * df


def test_alike_cells_share_one_variance() -> None:
    """If they differ by no more than chance, there are many degrees of freedom."""
    common = prior(drawn(math.inf, 1e-4, 4, 400, 2))
    assert common.df > 30
    assert common.s2 == pytest.approx(1e-4, rel=0.15)


def test_an_outlying_cell_stands_on_its_own() -> None:
    """A few cells a hundred times as noisy change neither the rest's variance nor are they made quieter by it."""
    plain = drawn(math.inf, 1e-4, 4, 200, 3)
    common = prior([*plain, *((1e-2, 4.0),) * 5])
    assert common.s2 == pytest.approx(prior(plain).s2, rel=0.1)
    assert moderated(1e-2, 4.0, common) == (1e-2, 4.0)


def test_few_cells_have_nothing_in_common() -> None:
    """Seven variances are taken as they are."""
    common = prior(drawn(math.inf, 1e-4, 4, 7, 4))
    assert moderated(2e-4, 4.0, common) == (2e-4, 4.0)
    assert moderated(1e-4, 4.0, prior(drawn(6.0, 1e-4, 4, 200, 5)))[1] > 4
