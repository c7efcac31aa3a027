"""Workgroups of matrix-vector products, with f32 and with q8_1 activations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.llama.facts import BARE, GCN, INTEL, LIMITS, RDNA2, RDNA3, device_limits, recorded, with_properties
from tests.pure.llama.test_tiles import ANY_LIMITS
from vkprobe.llama.device import IMAGINATION, Limits, Vendor, limits
from vkprobe.llama.rows import Rows, gemv_rows, q8_1_rows
from vkprobe.weights import WEIGHT_TYPES

WIDE = ["q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4"]


def floats(weight_type: str = "q4_0", m: int = 4096, k: int = 4096, /, **changed: Any) -> Rows:
    """The float GEMV's workgroup on a device that is NVIDIA's but for what is changed."""
    return gemv_rows(device_limits(**changed), weight_type, m, k)


def integers(weight_type: str = "q4_0", m: int = 4096, n: int = 1, k: int = 4096, /, **changed: Any) -> Rows:
    """The q8_1 GEMV's workgroup on a device that is NVIDIA's but for what is changed."""
    return q8_1_rows(device_limits(**changed), weight_type, m, n, k)


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({}, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 2, "q8_0": 1, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
        (RDNA3, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 2, "q8_0": 1, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
        (GCN, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 4, "q8_0": 2, "q4_k": 4, "q5_k": 4, "q6_k": 4, "iq4_xs": 8, "mxfp4": 8}),
        (INTEL, {"f32": 1, "f16": 2, "bf16": 2, "q4_0": 4, "q8_0": 2, "q4_k": 2, "q5_k": 2, "q6_k": 2, "iq4_xs": 4, "mxfp4": 4}),
    ],
)
def test_rows_follow_type_and_vendor(changed: dict[str, Any], rows: dict[str, int]) -> None:
    """Quantised types get twice the rows on GCN, those of 32 elements also on Intel."""
    assert {t: floats(t, **changed).rows for t in rows} == rows


@pytest.mark.parametrize(
    ("changed", "shape", "block"),
    [
        ({}, (4096, 4096), 128),
        ({}, (4096, 1023), 32),
        ({}, (8193, 4096), 32),
        ({}, (8192, 1024), 128),
        ({"coopmat": False}, (4096, 4096), 32),
        (RDNA3, (4096, 4096), 64),
        (INTEL, (4096, 4096), 64),
        (INTEL, (4096, 512), 16),
        ({"vendor": 0x10005, "subgroup": 8}, (4096, 4096), 8),
    ],
)
def test_workgroups_are_one_subgroup_or_four(changed: dict[str, Any], shape: tuple[int, int], block: int) -> None:
    """Four on Intel, and on NVIDIA unless its driver lists no matrices, for long rows that are not too many."""
    assert floats("f16", *shape, **changed).block == block


@pytest.mark.parametrize(("weight_type", "most"), [("q6_k", 4095), ("q4_k", 8192), ("iq4_xs", 8192), ("bf16", 8192)])
def test_workgroups_of_q6_k_are_large_for_fewer_rows(weight_type: str, most: int) -> None:
    """Half as many as those of other types, with either kind of activations."""
    assert [floats(weight_type, m).block for m in (most, most + 1)] == [128, 32]
    if WEIGHT_TYPES[weight_type].q8_1 is not None:
        assert [integers(weight_type, m).block for m in (most, most + 1)] == [128, 32]


@pytest.mark.parametrize("weight_type", WIDE)
def test_wide_types_want_sixteen_invocations(weight_type: str) -> None:
    """Narrower subgroups add up through shared memory, unless the device can be asked for wider ones; other types keep theirs."""
    narrow: dict[str, Any] = {"vendor": 0x10005, "subgroup": 8, "subgroup_min": 8, "subgroup_max": 8, "required_sizes": (8, 8)}
    rows = floats(weight_type, **narrow)
    assert (rows.block, rows.subgroup, rows.reduce) == (16, 8, "shared")
    wider = floats(weight_type, **{**narrow, "subgroup_max": 32, "required_sizes": (8, 32)})
    assert (wider.block, wider.subgroup, wider.reduce) == (16, 16, "subgroup")
    assert floats("q8_0", **narrow).block == 8


@pytest.mark.parametrize("weight_type", WIDE)
def test_imagination_s_compiler_gets_wide_types_without_subgroups(weight_type: str) -> None:
    """Other types reduce in subgroups there, too."""
    changed: dict[str, Any] = {"vendor": 0x1010, "driver_id": IMAGINATION}
    assert floats(weight_type, **changed).reduce == "shared"
    assert floats("q8_0", **changed).reduce == "subgroup"


def test_words_distinguish_the_three_reductions() -> None:
    """Subgroup arithmetic alone, with shared memory behind it, or shared memory alone."""
    assert str(floats("q4_k")) == "2 rows 128/32 hybrid"
    assert str(floats("q4_k", 16384)) == "2 rows 32/32 subgroup"
    assert str(floats("f32", arithmetic=False)) == "1 row 128/32 shared"


def test_intel_is_asked_for_subgroups_of_16_where_it_takes_a_request() -> None:
    """Other devices keep their own size."""
    rows = gemv_rows(limits(recorded("anv-bmg")), "f16", 4096, 4096)
    assert (rows.subgroup, rows.block) == (16, 64)
    unasked = gemv_rows(limits(with_properties(recorded("anv-bmg"), requiredSubgroupSizeStages=0x40)), "f16", 4096, 4096)
    assert (unasked.subgroup, unasked.block) == (32, 128)


def test_without_subgroup_arithmetic_sums_go_through_shared_memory() -> None:
    """Apple's devices reduce in subgroups like all others."""
    for rows_of in (floats, integers):
        assert rows_of().reduce == rows_of(vendor=Vendor.APPLE).reduce == "subgroup"
        assert rows_of(arithmetic=False).reduce == "shared"


