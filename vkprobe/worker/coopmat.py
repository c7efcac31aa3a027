"""The three cooperative-matrix queries and the one of cooperative vectors: what may be asked, and the answers as records write them."""

from __future__ import annotations

import re
from typing import Any, Protocol

from vkprobe.worker.vk import registry, structs

KHR_QUERY = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
FLEXIBLE_QUERY = "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV"
EXT_QUERY = "vkGetPhysicalDeviceCooperativeMatrixProperties2EXT"
VECTOR_QUERY = "vkGetPhysicalDeviceCooperativeVectorPropertiesNV"
_SUBGROUP, _WORKGROUP = 3, 2
_SATURATING = 1


class Device(Protocol):
    """The part of a PhysicalDevice that the queries need."""

    @property
    def extensions(self) -> dict[str, int]:
        """Device extensions and their versions."""

    def rows(self, function: str, row: str, *, info: Any = None) -> list[Any] | None:
        """Structs `row` that an array query gives; None where the function is missing."""


def component_type(value: int) -> str:
    """VkComponentTypeKHR as records write it (f16, bf16, e4m3, s8, ...); `type-N` for a number without a name.

    >>> [component_type(v) for v in (0, 3, 1000141000, 1000491002, 1000491000, 77)]
    ['f16', 's8', 'bf16', 'e4m3', 's8-packed', 'type-77']
    """
    name = structs.numbered(registry.COMPONENT_TYPES).get(value)
    if name is None:
        return f"type-{value}"
    words = name.removeprefix("VK_COMPONENT_TYPE_").lower().split("_")[:-1]  # the last is the vendor's
    first = words[0].replace("bfloat", "bf").replace("float", "f").replace("sint", "s").replace("uint", "u")
    formats = [w for w in words[1:] if re.fullmatch(r"e\dm\d", w)]
    return formats[0] if formats else "-".join([first, *words[1:]])


def scope(value: int) -> str:
    """VkScopeKHR as records write it: `subgroup`, `workgroup`, `device`, `queue-family`; `scope-N` without a name."""
    name = structs.numbered(registry.SCOPES).get(value)
    return f"scope-{value}" if name is None else name.removeprefix("VK_SCOPE_").rpartition("_")[0].lower().replace("_", "-")


def _types(row: Any) -> dict[str, str]:
    return {
        "a": component_type(row.AType),
        "b": component_type(row.BType),
        "c": component_type(row.CType),
        "result": component_type(row.ResultType),
    }


def _granularity(row: Any) -> dict[str, int]:
    return {"m_granularity": row.MGranularity, "n_granularity": row.NGranularity, "k_granularity": row.KGranularity}


def khr_tuples(device: Device) -> list[dict[str, Any]] | None:
    """Rows of vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR; none without the extension, None where the function is missing."""
    if "VK_KHR_cooperative_matrix" not in device.extensions:
        return []
    rows = device.rows(KHR_QUERY, "VkCooperativeMatrixPropertiesKHR")
    if rows is None:
        return None
    return [
        {"m": r.MSize, "n": r.NSize, "k": r.KSize, **_types(r), "saturating": bool(r.saturatingAccumulation), "scope": scope(r.scope)}
        for r in rows
    ]


def flexible_tuples(device: Device) -> list[dict[str, Any]] | None:
    """Rows of the NV flexible-dimensions query; none without the extension, None where the function is missing."""
    if "VK_NV_cooperative_matrix2" not in device.extensions:
        return []
    rows = device.rows(FLEXIBLE_QUERY, "VkCooperativeMatrixFlexibleDimensionsPropertiesNV")
    if rows is None:
        return None
    return [
        {
            **_granularity(r),
            **_types(r),
            "saturating": bool(r.saturatingAccumulation),
            "scope": scope(r.scope),
            "workgroup_invocations": r.workgroupInvocations,
        }
        for r in rows
    ]


def _powers_of_two(low: int, high: int) -> list[int]:
    return [1 << bit for bit in range(32) if low <= 1 << bit <= high]


