"""The pipelines that `compile` makes, and that records identify each of them."""

from __future__ import annotations

import pytest

from tests.pure.recorded_devices import NAMES, full_plans, recorded, with_properties
from vkprobe import ops
from vkprobe.kernels import kernels
from vkprobe.llama.device import limits
from vkprobe.ops.plan import Plan, finished, float_controls, plans, target
from vkprobe.program import Dispatch
from vkprobe.session.selection import by_pipeline, compile_plans, default_cells, run_cells


def planned(name: str, *, full: bool = False) -> list[Plan]:
    """One plan of each group of the ops' default cells that share a pipeline."""
    device = recorded(name)
    cells = default_cells(device, "compile-full" if full else "compile")
    return [group[0] for group in by_pipeline(plans(cells, device, dispatched=False))]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_records_identify_a_device_s_pipelines(name: str, full: bool) -> None:
    """Kernel, path, type, tile and subgroup size differ between any two pipelines: N, the tuple's K and all else are in the tile."""
    keys = [
        (r.kernel.name, r.cell.variant.path, r.cell.variant.type, r.tile, r.subgroup_size)
        for r in planned(name, full=full)
        if r.reason is None
    ]
    assert len(keys) == len(set(keys)) > 20


@pytest.mark.parametrize("name", ["nvk-172", "radv-gfx1201", "anv-bmg", "turnip-750"])
def test_the_default_set_is_the_main_job_s(name: str) -> None:
    """`run` and `compile` have the same pipelines, but for copies and peaks, which mimic nothing of llama.cpp's."""
    device = recorded(name)
    cells = [c for c in run_cells(device, full=False) if not ops.find(c.op).ceiling]
    job = {(r.kernel.name, r.tile) for r in plans(cells, device) if r.reason is None}
    assert job == {(r.kernel.name, r.tile) for r in planned(name) if r.reason is None}


def test_full_has_all_tile_sizes_columns_and_tuples() -> None:
    """NVK on Ampere: s, m and l, N = 1 to 8 with one and four subgroups, three f16 tuples."""
    tiles: dict[str, set[str]] = {r.kernel.name: set() for r in planned("nvk-172", full=True)}
    for r in planned("nvk-172", full=True):
        tiles[r.kernel.name].add(r.tile)
    assert {tile.split()[0] for tile in tiles["gemm_q4_0_scalar_f32"]} == {"s", "m", "l"}
    assert {tile.split()[3] for tile in tiles["gemm_f16_coopmat_acc_f32"]} == {"16x16x16", "16x8x16", "16x8x8"}
    assert {tile.split()[0] for tile in tiles["gemv_q8_0_subgroup"]} == {f"n{n}" for n in range(1, 9)}
    assert {tile.split()[3] for tile in tiles["gemv_q8_0_subgroup"]} == {"128/32", "32/32"}
    assert "gemm_f32_scalar_f32" in tiles


def test_types_and_paths_narrow_it_down() -> None:
    """Only the requested ones are compiled, even types beyond the default set."""
    device = recorded("nvk-172")
    assert {(c.op, c.variant.type) for c in default_cells(device, "compile", types=["f32"])} == {("gemm", "f32"), ("gemv", "f32")}
    assert {(c.op, c.variant.path) for c in default_cells(device, "compile", paths=["coopmat"])} == {("gemm", "coopmat")}


def test_a_device_s_buffers_do_not_limit_what_it_compiles() -> None:
    """A shape beyond maxStorageBufferRange is no reason not to create its pipeline."""
    device = with_properties(recorded("nvk-172"), maxStorageBufferRange=1 << 20, maxComputeWorkGroupCount=[16, 16, 16])
    cells = default_cells(device, "compile", paths=["scalar-f32", "scalar-f16", "coopmat"])
    assert not [r for r in plans(cells, device, dispatched=False) if r.reason]
    assert [r for r in plans(cells, device) if r.reason]


def test_a_device_without_tuples_is_reported_once_for_each_kernel() -> None:
    """Turnip: every coopmat and coopmat2 kernel, unsupported, whatever tiles they would have."""
    missing = [r for r in planned("turnip-750", full=True) if r.cell.variant.path in ("coopmat", "coopmat2")]
    assert len(missing) == len({r.kernel.name for r in missing}) >= 12
    assert all("cooperative_matrix" in str(r.reason) for r in missing)


@pytest.mark.parametrize("name", NAMES)
def test_full_records_identify_all_pipelines(name: str) -> None:
    """Copies, peaks and kernels without subgroup arithmetic are included."""
    pipelines = [r for r in full_plans(name) if r.reason is None]
    keys = {(r.kernel.name, r.cell.variant.path, r.cell.variant.type, r.tile, r.subgroup_size) for r in pipelines}
    assert len(keys) == len(pipelines) > 200


def test_full_leaves_no_kernel_out() -> None:
    """All kernels of llama.cpp's and of the roofline compile, but for peaks of matrix types that no recorded device lists."""
    planned = {r.kernel.name for name in NAMES for r in full_plans(name)}
    every = {k.name: k for k in kernels().values() if k.tier or k.op in ("convert", "copy", "peak", "reduce")}
    left = [k for name, k in every.items() if name not in planned]
    assert {(k.op, k.path) for k in left} <= {("peak", "coopmat"), ("peak", "coopmat2")}
    assert all(k.type in ("bf16", "e4m3", "e5m2") for k in left), [k.name for k in left]


def test_full_of_a_type_has_that_type_only() -> None:
    """Copies and peaks are left out, because they have none of the weights' types."""
    pipelines = compile_plans(recorded("nvk-172"), full=True, types=["q4_0"])
    assert {r.cell.variant.type for r in pipelines} == {"q4_0"}
    assert {r.cell.op for r in pipelines} == {"gemm", "gemv", "dequant"}
    assert "gemv_q4_0_shared" in {r.kernel.name for r in pipelines}


def test_the_default_is_one_pipeline_for_each_cell() -> None:
    """Nothing beside the main job's."""
    device = recorded("nvk-172")
    groups = by_pipeline(plans(default_cells(device, "compile"), device, dispatched=False))
    assert [r.tile for r in compile_plans(device, full=False)] == [group[0].tile for group in groups]


@pytest.mark.parametrize("name", NAMES)
def test_every_pipeline_checks_bounds_and_has_the_modes_of_the_timed_one(name: str) -> None:
    """Pipelines that no cell needs do so too: other devices' reductions, and those of a split K."""
    device = recorded(name)
    modes = float_controls(limits(device))
    for one in full_plans(name):
        stages = [stage for stage in one.program.stages if isinstance(stage, Dispatch)]
        if not ops.find(one.cell.op).ceiling:
            assert {stage.float_controls for stage in stages} == {modes}
        if one.kernel.op == "reduce":
            assert ({stage.robust for stage in stages}, one.robust) == ({True}, True)
        assert finished(one, target(device), dispatched=False) == one
