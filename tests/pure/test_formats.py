"""Weight blocks: decoded bit for bit as gguf decodes them, exact ones made of small integers."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from vkprobe.weights import WEIGHT_TYPES
from vkprobe.worker.formats import F32, FORMATS, U8

QUANTISED = ("q4_0", "q8_0")
ORACLE = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]
"""f16 patterns: zeros of both signs, subnormals, the smallest normal, +-1, the largest, infinities."""


def oracle(weight_type: str, blocks: U8) -> F32:
    """What gguf decodes the blocks to."""
    kind = ORACLE[weight_type]
    return np.asarray(dequantize(blocks.view(np.float32) if weight_type == "f32" else blocks, kind), np.float32)


def same_bits(a: F32, b: F32) -> bool:
    """Equal bit for bit, signs of zeros included; any NaN equals any other."""
    nan = np.isnan(a) & np.isnan(b)
    return a.shape == b.shape and bool(((a.view(np.uint32) == b.view(np.uint32)) | nan).all())


def with_scales(weight_type: str, blocks: U8, scales: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> U8:
    """`blocks` with their scales replaced, repeated as needed."""
    parts = blocks.copy().reshape(-1, WEIGHT_TYPES[weight_type].bytes)
    parts[:, :2] = np.resize(scales, len(parts)).astype("<u2").view(np.uint8).reshape(-1, 2)
    replaced: U8 = parts.reshape(blocks.shape)
    return replaced


@settings(deadline=None)
@given(
    st.sampled_from(QUANTISED),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(SCALES), min_size=1),
)
def test_any_bytes_decode_as_gguf_decodes_them(weight_type: str, rows: int, blocks: int, seed: int, scales: list[int]) -> None:
    """Random payloads under extreme, subnormal, zero and infinite scales."""
    size = WEIGHT_TYPES[weight_type].bytes
    data = np.random.default_rng(seed).integers(0, 256, (rows, blocks * size), dtype=np.uint8)
    data = with_scales(weight_type, data, np.array(scales, np.uint16))
    with np.errstate(invalid="ignore", over="ignore"):
        assert same_bits(FORMATS[weight_type].decode(data), oracle(weight_type, data))


@pytest.mark.parametrize("weight_type", QUANTISED)
def test_every_code_decodes_as_gguf_decodes_it(weight_type: str) -> None:
    """All 256 bytes in every position of a block."""
    size = WEIGHT_TYPES[weight_type].bytes
    data = np.repeat(np.arange(256, dtype=np.uint8)[:, None], size, axis=1)
    data = with_scales(weight_type, data, np.array([0x3C00], np.uint16))
    decoded = FORMATS[weight_type].decode(data)
    assert same_bits(decoded, oracle(weight_type, data))
    assert len(np.unique(decoded)) == (16 if weight_type == "q4_0" else 256)


@pytest.mark.parametrize("weight_type", list(ORACLE))
def test_random_blocks_are_valid_and_as_wide_as_asked(weight_type: str) -> None:
    """Finite, decoded as gguf does, of about the deviation asked for, and of the type's row size."""
    blocks = FORMATS[weight_type].random(np.random.default_rng(1), 64, 512, 0.05)
    assert blocks.shape == (64, WEIGHT_TYPES[weight_type].row_bytes(512))
    decoded = FORMATS[weight_type].decode(blocks)
    assert decoded.shape == (64, 512)
    assert same_bits(decoded, oracle(weight_type, blocks))
    assert np.isfinite(decoded).all()
    assert 0.035 < decoded.std() < 0.08


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(list(ORACLE)), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_exact_blocks_are_small_integers(weight_type: str, rows: int, blocks: int, seed: int) -> None:
    """Integers of magnitude at most 16: their products and f16 sums round nowhere."""
    made = FORMATS[weight_type].exact(np.random.default_rng(seed), rows, 32 * blocks)
    decoded = FORMATS[weight_type].decode(made)
    assert decoded.shape == (rows, 32 * blocks)
    assert (decoded == np.rint(decoded)).all()
    assert np.abs(decoded).max() <= 16


@pytest.mark.parametrize("weight_type", ["q4_0", "f16"])
def test_exact_blocks_use_all_codes(weight_type: str) -> None:
    """A kernel that drops a bit or swaps nibbles has something to get wrong."""
    decoded = FORMATS[weight_type].decode(FORMATS[weight_type].exact(np.random.default_rng(2), 32, 512))
    wanted = np.arange(-8, 9) if weight_type == "f16" else np.unique(np.concatenate([np.arange(-8, 8), 2 * np.arange(-8, 8)]))
    assert np.array_equal(np.unique(decoded), wanted)
