"""Weight blocks: decoded bit for bit as gguf decodes them, exact ones made of small integers."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vkprobe.formats import F32, FORMATS, U8
from vkprobe.weights import WEIGHT_TYPES

ORACLE = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
    "q4_1": gguf.GGMLQuantizationType.Q4_1,
    "q5_0": gguf.GGMLQuantizationType.Q5_0,
    "q5_1": gguf.GGMLQuantizationType.Q5_1,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q2_k": gguf.GGMLQuantizationType.Q2_K,
    "q3_k": gguf.GGMLQuantizationType.Q3_K,
    "q4_k": gguf.GGMLQuantizationType.Q4_K,
    "q5_k": gguf.GGMLQuantizationType.Q5_K,
    "q6_k": gguf.GGMLQuantizationType.Q6_K,
    "iq4_xs": gguf.GGMLQuantizationType.IQ4_XS,
    "iq4_nl": gguf.GGMLQuantizationType.IQ4_NL,
    "mxfp4": gguf.GGMLQuantizationType.MXFP4,
    "nvfp4": gguf.GGMLQuantizationType.NVFP4,
}
SCALES_AT = {
    "q4_0": [0],
    "q4_1": [0, 2],
    "q5_0": [0],
    "q5_1": [0, 2],
    "q8_0": [0],
    "q2_k": [80, 82],
    "q3_k": [108],
    "q4_k": [0, 2],
    "q5_k": [0, 2],
    "q6_k": [208],
    "iq4_xs": [0],
    "iq4_nl": [0],
    "mxfp4": [],
    "nvfp4": [],
}
"""Where a block's f16 scales are."""
QUANTISED = tuple(SCALES_AT)
OWN_BYTES = {"mxfp4": {0}, "nvfp4": {0, 1, 2, 3}}
"""Scales of a block that aren't f16."""
SCALES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]
"""f16 patterns: zeros of both signs, subnormals, the smallest normal, +-1, the largest, infinities."""
REACH = {"q6_k": 32, "iq4_xs": 127, "iq4_nl": 127}
"""The largest magnitude of exact blocks where all codes can't be within 16."""


def test_every_format_is_compared_with_gguf() -> None:
    """The tests of this file cover the types in ORACLE and SCALES_AT, which are filled in by hand."""
    assert FORMATS.keys() == WEIGHT_TYPES.keys(), "vkprobe/formats and vkprobe/weights.py have different weight types"
    without = sorted(FORMATS.keys() - ORACLE.keys())
    assert not without, f"add {', '.join(without)} to ORACLE: gguf's type to compare with"
    quantised = {name for name in FORMATS if WEIGHT_TYPES[name].quantised}
    without = sorted(quantised - SCALES_AT.keys())
    assert not without, f"add {', '.join(without)} to SCALES_AT: where a block's f16 scales are, [] if it has none"
    without = sorted(name for name in quantised if not SCALES_AT[name] and name not in OWN_BYTES)
    assert not without, f"add {', '.join(without)} to OWN_BYTES: a block's scales that aren't f16"


def oracle(weight_type: str, blocks: U8) -> F32:
    """Decode the blocks with gguf."""
    kind = ORACLE[weight_type]
    return np.asarray(dequantize(blocks.view(np.float32) if weight_type == "f32" else blocks, kind), np.float32)


def same_bits(a: F32, b: F32) -> bool:
    """Equal bit for bit, signs of zeros included; any NaN equals any other."""
    nan = np.isnan(a) & np.isnan(b)
    return a.shape == b.shape and bool(((a.view(np.uint32) == b.view(np.uint32)) | nan).all())


def with_scales(weight_type: str, blocks: U8, scales: NDArray[Any]) -> U8:
    """`blocks` with their f16 scales replaced, repeated as needed."""
    parts = blocks.copy().reshape(-1, WEIGHT_TYPES[weight_type].bytes)
    for number, at in enumerate(SCALES_AT[weight_type]):
        parts[:, at : at + 2] = np.resize(np.roll(scales, number), len(parts)).astype("<u2").view(np.uint8).reshape(-1, 2)
    replaced: U8 = parts.reshape(blocks.shape)
    return replaced


