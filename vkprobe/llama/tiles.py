"""GEMM tiles of the paths that stage both matrices through shared memory: scalar-f32, scalar-f16, dot2 and coopmat.

A scalar path gets the tile that it has on a device without cooperative matrices, or with GGML_VK_DISABLE_COOPMAT. The one exception is
`bf16_fallback`.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from vkprobe.llama.device import HONEYKRISP, Limits, Matrix, Vendor
from vkprobe.weights import WEIGHT_TYPES

ALIGNMENT = {"l": 128, "m": 64, "s": 32}
"""K of a pipeline without a tail is a multiple of this. Source: ggml-vulkan.cpp:1860-1862."""
_SHORT_ALIGNMENT = 32  # of the large tile on Intel's matrices


class Tile(Struct, frozen=True, kw_only=True):
    """A GEMM's workgroup tile BM x BN, subgroup tile WM x WN and invocation or matrix tile TM x TN (x TK).

    Attributes:
        size: s, m or l.
        block: invocations.
        wmiter: parts along M that a subgroup computes one after the other.
        warp: invocations that compute one subgroup tile.
        bk: step along K.
        align: K of a pipeline without a tail is a multiple of this.
    """

    size: str
    block: int
    bm: int
    bn: int
    wm: int
    wn: int
    wmiter: int
    tm: int
    tn: int
    tk: int
    warp: int
    bk: int = 32
    align: int

    def __str__(self) -> str:
        depth = f"x{self.tk}" if self.tk > 1 else ""
        return f"{self.size} {self.bm}x{self.bn} {self.wm}x{self.wn} {self.tm}x{self.tn}{depth} {self.block}/{self.warp}"

    @property
    def tuple(self) -> str | None:
        """The cooperative matrix's shape, `16x16x16`; None on scalar paths."""
        return f"{self.tm}x{self.tn}x{self.tk}" if self.tk > 1 else None

    def constants(self, aligned: bool) -> dict[str, int]:
        """The kernels' specialisation constants by name."""
        names = ("block", "bm", "bn", "bk", "wm", "wn", "wmiter", "tm", "tn", "tk", "warp")
        return {**{name: getattr(self, name) for name in names}, "aligned": int(aligned)}

    def shared_bytes(self, path: str, accumulator: str) -> int:
        """Shared memory that the kernel's workgroup declares (B): padded rows of A and B, and a matrix per subgroup for ragged edges."""
        element = 4 if path == "scalar-f32" else 2
        row = (self.bk + (8 if path == "coopmat" else 2)) * element
        edges = self.tm * self.tn * (self.block // self.warp) * (2 if accumulator == "f16" else 4) if path == "coopmat" else 0
        return (self.bm + self.bn) * row + edges


def fitted(tile: Tile) -> Tile:
    """Give `tile` as many subgroup tiles as its workgroup has subgroups. This is vkprobe's adaptation, not a rule of llama.cpp.

    In llama.cpp's small tile some subgroups have nothing to do when subgroups have 16 invocations. Such tiles are split, or joined, along M
    first where M is the longer side. A subgroup tile that is narrower than its matrix or invocation tile takes the width from its other
    side. A tile that already suits its subgroups doesn't change.
    """
    block = max(tile.block, tile.warp)
    subgroups = block // tile.warp
    wm, wn = min(tile.wm, tile.bm), min(tile.wn, tile.bn)
    while (tile.bm // wm) * (tile.bn // wn) < subgroups:
        wm, wn = (wm // 2, wn) if wm >= wn else (wm, wn // 2)
    while (tile.bm // wm) * (tile.bn // wn) > subgroups:
        wm, wn = (wm * 2, wn) if wm < tile.bm else (wm, wn * 2)
    while wm < tile.tm and wn >= 2 * tile.tn:
        wm, wn = wm * 2, wn // 2
    while wn < tile.tn and wm >= 2 * tile.tm:
        wm, wn = wm // 2, wn * 2
    return msgspec.structs.replace(tile, block=block, wm=wm, wn=wn)


def base_tile(size: str, limits: Limits, tm: int, tn: int, tk: int = 1, *, wmiter: int = 2) -> Tile:
    """The tile of a size before any vendor's exception.

    Source: ggml-vulkan.cpp:1682-1688 (subgroup sizes), 1791-1804 (tiles), 1860-1862 (alignment).
    """
    subgroup = max(limits.subgroup, 8)
    warp = subgroup if size == "s" else min(subgroup, 64)
    block, bm, bn, wm, wn = {
        "l": (128, 128, 128, 2 * warp, 64),
        "m": (128, 64, 64, warp, 32),
        "s": (limits.deviation.small_block or max(subgroup, 32), 32, 32, 8 if limits.subgroup == 8 else 32, 32),
    }[size]
    return Tile(size=size, block=block, bm=bm, bn=bn, wm=wm, wn=wn, wmiter=wmiter, tm=tm, tn=tn, tk=tk, warp=warp, align=ALIGNMENT[size])


def tile_of_size(size: str, limits: Limits, matrix: Matrix | None, quantised: bool) -> Tile:
    """llama.cpp's tile of a size, before `fitted`. Quantised weights have their own tiles on GCN and on Intel's matrices.

    Source: ggml-vulkan.cpp:1776-1799 (tables), 1844-1855 (AMD, Qualcomm), 1864-1876 (Intel).
    """
    tm, tn, tk = matrix or {"l": (4, 4, 1), "m": (4, 2, 1), "s": (2, 2, 1)}[size]
    tile = base_tile(size, limits, tm, tn, tk)
    replace = msgspec.structs.replace
    if size == "m" and limits.gcn and not limits.amd_proprietary:
        if quantised:
            tm, tn, tk = matrix or (2, 2, 1)
            tile = replace(tile, block=256, wm=16, wn=16, tm=tm, tn=tn, tk=tk, warp=16)
    elif matrix and size == "l" and limits.vendor == Vendor.AMD and not limits.amd_proprietary:
        tile = replace(tile, block=256, wm=tile.warp, wn=64)
    elif matrix and size == "m" and limits.vendor == Vendor.QUALCOMM:
        tile = replace(tile, block=64, wm=64, wn=64, wmiter=1, warp=64)
    elif matrix and size == "l" and limits.vendor == Vendor.INTEL:
        if quantised:
            bm, bn = (256, 128) if limits.architecture == "intel-xe1" else (128, 256)
            tile = replace(tile, block=512, bm=bm, bn=bn, wm=32, wn=32, warp=16, align=_SHORT_ALIGNMENT)
        else:
            tile = replace(tile, block=512, wm=tile.warp, wn=32, align=_SHORT_ALIGNMENT)
    return tile


def vendor_sizes(limits: Limits, matrices: bool, own_matrices: bool) -> str:
    """The tile sizes that llama.cpp has on this vendor's devices.

    Args:
        matrices: llama.cpp multiplies on cooperative matrices there.
        own_matrices: it does so for the weight type at hand.

    Source: ggml-vulkan.cpp:4778-4847.
    """
    if limits.deviation.sizes is not None:
        return limits.deviation.sizes
    if limits.vendor == Vendor.APPLE or limits.driver_id == HONEYKRISP:
        return "m"
    if limits.vendor == Vendor.QUALCOMM:
        return "m" if matrices else "sm"
    if limits.vendor == Vendor.AMD:
        return "sml" if matrices and not limits.amd_proprietary else "sm"
    if limits.vendor == Vendor.INTEL:
        return "sml" if own_matrices else "sm"
    return "sml"


def sizes_to_try(sizes: str, m: int, n: int) -> list[str]:
    """The sizes to try for D[n, m], the wanted one first: small for few rows or columns, then medium, else large.

    Source: ggml-vulkan.cpp:2854-2861.

    >>> sizes_to_try("sml", 4096, 512), sizes_to_try("sm", 4096, 512), sizes_to_try("sml", 4096, 64), sizes_to_try("m", 9, 9)
    (['l', 'm', 's'], ['m', 's'], ['m', 's'], ['m'])
    """
    wanted = "s" if m <= 32 or n <= 32 else "m" if m <= 64 or n <= 64 else "l"
    return [s for s in "lms" if s in sizes and "sml".index(s) <= "sml".index(wanted)] or [sizes[0]]


def bf16_fallback(limits: Limits, weight_type: str, path: str) -> bool:
    """Whether llama.cpp multiplies bf16 in f32 although it uses cooperative matrices for other types, because there are none for bf16.

    This decides the tile sizes. On AMD llama.cpp has large tiles wherever it uses matrices, so bf16 gets them, too. On Intel it asks for
    bf16 matrices before bf16 gets a large tile. The tiles themselves are those of the common table.

    Source: ggml-vulkan.cpp:2794-2815 (tiles), 4782 (AMD), 4792 (Intel).
    """
    return WEIGHT_TYPES[weight_type].component == "bf16" and path == "scalar-f32" and limits.matrices and not limits.bf16_matrices


def counted_bytes(tile: Tile, limits: Limits, weight_type: str, path: str, matrices: bool) -> int:
    """Shared memory (B) that llama.cpp expects a tile to need when it decides which sizes fit. Its shaders pad rows differently.

    Source: ggml-vulkan.cpp:1418-1476.
    """
    element = 4 if path == "scalar-f32" and not (limits.f16 and WEIGHT_TYPES[weight_type].component == "bf16") else 2
    padding = 8 if matrices else 1
    stage = tile.tm * tile.tn // (tile.block // tile.warp) * 4 if matrices else 0
    return (tile.bm + tile.bn) * (tile.bk + padding) * element + stage + WEIGHT_TYPES[weight_type].table_bytes


def gemm_tile(limits: Limits, weight_type: str, path: str, m: int, n: int, matrix: Matrix | None = None) -> Tile:
    """The tile for D[n, m]: the wanted size, or the largest below it that fits the device.

    Args:
        path: scalar-f32, scalar-f16, dot2 or coopmat.
        matrix: the cooperative matrix's M, N, K; None for scalar paths.

    llama.cpp decides by the quantised types' tile which sizes fit, even for float types. vkprobe also skips tiles whose workgroup has more
    invocations than the device takes.

    Source: ggml-vulkan.cpp:1881-1894 (fit), 2248-2264 (sizes), 2854-2861 (choice).
    """
    row, fallback = WEIGHT_TYPES[weight_type], bf16_fallback(limits, weight_type, path)
    matrices = matrix is not None or fallback
    asked = matrix or (limits.matrix if fallback else None)

    def fits(size: str) -> bool:
        counted = counted_bytes(tile_of_size(size, limits, asked, True), limits, weight_type, path, matrices)
        return counted <= limits.shared_memory and own(size).block <= limits.workgroup_invocations

    def own(size: str) -> Tile:
        return fitted(tile_of_size(size, limits, matrix, row.quantised))

    sizes = sizes_to_try(vendor_sizes(limits, matrices, matrix is not None), m, n)
    size = next((s for s in sizes if fits(s)), sizes[-1])  # where none fits, the kernel's requirement says so
    # BK of the float tables is 16; f32 and f16 shaders fix it at 32. Source: mul_mm.comp:172.
    return msgspec.structs.replace(own(size), bk=row.step_k)


def gemm_aligned(tile: Tile, m: int, n: int, k: int) -> bool:
    """Whether llama.cpp takes its pipeline without a tail along K. Source: ggml-vulkan.cpp:6350-6351."""
    return k % tile.align == 0 and m > 8 and n > 8
