"""Activations in the forms that paths read them in: as they lie on the device, and the numbers that they then stand for.

A path that multiplies converted activations is judged on the converted ones, so that its bound tests the kernel and not the
conversion; the conversions are ops of their own.
Source: quantize_row_q8_1_ref in ggml-quants.c, and block_q8_1_x4 in types.glsl, of llama.cpp@b10249.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vkprobe.formats import F32, U8
from vkprobe.formats.floats import bf16
from vkprobe.weights import Q8_1_ELEMENTS, Q8_1_GROUP_ELEMENTS

F64 = NDArray[np.float64]


class Activations(NamedTuple):
    """Converted activations.

    Attributes:
        stored: u8[bytes], as the kernel reads them.
        values: f64[n, k], the numbers that they stand for.
        sums: f64[n, k / 32] of q8_1, each block's stored sum; None of other forms.
    """

    stored: U8
    values: F64
    sums: F64 | None


def converted(form: str, b: F32, rows: int) -> Activations:
    """`b`: f32[n, k] in a form (f32, f16, bf16, q8_1), zero rows added up to `rows`."""
    if form == "q8_1":
        return _q8_1(b)
    padded = np.zeros((rows, b.shape[1]), np.float32)
    padded[: b.shape[0]] = b
    if form == "bf16":
        bits = bf16(padded)
        return Activations(_bytes(bits), (bits.astype(np.uint32) << 16).view(np.float32)[: b.shape[0]].astype(np.float64), None)
    kept = padded.astype(np.float16) if form == "f16" else padded
    return Activations(_bytes(kept), kept[: b.shape[0]].astype(np.float64), None)


def q8_1_blocks(b: F32) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.int8]]:
    """(d, s, q) of f32[blocks, 32] by ggml's rule: d = max|x| / 127, q = x / d rounded half away from zero, s = d * sum(q)."""
    b = np.asarray(b, np.float32)
    d = (np.max(np.abs(b), axis=1) / np.float32(127)).astype(np.float32)
    inverse = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)
    scaled = b * inverse[:, None]
    q = (np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5))).astype(np.int8)
    s = q.sum(axis=1, dtype=np.int32).astype(np.float32) * d
    return d.astype(np.float16), s.astype(np.float16), q


def _q8_1(b: F32) -> Activations:
    n, k = b.shape
    d, s, q = q8_1_blocks(b.reshape(-1, Q8_1_ELEMENTS))
    values = (d.astype(np.float64)[:, None] * q).reshape(n, k)
    return Activations(x4(d, s, q), values, s.astype(np.float64).reshape(n, k // Q8_1_ELEMENTS))


def x4(d: NDArray[np.float16], s: NDArray[np.float16], q: NDArray[np.int8]) -> U8:
    """Blocks of q8_1 in groups of four as kernels read them: u8[bytes]; those that fill the last group up are zeros."""
    more = -d.size % 4
    scales = np.pad(np.stack([d, s], axis=1), ((0, more), (0, 0))).reshape(-1, 8)
    codes = np.pad(q, ((0, more), (0, 0))).reshape(-1, Q8_1_GROUP_ELEMENTS)
    return np.concatenate([scales.view(np.uint8), codes.view(np.uint8)], axis=1).reshape(-1)


def _bytes(values: NDArray[np.generic]) -> U8:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1)