def own_bytes(weight_type: str) -> set[int]:
    """The bytes of a block's own scales."""
    return {byte for at in SCALES_AT[weight_type] for byte in (at, at + 1)} or OWN_BYTES[weight_type]


def finite(weight_type: str, scales: list[int]) -> NDArray[np.uint16]:
    """f16 patterns without infinities and NaN, which no quantiser writes."""
    return np.array([s & 0xFBFF if s & 0x7C00 == 0x7C00 else s for s in scales], np.uint16)


@settings(deadline=None)
@given(
    st.sampled_from(QUANTISED),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(SCALES) | st.integers(0, 0xFFFF), min_size=1),
)
def test_any_bytes_decode_as_gguf_decodes_them(weight_type: str, rows: int, blocks: int, seed: int, scales: list[int]) -> None:
    """Random payloads under extreme, subnormal, zero and infinite scales, of both signs, and any others."""
    size = WEIGHT_TYPES[weight_type].bytes
    data = np.random.default_rng(seed).integers(0, 256, (rows, blocks * size), dtype=np.uint8)
    data = with_scales(weight_type, data, np.array(scales, np.uint16))
    with np.errstate(invalid="ignore", over="ignore"):
        assert same_bits(FORMATS[weight_type].decode(data), oracle(weight_type, data))


@settings(deadline=None)
@given(st.sampled_from(QUANTISED), st.data())
def test_any_block_decodes_as_gguf_decodes_it(weight_type: str, data: st.DataObject) -> None:
    """Bytes that hypothesis chooses and shrinks: all zero, all ones, and what differs in a single bit."""
    size = WEIGHT_TYPES[weight_type].bytes
    block = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)[None]
    with np.errstate(invalid="ignore", over="ignore"):
        assert same_bits(FORMATS[weight_type].decode(block), oracle(weight_type, block))


@pytest.mark.parametrize("weight_type", QUANTISED)
def test_every_code_decodes_as_gguf_decodes_it(weight_type: str) -> None:
    """All 256 bytes in every position of a block: scales of sub-blocks at their largest and smallest among them."""
    size = WEIGHT_TYPES[weight_type].bytes
    data = np.repeat(np.arange(256, dtype=np.uint8)[:, None], size, axis=1)
    data = with_scales(weight_type, data, np.array([0x3C00], np.uint16))
    with np.errstate(over="ignore"):
        decoded = FORMATS[weight_type].decode(data)
        assert same_bits(decoded, oracle(weight_type, data))
    codes = {"q4_0": 16, "q5_0": 32, "q8_0": 256, "iq4_nl": 16}
    if weight_type in codes:
        assert len(np.unique(decoded)) == codes[weight_type]


@pytest.mark.parametrize("weight_type", ["q2_k", "q3_k", "q4_k", "q5_k", "iq4_xs"])
def test_every_scale_of_a_few_bits_decodes_as_gguf_decodes_it(weight_type: str) -> None:
    """Each bit of the packed scales alone, and all but each, over the largest code."""
    first, last = {"q2_k": (0, 16), "q3_k": (96, 108), "q4_k": (4, 16), "q5_k": (4, 16), "iq4_xs": (2, 8)}[weight_type]
    bits = np.eye(8 * (last - first), dtype=np.uint8)
    data = np.full((2 * len(bits), WEIGHT_TYPES[weight_type].bytes), 0xFF, np.uint8)
    data[:, first:last] = np.packbits(np.concatenate([bits, 1 - bits]), axis=1, bitorder="little")
    data = with_scales(weight_type, data, np.array([0x3C00, 0xB800], np.uint16))
    assert same_bits(FORMATS[weight_type].decode(data), oracle(weight_type, data))


