"""Why times are not steady, told once for the cells that share a cause."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vkprobe.records import Time

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNKNOWN = "the rounds do not agree"

SOFTWARE_NOTE = "runs on the CPU: times are not judged; they mean nothing absolute, only results and the ratios between its own cells do"


def because(time: Time) -> str | None:
    """Why a time is not steady; None where it is."""
    return None if time.steady else time.unsteady_because or _UNKNOWN


def causes(told: Iterable[str]) -> str:
    """The causes, the most frequent first; those that differ only in numbers as one, with the range.

    >>> causes(["the rounds differ by 1.2%", "only 2 rounds", "the rounds differ by 11.5%"])
    'the rounds differ by 1.2 to 11.5% (2 cells); only 2 rounds (1 cell)'
    """
    grouped: dict[str, list[list[str]]] = {}
    for cause in told:
        grouped.setdefault(_NUMBER.sub("\0", cause), []).append(_NUMBER.findall(cause))
    words = []
    for template, found in sorted(grouped.items(), key=lambda item: -len(item[1])):
        ranges = [_range(numbers) for numbers in zip(*found, strict=True)]
        text = "".join(part + number for part, number in zip(template.split("\0"), [*ranges, ""], strict=True))
        words.append(text + (f" ({len(found)} cell{'s' * (len(found) != 1)})" if len(grouped) > 1 else ""))
    return "; ".join(words)


def _range(numbers: Iterable[str]) -> str:
    known = sorted(set(numbers), key=float)
    return known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}"
