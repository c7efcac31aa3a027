"""Float weights: blocks of one element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats.blocks import F32, U8, as_bytes


def _without_offsets(values: F32) -> tuple[F32, F32]:
    return values, np.zeros((values.shape[0], -(-values.shape[1] // 32)), np.float32)


class Float:
    """A type that numpy knows."""

    def __init__(self, dtype: type[np.floating]) -> None:
        self._dtype = dtype

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Normal values."""
        return as_bytes((rng.standard_normal((rows, k), dtype=np.float32) * np.float32(deviation)).astype(self._dtype))

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Integers from -8 to 8."""
        return as_bytes(rng.integers(-8, 9, (rows, k), dtype=np.int8).astype(self._dtype))

    def decode(self, blocks: U8) -> F32:
        """The values as f32."""
        return blocks.view(self._dtype).astype(np.float32)

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """The values; no offsets."""
        return _without_offsets(self.decode(blocks))


def bf16(values: F32) -> NDArray[np.uint16]:
    """Finite f32 values as the bits of bf16, rounded to nearest even.

    >>> [hex(bits) for bits in bf16(np.array([1.0, 1.00390625, 1.01171875], np.float32))]
    ['0x3f80', '0x3f80', '0x3f82']
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


class BFloat:
    """The upper halves of f32."""

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Normal values."""
        return as_bytes(bf16(rng.standard_normal((rows, k), dtype=np.float32) * np.float32(deviation)))

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Integers from -8 to 8."""
        return as_bytes(bf16(rng.integers(-8, 9, (rows, k), dtype=np.int8).astype(np.float32)))

    def decode(self, blocks: U8) -> F32:
        """The values as f32."""
        return (blocks.view(np.uint16).astype(np.uint32) << 16).view(np.float32)

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """The values; no offsets."""
        return _without_offsets(self.decode(blocks))
