"""Registers that a GEMV's rows take of an invocation at the least."""

from __future__ import annotations

from vkprobe.ops.plan import Plan
from vkprobe.ops.registers import least_operands
from vkprobe.weights import WEIGHT_TYPES


def tile_registers(plan: Plan, subgroup_size: int | None) -> int | None:
    """Registers that a step takes: a chunk of elements in f32, or with q8_1 activations one dot product of four."""
    if plan.program.first is None:
        return None
    c, v = plan.program.first.constants, plan.cell.variant
    rows, columns, row = c["rows"], c["columns"], WEIGHT_TYPES[v.type or ""]
    if v.path == "intdot":
        return rows * columns + least_operands(rows, columns, 1 + row.scales, 2)
    return rows * columns + least_operands(rows, columns, row.gemv_chunk + row.scales, row.gemv_chunk)
