"""VK_EXT_device_fault: what a driver can say of why its device was lost."""

from __future__ import annotations

from typing import Any

from vkprobe.worker.vk.core import Arena, ffi, lib
from vkprobe.worker.vk.device import Device

_FUNCTION = "VkResult (*)(VkDevice, VkDeviceFaultCountsEXT *, VkDeviceFaultInfoEXT *)"
_INCOMPLETE = 5


def fault_report(device: Device) -> str | None:
    """The lost device's fault in a few lines: description, addresses, the vendor's words; None where the driver says nothing.

    Source: VK_EXT_device_fault; vendor binaries are left out.
    """
    call = device.function("vkGetDeviceFaultInfoEXT", _FUNCTION)
    return None if call is None else report_of(lambda counts, info: call(device.handle, counts, info))


def report_of(call: Any) -> str | None:
    """The report that `call(counts, info)` fills in; it is asked twice, as the extension has it."""
    arena = Arena()
    counts = arena.new("VkDeviceFaultCountsEXT", sType=lib.VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT)
    if call(counts, ffi.NULL) != 0:
        return None
    counts.vendorBinarySize = 0
    addresses = arena.array("VkDeviceFaultAddressInfoEXT", max(1, counts.addressInfoCount))
    vendor = arena.array("VkDeviceFaultVendorInfoEXT", max(1, counts.vendorInfoCount))
    info = arena.new(
        "VkDeviceFaultInfoEXT", sType=lib.VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT, pAddressInfos=addresses, pVendorInfos=vendor
    )
    if call(counts, info) not in (0, _INCOMPLETE):
        return None
    lines = [_text(info.description)]
    for i in range(counts.addressInfoCount):
        one = addresses[i]
        lines.append(f"address {one.reportedAddress:#x} (type {int(one.addressType)}, precision {one.addressPrecision:#x})")
    for i in range(counts.vendorInfoCount):
        one = vendor[i]
        lines.append(f"{_text(one.description)}: code {one.vendorFaultCode:#x}, data {one.vendorFaultData:#x}")
    return "\n".join(line for line in lines if line) or None


def _text(field: Any) -> str:
    return str(ffi.string(field).decode(errors="replace"))
