"""llama.cpp's tiles, subgroup sizes and rows per workgroup, vendor by vendor; and that any tile is one that the kernels can run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.pure.recorded_devices import recorded, with_properties
from vkprobe.bench.device import Limits, Vendor, limits
from vkprobe.bench.tiles import LLVMPIPE, Tile, gemm_aligned, gemm_tile, gemv_rows
from vkprobe.weights import WEIGHT_TYPES

LIMITS = Limits(
    vendor=Vendor.NVIDIA,
    driver_id="VK_DRIVER_ID_NVIDIA_PROPRIETARY",
    coopmat=True,
    subgroup=32,
    subgroup_min=32,
    subgroup_max=32,
    required_sizes=(32, 32),
    full_subgroups=True,
    arithmetic=True,
    clusters=True,
    shared_memory=49152,
    workgroup_invocations=1024,
    max_groups_x=65535,
    rounding_f16=True,
    denormals_f16=True,
)
MATRIX = (16, 16, 16)
RDNA: dict[str, Any] = {
    "vendor": Vendor.AMD,
    "driver_id": "VK_DRIVER_ID_MESA_RADV",
    "subgroup": 64,
    "subgroup_max": 64,
    "required_sizes": (32, 64),
}
GCN: dict[str, Any] = {**RDNA, "subgroup_min": 64, "required_sizes": (64, 64), "coopmat": False}
AMDVLK: dict[str, Any] = {**RDNA, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"}
INTEL: dict[str, Any] = {
    "vendor": Vendor.INTEL,
    "driver_id": "VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA",
    "subgroup_min": 16,
    "required_sizes": (16, 32),
}


def tile(m: int = 4096, n: int = 512, matrix: tuple[int, int, int] | None = None, **changed: Any) -> Tile:
    """The f16 tile of a shape on a device that is NVIDIA's but for what is changed."""
    path = "coopmat" if matrix else "scalar-f16"
    return gemm_tile(replace(LIMITS, **changed), path, "f16", m, n, matrix)


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
def test_nvidia_has_all_three_sizes(shape: tuple[int, int], matrix: tuple[int, int, int] | None, expected: str) -> None:
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
        (RDNA, MATRIX, "l 128x128 64x64 16x16x16 256/64"),
        ({**RDNA, "coopmat": False}, None, "m 64x64 64x32 4x2 128/64"),
        (AMDVLK, MATRIX, "m 64x64 64x32 16x16x16 128/64"),
        (GCN, None, "m 64x64 16x16 2x2 256/16"),
        ({**GCN, "driver_id": "VK_DRIVER_ID_AMD_PROPRIETARY"}, None, "m 64x64 64x32 4x2 128/64"),
        (INTEL, (8, 16, 16), "l 128x128 32x32 8x16x16 512/32"),
        ({**INTEL, "subgroup": 16}, (8, 16, 16), "l 128x128 16x32 8x16x16 512/16"),
        ({**INTEL, "coopmat": False}, None, "m 64x64 32x32 4x2 128/32"),
        ({"vendor": Vendor.APPLE}, None, "m 64x64 32x32 4x2 128/32"),
        ({"vendor": Vendor.QUALCOMM}, None, "m 64x64 32x32 4x2 128/32"),
    ],
)
def test_vendors_have_rows_of_their_own(changed: dict[str, Any], matrix: tuple[int, int, int] | None, expected: str) -> None:
    """Large tiles only where llama.cpp takes them; GCN's and Intel's workgroups."""
    assert str(tile(4096, 512, matrix, **changed)) == expected


def test_apple_takes_medium_tiles_for_small_shapes_too() -> None:
    """llama.cpp compiles no others there."""
    assert tile(16, 16, vendor=Vendor.APPLE).size == "m"


@pytest.mark.parametrize("vendor", [0x10005, 0x5143, *Vendor])
def test_amd_without_matrices_never_has_large_tiles(vendor: int) -> None:
    """Nor Apple, Qualcomm and Intel; others do."""
    large = tile(4096, 4096, vendor=vendor).size == "l"
    assert large == (vendor in (0x10005, Vendor.NVIDIA))


@pytest.mark.parametrize(
    ("name", "shape", "matrix", "expected"),
    [
        ("lvp", (256, 64), None, "m 64x64 8x32 4x2 128/8"),
        ("lvp", (256, 64), (8, 8, 8), "m 64x64 8x32 8x8x8 128/8"),
        ("lvp", (256, 32), None, "s 32x32 8x8 2x2 128/8"),
        ("turnip-750", (256, 64), None, "m 64x64 64x64 4x2 128/128"),
        ("turnip-750", (256, 32), None, "s 32x32 32x32 2x2 128/128"),
        ("nvk-172", (4096, 512), MATRIX, "l 128x128 64x64 16x16x16 128/32"),
        ("radv-gfx1201", (4096, 512), MATRIX, "l 128x128 64x64 16x16x16 256/64"),
        ("anv-bmg", (4096, 512), (8, 16, 16), "l 128x128 32x32 8x16x16 512/32"),
    ],
)
def test_recorded_devices_have_these_tiles(name: str, shape: tuple[int, int], matrix: tuple[int, int, int] | None, expected: str) -> None:
    """Subgroups of 8 and 128 are beyond llama.cpp's tables: their tiles are fitted."""
    path = "coopmat" if matrix else "scalar-f16"
    assert str(gemm_tile(limits(recorded(name)), path, "f16", *shape, matrix)) == expected


