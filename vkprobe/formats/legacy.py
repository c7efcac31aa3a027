"""Blocks of 32 elements with one scale, and an offset where they have one: q4_0, q4_1, q5_0, q5_1, q8_0, iq4_nl, mxfp4."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.blocks import F32, U8, Blocks, Records, as_bytes, halves, scales, signs
from vkprobe.formats.tables import IQ4_EXACT, IQ4_VALUES, MXFP4_VALUES


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


class _Offset(Blocks):
    """q4_1 and q5_1: d * code + m."""

    elements = 32
    most_code: int
    code_deviation: float  # of code and m, where m reaches as far as the middle code

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes; d and m, of either sign each, make the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / self.code_deviation)
        records["m"] = scales(rng, records.shape, deviation / self.code_deviation * self.most_code / 2)
        return as_bytes(records)

    def get_codes(self, records: Records) -> U8:
        """Stored codes: u8[rows, blocks, 2, 16]."""
        return halves(records["qs"], 2)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The offset that is taken away is -m."""
        d, m = (records[name].astype(np.float32)[..., None] for name in ("d", "m"))
        return d, self.get_codes(records).reshape(*records.shape, 1, 32), -m


class Q41(_Offset):
    """q4_1: codes of four bits."""

    layout = np.dtype([("d", "<f2"), ("m", "<f2"), ("qs", "u1", 16)])
    most_code = 15
    code_deviation = 11.6

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales of one and two, of either sign; the codes' middle is near zero."""
        records = self.any_bits(rng, rows, k)
        step, sign = rng.integers(1, 3, records.shape), signs(rng, records.shape)
        records["d"] = sign * step
        records["m"] = sign * (rng.integers(0, 3, records.shape) - 8 * step)
        return as_bytes(records)


def _fifths(records: Records) -> U8:
    """The fifth bits of a block's elements, in their places: u8[rows, blocks, 2, 16]."""
    bits: U8 = np.unpackbits(records["qh"], axis=-1, bitorder="little").reshape(*records.shape, 2, 16)
    shifted: U8 = bits << np.uint8(4)
    return shifted


def _narrowed(rng: np.random.Generator, records: Records) -> NDArray[np.int64]:
    """Narrow the codes of three quarters of the records to 8 to 23; return scales for exact blocks, i64[rows, blocks].

    A quarter keeps all 32 codes at a scale of one; of the narrowed records, a third has a scale of two.
    """
    kind = rng.integers(0, 4, records.shape)
    fifths = np.unpackbits(records["qh"], axis=-1, bitorder="little")
    fourths = (halves(records["qs"], 2) >> np.uint8(3)).reshape(fifths.shape)
    kept = np.where(kind[..., None] > 0, 1 - fourths, fifths)
    records["qh"] = np.packbits(kept, axis=-1, bitorder="little")
    return np.where(kind == 1, 2, 1)


class Q51(_Offset):
    """q5_1: codes of five bits, the fifth in bits of their own."""

    layout = np.dtype([("d", "<f2"), ("m", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
    most_code = 31
    code_deviation = 23.8

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Exact blocks as in q4_1: all codes at a scale of one, codes from 8 to 23 at two."""
        records = self.any_bits(rng, rows, k)
        step, sign = _narrowed(rng, records), signs(rng, records.shape)
        records["d"] = sign * step
        records["m"] = sign * (rng.integers(0, 2, records.shape) - 16 * step)
        return as_bytes(records)

    def get_codes(self, records: Records) -> U8:
        """Stored codes: u8[rows, blocks, 2, 16]."""
        codes: U8 = super().get_codes(records) | _fifths(records)
        return codes


class Q50(_Scaled):
    """q5_0: d * (code - 16), the fifth bit of codes in bits of their own."""

    layout = np.dtype([("d", "<f2"), ("qh", "u1", 4), ("qs", "u1", 16)])
    code_deviation = 9.2

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """All codes at a scale of one, codes from 8 to 23 at two."""
        records = self.any_bits(rng, rows, k)
        records["d"] = signs(rng, records.shape) * _narrowed(rng, records)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The codes' signed values."""
        codes = (halves(records["qs"], 2) | _fifths(records)).reshape(*records.shape, 1, 32)
        return records["d"].astype(np.float32)[..., None], codes.view(np.int8) - np.int8(16), None

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """d * code, and 16 d."""
        records = self.records(blocks)
        d, shape = records["d"].astype(np.float32), (blocks.shape[0], -1)
        codes = halves(records["qs"], 2) | _fifths(records)
        values: F32 = d[..., None, None] * codes.astype(np.float32)
        return values.reshape(shape), d * np.float32(16)


class Iq4Nl(_Scaled):
    """iq4_nl: d times a table's value."""

    layout = np.dtype([("d", "<f2"), ("qs", "u1", 16)])
    code_deviation = 67.4

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales of one and two, of either sign."""
        records = np.empty((rows, k // 32), self.layout)
        doubled = rng.integers(0, 2, records.shape)
        records["d"] = signs(rng, records.shape) << doubled
        codes = IQ4_EXACT[doubled[..., None], rng.integers(0, IQ4_EXACT.shape[1], (*records.shape, 32), dtype=np.uint16)]
        records["qs"] = codes[..., :16] | codes[..., 16:] << 4
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """The codes' values from the table."""
        codes = halves(records["qs"], 2).reshape(*records.shape, 1, 32)
        return records["d"].astype(np.float32)[..., None], IQ4_VALUES[codes], None


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
        return d[..., None], MXFP4_VALUES[halves(records["qs"], 2).reshape(*records.shape, 1, 32)], None
