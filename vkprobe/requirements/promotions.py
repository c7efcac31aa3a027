"""The extension that provides a capability struct, and the core version that adopted it.

A table by hand, of the structs that requirements and kernels of LLM inference name; a test checks every row against the Khronos registry.
A struct that is not here is still looked up by its name; only "this device can't have it" needs the table.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

Version = tuple[int, int]


class Provider(NamedTuple):
    """Where a struct comes from: its extension (None: core only), and the core version that took it over (None: none yet)."""

    extension: str | None
    core: Version | None


_PROMOTED: dict[Version, dict[str | None, tuple[str, ...]]] = {
    (1, 1): {
        None: ("VkPhysicalDeviceSubgroupProperties",),
        "VK_KHR_16bit_storage": ("VkPhysicalDevice16BitStorageFeatures",),
        "VK_KHR_variable_pointers": ("VkPhysicalDeviceVariablePointersFeatures",),
        "VK_KHR_maintenance3": ("VkPhysicalDeviceMaintenance3Properties",),
    },
    (1, 2): {
        "VK_KHR_8bit_storage": ("VkPhysicalDevice8BitStorageFeatures",),
        "VK_KHR_buffer_device_address": ("VkPhysicalDeviceBufferDeviceAddressFeatures",),
        "VK_KHR_shader_float16_int8": ("VkPhysicalDeviceShaderFloat16Int8Features",),
        "VK_KHR_shader_float_controls": ("VkPhysicalDeviceFloatControlsProperties",),
        "VK_KHR_shader_subgroup_extended_types": ("VkPhysicalDeviceShaderSubgroupExtendedTypesFeatures",),
        "VK_KHR_vulkan_memory_model": ("VkPhysicalDeviceVulkanMemoryModelFeatures",),
        "VK_EXT_scalar_block_layout": ("VkPhysicalDeviceScalarBlockLayoutFeatures",),
    },
    (1, 3): {
        "VK_EXT_subgroup_size_control": (
            "VkPhysicalDeviceSubgroupSizeControlFeatures",
            "VkPhysicalDeviceSubgroupSizeControlProperties",
        ),
        "VK_KHR_maintenance4": ("VkPhysicalDeviceMaintenance4Features", "VkPhysicalDeviceMaintenance4Properties"),
        "VK_KHR_shader_integer_dot_product": (
            "VkPhysicalDeviceShaderIntegerDotProductFeatures",
            "VkPhysicalDeviceShaderIntegerDotProductProperties",
        ),
        "VK_KHR_synchronization2": ("VkPhysicalDeviceSynchronization2Features",),
    },
    (1, 4): {
        "VK_EXT_pipeline_robustness": (
            "VkPhysicalDevicePipelineRobustnessFeatures",
            "VkPhysicalDevicePipelineRobustnessProperties",
        ),
    },
}

_EXTENSION_ONLY: dict[str, tuple[str, ...]] = {
    "VK_KHR_cooperative_matrix": ("VkPhysicalDeviceCooperativeMatrixFeaturesKHR", "VkPhysicalDeviceCooperativeMatrixPropertiesKHR"),
    "VK_NV_cooperative_matrix2": ("VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "VkPhysicalDeviceCooperativeMatrix2PropertiesNV"),
    "VK_NV_cooperative_matrix_decode_vector": ("VkPhysicalDeviceCooperativeMatrixDecodeVectorFeaturesNV",),
    "VK_EXT_cooperative_matrix_maintenance1": ("VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT",),
    "VK_NV_cooperative_vector": ("VkPhysicalDeviceCooperativeVectorFeaturesNV", "VkPhysicalDeviceCooperativeVectorPropertiesNV"),
    "VK_NV_shader_sm_builtins": ("VkPhysicalDeviceShaderSMBuiltinsPropertiesNV",),
    "VK_AMD_shader_core_properties": ("VkPhysicalDeviceShaderCorePropertiesAMD",),
    "VK_AMD_shader_core_properties2": ("VkPhysicalDeviceShaderCoreProperties2AMD",),
    "VK_KHR_shader_untyped_pointers": ("VkPhysicalDeviceShaderUntypedPointersFeaturesKHR",),
    "VK_EXT_shader_64bit_indexing": ("VkPhysicalDeviceShader64BitIndexingFeaturesEXT",),
    "VK_EXT_shader_long_vector": ("VkPhysicalDeviceShaderLongVectorFeaturesEXT",),
    "VK_EXT_device_fault": ("VkPhysicalDeviceFaultFeaturesEXT",),
    "VK_KHR_pipeline_executable_properties": ("VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR",),
    "VK_KHR_shader_bfloat16": ("VkPhysicalDeviceShaderBfloat16FeaturesKHR",),
    "VK_EXT_shader_float8": ("VkPhysicalDeviceShaderFloat8FeaturesEXT",),
    "VK_EXT_shader_ocp_microscaling_types": ("VkPhysicalDeviceShaderOCPMicroscalingTypesFeaturesEXT",),
    "VK_VALVE_shader_mixed_float_dot_product": ("VkPhysicalDeviceShaderMixedFloatDotProductFeaturesVALVE",),
}

PROVIDERS: dict[str, Provider] = {
    **{s: Provider(extension, core) for core, rows in _PROMOTED.items() for extension, structs in rows.items() for s in structs},
    **{s: Provider(extension, None) for extension, structs in _EXTENSION_ONLY.items() for s in structs},
}
"""Struct, without the suffix of an alias -> its provider."""

_RENAMED = {
    "supportedOperations": "subgroupSupportedOperations",
    "supportedStages": "subgroupSupportedStages",
    "quadOperationsInAllStages": "subgroupQuadOperationsInAllStages",
}
"""Members of VkPhysicalDeviceSubgroupProperties -> their names in VkPhysicalDeviceVulkan11Properties; all other promotions kept theirs."""
_SUBGROUP = "VkPhysicalDeviceSubgroupProperties"


def base_name(struct: str) -> str:
    """The name under which `PROVIDERS` has a struct: without the KHR or EXT of an alias that promotion made.

    >>> base_name("VkPhysicalDevice16BitStorageFeaturesKHR"), base_name("VkPhysicalDeviceCooperativeMatrixFeaturesKHR")
    ('VkPhysicalDevice16BitStorageFeatures', 'VkPhysicalDeviceCooperativeMatrixFeaturesKHR')
    """
    shorter = struct.removesuffix("KHR").removesuffix("EXT")
    return shorter if shorter in PROVIDERS else struct


def core_struct(struct: str) -> str | None:
    """The struct of a core version that carries the members of `struct` too; None where there is none.

    >>> core_struct("VkPhysicalDevice16BitStorageFeatures")
    'VkPhysicalDeviceVulkan11Features'
    """
    provider = PROVIDERS.get(base_name(struct))
    if provider is None or provider.core is None:
        return None
    suffix = "Properties" if base_name(struct).endswith("Properties") else "Features"
    return f"VkPhysicalDeviceVulkan{provider.core[0]}{provider.core[1]}{suffix}"


@cache
def parts_of(core: str) -> list[str]:
    """The structs that were promoted into the core struct `core`."""
    return [struct for struct in PROVIDERS if core_struct(struct) == core]


@cache
def carriers(struct: str, member: str) -> list[tuple[str, str]]:
    """Every (struct, member) that carries the same fact as `struct`.`member`, that one first.

    >>> carriers("VkPhysicalDeviceSubgroupProperties", "supportedOperations")[-1]
    ('VkPhysicalDeviceVulkan11Properties', 'subgroupSupportedOperations')
    """
    base = base_name(struct)
    pairs = [(struct, member)] if struct == base else [(struct, member), (base, member)]
    if base in PROVIDERS:
        pairs += [(base + suffix, member) for suffix in ("KHR", "EXT") if base + suffix != struct and PROVIDERS[base].core]
    core = core_struct(base)
    if core is not None:
        pairs.append((core, _RENAMED.get(member, member) if base == _SUBGROUP else member))
    back = {new: old for old, new in _RENAMED.items()}
    for part in parts_of(struct):
        name = back.get(member, member) if part == _SUBGROUP else member
        pairs += [(part, name), (part + "KHR", name), (part + "EXT", name)]
    return pairs
