"""Tiles of products with q8_1 activations: llama.cpp's, and such that the kernels compute every element once."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pure.llama.facts import AMD_CLOSED, AMDVLK, GCN, INTEL, MATRIX, RDNA2, RDNA3, device_limits, recorded
from vkprobe.llama.device import limits
from vkprobe.llama.int_tiles import gemm_tile, int8_constants, int8_shared_bytes, int8_subgroup, int8_supported, int8_tile, shared_bytes
from vkprobe.llama.tiles import Tile
from vkprobe.weights import WEIGHT_TYPES

TYPES = [name for name, row in WEIGHT_TYPES.items() if row.q8_1 is not None and row.q8_1.gemm]
INT8_TYPES = [name for name, row in WEIGHT_TYPES.items() if row.q8_1 is not None and row.q8_1.int8_architectures]
VENDORS: dict[str, dict[str, Any]] = {"nvidia": {}, "rdna": RDNA2, "gcn": GCN, "amd": AMD_CLOSED, "intel": INTEL}


def tile(weight_type: str = "q4_0", m: int = 4096, n: int = 512, /, **changed: Any) -> Tile:
    """The intdot tile of a shape on a device that is NVIDIA's but for what is changed."""
    return gemm_tile(device_limits(**changed), weight_type, m, n)


@pytest.mark.parametrize(
    ("weight_type", "n", "expected"),
    [
        ("q4_0", 512, "l 128x128 64x64 4x4 128/32"),
        ("q4_k", 512, "l 128x128 64x64 4x4 128/32"),
        ("mxfp4", 64, "m 64x64 32x32 2x2 128/32"),
        ("q6_k", 64, "m 64x64 32x32 2x2 128/32"),
        ("q8_0", 32, "s 32x32 32x32 2x1 32/32"),
    ],
)
def test_nvidia_has_all_three_sizes(weight_type: str, n: int, expected: str) -> None:
    """The tables' rows for subgroups of 32."""
    assert str(tile(weight_type, 4096, n)) == expected


def test_k_types_cover_a_subgroup_tile_in_one_step_along_m() -> None:
    """WMITER is all that differs between the two tables."""
    for size_n in (512, 64, 32):
        legacy, k_type = tile("q8_0", 4096, size_n), tile("q5_k", 4096, size_n)
        assert (legacy.wmiter, k_type.wmiter) == (2, 1)
        assert replace(legacy, wmiter=1) == k_type


@pytest.mark.parametrize(("vendor", "size"), [("rdna", "m"), ("gcn", "m"), ("amd", "m"), ("intel", "m"), ("nvidia", "l")])
def test_large_tiles_are_nvidia_s(vendor: str, size: str) -> None:
    """llama.cpp gives AMD and Intel large tiles with matrix units only."""
    assert tile(**VENDORS[vendor]).size == size


