"""The generated registry modules, and what is made of them."""

from __future__ import annotations

import ctypes
import importlib.util
from types import ModuleType
from typing import Any

import pytest

from vkprobe import spirv_enables, spirv_tables
from vkprobe.dependency import satisfied, versions
from vkprobe.worker.vk import structs

COOPMAT2 = "VkPhysicalDeviceCooperativeMatrix2FeaturesNV"
HOST_COPY = "VkPhysicalDeviceHostImageCopyProperties"


def _binding_types() -> Any:
    """The `vulkan` package's cffi types, loaded without its __init__, which needs a Vulkan loader."""
    package = importlib.util.find_spec("vulkan")
    assert package is not None
    assert package.submodule_search_locations
    path = f"{package.submodule_search_locations[0]}/_vulkancache.py"
    spec = importlib.util.spec_from_file_location("vulkan_cffi_types", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ffi


def test_regenerating_changes_nothing() -> None:
    """The checked-in modules are what the installed registry gives."""
    pytest.importorskip("vulkan_object", reason="needs the registry: pip install --group dev .")
    from tools.registry import generate

    for path, text in generate().items():
        assert path.read_text() == text, f"{path.name} is stale: run python -m tools.registry"


def test_sizes_and_offsets_agree_with_the_binding() -> None:
    """Every struct that the `vulkan` package knows too, under any of its names, is laid out alike there."""
    ffi = _binding_types()
    names = [*structs.features(), *structs.properties(), "VkPhysicalDeviceProperties", "VkPhysicalDeviceFeatures"]
    names += ["VkCooperativeMatrixPropertiesKHR", *(line.split()[0] for line in spirv_tables.STRUCT_ALIASES.splitlines())]
    compared = 0
    for name in names:
        try:
            theirs = ffi.typeof(name)
        except ffi.error:
            continue  # newer than the binding
        ours = structs.struct(spirv_enables.canonical_struct(name))
        assert ffi.sizeof(theirs) == ctypes.sizeof(ours), name
        assert {member: field.offset for member, field in theirs.fields} == {
            field[0]: getattr(ours, field[0]).offset for field in ours._fields_
        }, name
        compared += 1
    assert compared > 233


def test_every_struct_can_be_made() -> None:
    """All structs that extend Features2 or Properties2 become classes with their sType set and nothing else."""
    names = [*structs.features(), *structs.properties()]
    assert len(names) >= 406
    for name in names:
        struct = structs.new(name)
        assert struct.sType == structs.layout(name).stype
        assert not any(bytes(struct)[4:]), name


def test_arrays_have_their_stype_in_every_element() -> None:
    """The array that a query fills has sType set in each element."""
    rows = structs.new("VkCooperativeMatrixPropertiesKHR", 3)
    assert [row.sType for row in rows] == [1000506001] * 3


def test_chains_are_linked_in_order() -> None:
    """A chain's first struct points at the second, the last at nothing; an empty chain has no address."""
    head, links = structs.chain([COOPMAT2, HOST_COPY])
    assert head == ctypes.addressof(links[COOPMAT2])
    assert links[COOPMAT2].pNext == ctypes.addressof(links[HOST_COPY])
    assert links[HOST_COPY].pNext is None
    assert structs.chain([]) == (0, {})


def test_features_of_any_level_of_support_read_as_bools() -> None:
    """VkBool32 members read as true and false, in the registry's order and under its names."""
    struct = structs.new(COOPMAT2)
    struct.cooperativeMatrixReductions = 1
    plain = structs.plain(COOPMAT2, struct)
    assert next(iter(plain)) == "cooperativeMatrixWorkgroupScope"
    assert len(plain) == 7
    assert [name for name, on in plain.items() if on is True] == ["cooperativeMatrixReductions"]
    assert "sType" not in plain


def test_non_finite_floats_read_as_words() -> None:
    """An infinite timestampPeriod, which a real driver has, comes through as "inf", and nan as "nan"."""
    properties = structs.new("VkPhysicalDeviceProperties")
    properties.limits.timestampPeriod = float("inf")
    properties.limits.lineWidthRange[1] = float("nan")
    limits = structs.plain("VkPhysicalDeviceProperties", properties)["limits"]
    assert limits["timestampPeriod"] == "inf"
    assert limits["lineWidthRange"] == [0.0, "nan"]


def test_text_uuids_and_enums_read_as_records_have_them() -> None:
    """`char` arrays are text, UUIDs hex, flags numbers, driverID its name, an unknown driverID its number."""
    driver = structs.new("VkPhysicalDeviceDriverProperties")
    driver.driverName, driver.driverID, driver.conformanceVersion.minor = b"radv", 3, 4
    plain = structs.plain("VkPhysicalDeviceDriverProperties", driver)
    assert plain["driverName"] == "radv"
    assert plain["driverID"] == "VK_DRIVER_ID_MESA_RADV"
    assert plain["conformanceVersion"] == {"major": 0, "minor": 4, "subminor": 0, "patch": 0}
    driver.driverID = 99_999
    assert structs.plain("VkPhysicalDeviceDriverProperties", driver)["driverID"] == 99_999
    ids = structs.new("VkPhysicalDeviceIDProperties")
    ids.deviceUUID[0], ids.deviceUUID[15] = 0xAB, 0x01
    assert structs.plain("VkPhysicalDeviceIDProperties", ids)["deviceUUID"] == "ab" + "00" * 14 + "01"


def test_pointer_members_read_as_lists() -> None:
    """A count and pointer pair reads as the list that the second query filled; null where there is none."""
    struct = structs.new(HOST_COPY)
    struct.copySrcLayoutCount = 2
    (source, target) = structs.pointers(HOST_COPY)
    assert (source.name, source.length) == ("pCopySrcLayouts", "copySrcLayoutCount")
    array = structs.array_of(source, 2)
    array[0], array[1] = 1, 6
    plain = structs.plain(HOST_COPY, struct, {source.name: array})
    assert plain["pCopySrcLayouts"] == [1, 6]
    assert plain[target.name] is None


def test_wide_flags_keep_their_upper_half() -> None:
    """Flags of 64 bits are not cut to 32."""
    name = "VkPhysicalDeviceSchedulingControlsPropertiesARM"
    struct = structs.new(name)
    struct.schedulingControlsFlags = 1 << 40
    assert structs.plain(name, struct)["schedulingControlsFlags"] == 1 << 40


def test_only_allowed_structs_are_asked_for() -> None:
    """A 1.1 device is asked for what 1.1 and its extensions bring, never for a later version's structs."""
    names = versions(1 << 22 | 1 << 12) | {"VK_KHR_cooperative_matrix", "VK_EXT_robustness2"}
    allowed = structs.allowed(structs.features(), names)
    assert "VkPhysicalDevice16BitStorageFeatures" in allowed
    assert "VkPhysicalDeviceCooperativeMatrixFeaturesKHR" in allowed
    assert "VkPhysicalDeviceRobustness2FeaturesKHR" in allowed, "known under its older extension too"
    assert not [n for n in allowed if "Vulkan1" in n or n == COOPMAT2]


def test_a_struct_that_needs_two_extensions_waits_for_both() -> None:
    """If the registry asks for a second extension, one alone doesn't allow the struct."""
    name = "VkPhysicalDeviceFragmentShaderBarycentricPropertiesKHR"
    condition = structs.layout(name).condition
    assert not satisfied(condition, {"VK_KHR_fragment_shader_barycentric"})
    assert satisfied(condition, {"VK_KHR_fragment_shader_barycentric", "VK_EXT_provoking_vertex"})


@pytest.mark.parametrize(
    ("condition", "names", "expected"),
    [
        ("", "", True),
        ("A", "", False),
        ("A,B", "B", True),
        ("A+B", "A", False),
        ("A+(B,C)", "A C", True),
        ("A,B+C", "A", False),
        ("A,(B+C)", "A", True),
    ],
)
def test_conditions_read_as_the_registry_does(condition: str, names: str, expected: bool) -> None:
    """`,` is or, `+` is and, both of equal rank from the left, parentheses bind."""
    assert satisfied(condition, names.split()) is expected


@pytest.mark.parametrize("condition", ["A+", "(A", "A B", ",A", "A)"])
def test_a_broken_condition_is_refused(condition: str) -> None:
    """A string that is no condition raises instead of meaning something."""
    with pytest.raises(ValueError, match="not a condition"):
        satisfied(condition, {"A"})


def test_promoted_features_enable_a_capability_in_either_struct() -> None:
    """Float16 is enabled by the core struct, the extension's struct, or AMD's extension."""
    enables = {(e.kind, e.name, e.member) for e in spirv_enables.capability("Float16")}
    assert ("feature", "VkPhysicalDeviceVulkan12Features", "shaderFloat16") in enables
    assert ("feature", "VkPhysicalDeviceShaderFloat16Int8Features", "shaderFloat16") in enables
    assert ("extension", "VK_AMD_gpu_shader_half_float", None) in enables


def test_subgroup_capabilities_name_the_bit() -> None:
    """GroupNonUniformArithmetic needs bit 4 of the supported operations, in either struct."""
    enables = {(e.kind, e.name, e.bits) for e in spirv_enables.capability("GroupNonUniformArithmetic")}
    assert enables == {("property", "VkPhysicalDeviceVulkan11Properties", 4), ("property", "VkPhysicalDeviceSubgroupProperties", 4)}


def test_spirv_structs_and_members_exist() -> None:
    """Every struct and member that the SPIR-V tables name is one that device records can hold."""
    core = [m.name for m in structs.layout("VkPhysicalDeviceFeatures").members()]
    sections = (spirv_enables._capabilities(), spirv_enables._extensions())
    enables = [e for section in sections for group in section.values() for e in group if e.member]
    assert len(enables) > 200
    for enable in enables:
        members = core if enable.name == "VkPhysicalDeviceFeatures" else [m.name for m in structs.layout(enable.name).members()]
        assert enable.member in members, enable
