"""Quantised blocks to f16: f16[m, k] from blocks of a type."""

from __future__ import annotations

from collections.abc import Sequence

from vkprobe.cell import Cell, cell
from vkprobe.errors import UsageError
from vkprobe.ops.base import Axis, Op, Request, Scope, software, three_numbers
from vkprobe.ops.products import K, M, run_types
from vkprobe.records import DeviceRecord
from vkprobe.weights import WEIGHT_TYPES

PATH = "scalar-f32"
DECODED_TOGETHER = 8
"""Elements that an invocation decodes."""


def types() -> tuple[str, ...]:
    """The types that llama.cpp dequantises by a kernel of its own."""
    return tuple(name for name, row in WEIGHT_TYPES.items() if row.dequant)


class Dequant(Op):
    """Decoding a weight matrix."""

    name = "dequant"
    title = "Quantised blocks to f16."
    axes = (Axis(name="m", meaning="weight rows"), Axis(name="k", meaning="elements of a row"))
    variant = ("path", "type", "residency", "tier")
    note = "bytes read and written per second, and time per op"
    part = "matrices"

    def axes_of(self, text: str) -> dict[str, int]:
        """M,1,K."""
        m, n, k = three_numbers(text)
        if n != 1:
            raise UsageError(f"--shape {text}: dequant has N = 1; M,1,K is M*K elements")
        return {"m": m, "k": k}

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """A cell per shape and type."""
        wanted = [*((axes, (kind,)) for axes, kind in request.typed), *((axes, request.types or types()) for axes in request.axes)]
        chosen = [
            cell(self.name, axes, path=PATH, type=kind, residency=request.residency, tier=tier)
            for axes, kinds in wanted
            for kind in kinds
            if WEIGHT_TYPES[kind].dequant and (not request.paths or PATH in request.paths)
            for tier in request.tiers
        ]
        return list(dict.fromkeys(chosen))

    def block(self, weight_type: str) -> int:
        """Whole blocks, and whole invocations."""
        return max(WEIGHT_TYPES[weight_type].elements, DECODED_TOGETHER)

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """One matrix."""
        small = software(device) and scope not in ("compile", "compile-full")
        axes = {"m": 512, "k": 512} if small else {"m": M, "k": K}
        return self.cells(Request(axes=[axes], types=run_types(device, scope, types), paths=paths), device)

    def size(self, cell: Cell) -> str:
        """M x 1 x K."""
        return f"{cell.axis('m')}x1x{cell.axis('k')}"

    def how(self, cell: Cell) -> tuple[str, ...]:
        """Nothing: there is one path, and nothing is accumulated."""
        return ()


OP = Dequant()
