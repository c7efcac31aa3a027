"""Device facts of several drivers at once; queries that crash a driver are left out and reported, the rest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from vkprobe.drivers.launch import ask_all
from vkprobe.drivers.probe import TIMEOUT_S, Device, DriverOutcome, explain_all
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerLost
from vkprobe.protocol import Facts
from vkprobe.records import DeviceRecord, EventRecord
from vkprobe.results.provenance import device_record

_PARALLEL = 8
_MOST_CRASHES = 3  # queries that one driver may crash on before it counts as failed
_NEEDED = frozenset(
    {"vkCreateInstance", "vkEnumeratePhysicalDevices", "vkGetPhysicalDeviceProperties", "vkEnumerateDeviceExtensionProperties"}
)
"""Queries without which there are no facts."""


class Gathered(Struct, frozen=True, kw_only=True):
    """Facts gathered from drivers.

    Attributes:
        drivers: every driver's state, in the order asked for; `ok` ones with their devices.
        devices: the devices of those, in the same order.
        events: crashes in single queries, which cost only that query's answer.
        notes: sentences for the user: a query that failed, or crashed and was left out.
    """

    drivers: list[DriverOutcome]
    devices: list[DeviceRecord]
    events: list[EventRecord] = []
    notes: list[str] = []


def gather(specs: Sequence[DriverSpec], run: str, *, timeout: float = TIMEOUT_S) -> Gathered:
    """The facts of every device of `specs`, each driver in a worker of its own, all at once; `timeout` (s) for each.

    Never raises for a driver that fails.
    """
    healthy = [i for i, spec in enumerate(specs) if spec.fault is None]
    skipped: dict[int, list[str]] = {i: [] for i in healthy}
    replies: dict[int, Any] = {}
    events: list[EventRecord] = []
    notes: list[str] = []
    waiting = healthy
    while waiting:
        asked = [(specs[i], Facts(skip=skipped[i])) for i in waiting]
        replies.update(zip(waiting, ask_all(asked, timeout=timeout, parallel=_PARALLEL), strict=True))
        crashed = [(i, query) for i in waiting if (query := _fatal_query(replies[i])) and len(skipped[i]) < _MOST_CRASHES]
        for i, query in crashed:
            lost = replies[i]
            skipped[i].append(query)
            events.append(
                EventRecord(run=run, device=specs[i].name, what=lost.what, where=query, signal=lost.signal, stderr_tail=lost.stderr_tail)
            )
            notes.append(f"{specs[i].name}: crashed in {query} ({lost.reason}); its answer is left out as unknown")
        waiting = [i for i, _ in crashed]
    explained = iter(explain_all([(specs[i], replies[i]) for i in healthy]))
    drivers: list[DriverOutcome] = []
    devices: list[DeviceRecord] = []
    for spec in specs:
        if spec.fault is not None:
            drivers.append(DriverOutcome(spec=spec, state="error", reason=spec.fault, remedy=spec.remedy))
            continue
        outcome, reply = next(explained)
        records = [device_record(run, spec, facts) for facts in reply or []]
        for facts in reply or []:
            notes += [f"{spec.name}/{facts['index']}: {note}" for note in facts["notes"]]
        drivers.append(msgspec.structs.replace(outcome, devices=[_brief(facts) for facts in reply or []]))
        devices += records
    return Gathered(drivers=drivers, devices=devices, events=events, notes=notes)


def _fatal_query(reply: Any) -> str | None:
    """The query that a worker died in, where the others can still be asked without it."""
    if isinstance(reply, WorkerLost) and reply.what == "crash" and reply.during not in _NEEDED:
        return reply.during
    return None


def _brief(facts: dict[str, Any]) -> Device:
    return Device(
        index=facts["index"],
        name=facts["name"],
        type=facts["type"],
        api=facts["driver"]["api"],
        driver_id=facts["driver"]["id"],
        vendor_id=facts["hardware"]["vendor_id"],
        device_id=facts["hardware"]["device_id"],
    )
