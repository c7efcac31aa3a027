"""Super-blocks of 256 elements with scales of their parts: q2_k, q3_k, q4_k, q5_k, q6_k, iq4_xs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.blocks import F32, U8, Blocks, Records, as_bytes, halves, scales, signs
from vkprobe.formats.tables import IQ4_EXACT, IQ4_VALUES

_NEAR, _FAR = 8, 16  # magnitudes that exact blocks reach
_SHARE_FAR = 0.35


def _codes(rng: np.random.Generator, least: NDArray[Any], most: NDArray[Any], count: int) -> U8:
    """`count` random codes for each element of `least` and `most`, from the one to the other."""
    width = (most - least + 1).astype(np.uint16)[..., None]
    drawn = rng.integers(0, 256, (*least.shape, count), dtype=np.uint8)
    codes: U8 = ((drawn * width >> 8) + least[..., None]).astype(np.uint8)
    return codes


class _Mins(Blocks):
    """q4_k and q5_k: d * scale * code - dmin * min, with scales and mins of six bits for each of eight sub-blocks."""

    elements = 256
    most_code: int
    code_deviation: float  # of scale * code - min, where dmin is so large that mins reach as far as codes

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes, scales and mins; d and dmin make the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / self.code_deviation)
        records["dmin"] = scales(rng, records.shape, deviation / self.code_deviation * self.most_code / 2)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Steps of one to three between codes, offsets to 31, every bit of scales and mins in use."""
        records = np.empty((rows, k // 256), self.layout)
        shape = (*records.shape, 8)
        step = rng.integers(1, 4, shape)
        offset = rng.integers(0, np.minimum(31, step * self.most_code) + 1, shape)
        reach = np.where(rng.random(shape) < _SHARE_FAR, _FAR, _NEAR)
        least = np.maximum(0, -((reach - offset) // step))
        most = np.minimum(self.most_code, (offset + reach) // step)
        sign = signs(rng, records.shape)
        shift = rng.integers(0, 5, (*records.shape, 1))
        shift_min = rng.integers(0, 2, (*records.shape, 1))
        records["d"] = sign * np.exp2(-shift[..., 0])
        records["dmin"] = sign * np.exp2(-shift_min[..., 0])
        records["scales"] = _packed_scales(step << shift, offset << shift_min)
        self.put_codes(records, _codes(rng, least, most, 32))
        return as_bytes(records)

    def put_codes(self, records: Records, codes: U8) -> None:
        """Store codes: u8[rows, blocks, 8, 32]."""
        pairs = (codes & 15).reshape(*records.shape, 4, 2, 32)
        records["qs"] = (pairs[..., 0, :] | pairs[..., 1, :] << 4).reshape(*records.shape, 128)

    def get_codes(self, records: Records) -> U8:
        """Stored codes: u8[rows, blocks, 8, 32]."""
        return halves(records["qs"].reshape(*records.shape, 4, 32), 3).reshape(*records.shape, 8, 32)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Scales and offsets of sub-blocks of 32."""
        own, lowest, rest = np.split(records["scales"], 3, axis=-1)
        scale = np.concatenate([own & 63, rest & 15 | own >> 2 & 48], axis=-1).astype(np.float32)
        offset = np.concatenate([lowest & 63, rest >> 4 | lowest >> 2 & 48], axis=-1).astype(np.float32)
        d, dmin = (records[name].astype(np.float32)[..., None] for name in ("d", "dmin"))
        return d * scale, self.get_codes(records), dmin * offset


def _packed_scales(scale: NDArray[Any], offset: NDArray[Any]) -> U8:
    """Eight scales and eight mins of six bits in twelve bytes."""
    first = [x[..., :4] | x[..., 4:] >> 4 << 6 for x in (scale, offset)]
    return np.concatenate([*first, scale[..., 4:] & 15 | (offset[..., 4:] & 15) << 4], axis=-1).astype(np.uint8)


class Q4K(_Mins):
    """Codes of four bits."""

    layout = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qs", "u1", 128)])
    most_code = 15
    code_deviation = 422.0


class Q5K(_Mins):
    """Codes of five bits: the fifth of sub-block s is bit s of 32 bytes of their own."""

    layout = np.dtype([("d", "<f2"), ("dmin", "<f2"), ("scales", "u1", 12), ("qh", "u1", 32), ("qs", "u1", 128)])
    most_code = 31
    code_deviation = 869.0

    def put_codes(self, records: Records, codes: U8) -> None:
        """Store codes: u8[rows, blocks, 8, 32]."""
        super().put_codes(records, codes)
        records["qh"] = np.packbits(codes >> 4, axis=-2, bitorder="little").reshape(*records.shape, 32)

    def get_codes(self, records: Records) -> U8:
        """Stored codes: u8[rows, blocks, 8, 32]."""
        fifth = np.unpackbits(records["qh"][..., None, :], axis=-2, bitorder="little")
        codes: U8 = super().get_codes(records) | fifth << np.uint8(4)
        return codes


_Q6_REACH = np.repeat(np.array([_NEAR, _FAR, 32]), [15, 4, 1])


class Q6K(Blocks):
    """q6_k: d * scale * (code - 32), with an int8 scale for each sixteen."""

    layout = np.dtype([("ql", "u1", 128), ("qh", "u1", 64), ("scales", "i1", 16), ("d", "<f2")])
    elements = 256

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes and scales; d makes the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / 1366)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Steps of one to three between codes, but one where codes of all sixty-four values are met."""
        records = np.empty((rows, k // 256), self.layout)
        shape = (*records.shape, 16)
        reach = _Q6_REACH[rng.integers(0, len(_Q6_REACH), shape)]
        step = np.where(reach > _FAR, 1, rng.integers(1, 4, shape))
        shift = rng.integers(0, 6, records.shape)
        records["d"] = signs(rng, records.shape) * np.exp2(-shift)
        records["scales"] = signs(rng, shape) * step << shift[..., None]
        codes = _codes(rng, 32 - reach // step, np.minimum(63, 32 + reach // step), 16).reshape(*records.shape, 2, 4, 32)
        low, high = (codes & 15).reshape(*records.shape, 2, 2, 64), codes >> 4
        records["ql"] = (low[..., 0, :] | low[..., 1, :] << 4).reshape(*records.shape, 128)
        shifted = high << (2 * np.arange(4))[:, None]
        records["qh"] = np.bitwise_or.reduce(shifted, axis=-2).reshape(*records.shape, 64)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Scales of sixteen elements."""
        low = halves(records["ql"].reshape(*records.shape, 2, 64), 3).reshape(*records.shape, 2, 4, 32)
        upper = records["qh"].reshape(*records.shape, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
        codes = (low | upper << 4).view(np.int8) - np.int8(32)
        return (
            records["d"].astype(np.float32)[..., None] * records["scales"].astype(np.float32),
            codes.reshape(*records.shape, 16, 16),
            None,
        )


def _quarters(halved: U8) -> U8:
    """Codes of two bits in bytes of each half of a super-block: u8[..., 2, 32] to u8[..., 2, 4, 32]."""
    codes: U8 = (halved[..., None, :] >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3).astype(np.uint8)
    return codes


class Q2K(Blocks):
    """q2_k: d * scale * code - dmin * min, with a scale and a min of four bits for each sixteen."""

    layout = np.dtype([("scales", "u1", 16), ("qs", "u1", 64), ("d", "<f2"), ("dmin", "<f2")])
    elements = 256

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes, scales and mins; d and dmin, of either sign each, make the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / 21.1)
        records["dmin"] = scales(rng, records.shape, deviation / 21.1 * 1.5)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Steps of one to five between codes, offsets to 15, every bit of scales and mins in use."""
        records = self.any_bits(rng, rows, k)
        sign = signs(rng, records.shape)
        shift, shift_min = rng.integers(0, 4, (*records.shape, 1)), rng.integers(0, 2, (*records.shape, 1))
        step = rng.integers(1, np.minimum(5, 15 >> shift) + 1, (*records.shape, 16))
        offset = rng.integers(0, (15 >> shift_min) + 1, (*records.shape, 16))
        records["d"] = sign * np.exp2(-shift[..., 0])
        records["dmin"] = sign * np.exp2(-shift_min[..., 0])
        records["scales"] = step << shift | offset << shift_min << 4
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Scales and offsets of sixteen elements."""
        d, dmin = (records[name].astype(np.float32)[..., None] for name in ("d", "dmin"))
        own, offset = (records["scales"] & 15).astype(np.float32), (records["scales"] >> 4).astype(np.float32)
        codes = _quarters(records["qs"].reshape(*records.shape, 2, 32)).reshape(*records.shape, 16, 16)
        return d * own, codes, dmin * offset

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """The elements, and no offsets: llama.cpp multiplies a min with the sum of its sixteen q8, not with the sum that q8_1 stores."""
        values = self.decode(blocks)
        return values, np.zeros((values.shape[0], values.shape[1] // 32), np.float32)


class Q3K(Blocks):
    """q3_k: d * (scale - 32) * (code - 4), with a scale of six bits for each sixteen; the third bit of codes is in bits of their own."""

    layout = np.dtype([("hmask", "u1", 32), ("qs", "u1", 64), ("scales", "u1", 12), ("d", "<f2")])
    elements = 256

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes and scales; d makes the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / 43.3)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Steps of plus or minus one to four between codes, every bit of scales in use."""
        records = self.any_bits(rng, rows, k)
        shape = (*records.shape, 16)
        shift = rng.integers(0, 5, (*records.shape, 1))
        scale = 32 + (signs(rng, shape) * rng.integers(1, np.minimum(4, 31 >> shift) + 1, shape) << shift)
        records["d"] = signs(rng, records.shape) * np.exp2(-shift[..., 0])
        low = scale[..., :8] & 15 | (scale[..., 8:] & 15) << 4
        high = np.bitwise_or.reduce((scale >> 4).reshape(*records.shape, 4, 4) << 2 * np.arange(4)[:, None], axis=-2)
        records["scales"] = np.concatenate([low, high], axis=-1)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Scales of sixteen elements; the codes' signed values."""
        low = halves(records["scales"][..., :8], 2).reshape(*records.shape, 16)
        high = records["scales"][..., None, 8:] >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3
        scale = (low | high.reshape(*records.shape, 16) << 4).astype(np.float32) - np.float32(32)
        third = np.unpackbits(records["hmask"][..., None, :], axis=-2, bitorder="little").reshape(*records.shape, 2, 4, 32)
        codes = (_quarters(records["qs"].reshape(*records.shape, 2, 32)) | third << np.uint8(2)).view(np.int8) - np.int8(4)
        return records["d"].astype(np.float32)[..., None] * scale, codes.reshape(*records.shape, 16, 16), None


class Iq4Xs(Blocks):
    """iq4_xs: d * (scale - 32) times a table's value, with a scale of six bits for each of eight sub-blocks."""

    layout = np.dtype([("d", "<f2"), ("scales_h", "<u2"), ("scales_l", "u1", 4), ("qs", "u1", 128)])
    elements = 256

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Random codes and scales; d makes the deviation."""
        records = self.any_bits(rng, rows, k)
        records["d"] = scales(rng, records.shape, deviation / 1246)
        return as_bytes(records)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Scales of plus or minus one and two."""
        records = np.empty((rows, k // 256), self.layout)
        shape = (*records.shape, 8)
        doubled = rng.integers(0, 2, shape)
        shift = rng.integers(0, 4, records.shape)
        scale = 32 + (signs(rng, shape) << doubled + shift[..., None])
        records["d"] = signs(rng, records.shape) * np.exp2(-shift)
        records["scales_l"] = scale[..., ::2] & 15 | (scale[..., 1::2] & 15) << 4
        records["scales_h"] = np.bitwise_or.reduce((scale >> 4) << 2 * np.arange(8), axis=-1)
        codes = IQ4_EXACT[doubled[..., None], rng.integers(0, 8192, (*shape, 32), dtype=np.uint16)]
        records["qs"] = (codes[..., :16] | codes[..., 16:] << 4).reshape(*records.shape, 128)
        return as_bytes(records)

    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """Scales of sub-blocks of 32; the codes' values from the table."""
        low = halves(records["scales_l"], 3).reshape(*records.shape, 8)
        high = (records["scales_h"][..., None] >> 2 * np.arange(8, dtype=np.uint16) & 3).astype(np.uint8)
        scale = (low | high << 4).astype(np.float32) - np.float32(32)
        codes = halves(records["qs"].reshape(*records.shape, 8, 16), 3).reshape(*records.shape, 8, 32)
        return records["d"].astype(np.float32)[..., None] * scale, IQ4_VALUES[codes], None