ANY_LIMITS = st.builds(
    lambda vendor, subgroup, shared, invocations, mesa, coopmat, low: replace(
        LIMITS,
        vendor=vendor,
        driver_id="VK_DRIVER_ID_MESA_RADV" if mesa else "VK_DRIVER_ID_AMD_PROPRIETARY",
        subgroup=subgroup,
        subgroup_min=min(low, subgroup),
        subgroup_max=subgroup,
        shared_memory=shared,
        workgroup_invocations=invocations,
        coopmat=coopmat,
    ),
    st.sampled_from([0x10005, 0x5143, *Vendor]),
    st.sampled_from([4, 8, 16, 32, 64, 128]),
    st.sampled_from([16384, 32768, 49152, 65536]),
    st.sampled_from([128, 256, 512, 1024]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([4, 8, 16, 32, 64]),
)
MATRICES = st.sampled_from([None, (8, 8, 8), (8, 16, 16), (16, 8, 8), (16, 8, 16), (16, 16, 16)])
SIDES = st.integers(1, 5000)


@settings(deadline=None, max_examples=500)
@given(ANY_LIMITS, MATRICES, st.sampled_from(["scalar-f32", "scalar-f16"]), st.sampled_from(["f16", "f32"]), SIDES, SIDES)
def test_every_tile_is_covered_exactly(
    device: Limits, matrix: tuple[int, int, int] | None, path: str, accumulator: str, m: int, n: int
) -> None:
    """Subgroup tiles tile the workgroup's, one for each subgroup; invocations or matrices tile the subgroup's."""
    path = "coopmat" if matrix else path
    t = gemm_tile(device, path, accumulator, m, n, matrix)
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
@given(ANY_LIMITS, MATRICES, st.sampled_from(["f16", "f32"]), SIDES, SIDES)
def test_a_tile_fits_the_device_or_is_the_smallest(
    device: Limits, matrix: tuple[int, int, int] | None, accumulator: str, m: int, n: int
) -> None:
    """What does not fit gives way to a smaller one; where none does, the requirement's check says so."""
    path = "coopmat" if matrix else "scalar-f32"
    t = gemm_tile(device, path, accumulator, m, n, matrix)
    fits = t.shared_bytes(path, accumulator) <= device.shared_memory and t.block <= device.workgroup_invocations
    smallest = gemm_tile(device, path, accumulator, 1, 1, matrix)
    assert fits or t == smallest


def test_shared_memory_is_what_the_kernels_declare() -> None:
    """Staged rows of 32 with padding of two scalars or eight matrix elements, and a matrix per subgroup for ragged edges."""
    t = tile(matrix=MATRIX)
    assert t.shared_bytes("coopmat", "f16") == (128 + 128) * 40 * 2 + 16 * 16 * 2 * 4 == 22528
    assert t.shared_bytes("coopmat", "f32") == 24576
    assert tile().shared_bytes("scalar-f16", "f16") == 256 * 34 * 2
    assert tile().shared_bytes("scalar-f32", "f32") == 256 * 34 * 4


def test_constants_have_no_gap() -> None:
    """Ids as the kernels declare them; 3, BK, is fixed in the source and given all the same."""
    assert tile().constants(True) == [
        (0, 128), (1, 128), (2, 128), (3, 32), (4, 64), (5, 64), (6, 2), (7, 4), (8, 4), (9, 1), (10, 32), (11, 1)
    ]  # fmt: skip
    assert tile().constants(False)[-1] == (11, 0)


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


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({}, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 2, "q8_0": 1, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
        (RDNA, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 2, "q8_0": 1, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
        (GCN, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 4, "q8_0": 2, "q4_k": 4, "q5_k": 4, "q6_k": 4, "iq4_xs": 8, "mxfp4": 8}),
        (INTEL, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 4, "q8_0": 2, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
    ],
)
def test_gemv_rows_follow_type_and_vendor(changed: dict[str, Any], rows: dict[str, int]) -> None:
    """Quantised types get twice the rows on GCN, those of 32 elements also on Intel."""
    assert rows.keys() == WEIGHT_TYPES.keys()
    assert {t: gemv_rows(replace(LIMITS, **changed), t, 4096, 4096).rows for t in rows} == rows


@pytest.mark.parametrize(
    ("changed", "shape", "block"),
    [
        ({}, (4096, 4096), 128),
        ({}, (4096, 1023), 32),
        ({}, (8193, 4096), 32),
        ({}, (8192, 1024), 128),
        ({"coopmat": False}, (4096, 4096), 32),
        (RDNA, (4096, 4096), 64),
        (INTEL, (4096, 4096), 64),
        (INTEL, (4096, 512), 16),
        ({"vendor": 0x10005, "subgroup": 8}, (4096, 4096), 8),
    ],
)
def test_gemv_workgroups_are_one_subgroup_or_four(changed: dict[str, Any], shape: tuple[int, int], block: int) -> None:
    """Four on Intel, and on NVIDIA unless its driver lists no matrices, for long rows that are not too many."""
    assert gemv_rows(replace(LIMITS, **changed), "f16", *shape).block == block


@pytest.mark.parametrize(("weight_type", "most"), [("q6_k", 4095), ("q4_k", 8192), ("iq4_xs", 8192), ("bf16", 8192)])
def test_gemv_workgroups_of_q6_k_are_large_for_fewer_rows(weight_type: str, most: int) -> None:
    """Half as many as those of other types."""
    assert gemv_rows(LIMITS, weight_type, most, 4096).block == 128
    assert gemv_rows(LIMITS, weight_type, most + 1, 4096).block == 32


@pytest.mark.parametrize("weight_type", ["q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4"])
def test_gemv_of_super_blocks_wants_sixteen_invocations(weight_type: str) -> None:
    """Narrower subgroups add up through shared memory, unless the device can be asked for wider ones; other types keep theirs."""
    narrow = replace(LIMITS, vendor=0x10005, subgroup=8, subgroup_min=8, subgroup_max=8, required_sizes=(8, 8))
    rows = gemv_rows(narrow, weight_type, 4096, 4096)
    assert (rows.block, rows.subgroup, rows.reduce) == (16, 8, "shared")
    wider = gemv_rows(replace(narrow, subgroup_max=32, required_sizes=(8, 32)), weight_type, 4096, 4096)
    assert (wider.block, wider.subgroup, wider.reduce, wider.required) == (16, 16, "subgroup", 16)
    assert gemv_rows(narrow, "q8_0", 4096, 4096).block == 8


def test_gemv_words_tell_the_three_reductions_apart() -> None:
    """Subgroup arithmetic alone, with shared memory behind it, or shared memory alone."""
    assert str(gemv_rows(LIMITS, "q4_k", 4096, 4096)) == "2 rows 128/32 hybrid"
    assert str(gemv_rows(LIMITS, "q4_k", 16384, 4096)) == "2 rows 32/32 subgroup"
    assert str(gemv_rows(replace(LIMITS, arithmetic=False), "f32", 4096, 4096)) == "1 row 128/32 shared"


def test_gemv_requires_a_subgroup_size_only_where_compute_may() -> None:
    """NVK's requiredSubgroupSizeStages lacks compute; Intel is asked for 16."""
    assert gemv_rows(limits(recorded("nvk-172")), "f16", 4096, 4096).required is None
    assert gemv_rows(limits(recorded("anv-bmg")), "f16", 4096, 4096).required == 16
    assert gemv_rows(limits(recorded("radv-gfx1201")), "f16", 4096, 4096).required == 64
    without = with_properties(recorded("anv-bmg"), requiredSubgroupSizeStages=0x40)
    rows = gemv_rows(limits(without), "f16", 4096, 4096)
    assert (rows.required, rows.subgroup, rows.block) == (None, 32, 128)


def test_gemv_reduces_through_shared_memory_without_subgroup_arithmetic() -> None:
    """And on Apple's devices."""
    assert gemv_rows(LIMITS, "q4_0", 4096, 4096).reduce == "subgroup"
    assert gemv_rows(replace(LIMITS, arithmetic=False), "q4_0", 4096, 4096).reduce == "shared"
    assert gemv_rows(replace(LIMITS, vendor=Vendor.APPLE), "q4_0", 4096, 4096).reduce == "shared"


def test_gemv_steps_go_four_at_a_time_but_on_lavapipe() -> None:
    """Which compiles at first dispatch."""
    assert gemv_rows(LIMITS, "q4_0", 4096, 4096).unroll == 4
    assert gemv_rows(replace(LIMITS, driver_id=LLVMPIPE), "q4_0", 4096, 4096).unroll == 1


@given(ANY_LIMITS, st.sampled_from(list(WEIGHT_TYPES)), st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 8))
def test_gemv_constants_describe_the_workgroup(device: Limits, weight_type: str, m: int, k: int, n: int) -> None:
    """Whole subgroups, and a power of two where halves are added."""
    rows = gemv_rows(device, weight_type, m, k)
    assert rows.constants(n) == list(enumerate((rows.block, rows.rows, n, rows.subgroup, rows.unroll)))
    assert rows.block % rows.subgroup == 0
    assert rows.block & (rows.block - 1) == 0
    assert rows.block >= 16 or WEIGHT_TYPES[weight_type].elements < 256


def test_what_fits_is_asked_of_the_longest_step() -> None:
    """With 32 KiB an f32 tile of 128x128 fits with steps of 16 only: bf16 takes the medium one all the same, as llama.cpp does."""
    small = replace(LIMITS, shared_memory=32768)
    tile = gemm_tile(small, "scalar-f32", "f32", 4096, 512, None, bk=16)
    assert (tile.size, tile.bk) == ("m", 16)
    assert replace(gemm_tile(LIMITS, "scalar-f32", "f32", 4096, 512, None), bk=16).shared_bytes("scalar-f32", "f32") <= 32768
