"""An op of a newer version: its records are shown in plain words; it can't be measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from vkprobe.cell import VARIANT_FIELDS, Cell
from vkprobe.errors import UsageError
from vkprobe.ops.base import Op, Request, Scope
from vkprobe.records import DeviceRecord


class Unknown(Op):
    """An op that this version has no folder for."""

    axes = ()
    variant = VARIANT_FIELDS
    shape_word = "axes"

    def __init__(self, name: str) -> None:
        self.name = self.title = name

    def size(self, cell: Cell) -> str:
        """The axes by name."""
        return " ".join(f"{name}={value}" for name, value in cell.axes)

    def axes_of(self, text: str) -> NoReturn:
        """Raise UsageError: an unknown op takes no shapes."""
        raise UsageError(f"{self.name}: this vkprobe has no such op")

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """None."""
        return []

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """None."""
        return []
