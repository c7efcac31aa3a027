"""The identity of a cell: which op, on which axes, in which variant. Everything else about a measurement is an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

Residency = str
"""`cold` (weights rotate over more memory than caches hold) or `hot` (one buffer, which may sit in a cache)."""

MATRIX_PATHS = frozenset({"coopmat", "coopmat2"})
"""Paths that multiply with cooperative matrices."""


class Variant(Struct, frozen=True, kw_only=True):
    """The form of an op that a cell measures; a field that the op doesn't have is None.

    Attributes:
        path: llama.cpp's way to multiply: scalar-f32, scalar-f16, dot2, intdot, coopmat, coopmat2.
        type: the weights' type, or the type that a conversion writes; of a peak the operands' types (`s8`, or `s8,u8` for A and B).
        accumulator: f16, f32 or s32.
        tuple: a cooperative-matrix shape, as `16x16x16`.
        residency: `cold` or `hot`.
        tier: `mimic` or `tuned`.
        mode: which of an op's ways to work, where it has several: of a copy, who copies and between which memories.
    """

    path: str | None = None
    type: str | None = None
    accumulator: str | None = None
    tuple: str | None = None
    residency: Residency | None = None
    tier: str | None = None
    mode: str | None = None


VARIANT_FIELDS: tuple[str, ...] = Variant.__struct_fields__


class Cell(Struct, frozen=True, kw_only=True):
    """One op on one set of axes in one variant.

    Attributes:
        op: as `vkprobe.ops` names it.
        axes: (name, value) in the op's order, as `m`, `n`, `k` of a matrix product.
    """

    op: str
    axes: tuple[tuple[str, int], ...]
    variant: Variant = Variant()

    def axis(self, name: str) -> int:
        """The value of an axis; raises KeyError where the op has no such axis."""
        return dict(self.axes)[name]


def cell(op: str, axes: Mapping[str, int], **variant: Any) -> Cell:
    """A cell from keywords.

    >>> cell("softmax", {"m": 64, "k": 32}, type="f32").axis("k")
    32
    """
    return Cell(op=op, axes=tuple(axes.items()), variant=Variant(**variant))
