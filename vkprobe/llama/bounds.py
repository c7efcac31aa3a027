"""How llama.cpp creates a pipeline: bounds checks of buffers, float controls, subgroup sizes."""

from __future__ import annotations

from msgspec import Struct

from vkprobe.llama.device import Limits, Vendor
from vkprobe.weights import WEIGHT_TYPES

_RDNA_SUBGROUP = 32
_NAMED_SUBGROUPS = {
    "amd-rdna1": {"mul_mat_vec_f32_f16": 32, "mul_mat_vec_f16": 32, "mul_mat_vec": 64, "soft_max": 64, "im2col": 64, "argmax": 64},
    "amd-rdna2": {"soft_max": 64, "im2col": 64},
}
"""Subgroup sizes by a part of the pipeline's name, longer parts first; every other pipeline of these architectures gets 32.

Source: ggml-vulkan.cpp:1606-1650; ggml-vulkan-types.h:1392."""


class Subgroups(Struct, frozen=True, kw_only=True):
    """A pipeline's demands on subgroups: the size that it requires (None: any size), and whether all must be full."""

    required: int | None
    full: bool


def plain_subgroups(limits: Limits, name: str) -> Subgroups:
    """Subgroups of a pipeline that makes no request of its own: RDNA1 and RDNA2 have a table, others nothing.

    Args:
        name: llama.cpp's name of the pipeline, as `dequant_q4_0`.

    Source: ggml-vulkan.cpp:1606-1653, 1963-1965.
    """
    table = _NAMED_SUBGROUPS.get(limits.architecture or "")
    if table is None:
        return Subgroups(required=None, full=False)
    size = next((size for part, size in table.items() if part in name), _RDNA_SUBGROUP)
    return Subgroups(required=_possible(limits, size), full=False)


def _possible(limits: Limits, size: int) -> int | None:
    """`size` where a pipeline may require it. llama.cpp asserts that it lies in the device's range. Source: ggml-vulkan.cpp:733-736."""
    if limits.required_sizes is None:
        return None
    low, high = limits.required_sizes
    return size if low <= size <= high else None


def gemm_subgroups(limits: Limits, path: str, accumulator: str, warp: int) -> Subgroups:
    """Subgroups of a GEMM: full ones for coopmat, on Intel and for int8 matrices of the tile's own size `warp`.

    Source: ggml-vulkan.cpp:2217-2219, 2383-2409 (coopmat), 2574-2600 (scalar paths and intdot), 2287-2328 (coopmat2).
    """
    if path != "coopmat":
        return plain_subgroups(limits, "matmul")
    pinned = limits.vendor == Vendor.INTEL or accumulator == "s32"
    return Subgroups(required=_possible(limits, warp) if pinned else None, full=limits.full_subgroups)


def gemv_subgroups(limits: Limits, weight_type: str, path: str, subgroup: int, reduce: str) -> Subgroups:
    """Subgroups of a GEMV: with q8_1 it always requires a size, otherwise where it reduces in subgroups.

    Source: ggml-vulkan.cpp:2901-2902, 2927-3007.
    """
    in_subgroups = reduce == "subgroup"
    if path != "intdot" and not in_subgroups:
        return plain_subgroups(limits, f"mul_mat_vec_{weight_type}_f32_f32")
    return Subgroups(required=_possible(limits, subgroup), full=in_subgroups and limits.full_subgroups)


def converts_in_subgroups(limits: Limits) -> bool:
    """Whether q8_1's conversion reduces in subgroups: with clusters and full subgroups. Source: ggml-vulkan.cpp:3237."""
    return limits.clusters and limits.full_subgroups


def conversion_subgroups(limits: Limits, form: str) -> Subgroups:
    """Subgroups of a conversion of activations to `form`. Source: ggml-vulkan.cpp:3237-3241, 3275-3290."""
    if form == "q8_1" and converts_in_subgroups(limits):
        return Subgroups(required=None, full=True)
    return plain_subgroups(limits, "quantize_q8_1_x4" if form == "q8_1" else f"cpy_f32_{form}")


def gemm_robust(limits: Limits, path: str, *, reduced: bool = False) -> bool:
    """Whether a GEMM's buffer accesses stay bounds-checked: everywhere but with coopmat2.

    llama.cpp enables every feature of the device, robustBufferAccess included, and switches it off for some pipelines where
    VK_EXT_pipeline_robustness is listed. vkprobe's reduced coopmat2 kernel reads rows beyond M, as other GEMMs do, and needs the checks.

    Source: ggml-vulkan.cpp:4298 (features), 4054, 747 (switch), 2287-2328 (coopmat2), 2391-2409, 2574-2600 (others).
    """
    return not limits.robustness or path != "coopmat2" or reduced


def gemv_robust(limits: Limits, weight_type: str) -> bool:
    """Whether a GEMV's buffer accesses stay bounds-checked: those of floats. Source: ggml-vulkan.cpp:2927-3007."""
    return not limits.robustness or not WEIGHT_TYPES[weight_type].quantised


def conversion_robust(limits: Limits, form: str) -> bool:
    """Whether a conversion's buffer accesses stay bounds-checked: all but q8_1's in subgroups. Source: ggml-vulkan.cpp:3237-3290."""
    return not (limits.robustness and form == "q8_1" and converts_in_subgroups(limits))


PLAIN_ROBUST = True
"""Dequantisation and split-k reduction stay bounds-checked. Source: ggml-vulkan.cpp:3085, 3171."""


class FloatControls(Struct, frozen=True, kw_only=True):
    """Execution modes for f16 that every module gets: rounding to nearest even, denormals kept."""

    rounding_f16: bool
    denormals_f16: bool


def float_controls(limits: Limits) -> FloatControls:
    """The execution modes that llama.cpp adds to every module, even without f16: compilers may then treat f32 differently, too.

    Source: ggml-vulkan.cpp:592-662.
    """
    return FloatControls(rounding_f16=limits.rounding_f16, denormals_f16=limits.denormals_f16)
