"""Requirements against device facts: met, missing with a source, or unknown, and unknown is never "no"."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.pure.sample_records import COMMON, COOPMAT2, device, khr, lavapipe, null_nvk, null_radv, nvidia
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord
from vkprobe.requirements import all_requirements, coopmat_tuple, evaluate, kernel_requirement, requirement, requirements
from vkprobe.requirements.load import FOLDER
from vkprobe.requirements.load import requirements as load
from vkprobe.requirements.model import Gap
from vkprobe.requirements.promotions import PROVIDERS, base_name, core_struct


def gap(record: DeviceRecord, path: str) -> Gap:
    """The gap of one path."""
    return evaluate(record, requirement(path))


def missing(record: DeviceRecord, path: str) -> str:
    """The names of all that is missing."""
    return " ".join(m.name for m in gap(record, path).missing)


def test_a_device_with_everything_meets_every_path_it_has() -> None:
    """The NVIDIA-like device meets all but those whose extensions it lacks or whose facts its record doesn't have."""
    without = {r.path: gap(nvidia(), r.path).met for r in requirements() if gap(nvidia(), r.path).met is not True}
    assert without == {"dot2": False, "gemv-subgroup": None, "float8": False, "ocp-fp4": False, "64bit-indexing": False}


def test_a_missing_extension_decides_though_its_struct_is_absent() -> None:
    """NVK lists no coopmat2: no, not unknown, and the extension is named first."""
    answer = gap(null_nvk(), "coopmat2")
    assert answer.met is False
    assert answer.missing[0].name == "VK_NV_cooperative_matrix2"
    assert answer.part is None


def test_an_extension_with_its_features_off_is_partial_and_names_them() -> None:
    """lavapipe's coopmat2 has four of seven features, and the three that are off are named."""
    answer = gap(lavapipe(), "coopmat2")
    assert (answer.met, answer.part) == (False, (4, 7))
    assert "cooperativeMatrixWorkgroupScope" in missing(lavapipe(), "coopmat2")
    assert "cooperativeMatrixReductions" not in missing(lavapipe(), "coopmat2")


def test_a_maximum_dimension_below_512_is_a_missing_limit() -> None:
    """Battlemage's case: all features on would still not do with MaxDimension 0."""
    properties = {
        **nvidia().properties,
        "VkPhysicalDeviceCooperativeMatrix2PropertiesNV": {"cooperativeMatrixFlexibleDimensionsMaxDimension": 0},
    }
    record = device(
        extensions=(*COMMON, "VK_NV_cooperative_matrix2"),
        features=nvidia().features,
        properties=properties,
        nv_flexible=nvidia().coopmat.nv_flexible,
    )
    (only,) = gap(record, "coopmat2").missing
    assert (only.kind, only.need, only.have) == ("limit", 512, 0)


def test_tuples_that_were_not_asked_for_are_unknown() -> None:
    """A file without tuples leaves coopmat open: its extension and feature are there."""
    record = device(extensions=COMMON, features=nvidia().features, tuples=None)
    answer = gap(record, "coopmat")
    assert answer.met is None
    assert [m.have for m in answer.missing] == [None]


def test_an_empty_tuple_list_is_no() -> None:
    """A driver that lists no tuple has none."""
    assert gap(device(extensions=COMMON, features=nvidia().features, tuples=[]), "coopmat").met is False


def test_f16_accumulation_alone_is_not_enough_for_coopmat() -> None:
    """llama.cpp needs f32 accumulation in the first f16 shape; the same in another shape does not count."""
    tuples = [khr(16, 8, 16, "f16", "f16"), khr(16, 16, 16, "f16", "f32")]
    assert gap(device(extensions=COMMON, features=nvidia().features, tuples=tuples), "coopmat").met is False
    assert gap(device(extensions=COMMON, features=nvidia().features, tuples=tuples[::-1]), "coopmat").met is True


def test_a_struct_that_is_absent_is_unknown_while_its_extension_is_listed() -> None:
    """vulkaninfo lists VK_NV_cooperative_matrix2 without its structs: unknown, never no."""
    features = {k: v for k, v in nvidia().features.items() if k != COOPMAT2}
    record = device(extensions=(*COMMON, "VK_NV_cooperative_matrix2"), features=features, properties=device().properties)
    assert gap(record, "coopmat2").met is None


def test_a_device_that_lists_no_extension_says_nothing_about_them() -> None:
    """An empty extension list comes from a file without one."""
    assert gap(device(extensions=()), "coopmat").met is None


@pytest.mark.parametrize(
    ("struct", "met"),
    [("VkPhysicalDeviceVulkan12Features", True), ("VkPhysicalDeviceShaderFloat16Int8Features", True), ("VkPhysicalDeviceFoo", None)],
)
def test_a_promoted_feature_is_found_in_either_struct(struct: str, met: bool | None) -> None:
    """shaderFloat16 counts in the core struct and in the extension's."""
    features = {"VkPhysicalDevice16BitStorageFeaturesKHR": {"storageBuffer16BitAccess": True}, struct: {"shaderFloat16": True}}
    assert gap(device(features=features), "scalar-f16").met is met


