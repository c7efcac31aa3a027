"""llama.cpp's choice of path: the recorded drivers', its vendor rules one by one, and what stays open."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.recorded_devices import recorded, with_features, with_properties
from tests.pure.sample_records import device, khr
from vkprobe.records import Coopmat, DeviceRecord
from vkprobe.requirements.choice import WORKLOADS, Choice, Workload, choices
from vkprobe.requirements.choice_tiles import coopmat2_block, split_k
from vkprobe.requirements.choice_vendor import architecture, caution, coopmat_allowed, left_out, shader_cores

PP = 512


def choose(of: DeviceRecord, weight_type: str, n: int = PP, k: int = 4096, m: int = 4096) -> Choice:
    """llama.cpp's choice for one workload."""
    (choice,) = choices(of, [Workload(weight_type, m, n, k)])
    return choice


def without(of: DeviceRecord, *extensions: str) -> DeviceRecord:
    """The device without some extensions and their tuples."""
    kept = {name: version for name, version in of.extensions.items() if name not in extensions}
    tuples = Coopmat(khr=None, nv_flexible=None, ext=None) if "VK_KHR_cooperative_matrix" in extensions else of.coopmat
    return replace(of, extensions=kept, coopmat=tuples)


def with_driver(of: DeviceRecord, driver_id: str, **fields: Any) -> DeviceRecord:
    """The device under another driver."""
    return replace(of, driver=replace(of.driver, id=driver_id), **fields)


@pytest.mark.parametrize(
    ("weight_type", "n", "k", "path"),
    [
        ("q4_k", PP, 4096, "coopmat2"),
        ("f16", PP, 4096, "coopmat2"),
        ("f32", PP, 4096, "coopmat2"),
        ("bf16", PP, 4096, "coopmat2"),
        ("q4_k", 1, 4096, "scalar-f32"),
        ("q4_k", 1, 12288, "intdot"),
        ("q8_0", 1, 12288, "scalar-f32"),
        ("mxfp4", 1, 12288, "scalar-f32"),
        ("q6_k", 1, 12288, "scalar-f32"),
        ("q8_0", 8, 4096, "intdot"),
        ("q6_k", 8, 4096, "scalar-f32"),
        ("iq4_xs", 8, 4096, "scalar-f32"),
        ("f16", 8, 4096, "scalar-f32"),
        ("q4_k", 9, 4096, "coopmat2"),
    ],
)
def test_the_h200_takes_what_llama_cpp_takes_there(weight_type: str, n: int, k: int, path: str) -> None:
    """coopmat2 for GEMM; float GEMV up to K = 4096, q8_1 above it and for several columns, by type."""
    assert choose(recorded("nvidia-h200"), weight_type, n, k).path == path


@pytest.mark.parametrize(("m", "tile", "splits"), [(4096, "m 128x128", 1), (12288, "l 128x256", 1), (1024, "m 128x128", 4)])
def test_the_coopmat2_tile_follows_from_132_shader_cores(m: int, tile: str, splits: int) -> None:
    """The H200's three shapes of an 8B model's prompt processing."""
    choice = choose(recorded("nvidia-h200"), "q4_k", m=m)
    assert (choice.tile, choice.split_k) == (tile, splits)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("nvk-172", ("coopmat", "scalar-f32", "scalar-f32", "intdot")),
        ("radv-gfx1201", ("coopmat", "coopmat", "intdot", "intdot")),
        ("anv-bmg", ("coopmat", "coopmat", "intdot", "intdot")),
        ("turnip-750", ("scalar-f16", "scalar-f32", "scalar-f32", "scalar-f32")),
    ],
)
def test_the_open_drivers_paths_for_q4_k_and_bf16(name: str, paths: tuple[str, ...]) -> None:
    """Prompt processing in q4_k and bf16, token generation at K = 4096 and 12288."""
    of = recorded(name)
    assert tuple(choose(of, *w).path for w in (("q4_k",), ("bf16",), ("q4_k", 1), ("q4_k", 1, 12288))) == paths


def test_why_not_a_better_path_is_told() -> None:
    """NVK: the extension that coopmat2 lacks, and the tile that coopmat gets."""
    assert choose(recorded("nvk-172"), "q4_0").because == "no coopmat2: VK_NV_cooperative_matrix2 not listed; tile 128x128 (l)"


def test_integer_dot_gemm_only_where_there_are_no_cooperative_matrices() -> None:
    """RADV without matrix units multiplies q4_0 in integers, f16 in dot2, on medium tiles."""
    bare = without(recorded("radv-gfx1201"), "VK_KHR_cooperative_matrix")
    assert (choose(bare, "q4_0").path, choose(bare, "q4_0").tile) == ("intdot", "m 64x64")
    assert choose(bare, "f16").path == "dot2"
    assert choose(without(bare, "VK_VALVE_shader_mixed_float_dot_product"), "iq4_xs").path == "scalar-f16"


