"""Rows of `python -m tools.kernels`: GEMM with what only some drivers have.

VK_NV_cooperative_matrix2 in full and in part, bf16 cooperative matrices, and VK_VALVE_shader_mixed_float_dot_product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.variant import Variant, optimized

_NV = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
_LOCAL_SIZE_ID = ["VkPhysicalDeviceVulkan13Features", "maintenance4"]  # SPIR-V 1.6, which NV_cooperative_matrix2 needs, has the size so
_BF16_STORAGE = ["VkPhysicalDeviceVulkan11Features", "storageBuffer16BitAccess"]  # glslang declares no capability for bf16 in buffers
_FULL = [[_NV, "cooperativeMatrixWorkgroupScope"], [_NV, "cooperativeMatrixFlexibleDimensions"], _LOCAL_SIZE_ID]
_REDUCED = [[_NV, "cooperativeMatrixPerElementOperations"], _LOCAL_SIZE_ID]
_ACCUMULATORS: tuple[tuple[str, dict[str, str]], ...] = (("f16", {"ACC_F16": "1"}), ("f32", {}))
_UNQUANTISED = ("f32", "f16", "bf16")


def matrix_gemm(types: tuple[str, ...]) -> Iterator[Variant]:
    """The rows for weight types; of each, the kernels that it has."""
    for kind in types:
        if kind not in _UNQUANTISED:  # what the block loads decode with, in a kernel that any driver runs
            yield Variant(f"decode_{kind}", "dequant/decode.comp", {}, {"op": "decode", "type": kind})
        if kind == "bf16":
            yield _gemm(kind, "coopmat2", "f32", "coopmat2", {"BF16": "1"}, features=[*_FULL, _BF16_STORAGE], target="vulkan1.3")
            yield _gemm(kind, "coopmat", "f32", "coopmat", {"STAGE_BF16": "1", "B_BF16": "1"})
            continue
        for accumulator, defines in _ACCUMULATORS[kind == "f32" :]:  # f32 weights are summed in f32
            yield _gemm(kind, "coopmat2", accumulator, "coopmat2", defines, features=_FULL, target="vulkan1.3")
            reduced = _gemm(kind, "coopmat2", accumulator, "coopmat2_reduced", defines, features=_REDUCED, target="vulkan1.3")
            name = f"gemm_{kind}_coopmat2_reduced_acc_{accumulator}"
            yield reduced._replace(name=name, facts={**reduced.facts, "tier": "reduced"})
        yield _gemm(kind, "dot2", "f32", "scalar", {"STAGE_F16": "1", "DOT2": "1"})


def _gemm(
    kind: str,
    path: str,
    accumulator: str,
    source: str,
    defines: dict[str, str],
    *,
    features: list[Any] | None = None,
    target: str = "vulkan1.2",
) -> Variant:
    facts: dict[str, Any] = {"op": "gemm", "path": path, "type": kind, "accumulator": accumulator, "tier": "mimic"}
    if features:
        facts["features"] = features
    name = f"gemm_{kind}_{path}_acc_{accumulator}"
    return Variant(name, f"gemm/{source}.comp", defines, facts, target, optimize=optimized(path, kind))
