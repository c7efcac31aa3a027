"""What every format exports: the cells of a store, each under a name that pairs it with the same cell of other drivers. Pure."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from vkprobe.compare.names import cell_name
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord, RunRecord, Time
from vkprobe.results.store import DeviceKey, Store


class Exported(Struct, frozen=True, kw_only=True):
    """One cell.

    Attributes:
        name: as `cell_name`, so that `compare --fails` and `bisect-step --cell` know it; names no driver.
        hardware: `vendor:device [chip]`, in hexadecimal; the device's id where its facts are not in the files.
        label: the device's id, as much more as it takes where one hardware has several drivers in the files; else empty.
        run: of the record; None where the file lacks it.
    """

    name: str
    hardware: str
    label: str
    result: ResultRecord
    device: DeviceRecord | None
    run: RunRecord | None

    @property
    def fullname(self) -> str:
        """The name that is unique among the files' cells; the same for another driver of this hardware."""
        return f"{self.hardware}/{self.name}" + (f"[{self.label}]" if self.label else "")

    @property
    def time(self) -> Time | None:
        """What was measured; None of a cell that is not `ok`, whatever its record holds, and of a time that is none."""
        measured = self.result.time
        return measured if self.result.status == "ok" and measured is not UNSET and _is_time(measured) else None


class Compiled(Struct, frozen=True, kw_only=True):
    """The pipelines of one device; `hardware`, `label` and `device` as a cell has them."""

    hardware: str
    label: str
    pipelines: list[PipelineRecord]
    device: DeviceRecord | None


def _is_time(time: Time) -> bool:
    """Whether it can be told as a number: a median > 0 of samples that are all finite."""
    samples = time.samples_s
    return 0 < time.median_s < math.inf and bool(samples) and all(0 <= s < math.inf for s in samples) and sum(samples) > 0


def dumps(body: object, indent: int = 2) -> bytes:
    """JSON as its grammar has it, which knows no Infinity and no NaN: those are left out of objects and null in arrays."""
    return json.dumps(_finite(body), indent=indent, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items() if not (isinstance(v, float) and not math.isfinite(v))}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hardware(key: DeviceKey) -> str:
    if key.vendor_id is None or key.device_id is None:
        return key.chip or key.device
    return f"{key.vendor_id:04x}:{key.device_id:04x}" + (f" {key.chip}" if key.chip else "")


def _labels(keys: Sequence[DeviceKey]) -> dict[DeviceKey, str]:
    """What tells devices of one hardware apart: no more than it takes."""
    levels = (
        lambda k: "",
        lambda k: k.device,
        lambda k: " ".join(filter(None, (k.device, k.version))),
        lambda k: " ".join(filter(None, (k.device, k.version, k.info, k.build_id, k.pci))),
    )
    for level in levels:
        named = {key: level(key) for key in keys}
        if len(set(named.values())) == len(keys):
            return named
    return {key: f"{key.device} {i}" for i, key in enumerate(keys)}


def _labelled(store: Store, keys: Iterable[DeviceKey]) -> dict[DeviceKey, str]:
    """The labels of these devices, in the files' order of devices."""
    wanted = set(keys)
    order = [key for key in dict.fromkeys([*store.devices, *(k for k, _ in (*store.results, *store.pipelines))]) if key in wanted]
    groups: dict[str, list[DeviceKey]] = {}
    for key in order:
        groups.setdefault(_hardware(key), []).append(key)
    labels = {key: label for of_hardware in groups.values() for key, label in _labels(of_hardware).items()}
    return {key: labels[key] for key in order}


def exported(store: Store) -> list[Exported]:
    """Every cell of the store, in the files' order of devices.

    Raises:
        UsageError: there is none.
    """
    if not store.results:
        kinds = (("devices", store.devices), ("pipelines", store.pipelines), ("climbs of the ladder", store.ladder))
        there = ", ".join(f"{len(found)} {name}" for name, found in kinds if found)
        raise UsageError(f"nothing to export: no cell was measured in these records (they hold {there or 'no device'})")
    labels = _labelled(store, {key for key, _ in store.results})
    place = {key: i for i, key in enumerate(labels)}
    return [
        Exported(
            name=cell_name(result),
            hardware=_hardware(key),
            label=labels[key],
            result=result,
            device=store.devices.get(key),
            run=store.runs.get(result.run),
        )
        for (key, _), result in sorted(store.results.items(), key=lambda item: place[item[0][0]])
    ]


def compiled(store: Store) -> list[Compiled]:
    """The pipelines that were created, by device, in the files' order of devices."""
    found: dict[DeviceKey, list[PipelineRecord]] = {}
    for (key, _), pipeline in store.pipelines.items():
        found.setdefault(key, []).append(pipeline)
    return [
        Compiled(hardware=_hardware(key), label=label, pipelines=found[key], device=store.devices.get(key))
        for key, label in _labelled(store, found).items()
    ]


def measured(cells: Sequence[Exported]) -> list[tuple[Exported, Time]]:
    """The cells that have a number, and their times.

    Raises:
        UsageError: none has.
    """
    found = [(cell, time) for cell in cells if (time := cell.time) is not None]
    if not found:
        raise UsageError(f"nothing to export: none of {len(cells)} cells has a number ({left_out(cells)}); junit tells of those as well")
    return found


def left_out(cells: Sequence[Exported]) -> str:
    """How many cells have no number, by status: `2 crash, 1 wrong`; empty where all have one."""
    statuses = (cell.result.status for cell in cells if cell.time is None)
    counts = Counter("ok without a time" if status == "ok" else status for status in statuses)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def without_number(cells: Sequence[Exported]) -> list[dict[str, str | None]]:
    """The cells that have none, and why."""
    return [
        {"fullname": cell.fullname, "device": cell.result.device, "status": cell.result.status, "reason": _reason(cell.result)}
        for cell in cells
        if cell.time is None
    ]


def _reason(result: ResultRecord) -> str | None:
    return "its record holds no time that is finite and > 0" if result.status == "ok" else result.reason


def counted(time: Time) -> list[float]:
    """The samples (s) that the record's median is of: all, or those after a first climb."""
    for first in sorted(set(time.rounds)):
        samples = [s for s, r in zip(time.samples_s, time.rounds, strict=False) if r >= first]
        if abs(statistics.median(samples) - time.median_s) <= 1e-9 * time.median_s:
            return samples
    return time.samples_s


def identity(cell: Exported) -> dict[str, object]:
    """Which driver and device a number came from, and what was run: JSON-ready."""
    result = cell.result
    told = origin(result, cell.hardware, cell.device) | {"kernel": result.kernel, "spirv_sha": result.spirv_sha}
    return told | {"tile": result.tile, "subgroup_size": result.subgroup_size, "split_k": result.split_k}


def origin(record: ResultRecord | PipelineRecord, hardware: str, device: DeviceRecord | None) -> dict[str, object]:
    """Which driver and device a record came from: JSON-ready."""
    told: dict[str, object] = {"device": record.device, "hardware": hardware, "run": record.run}
    if device is not None:
        told |= {
            "device_name": device.name,
            "driver": device.driver.name,
            "driver_id": device.driver.id,
            "driver_info": device.driver.info,
            "driver_version": device.driver.version,
            "driver_build_id": device.driver.build_id,
            "api": device.driver.api,
            "icd": device.driver.icd,
            "kernel_module": device.driver.kernel_module,
        }
    return told
