"""Tiles of coopmat2, whose matrices span a workgroup.

All three sizes are assumed to exist: no vendor whose sizes llama.cpp restricts has the whole of coopmat2.
"""

from __future__ import annotations

from msgspec import Struct

from vkprobe.weights import WEIGHT_TYPES

_ROW_ALIGNMENT = 8  # elements: 16 B of f16
_STAGED_ROW_BYTES = 80  # 32 elements of f16 and the padding


class MatrixTile(Struct, frozen=True, kw_only=True):
    """A workgroup's tile: matrices of BM x BK and BK x BN.

    Attributes:
        size: s, m or l.
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

    def constants(self, aligned: bool) -> dict[str, int]:
        """The kernel's specialisation constants by name."""
        tile = {name: getattr(self, name) for name in ("block", "bm", "bn", "bk")}
        return {**tile, "smaller": int(self.smaller), "aligned": int(aligned)}

    def shared_bytes(self, weight_type: str) -> int:
        """Shared memory of a workgroup (B), without what the driver reserves for its own staging."""
        row = WEIGHT_TYPES[weight_type]
        return self.bm * row.matrix_scale_bytes + row.matrix_table_bytes

    @property
    def narrowest(self) -> int:
        """The narrowest matrix along N that the kernel has."""
        return self.bn // 4 if self.smaller else self.bn


FLOAT_TILES = {
    "l": MatrixTile(size="l", block=256, bm=128, bn=256, bk=64, smaller=True),
    "m": MatrixTile(size="m", block=256, bm=128, bn=128, bk=64, smaller=False),
    "s": MatrixTile(size="s", block=128, bm=64, bn=64, bk=64, smaller=False),
}
_QUANTISED = {
    "l": MatrixTile(size="l", block=256, bm=128, bn=256, bk=64, smaller=True),
    "m": MatrixTile(size="m", block=256, bm=128, bn=128, bk=64, smaller=True),
    "s": MatrixTile(size="s", block=256, bm=32, bn=64, bk=128, smaller=False),
}


def _tiles(tile: MatrixTile, m: int, n: int) -> int:
    return -(-m // tile.bm) * -(-n // tile.bn)


def matrix_tile(weight_type: str, m: int, n: int, cores: int) -> MatrixTile:
    """The tile for D[n, m] on a device of `cores` shader cores (0 where llama.cpp has no count).

    Large where medium or large tiles overfill the device, or where large ones leave room to split K; medium only for more rows and
    more columns than the small tile has.

    Source: ggml-vulkan.cpp:1738-1761 (tiles), 2819-2838 (choice).

    >>> str(matrix_tile("q4_0", 4096, 512, 132)), str(matrix_tile("q4_k", 32, 512, 132))
    ('m 128x128x64 256', 's 32x64x128 256')
    """
    tiles = _QUANTISED if WEIGHT_TYPES[weight_type].quantised else FLOAT_TILES
    large, medium = _tiles(tiles["l"], m, n), _tiles(tiles["m"], m, n)
    prefer_large = medium > cores or large > cores or (large <= cores // 3 and medium > cores // 2)
    if n > tiles["m"].bn and prefer_large:
        return tiles["l"]
    return tiles["m"] if m > tiles["s"].bm and n > tiles["s"].bn else tiles["s"]


def rows_aligned(k: int) -> bool:
    """Whether rows of f16 begin at multiples of 16 B, which is all that vkprobe's aligned kernels need.

    llama.cpp takes its aligned pipeline only where K is a multiple of 32, 64 or 128, by tile. For other multiples of 8 its kernel lacks an
    alignment hint that vkprobe's has. Source: ggml-vulkan.cpp:1772-1774, 6350-6351; mul_mm_cm2.comp:413.
    """
    return k % _ROW_ALIGNMENT == 0


def reduced_bytes(bm: int) -> int:
    """Shared memory (B) of the reduced kernel, which stages A alone. That kernel is vkprobe's own."""
    return bm * _STAGED_ROW_BYTES
