"""Cells of a request, and each cell's plan or the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.planned import Sizes, cells, one, planned
from tests.pure.recorded_devices import NAMES, recorded, with_features, with_properties
from vkprobe import ops
from vkprobe.cell import cell
from vkprobe.device_facts import Coopmat, Heap
from vkprobe.llama.device import limits
from vkprobe.ops import plan as planning
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Conversion, Dispatch
from vkprobe.records import DeviceRecord
from vkprobe.requirements.promotions import PROVIDERS
from vkprobe.session.opening import open_request, rotation_bytes
from vkprobe.session.policy import FULL, QUICK, SOFTWARE
from vkprobe.session.selection import policy, run_cells
from vkprobe.weights import WEIGHT_TYPES

_DOT2 = "VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE.shaderMixedFloatDotProductFloat16AccFloat32"


def gemm(device: DeviceRecord, shape: Sizes, path: str, accumulator: str, **chosen: Any) -> Plan:
    """The plan of one f16 GEMM."""
    return one(device, "gemm", shape, types=["f16"], paths=[path], accumulators=[accumulator], **chosen)


def first(plan: Plan) -> Dispatch:
    """The kernel that is dispatched first."""
    assert plan.program.first is not None
    return plan.program.first


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("full", [False, True])
def test_every_cell_of_the_main_job_has_a_plan(name: str, full: bool) -> None:
    """No cell twice; what can't run says which extension, feature, tuple or limit it lacks, and nothing but such paths is refused."""
    device = recorded(name)
    chosen = run_cells(device, full=full)
    assert len({ops.find(c.op).sentence(c) for c in chosen}) == len(chosen)
    resolved = plans(chosen, device)
    lacks = {
        "coopmat2": ("VK_NV_cooperative_matrix2", "cooperativeMatrixWorkgroupScope"),
        "coopmat": ("the device lists none", "none with bf16 operands", "a tuple with K of at most 16"),
        "dot2": (_DOT2,),
    }
    for r in resolved:
        if r.reason is not None and not r.reason.startswith("needs a storage buffer range of"):
            assert r.reason.startswith("needs ")
            assert any(word in r.reason for word in lacks[r.cell.variant.path or ""]), r.reason
    if name == "nvidia-h200":
        assert {r.cell.variant.path for r in resolved if r.reason is not None} == {"dot2"}
    for r in resolved:
        stages = [stage for stage in r.program.stages if isinstance(stage, Dispatch)]
        assert all(groups >= 1 for stage in stages for groups in stage.groups)
        assert r.program.cell == r.cell
        for name, value in zip(r.kernel.push, stages[0].push if stages else (), strict=bool(stages)):
            if not ops.find(r.cell.op).ceiling and name in "mnk":
                assert value == dict(r.cell.axes).get(name, 1), name


def test_a_selection_leaves_out_what_no_kernel_computes() -> None:
    """scalar-f32 has one accumulator, so have f32 and bf16 weights; gemv has two paths; f32 and f16 are nothing to decode."""
    device = recorded("nvk-172")

    def what(op: str, sizes: Sizes) -> list[tuple[str | None, str | None, str | None]]:
        return [(c.variant.type, c.variant.path, c.variant.accumulator) for c in cells(device, op, sizes)]

    gemms = what("gemm", (64, 64, 64))
    assert [g[1:] for g in gemms if g[0] == "f32"] == [
        (path, "f32") for path in ("scalar-f32", "scalar-f16", "dot2", "coopmat", "coopmat2")
    ]
    assert [g[1:] for g in gemms if g[0] == "bf16"] == [(path, "f32") for path in ("scalar-f32", "coopmat", "coopmat2")]
    assert [g[1:] for g in gemms if g[0] == "q4_0"] == [
        ("scalar-f32", "f32"), ("scalar-f16", "f16"), ("scalar-f16", "f32"), ("dot2", "f32"), ("intdot", "f32"),
        ("coopmat", "f16"), ("coopmat", "f32"), ("coopmat", "s32"), ("coopmat2", "f16"), ("coopmat2", "f32"),
    ]  # fmt: skip
    assert {g[1:] for g in what("gemv", (64, 1, 64))} == {("scalar-f32", "f32"), ("intdot", "f32")}
    assert {g[0] for g in what("dequant", (64, 1, 64))} == set(WEIGHT_TYPES) - {"f32", "f16"}
    assert {g[0] for g in what("convert", (1, 64, 64))} == {"f16", "bf16", "q8_1"}


