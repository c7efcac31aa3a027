"""llama.cpp's rules by vendor, driver and architecture: which devices it takes, and where it trusts matrix units.

Every answer is three-valued: None where the facts do not tell. Source: llama.cpp@b10249 ggml-vulkan.cpp:365-505, 7294-7389, 18531.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vkprobe.bench.device import Vendor
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import has_extension, lookup

_SIZES = "VkPhysicalDeviceSubgroupSizeControlProperties"
_DOT = "VkPhysicalDeviceShaderIntegerDotProductProperties"
_CORE = "VkPhysicalDeviceShaderCorePropertiesAMD"
_SM = "VkPhysicalDeviceShaderSMBuiltinsPropertiesNV"
_VISIBLE = "unless GGML_VK_VISIBLE_DEVICES names it"

_PRIORITY = {
    Vendor.AMD: ("VK_DRIVER_ID_MESA_RADV", "VK_DRIVER_ID_AMD_OPEN_SOURCE", "VK_DRIVER_ID_AMD_PROPRIETARY"),
    Vendor.INTEL: ("VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA", "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS"),
    Vendor.NVIDIA: ("VK_DRIVER_ID_NVIDIA_PROPRIETARY", "VK_DRIVER_ID_MESA_NVK"),
    Vendor.QUALCOMM: ("VK_DRIVER_ID_QUALCOMM_PROPRIETARY", "VK_DRIVER_ID_MESA_TURNIP"),
}
"""Of one GPU under several drivers llama.cpp keeps the first of these."""


class Ruling(NamedTuple):
    """A rule's answer and the rule in words; where the facts do not tell (None), what would decide it."""

    holds: bool | None
    because: str


def ruled(holds: bool | None, rule: str, open_for: str) -> Ruling:
    """A ruling whose words are the rule, or what would decide it (`open_for`) with the rule."""
    return Ruling(holds, rule if holds is not None else f"{open_for} ({rule})")


def architecture(device: DeviceRecord) -> str | None:
    """The architecture as llama.cpp tells it; `other` where it has no rule, None where the facts do not tell.

    One of amd-gcn, amd-rdna1, amd-rdna2, amd-rdna3 (and later), intel-xe1, intel-xe2 (and later), nvidia-pre-turing,
    nvidia-turing, other.
    """
    vendor = device.hardware.vendor_id
    if vendor == Vendor.AMD:
        return _amd(device)
    if vendor == Vendor.INTEL:
        return _intel(device)
    if vendor == Vendor.NVIDIA:
        return _nvidia(device)
    return "other" if vendor else None


def _listed(device: DeviceRecord, *names: str) -> bool | None:
    known = [has_extension(device, name) for name in names]
    return None if None in known else all(known)


def _amd(device: DeviceRecord) -> str | None:
    known = _listed(device, "VK_AMD_shader_core_properties", "VK_KHR_shader_integer_dot_product", "VK_EXT_subgroup_size_control")
    if not known:
        return None if known is None else "other"
    low, high = (lookup(device.properties, _SIZES, member) for member in ("minSubgroupSize", "maxSubgroupSize"))
    if low is None or high is None:
        return None
    if (low, high) == (64, 64):
        return "amd-gcn"
    if (low, high) != (32, 64):
        return "other"
    wavefronts = lookup(device.properties, _CORE, "wavefrontsPerSimd")
    if wavefronts == 20:
        return "amd-rdna1"
    mixed = lookup(device.properties, _DOT, "integerDotProduct4x8BitPackedMixedSignednessAccelerated")
    if wavefronts is None or mixed is None:
        return None
    return "amd-rdna3" if mixed else "amd-rdna2"


def _intel(device: DeviceRecord) -> str | None:
    known = _listed(device, "VK_EXT_subgroup_size_control", "VK_KHR_shader_integer_dot_product")
    if not known:
        return None if known is None else "other"
    low = lookup(device.properties, _SIZES, "minSubgroupSize")
    if low == 16:
        return "intel-xe2"
    if low != 8:
        return None if low is None else "other"
    accelerated = lookup(device.properties, _DOT, "integerDotProduct4x8BitPackedSignedAccelerated")
    if accelerated is None:
        return None
    return "intel-xe1" if accelerated else "other"


