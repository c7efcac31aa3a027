"""Shared code of the ladder's feature checks: running a kernel, and describing a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Input = NDArray[Any]
Outcome = tuple["str | None", dict[str, Any]]
"""What is wrong, as a sentence (None: nothing), and facts that devices may differ in."""


class Run(Protocol):
    """Dispatch a kernel once; the output's bytes, all ones where nothing was written."""

    def __call__(self, inputs: Mapping[int, Input], output_bytes: int, push: tuple[int, int, int], groups: int = 1) -> Input:
        """`inputs` by binding, `push` the three push constants, `groups` workgroups along x."""
        ...


Check = Callable[[Run, Mapping[str, Any]], Outcome]


def differing(actual: Input, wanted: Input, axes: str) -> str | None:
    """How `actual` differs from `wanted` (NaN equals NaN), the first place named along `axes`, a letter each; None where it doesn't.

    >>> differing(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 5.0]]), "mn")
    '1 of 4 elements differ, the first at m=1 n=1: 4 instead of 5'
    """
    different = ~((actual == wanted) | (np.isnan(actual) & np.isnan(wanted)))
    if not different.any():
        return None
    at = tuple(int(i[0]) for i in np.nonzero(different))
    place = " ".join(f"{axis}={i}" for axis, i in zip(axes, at, strict=True))
    count = int(np.count_nonzero(different))
    return (
        f"{count} of {actual.size} elements differ, the first at {place}: {_number_text(actual[at])} instead of {_number_text(wanted[at])}"
    )


def _number_text(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else f"{value:.9g}"


def merge(facts: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add what one kernel showed; where two kernels differ, both values are kept.

    >>> facts = {"rounding": "to nearest even"}
    >>> merge(facts, {"rounding": "toward zero", "overflow": "infinity"})
    >>> facts
    {'rounding': 'to nearest even or toward zero', 'overflow': 'infinity'}
    """
    for name, value in more.items():
        before = facts.get(name, value)
        facts[name] = value if before == value else f"{before} or {value}"
