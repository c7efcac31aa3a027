"""Pairing the devices of two files: by hardware and card, never by the driver's name or version."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from vkprobe.builds import build_key
from vkprobe.cell import Cell
from vkprobe.records import PipelineRecord, ResultRecord, RunRecord
from vkprobe.results.keys import DeviceKey, PipelineKey, differences, pipeline_key
from vkprobe.results.store import Store, by_time

R = TypeVar("R", PipelineRecord, ResultRecord)


class FileDevice(Struct, frozen=True, kw_only=True):
    """The records of one device of a file: the newest of each pipeline and cell, whatever driver it ran on.

    Records of another card, another host or another environment are another `FileDevice`.

    Attributes:
        device: its id, with the words that distinguish it where several devices of the file share the id.
        keys: the devices of the store that it stands for: one for each driver.
        measured: for each cell whose newest record is ok, that record and all other ok ones of the same driver and `build_key`,
            oldest first: each is a process.
        other: how many ok records are none of those: of another driver or another build.
        runs: of these records.
    """

    device: str
    keys: tuple[DeviceKey, ...]
    drivers: tuple[str, ...]
    pipelines: dict[PipelineKey, PipelineRecord]
    results: dict[Cell, ResultRecord]
    measured: dict[Cell, list[ResultRecord]] = {}
    other: int = 0
    runs: tuple[RunRecord, ...] = ()

    @property
    def key(self) -> DeviceKey:
        """The newest of its keys."""
        return self.keys[-1]

    @property
    def hardware(self) -> tuple[Any, ...]:
        """The device's hardware, as `hardware` returns it."""
        return hardware(self.key)

    @property
    def count(self) -> int:
        """Number of pipelines and cells."""
        return len(self.pipelines) + len(self.results)

    @property
    def driver(self) -> str:
        """The drivers' names and versions, the newest last."""
        return ", ".join(self.drivers) or "driver unknown"


def hardware(key: DeviceKey) -> tuple[Any, ...]:
    """The part of a key that stays the same under another driver; a device without a record has only its id."""
    if key.vendor_id is None and key.chip is None:
        return (key.device,)
    return key.vendor_id, key.device_id, key.chip


def _host(key: DeviceKey) -> tuple[str | None, ...]:
    return key.cpu, key.os, key.kernel


def _driver(key: DeviceKey) -> tuple[str | None, ...]:
    return key.driver, key.version, key.build_id, key.info


def devices_in(store: Store) -> list[FileDevice]:
    """A file's devices that have pipelines or cells, in order of appearance."""
    keys = dict.fromkeys([*store.devices, *(key for key, _ in store.pipelines), *(key for key, _ in store.results)])
    grouped: dict[tuple[Any, ...], list[DeviceKey]] = {}
    for key in keys:
        grouped.setdefault((key.device, hardware(key), key.pci, _host(key), key.environment), []).append(key)
    groups = [cards for group in grouped.values() for cards in _cards(group)]
    devices = [one for group in groups if (one := _device(store, group)).count]
    return _labelled(devices)


def _cards(group: list[DeviceKey]) -> list[list[DeviceKey]]:
    """Keys of one place by card: a driver that reports two UUIDs has seen two cards there; two drivers have UUIDs of their own."""
    uuids: dict[tuple[str | None, ...], set[str | None]] = {}
    for key in group:
        uuids.setdefault(_driver(key), set()).add(key.uuid)
    if all(len(seen) == 1 for seen in uuids.values()):
        return [group]
    by_uuid: dict[str | None, list[DeviceKey]] = {}
    for key in group:
        by_uuid.setdefault(key.uuid, []).append(key)
    return list(by_uuid.values())


def _labelled(devices: list[FileDevice]) -> list[FileDevice]:
    """The devices, with distinguishing words in the names of those that share an id."""
    shared: dict[str, list[FileDevice]] = {}
    for one in devices:
        shared.setdefault(one.device, []).append(one)
    words: dict[DeviceKey, str] = {}
    for of_id in shared.values():
        words |= differences([one.key for one in of_id])
    return [msgspec.structs.replace(one, device=f"{one.device} [{words[one.key]}]") if words[one.key] else one for one in devices]


