"""Why times aren't steady, in one sentence for the cells that share a cause."""

from __future__ import annotations

from collections.abc import Iterable

from vkprobe.records import Time
from vkprobe.results.causes import WORDS, sentence
from vkprobe.results.tidy import UNKNOWN_CAUSE

SOFTWARE_NOTE = "runs on the CPU: times are not judged; they mean nothing absolute, only results and the ratios between its own cells do"
WALL_CLOCK_NOTE = "is timed by the host's wall clock, as it has no usable timestamps: each time includes what submitting takes"


def because(time: Time) -> str | None:
    """Why a time is not steady; None where it is."""
    return None if time.steady else time.unsteady_because or UNKNOWN_CAUSE


def causes(times: Iterable[Time]) -> str:
    """The causes of unsteady times, the most frequent first; one sentence per cause, with the range of its numbers."""
    grouped: dict[tuple[str, bool], list[tuple[float, ...]]] = {}
    for time in times:
        worded = time.unsteady is not None and time.unsteady.cause in WORDS
        name = time.unsteady.cause if time.unsteady is not None and worded else time.unsteady_because or UNKNOWN_CAUSE
        grouped.setdefault((name, worded), []).append(time.unsteady.numbers if time.unsteady is not None else ())
    words = []
    for (name, worded), numbers in sorted(grouped.items(), key=lambda item: -len(item[1])):
        text = sentence(name, numbers) if worded else name
        words.append(text + (f" ({len(numbers)} cell{'s' * (len(numbers) != 1)})" if len(grouped) > 1 else ""))
    return "; ".join(words)