def test_the_default_tuple_is_the_first_one_that_llama_cpp_takes() -> None:
    """`all` is every f16 tuple with this accumulator; a name is taken as it is."""
    device = recorded("nvk-172")

    def tuples(*wanted: str) -> list[str | None]:
        chosen = cells(device, "gemm", (64, 64, 64), types=["f16"], paths=["coopmat"], accumulators=["f32"], tuples=wanted)
        return [c.variant.tuple for c in chosen]

    assert tuples("default") == ["16x16x16"]
    assert tuples("all") == ["16x16x16", "16x8x16", "16x8x8"]
    assert tuples("all", "default", "16x8x16") == ["16x16x16", "16x8x16", "16x8x8"]
    assert tuples("8x8x8") == ["8x8x8"]


def test_a_tuple_that_is_not_listed_is_unsupported() -> None:
    """The reason has its name."""
    resolved = gemm(recorded("nvk-172"), (64, 64, 64), "coopmat", "f16", tuples=["8x8x8"])
    assert resolved.reason is not None
    assert "f16 8x8x8" in resolved.reason or "8x8x8" in resolved.reason
    assert gemm(recorded("nvk-172"), (64, 64, 64), "coopmat", "f16").reason is None


def test_unknown_tuples_are_not_called_missing() -> None:
    """A query that could not be made."""
    device = replace(recorded("nvk-172"), coopmat=Coopmat(khr=None, nv_flexible=None, ext=None))
    assert gemm(device, (64, 64, 64), "coopmat", "f16").reason == "the device's cooperative-matrix tuples are unknown"


def test_a_feature_that_is_off_is_the_reason() -> None:
    """The reason has its name; a cell that doesn't need it runs."""
    without = with_features(recorded("nvk-172"), shaderFloat16=False)
    assert "shaderFloat16" in (gemm(without, (64, 64, 64), "scalar-f16", "f16").reason or "")
    assert gemm(without, (64, 64, 64), "scalar-f32", "f32").reason is None


@pytest.mark.parametrize(
    ("op", "shape", "bytes_"),
    [
        ("gemm", (8192, 16, 8193), 2 * 8192 * 8193),
        ("gemm", (64, 8192, 8192), 4 * 8192 * 8192),
        ("gemm", (8192, 8192, 32), 4 * 8192 * 8192),
        ("dequant", (8192, 1, 8224), 2 * 8192 * 8224),
    ],
)
def test_a_buffer_beyond_the_device_s_range_is_unsupported(op: str, shape: tuple[int, int, int], bytes_: int) -> None:
    """Weights, activations and output of each op."""
    device = with_properties(recorded("lvp"), maxStorageBufferRange=128 << 20)
    path, types = ("scalar-f32", ["f16"]) if op == "gemm" else ("scalar-f32", ["q4_0"])
    resolved = one(device, op, shape, types=types, paths=[path], accumulators=["f32"])
    assert resolved.reason == f"needs a storage buffer range of {bytes_} B; maxStorageBufferRange is 134217728 B"
    smaller = with_properties(device, maxStorageBufferRange=bytes_)
    assert one(smaller, op, shape, types=types, paths=[path], accumulators=["f32"]).reason is None


def test_a_grid_beyond_the_device_s_is_unsupported() -> None:
    """A GEMM's second dimension can't be folded."""
    device = with_properties(recorded("lvp"), maxComputeWorkGroupCount=[65535, 3, 65535])
    assert "needs a dispatch of 1x4x1 workgroups" in (gemm(device, (32, 128, 32), "scalar-f32", "f32").reason or "")
    assert gemm(device, (32, 96, 32), "scalar-f32", "f32").reason is None


