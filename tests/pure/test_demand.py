"""The registers that a tile needs of an invocation, those that a chip has, and the cause of spills."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.pure.planned import Sizes, axes
from tests.pure.recorded_devices import recorded, with_properties
from vkprobe import ops
from vkprobe.cell import cell
from vkprobe.llama.device import Vendor, limits
from vkprobe.llama.int_tiles import gemm_tile
from vkprobe.llama.matrix_tiles import matrix_tile
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, plans
from vkprobe.ops.registers import ROOM, cause, register_budget


def plan(device: str, op: str, path: str, weights: str = "q4_0", accumulator: str = "f32", n: int = 512, tuple_: str | None = None) -> Plan:
    """The plan of a cell on a recorded device."""
    sizes: Sizes = (4096, n, 4096)
    variant = {"path": path, "type": weights, "accumulator": accumulator, "tuple": tuple_, "residency": "cold", "tier": "mimic"}
    own = {name: value for name, value in variant.items() if name in ops.find(op).variant}
    return plans([cell(op, axes(op, sizes), **own)], recorded(device), dispatched=False)[0]


def with_constants(cell_plan: Plan, constants: dict[str, int]) -> Plan:
    """The plan with another tile."""
    assert cell_plan.program.first is not None
    stage = msgspec.structs.replace(cell_plan.program.first, constants=constants)
    return msgspec.structs.replace(cell_plan, program=msgspec.structs.replace(cell_plan.program, stages=(stage,)))


def tile_registers(cell_plan: Plan, subgroup_size: int | None = None) -> int | None:
    """The registers of a plan's tile, by its op."""
    return ops.find(cell_plan.cell.op).tile_registers(cell_plan, subgroup_size)


@pytest.mark.parametrize(
    ("cell_plan", "expected"),
    [
        # 8 x 16 results; a step has two k, in f32 two registers: 8 rows and a column.
        (plan("nvk-172", "gemm", "scalar-f32"), 128 + 2 * 9),
        (plan("nvk-172", "gemm", "scalar-f16"), 128 + 9),
        (plan("nvk-172", "gemm", "scalar-f16", accumulator="f16"), 64 + 9),
        # 64 x 64 results of a subgroup of 32; four matrices of 16 x 16 f16 and one.
        (plan("nvk-172", "gemm", "coopmat", tuple_="16x16x16"), 128 + 5 * 4),
        (plan("nvk-172", "gemm", "coopmat", accumulator="f16", tuple_="16x16x16"), 64 + 5 * 4),
        # 32 x 32 results; the two matrices of 16 x 16 are the shorter side, beside one of 8 x 16.
        (plan("anv-bmg", "gemm", "coopmat", "f16", tuple_="8x16x16"), 32 + 2 * 4 + 2),
        # As many results, of 16 invocations where weights are quantised.
        (plan("anv-bmg", "gemm", "coopmat", "q4_0", tuple_="8x16x16"), 2 * (32 + 2 * 4 + 2)),
        # 8 x 16 results; eight words and a scale of 8 rows and a column.
        (plan("nvk-172", "gemm", "intdot"), 128 + 9 * 9),
        # 4 rows of 8 weights and a scale, and a column's 8; or 2 columns of 8 and a row.
        (plan("anv-bmg", "gemv", "scalar-f32", n=2), 4 * 2 + 2 * 8 + 9),
        (plan("nvk-172", "gemv", "scalar-f32", "f16", n=8), 2 * 8 + 2 * 8 + 8),
        (plan("nvk-172", "gemv", "scalar-f32", "q4_k", n=8), 2 * 8 + 2 * (16 + 2) + 16),
        (plan("nvk-172", "gemv", "intdot", n=8), 8 + 4),
    ],
)
def test_a_tile_takes_its_accumulators_and_the_operands_of_a_step(cell_plan: Plan, expected: int) -> None:
    """The expected numbers are worked out by hand: the shorter side's operands and one of the other's."""
    assert tile_registers(cell_plan) == expected


def test_k_quants_have_two_scales() -> None:
    """4 x 32 results, the words and scales of 4 rows, a column."""
    device = limits(recorded("nvk-172"))
    tile = gemm_tile(device, "q4_k", 4096, 512)
    cell_plan = with_constants(plan("nvk-172", "gemm", "intdot", "q4_k"), tile.constants(True))
    assert tile_registers(cell_plan) == 128 + 4 * 10 + 9


@pytest.mark.parametrize(("accumulator", "sums"), [("f32", 128), ("f16", 64)])
def test_a_workgroup_s_matrix_is_spread_over_all_of_it(accumulator: str, sums: int) -> None:
    """128 x 256 of 256 invocations; of the operands one granule of K."""
    tile = matrix_tile("q4_0", 16384, 512, 132)
    assert (tile.bm, tile.bn, tile.block) == (128, 256, 256)
    cell_plan = with_constants(plan("nvidia-h200", "gemm", "coopmat2", accumulator=accumulator), tile.constants(True))
    assert tile_registers(cell_plan) == sums + (128 + 256) * 16 * 2 // 1024


