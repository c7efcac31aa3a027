"""Vendor, driver and architecture rules, and which devices llama.cpp lists."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.llama.facts import NAMES, recorded, with_driver, with_extensions, with_features, with_properties, without
from tests.pure.sample_records import device, khr
from vkprobe.device_facts import Coopmat
from vkprobe.llama.device import (
    INTEL_CORES,
    INTEL_WINDOWS,
    LAVAPIPE,
    architecture,
    coopmat_allowed,
    coopmat_used,
    first_matrix,
    int8_matrix,
    limits,
    shader_cores,
)
from vkprobe.llama.listing import caution, left_out
from vkprobe.records import DeviceRecord

NAVI31 = "radv-navi31-mesa-26.1"


def with_tuples(of: DeviceRecord, *tuples: Any) -> DeviceRecord:
    """The device with these tuples only; none at all means that its file has none."""
    return replace(of, coopmat=Coopmat(khr=list(tuples) or None, nv_flexible=None, ext=None))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anv-bmg", "intel-xe2"),
        ("lvp", "other"),
        ("nvidia-h200", "other"),
        ("nvk-172", "other"),
        ("radv-gfx1201", "amd-rdna4"),
        (NAVI31, "amd-rdna3"),
        ("turnip-750", "other"),
    ],
)
def test_architectures_of_recorded_devices(name: str, expected: str) -> None:
    """VK_EXT_shader_float8 distinguishes RDNA4 from RDNA3."""
    assert architecture(recorded(name)) == limits(recorded(name)).architecture == expected


@pytest.mark.parametrize(
    ("low", "high", "wavefronts", "expected"),
    [(64, 64, 10, "amd-gcn"), (32, 64, 20, "amd-rdna1"), (32, 32, 16, "other"), (32, 64, None, None)],
)
def test_amd_architectures(low: int, high: int, wavefronts: int | None, expected: str | None) -> None:
    """The architecture follows from subgroup sizes and wavefronts per SIMD; without those it is unknown."""
    of = with_properties(recorded(NAVI31), minSubgroupSize=low, maxSubgroupSize=high, wavefrontsPerSimd=wavefronts)
    assert architecture(of) == expected
    assert architecture(without(of, "VK_AMD_shader_core_properties")) == "other"


def test_rdna2_lacks_mixed_signedness_dot_products() -> None:
    """RDNA1 is RDNA1 whatever else it lists."""
    rdna2 = with_properties(recorded(NAVI31), integerDotProduct4x8BitPackedMixedSignednessAccelerated=False)
    assert architecture(rdna2) == "amd-rdna2"
    assert architecture(with_extensions(rdna2, "VK_EXT_shader_float8")) == "amd-rdna4"
    assert architecture(with_properties(recorded("radv-gfx1201"), wavefrontsPerSimd=20)) == "amd-rdna1"


def test_qualcomms_matrix_units_are_known_by_an_extension() -> None:
    """VK_QCOM_cooperative_matrix_conversion, with cooperative matrices: without it llama.cpp leaves them alone."""
    turnip = with_extensions(recorded("turnip-750"), "VK_KHR_cooperative_matrix")
    assert (architecture(turnip), coopmat_allowed(turnip).holds) == ("other", False)
    adreno = with_extensions(turnip, "VK_QCOM_cooperative_matrix_conversion")
    assert (architecture(adreno), coopmat_allowed(adreno).holds) == ("qualcomm-adreno", True)


def test_intel_before_xe2_has_its_matrix_units_left_alone() -> None:
    """Subgroups from 8 on, whatever the driver lists."""
    dg2 = with_properties(recorded("anv-bmg"), minSubgroupSize=8)
    assert (architecture(dg2), coopmat_used(dg2), limits(dg2).matrices) == ("intel-xe1", False, False)
    assert coopmat_used(recorded("anv-bmg")) is True


def test_xe_on_windows_counts_when_integrated() -> None:
    """Intel's Windows driver: integrated Xe may, discrete Xe may not."""
    dg2 = with_driver(with_properties(recorded("anv-bmg"), minSubgroupSize=8), INTEL_WINDOWS)
    assert coopmat_allowed(dg2).holds is False
    assert coopmat_allowed(replace(dg2, type="integrated-gpu")).holds is True


@pytest.mark.parametrize("driver", ["VK_DRIVER_ID_AMD_PROPRIETARY", "VK_DRIVER_ID_AMD_OPEN_SOURCE"])
def test_amds_own_drivers_count_on_rdna3_and_rdna4_only(driver: str) -> None:
    """RADV has no such rule."""
    rdna2 = with_properties(recorded(NAVI31), integerDotProduct4x8BitPackedMixedSignednessAccelerated=False)
    answers = [coopmat_allowed(with_driver(of, driver)).holds for of in (recorded(NAVI31), recorded("radv-gfx1201"), rdna2)]
    assert answers == [True, True, False]
    assert coopmat_allowed(rdna2).holds is True


def test_without_the_facts_a_rule_stays_open() -> None:
    """AMD's rule needs the driver's id, then the architecture."""
    amd = recorded(NAVI31)
    assert coopmat_allowed(replace(amd, driver=replace(amd.driver, id=None))).holds is None
    unknown = with_properties(with_driver(amd, "VK_DRIVER_ID_AMD_PROPRIETARY"), wavefrontsPerSimd=None)
    assert coopmat_allowed(unknown).holds is None
    assert architecture(replace(amd, extensions={})) is None
    assert coopmat_used(with_tuples(recorded("nvk-172"))) is None
    assert limits(with_tuples(recorded("nvk-172"))).matrices is False