def test_steps_go_four_at_a_time_but_on_lavapipe() -> None:
    """Lavapipe doesn't unroll, because it compiles at first dispatch."""
    assert gemv_rows(LIMITS, "q4_0", 4096, 4096).unroll == 4
    assert gemv_rows(limits(recorded("lvp")), "q4_0", 4096, 4096).unroll == 1


@given(ANY_LIMITS, st.sampled_from(list(WEIGHT_TYPES)), st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 8))
def test_constants_describe_the_workgroup(device: Limits, weight_type: str, m: int, k: int, n: int) -> None:
    """Whole subgroups, and a power of two where halves are added."""
    rows = gemv_rows(device, weight_type, m, k)
    expected = {"block": rows.block, "rows": rows.rows, "columns": n, "subgroup": rows.subgroup, "unroll": rows.unroll}
    assert rows.constants(n) == expected
    assert rows.block % rows.subgroup == 0
    assert rows.block & (rows.block - 1) == 0
    assert rows.block >= 16 or not WEIGHT_TYPES[weight_type].gemv_wide


def test_shared_memory_is_a_sum_for_each_invocation_row_and_column() -> None:
    """One for each row and column where a subgroup reduces alone; a table or scales beside."""
    alone = floats("q4_k", 16384)
    assert alone.shared_bytes(8) == 4 * 8 * 2 + 8 * 32
    hybrid = floats("q4_k")
    assert hybrid.shared_bytes(8) == 4 * 8 * 2 * 128 + 8 * 128


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {"q4_0": 1, "q8_0": 1, "q4_k": 1, "q5_k": 1, "q6_k": 1, "iq4_xs": 1, "mxfp4": 2}),
        (RDNA2, {"q4_0": 1, "q8_0": 1, "q4_k": 1, "iq4_xs": 1, "mxfp4": 2}),
        (GCN, {"q4_0": 4, "q8_0": 4, "q4_k": 1, "iq4_xs": 4, "mxfp4": 8}),
        (INTEL, {"q4_0": 2, "q8_0": 2, "q4_k": 1, "iq4_xs": 2, "mxfp4": 4}),
    ],
)
def test_rows_with_q8_1_activations(changed: dict[str, Any], expected: dict[str, int]) -> None:
    """One of K types; of others more on GCN and Intel, and of mxfp4 twice as many."""
    assert {t: integers(t, **changed).rows for t in expected} == expected


def test_rdna3_has_four_rows_from_five_columns_on() -> None:
    """This holds for every type; RDNA4 and RDNA2 keep their own."""
    for weight_type in ("q4_0", "q4_k", "mxfp4"):
        assert integers(weight_type, 4096, 5, **RDNA3).rows == 4
        assert integers(weight_type, 4096, 4, **RDNA3).rows == integers(weight_type, 4096, 5, **RDNA2).rows
        assert integers(weight_type, 4096, 8, **{**RDNA3, "architecture": "amd-rdna4"}).rows == integers(weight_type, **RDNA2).rows


@pytest.mark.parametrize(
    ("changed", "block", "subgroup"),
    [({}, 128, 32), (BARE, 32, 32), (RDNA3, 64, 64), (INTEL, 16, 16), ({**INTEL, "required_sizes": None}, 32, 32)],
)
def test_workgroups_with_q8_1_activations(changed: dict[str, Any], block: int, subgroup: int) -> None:
    """Four subgroups on NVIDIA from Turing on; one elsewhere, on Intel the smallest that can be required."""
    rows = integers(**changed)
    assert (rows.block, rows.subgroup) == (block, subgroup)


def test_four_invocations_share_a_block_at_least() -> None:
    """These subgroups are narrower than any that llama.cpp knows."""
    assert integers(vendor=0x10005, subgroup=2, required_sizes=None).block == 4


def test_a_type_without_q8_1_kernels_has_no_workgroup() -> None:
    """f16 among them."""
    with pytest.raises(KeyError, match="f16"):
        integers("f16")