def test_a_core_version_that_is_too_low_is_no_where_no_extension_helps() -> None:
    """Vulkan 1.2 without VK_EXT_subgroup_size_control has no size control; on an unknown version that is unknown."""
    bare = {"VkPhysicalDeviceVulkan11Features": {"storageBuffer16BitAccess": True}}
    assert gap(device(api="1.2.100", features=bare, properties={}), "subgroup-size-control").met is False
    assert gap(device(api=None, features=bare, properties={}), "subgroup-size-control").met is None
    listed = device(api="1.2.100", features=bare, properties={}, extensions=("VK_EXT_subgroup_size_control",))
    assert gap(listed, "subgroup-size-control").met is None


def test_vulkan_1_1_fails_every_path() -> None:
    """llama.cpp's shaders need 1.2."""
    assert "apiVersion" in missing(device(api="1.1.0"), "scalar-f32")


@pytest.mark.parametrize(("stages", "met"), [(0x20, True), (0x10, False), (["VK_SHADER_STAGE_COMPUTE_BIT"], True), ([], False)])
def test_flags_are_understood_as_numbers_and_as_names(stages: object, met: bool) -> None:
    """A driver answers with bits, a Profiles file with names."""
    properties = {"VkPhysicalDeviceVulkan13Properties": {"requiredSubgroupSizeStages": stages}}
    assert gap(device(properties=properties), "subgroup-size-control").met is met


def test_integer_dot_product_counts_only_when_accelerated() -> None:
    """The extension and feature are not enough for llama.cpp."""
    properties = {"VkPhysicalDeviceShaderIntegerDotProductProperties": {"integerDotProduct4x8BitPackedSignedAccelerated": False}}
    (only,) = gap(device(properties=properties), "intdot").missing
    assert (only.kind, only.have) == ("property", False)


def test_every_condition_names_its_line_in_llama_cpp() -> None:
    """No need without a source; of extensions that llama.cpp does not use, the specification's version."""
    empty = device(api=None, extensions=(), features={}, properties={})
    for r in all_requirements():
        answer = evaluate(empty, r)
        assert answer.met is None
        assert answer.missing
        wanted = r"Vulkan 1\.\d\.\d+, not asked for by" if r.group == "extension" else r"llama\.cpp@b10249 ggml-vulkan\.cpp:\d"
        assert all(re.match(wanted, m.source) for m in answer.missing), r.path


@pytest.mark.parametrize(
    "extension",
    [
        "VK_EXT_cooperative_matrix_maintenance1",
        "VK_NV_cooperative_matrix_decode_vector",
        "VK_NV_cooperative_vector",
        "VK_EXT_shader_float8",
        "VK_EXT_shader_ocp_microscaling_types",
        "VK_VALVE_shader_mixed_float_dot_product",
        "VK_KHR_shader_untyped_pointers",
        "VK_EXT_shader_64bit_indexing",
        "VK_EXT_shader_long_vector",
    ],
)
def test_the_newest_extensions_are_known_with_what_they_give(extension: str) -> None:
    """Each is asked for by a requirement whose description is a sentence, and is missing on a device without it."""
    owners = [r for r in all_requirements() if any(m.name == extension for m in evaluate(device(), r).missing)]
    assert owners
    assert all(r.description.endswith(".") and len(r.description) > 40 for r in owners)
    assert all(evaluate(device(), r).met is False for r in owners)


def test_every_missing_part_of_an_extension_that_is_not_listed_is_a_no() -> None:
    """A driver that lists an extension list without it can't have its features: nothing of it stays unknown."""
    for r in all_requirements():
        answer = evaluate(device(tuples=[]), r)
        lacking = {m.name for m in answer.missing if m.kind == "extension"}
        if lacking:
            assert not [m.name for m in answer.missing if m.have is None and m.kind == "feature"], r.path


def test_requirement_files_have_the_shape_of_vulkan_profiles() -> None:
    """Each has one profile with the keys the Khronos schema requires, and names only blocks it has."""
    files = sorted(FOLDER.glob("*.json"))
    assert len(files) == len(all_requirements())
    for path in files:
        content = json.loads(path.read_text())
        ((name, profile),) = content["profiles"].items()
        assert name.startswith("VP_VKPROBE_llama_")
        assert {"version", "api-version", "label", "description", "contributors", "history", "capabilities"} <= profile.keys()
        assert set(profile["capabilities"]) == content["capabilities"].keys()
        assert content["vkprobe"]["path"] == path.stem