def test_shader_cores_come_from_an_extension_or_from_intels_table() -> None:
    """0 where llama.cpp has no count: then it never splits K."""
    assert shader_cores(recorded("nvidia-h200")) == 132
    assert shader_cores(recorded(NAVI31)) == 96
    assert shader_cores(recorded("turnip-750")) == 0
    assert shader_cores(device()) == 0


@pytest.mark.parametrize(("device_id", "cores"), [(0xE20B, 20), (0x56A0, 32), (0xB080, 12), (0xE202, 0), (0, None)])
def test_intels_cores_by_device_id(device_id: int, cores: int | None) -> None:
    """B580, A770, Panther Lake; an id that llama.cpp doesn't know has none, a file without an id leaves it open."""
    bmg = recorded("anv-bmg")
    assert shader_cores(replace(bmg, hardware=replace(bmg.hardware, device_id=device_id))) == cores


def test_intels_table_has_llama_cpp_s_seventeen_gpus() -> None:
    """They have 6 to 32 cores."""
    assert (len(INTEL_CORES), min(INTEL_CORES.values()), max(INTEL_CORES.values())) == (17, 6, 32)


def test_the_first_usable_tuple_gives_the_shape() -> None:
    """f16 with either accumulator, or bf16 where VK_KHR_shader_bfloat16 is listed; s8 has a shape of its own."""
    of = recorded("nvk-172")
    tuples = (khr(8, 8, 32, "s8", "s32"), khr(16, 8, 8, "bf16", "f32"), khr(16, 8, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32"))
    assert first_matrix(with_tuples(of, *tuples)) == (16, 8, 16)
    assert first_matrix(with_tuples(with_extensions(of, "VK_KHR_shader_bfloat16"), *tuples)) == (16, 8, 8)
    assert int8_matrix(with_tuples(of, *tuples)) == (8, 8, 32)
    assert first_matrix(with_tuples(of)) is int8_matrix(with_tuples(of)) is None


def test_f16_sums_need_a_tuple_of_the_shape_that_is_used() -> None:
    """Another shape's doesn't count."""
    of = recorded("nvk-172")
    both = with_tuples(of, khr(16, 16, 16, "f16", "f32"), khr(16, 16, 16, "f16", "f16"))
    assert limits(both).f16_accumulator
    assert not limits(with_tuples(of, khr(16, 16, 16, "f16", "f32"), khr(16, 8, 16, "f16", "f16"))).f16_accumulator


def test_only_lavapipe_deviates_from_llama_cpp() -> None:
    """Checked on the recorded devices."""
    assert {name for name in NAMES if limits(recorded(name)).deviation == LAVAPIPE} == {"lvp"}


def test_subgroup_sizes_can_be_required_where_feature_and_stage_say_so() -> None:
    """NVK's requiredSubgroupSizeStages lacks compute."""
    assert limits(recorded("nvk-172")).required_sizes is None
    assert limits(recorded("radv-gfx1201")).required_sizes == (32, 64)
    assert limits(with_features(recorded("radv-gfx1201"), subgroupSizeControl=False)).required_sizes is None


def test_cpu_devices_are_left_out() -> None:
    """llama.cpp doesn't list lavapipe by itself."""
    assert "drops CPU devices" in (left_out(recorded("lvp")) or "")
    assert left_out(recorded("nvidia-h200")) is None


def test_virtual_gpus_are_left_out_beside_real_ones() -> None:
    """Alone the first is taken."""
    virtual = replace(recorded("nvk-172"), type="virtual-gpu", null=False)
    assert left_out(virtual) is None
    assert "discrete and integrated GPUs only" in (left_out(virtual, [recorded("nvidia-h200")]) or "")


def test_nvk_is_skipped_beside_the_proprietary_driver() -> None:
    """One GPU, known by its UUID, under two drivers: NVIDIA's is kept; alone NVK carries the caution."""
    proprietary = recorded("nvidia-h200")
    nvk = with_driver(proprietary, "VK_DRIVER_ID_MESA_NVK", device="nouveau/0")
    other = with_properties(nvk, deviceUUID="00" * 16)
    assert "beside nvidia/0" in (left_out(nvk, [proprietary]) or "")
    assert left_out(proprietary, [nvk]) is None
    assert left_out(other, [proprietary]) is None
    assert left_out(nvk, [replace(proprietary, null=True)]) is None
    assert caution(nvk)
    assert caution(proprietary) is None


def test_a_driver_without_a_rank_gives_way_to_one_that_has_one() -> None:
    """Dozen stands between the two."""
    nvk = with_driver(recorded("nvidia-h200"), "VK_DRIVER_ID_MESA_NVK", device="nouveau/0")
    dozen = with_driver(nvk, "VK_DRIVER_ID_MESA_DOZEN", device="dozen/0")
    unknown = with_driver(nvk, "VK_DRIVER_ID_MESA_VENUS", device="venus/0")
    order = [nvk, dozen, unknown]
    assert [[left_out(of, [other]) is not None for other in order] for of in order] == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
    ]
