"""Tiles of MUL_MAT_ID by tokens per expert."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pure.llama.facts import BARE, GCN, INTEL, MATRIX, RDNA2, RDNA3, device_limits
from vkprobe.llama.experts import expert_matrix_tile, expert_sizes, expert_tile, tokens_per_expert
from vkprobe.llama.tiles import gemm_tile


@pytest.mark.parametrize(
    ("used", "tokens", "experts", "expected"), [(8, 512, 128, 32), (4, 512, 32, 64), (8, 9, 128, 1), (4, 129, 32, 17), (1, 512, 1, 512)]
)
def test_tokens_per_expert_round_up(used: int, tokens: int, experts: int, expected: int) -> None:
    """30B-A3B's and gpt-oss's prompts among them."""
    assert tokens_per_expert(used, tokens, experts) == expected


@pytest.mark.parametrize(
    ("per_expert", "changed", "expected"),
    [
        (32, {}, "s 32x32 32x32 2x2 32/32"),
        (64, {}, "m 64x64 32x32 4x2 128/32"),
        (65, {}, "l 128x128 64x64 4x4 128/32"),
        (65, RDNA2, "m 64x64 64x32 4x2 128/64"),
        (65, GCN, "m 64x64 16x16 2x2 256/16"),
        (65, {**INTEL, **BARE}, "m 64x64 16x32 4x2 128/16"),
        (32, {**INTEL, **BARE}, "s 32x32 16x32 2x2 32/16"),
    ],
)
def test_scalar_tiles(per_expert: int, changed: dict[str, Any], expected: str) -> None:
    """The common sizes; on Intel made for its smallest subgroup, whose small tile is fitted."""
    device = device_limits(**changed)
    assert str(expert_tile(device, "q4_0", 2048, per_expert)) == expected


def test_float_weights_have_subgroups_of_16_at_least() -> None:
    """Quantised ones of 8."""
    narrow = device_limits(vendor=0x10005, subgroup=8, subgroup_min=8, subgroup_max=8, required_sizes=(8, 8))
    assert str(expert_tile(narrow, "f16", 2048, 64)) == "m 64x64 16x32 4x2 128/16"
    assert str(expert_tile(narrow, "q4_0", 2048, 64)) == "m 64x64 8x32 4x2 128/8"


@pytest.mark.parametrize("matrices", [True, False])
def test_amd_never_has_the_large_tile(matrices: bool) -> None:
    """Other products with matrices do have it there."""
    device = device_limits(**RDNA3)
    assert expert_sizes(device, matrices) == "sm"
    assert expert_tile(device, "q4_0", 4096, 512, MATRIX if matrices else None).size == "m"
    assert gemm_tile(device, "q4_0", "coopmat", 4096, 512, MATRIX).size == "l"


def test_intels_large_quantised_tile_is_square_here() -> None:
    """128x128 in subgroups of 32; f16's is that of other products."""
    device = device_limits(**INTEL)
    assert str(expert_tile(device, "q4_0", 4096, 512, (8, 16, 16))) == "l 128x128 32x32 8x16x16 512/32"
    assert expert_tile(device, "f16", 4096, 512, (8, 16, 16)) == gemm_tile(device, "f16", "coopmat", 4096, 512, (8, 16, 16))


@pytest.mark.parametrize(
    ("weight_type", "per_expert", "decode_vector", "expected"),
    [
        ("q4_k", 32, True, "s 128x64x64 256"),
        ("q4_k", 64, True, "s 128x64x64 256"),
        ("q4_k", 65, True, "l 128x128x64 256"),
        ("q4_k", 65, False, "l 128x128x32 256"),
        ("f16", 64, True, "s 64x64x64 128"),
        ("f16", 65, True, "m 128x128x64 256"),
        ("f16", 129, True, "l 128x256x64 256"),
    ],
)
def test_coopmat2_tiles(weight_type: str, per_expert: int, decode_vector: bool, expected: str) -> None:
    """Quantised weights have 128 rows always, and a longer step with decode vectors."""
    assert str(expert_matrix_tile(weight_type, per_expert, decode_vector=decode_vector)) == expected