def test_a_new_requirement_is_one_file_and_alternatives_are_nested_lists(tmp_path: Path) -> None:
    """Any one block of a nested list is enough; the cheapest to add is reported missing."""
    content = {
        "capabilities": {
            "a": {"extensions": {"VK_A_x": 1, "VK_A_y": 1}},
            "b": {"properties": {"VkPhysicalDeviceProperties": {"limits": {"maxComputeSharedMemorySize": 65536}}}},
        },
        "profiles": {"VP_X": {"version": 1, "api-version": "1.2.0", "label": "x", "description": "", "capabilities": [["a", "b"]]}},
        "vkprobe": {"path": "x", "order": 1, "sources": {"*": "here"}},
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    (loaded,) = load(tmp_path)
    answer = evaluate(device(), loaded)
    assert (answer.met, [m.kind for m in answer.missing]) == (False, ["limit"])
    assert evaluate(device(extensions=("VK_A_x", "VK_A_y")), loaded).met is True


def test_a_broken_requirement_file_is_named(tmp_path: Path) -> None:
    """The error names the file and the fault."""
    (tmp_path / "bad.json").write_text('{"capabilities": {}}')
    with pytest.raises(UsageError, match=r"bad\.json.*profiles"):
        load(tmp_path)


def test_an_unknown_path_is_a_usage_error_that_lists_the_known_ones() -> None:
    """`requirement` never returns nothing."""
    with pytest.raises(UsageError, match="coopmat2"):
        requirement("coopmat3")


def test_a_kernel_requirement_takes_either_of_its_feature_alternatives() -> None:
    """SPIR-V's StorageBuffer16BitAccess is enabled by one of two structs."""
    alternatives = [[("VkPhysicalDeviceNonsense", "x"), ("VkPhysicalDevice16BitStorageFeatures", "storageBuffer16BitAccess")]]
    need = kernel_requirement("k", alternatives, source="k.spv", tuples=[coopmat_tuple(16, 16, 16, "f16", "f32", source="k.spv")])
    assert evaluate(nvidia(), need).met is True
    assert evaluate(lavapipe(), need).met is False
    (lacking,) = evaluate(lavapipe(), need).missing
    assert (lacking.kind, "8x8x8 f16,f16->f16" in lacking.have) == ("tuple", True)


@pytest.mark.parametrize(
    ("limits", "met"),
    [
        ({"shared_memory_bytes": 49152}, True),
        ({"shared_memory_bytes": 49153}, False),
        ({"workgroup_invocations": 2048}, False),
        ({"subgroup_size": 32}, True),
        ({"subgroup_size": 64}, False),
        ({"api_version": "1.4"}, True),
    ],
)
def test_a_kernel_requirement_holds_limits_against_the_device(limits: dict[str, int], met: bool) -> None:
    """Shared memory, invocations and subgroup size are compared with the device's."""
    assert evaluate(nvidia(), kernel_requirement("k", [], source="k.spv", **limits)).met is met  # type: ignore[arg-type]


def test_a_subgroup_size_inside_the_range_needs_size_control() -> None:
    """32 to 64 without subgroupSizeControl does not let a kernel choose."""
    properties = {"VkPhysicalDeviceVulkan13Properties": {"minSubgroupSize": 32, "maxSubgroupSize": 64}}
    need = kernel_requirement("k", [], source="k.spv", subgroup_size=32)
    off = {"VkPhysicalDeviceVulkan13Features": {"subgroupSizeControl": False}}
    assert evaluate(device(properties=properties), need).met is True
    assert evaluate(device(properties=properties, features=off), need).met is False


def test_bf16_on_matrix_units_is_met_by_rdna4_only() -> None:
    """coopmat-bf16 includes coopmat and bf16 and asks for the f16 path's shape."""
    assert gap(null_radv(), "coopmat-bf16").met is True
    assert gap(null_nvk(), "coopmat-bf16").met is False


def test_the_h200_vulkaninfo_file_leaves_tuples_open() -> None:
    """A real file without tuples and NV structs (shape as vulkaninfo writes it) is unknown for both coopmat paths."""
    record = device(
        api="1.4.312",
        extensions=(*COMMON, "VK_NV_cooperative_matrix2"),
        features={**device().features, "VkPhysicalDeviceCooperativeMatrixFeaturesKHR": {"cooperativeMatrix": True}},
    )
    assert (gap(record, "coopmat").met, gap(record, "coopmat2").met, gap(record, "scalar-f16").met) == (None, None, True)


def test_providers_agree_with_the_khronos_registry() -> None:
    """Extension and core version of every struct in the table are the registry's."""
    vulkan_object = pytest.importorskip("vulkan_object", reason="pip install vulkan-object")
    registry = vulkan_object.get_vulkan_object()
    for struct, provider in PROVIDERS.items():
        entry = registry.structs[struct]
        version = entry.version.name.removeprefix("VK_VERSION_").replace("_", ".") if entry.version else None
        assert version == (None if provider.core is None else f"{provider.core[0]}.{provider.core[1]}"), struct
        assert (provider.extension in entry.extensions) if provider.extension else not entry.extensions, struct
        core = core_struct(struct)
        if core is not None and struct != "VkPhysicalDeviceSubgroupProperties":
            mine = {m.name for m in entry.members} - {"sType", "pNext"}
            assert mine <= {m.name for m in registry.structs[core].members}, struct
    for r in all_requirements():
        assert r.counted is None or base_name(r.counted) in PROVIDERS