def ext_questions(features: dict[str, dict[str, Any]], properties: dict[str, dict[str, Any]]) -> list[tuple[int, int, int, int]]:
    """The queries that VK_EXT_cooperative_matrix_maintenance1 allows on a device: (scope, invocations, subgroup size, flags).

    Subgroup size 0 stands for a varying one. Workgroup scope only where cooperativeMatrixWorkgroupScope is supported.

    Source: VkPhysicalDeviceCooperativeMatrixInfo2EXT, VUIDs 13372 to 13381.
    """
    default = properties.get("VkPhysicalDeviceSubgroupProperties", {}).get("subgroupSize", 0)
    sizes = [default] if default else []
    control = features.get("VkPhysicalDeviceSubgroupSizeControlFeatures", {}).get("subgroupSizeControl")
    limits = properties.get("VkPhysicalDeviceSubgroupSizeControlProperties")
    if control and limits:
        sizes = _powers_of_two(limits["minSubgroupSize"], limits["maxSubgroupSize"])
    questions = [(_SUBGROUP, 0, size, flags) for size in (0, *sizes) for flags in (0, _SATURATING)]
    if features.get("VkPhysicalDeviceCooperativeMatrix2FeaturesNV", {}).get("cooperativeMatrixWorkgroupScope"):
        largest = properties["VkPhysicalDeviceCooperativeMatrix2PropertiesNV"]["cooperativeMatrixWorkgroupScopeMaxWorkgroupSize"]
        for invocations in _powers_of_two(min(sizes, default=1), largest):
            for size in (0, *(s for s in sizes if s <= invocations)):
                questions += [(_WORKGROUP, invocations, size, flags) for flags in (0, _SATURATING)]
    return questions


def ext_tuples(device: Device, features: dict[str, dict[str, Any]], properties: dict[str, dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Rows of vkGetPhysicalDeviceCooperativeMatrixProperties2EXT, each with the scope, invocations and subgroup size asked for.

    No rows without the extension or its feature cooperativeMatrixProperties2; None where the function is missing.
    Unproven: written to the specification; no driver at hand has VK_EXT_cooperative_matrix_maintenance1.

    Source: vkGetPhysicalDeviceCooperativeMatrixProperties2EXT.
    """
    supported = features.get("VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT", {})
    if not supported.get("cooperativeMatrixProperties2"):
        return []
    tuples: list[dict[str, Any]] = []
    for asked_scope, invocations, size, flags in ext_questions(features, properties):
        info = structs.new("VkPhysicalDeviceCooperativeMatrixInfo2EXT")
        info.scope, info.invocations, info.subgroupSize, info.flags = asked_scope, invocations, size, flags
        rows = device.rows(EXT_QUERY, "VkCooperativeMatrixProperties2EXT", info=info)
        if rows is None:
            return None
        asked = {"scope": scope(asked_scope), "invocations": invocations, "subgroup_size": size, "saturating": bool(flags & _SATURATING)}
        tuples += [{**_granularity(r), **_types(r), **asked} for r in rows]
    return tuples


def vector_combinations(device: Device) -> list[dict[str, Any]] | None:
    """Rows of vkGetPhysicalDeviceCooperativeVectorPropertiesNV; none without the extension, None where the function is missing.

    Source: VkCooperativeVectorPropertiesNV.
    """
    if "VK_NV_cooperative_vector" not in device.extensions:
        return []
    rows = device.rows(VECTOR_QUERY, "VkCooperativeVectorPropertiesNV")
    if rows is None:
        return None
    return [
        {
            "input": component_type(r.inputType),
            "input_interpretation": component_type(r.inputInterpretation),
            "matrix_interpretation": component_type(r.matrixInterpretation),
            "bias_interpretation": component_type(r.biasInterpretation),
            "result": component_type(r.resultType),
            "transpose": bool(r.transpose),
        }
        for r in rows
    ]
