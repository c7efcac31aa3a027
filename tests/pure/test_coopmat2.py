"""coopmat2's kernels: requirements, and the choice between the whole and the reduced one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.pure.planned import Sizes, one
from tests.pure.recorded_devices import NAMES, recorded, with_features, with_properties
from vkprobe import kernels
from vkprobe.llama.matrix_tiles import matrix_tile
from vkprobe.ops.gemm.matrices import matrices_requirement
from vkprobe.ops.plan import Plan
from vkprobe.program import Dispatch
from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.load import requirement
from vkprobe.requirements.model import Feature

NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
PP512 = (4096, 512, 14336)


def gemm(device: DeviceRecord, weight_type: str = "q4_0", sizes: Sizes = PP512, accumulator: str = "f16") -> Plan:
    """The plan of one coopmat2 cell."""
    return one(device, "gemm", sizes, paths=["coopmat2"], types=[weight_type], accumulators=[accumulator])


def dispatch(plan: Plan) -> Dispatch:
    """The plan's first dispatch."""
    (first, *_) = plan.program.stages
    assert isinstance(first, Dispatch)
    return first


H200 = recorded("nvidia-h200")


def test_the_whole_extension_gets_the_whole_kernel() -> None:
    """Activations in f16, N padded to whole tiles; no split where the tiles fill the device."""
    plan = gemm(H200, sizes=(4096, 500, 14336))
    assert (plan.kernel.name, plan.reason, plan.tile) == ("gemm_q4_0_coopmat2_acc_f16", None, "m 128x128x64 256")
    activations = plan.program.conversions["activations"]
    assert (activations.form, activations.rows, dispatch(plan).groups, plan.split_k) == ("f16", 512, (32, 4, 1), 1)


def test_what_the_driver_reserves_counts_as_shared_memory() -> None:
    """Scales in shared memory and the driver's own staging must fit together."""
    kernel = kernels.kernels()["gemm_q4_0_coopmat2_acc_f16"]
    tile = matrix_tile("q4_k", 4096, 512, 132)
    own = tile.shared_bytes("q4_k")
    assert own == 128 * 64
    asked = matrices_requirement(replace(kernel, type="q4_k"), tile, tile.shared_bytes("q4_k"), H200)
    fits = with_properties(H200, maxComputeSharedMemorySize=own + 8192)
    assert evaluate(fits, asked).met is True
    assert evaluate(with_properties(H200, maxComputeSharedMemorySize=own + 8191), asked).met is False


@pytest.mark.parametrize("name", ["lvp", "anv-bmg"])
@pytest.mark.parametrize("accumulator", ["f16", "f32"])
def test_part_of_the_extension_gets_the_reduced_kernel(name: str, accumulator: str) -> None:
    """lavapipe and ANV have operations on each element, and lack workgroup scope and block loads."""
    plan = gemm(recorded(name), accumulator=accumulator)
    assert (plan.kernel.name, plan.reason) == (f"gemm_q4_0_coopmat2_reduced_acc_{accumulator}", None)
    activations = plan.program.conversions["activations"]
    assert activations.form == "f16"
    assert activations.rows % dispatch(plan).constants["bn"] == 0


def test_without_what_the_reduced_kernel_uses_the_whole_one_says_what_is_missing() -> None:
    """No operation on each element: the reason names the features of the full kernel, each once."""
    device = with_features(recorded("lvp"), cooperativeMatrixPerElementOperations=False)
    reason = gemm(device).reason or ""
    for feature in ("cooperativeMatrixWorkgroupScope", "cooperativeMatrixTensorAddressing", "cooperativeMatrixBlockLoads"):
        assert reason.count(f"{NV}.{feature}") == 1
    assert "cooperativeMatrixPerElementOperations" not in reason


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("nvidia-h200", "lvp", "anv-bmg")])
def test_without_the_extension_that_is_all_the_reason(name: str) -> None:
    """One name, not a list of all that comes with it."""
    assert gemm(recorded(name)).reason == "needs VK_NV_cooperative_matrix2, which the device does not list"


def test_granularity_and_largest_dimension_are_conditions() -> None:
    """A flexible entry too coarse for the narrowest tile, and a limit below the tile, each make the cell unsupported."""
    listed = H200.coopmat.nv_flexible or []
    only = with_features(H200, cooperativeMatrixPerElementOperations=False)  # no reduced kernel instead
    coarse = replace(only, coopmat=replace(only.coopmat, nv_flexible=[replace(row, n_granularity=64) for row in listed]))
    assert "f16,f16->f16 of a workgroup of 256 (granularity <= 128x32x64)" in (gemm(coarse).reason or "")
    assert gemm(coarse, "f16").reason is None
    small = with_properties(only, cooperativeMatrixFlexibleDimensionsMaxDimension=64)
    assert "cooperativeMatrixFlexibleDimensionsMaxDimension (needs 128, has 64)" in (gemm(small).reason or "")


def test_kernels_ask_for_no_feature_that_they_do_not_use() -> None:
    """f16 weights need no block loads, the reduced kernel no tensor addressing; each is among what llama.cpp asks of the path."""
    features_of = {name: asked(name) for name, k in kernels.kernels().items() if k.op == "gemm" and k.path == "coopmat2"}
    whole = {c.alternatives[0][1] for c in requirement("coopmat2").conditions if isinstance(c, Feature)}
    for name, features in features_of.items():
        wanted = {"cooperativeMatrixPerElementOperations"} if "reduced" in name else WHOLE
        if "reduced" not in name and "_f16_coopmat2" not in name and "_bf16_" not in name:
            wanted = wanted | {"cooperativeMatrixBlockLoads"}
        assert features == wanted, name
        assert features <= whole, name


WHOLE = {"cooperativeMatrixWorkgroupScope", "cooperativeMatrixFlexibleDimensions", "cooperativeMatrixTensorAddressing"}


def asked(name: str) -> set[str]:
    """A kernel's features of NV_cooperative_matrix2."""
    conditions = kernels.requirement(kernels.kernels()[name]).conditions
    return {member for c in conditions if isinstance(c, Feature) for struct, member in c.alternatives if struct == NV}


def test_dot2_runs_where_the_mixed_dot_product_is() -> None:
    """RADV on RDNA3 with Mesa 26.1 has it, with 25.0 not; tiles are the scalar path's."""
    reasons = {}
    for mesa in ("25.0", "26.1"):
        device = recorded(f"radv-navi31-mesa-{mesa}")
        dot2, scalar = (
            one(device, "gemm", (4096, 512, 4096), paths=[path], types=["q4_0"], accumulators=["f32"]) for path in ("dot2", "scalar-f16")
        )
        assert dot2.tile == scalar.tile
        reasons[mesa] = dot2.reason
    assert reasons["26.1"] is None
    assert "shaderMixedFloatDotProductFloat16AccFloat32" in (reasons["25.0"] or "")
