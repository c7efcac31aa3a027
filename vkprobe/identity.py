"""Driver version, place on the bus and chip, read from a device's own properties; for live devices and for files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DEVICE_TYPES = ("other", "integrated-gpu", "discrete-gpu", "virtual-gpu", "cpu")


def version_string(version: int) -> str:
    """A packed Vulkan version as major.minor.patch.

    >>> version_string((1 << 22) | (4 << 12) | 354)
    '1.4.354'
    """
    return f"{version >> 22 & 0x7F}.{version >> 12 & 0x3FF}.{version & 0xFFF}"


def driver_version(packed: int, vendor_id: int, driver_id: str | None) -> str:
    """`driverVersion` as the vendor packs it.

    >>> driver_version(580 << 22 | 159 << 14 | 4 << 6, 0x10DE, "VK_DRIVER_ID_NVIDIA_PROPRIETARY")
    '580.159.04'
    >>> driver_version((26 << 22) | (1 << 12) | 6, 0x10DE, "VK_DRIVER_ID_MESA_NVK")
    '26.1.6'

    Source: vulkan.gpuinfo.org's conventions: NVIDIA 10.8.8.6 bits, printed as it names its releases;
    Intel on Windows 18.14; all others as VK_MAKE_API_VERSION.
    """
    if driver_id == "VK_DRIVER_ID_NVIDIA_PROPRIETARY" or (driver_id is None and vendor_id == 0x10DE):
        release = f"{packed >> 22 & 0x3FF}.{packed >> 14 & 0xFF}.{packed >> 6 & 0xFF:02}"
        return f"{release}.{packed & 0x3F}" if packed & 0x3F else release
    if driver_id == "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS":
        return f"{packed >> 14}.{packed & 0x3FFF}"
    return version_string(packed)


def conformance(said: Mapping[str, Any] | None) -> str | None:
    """VkConformanceVersion as one string (`1.4.1.3`); None where it isn't known."""
    parts = [(said or {}).get(part) for part in ("major", "minor", "subminor", "patch")]
    return None if None in parts else ".".join(map(str, parts))


def device_type(number: int) -> str:
    """VkPhysicalDeviceType as records write it.

    >>> device_type(2), device_type(9)
    ('discrete-gpu', 'type-9')
    """
    return _DEVICE_TYPES[number] if 0 <= number < len(_DEVICE_TYPES) else f"type-{number}"


def pci_address(properties: Mapping[str, Mapping[str, Any]]) -> str | None:
    """domain:bus:device.function (`0000:01:00.0`); None where the driver doesn't report it."""
    bus = properties.get("VkPhysicalDevicePCIBusInfoPropertiesEXT")
    if bus is None or not all(isinstance(bus.get(part), int) for part in ("pciDomain", "pciBus", "pciDevice", "pciFunction")):
        return None
    return f"{bus['pciDomain']:04x}:{bus['pciBus']:02x}:{bus['pciDevice']:02x}.{bus['pciFunction']:x}"


def chip(core: Mapping[str, Any]) -> str | None:
    """The chip that a Mesa driver names in brackets behind its own name; None where the device's name has none.

    >>> chip({"deviceType": 2, "deviceName": "AMD Radeon RX 9070 XT (RADV GFX1201)"})
    'GFX1201'
    >>> chip({"deviceType": 2, "deviceName": "Intel(R) Arc(tm) B580 Graphics (BMG G21)"})
    'BMG G21'
    """
    match = re.search(r" \((?:RADV |NVK |ACO |LLVM )*([A-Z][A-Z0-9 ._-]*)\)$", core["deviceName"], re.IGNORECASE)
    return match[1] if match and core["deviceType"] != 4 else None
