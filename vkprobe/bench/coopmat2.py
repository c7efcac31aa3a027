"""llama.cpp's coopmat2 GEMM: its tiles, and what a kernel compiled with one asks of a device. Pure functions.

Source: llama.cpp@b10249 ggml-vulkan.cpp:4061-4096 (tiles), 6510-6625 (what it asks for). Choice of a size: requirements/choice_tiles.py.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from vkprobe import kernels
from vkprobe.records import DeviceRecord
from vkprobe.requirements.choice_tiles import coopmat2_block
from vkprobe.requirements.facts import lookup
from vkprobe.requirements.model import Property, Requirement, TupleMatch
from vkprobe.weights import WEIGHT_TYPES

EXTENSION = "VK_NV_cooperative_matrix2"
REDUCED = "reduced"
"""The tier of the kernels for devices that have the extension in part."""

_PROPERTIES = "VkPhysicalDeviceCooperativeMatrix2PropertiesNV"
_SCALE_BYTES = {"q4_k": 64, "q5_k": 64}  # per row: scale and minimum of eight sub-blocks, f32
_TABLE_BYTES = {"iq4_xs": 32, "mxfp4": 32}
_ROW_ALIGNMENT = 8  # elements: 16 B of f16


_STAGED_ROW_BYTES = 80  # 32 elements of f16 and the padding


def reduced_bytes(bm: int) -> int:
    """Shared memory (B) that the reduced kernel's workgroup stages A in; B and D have none."""
    return bm * _STAGED_ROW_BYTES


class MatrixTile(Struct, frozen=True, kw_only=True):
    """A workgroup's tile: matrices of BM x BK and BK x BN; `size` is s, m or l.

    Attributes:
        block: invocations.
        smaller: at the edge of N the tile may have half or a quarter of BN.
    """

    size: str
    block: int
    bm: int
    bn: int
    bk: int
    smaller: bool

    def __str__(self) -> str:
        return f"{self.size} {self.bm}x{self.bn}x{self.bk} {self.block}"

    def constants(self, aligned: bool) -> list[tuple[int, int]]:
        """The kernel's specialisation constants."""
        return list(enumerate((self.block, self.bm, self.bn, self.bk, int(self.smaller), int(aligned))))

    def shared_bytes(self, weight_type: str) -> int:
        """Shared memory of a workgroup (B), without what the driver reserves for its own staging."""
        return self.bm * _SCALE_BYTES.get(weight_type, 0) + _TABLE_BYTES.get(weight_type, 0)


def matrix_tile(weight_type: str, m: int, n: int, cores: int) -> MatrixTile:
    """The tile for D[n, m] on a device of `cores` shader cores (0 where that is not told).

    >>> str(matrix_tile("q4_0", 4096, 512, 132)), str(matrix_tile("q4_k", 32, 9, 132))
    ('m 128x128x64 256', 's 32x64x128 256')
    """
    quantised = WEIGHT_TYPES[weight_type].quantised
    block = coopmat2_block(quantised, m, n, cores)
    if block.size != "s":
        smaller = block.size == "l" or quantised
        return MatrixTile(size=block.size, block=256, bm=block.bm, bn=block.bn, bk=64, smaller=smaller)
    invocations, bk = (256, 128) if quantised else (128, 64)
    return MatrixTile(size="s", block=invocations, bm=block.bm, bn=block.bn, bk=bk, smaller=False)


def rows_aligned(k: int) -> bool:
    """Whether rows of f16 begin at multiples of 16 B."""
    return k % _ROW_ALIGNMENT == 0


def flexible_tuple(tile: MatrixTile, weight_type: str, accumulator: str) -> TupleMatch:
    """The predicate "an entry of flexible dimensions of workgroup scope whose granularities divide the tile's matrices"."""
    component = "bf16" if weight_type == "bf16" else "f16"
    narrowest = tile.bn // 4 if tile.smaller else tile.bn
    return TupleMatch(
        name=f"{component},{component}->{accumulator} of a workgroup of {tile.block} (granularity <= {tile.bm}x{narrowest}x{tile.bk})",
        query="nv_flexible",
        match={
            "a": component,
            "b": component,
            "c": accumulator,
            "result": accumulator,
            "saturating": False,
            "scope": "workgroup",
            "workgroup_invocations": tile.block,
        },
        at_most={"m_granularity": tile.bm, "n_granularity": narrowest, "k_granularity": tile.bk},
        source=f"the tile {tile}",
    )


def requirement(kernel: kernels.Kernel, tile: MatrixTile, device: DeviceRecord) -> Requirement:
    """What `kernel`, compiled with `tile`, asks of `device`, which reserves some shared memory for itself."""
    reserved = int(lookup(device.properties, _PROPERTIES, "cooperativeMatrixWorkgroupScopeReservedSharedMemory") or 0)
    made = kernels.requirement(
        kernel,
        tuples=[flexible_tuple(tile, kernel.type, kernel.accumulator)],
        shared_memory_bytes=tile.shared_bytes(kernel.type) + reserved,
        workgroup_invocations=tile.block,
    )
    limits = (
        ("cooperativeMatrixFlexibleDimensionsMaxDimension", max(tile.bm, tile.bn, tile.bk)),
        ("cooperativeMatrixWorkgroupScopeMaxWorkgroupSize", tile.block),
    )
    own = [Property(struct=_PROPERTIES, member=member, need=need, source=f"the tile {tile}") for member, need in limits]
    return msgspec.structs.replace(made, conditions=(*made.conditions, *own))
