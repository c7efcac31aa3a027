"""llama.cpp's choice of path: the recorded drivers', its vendor rules one by one, and what stays open."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.pure.llama.facts import NAMES, recorded, with_driver, with_extensions, with_features, with_properties, without
from tests.pure.sample_records import khr
from vkprobe.device_facts import Coopmat
from vkprobe.llama.device import INTEL_WINDOWS, limits
from vkprobe.llama.layout import GemmLayout, GemvLayout, gemm_layout, gemv_layout
from vkprobe.llama.paths import WORKLOADS, Choice, Workload, accumulator, candidates, choose, q8_1_wanted
from vkprobe.records import DeviceRecord
from vkprobe.weights import WEIGHT_TYPES

PP = 512
NAVI31 = "radv-navi31-mesa-26.1"
INT8 = ("coopmat", "s32")


def one(of: DeviceRecord, weight_type: str, n: int = PP, k: int = 4096, m: int = 4096, **options: Any) -> Choice:
    """llama.cpp's choice for one workload."""
    (choice,) = choose(of, [Workload(weight_type, m, n, k)], **options)
    return choice


def taken(of: DeviceRecord, weight_type: str, n: int = PP, k: int = 4096) -> tuple[str | None, str | None]:
    """Path and accumulator of the choice."""
    choice = one(of, weight_type, n, k)
    return choice.path, choice.accumulator


def without_tuples(of: DeviceRecord) -> DeviceRecord:
    """The device as a file that lacks its tuples has it."""
    return replace(of, coopmat=Coopmat(khr=None, nv_flexible=None, ext=None))


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
        ("iq4_xs", 8, 4096, "intdot"),
        ("iq4_xs", 1, 12288, "intdot"),
        ("f16", 8, 4096, "scalar-f32"),
        ("q4_k", 9, 4096, "coopmat2"),
    ],
)
def test_the_h200_takes_what_llama_cpp_takes_there(weight_type: str, n: int, k: int, path: str) -> None:
    """coopmat2 for GEMM; float GEMV up to K = 4096, q8_1 above it and for several columns, by type."""
    assert one(recorded("nvidia-h200"), weight_type, n, k).path == path


@pytest.mark.parametrize(("m", "tile", "parts"), [(4096, "m 128x128", 1), (12288, "l 128x256", 1), (1024, "m 128x128", 4)])
def test_the_coopmat2_tile_follows_from_132_shader_cores(m: int, tile: str, parts: int) -> None:
    """The H200's three shapes of an 8B model's prompt processing."""
    choice = one(recorded("nvidia-h200"), "q4_k", m=m)
    assert (choice.tile, choice.split_k) == (tile, parts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvk-172", [("coopmat", "f16"), ("scalar-f32", "f32"), ("scalar-f32", "f32"), ("intdot", "f32")]),
        ("radv-gfx1201", [("coopmat", "f16"), ("coopmat", "f32"), ("intdot", "f32"), ("intdot", "f32")]),
        (NAVI31, [INT8, ("scalar-f32", "f32"), ("intdot", "f32"), ("intdot", "f32")]),
        ("anv-bmg", [("coopmat", "f16"), ("coopmat", "f32"), ("intdot", "f32"), ("intdot", "f32")]),
        ("turnip-750", [("scalar-f16", "f16"), ("scalar-f32", "f32"), ("scalar-f32", "f32"), ("scalar-f32", "f32")]),
    ],
)
def test_the_open_drivers_paths_for_q4_k_and_bf16(name: str, expected: list[tuple[str, str]]) -> None:
    """Prompt processing in q4_k and bf16, token generation at K = 4096 and 12288."""
    of = recorded(name)
    assert [taken(of, "q4_k"), taken(of, "bf16"), taken(of, "q4_k", 1), taken(of, "q4_k", 1, 12288)] == expected


