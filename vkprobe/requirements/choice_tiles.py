"""llama.cpp's tile of a coopmat2 GEMM by shader core count, and when any GEMM splits K. Pure arithmetic.

Source: llama.cpp@b10249 ggml-vulkan.cpp:4061-4096 (tiles), 8582 (choice), 8529 (split-k).
"""

from __future__ import annotations

from typing import NamedTuple

_MOST_SPLITS = 8
_LEAST_K = 2048
_SPLIT_STEP = 256


class Block(NamedTuple):
    """A workgroup tile of BM x BN; `size` is s, m or l."""

    size: str
    bm: int
    bn: int


_LARGE, _MEDIUM = Block("l", 128, 256), Block("m", 128, 128)
_SMALL = {False: Block("s", 64, 64), True: Block("s", 32, 64)}  # of quantised weights


def _tiles(block: Block, m: int, n: int) -> int:
    return -(-m // block.bm) * -(-n // block.bn)


def coopmat2_block(quantised: bool, m: int, n: int, cores: int) -> Block:
    """The tile for D[n, m] on a device of `cores` shader cores.

    >>> [coopmat2_block(True, m, 512, 132).size for m in (1024, 4096, 12288)]
    ['m', 'm', 'l']
    """
    large, medium = _tiles(_LARGE, m, n), _tiles(_MEDIUM, m, n)
    prefer_large = medium > cores or large > cores or (large <= cores // 3 and medium > cores // 2)
    if n > _MEDIUM.bn and prefer_large:
        return _LARGE
    return _MEDIUM if n > _SMALL[quantised].bn else _SMALL[quantised]


def split_k(bm: int, bn: int, m: int, n: int, k: int, cores: int) -> int:
    """Over how many workgroups K is split: 1 unless the tiles of a long K leave much of the device idle.

    >>> split_k(128, 128, 1024, 512, 4096, 132), split_k(128, 128, 4096, 512, 4096, 132), split_k(128, 128, 1024, 512, 4096, 0)
    (4, 1, 1)
    """
    if cores == 0 or m < bm or n < bn or k < _LEAST_K:
        return 1
    tiles = -(-m // bm) * -(-n // bn)
    splits = 1
    if tiles <= cores // 2:
        splits = cores // tiles
    elif tiles <= cores * 2 // 3:
        splits = 3
    splits = min(splits, _MOST_SPLITS)
    while splits > 1 and part_length(k, splits) * (splits - 1) >= k:
        splits -= 1  # the last part would be empty
    return splits


def part_length(k: int, splits: int) -> int:
    """The length of one part of K, rounded up to its step."""
    each = (k + splits - 1) // splits
    return (each + _SPLIT_STEP - 1) // _SPLIT_STEP * _SPLIT_STEP