def test_every_exponent_of_mxfp4_decodes_as_gguf_decodes_it() -> None:
    """Subnormal at 0 and 1, beyond f32 from 252; 255, NaN in the format's specification, is 2^127 in ggml as in gguf."""
    data = np.random.default_rng(3).integers(0, 256, (256, 17), dtype=np.uint8)
    data[:, 0] = np.arange(256)
    data[:, 1] = 0x2A  # -2 and, 16 further, 2
    with np.errstate(over="ignore"):
        decoded = FORMATS["mxfp4"].decode(data)
        assert same_bits(decoded, oracle("mxfp4", data))
    assert decoded[1, 0] == -(2.0**-126)
    assert decoded[128, 0] == -2
    assert decoded[255, 16] == np.inf
    ones = np.full((1, 17), 0x11, np.uint8)
    ones[0, 0] = 255
    assert (FORMATS["mxfp4"].decode(ones) == np.float32(2.0**127)).all()


def test_every_scale_of_nvfp4_decodes_as_gguf_decodes_it() -> None:
    """Subnormal below 8; 127, NaN in the format's specification, is zero in ggml as in gguf, which both ignore the highest bit."""
    data = np.random.default_rng(3).integers(0, 256, (256, 36), dtype=np.uint8)
    data[:, :4] = np.arange(256)[:, None]
    data[:, 4:] = 0xA2  # 1 and, 8 further, -1
    decoded = FORMATS["nvfp4"].decode(data)
    assert same_bits(decoded, oracle("nvfp4", data))
    assert decoded[1, 0] == 2.0**-9
    assert decoded[0x38, 0] == 1
    assert decoded[0x38, 8] == -1
    assert decoded[0x7E, 0] == 448
    assert decoded[0x7F, 0] == 0


@pytest.mark.parametrize("bits", [0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x3F80, 0x7F7F, 0xFF80, 0x7FC0])
def test_bf16_decodes_as_gguf_decodes_it(bits: int) -> None:
    """Zeros, subnormals, the smallest normal, one, the largest, infinity, NaN."""
    data = np.array([[bits]], np.uint16).view(np.uint8)
    assert same_bits(FORMATS["bf16"].decode(data), oracle("bf16", data))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-30, 30))
def test_bf16_is_rounded_as_gguf_rounds_it(seed: int, exponent: float) -> None:
    """It is rounded to nearest even."""
    blocks = FORMATS["bf16"].random(np.random.default_rng(seed), 3, 64, 2.0**exponent)
    values = np.random.default_rng(seed).standard_normal((3, 64), dtype=np.float32) * np.float32(2.0**exponent)
    assert np.array_equal(blocks, gguf.quants.quantize(values, gguf.GGMLQuantizationType.BF16).view(np.uint8).reshape(3, -1))


@pytest.mark.parametrize("weight_type", list(ORACLE))
@pytest.mark.parametrize("deviation", [0.05, 1 / 120])
def test_random_blocks_are_valid_and_as_wide_as_asked(weight_type: str, deviation: float) -> None:
    """Finite, decoded as gguf does, of about the deviation asked for, and of the type's row size."""
    blocks = FORMATS[weight_type].random(np.random.default_rng(1), 64, 1024, deviation)
    assert blocks.shape == (64, WEIGHT_TYPES[weight_type].row_bytes(1024))
    decoded = FORMATS[weight_type].decode(blocks)
    assert decoded.shape == (64, 1024)
    assert same_bits(decoded, oracle(weight_type, blocks))
    assert np.isfinite(decoded).all()
    assert 0.7 < decoded.std() / deviation < 1.6
    assert abs(decoded.mean()) < 0.25 * deviation