def test_long_grids_are_folded() -> None:
    """A GEMV of more rows than the device has workgroups along x: all rows are covered."""
    device = with_properties(recorded("lvp"), maxComputeWorkGroupCount=[100, 100, 1])
    x, y, z = first(one(device, "gemv", (2999, 1, 64), types=["f16"])).groups
    assert (x, y, z) == (100, 15, 1)
    x, y, z = first(one(device, "dequant", (999, 1, 256), types=["q8_0"])).groups
    assert x == 100
    assert 256 * 8 * x * y >= 999 * 256 > 256 * 8 * x * (y - 1)


def test_a_tile_that_does_not_fit_says_so() -> None:
    """The reason has its need and the device's limit."""
    device = with_properties(recorded("lvp"), maxComputeSharedMemorySize=4096)
    assert "4096" in (gemm(device, (64, 64, 64), "scalar-f32", "f32").reason or "")


def test_subgroups_are_required_as_llama_cpp_does() -> None:
    """Full ones for coopmat, a size for GEMV, neither for scalar GEMMs; float controls only where the device has them."""
    radv, nvk, lvp = recorded("radv-gfx1201"), recorded("nvk-172"), recorded("lvp")
    assert (
        first(gemm(radv, (64, 64, 64), "coopmat", "f16")).full_subgroups,
        first(gemm(radv, (64, 64, 64), "coopmat", "f16")).subgroup_size,
    ) == (True, None)
    assert not first(gemm(radv, (64, 64, 64), "scalar-f16", "f16")).full_subgroups
    assert first(one(radv, "gemv", (64, 1, 64), types=["f16"])).subgroup_size == 64
    assert first(one(nvk, "gemv", (64, 1, 64), types=["f16"])).subgroup_size is None
    assert first(gemm(lvp, (64, 64, 64), "scalar-f16", "f16")).float_controls == ("RoundingModeRTE 16",)
    mimics = [p for p in plans(run_cells(nvk, full=True), nvk) if not ops.find(p.cell.op).ceiling]
    assert any("Float16" not in p.kernel.capabilities for p in mimics)  # modules without f16 arithmetic have them too
    assert {stage.float_controls for p in mimics for stage in p.program.stages if isinstance(stage, Dispatch)} == {
        ("DenormPreserve 16", "RoundingModeRTE 16")
    }
    dependent = with_properties(lvp, roundingModeIndependence=2)
    assert not limits(dependent).rounding_f16


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_there_is_enabled(name: str) -> None:
    """Extensions that the device lists, features that are on, no struct beside the core one that took it over."""
    device = recorded(name)
    resolved = plans(run_cells(device, full=True), device)
    request = open_request(device, [r.requirement for r in resolved if r.reason is None])
    assert set(request.extensions) <= set(device.extensions)
    for struct, members in request.features.items():
        assert all(device.features[struct][member] is True for member in members)
    assert request.features["VkPhysicalDeviceFeatures"].count("robustBufferAccess") == 1  # as llama.cpp, which enables all that there is
    matrices = "VkPhysicalDeviceCooperativeMatrixFeaturesKHR"
    both = {"cooperativeMatrix", "cooperativeMatrixRobustBufferAccess"}
    assert set(request.features.get(matrices, ())) == {m for m in both if device.features.get(matrices, {}).get(m)}
    core = {member for struct, members in request.features.items() if struct.startswith("VkPhysicalDeviceVulkan1") for member in members}
    for struct, members in request.features.items():
        if not struct.startswith("VkPhysicalDeviceVulkan1"):
            assert not core & set(members)
            provider = PROVIDERS.get(struct.removesuffix("KHR").removesuffix("EXT"))
            assert provider is None or provider.extension is None or provider.extension in request.extensions or provider.core is not None
    assert request.robustness == any("pipelineRobustness" in members for members in request.features.values())
    assert request.index == 0