@pytest.mark.parametrize(("name", "f16"), [(NAVI31, set()), ("radv-gfx1201", {"q4_1", "q5_1", "q4_k", "q5_k", "nvfp4"})])
def test_rdna3_and_rdna4_multiply_quantised_weights_in_int8(name: str, f16: set[str]) -> None:
    """All types on RDNA3; those with an offset, and nvfp4, stay with f16 on RDNA4."""
    of = recorded(name)
    quantised = {t for t, row in WEIGHT_TYPES.items() if row.q8_1 is not None and row.q8_1.int8_architectures}
    assert {t for t in quantised if taken(of, t) == ("coopmat", "f16")} == f16
    assert {t for t in quantised if taken(of, t) == INT8} == quantised - f16
    assert taken(of, "f16") == ("coopmat", "f16")


def test_int8_matrices_need_the_tuple_and_the_vendor_s_leave() -> None:
    """Without s8 tuples f16 matrices; where AMD's rule forbids matrices, no int8 ones either."""
    of = recorded(NAVI31)
    floats = replace(of, coopmat=replace(of.coopmat, khr=[t for t in of.coopmat.khr or [] if t.a != "s8"]))
    choice = one(floats, "q4_0")
    assert (choice.path, choice.accumulator) == ("coopmat", "f16")
    assert "no coopmat in int8: no tuple s8,s8->s32" in choice.because
    bare = without(of, "VK_KHR_cooperative_matrix")
    assert taken(bare, "q4_0") == ("intdot", "f32")
    rdna2 = with_properties(of, integerDotProduct4x8BitPackedMixedSignednessAccelerated=False)
    assert taken(rdna2, "q4_0") == ("coopmat", "f16")
    assert taken(with_driver(rdna2, "VK_DRIVER_ID_AMD_PROPRIETARY"), "q4_0") == ("intdot", "f32")


def test_candidates_are_in_llama_cpp_s_order() -> None:
    """Integer products before f16 ones on matrices, after them without; bf16 has an order of its own."""

    def order(weight_type: str) -> list[str]:
        return [str(c) for c in candidates(recorded(NAVI31), weight_type)]

    assert order("q4_0") == ["coopmat2", "coopmat in int8", "coopmat", "intdot", "dot2", "scalar-f16", "scalar-f32"]
    assert order("f16") == ["coopmat2", "coopmat", "dot2", "scalar-f16", "scalar-f32"]
    assert order("bf16") == ["coopmat2", "coopmat", "scalar-f32"]


def test_because_names_what_a_better_path_lacks() -> None:
    """NVK: the extension that coopmat2 lacks, and the tile that coopmat gets."""
    because = "no coopmat2: VK_NV_cooperative_matrix2 not listed; tile 128x128 (l)"
    assert one(recorded("nvk-172"), "f16").because == because
    assert one(recorded("nvk-172"), "q4_0").because.startswith("no coopmat2: VK_NV_cooperative_matrix2 not listed; no coopmat in int8")


def test_integer_dot_gemm_only_where_there_are_no_cooperative_matrices() -> None:
    """RADV without matrix units multiplies quantised weights in integers, f16 in dot2, on medium tiles."""
    bare = without(recorded("radv-gfx1201"), "VK_KHR_cooperative_matrix")
    assert [(one(bare, t).path, one(bare, t).tile) for t in ("q4_0", "iq4_xs")] == [("intdot", "m 64x64")] * 2
    assert one(bare, "f16").path == "dot2"
    assert one(without(bare, "VK_VALVE_shader_mixed_float_dot_product"), "f16").path == "scalar-f16"


def test_mxfp4_has_no_integer_gemm_for_devices_without_f16() -> None:
    """llama.cpp compiles the others for them."""
    bare = without(recorded("radv-gfx1201"), "VK_KHR_cooperative_matrix")
    floats = with_features(bare, shaderFloat16=False)
    assert [one(bare, t).path for t in ("mxfp4", "q4_0")] == ["intdot", "intdot"]
    assert [one(floats, t).path for t in ("mxfp4", "q4_0")] == ["scalar-f32", "intdot"]


