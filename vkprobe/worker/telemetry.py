"""Clocks, power and temperature while a device works, where the system reports them: NVML for NVIDIA, sysfs for the rest.

Read only; no setting is ever changed.
Source: NVML API reference (nvmlDeviceGetHandleByPciBusId_v2, nvmlClockType_t); Linux hwmon and amdgpu sysfs documentation.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from vkprobe.worker.vk.core import Arena, ffi, lib
from vkprobe.worker.vk.device import Device

_NVML_SM, _NVML_MEMORY = 1, 2


def _pci_address(device: Device) -> str | None:
    arena = Arena()
    count = arena.new("uint32_t")
    lib.vkEnumerateDeviceExtensionProperties(device.physical, ffi.NULL, count, ffi.NULL)
    listed = arena.array("VkExtensionProperties", max(1, count[0]))
    lib.vkEnumerateDeviceExtensionProperties(device.physical, ffi.NULL, count, listed)
    if not any(ffi.string(listed[i].extensionName) == b"VK_EXT_pci_bus_info" for i in range(count[0])):
        return None
    bus = arena.new("VkPhysicalDevicePCIBusInfoPropertiesEXT", sType=lib.VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT)
    properties = arena.new("VkPhysicalDeviceProperties2", sType=lib.VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, pNext=bus)
    lib.vkGetPhysicalDeviceProperties2(device.physical, properties)
    return f"{bus.pciDomain:04x}:{bus.pciBus:02x}:{bus.pciDevice:02x}.{bus.pciFunction:x}"


class Telemetry:
    """Telemetry of one device; `read()` is cheap enough to call while a sample runs."""

    def __init__(self, device: Device) -> None:
        self._nvml: Any = None
        self._handle = ctypes.c_void_p()
        self._folder: Path | None = None
        address = _pci_address(device)
        if address is None:
            return
        try:
            nvml = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            nvml = None  # no NVIDIA driver here
        if (
            nvml is not None
            and nvml.nvmlInit_v2() == 0
            and nvml.nvmlDeviceGetHandleByPciBusId_v2(address.encode(), ctypes.byref(self._handle)) == 0
        ):
            self._nvml = nvml
            return
        folder = Path("/sys/bus/pci/devices") / address
        self._folder = folder if folder.is_dir() else None

    def read(self) -> dict[str, Any]:
        """Clocks (MHz), power (W), temperature (degrees Celsius): those that are reported."""
        if self._nvml is not None:
            return self._read_nvml()
        return self._read_sysfs(self._folder) if self._folder is not None else {}

    def _read_nvml(self) -> dict[str, Any]:
        readings: dict[str, Any] = {}
        value = ctypes.c_uint()
        for name, kind in (("sm_clock_mhz", _NVML_SM), ("memory_clock_mhz", _NVML_MEMORY)):
            if self._nvml.nvmlDeviceGetClockInfo(self._handle, kind, ctypes.byref(value)) == 0:
                readings[name] = value.value
        if self._nvml.nvmlDeviceGetPowerUsage(self._handle, ctypes.byref(value)) == 0:
            readings["power_w"] = value.value / 1000
        if self._nvml.nvmlDeviceGetTemperature(self._handle, 0, ctypes.byref(value)) == 0:
            readings["temperature_c"] = value.value
        return readings

    @staticmethod
    def _read_sysfs(folder: Path) -> dict[str, Any]:
        readings: dict[str, Any] = {}
        for pattern, name, divisor in (
            ("hwmon/hwmon*/freq1_input", "sm_clock_mhz", 1e6),
            ("hwmon/hwmon*/freq2_input", "memory_clock_mhz", 1e6),
            ("drm/card*/gt_act_freq_mhz", "sm_clock_mhz", 1.0),
            ("hwmon/hwmon*/power1_average", "power_w", 1e6),
            ("hwmon/hwmon*/temp1_input", "temperature_c", 1e3),
        ):
            for path in folder.glob(pattern):
                value = _number(path)
                if value is not None:
                    readings.setdefault(name, value / divisor)
        return readings


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None  # the kernel lists it but can't read it now
