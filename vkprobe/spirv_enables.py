"""Conditions for running a SPIR-V module: its capabilities and SPIR-V extensions, and the device facts any of which is enough.

Source: Vulkan registry, <spirvcapability> and <spirvextension> (tables in spirv_tables.py).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple

from vkprobe import spirv_tables

_LINE = re.compile(r"^(\w+): (\w+)(?:\.(\w+))?(?: & (\d+))?(?: if (.+))?$")


class Enable(NamedTuple):
    """One way for a device to support a capability; a capability has several, any of which is enough.

    Attributes:
        kind: `feature` (struct `name`, `member` true), `property` (the same, or all of `bits` set in it), `extension` or `version`.
        name: the struct, the extension, or the core version (`VK_VERSION_1_1`).
        member: of the struct; None for an extension or a version.
        bits: flags that the property must have; None where it must be true.
        condition: versions and extensions without which a device does not have the struct (see dependency.satisfied).
    """

    kind: Literal["feature", "property", "extension", "version"]
    name: str
    member: str | None = None
    bits: int | None = None
    condition: str = ""


def _parse(section: str) -> dict[str, tuple[Enable, ...]]:
    by_owner: dict[str, list[Enable]] = {}
    for line in section.splitlines():
        match = _LINE.match(line)
        assert match, line
        owner, name, member, bits, condition = match.groups()
        kind: Literal["feature", "property", "extension", "version"]
        if member is None:
            kind = "version" if name.startswith("VK_VERSION_") else "extension"
        else:
            kind = "property" if "Properties" in name else "feature"
        by_owner.setdefault(owner, []).append(Enable(kind, name, member, int(bits) if bits else None, condition or ""))
    return {owner: tuple(enables) for owner, enables in by_owner.items()}


@cache
def _capabilities() -> dict[str, tuple[Enable, ...]]:
    return _parse(spirv_tables.CAPABILITIES)


@cache
def _extensions() -> dict[str, tuple[Enable, ...]]:
    return _parse(spirv_tables.EXTENSIONS)


@cache
def _aliases() -> dict[str, str]:
    return {alias: name for alias, _, name in (line.partition(" ") for line in spirv_tables.STRUCT_ALIASES.splitlines())}


def capability(name: str) -> tuple[Enable, ...]:
    """Alternatives that enable a SPIR-V capability; empty for one that the registry doesn't know.

    >>> [(e.name, e.member) for e in capability("CooperativeMatrixKHR")]
    [('VkPhysicalDeviceCooperativeMatrixFeaturesKHR', 'cooperativeMatrix')]
    """
    return _capabilities().get(name, ())


def extension(name: str) -> tuple[Enable, ...]:
    """Alternatives that enable a SPIR-V extension; empty for one that the registry doesn't know.

    >>> [e.name for e in extension("SPV_KHR_storage_buffer_storage_class")]
    ['VK_VERSION_1_1', 'VK_KHR_storage_buffer_storage_class']
    """
    return _extensions().get(name, ())


def canonical_struct(name: str) -> str:
    """The name under which device records hold a struct that extends Features2 or Properties2.

    >>> canonical_struct("VkPhysicalDeviceShaderFloat16Int8FeaturesKHR")
    'VkPhysicalDeviceShaderFloat16Int8Features'
    """
    return _aliases().get(name, name)