def test_bf16_without_bf16_matrices_takes_amd_s_large_tile() -> None:
    """RADV on RDNA3: the fallback in f32, as the layout that is compiled has it."""
    choice = one(recorded(NAVI31), "bf16")
    assert (choice.path, choice.tile) == ("scalar-f32", "l 128x128")
    assert choice.layout == gemm_layout(limits(recorded(NAVI31)), "bf16", 4096, PP, 4096, "scalar-f32", "f32")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "lvp"])
def test_what_is_chosen_is_what_is_laid_out(name: str) -> None:
    """The choice's layout is that of the path by itself, for every workload."""
    device = limits(recorded(name))
    for choice in choose(recorded(name)):
        w = choice.workload
        assert choice.path is not None
        if isinstance(choice.layout, GemmLayout):
            assert choice.layout == gemm_layout(device, w.type, w.m, w.n, w.k, choice.path, choice.accumulator or "")
            assert choice.split_k == choice.layout.split.parts
        else:
            assert isinstance(choice.layout, GemvLayout)
            assert choice.layout == gemv_layout(device, w.type, w.m, w.n, w.k, choice.path)
            assert (choice.tile, choice.split_k) == (None, None)


def test_lavapipe_s_choice_is_without_vkprobe_s_deviations() -> None:
    """llama.cpp would take the large tile there, which vkprobe spares it."""
    assert one(recorded("lvp"), "q4_0").tile == "l 128x128"
    assert gemm_layout(limits(recorded("lvp")), "q4_0", 4096, PP, 4096, "coopmat", "f16").tile.size == "m"


def test_the_banner_is_contradicted_where_all_seven_features_are_not_enough() -> None:
    """All features on but MaxDimension 0: coopmat, and a warning that llama.cpp prints NV_coopmat2."""
    of = with_properties(recorded("nvidia-h200"), cooperativeMatrixFlexibleDimensionsMaxDimension=0)
    choice = one(of, "q4_k")
    assert choice.path == "coopmat"
    assert "MaxDimension is 0" in choice.because
    assert "banner says NV_coopmat2" in choice.because
    assert "banner" not in one(recorded("anv-bmg"), "q4_k").because


