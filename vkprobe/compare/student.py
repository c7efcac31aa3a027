"""Student's t, and what a table of variances says of the next one: the little of scipy that comparing needs. Pure.

scipy would be 40 MB on every user's machine for four functions; the tests hold these against it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from statistics import fmean, variance
from typing import NamedTuple

_TINY = 1e-300
_MOST_TERMS = 500
_MANY = 1e6  # degrees of freedom from which on Student's t is the normal distribution


def two_sided(t: float, df: float) -> float:
    """Probability of a |T| beyond |t| under Student's t with `df` degrees of freedom (any positive real; inf: normal).

    >>> round(two_sided(2.776, 4), 3)
    0.05
    """
    if df > _MANY:
        return math.erfc(abs(t) / math.sqrt(2))
    return _beta(df / (df + t * t), df / 2)


@functools.lru_cache(maxsize=1024)
def quantile(p: float, df: float) -> float:
    """The t with two_sided(t, df) = p, for 0 < p < 1.

    >>> round(quantile(0.05, 4), 3)
    2.776
    """
    low, high = 0.0, 1.0
    while two_sided(high, df) > p:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, df) > p else (low, middle)
    return high


def _beta(x: float, a: float) -> float:
    """The regularised incomplete beta function I_x(a, 1/2), by its continued fraction (DLMF 8.17.22)."""
    b = 0.5
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, evaluated from the front (Lentz's method)."""
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_TERMS):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return value


def _away(x: float) -> float:
    return x if abs(x) > _TINY else _TINY


class Prior(NamedTuple):
    """Prior shared by a table's variances: the variance `s2`, worth `df` degrees of freedom; 0 where they share nothing."""

    df: float
    s2: float


def prior(variances: Sequence[tuple[float, float]]) -> Prior:
    """The scaled inverse chi-squared distribution around which `variances`, each (s2, df), are drawn.

    Each cell has few rounds, but a table has many cells: what they have in common makes up for the few rounds of each.
    Fitted by the moments of log s2; what varies far more than the rest is left out, and stands on its own.
    Source: G. K. Smyth, Linear models and empirical Bayes methods for assessing differential expression, 2004, section 6.2.
    """
    usable = [(s2, df) for s2, df in variances if s2 > 0 and df > 0]
    while True:
        common = _fitted(usable)
        kept = [(s2, df) for s2, df in usable if common.df == 0 or s2 <= _FAR * common.s2]
        if len(kept) == len(usable):
            return common
        usable = kept


def _apart(s2: float, df: float, common: Prior) -> bool:
    """Whether a variance is beyond the 99th percentile of those around the common one: chi-squared, after Wilson and Hilferty, 1931."""
    spread = 2 / (9 * df)
    return common.df > 0 and s2 > common.s2 * (1 - spread + _PERCENTILE * math.sqrt(spread)) ** 3


_PERCENTILE = 2.326  # 99 % of the normal distribution
_FAR = 6.0  # beyond it a variance says nothing of the common one; a closer limit would make cells look more alike than they are


def _fitted(usable: Sequence[tuple[float, float]]) -> Prior:
    if len(usable) < _FEWEST:
        return Prior(0.0, 0.0)
    logs = [math.log(s2) - _digamma(df / 2) + math.log(df / 2) for s2, df in usable]
    excess = variance(logs) - fmean(_trigamma(df / 2) for _, df in usable)
    if excess <= 0:  # they differ by no more than their own few degrees of freedom explain
        return Prior(math.inf, math.exp(fmean(logs)))
    half = _inverse_trigamma(excess)
    return Prior(2 * half, math.exp(fmean(logs) + _digamma(half) - math.log(half)))


_FEWEST = 8
"""Of fewer variances nothing is said in common."""


def moderated(s2: float, df: float, common: Prior) -> tuple[float, float]:
    """(variance, degrees of freedom) of a cell, its own weighed with what the table's have in common."""
    if common.df == 0 or _apart(s2, df, common):
        return s2, df
    if math.isinf(common.df):
        return common.s2, math.inf
    return (common.df * common.s2 + df * s2) / (common.df + df), common.df + df


def _digamma(x: float) -> float:
    """DLMF 5.5.2 up to x >= 6, then 5.11.2."""
    shift = 0.0
    while x < 6:
        shift -= 1 / x
        x += 1
    y = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y / 132))))


def _trigamma(x: float) -> float:
    """DLMF 5.15.5 up to x >= 6, then 5.15.8."""
    shift = 0.0
    while x < 6:
        shift += 1 / (x * x)
        x += 1
    y = 1 / (x * x)
    return shift + 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y / 30)))


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = value > 0, which falls as x grows; by halving the interval of its logarithm."""
    low, high = -40.0, 40.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _trigamma(math.exp(middle)) > value else (low, middle)
    return math.exp((low + high) / 2)
