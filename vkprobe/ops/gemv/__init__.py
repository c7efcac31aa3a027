"""Matrix times 1 to 8 vectors: D[n, m] = sum over k of A[m, k] * B[n, k]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vkprobe.cell import Cell
from vkprobe.errors import UsageError
from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.ops.base import Axis, Request, Scope, software, three_numbers
from vkprobe.ops.products import K, M, Product, run_types
from vkprobe.records import DeviceRecord

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan, Target

_FEW_ROWS, _MANY_ROWS = 4096, 16384  # llama.cpp's workgroups have several subgroups up to 8192 rows
_RUN_COLUMNS = (1, 2, 4, 8)


class Gemv(Product):
    """Token generation's product."""

    name = "gemv"
    title = "Matrix times 1 to 8 vectors, as llama.cpp's token generation does it."
    axes = (Axis(name="m", meaning="weight rows"), Axis(name="n", meaning="columns, 1 to 8"), Axis(name="k", meaning="reduction"))
    variant = ("path", "type", "accumulator", "residency", "tier")
    note = "weights and activations moved per second, and time per op"
    part = "token"
    batch = "n"

    def axes_of(self, text: str) -> dict[str, int]:
        """M,N,K with N up to 8."""
        m, n, k = three_numbers(text)
        if n > MOST_COLUMNS:
            raise UsageError(f"--shape {text}: gemv has N = 1 to {MOST_COLUMNS}; use gemm for N = {n}")
        return {"m": m, "n": n, "k": k}

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """test-backend-ops' rows, fewer on software devices, for one to eight columns."""
        compiled = scope in ("compile", "compile-full")
        small = software(device) and not compiled
        columns: Sequence[int] = range(1, MOST_COLUMNS + 1)
        if scope in ("run", "compile"):
            columns = (1, 2) if small else _RUN_COLUMNS
        rows = (_FEW_ROWS, _MANY_ROWS) if scope == "compile-full" else (512,) if small else (M,)
        axes = [{"m": m, "n": n, "k": 512 if small else K} for m in rows for n in columns]
        return self.cells(Request(axes=axes, types=run_types(device, scope, types), paths=paths), device)

    def brief(self, cell: Cell) -> bool:
        """One column."""
        return super().brief(cell) and cell.axis("n") == 1

    def tile_registers(self, plan: Plan, subgroup_size: int | None) -> int | None:
        """Accumulators, and the operands of one step along K."""
        from vkprobe.ops.gemv.registers import tile_registers

        return tile_registers(plan, subgroup_size)

    def also_compiled(self, plan: Plan, target: Target) -> list[Plan]:
        """The kernel that reduces through shared memory, for devices without subgroup arithmetic."""
        from vkprobe.ops.gemv.plan import also_compiled

        return also_compiled(plan, target)


OP = Gemv()