def test_coopmat_needs_f32_accumulation_in_the_first_f16_shape() -> None:
    """With f16 accumulation only, or f32 in another shape, the matrix units stay unused."""
    of = recorded("nvk-172")
    for tuples in ([khr(16, 16, 16, "f16", "f16")], [khr(16, 8, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32")]):
        assert one(replace(of, coopmat=Coopmat(khr=tuples, nv_flexible=None, ext=None)), "q4_k").path == "intdot"


def test_sums_in_f16_where_type_path_and_matrices_have_them() -> None:
    """f32 and bf16 weights never; matrices only where their shape sums in f16."""
    of = recorded("nvk-172")
    f32_only = replace(of, coopmat=Coopmat(khr=[khr(16, 16, 16, "f16", "f32")], nv_flexible=None, ext=None))
    assert [taken(of, t)[1] for t in ("q4_0", "f16", "f32", "bf16")] == ["f16", "f16", "f32", "f32"]
    assert [taken(f32_only, t)[1] for t in ("q4_0", "f16")] == ["f32", "f32"]
    device = limits(f32_only)
    assert [accumulator(t, "coopmat2", device) for t in ("q4_0", "f16")] == ["f16", "f32"]
    assert [accumulator("q4_0", path, device) for path in ("dot2", "scalar-f16", "scalar-f32", "intdot")] == ["f16", "f16", "f32", "f32"]


def test_intel_before_xe2_has_a_reason_for_its_unused_matrix_units() -> None:
    """Subgroups from 8: scalar f16, and the rule."""
    choice = one(with_properties(recorded("anv-bmg"), minSubgroupSize=8), "f16")
    assert choice.path == "scalar-f16"
    assert "only from Xe2" in choice.because


def test_gcn_takes_q8_1_for_q8_0_and_rdna_does_not() -> None:
    """AMD's exception by type; a short K stays with floats."""
    gcn = with_properties(recorded("radv-gfx1201"), minSubgroupSize=64)
    assert one(gcn, "q8_0", 1).path == "intdot"
    assert one(recorded("radv-gfx1201"), "q8_0", 1).path == "scalar-f32"
    assert one(recorded("radv-gfx1201"), "q4_0", 1, 1024).path == "scalar-f32"


def test_nvidia_without_cooperative_matrices_counts_as_before_turing() -> None:
    """NVK on an older Mesa: q8_0 then takes q8_1 activations at long K."""
    old = without(recorded("nvk-172"), "VK_KHR_cooperative_matrix")
    assert one(old, "q8_0", 1, 12288).path == "intdot"


@pytest.mark.parametrize(
    ("weight_type", "k", "path"),
    [
        ("q4_0", 4096, "scalar-f32"),
        ("iq4_xs", 4096, "scalar-f32"),
        ("q6_k", 1024, "intdot"),
        ("q8_0", 4096, "intdot"),
        ("q8_0", 1024, "scalar-f32"),
    ],
)
def test_intels_gemv_by_type(weight_type: str, k: int, path: str) -> None:
    """q4_0 and iq4_xs stay with the float GEMV for one column; q6_k takes q8_1 on Xe2 always."""
    assert one(recorded("anv-bmg"), weight_type, 1, k).path == path
    assert one(recorded("anv-bmg"), weight_type, 2, k).path == "intdot"


def test_intels_windows_driver_takes_q8_1_for_several_columns_only() -> None:
    """The exception is q6_k on Xe2."""
    windows = with_driver(recorded("anv-bmg"), INTEL_WINDOWS)
    assert [one(windows, "q4_k", n).path for n in (1, 2)] == ["scalar-f32", "intdot"]
    assert one(windows, "q6_k", 1).path == "intdot"
    xe1 = with_properties(windows, minSubgroupSize=8)
    assert one(xe1, "q6_k", 1).path == "scalar-f32"


def test_qualcomm_takes_q8_1_for_several_columns_only() -> None:
    """One column never takes q8_1."""
    of = recorded("turnip-750")
    assert q8_1_wanted(of, Workload("q4_k", 4096, 1, 12288)).holds is False
    assert q8_1_wanted(of, Workload("q4_k", 4096, 2, 12288)).holds is True
    assert q8_1_wanted(of, Workload("q6_k", 4096, 2, 12288)).holds is False


def test_what_the_facts_lack_stays_open() -> None:
    """A file without tuples: GEMM open with what would decide it, GEMV decided as far as the vendor's rules go."""
    of = recorded("nvidia-h200")
    choice = one(without_tuples(of), "q4_k")
    assert (choice.path, choice.accumulator, choice.layout) == (None, None, None)
    assert "f16,f16->f16 of a workgroup of 128" in choice.because
    assert "without it coopmat, if that is met" in choice.because
    assert one(without_tuples(of), "q4_k", 1, 12288).path == "intdot"
    nameless = replace(of, hardware=replace(of.hardware, vendor_id=0))
    assert one(nameless, "q4_k", 1).path is None


def test_an_unknown_architecture_leaves_int8_and_tiles_open() -> None:
    """RDNA3 or RDNA4 or neither: it isn't said whether int8 matrices would be taken, nor, for f16, which tile."""
    of = with_properties(recorded(NAVI31), wavefrontsPerSimd=None)
    choice = one(of, "q4_0")
    assert choice.path is None
    assert (
        "the architecture (int8 matrices for this type on RDNA3 and RDNA4 only): with it coopmat in int8, without it coopmat"
        in choice.because
    )
    floats = one(of, "f16")
    assert (floats.path, floats.tile, floats.split_k) == ("coopmat", None, None)
    assert "its tile depends on the architecture" in floats.because


def test_an_unmet_path_does_not_hide_behind_an_unknown_one() -> None:
    """coopmat2 surely missing, coopmat open: the choice is open; both missing: it is decided."""
    of = without(recorded("nvidia-h200"), "VK_NV_cooperative_matrix2")
    assert one(without_tuples(of), "f16").path is None
    assert one(without(of, "VK_KHR_cooperative_matrix"), "f16").path == "scalar-f16"


def test_without_an_id_intels_split_of_k_stays_open() -> None:
    """The tile doesn't depend on it."""
    bmg = recorded("anv-bmg")
    choice = one(replace(bmg, hardware=replace(bmg.hardware, device_id=0)), "f16")
    assert (choice.tile, choice.split_k) == ("l 128x128", None)
    assert one(bmg, "f16").split_k == 1


def test_a_device_that_llama_cpp_refuses_has_no_path() -> None:
    """Without 16-bit storage nothing runs."""
    refused = with_features(recorded("nvk-172"), storageBuffer16BitAccess=False)
    assert {c.path for c in choose(refused)} == {"none"}


def test_a_closed_gap_gives_the_path_that_would_be_taken() -> None:
    """Turnip with cooperative matrices, though no tuple says of which shape; RADV with bf16 ones; nothing else changes."""
    turnip = recorded("turnip-750")
    assert one(turnip, "q4_0", closed=["coopmat"]).path == "coopmat"
    assert one(turnip, "q4_0", closed=["coopmat"]).layout is None
    assert one(turnip, "bf16", closed=["coopmat"]).path == "scalar-f32"
    assert one(turnip, "bf16", closed=["coopmat-bf16"]).path == "coopmat"
    assert one(turnip, "q4_0", closed=["coopmat-bf16"]).path == "coopmat"
    assert one(recorded(NAVI31), "bf16", closed=["coopmat-bf16"]).tile == "l 128x128"
    assert one(turnip, "q4_0", closed=["dot2"]).path == "dot2"
    assert one(turnip, "q4_0", 1, 12288, closed=["intdot-gemv"]).path == "scalar-f32"


def test_a_closed_gap_does_not_lift_a_vendor_s_rule() -> None:
    """llama.cpp leaves Xe's matrix units alone, whatever its driver offers."""
    dg2 = with_properties(recorded("anv-bmg"), minSubgroupSize=8)
    assert one(dg2, "q4_0", closed=["coopmat"]).path == one(dg2, "q4_0").path


def test_cpu_devices_are_left_out_and_have_a_choice_all_the_same() -> None:
    """llama.cpp runs there where it is named."""
    choice = one(recorded("lvp"), "q4_0")
    assert choice.path == "coopmat"
    assert "drops CPU devices" in (choice.left_out or "")


def test_qualcomms_matrices_are_used_with_its_extension_alone() -> None:
    """KHR's matrices without VK_QCOM_cooperative_matrix_conversion stay unused."""
    tuples = Coopmat(khr=[khr(64, 16, 16, "f16", "f16"), khr(64, 16, 16, "f16", "f32")], nv_flexible=None, ext=None)
    of = replace(with_extensions(recorded("turnip-750"), "VK_KHR_cooperative_matrix"), coopmat=tuples)
    struct = {"VkPhysicalDeviceCooperativeMatrixFeaturesKHR": {"cooperativeMatrix": True}}
    of = replace(of, features={**of.features, **struct})
    assert one(of, "f16").path == "scalar-f16"
    assert one(with_extensions(of, "VK_QCOM_cooperative_matrix_conversion"), "f16").tile == "m 64x64"


def test_every_workload_gets_a_choice_with_a_reason() -> None:
    """This holds on each recorded device."""
    for name in NAMES:
        choices = choose(recorded(name))
        assert [c.workload for c in choices] == list(WORKLOADS)
        assert all(c.because and c.path and c.layout for c in choices)
