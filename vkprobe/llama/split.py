"""When a GEMM splits K over workgroups, and the reduction that follows."""

from __future__ import annotations

from msgspec import Struct

_MOST_PARTS = 8
_LEAST_K = 2048
_STEP = 256

REDUCE_BLOCK = 256
"""Invocations of the reduction's workgroup."""
REDUCED_AT_ONCE = 4
"""Elements that an invocation of the reduction sums. Source: ggml-vulkan.cpp:3171."""


class Split(Struct, frozen=True, kw_only=True):
    """K in `parts` parts of `part_k` elements each, the last one shorter; one part of all K is no split."""

    parts: int
    part_k: int

    def reduce_groups(self, m: int, n: int) -> int:
        """Workgroups of the reduction of D[n, m]; 0 where there is none."""
        return -(-m * n // (REDUCED_AT_ONCE * REDUCE_BLOCK)) if self.parts > 1 else 0


def split_k(bm: int, bn: int, m: int, n: int, k: int, cores: int) -> int:
    """Over how many workgroups K is split: 1 unless the tiles of a long K leave much of the device idle.

    D[n, m] may have fewer rows than a tile, but not fewer columns.

    Source: ggml-vulkan.cpp:5852-5892.

    >>> split_k(128, 128, 1024, 512, 4096, 132), split_k(128, 128, 4096, 512, 4096, 132), split_k(128, 128, 1024, 512, 4096, 0)
    (4, 1, 1)
    """
    if cores == 0 or n < bn or k < _LEAST_K:
        return 1
    tiles = -(-m // bm) * -(-n // bn)
    parts = 1
    if tiles <= cores // 2:
        parts = cores // tiles
    elif tiles <= cores * 2 // 3:
        parts = 3
    parts = min(parts, _MOST_PARTS)
    while parts > 1 and part_length(k, parts) * (parts - 1) >= k:
        parts -= 1  # the last part would be empty
    return parts


def part_length(k: int, parts: int) -> int:
    """The length of one of several parts of K, rounded up to its step. Source: ggml-vulkan.cpp:5923-5924."""
    each = -(-k // parts)
    return -(-each // _STEP) * _STEP


def split(bm: int, bn: int, m: int, n: int, k: int, cores: int) -> Split:
    """How K is split for D[n, m] in tiles of `bm` x `bn` on `cores` shader cores."""
    parts = split_k(bm, bn, m, n, k, cores)
    return Split(parts=parts, part_k=part_length(k, parts) if parts > 1 else k)
