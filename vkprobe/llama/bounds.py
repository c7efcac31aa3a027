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
    """What a pipeline asks of subgroups: a size that it requires (None: no size), and that all of them are full."""

    required: int | None
    full: bool


def plain_subgroups(limits: Limits, name: str) -> Subgroups:
    """For pipelines that llama.cpp creates without a request of their own: RDNA1's and RDNA2's table, else nothing.

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
    """For a GEMM: coopmat's subgroups are full, and on Intel and for int8 matrices of the size `warp` that the tile is made for.

    Source: ggml-vulkan.cpp:2217-2219, 2383-2409 (coopmat), 2574-2600 (scalar paths and intdot), 2287-2328 (coopmat2).
    """
    if path != "coopmat":
        return plain_subgroups(limits, "matmul")
    pinned = limits.vendor == Vendor.INTEL or accumulator == "s32"
    return Subgroups(required=_possible(limits, warp) if pinned else None, full=limits.full_subgroups)


def gemv_subgroups(limits: Limits, weight_type: str, path: str, subgroup: int, reduce: str) -> Subgroups:
    """For a GEMV: q8_1's always require their size, others where they reduce in subgroups.

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
    """For a conversion of activations to `form`. Source: ggml-vulkan.cpp:3237-3241, 3275-3290."""
    if form == "q8_1" and converts_in_subgroups(limits):
        return Subgroups(required=None, full=True)
    return plain_subgroups(limits, "quantize_q8_1_x4" if form == "q8_1" else f"cpy_f32_{form}")


def gemm_robust(limits: Limits, path: str, *, reduced: bool = False) -> bool:
    """Whether a GEMM's buffer accesses stay bounds-checked: everywhere but with coopmat2.

    llama.cpp enables robustBufferAccess with every other feature of the device, and switches it off by pipeline where
    VK_EXT_pipeline_robustness is listed. vkprobe's reduced coopmat2 stages A as other GEMMs do, unchecked rows beyond M with it.

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
    """The execution modes that llama.cpp adds to every module, whether it uses f16 or not: compilers may treat f32 in another way, too.

    Source: ggml-vulkan.cpp:592-662.
    """
    return FloatControls(rounding_f16=limits.rounding_f16, denormals_f16=limits.denormals_f16)