@pytest.mark.parametrize(
    ("op", "path", "weights", "robust"),
    [
        ("gemm", "scalar-f32", "q4_0", True), ("gemm", "coopmat", "f16", True), ("gemm", "intdot", "q8_0", True),
        ("gemm", "coopmat2", "q4_k", False), ("gemv", "scalar-f32", "f16", True), ("gemv", "scalar-f32", "bf16", True),
        ("gemv", "scalar-f32", "q4_0", False), ("gemv", "intdot", "q4_k", False), ("dequant", "scalar-f32", "q4_0", True),
        ("convert", "scalar-f32", "q8_1", False), ("convert", "scalar-f32", "bf16", True),
    ],
)  # fmt: skip
def test_bounds_are_checked_where_llama_cpp_leaves_it_on(op: str, path: str, weights: str, robust: bool) -> None:
    """Switched off for coopmat2, quantised GEMVs and q8_1 made in subgroups, where the extension for that is listed."""
    device = recorded("nvidia-h200")
    selection = planned(device, op, (256, 1 if op in ("gemv", "dequant") else 256, 256), types=[weights], paths=[path])
    assert selection
    assert {(first(r).robust, r.robust) for r in selection} == {(robust, robust)}
    unlisted = replace(device, extensions={n: v for n, v in device.extensions.items() if n != "VK_EXT_pipeline_robustness"})
    assert {first(r).robust for r in plans([r.cell for r in selection], unlisted)} == {True}
    fixed = replace(device, features={s: {m: v and m != "pipelineRobustness" for m, v in f.items()} for s, f in device.features.items()})
    assert {r.robust for r in plans([r.cell for r in selection], fixed)} == {True}


def test_a_kernel_that_reads_beyond_its_rows_checks_bounds() -> None:
    """The reduced coopmat2 stages weights as other GEMMs do: unlike the whole one, which clamps, it is never without."""
    device = recorded("anv-bmg")
    assert "VK_EXT_pipeline_robustness" in device.extensions
    selection = planned(device, "gemm", (250, 33, 288), types=["q4_0"], paths=["coopmat2"])
    assert {r.kernel.tier for r in selection} == {"reduced"}
    assert {first(r).robust for r in selection} == {True}


@pytest.mark.parametrize(
    ("path", "weights", "form", "rows"),
    [("coopmat", "q4_0", "f16", 512), ("coopmat", "f16", "f32", 500), ("coopmat", "bf16", "bf16", 512), ("scalar-f16", "q4_0", "f32", 500)],
)
def test_activations_come_as_llama_cpp_converts_them(path: str, weights: str, form: str, rows: int) -> None:
    """f16 in coopmat GEMMs of quantised weights, bf16 for bf16 weights, N padded to whole tiles; else as they are."""
    device = recorded("nvidia-h200")
    selection = planned(device, "gemm", (4096, 500, 4096), types=[weights], paths=[path], accumulators=["f16", "f32"])
    assert {r.program.conversions["activations"] for r in selection} == {Conversion(form=form, rows=rows)}  # type: ignore[arg-type]


def test_int8_matrices_take_q8_1_and_one_scale_for_a_matrix() -> None:
    """The H200 lists K = 32 first, but q3_k has a scale for every 16 elements, so one matrix can't hold both products."""
    plans_of = {kind: one(recorded("nvidia-h200"), "gemm", (64, 64, 256), types=[kind], accumulators=["s32"]) for kind in ("q4_0", "q3_k")}
    assert plans_of["q4_0"].program.conversions["activations"] == Conversion(form="q8_1", rows=64)
    assert plans_of["q4_0"].reason is None
    assert plans_of["q3_k"].reason == "needs a tuple with K of at most 16, as many elements as have a scale in q3_k; this one has 32"


