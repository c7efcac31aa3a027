"""Blocks of 32 elements with one scale: q4_0, q8_0, mxfp4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.blocks import F32, U8, Blocks, Records, as_bytes, halves, scales


class _Scaled(Blocks):
    """Blocks with an f16 scale."""

    elements = 32
    code_deviation: float

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes; the scales make the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / self.code_deviation)
        return as_bytes(records)


class Q40(_Scaled):
    """q4_0: d * (code - 8)."""

    layout = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
    code_deviation = 4.6

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales of one and two."""
        records = self.any_bits(rng, rows, k)
        records["d"] = rng.integers(1, 3, records.shape)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The codes' signed values."""
        return records["d"].astype(np.float32)[..., None], halves(records["qs"], 2).view(np.int8) - np.int8(8), None

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """d * code, and 8 d."""
        records = self.records(blocks)
        d, shape = records["d"].astype(np.float32), (blocks.shape[0], -1)
        values: F32 = d[..., None, None] * halves(records["qs"], 2).astype(np.float32)
        return values.reshape(shape), d * np.float32(8)


class Q80(_Scaled):
    """q8_0: d * code."""

    layout = np.dtype([("d", "<f2"), ("qs", "i1", 32)])
    code_deviation = 74.0

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales of one and two; codes from -8 to 8."""
        records = np.empty((rows, k // 32), self.layout)
        records["d"] = rng.integers(1, 3, records.shape)
        records["qs"] = rng.integers(-8, 9, (*records.shape, 32), dtype=np.int8)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The codes are the values."""
        return records["d"].astype(np.float32)[..., None], records["qs"][..., None, :], None


_MXFP4_VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
_MXFP4_DEVIATION = 5.83
_MXFP4_ONE = 128  # the exponent of one
_MXFP4_EXACT = np.array(  # codes whose values are integers, of magnitude at most 16, at a half, one and two
    [
        [0, 2, 2, 4, 4, 5, 6, 7, 8, 10, 10, 12, 12, 13, 14, 15],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [0, 1, 2, 3, 4, 5, 6, 1, 8, 9, 10, 11, 12, 13, 14, 9],
    ],
    np.uint8,
)


class Mxfp4(Blocks):
    """mxfp4: 2^(e - 128) times the doubled value of e2m1. e = 255, the format's NaN, is 2^127, as ggml's CPU code has it."""

    layout = np.dtype([("e", "u1"), ("qs", "u1", 16)])
    elements = 32

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes; exponents spread over a factor of four."""
        records = self.any_bits(rng, rows, k)
        exponents = np.log2(deviation / _MXFP4_DEVIATION) + _MXFP4_ONE + rng.uniform(-1, 1, records.shape)
        records["e"] = np.clip(np.rint(exponents), 0, 254)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Exponents of a half, one and two."""
        records = self.any_bits(rng, rows, k)
        scale = np.array([0, 1, 1, 2])[rng.integers(0, 4, records.shape)]
        records["e"] = _MXFP4_ONE - 1 + scale
        low, high = records["qs"] & 15, records["qs"] >> 4
        kept = scale[..., None]
        records["qs"] = _MXFP4_EXACT[kept, low] | _MXFP4_EXACT[kept, high] << 4
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The codes' values from the table."""
        e = records["e"].astype(np.uint32)
        d: F32 = np.where(e < 2, np.uint32(0x00200000) << np.minimum(e, 1), (np.maximum(e, 1) - 1) << 23).astype(np.uint32).view(np.float32)
        return d[..., None], _MXFP4_VALUES[halves(records["qs"], 2).reshape(*records.shape, 1, 32)], None
