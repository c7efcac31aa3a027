"""Looking up facts in a device record, with "unknown" kept apart from "no"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vkprobe.records import DeviceRecord
from vkprobe.requirements.promotions import PROVIDERS, base_name, carriers, parts_of


def version_of(text: str | None) -> tuple[int, int] | None:
    """Major and minor of an API version as records write it; None where it can't be read.

    >>> version_of("1.4.312"), version_of("1.2"), version_of(None)
    ((1, 4), (1, 2), None)
    """
    parts = (text or "").split(".")
    if len(parts) < 2 or not all(p.isdigit() for p in parts[:2]):
        return None
    return int(parts[0]), int(parts[1])


def has_extension(device: DeviceRecord, name: str) -> bool | None:
    """Whether the device lists the extension. None where it lists none at all: that is a file that doesn't say."""
    return name in device.extensions if device.extensions else None


def _member(structs: Mapping[str, Mapping[str, Any]], struct: str, member: str) -> Any:
    """The value, or None. `limits.x` is found nested, in a VkPhysicalDeviceLimits of its own, or flat."""
    value: Any = structs.get(struct)
    for part in member.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None and member.startswith("limits."):
        short = member.removeprefix("limits.")
        value = structs.get("VkPhysicalDeviceLimits", {}).get(short)
        if value is None:
            value = structs.get(struct, {}).get(short)
    return value


def lookup(structs: Mapping[str, Mapping[str, Any]], struct: str, member: str) -> Any:
    """The member's value in the struct named, or in any that carries the same by promotion; None where none has it.

    Args:
        structs: `features` or `properties` of a device record.
        struct: a name of the specification.
        member: a member, or `limits.maxComputeSharedMemorySize` for one of a nested struct.
    """
    for name, field in carriers(struct, member):
        value = _member(structs, name, field)
        if value is not None:
            return value
    return None


def cannot_have(device: DeviceRecord, struct: str) -> bool:
    """Whether the device can't have the struct: its version is too low and it lists no extension that provides it."""
    version = version_of(device.driver.api)
    if not device.extensions:
        return False
    parts = parts_of(struct)  # of VkPhysicalDeviceVulkan1xFeatures; one extension would do for one of its members
    providers = [PROVIDERS[p] for p in parts] if parts else [p for p in (PROVIDERS.get(base_name(struct)),) if p]
    if not providers or any(p.extension in device.extensions for p in providers if p.extension):
        return False
    cores = [p.core for p in providers if p.core is not None]
    if not cores:
        return True
    return version is not None and version < min(cores)
