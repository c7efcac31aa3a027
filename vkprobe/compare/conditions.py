"""--fail-on: the conditions under which a comparison fails."""

from __future__ import annotations

import math
import re

from msgspec import Struct

from vkprobe.compare.model import Compared, Comparison
from vkprobe.errors import UsageError

CONDITIONS: dict[str, str] = {
    "slower": "a time got longer, by more than P %",
    "worse": "a pipeline has more spills, P % more instructions, or no matrix instructions any more",
    "changed": "any statistic differs",
    "wrong": "a result of NEW is wrong",
    "crash": "something of NEW ended in crash, timeout, device-lost or error",
    "missing": "NEW lacks a cell or device of OLD, or can't run what OLD could",
    "unexpected": "a failure that --fails lists is gone: its line is to be removed",
}
_WITH_SHARE = frozenset({"slower", "worse"})
DEFAULT_SHARE = 0.05
_NAMED = 3
_VERDICTS = {
    "slower": ("slower",),
    "worse": ("worse",),
    "changed": ("worse", "mixed", "changed", "better"),
    "wrong": ("wrong",),
    "crash": ("crash",),
    "missing": ("missing",),
}


class Condition(Struct, frozen=True):
    """One word of --fail-on; `share` is its threshold."""

    name: str
    share: float = DEFAULT_SHARE

    def __str__(self) -> str:
        return f"{self.name}:{100 * self.share:g}%" if self.name in _WITH_SHARE else self.name


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


def failing(comparison: Comparison, condition: Condition) -> list[Compared]:
    """The cells that meet a condition, the worst first; known failures and flakes meet none."""
    return [
        cell
        for cell in comparison.cells
        if cell.expected is None
        and cell.verdict in _VERDICTS.get(condition.name, ())
        and (condition.name != "slower" or (cell.ratio or 0.0) > 1 + condition.share)
    ]


def met(comparison: Comparison, conditions: list[Condition]) -> list[str]:
    """The conditions that are met, each with how often and by what: `slower:5% (2: gemm/... 1.062, gemv/... 1.055)`."""
    texts = []
    for condition in conditions:
        hits = [_named(cell) for cell in failing(comparison, condition)]
        if condition.name == "unexpected":
            hits = [f"{line.where} {line.name}" for line in comparison.improved]
        gone = [one for one in comparison.missing if condition.name == "missing" and not one.in_fails]
        hits += [f"all of {one.device}" for one in gone]
        count = len(hits) + sum(one.records - 1 for one in gone)
        if count:
            more = f" and {len(hits) - _NAMED} more" if len(hits) > _NAMED else ""
            texts.append(f"{condition} ({count}: {', '.join(hits[:_NAMED])}{more})")
    return texts


def _named(cell: Compared) -> str:
    return cell.name + (f" {cell.ratio:.3f}" if cell.verdict == "slower" and cell.ratio is not None else "")
