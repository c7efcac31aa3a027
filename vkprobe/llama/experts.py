"""Tiles of MUL_MAT_ID, the product with a few experts of many, for more than eight tokens. vkprobe has no kernel for it yet."""

from __future__ import annotations

import msgspec

from vkprobe.llama.device import Limits, Matrix, Vendor
from vkprobe.llama.matrix_tiles import FLOAT_TILES, MatrixTile
from vkprobe.llama.tiles import Tile, fitted, sizes_to_try, tile_of_size, vendor_sizes
from vkprobe.weights import WEIGHT_TYPES


def tokens_per_expert(used: int, tokens: int, experts: int) -> int:
    """Columns of one expert's product if tokens spread evenly; the tile follows from it.

    Source: ggml-vulkan.cpp:7420.

    >>> tokens_per_expert(8, 512, 128), tokens_per_expert(4, 512, 32), tokens_per_expert(8, 9, 128)
    (32, 64, 1)
    """
    return -(-used * tokens // experts)


def expert_sizes(limits: Limits, matrices: bool) -> str:
    """The tile sizes of MUL_MAT_ID on this vendor's devices: those of other products, but never large on AMD.

    Source: ggml-vulkan.cpp:4778-4847.
    """
    sizes = vendor_sizes(limits, matrices, matrices)
    return sizes.replace("l", "") if limits.vendor == Vendor.AMD else sizes


def expert_tile(limits: Limits, weight_type: str, m: int, per_expert: int, matrix: Matrix | None = None) -> Tile:
    """The tile of a scalar path, or of coopmat, for `m` rows and so many tokens an expert.

    Args:
        matrix: the cooperative matrix's M, N, K; None for scalar paths.

    Source: ggml-vulkan.cpp:1690-1695, 1827-1833, 1846 (scalar tiles), 2385-2389 (Intel's matrices), 7424, 2862 (choice).
    """
    quantised = WEIGHT_TYPES[weight_type].quantised
    size = sizes_to_try(expert_sizes(limits, matrix is not None), m, per_expert)[0]
    if matrix is not None:
        tile = tile_of_size(size, limits, matrix, quantised)
        if size == "l" and limits.vendor == Vendor.INTEL and quantised:
            tile = msgspec.structs.replace(tile, block=512, bm=128, bn=128, wm=32, wn=32, warp=32)
        return fitted(tile)
    subgroup = max(limits.narrow_subgroup, 8 if quantised else 16)
    narrow = msgspec.structs.replace(limits, subgroup=subgroup)
    tile = tile_of_size(size, narrow, None, quantised)
    if size == "s":
        block = max(subgroup, 32) if quantised else subgroup
        tile = msgspec.structs.replace(tile, block=block, wm=8 if limits.subgroup == 8 else 32)
    return fitted(tile)


def expert_matrix_tile(weight_type: str, per_expert: int, *, decode_vector: bool) -> MatrixTile:
    """The tile of coopmat2 for so many tokens an expert; M doesn't count here.

    Args:
        decode_vector: the device has VK_NV_cooperative_matrix_decode_vector.

    Source: ggml-vulkan.cpp:1763-1770 (tiles), 2839-2852 (choice).
    """
    tiles = FLOAT_TILES
    if WEIGHT_TYPES[weight_type].quantised:
        bk = 64 if decode_vector else 32
        narrow = MatrixTile(size="m", block=256, bm=128, bn=64, bk=bk, smaller=False)
        tiles = {
            "l": MatrixTile(size="l", block=256, bm=128, bn=128, bk=bk, smaller=True),
            "m": narrow,
            "s": msgspec.structs.replace(narrow, size="s"),
        }
    return tiles["l" if per_expert > tiles["m"].bn else "m" if per_expert > tiles["s"].bn else "s"]
