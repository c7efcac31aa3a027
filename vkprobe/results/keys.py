"""Keys of stored records: which device a record belongs to, and which pipeline or climb it is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from vkprobe.records import DeviceRecord, PipelineRecord, RunRecord
from vkprobe.requirements.facts import lookup
from vkprobe.results.provenance import driver_environment


class DeviceKey(NamedTuple):
    """Identity of a device: hardware, driver, host, and the environment that changes what a driver does.

    A cell belongs to one; whatever of these changes makes another device. `uuid` is the driver's deviceUUID, which with `pci`
    distinguishes identical cards.
    """

    device: str
    vendor_id: int | None = None
    device_id: int | None = None
    pci: str | None = None
    chip: str | None = None
    uuid: str | None = None
    driver: str | None = None
    version: str | None = None
    build_id: str | None = None
    info: str | None = None
    cpu: str | None = None
    os: str | None = None
    kernel: str | None = None
    environment: tuple[tuple[str, str], ...] = ()


def device_key(device: DeviceRecord, run: RunRecord | None) -> DeviceKey:
    """The key of a device record; `run` is the record of its run, None where the files lack it."""
    hardware, driver = device.hardware, device.driver
    host = None if run is None else run.host
    return DeviceKey(
        device=device.device,
        vendor_id=hardware.vendor_id,
        device_id=hardware.device_id,
        pci=hardware.pci,
        chip=hardware.chip,
        uuid=lookup(device.properties, "VkPhysicalDeviceIDProperties", "deviceUUID"),
        driver=driver.name,
        version=driver.version,
        build_id=driver.build_id,
        info=driver.info,
        cpu=host.cpu if host else None,
        os=host.os if host else None,
        kernel=host.kernel if host else None,
        environment=tuple(driver_environment(run.environment if run else {}, device.environment).items()),
    )


PipelineKey = tuple[str, str, str, "str | None", "int | None"]


def pipeline_key(record: PipelineRecord) -> PipelineKey:
    """Key of a compiled pipeline on its device: kernel, path, type, tile, subgroup size."""
    return record.kernel, record.path, record.type, record.tile, record.subgroup_size


class _Climb(Protocol):
    @property
    def feature(self) -> str | None: ...
    @property
    def tuple(self) -> dict[str, Any]: ...


def climb_key(record: _Climb) -> str:
    """Key of a climb on its device: its feature, or its tuple."""
    return record.feature or msgspec.json.encode(record.tuple, order="sorted").decode()


def hardware_name(key: DeviceKey) -> str:
    """`vendor:device [chip]` in hexadecimal, or the device's id where nothing is known of its hardware."""
    if key.vendor_id is None or key.device_id is None:
        return key.chip or key.device
    return f"{key.vendor_id:04x}:{key.device_id:04x}" + (f" {key.chip}" if key.chip else "")


def differences(keys: Sequence[DeviceKey]) -> dict[DeviceKey, str]:
    """The words that distinguish these devices from each other, as few as suffice; a number where no field of theirs differs.

    >>> old = DeviceKey("radeon/0", version="25.0")
    >>> list(differences([old, old._replace(environment=(("RADV_PERFTEST", "cswave32"),))]).values())
    ['RADV_PERFTEST unset', 'RADV_PERFTEST=cswave32']
    """
    words: dict[DeviceKey, tuple[str, ...]] = dict.fromkeys(keys, ())
    for aspect in _aspects(keys):
        finer = {key: (*words[key], aspect[key]) for key in words}
        if len(set(finer.values())) > len(set(words.values())):
            words = finer
    seen: dict[tuple[str, ...], int] = {}
    named = {}
    for key, parts in words.items():
        seen[parts] = seen.get(parts, 0) + 1
        named[key] = " ".join(filter(None, (*parts, f"#{seen[parts]}" if seen[parts] > 1 else "")))
    return named


def labels(keys: Sequence[DeviceKey]) -> dict[DeviceKey, str]:
    """Each device's id; where several share it, with the words that distinguish them behind it."""
    by_id: dict[str, list[DeviceKey]] = {}
    for key in keys:
        by_id.setdefault(key.device, []).append(key)
    return {key: f"{id_} {words}".strip() for id_, group in by_id.items() for key, words in differences(group).items()}


def _aspects(keys: Sequence[DeviceKey]) -> list[dict[DeviceKey, str]]:
    """For each field, its words by device, the most telling field first."""
    values: list[Any] = [
        lambda key: key.version or "unknown driver",
        lambda key: "" if key.chip is None and key.vendor_id is None else (key.chip or hardware_name(key)),
        lambda key: key.pci or "no PCI address",
        lambda key: f"UUID {key.uuid[:8]}" if key.uuid else "no UUID",
        lambda key: key.cpu or "unknown host",
        lambda key: key.kernel or "unknown kernel",
        lambda key: key.os or "unknown system",
    ]
    named = [{key: value(key) for key in keys} for value in values]
    variables = sorted({name for key in keys for name, _ in key.environment})
    for name in variables:
        by_key = {key: dict(key.environment).get(name) for key in keys}
        named.append({key: f"{name} unset" if value is None else f"{name}={value}" for key, value in by_key.items()})
    named.append({key: key.info or "" for key in keys})
    named.append({key: f"build {key.build_id[:8]}" if key.build_id else "" for key in keys})
    return named
