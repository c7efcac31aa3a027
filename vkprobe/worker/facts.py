"""Device facts: what the driver says, in the specification's names, complete and unjudged."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from vkprobe.worker import identity
from vkprobe.worker.failure import Failure
from vkprobe.worker.vk import registry, structs
from vkprobe.worker.vk.core import VkError, version_string
from vkprobe.worker.vk.instance import instance
from vkprobe.worker.vk.physical import Ask, PhysicalDevice

Progress = Callable[[dict[str, Any]], None]

_DEVICE_TYPES = ("other", "integrated-gpu", "discrete-gpu", "virtual-gpu", "cpu")
_KHR_QUERY = "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
_FLEXIBLE_QUERY = "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV"
_EXT_QUERY = "vkGetPhysicalDeviceCooperativeMatrixProperties2EXT"
_SUBGROUP, _WORKGROUP = 3, 2
_SATURATING = 1


def _devices(progress: Progress) -> Iterator[PhysicalDevice]:
    progress({"query": "vkCreateInstance"})
    vulkan = instance()
    progress({"query": "vkEnumeratePhysicalDevices"})
    for handle in vulkan.physical_devices():
        progress({"query": "vkGetPhysicalDeviceProperties"})
        yield PhysicalDevice(vulkan, handle)


def enumerate_devices(progress: Progress) -> list[dict[str, Any]]:
    """The driver's devices, in the loader's order: index, name, type, api, driver_id, vendor_id, device_id.

    Raises:
        VkError: the instance could not be made, or its devices not be listed.
    """
    found = []
    for index, device in enumerate(_devices(progress)):
        driver = _driver_properties(device, progress)
        found.append(
            {
                "index": index,
                "name": device.core["deviceName"].strip(),
                "type": _device_type(device),
                "api": version_string(device.api),
                "driver_id": driver.get("driverID"),
                "vendor_id": device.core["vendorID"],
                "device_id": device.core["deviceID"],
            }
        )
    return found


def facts(progress: Progress, index: int | None = None, skip: Collection[str] = ()) -> list[dict[str, Any]]:
    """What the driver says of its devices, or of the one at `index`: records.DeviceRecord's fields, with `index` for `device`.

    `notes` besides: a sentence for each query that the driver answered with an error.
    Each query is announced by `progress({"query": name})` before it is made, so that whoever sees the worker die knows
    which one killed it; a name in `skip` is left out, and what it would have told is absent or null.

    Raises:
        VkError: the instance could not be made, its devices not be listed, or their extensions not be read.
        Failure: there is no device at `index` (`no-such-device`).
    """

    def ask(query: str) -> bool:
        progress({"query": query})
        return query not in skip

    devices = list(enumerate(_devices(progress)))
    if index is not None:
        devices = devices[index : index + 1]
        if not devices:
            raise Failure("no-such-device", f"the driver has no device {index}")
    return [_facts_of(number, device, ask) for number, device in devices]


def _facts_of(index: int, device: PhysicalDevice, ask: Ask) -> dict[str, Any]:
    ask("vkEnumerateDeviceExtensionProperties")
    extensions = device.extensions
    features = device.features(ask)
    properties = device.properties(ask)
    mapped = identity.mapped_files()
    pci = identity.pci_address(properties)
    notes: list[str] = []
    return {
        "index": index,
        "name": device.core["deviceName"].strip(),
        "type": _device_type(device),
        "driver": _driver(device, properties, mapped, pci),
        "hardware": {"vendor_id": device.core["vendorID"], "device_id": device.core["deviceID"], "pci": pci, "chip": chip(device.core)},
        "extensions": extensions,
        "features": features,
        "properties": properties,
        "coopmat": {
            "khr": _told(notes, ask, _KHR_QUERY, lambda: khr_tuples(device)),
            "nv_flexible": _told(notes, ask, _FLEXIBLE_QUERY, lambda: flexible_tuples(device)),
            "ext": _told(notes, ask, _EXT_QUERY, lambda: ext_tuples(device, features, properties)),
        },
        "queues": device.queues() if ask("vkGetPhysicalDeviceQueueFamilyProperties") else None,
        "heaps": device.heaps() if ask("vkGetPhysicalDeviceMemoryProperties") else None,
        "notes": notes,
    }


def _told(notes: list[str], ask: Ask, query: str, rows: Callable[[], list[dict[str, Any]] | None]) -> list[dict[str, Any]] | None:
    if not ask(query):
        return None
    try:
        return rows()
    except VkError as error:
        # The device stays worth knowing; this answer is unknown, and the user is told why.
        notes.append(error.reason)
        return None


def _device_type(device: PhysicalDevice) -> str:
    number = int(device.core["deviceType"])
    return _DEVICE_TYPES[number] if 0 <= number < len(_DEVICE_TYPES) else f"type-{number}"


def _driver_properties(device: PhysicalDevice, progress: Progress) -> dict[str, Any]:
    def only(query: str) -> bool:
        if query != "VkPhysicalDeviceDriverProperties":
            return False
        progress({"query": query})
        return True

    return device.properties(only).get("VkPhysicalDeviceDriverProperties", {})


def _driver(device: PhysicalDevice, properties: dict[str, dict[str, Any]], mapped: list[str], pci: str | None) -> dict[str, Any]:
    said = properties.get("VkPhysicalDeviceDriverProperties", {})
    driver_id = said.get("driverID")
    conformance = said.get("conformanceVersion")
    icd = identity.manifest()
    library = identity.driver_library(icd, mapped)
    return {
        "name": said.get("driverName"),
        "id": driver_id if driver_id is None else str(driver_id),
        "info": said.get("driverInfo"),
        "version": identity.driver_version(device.core["driverVersion"], device.core["vendorID"], driver_id),
        "icd": icd,
        "build_id": identity.build_id(library) if library else None,
        "api": version_string(device.api),
        "conformance": conformance and ".".join(str(conformance[part]) for part in ("major", "minor", "subminor", "patch")),
        "kernel_module": None if identity.shimmed(mapped) else identity.kernel_module(properties, pci),
    }


def chip(core: dict[str, Any]) -> str | None:
    """The chip that a Mesa driver names in brackets behind its own name; None where the device's name tells none.

    >>> chip({"deviceType": 2, "deviceName": "AMD Radeon RX 9070 XT (RADV GFX1201)"})
    'GFX1201'
    >>> chip({"deviceType": 2, "deviceName": "Intel(R) Arc(tm) B580 Graphics (BMG G21)"})
    'BMG G21'
    """
    match = re.search(r" \((?:RADV |NVK |ACO |LLVM )*([A-Z][A-Z0-9 ._-]*)\)$", core["deviceName"], re.IGNORECASE)
    return match[1] if match and core["deviceType"] != 4 else None


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


def khr_tuples(device: PhysicalDevice) -> list[dict[str, Any]] | None:
    """Rows of vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR; none without the extension, None where the function is missing."""
    if "VK_KHR_cooperative_matrix" not in device.extensions:
        return []
    rows = device.rows(_KHR_QUERY, "VkCooperativeMatrixPropertiesKHR")
    if rows is None:
        return None
    return [
        {"m": r.MSize, "n": r.NSize, "k": r.KSize, **_types(r), "saturating": bool(r.saturatingAccumulation), "scope": scope(r.scope)}
        for r in rows
    ]


def flexible_tuples(device: PhysicalDevice) -> list[dict[str, Any]] | None:
    """Rows of the NV flexible-dimensions query; none without the extension, None where the function is missing."""
    if "VK_NV_cooperative_matrix2" not in device.extensions:
        return []
    rows = device.rows(_FLEXIBLE_QUERY, "VkCooperativeMatrixFlexibleDimensionsPropertiesNV")
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
    """What VK_EXT_cooperative_matrix_maintenance1 may be asked on a device: (scope, invocations, subgroup size, flags).

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


