"""Registers that a GEMM's tile takes of an invocation at the least."""

from __future__ import annotations

from vkprobe.ops.plan import Plan
from vkprobe.ops.products import REDUCED
from vkprobe.ops.registers import REGISTER_BYTES, least_operands
from vkprobe.weights import WEIGHT_TYPES

_BLOCK_WORDS = 8  # 32 integers of 8 bits
_GRANULE_K = 16  # the least K of the workgroup's matrices: VK_NV_cooperative_matrix2's granularity as llama.cpp asks for it


def tile_registers(plan: Plan, subgroup_size: int | None) -> int | None:
    """Registers of a tile, by path; the driver runs it with `subgroup_size`, over which a matrix is spread (None: the tile's own)."""
    path = plan.cell.variant.path
    if plan.program.first is None or len(plan.program.stages[0].constants) < 6:  # type: ignore[union-attr]
        return None  # the sum of a split K has no tile
    if path == "coopmat2" and plan.kernel.tier != REDUCED:
        return _workgroup_matrices(plan)
    if path in ("coopmat", "coopmat2"):
        return _subgroup_matrices(plan, subgroup_size)
    return _invocation_tile(plan)


def _constants(plan: Plan) -> dict[str, int]:
    assert plan.program.first is not None
    return plan.program.first.constants


def _packed(plan: Plan) -> bool:
    """Whether two accumulators fit a register."""
    return plan.cell.variant.accumulator == "f16"


def _invocation_tile(plan: Plan) -> int:
    """Invocations have TM x TN results in WMITER x WNITER steps."""
    c, v = _constants(plan), plan.cell.variant
    rows = c["wmiter"] * c["tm"]
    columns = c["wm"] * c["wn"] // (c["warp"] * rows)
    if v.path == "intdot":
        row = _BLOCK_WORDS + WEIGHT_TYPES[v.type or ""].scales
        return rows * columns + least_operands(rows, columns, row, _BLOCK_WORDS + 1)
    pair = 2 if v.path == "scalar-f32" else 1  # two neighbouring k
    sums = rows * columns
    return (-(-sums // 2) if _packed(plan) else sums) + least_operands(rows, columns, pair, pair)


def _subgroup_matrices(plan: Plan, subgroup_size: int | None) -> int:
    """Subgroups have WM x WN results in matrices of TM x TN."""
    c = _constants(plan)
    rows, columns = c["wm"] // c["tm"], c["wn"] // c["tn"]
    operand = 1 if plan.cell.variant.accumulator == "s32" else 2
    sums = c["wm"] * c["wn"] * (2 if _packed(plan) else 4)
    operands = least_operands(rows, columns, c["tm"] * c["tk"] * operand, c["tk"] * c["tn"] * operand)
    return -(-(sums + operands) // (REGISTER_BYTES * (subgroup_size or c["warp"])))


def _workgroup_matrices(plan: Plan) -> int:
    """The workgroup has one matrix of BM x BN; its operands may lie in shared memory but for one granule of K."""
    c = _constants(plan)
    sums = c["bm"] * c["bn"] * (2 if _packed(plan) else 4)
    return -(-(sums + (c["bm"] + c["bn"]) * _GRANULE_K * 2) // (REGISTER_BYTES * c["block"]))
