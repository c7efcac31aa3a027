"""Tiles of the scalar paths and coopmat, vendor by vendor; and that any tile is one that the kernels can run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pure.llama.facts import (
    AMD_CLOSED,
    AMDVLK,
    BARE,
    GCN,
    INTEL,
    LIMITS,
    MATRIX,
    QUALCOMM,
    RDNA2,
    RDNA3,
    device_limits,
    recorded,
)
from vkprobe.llama.device import HONEYKRISP, LAVAPIPE, Limits, Vendor, limits
from vkprobe.llama.tiles import Tile, counted_bytes, gemm_aligned, gemm_tile
from vkprobe.weights import WEIGHT_TYPES

Shape = tuple[int, int]
Matrix = tuple[int, int, int]


def tile(m: int = 4096, n: int = 512, matrix: Matrix | None = None, weight_type: str = "q4_0", /, **changed: Any) -> Tile:
    """The tile of a shape on a device that is NVIDIA's but for what is changed."""
    return gemm_tile(device_limits(**changed), weight_type, "coopmat" if matrix else "scalar-f16", m, n, matrix)


@pytest.mark.parametrize(
    ("shape", "matrix", "expected"),
    [
        ((4096, 512), None, "l 128x128 64x64 4x4 128/32"),
        ((4096, 512), MATRIX, "l 128x128 64x64 16x16x16 128/32"),
        ((4096, 64), None, "m 64x64 32x32 4x2 128/32"),
        ((4096, 64), MATRIX, "m 64x64 32x32 16x16x16 128/32"),
        ((4096, 32), None, "s 32x32 32x32 2x2 32/32"),
        ((32, 4096), MATRIX, "s 32x32 32x32 16x16x16 32/32"),
    ],
)
def test_nvidia_has_all_three_sizes(shape: Shape, matrix: Matrix | None, expected: str) -> None:
    """The table's rows for subgroups of 32."""
    assert str(tile(*shape, matrix)) == expected


@pytest.mark.parametrize(
    ("m", "n", "size"), [(32, 4096, "s"), (33, 33, "m"), (4096, 32, "s"), (64, 65, "m"), (65, 64, "m"), (65, 65, "l"), (1, 1, "s")]
)
def test_the_size_follows_the_smaller_side(m: int, n: int, size: str) -> None:
    """Small up to 32 rows or columns, medium up to 64, large beyond."""
    assert tile(m, n).size == size


