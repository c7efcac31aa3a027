"""GEMM tiles of products with q8_1 activations: by integer dot products (path intdot), and on int8 cooperative matrices (path coopmat
with accumulator s32), which llama.cpp has for RDNA3 and RDNA4.
"""

from __future__ import annotations

import msgspec

from vkprobe.llama.device import Limits, Vendor
from vkprobe.llama.tiles import ALIGNMENT, Tile, base_tile, fitted, sizes_to_try, vendor_sizes
from vkprobe.weights import Q8_1, WEIGHT_TYPES

_BLOCKS = 4  # of 32 along K that the kernels stage at once
_WORD_BYTES = 4
_ACTIVATION_WORDS = 9
_INT8_ROW_WORDS = _BLOCKS * 8 + 4  # int8 of a staged row, and padding
_WAVE = 32


def _q8_1(weight_type: str, *, int8: bool) -> Q8_1:
    """How the type multiplies with q8_1 activations; raises KeyError where llama.cpp has no such GEMM."""
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    if q8_1 is None or not (q8_1.int8_architectures if int8 else q8_1.gemm):
        raise KeyError(f"llama.cpp has no GEMM of {weight_type} {'on int8 matrices' if int8 else 'by integer dot products'}")
    return q8_1


def shared_bytes(tile: Tile, weight_type: str) -> int:
    """Shared memory of an intdot workgroup (B): blocks of A and B, and a type's table of 16 values.

    Source: ggml-vulkan.cpp:1478-1544.
    """
    q8_1 = _q8_1(weight_type, int8=False)
    return _WORD_BYTES * _BLOCKS * (tile.bm * q8_1.staged_words + tile.bn * _ACTIVATION_WORDS) + q8_1.table_bytes


def _tile(size: str, limits: Limits, k_type: bool) -> Tile:
    """The intdot tile of a size. Source: ggml-vulkan.cpp:1802-1804, 1823-1825 (K types), 1844-1845 (GCN)."""
    tm, tn = {"l": (4, 4), "m": (2, 2), "s": (2, 1)}[size]
    tile = base_tile(size, limits, tm, tn, wmiter=1 if k_type else 2)
    if limits.deviation.small_block is not None and size == "s":
        tile = msgspec.structs.replace(tile, block=max(limits.subgroup, 32))  # intdot's small tile has little code
    if size == "m" and limits.gcn and not limits.amd_proprietary and not k_type:
        tile = msgspec.structs.replace(tile, block=256, wm=16, wn=16, warp=16)
    return fitted(tile)


def gemm_tile(limits: Limits, weight_type: str, m: int, n: int) -> Tile:
    """The intdot tile for D[n, m]: the wanted size, or the largest below it that fits the device.

    K types cover a subgroup's rows in one step, others in two. As on a device without cooperative matrices.

    Raises:
        KeyError: llama.cpp has no such kernel for the type.

    Source: ggml-vulkan.cpp:1908-1944 (fit), 2854-2861 (choice).
    """
    tiles = [_tile(size, limits, WEIGHT_TYPES[weight_type].k_type) for size in sizes_to_try(vendor_sizes(limits, False, False), m, n)]
    for tile in tiles:
        if shared_bytes(tile, weight_type) <= limits.shared_memory and tile.block <= limits.workgroup_invocations:
            return tile
    return tiles[-1]  # where none fits, the kernel's requirement says so


def int8_subgroup(limits: Limits) -> int:
    """The subgroup size of int8 matrices: 32 on AMD where it can be required, else the device's. Source: ggml-vulkan.cpp:1724-1728."""
    if limits.vendor == Vendor.AMD and limits.required_sizes is not None:
        low, high = limits.required_sizes
        if low <= _WAVE <= high:
            return _WAVE
    return limits.subgroup


def int8_supported(limits: Limits, weight_type: str) -> bool:
    """Whether llama.cpp has a GEMM of the type on this architecture's int8 matrices. Source: ggml-vulkan.cpp:1878-1879, 2482-2496."""
    q8_1 = WEIGHT_TYPES[weight_type].q8_1
    return q8_1 is not None and limits.int8_matrix is not None and limits.architecture in q8_1.int8_architectures


def int8_shared_bytes(tile: Tile, weight_type: str) -> int:
    """Shared memory of an int8 cooperative-matrix workgroup (B): int8 of A and B, their scales in f32, offsets, and a type's tables.

    Source: ggml-vulkan.cpp:1546-1604; mul_mmq_cm1.comp:89-112.
    """
    q8_1 = _q8_1(weight_type, int8=True)
    rows = (tile.bm + tile.bn) * _INT8_ROW_WORDS
    scales = tile.bm * _BLOCKS * (2 if q8_1.int8_offset else q8_1.int8_scales)
    activations = tile.bn * _BLOCKS * (2 if q8_1.int8_offset else 1)
    return _WORD_BYTES * (rows + scales + activations) + q8_1.int8_table_bytes


def _int8_tile(size: str, limits: Limits, scales: int, matrix: tuple[int, int, int]) -> Tile:
    """The int8 tile of a size: types with two scales a block have 64 rows at most. Source: ggml-vulkan.cpp:1806-1820."""
    subgroup = int8_subgroup(limits)
    bm, bn = {"l": (64 if scales == 2 else 128, 128), "m": (64, 64), "s": (32, 32)}[size]
    wm = min(subgroup, bm)
    tm, tn, tk = matrix
    return fitted(
        Tile(
            size=size, block=subgroup * (bm // wm) * (bn // 32), bm=bm, bn=bn, wm=wm, wn=32, wmiter=2, tm=tm, tn=tn, tk=tk, warp=subgroup,
            align=ALIGNMENT[size],
        )
    )  # fmt: skip


def int8_tile(limits: Limits, weight_type: str, m: int, n: int, matrix: tuple[int, int, int]) -> Tile:
    """The int8 cooperative-matrix tile for D[n, m]: the wanted size, or the largest below it that fits the device.

    Args:
        matrix: M, N, K of the s8,s8->s32 tuple.

    Raises:
        KeyError: llama.cpp has no such kernel for the type.

    Source: ggml-vulkan.cpp:1908-1944 (fit), 2411-2420 (sizes), 2854-2861 (choice).
    """
    scales = _q8_1(weight_type, int8=True).int8_scales
    tiles = [_int8_tile(size, limits, scales, matrix) for size in sizes_to_try(vendor_sizes(limits, True, True), m, n)]
    for tile in tiles:
        if int8_shared_bytes(tile, weight_type) <= limits.shared_memory and tile.block <= limits.workgroup_invocations:
            return tile
    return tiles[-1]


ACCUMULATOR_LAYOUTS = {"amd-rdna3": 0, "amd-rdna4": 1}
"""How the elements of an accumulator lie in an invocation's registers: every second row, or row by row."""
_LOOKED_UP = 2  # vkprobe's kernel asks a matrix of positions


def int8_constants(tile: Tile, limits: Limits) -> dict[str, int]:
    """The int8 kernel's specialisation constants by name; it has `layout` where other kernels have `aligned`.

    llama.cpp knows the layouts of its two architectures only. Source: ggml-vulkan.cpp:1810-1816; mul_mmq_cm1.comp:86-87, 129-133.
    """
    constants = tile.constants(True)
    del constants["aligned"]
    return {**constants, "layout": ACCUMULATOR_LAYOUTS.get(limits.architecture or "", _LOOKED_UP)}
