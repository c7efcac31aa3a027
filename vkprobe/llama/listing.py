"""Which of a machine's devices llama.cpp lists by default."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vkprobe.llama.device import AMD_OPEN_SOURCE, AMD_PROPRIETARY, INTEL_WINDOWS, Vendor
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import lookup

_VISIBLE = "unless GGML_VK_VISIBLE_DEVICES names it"
_DOZEN = "VK_DRIVER_ID_MESA_DOZEN"
_MOLTENVK = "VK_DRIVER_ID_MOLTENVK"

_PRIORITY = {
    Vendor.AMD: ("VK_DRIVER_ID_MESA_RADV", AMD_OPEN_SOURCE, AMD_PROPRIETARY),
    Vendor.INTEL: ("VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA", INTEL_WINDOWS),
    Vendor.NVIDIA: ("VK_DRIVER_ID_NVIDIA_PROPRIETARY", "VK_DRIVER_ID_MESA_NVK"),
    Vendor.QUALCOMM: ("VK_DRIVER_ID_QUALCOMM_PROPRIETARY", "VK_DRIVER_ID_MESA_TURNIP"),
}
"""For one GPU under several drivers llama.cpp keeps the first of these, then Dozen, then any other.

Source: ggml-vulkan.cpp:5342-5363."""


def left_out(device: DeviceRecord, others: Iterable[DeviceRecord] = ()) -> str | None:
    """Why llama.cpp's default device list leaves the device out; None where it doesn't.

    Args:
        others: the devices beside it on the same machine.

    Source: ggml-vulkan.cpp:5296-5395.
    """
    if device.type == "cpu":
        return f"llama.cpp drops CPU devices {_VISIBLE}"
    beside = [other for other in others if not other.null]
    if device.type not in ("discrete-gpu", "integrated-gpu"):
        gpu = next((other for other in beside if other.type in ("discrete-gpu", "integrated-gpu")), None)
        return f"llama.cpp lists discrete and integrated GPUs only, as {gpu.device}, {_VISIBLE}" if gpu else None
    mine = _rank(device)
    for other in beside:
        if _rank(other) < mine and _same_gpu(device, other):
            return f"llama.cpp skips it beside {other.device}, which drives the same GPU, {_VISIBLE}"
    return None


def caution(device: DeviceRecord) -> str | None:
    """A warning about drivers that may be installed without being among the devices at hand; None where there is nothing to say."""
    if device.driver.id == "VK_DRIVER_ID_MESA_NVK":
        return f"llama.cpp skips NVK where NVIDIA's proprietary driver is installed too, {_VISIBLE}"
    return None


def _rank(device: DeviceRecord) -> float:
    order = next((drivers for vendor, drivers in _PRIORITY.items() if vendor == device.hardware.vendor_id), ())
    if device.driver.id in order:
        return order.index(device.driver.id)
    return 100 if device.driver.id == _DOZEN else math.inf


def _same_gpu(one: DeviceRecord, other: DeviceRecord) -> bool:
    if one.driver.id == other.driver.id == _MOLTENVK:
        return False  # it may give two GPUs one UUID
    struct = "VkPhysicalDeviceIDProperties"
    uuids = [lookup(device.properties, struct, "deviceUUID") for device in (one, other)]
    luids = [
        lookup(device.properties, struct, "deviceLUID") if lookup(device.properties, struct, "deviceLUIDValid") else None
        for device in (one, other)
    ]
    return any(pair[0] is not None and pair[0] == pair[1] for pair in (uuids, luids))
