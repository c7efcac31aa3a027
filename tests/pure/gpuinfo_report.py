"""A recorded device in the shape of a vulkan.gpuinfo.org report.

Built to what the Hardware Capability Viewer writes (SaschaWillems/VulkanCapsViewer@5efadd38, toJson()), not downloaded: reports carry
their submitters' names. Truth values of features are 0 and 1 there, 64-bit limits hexadecimal text, extensions' members text by extension.
"""

from __future__ import annotations

from typing import Any

from vkprobe.records import DeviceRecord
from vkprobe.results.values import extensions_of, values

_HEX_LIMITS = ("bufferImageGranularity", "sparseAddressSpaceSize", "minStorageBufferOffsetAlignment", "nonCoherentAtomSize")


def _bytes(text: str) -> list[int]:
    return list(bytes.fromhex(text))


def _core(members: dict[str, Any]) -> dict[str, Any]:
    fields = {
        name: int(v) if isinstance(v, bool) else _bytes(v) if "UUID" in name and isinstance(v, str) else v for name, v in members.items()
    }
    if "driverID" in members:
        fields["driverID"] = values("VkDriverId")[members["driverID"]]
        fields["conformanceVersion"] = ".".join(
            str(members["conformanceVersion"][part]) for part in ("major", "minor", "subminor", "patch")
        )
    if "deviceLUID" in fields:
        fields["deviceLUID"] = _bytes(members["deviceLUID"])
    for name in ("maxMemoryAllocationSize", "maxBufferSize"):
        if name in fields:
            fields[name] = str(fields[name])
    return fields


def _said(value: Any) -> Any:
    return value if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)


def report(device: DeviceRecord) -> dict[str, Any]:
    """The report."""
    core = dict(device.properties["VkPhysicalDeviceProperties"])
    limits = {name: hex(v) if name in _HEX_LIMITS else int(v) if isinstance(v, bool) else v for name, v in core["limits"].items()}
    root: dict[str, Any] = {
        "properties": {
            **core,
            "limits": limits,
            "pipelineCacheUUID": _bytes(core["pipelineCacheUUID"]),
            "apiVersionText": device.driver.api,
            "driverVersionText": device.driver.version,
            "deviceTypeText": "DISCRETE_GPU",
            "headerversion": 345,
            "subgroupProperties": dict(device.properties["VkPhysicalDeviceSubgroupProperties"]),
        },
        "features": {name: int(v) for name, v in device.features["VkPhysicalDeviceFeatures"].items()},
        "extensions": [{"extensionName": name, "specVersion": version} for name, version in device.extensions.items()],
        "formats": [[1, {"linearTilingFeatures": "0", "optimalTilingFeatures": "0", "bufferFeatures": "0", "supported": False}]],
        "layers": [],
        "queues": [
            {
                "queueFlags": sum(values("VkQueueFlagBits")[_flag(f)] for f in q.flags),
                "queueCount": q.count,
                "timestampValidBits": q.timestamp_bits,
                "minImageTransferGranularity": {"width": 1, "height": 1, "depth": 1},
                "supportsPresent": False,
            }
            for q in device.queues or []
        ],
        "memory": {
            "memoryTypeCount": 0,
            "memoryTypes": [],
            "memoryHeapCount": len(device.heaps or []),
            "memoryHeaps": [{"flags": int(h.device_local), "size": hex(h.bytes)} for h in device.heaps or []],
        },
        "surfacecapabilites": {"validSurface": False},
        "profiles": [],
        "platformdetails": {},
        "environment": {"name": "debian", "version": "13", "architecture": "x86_64", "ostype": 1, "reportversion": "4.1"},
    }
    for version in ("11", "12", "13", "14"):
        root[f"core{version}"] = {
            "properties": _core(device.properties[f"VkPhysicalDeviceVulkan{version}Properties"]),
            "features": {name: int(v) for name, v in device.features[f"VkPhysicalDeviceVulkan{version}Features"].items()},
        }
    root["extended"] = {
        "devicefeatures2": [
            {"name": name, "extension": extensions_of(struct)[0], "supported": v}
            for struct, members in device.features.items()
            if extensions_of(struct)
            for name, v in members.items()
        ],
        "deviceproperties2": [
            {"name": name, "extension": extensions_of(struct)[0], "value": _said(v)}
            for struct, members in device.properties.items()
            if extensions_of(struct)
            for name, v in members.items()
            if not isinstance(v, dict) and "UUID" not in name and "driver" not in name
        ],
    }
    return root


def _flag(word: str) -> str:
    name, _, vendor = word.rpartition("_") if word.endswith(("_KHR", "_NV")) else (word, "", "")
    return f"VK_QUEUE_{name}_BIT" + (f"_{vendor}" if vendor else "")
