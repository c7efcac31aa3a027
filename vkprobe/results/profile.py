"""Vulkan-Profiles JSON: a device's facts, or what a llama.cpp path requires, as Khronos' schema has them.

That schema is strict and has no word for cooperative-matrix tuples: they go into a second file, the sidecar.
Source: KhronosGroup/Vulkan-Profiles, scripts/source/generate_profiles_schema.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import msgspec

from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord
from vkprobe.requirements.load import FOLDER, all_requirements, requirement
from vkprobe.results import profile_names
from vkprobe.results.values import properties, values

SCHEMA = "https://schema.khronos.org/vulkan/profiles-0.8-latest.json#"

_NON_FINITE = ("inf", "-inf", "nan")
_EXTENSIONS = frozenset(profile_names.EXTENSIONS.split())
_SINGLE = frozenset(profile_names.SINGLE.split())


def device_profile(device: DeviceRecord) -> dict[str, Any]:
    """The device's extensions, features, properties and queue families as one profile; what is unknown is left out.

    Raises:
        UsageError: the record has no API version.
    """
    version = device.driver.api or ""
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?", version):
        raise UsageError(f"{device.device}: its facts have no API version, which a profile must have")
    block: dict[str, Any] = {
        "extensions": {name: version for name, version in sorted(device.extensions.items()) if name in _EXTENSIONS},
        "features": {name: _without_unknown(members) for name, members in sorted(device.features.items())},
        "properties": {name: _struct(name, members) for name, members in sorted(device.properties.items())},
    }
    families = _queue_families(device)
    if families:
        block["queueFamiliesProperties"] = families
    driver = " ".join(filter(None, [device.driver.name, device.driver.version])) or "driver unknown"
    name = "VP_VKPROBE_" + re.sub(r"\W+", "_", f"{device.device} {device.driver.version or ''}", flags=re.ASCII).strip("_")
    profile = {
        "version": 1,
        "api-version": version if version.count(".") == 2 else f"{version}.0",
        "label": f"{device.name.strip()}, {driver}",
        "description": f"Facts of {device.device} as its driver gave them to vkprobe",
        "contributors": {},
        "history": [{"revision": 1, "date": device.at[:10], "author": "vkprobe", "comment": driver}],
        "capabilities": ["device"],
    }
    return {"$schema": SCHEMA, "capabilities": {"device": block}, "profiles": {name: profile}}


def device_sidecar(device: DeviceRecord) -> dict[str, Any]:
    """Facts that a profile has no word for: tuples and heaps (null where unknown), and extensions that are not in the registry."""
    return {
        "device": device.device,
        "name": device.name.strip(),
        "coopmat": msgspec.to_builtins(device.coopmat),
        "heaps": msgspec.to_builtins(device.heaps),
        "extensions": {name: version for name, version in sorted(device.extensions.items()) if name not in _EXTENSIONS},
    }


def _without_unknown(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _struct(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """A property struct: flags and enumerations by name, bytes as numbers; members that have no value of their kind are left out."""
    kinds = properties().get(name, {})
    spelled = {member: _value(kinds.get(member, ""), value) for member, value in members.items()}
    for member, bits in spelled.items():
        if f"{name}.{member}" in _SINGLE and isinstance(bits, list):
            spelled[member] = bits[0] if len(bits) == 1 else None
    return _without_unknown(spelled)


def _value(kind: str, value: Any) -> Any:
    """A record's value as the schema has it; None where it has none."""
    if value is None or kind == "handle" or value in _NON_FINITE:
        return None
    if kind in ("bytes", "bytes[]"):
        return list(bytes.fromhex(value))
    if kind.endswith("[]"):
        items = [_value(kind[:-2], item) for item in value]
        named = kind[:-2] not in ("number", "bool", "text", *properties())
        return list(dict.fromkeys(i for i in items if i is not None)) if named else [i for i in items if i is not None]
    if kind.startswith("&"):
        return _flags(kind[1:], value)
    if kind in properties():
        return _struct(kind, value)
    if kind in ("", "number", "bool", "text"):
        return value
    return value if isinstance(value, str) else _names(kind).get(value)


@cache
def _names(type: str) -> dict[int, str]:
    """Numbers of an enumeration or of flag bits and their names; of several names of one number the shortest, which is the core's."""
    shortest: dict[int, str] = {}
    for name, number in values(type).items():
        if number not in shortest or len(name) < len(shortest[number]):
            shortest[number] = name
    return shortest


def _flags(type: str, value: Any) -> list[str] | None:
    """The names of the bits that are set; bits that the registry does not name can't be said in a profile."""
    if isinstance(value, list):
        return list(value)
    if not isinstance(value, int):
        return None
    return [name for bit, name in sorted(_names(type).items()) if bit > 0 and bit & (bit - 1) == 0 and value & bit]


def _queue_families(device: DeviceRecord) -> list[dict[str, Any]]:
    """Queue families; equal ones are listed once, as the schema wants."""
    short = {name.replace("VK_QUEUE_", "").replace("_BIT", ""): name for name in values("VkQueueFlagBits")}
    families: list[dict[str, Any]] = []
    for queue in device.queues or []:
        flags = [short[flag] for flag in queue.flags if flag in short]
        members = {"queueFlags": flags, "queueCount": queue.count, "timestampValidBits": queue.timestamp_bits}
        family = {"VkQueueFamilyProperties": members}
        if family not in families:
            families.append(family)
    return families


def path_profile(paths: Iterable[str]) -> dict[str, Any]:
    """A profile of the paths' requirements, with every profile that they build on, in one file.

    Raises:
        UsageError: there is no requirement for a path.
    """
    document: dict[str, Any] = {"$schema": SCHEMA, "capabilities": {}, "profiles": {}}
    for path in _with_included(paths):
        file = json.loads((FOLDER / f"{path}.json").read_bytes())
        document["capabilities"].update(file["capabilities"])
        document["profiles"].update(file["profiles"])
    return document


def path_sidecar(paths: Iterable[str]) -> dict[str, Any]:
    """The tuples that the paths ask for, by path; without any where they ask for none."""
    by_path = {}
    for path in _with_included(paths):
        tuples = json.loads((FOLDER / f"{path}.json").read_bytes())["vkprobe"].get("tuples")
        if tuples:
            by_path[path] = tuples
    return by_path


def _with_included(paths: Iterable[str]) -> list[str]:
    """The paths and all that they build on, in the order of tables."""
    wanted: set[str] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in wanted:
            wanted.add(path)
            waiting += requirement(path).includes
    return [need.path for need in all_requirements() if need.path in wanted]
