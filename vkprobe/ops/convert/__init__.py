"""Activations from f32 to the form that a path reads: n rows of k to f16, bf16 or q8_1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vkprobe.cell import Cell, cell
from vkprobe.errors import UsageError
from vkprobe.ops.base import Axis, Op, Request, Scope, software, three_numbers
from vkprobe.ops.products import K
from vkprobe.records import DeviceRecord
from vkprobe.weights import Q8_1_ELEMENTS

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan, Target

PATH = "scalar-f32"
FORMS = ("f16", "bf16", "q8_1")
"""Forms that activations are converted to."""


class Convert(Op):
    """Converting activations."""

    name = "convert"
    title = "Activations from f32 to what products of bf16 weights, coopmat2 and intdot read."
    axes = (Axis(name="n", meaning="tokens"), Axis(name="k", meaning="elements of a token"))
    variant = ("path", "type", "residency", "tier")
    note = "bytes read and written per second, and time per op"
    batch = "n"

    def axes_of(self, text: str) -> dict[str, int]:
        """1,N,K."""
        m, n, k = three_numbers(text)
        if m != 1:
            raise UsageError(f"--shape {text}: convert has M = 1; 1,N,K is N rows of K activations")
        return {"n": n, "k": k}

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """A cell per shape and form."""
        chosen = [
            cell(self.name, axes, path=PATH, type=form, residency=request.residency, tier=tier)
            for axes in request.axes
            for form in request.types or FORMS
            if form in FORMS and (not request.paths or PATH in request.paths)
            for tier in request.tiers
        ]
        return list(dict.fromkeys(chosen))

    def block(self, weight_type: str) -> int:
        """The elements of a q8_1 block; other forms have none."""
        return Q8_1_ELEMENTS if weight_type == "q8_1" else 1

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """512 tokens; the verb takes 1 and 8 too."""
        if scope in ("compile", "compile-full") and types:
            return []  # types of weights
        tokens = (1, 8, 512) if scope == "verb" else (512,)
        k = 512 if software(device) and scope not in ("compile", "compile-full") else K
        return self.cells(Request(axes=[{"n": n, "k": k} for n in tokens], paths=paths), device)

    def brief(self, cell: Cell) -> bool:
        """Every form."""
        return True

    def size(self, cell: Cell) -> str:
        """1 x N x K."""
        return f"1x{cell.axis('n')}x{cell.axis('k')}"

    def how(self, cell: Cell) -> tuple[str, ...]:
        """The path: nothing is accumulated."""
        return (PATH,)

    def also_compiled(self, plan: Plan, target: Target) -> list[Plan]:
        """The kernel that reduces through shared memory, for devices without subgroup arithmetic."""
        from vkprobe.ops.convert.plan import also_compiled

        return also_compiled(plan, target)


OP = Convert()
