"""The kernel registry: requirements that real devices meet or fail for the right reason."""

from __future__ import annotations

import pytest

from tests.pure.recorded_devices import NAMES, recorded, with_features, with_properties
from vkprobe.kernels import find, kernels, requirement
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.load import coopmat_tuple

SOME_DRIVERS_ONLY = ("coopmat2", "dot2")
BENCHMARKS = sorted(
    k.name
    for k in kernels().values()
    if k.op in ("canary", "gemm", "gemv", "dequant") and k.path not in SOME_DRIVERS_ONLY and (k.type, k.path) != ("bf16", "coopmat")
)
MATRIX = {"anv-bmg": (8, 16, 16), "lvp": (8, 8, 8), "nvk-172": (16, 16, 16), "radv-gfx1201": (16, 16, 16)}
INT8_MATRIX = {"anv-bmg": (8, 16, 32), "lvp": (8, 8, 8), "nvk-172": (16, 16, 32)}


def test_each_kernel_is_found_by_what_it_computes() -> None:
    """No two kernels answer to the same properties."""
    for kernel in kernels().values():
        if kernel.op in ("gemm", "gemv", "dequant"):
            assert find(kernel.op, kernel.path, kernel.type, kernel.accumulator, tier=kernel.tier, reduce=kernel.reduce) == kernel
    assert find("gemm", "coopmat", "f16", "s32") is None


@pytest.mark.parametrize("device", NAMES)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_recorded_devices_run_every_kernel_but_coopmat_on_turnip(name: str, device: str) -> None:
    """Every open driver meets every kernel's capabilities; Turnip lacks cooperative matrices, and the gap names the feature."""
    kernel = kernels()[name]
    tuples = []
    if kernel.path == "coopmat":
        shapes, component = (INT8_MATRIX, "s8") if kernel.accumulator == "s32" else (MATRIX, "f16")
        tuples = [coopmat_tuple(*shapes.get(device, (16, 16, 16)), component, kernel.accumulator, source="a test")]
    gap = evaluate(recorded(device), requirement(kernel, tuples=tuples, shared_memory_bytes=16384, workgroup_invocations=256))
    if kernel.path == "coopmat" and device == "turnip-750":
        assert gap.met is False
        assert any("cooperativeMatrix" in m.name for m in gap.missing)
    else:
        assert gap.missing == ()
        assert gap.met is True


@pytest.mark.parametrize(
    ("kernel", "feature"),
    [
        ("gemm_q4_0_scalar_f16_acc_f16", "shaderFloat16"),
        ("gemm_f16_coopmat_acc_f32", "cooperativeMatrix"),
        ("gemv_q8_0_subgroup", "storageBuffer16BitAccess"),
        ("dequant_q4_0", "storageBuffer16BitAccess"),
        ("gemv_mxfp4_subgroup", "storageBuffer8BitAccess"),
    ],
)
def test_a_feature_that_is_off_is_what_is_missing(kernel: str, feature: str) -> None:
    """Nothing else is missing."""
    gap = evaluate(with_features(recorded("nvk-172"), **{feature: False}), requirement(kernels()[kernel]))
    assert gap.met is False
    assert {m.name.rpartition(".")[2] for m in gap.missing} == {feature}


def test_a_scalar_f32_gemm_needs_no_f16_arithmetic() -> None:
    """llama.cpp's last resort runs where shaderFloat16 is off."""
    without = with_features(recorded("nvk-172"), shaderFloat16=False)
    for kernel in ("gemm_f16_scalar_f32", "gemm_q4_0_scalar_f32", "gemv_q4_0_subgroup", "gemv_f16_shared", "gemv_q6_k_subgroup"):
        assert evaluate(without, requirement(kernels()[kernel])).met is True, kernel


def test_bf16_weights_ask_for_no_bf16() -> None:
    """Widened by shifting, they run where VK_KHR_shader_bfloat16 is not listed."""
    assert "VK_KHR_shader_bfloat16" not in recorded("nvk-172").extensions
    for kernel in ("gemm_bf16_scalar_f32", "gemv_bf16_subgroup", "dequant_bf16"):
        assert evaluate(recorded("nvk-172"), requirement(kernels()[kernel])).met is True, kernel


def test_subgroup_arithmetic_is_asked_of_the_property() -> None:
    """The subgroup GEMV needs it, the shared-memory one does not."""
    without = with_properties(recorded("nvk-172"), supportedOperations=0x3, subgroupSupportedOperations=0x3)
    gap = evaluate(without, requirement(kernels()["gemv_f16_subgroup"]))
    assert gap.met is False
    assert "ARITHMETIC" in str(gap.missing)
    assert evaluate(without, requirement(kernels()["gemv_f16_shared"])).met is True


def test_limits_of_a_tile_are_asked() -> None:
    """Shared memory, invocations and the tuple's shape each decide."""
    kernel = kernels()["gemm_f16_coopmat_acc_f16"]
    for asked in ({"shared_memory_bytes": 65536}, {"workgroup_invocations": 2048}):
        assert evaluate(recorded("nvk-172"), requirement(kernel, **asked)).met is False  # type: ignore[arg-type]
    wrong = coopmat_tuple(8, 8, 8, "f16", "f16", source="a test")
    assert evaluate(recorded("nvk-172"), requirement(kernel, tuples=[wrong])).met is False
