"""--fail-on: what of a comparison makes it fail."""

from __future__ import annotations

import math
import re

from msgspec import Struct

from vkprobe.compare.model import Comparison
from vkprobe.errors import UsageError

CONDITIONS: dict[str, str] = {
    "slower": "a time got longer by more than P % (times are not judged yet)",
    "worse": "a pipeline has more spills, P % more instructions, or no matrix instructions any more",
    "changed": "any statistic differs",
    "wrong": "a result of NEW is wrong",
    "crash": "something of NEW ended in crash, timeout, device-lost or error",
    "missing": "NEW lacks a cell or device of OLD, or can't run what OLD could",
}
_WITH_SHARE = frozenset({"slower", "worse"})
DEFAULT_SHARE = 0.05


class Condition(Struct, frozen=True):
    """One word of --fail-on; `share` is its threshold."""

    name: str
    share: float = DEFAULT_SHARE


def parse(text: str) -> list[Condition]:
    """The conditions of a --fail-on value.

    >>> parse("slower:5%,wrong")
    [Condition(name='slower', share=0.05), Condition(name='wrong', share=0.05)]

    Raises:
        UsageError: an unknown condition, or a threshold that is none.
    """
    conditions = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, colon, value = part.partition(":")
        if name not in CONDITIONS:
            raise UsageError(f"--fail-on {part}: not known; there is {', '.join(CONDITIONS)}, as in --fail-on slower:5%,wrong,missing")
        share = DEFAULT_SHARE
        if colon:
            match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", value.strip())
            if name not in _WITH_SHARE or match is None or not math.isfinite(float(match[1])):
                takes = f"write {name}:5%" if name in _WITH_SHARE else f"{name} takes no threshold"
                raise UsageError(f"--fail-on {part}: {takes}")
            share = float(match[1]) / 100
        conditions.append(Condition(name, share))
    if not conditions:
        raise UsageError(f"--fail-on {text!r}: names no condition; there is {', '.join(CONDITIONS)}")
    return conditions


def met(comparison: Comparison, conditions: list[Condition]) -> list[str]:
    """The conditions that are met, each with how often: `missing (2)`."""
    verdicts = {
        "slower": (),
        "worse": ("worse",),
        "changed": ("worse", "changed", "better"),
        "wrong": ("wrong",),
        "crash": ("crash",),
        "missing": ("missing",),
    }
    found = []
    for condition in conditions:
        count = sum(cell.verdict in verdicts[condition.name] for cell in comparison.cells)
        if condition.name == "missing":
            count += sum(cells for _, cells in comparison.missing)
        if count:
            found.append(f"{condition.name} ({count})")
    return found