def test_matrices_are_spread_over_the_subgroup_that_the_driver_runs() -> None:
    """Half as many invocations have twice as much each."""
    cell_plan = plan("anv-bmg", "gemm", "coopmat", "f16", tuple_="8x16x16")
    assert tile_registers(cell_plan, 16) == 2 * (tile_registers(cell_plan, 32) or 0) == 2 * (tile_registers(cell_plan) or 0)


def test_the_coopmat2_of_a_part_is_a_subgroup_s() -> None:
    """ANV's: the same tile as coopmat."""
    cell_plan = plan("anv-bmg", "gemm", "coopmat2")
    assert "reduced" in cell_plan.kernel.name
    assert tile_registers(cell_plan) == tile_registers(plan("anv-bmg", "gemm", "coopmat", tuple_="8x16x16"))


def test_a_peak_keeps_all_its_numbers() -> None:
    """Two multipliers and eight pairs; of 8 x 16 x 16 four sums, four A's and two B's in 32 invocations; a workgroup's sums."""
    device = recorded("anv-bmg")
    cells = ops.find("peak").cells(Request(), device)
    peaks = {p.kernel.name: p for p in plans(cells, device, dispatched=False)}
    assert tile_registers(peaks["peak_scalar_f32"], 32) == 2 + 2 * 8
    assert tile_registers(peaks["peak_coopmat_f16_f16_f32"], 32) == (4 * 8 * 16 * 4 + (4 * 8 * 16 + 2 * 16 * 16) * 2) // 128
    assert tile_registers(peaks["peak_coopmat_f16_f16_f32"]) is None
    assert tile_registers(peaks["peak_coopmat2_f16_f16_f32"], 32) == 128 * 256 // 256


@pytest.mark.parametrize("op", ["dequant"])
def test_ops_without_a_tile_have_no_demand(op: str) -> None:
    """Unknown, not zero."""
    assert tile_registers(plan("nvk-172", op, "scalar-f32", n=1)) is None


def budget(device: str, subgroup: int | None, raw: dict[str, Any], block: int = 128) -> int | None:
    """The register budget of a workgroup of `block` invocations on a recorded device."""
    return register_budget(recorded(device), block, subgroup, raw)


@pytest.mark.parametrize(
    ("device", "subgroup", "raw", "block", "expected"),
    [
        ("radv-gfx1201", 64, {}, 256, 256),
        ("nvk-172", 32, {}, 256, 253),
        ("nvk-172", 32, {}, 512, 126),
        ("turnip-750", 128, {}, 128, 192),
        ("anv-bmg", 16, {"GRF registers": 0}, 128, 128),
        ("anv-bmg", 32, {"GRF registers": 0}, 512, 64),
        ("anv-bmg", 32, {"GRF registers": 160}, 512, 128),
        ("anv-bmg", 32, {"Max live registers": 351}, 512, 64),
        ("anv-bmg", None, {"GRF registers": 0}, 512, None),
        ("lvp", 8, {}, 64, None),
    ],
)
def test_a_chip_s_registers_of_an_invocation(
    device: str, subgroup: int | None, raw: dict[str, Any], block: int, expected: int | None
) -> None:
    """256 addressable on AMD; NVIDIA's shared by the workgroup, two reserved; Intel's a thread's file over its invocations."""
    assert budget(device, subgroup, raw, block) == expected


def test_intel_before_xe2_has_half_of_it() -> None:
    """Its registers have 32 B. If a device may be Xe2 or Xe3 and its record doesn't say, the budget is unknown."""
    bmg = recorded("anv-bmg")
    assert bmg.hardware.vendor_id == Vendor.INTEL
    assert register_budget(with_properties(bmg, minSubgroupSize=8), 128, 16, {}) == 64
    unnamed = msgspec.structs.replace(bmg, hardware=msgspec.structs.replace(bmg.hardware, chip=None))
    assert register_budget(unnamed, 128, 16, {}) is None
    assert register_budget(unnamed, 128, 16, {"GRF registers": 0}) == 128


@pytest.mark.parametrize(
    ("tile", "registers", "expected"),
    [
        (129, 128, "tile"),
        (128, 128, "tight"),
        (128 - ROOM + 1, 128, "tight"),
        (128 - ROOM, 128, "compiler"),
        (None, 128, "unknown"),
        (37, None, "unknown"),
    ],
)
def test_who_is_to_blame_for_spills(tile: int | None, registers: int | None, expected: str) -> None:
    """The tile where it is too big by itself, nobody for sure where it hardly fits, else the compiler."""
    assert cause(tile, registers) == expected
