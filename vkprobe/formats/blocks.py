"""Shared code of the quantised formats: blocks as numpy records, their scales, and how elements follow from scales and codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Records = NDArray[Any]


def as_bytes(values: NDArray[Any]) -> U8:
    """An array's memory, row by row: u8[rows, bytes]."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)


def halves(codes: U8, axis: int) -> U8:
    """The low halves of bytes, then the high ones, along a new axis."""
    return np.stack([codes & 15, codes >> 4], axis=axis)


def scales(rng: np.random.Generator, shape: tuple[int, ...], typical: float) -> NDArray[np.float16]:
    """Random f16 scales of either sign, spread over a factor of four around `typical`."""
    magnitude = typical * np.exp2(rng.uniform(-1, 1, shape))
    values: NDArray[np.float16] = (magnitude * signs(rng, shape)).astype(np.float16)
    return values


def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Ones of either sign."""
    return 1 - 2 * rng.integers(0, 2, shape)


class Blocks(ABC):
    """A quantised format.

    Attributes:
        layout: a block in memory, packed.
        elements: a block's, along K.
    """

    layout: np.dtype[Any]
    elements: int

    def records(self, blocks: U8) -> Records:
        """Bytes as records: [rows, k / elements]."""
        return np.ascontiguousarray(blocks).view(self.layout)

    def any_bits(self, rng: np.random.Generator, rows: int, k: int) -> Records:
        """Records of random bits: their scales are yet to be made valid."""
        return rng.integers(0, 256, (rows, k // self.elements * self.layout.itemsize), dtype=np.uint8).view(self.layout)

    @abstractmethod
    def scaled(self, records: Records) -> tuple[F32, NDArray[Any], F32 | None]:
        """(scale f32[rows, blocks, n], codes [rows, blocks, n, elements / n], offset of scale's shape, or None): scale * code - offset."""

    def decode(self, blocks: U8) -> F32:
        """Decode the blocks as ggml does."""
        values, offset = self._products(*self.scaled(self.records(blocks)))
        if offset is not None:
            values -= offset[..., None]
        return values.reshape(blocks.shape[0], -1)

    def parts(self, blocks: U8) -> tuple[F32, F32]:
        """Values, and offsets of each 32 elements."""
        values, offset = self._products(*self.scaled(self.records(blocks)))
        values = values.reshape(blocks.shape[0], -1)
        if offset is None:
            offset = np.zeros((blocks.shape[0], values.shape[1] // 32), np.float32)
        return values, offset.reshape(blocks.shape[0], -1)

    @staticmethod
    def _products(scale: F32, codes: NDArray[Any], offset: F32 | None) -> tuple[F32, F32 | None]:
        values: F32 = scale[..., None] * codes.astype(np.float32)
        return values, offset
