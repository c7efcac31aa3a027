"""Matrix times matrix: D[n, m] = sum over k of A[m, k] * B[n, k], A weights, B activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vkprobe.cell import Cell
from vkprobe.ops.base import Axis, Request, Scope, software, three_numbers
from vkprobe.ops.products import K, M, Product, run_types
from vkprobe.records import DeviceRecord

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan, Target


class Gemm(Product):
    """Prompt processing's product."""

    name = "gemm"
    title = "Matrix times matrix, as llama.cpp's prompt processing does it."
    axes = (Axis(name="m", meaning="weight rows"), Axis(name="n", meaning="tokens"), Axis(name="k", meaning="reduction"))
    variant = ("path", "type", "accumulator", "tuple", "residency", "tier")
    note = "rate of 2·M·N·K FLOP per op"
    part = "prompt"
    batch = "n"
    measure = "flops_per_s"

    def axes_of(self, text: str) -> dict[str, int]:
        """M,N,K."""
        m, n, k = three_numbers(text)
        return {"m": m, "n": n, "k": k}

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """test-backend-ops' shape, a small one on software devices; `compile-full` takes a shape for each tile size."""
        compiled = scope in ("compile", "compile-full")
        if software(device) and not compiled:
            shapes: list[tuple[int, int, int]] = [(256, 32, 256)]
        else:
            shapes = [(M, n, K) for n in ((32, 64, 512) if scope == "compile-full" else (512,))]
        request = Request(
            axes=[{"m": m, "n": n, "k": k} for m, n, k in shapes],
            types=run_types(device, scope, types),
            paths=paths,
            accumulators=("default",) if software(device) and scope == "run" else (),
            tuples=("all",) if scope in ("full", "compile-full") else ("default",),
        )
        return self.cells(request, device)

    def tile_registers(self, plan: Plan, subgroup_size: int | None) -> int | None:
        """Accumulators, and the operands of one step along K."""
        from vkprobe.ops.gemm.registers import tile_registers

        return tile_registers(plan, subgroup_size)

    def also_compiled(self, plan: Plan, target: Target) -> list[Plan]:
        """The sum of a split K."""
        from vkprobe.ops.gemm.plan import also_compiled

        return also_compiled(plan, target)


OP = Gemm()
