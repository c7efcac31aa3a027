"""Weight blocks in numpy: random valid ones, ones whose products are exact, and what they decode to.

Each format makes `u8[rows, row_bytes]` and decodes it to `f32[rows, k]`.
Source: ggml-quants.c of llama.cpp@b10249; the tests hold the decoders against `gguf.quants`, bit for bit.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]


class Format(Protocol):
    """A weight type's blocks."""

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        """Valid blocks, every bit of the payload random, whose decoded values have about this standard deviation."""

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        """Blocks that decode to integers of magnitude at most 16, all codes in use."""

    def decode(self, blocks: U8) -> F32:
        """What ggml decodes the blocks to: f32[rows, k]."""


def _bytes(values: NDArray[np.generic]) -> U8:
    return np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)


class _Float:
    """Blocks of one element."""

    def __init__(self, dtype: type[np.floating]) -> None:
        self._dtype = dtype

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        return _bytes((rng.standard_normal((rows, k), dtype=np.float32) * np.float32(deviation)).astype(self._dtype))

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        return _bytes(rng.integers(-8, 9, (rows, k), dtype=np.int8).astype(self._dtype))

    def decode(self, blocks: U8) -> F32:
        return blocks.view(self._dtype).astype(np.float32)


def _scales(rng: np.random.Generator, shape: tuple[int, ...], typical: float) -> NDArray[np.float16]:
    """Random f16 scales of either sign, spread over a factor of four around `typical`."""
    magnitude = typical * np.exp2(rng.uniform(-1, 1, shape))
    signs = 1.0 - 2.0 * rng.integers(0, 2, shape)
    scales: NDArray[np.float16] = (magnitude * signs).astype(np.float16)
    return scales


class _Legacy:
    """Blocks of 32 elements: an f16 scale, then the codes."""

    def __init__(self, code_bytes: int, code_deviation: float) -> None:
        self._code_bytes = code_bytes
        self._code_deviation = code_deviation

    def _blocks(self, d: NDArray[np.float16], codes: U8) -> U8:
        rows = d.shape[0]
        return np.concatenate([d.view(np.uint8).reshape(rows, -1, 2), codes.reshape(rows, -1, self._code_bytes)], axis=2).reshape(rows, -1)

    def random(self, rng: np.random.Generator, rows: int, k: int, deviation: float) -> U8:
        d = _scales(rng, (rows, k // 32, 1), deviation / self._code_deviation)
        return self._blocks(d, rng.integers(0, 256, (rows, k // 32, self._code_bytes), dtype=np.uint8))

    def _split(self, blocks: U8) -> tuple[F32, U8]:
        parts = blocks.reshape(blocks.shape[0], -1, 2 + self._code_bytes)
        return np.ascontiguousarray(parts[:, :, :2]).view(np.float16).astype(np.float32), parts[:, :, 2:]

    def _exact_scales(self, rng: np.random.Generator, rows: int, k: int) -> NDArray[np.float16]:
        return rng.integers(1, 3, (rows, k // 32, 1)).astype(np.float16)


class _Q40(_Legacy):
    def __init__(self) -> None:
        super().__init__(16, 4.6)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        return self._blocks(self._exact_scales(rng, rows, k), rng.integers(0, 256, (rows, k // 32, 16), dtype=np.uint8))

    def decode(self, blocks: U8) -> F32:
        d, codes = self._split(blocks)
        values = np.concatenate([codes & 15, codes >> 4], axis=2).astype(np.int8) - np.int8(8)
        decoded: F32 = d * values.astype(np.float32)
        return decoded.reshape(blocks.shape[0], -1)


class _Q80(_Legacy):
    def __init__(self) -> None:
        super().__init__(32, 74.0)

    def exact(self, rng: np.random.Generator, rows: int, k: int) -> U8:
        return self._blocks(self._exact_scales(rng, rows, k), rng.integers(-8, 9, (rows, k // 32, 32), dtype=np.int8).view(np.uint8))

    def decode(self, blocks: U8) -> F32:
        d, codes = self._split(blocks)
        decoded: F32 = d * np.ascontiguousarray(codes).view(np.int8).astype(np.float32)
        return decoded.reshape(blocks.shape[0], -1)


FORMATS: dict[str, Format] = {
    "f32": _Float(np.float32),
    "f16": _Float(np.float16),
    "q4_0": _Q40(),
    "q8_0": _Q80(),
}
"""The formats by name; a new one is a class and a row here."""