@pytest.mark.parametrize("weight_type", QUANTISED)
def test_random_blocks_have_all_bits_of_the_payload_random(weight_type: str) -> None:
    """Each bit is one in about half of the blocks, but those of the block's own scales."""
    blocks = FORMATS[weight_type].random(np.random.default_rng(1), 64, 8192, 0.05).reshape(-1, WEIGHT_TYPES[weight_type].bytes)
    own = own_bytes(weight_type)
    payload = [i for i in range(blocks.shape[1]) if i not in own]
    often = np.unpackbits(blocks[:, payload], axis=1).mean(axis=0)
    assert np.abs(often - 0.5).max() < 0.06


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(ORACLE)), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_exact_blocks_are_small_integers(weight_type: str, rows: int, blocks: int, seed: int) -> None:
    """Integers of magnitude at most 16, but for a few of types whose codes reach further: their products and f16 sums round nowhere."""
    k = max(32, WEIGHT_TYPES[weight_type].elements) * blocks
    weights = FORMATS[weight_type].exact(np.random.default_rng(seed), rows, k)
    assert weights.shape == (rows, WEIGHT_TYPES[weight_type].row_bytes(k))
    decoded = FORMATS[weight_type].decode(weights)
    assert decoded.shape == (rows, k)
    assert (decoded == np.rint(decoded)).all()
    assert np.abs(decoded).max() <= REACH.get(weight_type, 16)


@pytest.mark.parametrize("weight_type", list(ORACLE))
def test_exact_blocks_have_the_mean_square_that_f16_sums_are_planned_for(weight_type: str) -> None:
    """The mean square is at most 60, with either sign, and few elements are beyond 16."""
    decoded = FORMATS[weight_type].decode(FORMATS[weight_type].exact(np.random.default_rng(4), 64, 8192)).astype(np.float64)
    assert 20 < np.mean(decoded**2) < 61
    assert abs(np.mean(decoded)) < 0.15 * np.sqrt(np.mean(decoded**2))
    assert np.mean(np.abs(decoded) > 16) < 0.06


@pytest.mark.parametrize("weight_type", ["q4_0", "f16", "bf16"])
def test_exact_blocks_use_all_codes(weight_type: str) -> None:
    """A kernel that drops a bit or swaps nibbles has something to get wrong."""
    decoded = FORMATS[weight_type].decode(FORMATS[weight_type].exact(np.random.default_rng(2), 32, 512))
    wanted = np.unique(np.concatenate([np.arange(-8, 8), 2 * np.arange(-8, 8)])) if weight_type == "q4_0" else np.arange(-8, 9)
    assert np.array_equal(np.unique(decoded), wanted)


@pytest.mark.parametrize("weight_type", QUANTISED)
@pytest.mark.parametrize("kind", ["exact", "random"])
def test_blocks_have_every_bit_both_set_and_clear(weight_type: str, kind: str) -> None:
    """Every bit of codes and of sub-blocks' scales takes both values, so no kernel could skip one; own scales and wide codes aside."""
    weight_format = FORMATS[weight_type]
    rng = np.random.default_rng(5)
    blocks = weight_format.exact(rng, 64, 8192) if kind == "exact" else weight_format.random(rng, 64, 8192, 0.05)
    blocks = blocks.reshape(-1, WEIGHT_TYPES[weight_type].bytes)
    own = own_bytes(weight_type)
    often = np.unpackbits(blocks, axis=1).reshape(len(blocks), -1, 8).mean(axis=0)[[i for i in range(blocks.shape[1]) if i not in own]]
    assert often.min() > 0
    assert often.max() < 1


