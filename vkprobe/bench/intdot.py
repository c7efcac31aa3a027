"""llama.cpp's tiles and workgroups for products with q8_1 activations, as pure functions of a device's limits.

Source: llama.cpp@b10249 ggml-vulkan.cpp:4112-4160 (tiles), 3850 (shared memory), 5081-5170 and 7632 (GEMV).
"""

from __future__ import annotations

from vkprobe.bench.device import Limits, Vendor
from vkprobe.bench.tiles import Rows, Tile, fitted, gemv_unroll, tile_sizes

_STEP = 4  # blocks of 32 along K that the GEMM stages at once
_WORD_BYTES = 4
_STAGED_WORDS = {"q4_0": 5, "q8_0": 9, "q4_k": 5, "q5_k": 9, "q6_k": 9, "iq4_xs": 9, "mxfp4": 9}
"""Words of a staged block of 32 weights: four where bytes hold two codes, else eight, and one of scales."""
_TABLE_BYTES = {"iq4_xs": 16, "mxfp4": 16}  # of int8
_ACTIVATION_WORDS = 9
_LANES_OF_BLOCK = 4


def shared_bytes(tile: Tile, weight_type: str) -> int:
    """Shared memory of a workgroup (B): blocks of A and B, and a type's table of 16 values."""
    staged = _STEP * (tile.bm * _STAGED_WORDS[weight_type] + tile.bn * _ACTIVATION_WORDS)
    return _WORD_BYTES * staged + _TABLE_BYTES.get(weight_type, 0)


def _tile(size: str, limits: Limits, super_blocks: bool) -> Tile:
    sg = max(limits.subgroup, 8)
    block, bm, bn, wm, wn, tm, tn = {
        "l": (128, 128, 128, 2 * sg, 64, 4, 4),
        "m": (128, 64, 64, sg, 32, 2, 2),
        "s": (max(sg, 32), 32, 32, 32, 32, 2, 1),
    }[size]
    wmiter, warp = (1 if super_blocks else 2), sg
    if size == "m" and limits.gcn and not limits.amd_proprietary and not super_blocks:
        block, wm, wn, warp = 256, 16, 16, 16
    return fitted(Tile(size=size, block=block, bm=bm, bn=bn, wm=wm, wn=wn, wmiter=wmiter, tm=tm, tn=tn, tk=1, warp=warp))


def gemm_tile(limits: Limits, weight_type: str, m: int, n: int) -> Tile:
    """The tile for D[n, m] of the first size whose tile fits the device; K-quants cover a subgroup's rows in one step, others in two."""
    tiles = [_tile(size, limits, weight_type.endswith("_k")) for size in tile_sizes(limits, False, m, n)]
    for tile in tiles:
        if shared_bytes(tile, weight_type) <= limits.shared_memory and tile.block <= limits.workgroup_invocations:
            return tile
    return tiles[-1]  # does not fit: the requirement's check says so


def required_subgroup(limits: Limits) -> int | None:
    """The subgroup size that pipelines require: Intel's smallest, else the device's own; None where they can't."""
    if limits.required_sizes is None:
        return None
    return limits.required_sizes[0] if limits.vendor == Vendor.INTEL else limits.subgroup


def _rows(limits: Limits, weight_type: str) -> int:
    """Rows of a GEMV's workgroup: of K types 1, else by vendor, of mxfp4 twice that.

    Source: llama.cpp@0c1e570 ggml-vulkan.cpp:2869-2882, 2990-3007 (iq4_xs is none of its K types here).
    """
    if weight_type.endswith("_k"):
        return 1
    rows = 4 if limits.gcn else 2 if limits.vendor == Vendor.INTEL else 1
    return 2 * rows if weight_type == "mxfp4" else rows


def gemv_rows(limits: Limits, weight_type: str, m: int, k: int) -> Rows:
    """llama.cpp's workgroup for a GEMV of `m` rows of `k`: one subgroup, or four on NVIDIA (not before Turing) and Intel."""
    required = required_subgroup(limits)
    subgroup = required or limits.subgroup
    # A block of 32 is shared by four invocations at the most; narrower subgroups than any that llama.cpp knows get as many.
    narrow = max(subgroup, _LANES_OF_BLOCK)
    # llama.cpp takes an NVIDIA GPU whose driver lists no cooperative matrix for one before Turing.
    several = limits.vendor == Vendor.INTEL or (limits.vendor == Vendor.NVIDIA and limits.coopmat)
    few_rows = m < 4096 if weight_type == "q6_k" else m <= 8192
    return Rows(
        block=4 * subgroup if several and k >= 1024 and few_rows else narrow,
        rows=_rows(limits, weight_type),
        subgroup=subgroup,
        reduce="subgroup" if limits.arithmetic and limits.vendor != Vendor.APPLE else "shared",
        required=required,
        unroll=gemv_unroll(limits),
    )
