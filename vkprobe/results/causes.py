"""Causes of unsteady times, as data and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vkprobe.records import Unsteady

WORDS = {
    "rounds-differ": ("the rounds differ by {}%", ".1%"),
    "scatter": ("the samples scatter: the interval is +-{}%", ".1%"),
    "one-round": ("only one round was measured", ""),
    "few-rounds": ("only {} rounds were measured", ".0f"),
    "unsettled": ("only {} of {} rounds had settled", ".0f"),
    "gpu-clock-high": ("GPU time is {} times the wall time of the same submits", ".2f"),
    "gpu-clock-low": ("GPU time is only {} of the wall time of the same submits", ".2f"),
}
"""Cause -> its sentence with a place for each number, and how the numbers are written."""


def in_words(unsteady: Unsteady) -> str:
    """The sentence of one cause.

    >>> in_words(Unsteady(cause="rounds-differ", numbers=(0.041,)))
    'the rounds differ by 4.1%'
    """
    return sentence(unsteady.cause, [unsteady.numbers])


def sentence(cause: str, numbers: Iterable[Sequence[float]]) -> str:
    """The sentence of a cause that several cells share, with the range of each of its numbers."""
    template, form = WORDS[cause]
    return template.format(*(_range(values, form) for values in zip(*numbers, strict=True)))


def _range(values: Iterable[float], form: str) -> str:
    ordered = sorted(values)
    texts = [format(value, form).removesuffix("%") for value in (ordered[0], ordered[-1])]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"