def test_the_banner_is_contradicted_where_all_seven_features_are_not_enough() -> None:
    """All features on but MaxDimension 0: coopmat, and a warning that llama.cpp prints NV_coopmat2."""
    of = with_properties(recorded("nvidia-h200"), cooperativeMatrixFlexibleDimensionsMaxDimension=0)
    choice = choose(of, "q4_k")
    assert choice.path == "coopmat"
    assert "MaxDimension is 0" in choice.because
    assert "banner says NV_coopmat2" in choice.because
    assert "banner" not in choose(recorded("anv-bmg"), "q4_k").because


def test_coopmat_needs_f32_accumulation_in_the_first_f16_shape() -> None:
    """With f16 accumulation only, or f32 in another shape, the matrix units stay unused."""
    of = recorded("nvk-172")
    for tuples in ([khr(16, 16, 16, "f16", "f16")], [khr(16, 8, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32")]):
        assert choose(replace(of, coopmat=Coopmat(khr=tuples, nv_flexible=None, ext=None)), "q4_k").path == "intdot"


def test_intel_before_xe2_has_its_matrix_units_left_alone() -> None:
    """Subgroups from 8: no coopmat whatever the driver lists, and why."""
    dg2 = with_properties(recorded("anv-bmg"), minSubgroupSize=8)
    assert architecture(dg2) == "intel-xe1"
    choice = choose(dg2, "f16")
    assert choice.path == "scalar-f16"
    assert "only from Xe2" in choice.because
    assert architecture(recorded("anv-bmg")) == "intel-xe2"


def test_xe_on_windows_counts_when_integrated() -> None:
    """Intel's Windows driver: integrated Xe may, discrete Xe may not; its GEMV never takes q8_1."""
    dg2 = with_driver(with_properties(recorded("anv-bmg"), minSubgroupSize=8), "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS")
    assert coopmat_allowed(dg2).holds is False
    assert coopmat_allowed(replace(dg2, type="integrated-gpu")).holds is True
    assert choose(dg2, "q4_k", 1).path == "scalar-f32"


@pytest.mark.parametrize("driver", ["VK_DRIVER_ID_AMD_PROPRIETARY", "VK_DRIVER_ID_AMD_OPEN_SOURCE"])
def test_amds_own_drivers_count_on_rdna3_only(driver: str) -> None:
    """RDNA3 is told by mixed-signedness dot products; RADV has no such rule."""
    rdna3 = recorded("radv-gfx1201")
    rdna2 = with_properties(rdna3, integerDotProduct4x8BitPackedMixedSignednessAccelerated=False)
    assert (architecture(rdna3), architecture(rdna2)) == ("amd-rdna3", "amd-rdna2")
    assert coopmat_allowed(with_driver(rdna3, driver)).holds is True
    assert coopmat_allowed(with_driver(rdna2, driver)).holds is False
    assert coopmat_allowed(rdna2).holds is True


@pytest.mark.parametrize(
    ("low", "high", "wavefronts", "expected"),
    [(64, 64, 10, "amd-gcn"), (32, 64, 20, "amd-rdna1"), (32, 32, 16, "other"), (32, 64, None, None)],
)
def test_amd_architectures(low: int, high: int, wavefronts: int | None, expected: str | None) -> None:
    """By subgroup sizes and wavefronts per SIMD; unknown where those are not told."""
    of = with_properties(recorded("radv-gfx1201"), minSubgroupSize=low, maxSubgroupSize=high, wavefrontsPerSimd=wavefronts)
    assert architecture(of) == expected
    assert architecture(without(of, "VK_AMD_shader_core_properties")) == "other"


def test_gcn_takes_q8_1_for_q8_0_and_rdna_does_not() -> None:
    """AMD's exception by type."""
    gcn = with_properties(recorded("radv-gfx1201"), minSubgroupSize=64)
    assert choose(gcn, "q8_0", 1).path == "intdot"
    assert choose(recorded("radv-gfx1201"), "q8_0", 1).path == "scalar-f32"
    assert choose(recorded("radv-gfx1201"), "q4_0", 1, 1024).path == "scalar-f32"


def test_nvidia_without_cooperative_matrices_counts_as_before_turing() -> None:
    """NVK on an older Mesa: q8_0 then takes q8_1 activations at long K."""
    old = without(recorded("nvk-172"), "VK_KHR_cooperative_matrix")
    assert architecture(old) == "nvidia-pre-turing"
    assert choose(old, "q8_0", 1, 12288).path == "intdot"


@pytest.mark.parametrize(("weight_type", "path"), [("q4_0", "scalar-f32"), ("q6_k", "intdot"), ("q8_0", "intdot")])
def test_intels_gemv_by_type(weight_type: str, path: str) -> None:
    """q4_0 stays with the float GEMV, q6_k takes q8_1 on Xe2 alone."""
    assert choose(recorded("anv-bmg"), weight_type, 1).path == path


def test_what_the_facts_do_not_tell_stays_open() -> None:
    """A file without tuples: GEMM open with what would decide it, GEMV decided as far as the vendor's rules go."""
    of = recorded("nvidia-h200")
    file = replace(of, coopmat=Coopmat(khr=None, nv_flexible=None, ext=None))
    choice = choose(file, "q4_k")
    assert choice.path is None
    assert "f16,f16->f16 of a workgroup of 128" in choice.because
    assert "without it coopmat, if that is met" in choice.because
    assert choose(file, "q4_k", 1, 12288).path == "intdot"
    nameless = replace(of, hardware=replace(of.hardware, vendor_id=0))
    assert choose(nameless, "q4_k", 1).path is None


def test_an_unmet_path_does_not_hide_behind_an_unknown_one() -> None:
    """coopmat2 surely missing, coopmat open: the choice is open; both missing: it is decided."""
    of = without(recorded("nvidia-h200"), "VK_NV_cooperative_matrix2")
    file = replace(of, coopmat=Coopmat(khr=None, nv_flexible=None, ext=None))
    assert choose(file, "f16").path is None
    assert choose(without(of, "VK_KHR_cooperative_matrix"), "f16").path == "scalar-f16"


def test_a_device_that_llama_cpp_refuses_has_no_path() -> None:
    """Without 16-bit storage nothing runs."""
    refused = with_features(recorded("nvk-172"), storageBuffer16BitAccess=False)
    assert {c.path for c in choices(refused)} == {"none"}


def test_cpu_devices_are_left_out() -> None:
    """lavapipe's paths are told, and that llama.cpp does not list it by itself."""
    choice = choose(recorded("lvp"), "q4_0")
    assert choice.path == "coopmat"
    assert "drops CPU devices" in (choice.left_out or "")


def test_nvk_is_skipped_beside_the_proprietary_driver() -> None:
    """One GPU, told by its UUID, under two drivers: NVIDIA's is kept; alone NVK carries the caution."""
    proprietary = recorded("nvidia-h200")
    nvk = with_driver(proprietary, "VK_DRIVER_ID_MESA_NVK", device="nouveau/0")
    other = with_properties(nvk, deviceUUID="00" * 16)
    assert "beside nvidia/0" in (left_out(nvk, [proprietary]) or "")
    assert left_out(proprietary, [nvk]) is None
    assert left_out(other, [proprietary]) is None
    assert caution(nvk)
    assert caution(proprietary) is None


def test_shader_cores_are_zero_where_no_extension_counts_them() -> None:
    """Then K is never split; on Intel llama.cpp has a table of its own, so it is unknown."""
    assert shader_cores(recorded("nvidia-h200")) == 132
    assert shader_cores(recorded("turnip-750")) == 0
    assert shader_cores(recorded("anv-bmg")) is None
    assert shader_cores(device()) == 0
    assert choose(recorded("anv-bmg"), "f16").split_k is None


@pytest.mark.parametrize(
    ("m", "n", "cores", "size"),
    [
        (4096, 512, 132, "m"),
        (4096, 512, 32, "l"),
        (4096, 128, 132, "m"),
        (4096, 64, 132, "s"),
        (8192, 1024, 132, "l"),
        (2048, 512, 108, "l"),
    ],
)
def test_coopmat2_tiles(m: int, n: int, cores: int, size: str) -> None:
    """Large where medium or large tiles overfill the device, or where large ones leave room to split K."""
    assert coopmat2_block(True, m, n, cores).size == size


def test_small_coopmat2_tiles_are_narrower_for_quantised_weights() -> None:
    """32 rows of quantised weights, 64 of f16."""
    assert (coopmat2_block(True, 512, 32, 132).bm, coopmat2_block(False, 512, 32, 132).bm) == (32, 64)


@pytest.mark.parametrize(
    ("m", "n", "k", "cores", "splits"),
    [
        (1024, 512, 4096, 132, 4),
        (1024, 512, 1024, 132, 1),
        (4096, 512, 4096, 132, 1),
        (2688, 512, 4096, 132, 3),
        (128, 128, 14336, 132, 8),
        (128, 128, 2048, 132, 8),
        (128, 128, 2304, 132, 5),
        (64, 512, 4096, 132, 1),
    ],
)
def test_splits_of_k(m: int, n: int, k: int, cores: int, splits: int) -> None:
    """By how much of the device the tiles fill; never so many that the last part is empty."""
    assert split_k(128, 128, m, n, k, cores) == splits


def test_every_workload_gets_a_choice_with_a_reason() -> None:
    """On each recorded device."""
    for name in ("anv-bmg", "lvp", "nvidia-h200", "nvk-172", "radv-gfx1201", "turnip-750"):
        made = choices(recorded(name))
        assert [c.workload for c in made] == list(WORKLOADS)
        assert all(c.because and c.path for c in made)