def test_bf16_steps_by_16_along_k() -> None:
    """llama.cpp steps by 16 here and by 32 in other GEMMs; a longer tuple is refused with that reason."""
    device = recorded("nvidia-h200")
    bf16, f16 = (one(device, "gemm", (512, 512, 512), types=[t], paths=["coopmat"], accumulators=["default"]) for t in ("bf16", "f16"))
    assert [first(r).constants["bk"] for r in (bf16, f16)] == [16, 32]
    longer = replace(bf16.cell, variant=replace(bf16.cell.variant, tuple="16x16x32"))
    assert (plans([longer], device)[0].reason or "").startswith("has K = 32, longer than llama.cpp's step along K with bf16 weights, 16")


def test_rotation_is_bounded_by_the_heap() -> None:
    """It is 512 MiB, a quarter of a small heap, and 64 MiB on processors whatever heaps they report."""
    nvk, lvp = recorded("nvk-172"), recorded("lvp")

    def heaps(device: DeviceRecord, *sizes: int) -> int:
        return rotation_bytes(replace(device, heaps=[Heap(bytes=size, device_local=True) for size in sizes]))

    assert heaps(nvk, 24 << 30) == 512 << 20
    assert heaps(nvk, 1 << 30, 256 << 20) == 256 << 20
    assert heaps(nvk) == 512 << 20
    assert heaps(lvp, 8 << 30) == 64 << 20
    assert rotation_bytes(replace(nvk, heaps=None)) == 512 << 20


def test_software_is_measured_briefly() -> None:
    """Small shapes and few rounds on a processor; null devices compile what devices run."""

    def shapes(op: str, name: str) -> list[dict[str, int]]:
        return [dict(axes) for axes in dict.fromkeys(c.axes for c in ops.find(op).defaults(recorded(name), "verb"))]

    assert policy(recorded("lvp"), full=True) is SOFTWARE
    assert policy(recorded("nvk-172"), full=False) is QUICK
    assert policy(recorded("nvk-172"), full=True) is FULL
    assert shapes("gemm", "lvp") == [{"m": 256, "n": 32, "k": 256}]
    assert shapes("gemm", "nvk-172") == [{"m": 4096, "n": 512, "k": 14336}]
    assert [axes["n"] for axes in shapes("gemv", "lvp")] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_cell_reads_as_a_sentence_part() -> None:
    """Progress and events name a cell like this."""
    matrix = cell("gemm", {"m": 64, "n": 32, "k": 96}, path="coopmat", type="q4_0", accumulator="f16", tuple="8x8x8")
    assert ops.find("gemm").sentence(matrix) == "gemm q4_0 coopmat 8x8x8 acc f16 64x32x96"
    vector = cell("gemv", {"m": 64, "n": 1, "k": 96}, path="scalar-f32", type="f16", accumulator="f32")
    assert ops.find("gemv").sentence(vector) == "gemv f16 scalar-f32 64x1x96"


def test_a_conversion_to_q8_1_shares_blocks_only_in_subgroups_of_known_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intel dispatches narrower subgroups unless full ones are required; a device that can't require those goes through shared memory."""
    device = recorded("anv-bmg")
    stage = first(one(device, "convert", (1, 4, 64), types=["q8_1"]))
    assert (stage.kernel, stage.full_subgroups, stage.subgroup_size) == ("convert_q8_1_subgroup", True, None)
    unsized = replace(limits(device), full_subgroups=False, required_sizes=None)
    monkeypatch.setattr(planning, "limits", lambda device: unsized)
    stage = first(one(device, "convert", (1, 4, 64), types=["q8_1"]))
    assert (stage.kernel, stage.full_subgroups, stage.subgroup_size) == ("convert_q8_1_shared", False, None)


def test_matrices_beyond_32_bit_indices_are_refused() -> None:
    """Whichever of the three it is."""
    roomy = with_properties(recorded("nvk-172"), maxStorageBufferRange=1 << 40, maxMemoryAllocationSize=1 << 40)
    for shape in ((1 << 20, 16, 4096), (4096, 1 << 20, 4096), (1 << 20, 4096, 32)):
        assert "beyond the kernels' 32-bit indices" in (gemm(roomy, shape, "scalar-f32", "f32").reason or "")
