"""The rounds of a cell, which of them had settled, and the blocks of an A/B comparison. Pure and without numpy."""

from __future__ import annotations

from collections.abc import Sequence

STEADY = 0.01
"""Rounds agree where their medians are within this of each other; an interval is narrow where its half-width is."""


Rounds = list[list[float]]
Block = tuple[Rounds, Rounds]
"""A's two rounds and B's of an A/B comparison, each its samples (s)."""
FEWEST_BLOCKS = 2
"""A cell with fewer blocks isn't judged."""


def first_settled(medians: Sequence[float]) -> int:
    """Index of the first round after a first climb: those before it were slower than all later ones, as rates climb at first.

    Only a climb may be left out, never a scatter: who stops when the last two rounds happen to agree finds agreement in any noise.

    >>> first_settled([1.2, 1.0, 1.001, 0.999]), first_settled([1.0, 1.2, 1.0])
    (1, 0)
    """
    first = 0
    while first < len(medians) - 2 and medians[first] > (1 + STEADY) * max(medians[first + 1 :]):
        first += 1
    return first