@pytest.mark.parametrize(
    ("changed", "matrix", "expected"),
    [
        (RDNA3, MATRIX, "l 128x128 64x64 16x16x16 256/64"),
        (AMDVLK, MATRIX, "l 128x128 64x64 16x16x16 256/64"),
        (AMD_CLOSED, MATRIX, "m 64x64 64x32 16x16x16 128/64"),
        (RDNA2, None, "m 64x64 64x32 4x2 128/64"),
        (GCN, None, "m 64x64 16x16 2x2 256/16"),
        ({**GCN, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"}, None, "m 64x64 64x32 4x2 128/64"),
        (INTEL, (8, 16, 16), "l 128x256 32x32 8x16x16 512/16"),
        ({**INTEL, "architecture": "intel-xe1"}, (8, 16, 16), "l 256x128 32x32 8x16x16 512/16"),
        ({**INTEL, **BARE}, None, "m 64x64 32x32 4x2 128/32"),
        ({"vendor": Vendor.APPLE}, None, "m 64x64 32x32 4x2 128/32"),
        ({"vendor": 0x10005, "driver_id": HONEYKRISP}, None, "m 64x64 32x32 4x2 128/32"),
        (QUALCOMM, None, "m 64x64 32x32 4x2 128/32"),
        (QUALCOMM, MATRIX, "m 64x64 64x64 16x16x16 64/64"),
    ],
)
def test_vendors_have_tiles_of_their_own(changed: dict[str, Any], matrix: Matrix | None, expected: str) -> None:
    """Large tiles only where llama.cpp has them; GCN's, Intel's and Qualcomm's workgroups."""
    assert str(tile(4096, 512, matrix, **changed)) == expected


@pytest.mark.parametrize(
    ("changed", "matrix", "expected"),
    [
        (GCN, None, "m 64x64 64x32 4x2 128/64"),
        (INTEL, (8, 16, 16), "l 128x128 32x32 8x16x16 512/32"),
        ({**INTEL, "subgroup": 16}, (8, 16, 16), "l 128x128 16x32 8x16x16 512/16"),
    ],
)
def test_float_weights_keep_the_common_tile_where_quantised_ones_do_not(changed: dict[str, Any], matrix: Matrix, expected: str) -> None:
    """GCN's medium tile and Intel's wide one are for quantised weights."""
    assert str(tile(4096, 512, matrix, "f16", **changed)) == expected


def test_sizes_that_a_vendor_lacks_are_not_taken_for_small_shapes() -> None:
    """Apple has the medium tile only, and Qualcomm's matrices, too."""
    assert tile(16, 16, vendor=Vendor.APPLE).size == "m"
    assert tile(16, 16, MATRIX, **QUALCOMM).size == "m"
    assert tile(16, 16, **QUALCOMM).size == "s"


@pytest.mark.parametrize("vendor", [0x10005, 0x5143, *Vendor])
def test_without_matrices_large_tiles_are_for_other_vendors(vendor: int) -> None:
    """AMD, Apple, Qualcomm and Intel have none."""
    assert (tile(4096, 4096, vendor=vendor).size == "l") == (vendor in (0x10005, Vendor.NVIDIA))


def test_bf16_in_f32_beside_matrices_has_amds_large_tile() -> None:
    """llama.cpp turns AMD's large tiles on where it multiplies other types on matrices, and its fallback for bf16 takes them.

    The fallback has the common table's tile, without AMD's wide workgroup. With bf16 matrices there is no fallback: that scalar path is
    laid out as without any matrices.
    """
    beside = device_limits(**RDNA3, bf16_matrices=False)
    assert str(gemm_tile(beside, "bf16", "scalar-f32", 4096, 512)) == "l 128x128 128x64 4x4 128/64"
    assert gemm_tile(device_limits(**RDNA3), "bf16", "scalar-f32", 4096, 512).size == "m"
    assert gemm_tile(device_limits(**RDNA2), "bf16", "scalar-f32", 4096, 512).size == "m"
    assert gemm_tile(beside, "f16", "scalar-f32", 4096, 512).size == "m"


def test_bf16_in_f32_beside_intels_matrices_has_no_large_tile() -> None:
    """On Intel llama.cpp asks for bf16 matrices before it turns bf16's large tile on."""
    assert gemm_tile(device_limits(**INTEL, bf16_matrices=False), "bf16", "scalar-f32", 4096, 512).size == "m"
    assert gemm_tile(device_limits(**INTEL), "bf16", "coopmat", 4096, 512, (8, 16, 16)).size == "l"


@pytest.mark.parametrize(
    ("name", "shape", "matrix", "expected"),
    [
        ("lvp", (256, 64), None, "m 64x64 8x32 4x2 128/8"),
        ("lvp", (256, 64), (8, 8, 8), "m 64x64 8x32 8x8x8 128/8"),
        ("lvp", (256, 32), None, "s 32x32 8x8 2x2 128/8"),
        ("turnip-750", (256, 64), None, "m 64x64 64x32 4x2 128/64"),
        ("turnip-750", (256, 32), None, "s 32x32 32x32 2x2 128/128"),
        ("nvk-172", (4096, 512), MATRIX, "l 128x128 64x64 16x16x16 128/32"),
        ("radv-gfx1201", (4096, 512), MATRIX, "l 128x128 64x64 16x16x16 256/64"),
        ("anv-bmg", (4096, 512), (8, 16, 16), "l 128x256 32x32 8x16x16 512/16"),
    ],
)
def test_recorded_devices_have_these_tiles(name: str, shape: Shape, matrix: Matrix | None, expected: str) -> None:
    """Subgroups of 128 compute tiles for 64, but for the small tile."""
    path = "coopmat" if matrix else "scalar-f16"
    assert str(gemm_tile(limits(recorded(name)), "q4_0", path, *shape, matrix)) == expected


def test_lavapipe_s_deviations_are_all_that_differs_there() -> None:
    """Without them lavapipe has llama.cpp's tiles: a large one, and the small one with a quarter of the invocations."""
    faithful = device_limits(vendor=0x10005, subgroup=8, subgroup_min=8, subgroup_max=8, required_sizes=(8, 8))
    deviating = replace(faithful, deviation=LAVAPIPE)
    names = [[str(gemm_tile(of, "q4_0", "scalar-f16", 4096, n)) for n in (512, 32)] for of in (faithful, deviating)]
    assert names == [["l 128x128 16x64 4x4 128/8", "s 32x32 8x32 2x2 32/8"], ["m 64x64 8x32 4x2 128/8", "s 32x32 8x8 2x2 128/8"]]


ANY_LIMITS = st.builds(
    lambda vendor, subgroup, shared, invocations, mesa, low, architecture: device_limits(
        vendor=vendor,
        driver_id="VK_DRIVER_ID_MESA_RADV" if mesa else "VK_DRIVER_ID_AMD_PROPRIETARY",
        architecture=architecture,
        subgroup=subgroup,
        subgroup_min=min(low, subgroup),
        subgroup_max=subgroup,
        required_sizes=(min(low, subgroup), subgroup),
        shared_memory=shared,
        workgroup_invocations=invocations,
    ),
    st.sampled_from([0x10005, 0x5143, *Vendor]),
    st.sampled_from([4, 8, 16, 32, 64, 128]),
    st.sampled_from([16384, 32768, 49152, 65536]),
    st.sampled_from([128, 256, 512, 1024]),
    st.booleans(),
    st.sampled_from([4, 8, 16, 32, 64]),
    st.sampled_from(["other", "amd-gcn", "amd-rdna3", "intel-xe1", "intel-xe2"]),
)
MATRICES = st.sampled_from([None, (8, 8, 8), (8, 16, 16), (16, 8, 8), (16, 8, 16), (16, 16, 16)])
TYPES = st.sampled_from(list(WEIGHT_TYPES))
SIDES = st.integers(1, 5000)


@settings(deadline=None, max_examples=500)
@given(ANY_LIMITS, MATRICES, st.sampled_from(["scalar-f32", "scalar-f16", "dot2"]), TYPES, SIDES, SIDES)
def test_every_tile_is_covered_exactly(device: Limits, matrix: Matrix | None, path: str, weight_type: str, m: int, n: int) -> None:
    """Subgroup tiles tile the workgroup's, one for each subgroup; invocations or matrices tile the subgroup's."""
    t = gemm_tile(device, weight_type, "coopmat" if matrix else path, m, n, matrix)
    assert t.block % t.warp == 0
    assert t.bm % t.wm == t.bn % t.wn == 0
    assert (t.bm // t.wm) * (t.bn // t.wn) == t.block // t.warp
    if matrix is not None:
        assume(device.subgroup >= 8)
        assert t.wm % t.tm == t.wn % t.tn == 0
        assert 32 % t.tk == 0
    else:
        steps, rest = divmod(t.wm * t.wn, t.warp * t.tm * t.tn * t.wmiter)
        assert rest == 0
        assert steps >= 1
        grid_m, grid_n = t.wm // t.wmiter // t.tm, t.wn // steps // t.tn
        assert grid_m * grid_n == t.warp
        assert grid_m * t.tm * t.wmiter == t.wm
        assert grid_n * t.tn * steps == t.wn


@settings(deadline=None)
@given(ANY_LIMITS, MATRICES, TYPES, SIDES, SIDES)
def test_a_tile_fits_the_device_or_is_the_smallest(device: Limits, matrix: Matrix | None, weight_type: str, m: int, n: int) -> None:
    """A tile that llama.cpp counts as too big gives way to a smaller one; where none fits, the kernel's requirement says so."""
    path = "coopmat" if matrix else "scalar-f32"
    t = gemm_tile(device, weight_type, path, m, n, matrix)
    counted = counted_bytes(replace(t, bk=32), device, weight_type, path, matrix is not None)
    fits = counted <= device.shared_memory and t.block <= device.workgroup_invocations
    assert fits or t == gemm_tile(device, weight_type, path, 1, 1, matrix)


def test_which_sizes_fit_is_asked_of_the_quantised_tile() -> None:
    """For f16 on Intel, whose own tile takes 22 KiB: the quantised one takes 30, so with 28 KiB neither type has the large size."""
    assert tile(4096, 512, (8, 16, 16), "f16", **INTEL).size == "l"
    small = {**INTEL, "shared_memory": 28 * 1024}
    assert [tile(4096, 512, (8, 16, 16), t, **small).size for t in ("f16", "q4_0")] == ["m", "m"]


def test_bf16_in_f32_is_counted_by_what_the_device_computes_in() -> None:
    """llama.cpp counts two bytes an element on devices with f16, whatever the shader stages: 128x128 fits 32 KiB there."""
    plain = {"shared_memory": 32768, **BARE}
    assert gemm_tile(device_limits(**plain), "bf16", "scalar-f32", 4096, 512).size == "l"
    assert gemm_tile(device_limits(**plain, f16=False), "bf16", "scalar-f32", 4096, 512).size == "m"
    assert gemm_tile(device_limits(**plain), "q4_0", "scalar-f32", 4096, 512).size == "m"


def test_the_step_along_k_is_the_type_s() -> None:
    """bf16 steps by 16, all others by 32."""
    assert {t for t in WEIGHT_TYPES if tile(4096, 512, None, t).bk != 32} == {"bf16"}
    assert tile(4096, 512, None, "bf16").bk == 16


def test_shared_memory_is_what_the_kernels_declare() -> None:
    """Staged rows of 32 with padding of two scalars or eight matrix elements, and a matrix per subgroup for ragged edges."""
    t = tile(4096, 512, MATRIX)
    assert t.shared_bytes("coopmat", "f16") == (128 + 128) * 40 * 2 + 16 * 16 * 2 * 4 == 22528
    assert t.shared_bytes("coopmat", "f32") == 24576
    assert tile().shared_bytes("scalar-f16", "f16") == 256 * 34 * 2
    assert tile().shared_bytes("scalar-f32", "f32") == 256 * 34 * 4


def test_counted_bytes_are_llama_cpp_s() -> None:
    """Rows padded by one element, or eight with matrices and a quarter of the stage; a type's table."""
    assert counted_bytes(tile(), LIMITS, "q4_0", "scalar-f16", False) == 256 * 33 * 2
    assert counted_bytes(tile(), LIMITS, "mxfp4", "scalar-f16", False) == 256 * 33 * 2 + 64
    assert counted_bytes(tile(4096, 512, MATRIX), LIMITS, "q4_0", "coopmat", True) == 256 * 40 * 2 + 16 * 16 // 4 * 4


def test_constants_have_names() -> None:
    """The names are the kernels' own, in the order of their ids."""
    assert tile().constants(True) == {
        "block": 128, "bm": 128, "bn": 128, "bk": 32, "wm": 64, "wn": 64, "wmiter": 2, "tm": 4, "tn": 4, "tk": 1, "warp": 32, "aligned": 1
    }  # fmt: skip
    assert tile().constants(False)["aligned"] == 0


@pytest.mark.parametrize(
    ("shape", "aligned"),
    [
        ((4096, 512, 128), True),
        ((4096, 512, 64), False),
        ((4096, 64, 64), True),
        ((4096, 64, 96), False),
        ((4096, 32, 96), True),
        ((4096, 32, 40), False),
        ((4096, 8, 128), False),
        ((8, 512, 128), False),
        ((9, 9, 32), True),
    ],
)
def test_aligned_follows_the_tile_and_the_shape(shape: tuple[int, int, int], aligned: bool) -> None:
    """K a multiple of 128, 64 or 32 by tile, M and N beyond 8."""
    m, n, k = shape
    assert gemm_aligned(tile(m, n), m, n, k) is aligned


def test_intels_large_tile_is_aligned_for_multiples_of_32() -> None:
    """The quantised and the float one."""
    for weight_type in ("q4_0", "f16"):
        assert gemm_aligned(tile(4096, 512, (8, 16, 16), weight_type, **INTEL), 4096, 512, 96)
