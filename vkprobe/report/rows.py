"""In which order rows come, and what their labels and cells share out between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from vkprobe.records import ResultRecord
from vkprobe.report.model import Cell

TYPES = ("f32", "f16", "bf16", "q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4")
PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")

CEILINGS = ("copy", "peak")
"""Ops that measure the device, for others to be held against."""


def rank(order: Iterable[str], value: str) -> tuple[int, str]:
    """Sorts as `order` has it; what is not there comes last, by name."""
    known = list(order)
    return (known.index(value) if value in known else len(known), value)


def multiplied(peak: ResultRecord) -> str:
    """The types of a peak's A and B, as `s8,u8`; one where they are the same. Its kernel's name has both."""
    if peak.path not in ("coopmat", "coopmat2"):
        return peak.type
    return ",".join(dict.fromkeys(peak.kernel.split("_")[2:4]))


def variants(cells: Sequence[Cell], names: Sequence[str | None]) -> tuple[str, list[Cell]]:
    """What all cells have in common of `names`, for the row's label; where they differ nothing, and each cell tells its own."""
    if len(set(filter(None, names))) < 2:
        return next(filter(None, names), ""), list(cells)
    return "", [msgspec.structs.replace(cell, variant=name) for cell, name in zip(cells, names, strict=True)]
