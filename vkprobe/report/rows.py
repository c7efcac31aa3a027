"""How rows share a variant between their label and their cells."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vkprobe.report.model import Cell


def variants(cells: Sequence[Cell], names: Sequence[str | None]) -> tuple[str, list[Cell]]:
    """The variant that all cells share, for the row's label; where they differ it is empty and each cell shows its own."""
    if len(set(filter(None, names))) < 2:
        return next(filter(None, names), ""), list(cells)
    return "", [msgspec.structs.replace(cell, variant=name) for cell, name in zip(cells, names, strict=True)]
