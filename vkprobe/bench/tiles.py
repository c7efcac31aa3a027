"""llama.cpp's choice of tiles, subgroup sizes and rows per workgroup, as pure functions of a device's limits.

Source: llama.cpp@b10249 ggml-vulkan.cpp:4112-4160 (tiles), 8605 (small, medium or large), 5031-5081 and 7632 (GEMV).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from vkprobe.bench.device import Limits, Vendor
from vkprobe.weights import WEIGHT_TYPES

LLVMPIPE = "VK_DRIVER_ID_MESA_LLVMPIPE"
_ALIGNMENT = {"l": 128, "m": 64, "s": 32}


class Tile(Struct, frozen=True, kw_only=True):
    """A GEMM's workgroup tile BM x BN, subgroup tile WM x WN and what one step of it is; `size` is s, m or l, BK the step along K."""

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

    def __str__(self) -> str:
        depth = f"x{self.tk}" if self.tk > 1 else ""
        return f"{self.size} {self.bm}x{self.bn} {self.wm}x{self.wn} {self.tm}x{self.tn}{depth} {self.block}/{self.warp}"

    def constants(self, aligned: bool) -> list[tuple[int, int]]:
        """The kernels' specialisation constants."""
        values = (self.block, self.bm, self.bn, self.bk, self.wm, self.wn, self.wmiter, self.tm, self.tn, self.tk, self.warp, int(aligned))
        # BK (3) is fixed in the source; layer 1.4.309 mistakes constants for one another where ids have gaps.
        return list(enumerate(values))

    def shared_bytes(self, path: str, accumulator: str) -> int:
        """Shared memory of a workgroup (B): A and B staged with padding, and a matrix per subgroup for ragged edges."""
        element = 4 if path == "scalar-f32" else 2
        row = (self.bk + (8 if path == "coopmat" else 2)) * element
        edges = self.tm * self.tn * (self.block // self.warp) * (2 if accumulator == "f16" else 4) if path == "coopmat" else 0
        return (self.bm + self.bn) * row + edges


def fitted(tile: Tile) -> Tile:
    """`tile` with as many subgroup tiles as the workgroup has subgroups.

    llama.cpp's tables suit subgroups of 16 to 64; with 8 (lavapipe) or 128 (Turnip) some would leave subgroups without a
    tile of their own, or the reverse: those are split, or joined, first along M where it is the longer side. A subgroup
    tile narrower than its matrix or invocation tile takes the width from its other side.
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


def _tile(size: str, limits: Limits, coopmat: tuple[int, int, int] | None) -> Tile:
    sg = max(limits.subgroup, 8)
    tm, tn, tk = coopmat or {"l": (4, 4, 1), "m": (4, 2, 1), "s": (2, 2, 1)}[size]
    block, bm, bn, wm, wn = {
        "l": (128, 128, 128, 2 * sg, 64),
        "m": (128, 64, 64, sg, 32),
        "s": (max(sg, 32), 32, 32, 32, 32),
    }[size]
    warp = sg
    wmiter = 2
    if size == "s" and limits.driver_id == LLVMPIPE:
        block = 128  # lavapipe compiles at first dispatch, and takes a quarter of the time for a quarter of the code
    if size == "l" and coopmat and limits.vendor == Vendor.AMD and not limits.amd_proprietary:
        block, wm, wn = 256, sg, 64
    elif size == "l" and coopmat and limits.vendor == Vendor.INTEL:
        block, wm, wn = 512, sg, 32
    elif size == "m" and limits.gcn and not limits.amd_proprietary:
        block, bm, bn, wm, wn, tm, tn, tk, warp = 256, 64, 64, 16, 16, *(coopmat or (2, 2, 1)), 16
    return fitted(Tile(size=size, block=block, bm=bm, bn=bn, wm=wm, wn=wn, wmiter=wmiter, tm=tm, tn=tn, tk=tk, warp=warp))


def _sizes(limits: Limits, coopmat: bool) -> str:
    """The tile sizes that llama.cpp uses on this vendor's devices.

    Of lavapipe llama.cpp knows nothing; it compiles at first dispatch, and the large tile's matrices take it half a minute.
    """
    if limits.driver_id == LLVMPIPE:
        return "sm"
    if limits.vendor == Vendor.APPLE:
        return "m"
    if limits.vendor == Vendor.QUALCOMM:
        return "sm"
    if limits.vendor == Vendor.AMD and (not coopmat or limits.amd_proprietary):
        return "sm"
    if limits.vendor == Vendor.INTEL and not coopmat:
        return "sm"
    return "sml"


def tile_sizes(limits: Limits, coopmat: bool, m: int, n: int) -> list[str]:
    """The sizes to try for D[n, m], the wanted one first: small for few rows or columns, then medium, else large."""
    wanted = "s" if m <= 32 or n <= 32 else "m" if m <= 64 or n <= 64 else "l"
    allowed = _sizes(limits, coopmat)
    return [s for s in "lms" if s in allowed and "sml".index(s) <= "sml".index(wanted)] or [allowed[0]]


def step_along_k(weight_type: str) -> int:
    """BK of a GEMM staged through shared memory: 32, of bf16 16.

    Source: llama.cpp@0c1e570 mul_mm.comp:172-177, ggml-vulkan.cpp:1793 (`l_warptile`, which bf16 shares with f32 and f16, whose step is
    fixed at 32 in the shader).
    """
    return 16 if weight_type == "bf16" else 32


def gemm_tile(limits: Limits, path: str, accumulator: str, m: int, n: int, coopmat: tuple[int, int, int] | None, *, bk: int = 32) -> Tile:
    """The tile for D[n, m] of the first size whose tile fits the device.

    Args:
        coopmat: the cooperative matrix's M, N, K; None for scalar paths.
        bk: as `step_along_k`.
    """
    tiles = [_tile(size, limits, coopmat) for size in tile_sizes(limits, coopmat is not None, m, n)]
    # What fits is asked of the longest step, whatever the weights' is, as llama.cpp does.
    fitting = [t for t in tiles if t.shared_bytes(path, accumulator) <= limits.shared_memory and t.block <= limits.workgroup_invocations]
    return msgspec.structs.replace((fitting or tiles[-1:])[0], bk=bk)  # what does not fit, the requirement's check tells


def gemm_aligned(tile: Tile, m: int, n: int, k: int) -> bool:
    """Whether llama.cpp takes its pipeline without a tail along K."""
    return k % _ALIGNMENT[tile.size] == 0 and m > 8 and n > 8


class Rows(Struct, frozen=True, kw_only=True):
    """A GEMV's workgroup: `block` invocations compute `rows` rows; in words, `hybrid` adds up subgroups' sums in shared memory.

    Attributes:
        reduce: the kernel's reduction, `subgroup` (one or several) or `shared` (memory only).
        required: the subgroup size that the pipeline requires; None where the device takes no requirement.
        unroll: steps along K at a time.
    """

    block: int
    rows: int
    subgroup: int
    reduce: str
    required: int | None
    unroll: int

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows} rows"
        reduce = "hybrid" if self.reduce == "subgroup" and self.block > self.subgroup else self.reduce
        return f"{rows} {self.block}/{self.subgroup} {reduce}"

    def constants(self, n: int) -> list[tuple[int, int]]:
        """The kernel's specialisation constants."""
        return list(enumerate((self.block, self.rows, n, self.subgroup, self.unroll)))

    def shared_bytes(self, n: int) -> int:
        """Shared memory of a workgroup (B): an f32 sum for each invocation, row and column, and a type's table or scales beside."""
        alone = self.reduce == "subgroup" and self.block <= self.subgroup
        return 4 * n * self.rows * (1 if alone else self.block) + max(_TABLE_BYTES, 8 * self.block)


# Rows by type: f16 and f32 as they are, others times 1, or what the vendor's rule says.
_ROWS = {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 2, "q8_0": 1, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}
_LEGACY = ("q4_0", "q8_0")
_TABLE_BYTES = 64  # 16 numbers of f32
_WIDE = 16  # invocations that kernels of the other types want at least
_MANY_ROWS = 8192


def _gemv_subgroup(limits: Limits, wide: bool) -> int:
    """The subgroup size that llama.cpp's GEMV asks for: 16 on Intel, and for K and IQ types where sizes can be chosen."""
    subgroup = limits.subgroup
    low, high = limits.required_sizes or (subgroup, subgroup)
    if limits.vendor == Vendor.INTEL and low <= _WIDE <= high:
        return _WIDE
    return _WIDE if wide and subgroup < _WIDE <= high else subgroup


def gemv_unroll(limits: Limits) -> int:
    """llama.cpp's four; one on lavapipe, which compiles at first dispatch, and four times the code in more than four times the time."""
    return 1 if limits.driver_id == LLVMPIPE else 4


def gemv_rows(limits: Limits, weight_type: str, m: int, k: int) -> Rows:
    """llama.cpp's workgroup for a GEMV of `m` rows of `k`: one subgroup, or four on NVIDIA (not before Turing) and Intel.

    Kernels of K types, iq4_xs and mxfp4 want sixteen invocations: narrower subgroups add up through shared memory.
    """
    rows = _ROWS[weight_type]
    quantised = WEIGHT_TYPES[weight_type].quantised
    wide = quantised and weight_type not in _LEGACY
    if quantised and (limits.gcn or (limits.vendor == Vendor.INTEL and not wide)):
        rows *= 2
    subgroup = _gemv_subgroup(limits, wide)
    # llama.cpp takes an NVIDIA GPU whose driver lists no cooperative matrix for one before Turing.
    several = limits.vendor == Vendor.INTEL or (limits.vendor == Vendor.NVIDIA and limits.coopmat)
    large = several and k >= 1024 and (m < _MANY_ROWS // 2 if weight_type == "q6_k" else m <= _MANY_ROWS)
    narrow = wide and subgroup < _WIDE
    reduce = "subgroup" if limits.arithmetic and limits.vendor != Vendor.APPLE and not narrow else "shared"
    width = _WIDE if narrow else subgroup
    return Rows(
        block=4 * width if large else width,
        rows=rows,
        subgroup=subgroup,
        reduce=reduce,
        required=subgroup if limits.required_sizes else None,
        unroll=gemv_unroll(limits),
    )