def _nvidia(device: DeviceRecord) -> str | None:
    listed = has_extension(device, "VK_KHR_cooperative_matrix")
    if not listed:
        return None if listed is None else "nvidia-pre-turing"
    if not has_extension(device, "VK_NV_shader_sm_builtins"):
        return "other"
    warps = lookup(device.properties, _SM, "shaderWarpsPerSM")
    if warps is None:
        return None
    return "nvidia-turing" if warps == 32 else "other"


def coopmat_allowed(device: DeviceRecord) -> Ruling:
    """Whether llama.cpp uses KHR cooperative matrices on this vendor's device; its rule for coopmat2 has no such list."""
    vendor, driver = device.hardware.vendor_id, device.driver.id
    if vendor == Vendor.INTEL:
        rule = "on Intel llama.cpp uses cooperative matrices only from Xe2 on (minSubgroupSize 16)"
        found = architecture(device)
        if found == "intel-xe1" and driver == "VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS":
            return Ruling(device.type == "integrated-gpu", "of Xe on Windows llama.cpp uses cooperative matrices of integrated GPUs only")
        return ruled(None if found is None else found == "intel-xe2", rule, "the architecture")
    if vendor == Vendor.AMD:
        rule = "with AMD's own drivers llama.cpp uses cooperative matrices only on RDNA3 and later"
        if driver is None:
            return ruled(None, rule, "the driver")
        if driver in ("VK_DRIVER_ID_AMD_PROPRIETARY", "VK_DRIVER_ID_AMD_OPEN_SOURCE"):
            found = architecture(device)
            return ruled(None if found is None else found == "amd-rdna3", rule, "the architecture")
    return Ruling(True, "llama.cpp has no rule against this driver")


def shader_cores(device: DeviceRecord) -> int | None:
    """What llama.cpp counts as shader cores; 0 where it has no count (then it never splits K), None where the facts do not tell.

    Of Intel's GPUs llama.cpp has a table by device id, which is not part of any driver's facts: None.
    """
    for extension, struct, member in (
        ("VK_NV_shader_sm_builtins", _SM, "shaderSMCount"),
        ("VK_AMD_shader_core_properties2", "VkPhysicalDeviceShaderCoreProperties2AMD", "activeComputeUnitCount"),
    ):
        listed = has_extension(device, extension)
        if listed is not False:
            value = lookup(device.properties, struct, member)
            return None if value is None else int(value)
    return None if device.hardware.vendor_id == Vendor.INTEL else 0


def left_out(device: DeviceRecord, others: Iterable[DeviceRecord] = ()) -> str | None:
    """Why llama.cpp's default device list leaves the device out; None where it doesn't.

    `others`: the devices beside it on the same machine.
    """
    if device.type == "cpu":
        return f"llama.cpp drops CPU devices {_VISIBLE}"
    mine = _rank(device)
    for other in others:
        theirs = _rank(other)
        if theirs is not None and mine is not None and theirs < mine and not other.null and _same_gpu(device, other):
            return f"llama.cpp skips it beside {other.device}, which drives the same GPU, {_VISIBLE}"
    return None


def caution(device: DeviceRecord) -> str | None:
    """What llama.cpp would do beside a driver that is not among the devices at hand; None where there is nothing to say."""
    if device.driver.id == "VK_DRIVER_ID_MESA_NVK":
        return f"llama.cpp skips NVK where NVIDIA's proprietary driver is installed too, {_VISIBLE}"
    return None


def _rank(device: DeviceRecord) -> int | None:
    order = next((drivers for vendor, drivers in _PRIORITY.items() if vendor == device.hardware.vendor_id), ())
    return order.index(device.driver.id) if device.driver.id in order else None


def _same_gpu(one: DeviceRecord, other: DeviceRecord) -> bool:
    uuids = [lookup(device.properties, "VkPhysicalDeviceIDProperties", "deviceUUID") for device in (one, other)]
    return uuids[0] is not None and uuids[0] == uuids[1]