def test_gcn_has_a_medium_tile_of_its_own_for_blocks_of_32() -> None:
    """256 invocations in groups of 16; K types have the common one."""
    assert str(tile("q4_0", **GCN)) == "m 64x64 16x16 2x2 256/16"
    assert str(tile("q4_k", **GCN)) == "m 64x64 64x32 2x2 128/64"
    assert str(tile("q4_0", **{**GCN, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"})) == "m 64x64 64x32 2x2 128/64"


def test_lavapipe_keeps_llama_cpp_s_small_tile() -> None:
    """Its code is short: vkprobe's deviation for the small tile is for other paths."""
    assert str(gemm_tile(limits(recorded("lvp")), "q4_0", 4096, 32)) == "s 32x32 8x32 2x1 32/8"


def elements(t: Tile) -> list[tuple[int, int]]:
    """(row, column) of every result of a workgroup, by gemm/intdot.comp's arithmetic."""
    wniter = t.wm * t.wn // (t.warp * t.tm * t.tn * t.wmiter)
    wsubm, wsubn = t.wm // t.wmiter, t.wn // wniter
    lanes_m = wsubm // t.tm
    places: list[tuple[int, int]] = []
    for invocation in range(t.block):
        warp, lane = divmod(invocation, t.warp)
        m = warp % (t.bm // t.wm) * t.wm + lane % lanes_m * t.tm
        n = warp // (t.bm // t.wm) * t.wn + lane // lanes_m * t.tn
        own_rows = [m + i // t.tm * wsubm + i % t.tm for i in range(t.wmiter * t.tm)]
        own_columns = [n + j // t.tn * wsubn + j % t.tn for j in range(wniter * t.tn)]
        places += product(own_rows, own_columns)
    return places


@pytest.mark.parametrize("subgroup", [8, 16, 32, 64, 128])
@pytest.mark.parametrize("vendor", list(VENDORS))
@pytest.mark.parametrize("weight_type", ["q4_0", "q4_k"])
@pytest.mark.parametrize("n", [32, 64, 512])
def test_every_element_of_a_tile_is_computed_once(weight_type: str, vendor: str, subgroup: int, n: int) -> None:
    """This holds for every size, table and subgroup size."""
    t = tile(weight_type, 4096, n, **{**VENDORS[vendor], "subgroup": subgroup})
    assert sorted(elements(t)) == [(m, k) for m in range(t.bm) for k in range(t.bn)]


@given(st.sampled_from(TYPES), st.integers(1, 1 << 16), st.integers(9, 4096), st.sampled_from([16384, 32768, 49152, 65536]))
def test_a_tile_fits_the_shared_memory_that_there_is(weight_type: str, m: int, n: int, shared_memory: int) -> None:
    """The small tile fits the specification's minimum; with 48 KiB the wanted size is taken."""
    t = tile(weight_type, m, n, shared_memory=shared_memory)
    assert shared_bytes(t, weight_type) <= shared_memory
    if shared_memory >= 49152:
        assert t.size == ("s" if min(m, n) <= 32 else "m" if min(m, n) <= 64 else "l")


@pytest.mark.parametrize(("weight_type", "expected"), [("q8_0", 36864), ("q4_k", 28672), ("iq4_xs", 36880), ("mxfp4", 36880)])
def test_shared_memory_is_what_the_kernel_declares(weight_type: str, expected: int) -> None:
    """128x128: four blocks of each row of A and of B, 9 words of 4 B each, of q4_k 5; a table beside them."""
    assert shared_bytes(tile(weight_type), weight_type) == expected


def test_a_type_without_such_kernels_has_no_tile() -> None:
    """f16 on either integer path."""
    with pytest.raises(KeyError, match="f16"):
        tile("f16")
    with pytest.raises(KeyError, match="bf16"):
        int8_tile(device_limits(**RDNA3), "bf16", 4096, 512, MATRIX)


@pytest.mark.parametrize(
    ("weight_type", "shape", "changed", "expected"),
    [
        ("q4_0", (4096, 512), RDNA3, "l 128x128 32x32 16x16x16 512/32"),
        ("q6_k", (4096, 512), RDNA3, "l 64x128 32x32 16x16x16 256/32"),
        ("q4_0", (4096, 64), RDNA3, "m 64x64 32x32 16x16x16 128/32"),
        ("q4_0", (4096, 32), RDNA3, "s 32x32 32x32 16x16x16 32/32"),
        ("q4_0", (4096, 512), {**RDNA3, "required_sizes": None}, "l 128x128 64x32 16x16x16 512/64"),
        ("q6_k", (4096, 512), {**RDNA3, "required_sizes": None}, "l 64x128 64x32 16x16x16 256/64"),
        ("q4_0", (4096, 512), AMDVLK, "l 128x128 32x32 16x16x16 512/32"),
        ("q4_0", (4096, 512), AMD_CLOSED, "m 64x64 32x32 16x16x16 128/32"),
        ("q4_0", (4096, 512), {**RDNA3, "shared_memory": 32768}, "m 64x64 32x32 16x16x16 128/32"),
    ],
)
def test_int8_matrix_tiles(weight_type: str, shape: tuple[int, int], changed: dict[str, Any], expected: str) -> None:
    """128x128, or 64x128 for types with two scales; subgroups of 32 where those can be required; a smaller tile where it doesn't fit."""
    assert str(int8_tile(device_limits(**changed), weight_type, *shape, MATRIX)) == expected


@pytest.mark.parametrize(
    ("weight_type", "expected"), [("q8_0", 40960), ("q4_k", 45056), ("q6_k", 31744), ("iq4_xs", 40976), ("mxfp4", 40976)]
)
def test_shared_memory_of_int8_matrices(weight_type: str, expected: int) -> None:
    """Rows of 36 words, scales in f32 for four blocks, offsets doubling both sides'; a table of 16 B."""
    t = int8_tile(device_limits(**RDNA3), weight_type, 4096, 512, MATRIX)
    assert int8_shared_bytes(t, weight_type) == expected
    rows, scales = (t.bm + t.bn) * 36 * 4, t.bn * 4 * 4
    assert expected > rows + scales


@pytest.mark.parametrize("weight_type", INT8_TYPES)
@pytest.mark.parametrize("n", [32, 64, 512])
@pytest.mark.parametrize("subgroup", [32, 64])
def test_an_int8_tile_has_a_matrix_tile_for_each_subgroup(weight_type: str, n: int, subgroup: int) -> None:
    """Whole matrices tile it."""
    changed = {**RDNA3, "required_sizes": (32, 64) if subgroup == 32 else None}
    t = int8_tile(device_limits(**changed), weight_type, 4096, n, MATRIX)
    assert t.warp == subgroup
    assert (t.bm // t.wm) * (t.bn // t.wn) == t.block // t.warp
    assert t.wm % t.tm == t.wn % t.tn == 0


def test_int8_matrices_are_for_rdna3_and_for_some_types_for_rdna4() -> None:
    """Types with an offset stay with f16 on RDNA4; NVIDIA and Intel list int8 matrices that llama.cpp leaves alone."""
    taken = {
        arch: {t for t in WEIGHT_TYPES if int8_supported(device_limits(**{**RDNA3, "architecture": arch}), t)}
        for arch in ("amd-rdna3", "amd-rdna4")
    }
    assert taken["amd-rdna3"] == set(INT8_TYPES)
    assert taken["amd-rdna3"] - taken["amd-rdna4"] == {"q4_1", "q5_1", "q4_k", "q5_k", "nvfp4"}
    assert not any(int8_supported(limits(recorded(name)), t) for name in ("nvidia-h200", "anv-bmg", "turnip-750") for t in WEIGHT_TYPES)
    assert not int8_supported(replace(device_limits(**RDNA3), int8_matrix=None), "q4_0")


def test_int8_subgroups_have_32_invocations_where_amd_can_require_them() -> None:
    """GCN can't; other vendors keep their own size."""
    assert [int8_subgroup(device_limits(**changed)) for changed in (RDNA3, GCN, {}, INTEL)] == [32, 64, 32, 32]


@pytest.mark.parametrize(("architecture", "layout"), [("amd-rdna3", 0), ("amd-rdna4", 1), ("other", 2), (None, 2)])
def test_int8_kernels_know_how_an_accumulator_lies_in_registers(architecture: str | None, layout: int) -> None:
    """The last constant, where other kernels have `aligned`; a lookup where llama.cpp has no such kernel."""
    device = device_limits(**{**RDNA3, "architecture": architecture})
    constants = int8_constants(int8_tile(device, "q4_0", 4096, 512, MATRIX), device)
    assert list(constants)[-2:] == ["warp", "layout"]
    assert constants["layout"] == layout