@settings(deadline=None)
@given(
    st.sampled_from(QUANTISED),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(SCALES) | st.integers(0, 0xFFFF), min_size=1),
)
def test_parts_make_what_is_decoded(weight_type: str, rows: int, blocks: int, seed: int, scales: list[int]) -> None:
    """A value minus the offset of its 32, rounded once, is the element; infinities of the largest exponents of mxfp4 included."""
    k = max(32, WEIGHT_TYPES[weight_type].elements) * blocks
    data = np.random.default_rng(seed).integers(0, 256, (rows, WEIGHT_TYPES[weight_type].row_bytes(k)), dtype=np.uint8)
    data = with_scales(weight_type, data, finite(weight_type, scales))
    with np.errstate(over="ignore"):
        values, offsets = FORMATS[weight_type].parts(data)
        decoded = FORMATS[weight_type].decode(data)
    assert values.shape == (rows, k)
    assert offsets.shape == (rows, k // 32)
    assert values.dtype == offsets.dtype == np.float32
    ours = values.astype(np.float64) - np.repeat(offsets, 32, axis=1).astype(np.float64)
    assert np.array_equal(ours.astype(np.float32), decoded)
    if weight_type not in ("q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k"):
        assert not offsets.any()


def test_parts_are_those_of_the_q8_1_product() -> None:
    """q4_0's codes are from 0 to 15, less 8 d; q5_0's to 31, less 16 d; q4_1's and q5_1's plus m.

    q4_k's and q5_k's are less dmin times the sub-block's min; exact, not rounded to f32.
    """
    rng = np.random.default_rng(6)
    q4_0 = FORMATS["q4_0"].random(rng, 8, 256, 1.0)
    d = np.repeat(q4_0.reshape(8, 8, 18)[:, :, :2].copy().view(np.float16).astype(np.float64)[..., 0], 32, axis=1)
    values, offsets = FORMATS["q4_0"].parts(q4_0)
    assert np.array_equal(np.unique(values / d), np.arange(16))
    assert np.array_equal(np.repeat(offsets, 32, axis=1), 8 * d)
    q5_0 = FORMATS["q5_0"].random(rng, 8, 256, 1.0)
    d = np.repeat(q5_0.reshape(8, 8, 22)[:, :, :2].copy().view(np.float16).astype(np.float64)[..., 0], 32, axis=1)
    values, offsets = FORMATS["q5_0"].parts(q5_0)
    assert np.array_equal(np.unique(values / d), np.arange(32))
    assert np.array_equal(np.repeat(offsets, 32, axis=1), 16 * d)
    for weight_type, most in (("q4_1", 15), ("q5_1", 31)):
        blocks = FORMATS[weight_type].random(rng, 8, 256, 1.0)
        dm = blocks.reshape(8, 8, -1)[:, :, :4].copy().view(np.float16).astype(np.float64)
        values, offsets = FORMATS[weight_type].parts(blocks)
        assert np.array_equal(np.unique(values / np.repeat(dm[..., 0], 32, axis=1)), np.arange(most + 1))
        assert np.array_equal(offsets, -dm[..., 1])
    for weight_type, most in (("q4_k", 15), ("q5_k", 31)):
        blocks = FORMATS[weight_type].random(rng, 64, 256, 1.0)
        d, dmin = (blocks[:, at : at + 2].copy().view(np.float16).astype(np.float64) for at in (0, 2))
        values, offsets = FORMATS[weight_type].parts(blocks)
        mins = offsets / dmin
        assert np.array_equal(np.unique(mins), np.arange(64))
        assert np.array_equal(mins[:, :4], blocks[:, 8:12] & 63)
        codes = values.reshape(64, 8, 32) / d[:, None]
        assert np.array_equal(codes, np.rint(codes))
        assert codes.max() == 63 * most


@pytest.mark.parametrize("weight_type", ["f32", "f16", "bf16"])
def test_parts_of_floats_are_the_values(weight_type: str) -> None:
    """No offsets, also where K is no multiple of 32."""
    blocks = FORMATS[weight_type].random(np.random.default_rng(7), 3, 40, 1.0)
    values, offsets = FORMATS[weight_type].parts(blocks)
    assert np.array_equal(values, FORMATS[weight_type].decode(blocks))
    assert offsets.shape == (3, 2)
    assert not offsets.any()
