"""Tiles of coopmat2, and when K is split."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vkprobe.llama.matrix_tiles import matrix_tile, reduced_bytes, rows_aligned
from vkprobe.llama.split import Split, part_length, split, split_k
from vkprobe.weights import WEIGHT_TYPES

TYPES = st.sampled_from(list(WEIGHT_TYPES))
SIDES = st.integers(1, 1 << 16)


@pytest.mark.parametrize(
    ("weight_type", "shape", "wanted"),
    [
        ("f16", (4096, 512), (256, 128, 128, 64, False)),
        ("q4_0", (4096, 512), (256, 128, 128, 64, True)),
        ("q4_k", (12288, 512), (256, 128, 256, 64, True)),
        ("f16", (12288, 512), (256, 128, 256, 64, True)),
        ("f16", (4096, 64), (128, 64, 64, 64, False)),
        ("q6_k", (4096, 64), (256, 32, 64, 128, False)),
    ],
)
def test_tiles_are_llama_cpp_s(weight_type: str, shape: tuple[int, int], wanted: tuple[Any, ...]) -> None:
    """Invocations, BM, BN, BK and whether smaller matrices are used at the edge of N, on 132 shader cores."""
    tile = matrix_tile(weight_type, *shape, 132)
    assert (tile.block, tile.bm, tile.bn, tile.bk, tile.smaller) == wanted
    names = ("block", "bm", "bn", "bk", "smaller", "aligned")
    assert tile.constants(True) == dict(zip(names, [*map(int, wanted), 1], strict=True))


@pytest.mark.parametrize(
    ("m", "n", "cores", "size"),
    [
        (4096, 512, 132, "m"),
        (4096, 512, 32, "l"),
        (4096, 128, 132, "m"),
        (4096, 64, 132, "s"),
        (8192, 1024, 132, "l"),
        (2048, 512, 108, "l"),
        (4096, 512, 0, "l"),
        (32, 512, 132, "s"),
        (33, 512, 132, "m"),
    ],
)
def test_the_size_follows_the_shader_cores(m: int, n: int, cores: int, size: str) -> None:
    """Large where medium or large tiles overfill the device, or where large ones leave room to split K; small for few rows."""
    assert matrix_tile("q4_0", m, n, cores).size == size


def test_float_weights_take_the_medium_tile_from_more_rows_on() -> None:
    """The small tile has 32 rows of quantised weights, 64 of others."""
    assert [matrix_tile(t, 64, 512, 132).size for t in ("q4_0", "f16")] == ["m", "s"]
    assert [matrix_tile(t, 512, 32, 132).bm for t in ("q4_0", "f16")] == [32, 64]


@given(TYPES, SIDES, SIDES, st.integers(0, 300))
def test_the_narrowest_matrix_divides_the_tile(weight_type: str, m: int, n: int, cores: int) -> None:
    """Half and a quarter of BN, where the kernel has them."""
    tile = matrix_tile(weight_type, m, n, cores)
    assert tile.bn == tile.narrowest * (4 if tile.smaller else 1)


def test_scales_and_tables_take_shared_memory() -> None:
    """q4_k's and q5_k's scales by row, 64 B each; a table of 16 values in f16, and nvfp4's 128 scales."""
    taken = {t: matrix_tile(t, 4096, 512, 132).shared_bytes(t) for t in WEIGHT_TYPES}
    scales, tables = {"q4_k": 128 * 64, "q5_k": 128 * 64}, {"iq4_xs": 32, "iq4_nl": 32, "mxfp4": 32, "nvfp4": 528}
    assert {t: b for t, b in taken.items() if b} == scales | tables
    assert reduced_bytes(64) == 64 * 80


def test_rows_that_no_vector_begins_at_are_unaligned() -> None:
    """f16 rows of 37 elements."""
    assert [rows_aligned(k) for k in (37, 40, 2880)] == [False, True, True]


@pytest.mark.parametrize(
    ("m", "n", "k", "cores", "parts"),
    [
        (1024, 512, 4096, 132, 4),
        (1024, 512, 1024, 132, 1),
        (4096, 512, 4096, 132, 1),
        (2688, 512, 4096, 132, 3),
        (128, 128, 14336, 132, 8),
        (128, 128, 2048, 132, 8),
        (128, 128, 2304, 132, 5),
        (64, 512, 4096, 132, 8),
        (3328, 128, 2048, 132, 4),
        (1024, 127, 4096, 132, 1),
        (1024, 512, 4096, 0, 1),
    ],
)
def test_splits_of_k(m: int, n: int, k: int, cores: int, parts: int) -> None:
    """The number depends on how much of the device the tiles fill; no part is empty, and fewer columns than a tile's aren't split."""
    assert split_k(128, 128, m, n, k, cores) == parts


@given(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 1 << 16), st.integers(0, 200))
def test_parts_cover_k_and_none_is_empty(m: int, n: int, k: int, cores: int) -> None:
    """Each part but the last has the same length, a multiple of 256."""
    division = split(64, 64, m, n, k, cores)
    assert division.part_k * (division.parts - 1) < k <= division.part_k * division.parts
    assert division.parts == 1 or division.part_k % 256 == 0


def test_the_reduction_sums_four_elements_an_invocation() -> None:
    """256 invocations a workgroup; no workgroup without a split."""
    assert Split(parts=4, part_k=1024).reduce_groups(1024, 512) == 512
    assert Split(parts=4, part_k=1024).reduce_groups(5, 205) == 2
    assert Split(parts=1, part_k=4096).reduce_groups(1024, 512) == 0
    assert part_length(4097, 4) == 1280
