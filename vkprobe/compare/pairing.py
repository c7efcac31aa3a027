"""Which device of one file is which of the other: by hardware, never by the driver's name or version."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from vkprobe.records import PipelineRecord, ResultRecord, RunRecord, cell_key, made_of
from vkprobe.results.store import DeviceKey, Store, pipeline_key

R = TypeVar("R", PipelineRecord, ResultRecord)


class Held(Struct, frozen=True, kw_only=True):
    """What a file holds of one device id of one hardware: the newest record of each pipeline and cell, whatever driver it ran on.

    Attributes:
        measured: of each cell whose newest record is ok, that record and all other ok ones of the same driver that `made_of` tells
            nothing apart of, oldest first: each is a process.
        other: how many ok records are none of those: another driver, or what `made_of` tells.
        runs: those that the records are of.
    """

    device: str
    hardware: tuple[Any, ...]
    drivers: tuple[str, ...]
    pipelines: dict[tuple[Any, ...], PipelineRecord]
    results: dict[tuple[Any, ...], ResultRecord]
    measured: dict[tuple[Any, ...], list[ResultRecord]] = {}
    other: int = 0
    runs: tuple[RunRecord, ...] = ()

    @property
    def count(self) -> int:
        """How many pipelines and cells."""
        return len(self.pipelines) + len(self.results)

    @property
    def driver(self) -> str:
        """The drivers' names and versions, the newest last."""
        return ", ".join(self.drivers) or "driver unknown"


def _hardware(key: DeviceKey) -> tuple[Any, ...]:
    """What stays the same under another driver; of a device without a record only its id is known."""
    if key.vendor_id is None and key.chip is None:
        return (key.device,)
    return key.vendor_id, key.device_id, key.chip


def held(store: Store) -> list[Held]:
    """A file's devices that have pipelines or cells, in order of appearance."""
    keys = dict.fromkeys([*store.devices, *(key for key, _ in store.pipelines), *(key for key, _ in store.results)])
    grouped: dict[tuple[Any, ...], list[DeviceKey]] = {}
    for key in keys:
        grouped.setdefault((key.device, *_hardware(key)), []).append(key)
    found = []
    for group in grouped.values():
        one = _held(store, group)
        if one.count:
            found.append(one)
    return [_told_apart(one, found) for one in found]


def _told_apart(one: Held, found: list[Held]) -> Held:
    """With its hardware in its id where the file has other hardware of the same id: records of several hosts, joined by `cat`."""
    if all(other.hardware == one.hardware for other in found if other.device == one.device):
        return one
    vendor, device, chip = one.hardware if len(one.hardware) > 1 else (None, None, None)
    told = chip or ("unknown" if vendor is None else f"{vendor:04x}:{device:04x}")
    return msgspec.structs.replace(one, device=f"{one.device} [{told}]")


def _held(store: Store, group: list[DeviceKey]) -> Held:
    drivers = dict.fromkeys(" ".join(filter(None, (key.driver, key.version))) for key in group)
    pipelines = _newest([p for (key, _), p in store.pipelines.items() if key in group], pipeline_key)
    results = _newest([r for (key, _), r in store.results.items() if key in group], cell_key)
    ok = {key: _ok([r for one in group for r in store.measured.get((one, key), ())]) for key in results}
    measured = {
        key: _whole([r for r in ok[key] if made_of(r) == made_of(newest) and store.key_of(r) == store.key_of(newest)])
        for key, newest in results.items()
        if newest.status == "ok"
    }
    ids = dict.fromkeys(r.run for r in chain(pipelines.values(), results.values(), *measured.values()))
    return Held(
        device=group[0].device,
        hardware=_hardware(group[0]),
        drivers=tuple(filter(None, drivers)),
        pipelines=pipelines,
        results=results,
        measured=measured,
        other=sum(len(_whole(ok[key])) - len(kept) for key, kept in measured.items()),
        runs=tuple(store.runs[run] for run in ids if run in store.runs),
    )


def _ok(records: list[ResultRecord]) -> list[ResultRecord]:
    """Those that are ok, each once: a file may have been joined to itself."""
    return list({(r.run, r.at): r for r in records if r.status == "ok"}.values())


def _whole(records: list[ResultRecord]) -> list[ResultRecord]:
    """Without those that were interrupted, where others were not."""
    return [r for r in records if not r.interrupted] or records


def _newest(records: list[R], key: Any) -> dict[tuple[Any, ...], R]:
    return {key(record): record for record in sorted(records, key=lambda r: r.at)}


class Pairing(Struct, frozen=True, kw_only=True):
    """Devices that are the same hardware, and those that only one file has."""

    pairs: list[tuple[Held, Held]]
    only_old: list[Held]
    only_new: list[Held]


def pair(old: list[Held], new: list[Held]) -> Pairing:
    """Each device of OLD with the one of NEW that is the same hardware.

    Where a file has several of one hardware (two drivers of one card, two cards), those of the same id are paired, then
    one that is left on each side.
    """
    pairs: list[tuple[Held, Held]] = []
    for hardware in dict.fromkeys(h.hardware for h in old):
        left = [h for h in old if h.hardware == hardware]
        right = [h for h in new if h.hardware == hardware]
        for one in list(left):
            same = next((h for h in right if h.device == one.device), None)
            if same is not None:
                pairs.append((one, same))
                left.remove(one)
                right.remove(same)
        if len(left) == len(right) == 1:
            pairs.append((left[0], right[0]))
    paired_old, paired_new = {id(a) for a, _ in pairs}, {id(b) for _, b in pairs}
    order = {id(h): i for i, h in enumerate(old)}
    return Pairing(
        pairs=sorted(pairs, key=lambda p: order[id(p[0])]),
        only_old=[h for h in old if id(h) not in paired_old],
        only_new=[h for h in new if id(h) not in paired_new],
    )
