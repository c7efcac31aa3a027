"""Devices from files: vulkaninfo's and gpuinfo.org's JSON and vkprobe's own records, as if each were a device of this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from vkprobe.decoding import mismatch
from vkprobe.device_facts import Coopmat, Heap
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord
from vkprobe.results import gpuinfo, vulkaninfo
from vkprobe.results.document import Node, parse, read
from vkprobe.results.facts_file import record
from vkprobe.results.store import Store
from vkprobe.results.values import boolean, struct

EXPECTED = "A device's facts are vulkaninfo --json, a report of vulkan.gpuinfo.org as JSON, or vkprobe records"
_MOST_BYTES = 32 << 20  # vulkaninfo writes 0.2 MB, gpuinfo.org 0.5 MB
_RECORD = re.compile(rb'\s*\{\s*"kind"\s*:')
_HEAD_BYTES = 4096


def devices_from(path: str | Path, run: str = "", *, name: str | None = None) -> list[DeviceRecord]:
    """The devices that a file describes, each with the id `file:NAME/0`, `file:NAME/1`, ...

    Facts that the file lacks are unknown: tuples are None, structs that it lacks are absent. Of vkprobe records, each device's newest;
    of a profile that vkprobe wrote, with the tuples of the sidecar beside it.

    Args:
        path: the file.
        run: the uuid of the run that the records are to belong to.
        name: NAME in the ids; the file's name without its suffix where none is given.

    Raises:
        UsageError: the file can't be read or is something else; names the file, the place in it and what was expected.
    """
    path = Path(path)
    prefix = f"file:{path.stem if name is None else name}"
    if path.is_file() and _holds_records(path):
        checked = [_checked(device, str(path)) for device in Store.load([path]).devices.values()]
        if not checked:
            raise UsageError(f"{path}: holds records, but no device record: `vkprobe caps -o FILE.jsonl` writes them")
        return [replace(device, run=run, device=f"{prefix}/{index}") for index, device in enumerate(checked)]
    root = parse(read(path, _MOST_BYTES), str(path), EXPECTED)
    if vulkaninfo.is_profile(root):
        devices = [record(one, root, run=run, device=f"{prefix}/{index}") for index, one in enumerate(vulkaninfo.devices(root))]
        return [_with_sidecar(devices[0], path)] if len(devices) == 1 else devices
    if gpuinfo.is_report(root):
        return [record(gpuinfo.device(root), root, run=run, device=f"{prefix}/0")]
    raise UsageError(f"{path}: {_what(root)}. {EXPECTED}")


def devices_from_all(paths: Sequence[str | Path], run: str = "") -> list[DeviceRecord]:
    """The devices of several files; files of one name get numbers (`file:caps-2/0`). Raises as `devices_from` does."""
    every: list[DeviceRecord] = []
    seen: dict[str, int] = {}
    for path in paths:
        stem = Path(path).stem
        seen[stem] = seen.get(stem, 0) + 1
        every += devices_from(path, run, name=stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return every


class _Sidecar(Struct, frozen=True, kw_only=True):
    """Sidecar that `vkprobe profile -o FILE.json` writes for facts that the profiles' schema has no word for."""

    name: str
    coopmat: Coopmat
    heaps: list[Heap] | None
    extensions: dict[str, int] = {}


def _with_sidecar(device: DeviceRecord, path: Path) -> DeviceRecord:
    """The device with the tuples that stand in FILE.tuples.json beside FILE.json, where there is one of the same device."""
    beside = path.with_suffix(".tuples.json")
    if not beside.is_file():
        return device
    value = parse(read(beside, _MOST_BYTES), str(beside), "vkprobe profile writes it").value
    try:
        sidecar = msgspec.convert(value, _Sidecar)
    except msgspec.ValidationError:
        raise UsageError(
            f"{beside}: {mismatch(value, _Sidecar)}; `vkprobe profile -o {path.name}` writes it: remove it where it is something else"
        ) from None
    if sidecar.name != device.name:
        raise UsageError(f"{beside}: is of {sidecar.name!r}, {path.name} of {device.name!r}: remove it, or write both again")
    return replace(device, coopmat=sidecar.coopmat, heaps=sidecar.heaps, extensions={**device.extensions, **sidecar.extensions})


def _checked(device: DeviceRecord, file: str) -> DeviceRecord:
    """The record, its features truth values and its properties of the registry's kinds; raises UsageError where they are not."""

    def members(kind: str, structs: dict[str, dict[str, Any]]) -> list[tuple[str, Node]]:
        return [(name, Node(file, f"device {device.device}: {kind}.{name}", value)) for name, value in structs.items()]

    return replace(
        device,
        features={
            name: {member: None if v.value is None else boolean(v) for member, v in node.fields()}
            for name, node in members("features", device.features)
        },
        properties={name: struct(node, name) for name, node in members("properties", device.properties)},
    )


def _holds_records(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _RECORD.match(file.read(_HEAD_BYTES)) is not None
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None


def _what(root: Node) -> str:
    """Words that describe a document of no known kind."""
    if not isinstance(root.value, dict):
        return "holds " + ("an array" if isinstance(root.value, list) else "a single value") + ", no object"
    if "VkPhysicalDeviceProperties" in root.value or "ArrayOfVkQueueFamilyProperties" in root.value:
        return "is of the older devsim schema: write it again with a newer vulkaninfo"
    if {"coopmat", "heaps", "device"} <= set(root.value):
        return "is what `vkprobe profile` writes beside a profile: name the profile, and this is read with it"
    keys = ", ".join(repr(str(key)[:30]) for key in list(root.value)[:5])
    return f"is an object of another tool (it begins with {keys})" if keys else "is an empty object"
