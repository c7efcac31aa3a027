"""Why times aren't steady, in one sentence for the cells that share a cause."""

from __future__ import annotations

from collections.abc import Iterable

from vkprobe.records import Time, Unsteady
from vkprobe.results.tidy import UNKNOWN_CAUSE

SOFTWARE_NOTE = "runs on the CPU: times are not judged; they mean nothing absolute, only results and the ratios between its own cells do"
WALL_CLOCK_NOTE = "is timed by the host's wall clock, as it has no usable timestamps: each time includes what submitting takes"

_WORDS = {
    "rounds-differ": ("the rounds differ by {}%", ".1%"),
    "scatter": ("the samples scatter: the interval is +-{}%", ".1%"),
    "one-round": ("only one round was measured", ""),
    "few-rounds": ("only {} rounds were measured", ".0f"),
    "unsettled": ("only {} of {} rounds had settled", ".0f"),
    "gpu-clock-high": ("GPU time is {} times the wall time of the same submits", ".2f"),
    "gpu-clock-low": ("GPU time is only {} of the wall time of the same submits", ".2f"),
}
"""Cause -> its sentence with a place for each number, and how the numbers are written."""


def because(time: Time) -> str | None:
    """Why a time is not steady; None where it is."""
    return None if time.steady else time.unsteady_because or UNKNOWN_CAUSE


def in_words(unsteady: Unsteady) -> str:
    """The sentence of one cause.

    >>> in_words(Unsteady(cause="rounds-differ", numbers=(0.041,)))
    'the rounds differ by 4.1%'
    """
    return _sentence(unsteady.cause, [unsteady.numbers])


def causes(times: Iterable[Time]) -> str:
    """The causes of unsteady times, the most frequent first; one sentence per cause, with the range of its numbers."""
    grouped: dict[tuple[str, bool], list[tuple[float, ...]]] = {}
    for time in times:
        worded = time.unsteady is not None and time.unsteady.cause in _WORDS
        name = time.unsteady.cause if time.unsteady is not None and worded else time.unsteady_because or UNKNOWN_CAUSE
        grouped.setdefault((name, worded), []).append(time.unsteady.numbers if time.unsteady is not None else ())
    words = []
    for (name, worded), numbers in sorted(grouped.items(), key=lambda item: -len(item[1])):
        text = _sentence(name, numbers) if worded else name
        words.append(text + (f" ({len(numbers)} cell{'s' * (len(numbers) != 1)})" if len(grouped) > 1 else ""))
    return "; ".join(words)


def _sentence(cause: str, numbers: Iterable[tuple[float, ...]]) -> str:
    template, form = _WORDS[cause]
    return template.format(*(_range(values, form) for values in zip(*numbers, strict=True)))


def _range(values: Iterable[float], form: str) -> str:
    ordered = sorted(values)
    texts = [format(value, form).removesuffix("%") for value in (ordered[0], ordered[-1])]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"