def ext_tuples(
    device: PhysicalDevice, features: dict[str, dict[str, Any]], properties: dict[str, dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Rows of vkGetPhysicalDeviceCooperativeMatrixProperties2EXT, each with the scope, invocations and subgroup size asked for.

    No rows without the extension or its feature cooperativeMatrixProperties2; None where the function is missing.
    Unproven: written to the specification; no driver at hand has VK_EXT_cooperative_matrix_maintenance1.

    Source: vkGetPhysicalDeviceCooperativeMatrixProperties2EXT.
    """
    supported = features.get("VkPhysicalDeviceCooperativeMatrixMaintenance1FeaturesEXT", {})
    if not supported.get("cooperativeMatrixProperties2"):
        return []
    found: list[dict[str, Any]] = []
    for asked_scope, invocations, size, flags in ext_questions(features, properties):
        info = structs.new("VkPhysicalDeviceCooperativeMatrixInfo2EXT")
        info.scope, info.invocations, info.subgroupSize, info.flags = asked_scope, invocations, size, flags
        rows = device.rows(_EXT_QUERY, "VkCooperativeMatrixProperties2EXT", info=info)
        if rows is None:
            return None
        asked = {"scope": scope(asked_scope), "invocations": invocations, "subgroup_size": size, "saturating": bool(flags & _SATURATING)}
        found += [{**_granularity(r), **_types(r), **asked} for r in rows]
    return found