def _device(store: Store, group: list[DeviceKey]) -> FileDevice:
    drivers = dict.fromkeys(" ".join(filter(None, (key.driver, key.version))) for key in group)
    members = set(group)
    pipelines = {pipeline_key(p): p for p in by_time([p for (key, _), p in store.pipelines.items() if key in members])}
    results = {r.cell: r for r in by_time([r for (key, _), r in store.results.items() if key in members])}
    ok = {cell: _ok([r for one in group for r in store.measured.get((one, cell), ())]) for cell in results}
    measured = {
        cell: _whole([r for r in ok[cell] if build_key(r) == build_key(newest) and store.key_of(r) == store.key_of(newest)])
        for cell, newest in results.items()
        if newest.status == "ok"
    }
    ids = dict.fromkeys(r.run for r in chain(pipelines.values(), results.values(), *measured.values()))
    return FileDevice(
        device=group[0].device,
        keys=tuple(group),
        drivers=tuple(filter(None, drivers)),
        pipelines=pipelines,
        results=results,
        measured=measured,
        other=sum(len(_whole(ok[cell])) - len(kept) for cell, kept in measured.items()),
        runs=tuple(store.runs[run] for run in ids if run in store.runs),
    )


def _ok(records: list[ResultRecord]) -> list[ResultRecord]:
    """The ok records, each once: a file may have been joined to itself."""
    return list({(r.run, r.at): r for r in records if r.status == "ok"}.values())


def _whole(records: list[ResultRecord]) -> list[ResultRecord]:
    """The runs without interrupted ones, if any run was not interrupted."""
    return [r for r in records if not r.interrupted] or records


class Pairing(Struct, frozen=True, kw_only=True):
    """Devices of the same hardware in pairs, and those that only one file has.

    Attributes:
        crossed: the pairs whose UUID or PCI address disagrees with the index, and which of the two says so.
    """

    pairs: list[tuple[FileDevice, FileDevice]]
    only_old: list[FileDevice]
    only_new: list[FileDevice]
    crossed: list[tuple[FileDevice, FileDevice, str]] = []


def pair(old: list[FileDevice], new: list[FileDevice]) -> Pairing:
    """Each device of OLD with the one of NEW that is the same hardware.

    Where a file has several of one hardware, the same card goes together: by deviceUUID, then by PCI address; of one card's
    columns those of the same host, then of the same environment. Without such evidence those of the same id are paired, then
    one that is left on each side.
    """
    pairs: list[tuple[FileDevice, FileDevice]] = []
    for kind in dict.fromkeys(h.hardware for h in old):
        left = [h for h in old if h.hardware == kind]
        right = [h for h in new if h.hardware == kind]
        pairs += _matched(left, right)
        if len(left) == len(right) == 1:
            pairs.append((left[0], right[0]))
    paired_old, paired_new = {id(a) for a, _ in pairs}, {id(b) for _, b in pairs}
    order = {id(h): i for i, h in enumerate(old)}
    several = Counter(h.hardware for h in old) | Counter(h.hardware for h in new)
    crossed = [(a, b, why) for a, b in pairs if several[a.hardware] > 1 and (why := _crossed(a.key, b.key)) is not None]
    return Pairing(
        pairs=sorted(pairs, key=lambda p: order[id(p[0])]),
        only_old=[h for h in old if id(h) not in paired_old],
        only_new=[h for h in new if id(h) not in paired_new],
        crossed=crossed,
    )


def _matched(left: list[FileDevice], right: list[FileDevice]) -> list[tuple[FileDevice, FileDevice]]:
    """The pairs that evidence decides, the strongest first; they are taken out of both lists."""
    pairs: list[tuple[FileDevice, FileDevice]] = []
    while True:
        evidence = [(strength, a, b) for a in left for b in right if (strength := _evidence(a.key, b.key)) is not None]
        best = max((one[0] for one in evidence), default=None)
        strongest = [(a, b) for strength, a, b in evidence if strength == best]
        uses = Counter(id(h) for both in strongest for h in both)
        clear = [(a, b) for a, b in strongest if uses[id(a)] == uses[id(b)] == 1]
        if not clear:
            return pairs
        pairs += clear
        left[:] = [h for h in left if all(h is not a for a, _ in clear)]
        right[:] = [h for h in right if all(h is not b for _, b in clear)]


def _evidence(a: DeviceKey, b: DeviceKey) -> tuple[int, ...] | None:
    """How strongly two keys of one hardware seem to be of one column; None where nothing says so."""
    uuid, pci = _same(a.uuid, b.uuid), _same(a.pci, b.pci)
    if not (uuid or pci or a.device == b.device):
        return None
    alike = sum(x is not None and x == y for x, y in zip(_host(a), _host(b), strict=True))
    return int(uuid), int(pci), alike, int(a.environment == b.environment), int(a.device == b.device)


def _same(a: str | None, b: str | None) -> bool:
    return a is not None and a == b


def _index(key: DeviceKey) -> str:
    return key.device.rpartition("/")[2]


def _crossed(a: DeviceKey, b: DeviceKey) -> str | None:
    """The identity of a card whose index changed; None where the index is the same."""
    if _index(a) == _index(b):
        return None
    return "deviceUUID" if _same(a.uuid, b.uuid) else "PCI address" if _same(a.pci, b.pci) else None
