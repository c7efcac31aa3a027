"""The cells of a store as every format exports them, each under a name that pairs it with the same cell of other drivers. Pure."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord, RunRecord, Time
from vkprobe.results.keys import DeviceKey, hardware_name, labels
from vkprobe.results.names import cell_name
from vkprobe.results.store import Store
from vkprobe.results.tidy import Finder, Line


class Exported(Struct, frozen=True, kw_only=True):
    """One cell.

    Attributes:
        name: as `cell_name`, so that `compare --fails` and `bisect-step --cell` know it; names no driver.
        hardware: `vendor:device [chip]`, in hexadecimal; the device's id where its facts are not in the files.
        label: the device's id, with the words that distinguish it where one hardware has several columns in the files; else empty.
        line: the cell's row of the table that all views share.
        run: of the record; None where the file lacks it.
    """

    name: str
    hardware: str
    label: str
    line: Line
    device: DeviceRecord | None
    run: RunRecord | None

    @property
    def result(self) -> ResultRecord:
        """The record."""
        return self.line.record

    @property
    def fullname(self) -> str:
        """The name that is unique among the files' cells; the same for another driver of this hardware."""
        return f"{self.hardware}/{self.name}" + (f"[{self.label}]" if self.label else "")

    @property
    def time(self) -> Time | None:
        """The timing; None for a cell that is not `ok`, whatever its record holds, and for a time that isn't a positive number."""
        time = self.line.time
        return time if self.result.status == "ok" and time is not None and _is_time(time) else None


class Compiled(Struct, frozen=True, kw_only=True):
    """The pipelines of one device; `hardware`, `label` and `device` as a cell has them."""

    hardware: str
    label: str
    pipelines: list[PipelineRecord]
    device: DeviceRecord | None


def _is_time(time: Time) -> bool:
    """Whether it is a number: a median > 0 of samples that are all finite."""
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


def _labelled(store: Store, keys: Iterable[DeviceKey]) -> dict[DeviceKey, str]:
    """The labels of these devices, in the files' order of devices."""
    wanted = set(keys)
    order = [key for key in dict.fromkeys([*store.devices, *(k for k, _ in (*store.results, *store.pipelines))]) if key in wanted]
    groups: dict[str, list[DeviceKey]] = {}
    for key in order:
        groups.setdefault(hardware_name(key), []).append(key)
    named = {key: label if len(group) > 1 else "" for group in groups.values() for key, label in labels(group).items()}
    return {key: named[key] for key in order}


def exported(store: Store) -> list[Exported]:
    """Every cell of the store, in the files' order of devices.

    Raises:
        UsageError: there is none.
    """
    if not store.results:
        kinds = (("devices", store.devices), ("pipelines", store.pipelines), ("climbs of the ladder", store.ladder))
        there = ", ".join(f"{len(records)} {name}" for name, records in kinds if records)
        raise UsageError(f"nothing to export: no cell was measured in these records (they hold {there or 'no device'})")
    named = _labelled(store, {key for key, _ in store.results})
    place = {key: i for i, key in enumerate(named)}
    finder = Finder((key, p) for (key, _), p in store.pipelines.items())
    return [
        Exported(
            name=cell_name(result),
            hardware=hardware_name(key),
            label=named[key],
            line=Line(device=key.device, record=result, pipeline=finder.of(key, result)),
            device=store.devices.get(key),
            run=store.runs.get(result.run),
        )
        for (key, _), result in sorted(store.results.items(), key=lambda item: place[item[0][0]])
    ]


def compiled(store: Store) -> list[Compiled]:
    """The pipelines that were created, by device, in the files' order of devices."""
    by_device: dict[DeviceKey, list[PipelineRecord]] = {}
    for (key, _), pipeline in store.pipelines.items():
        by_device.setdefault(key, []).append(pipeline)
    return [
        Compiled(hardware=hardware_name(key), label=label, pipelines=by_device[key], device=store.devices.get(key))
        for key, label in _labelled(store, by_device).items()
    ]


def measured(cells: Sequence[Exported]) -> list[tuple[Exported, Time]]:
    """The cells that have a number, and their times.

    Raises:
        UsageError: none has.
    """
    timed = [(cell, time) for cell in cells if (time := cell.time) is not None]
    if not timed:
        raise UsageError(f"nothing to export: none of {len(cells)} cells has a number ({left_out(cells)}); junit lists those as well")
    return timed


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
    """The driver and device that a number came from, and how the cell ran: JSON-ready."""
    outcome = ("kernel", "spirv_sha", "tile", "subgroup_size", "split_k")
    return origin(cell.result, cell.hardware, cell.device) | {name: cell.line.get(name) for name in outcome}


def origin(record: ResultRecord | PipelineRecord, hardware: str, device: DeviceRecord | None) -> dict[str, object]:
    """The driver and device that a record came from: JSON-ready."""
    fields: dict[str, object] = {"device": record.device, "hardware": hardware, "run": record.run}
    if device is not None:
        fields |= {
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
    return fields
