"""Device facts from a command line's choice of drivers: the first step of every verb that loads drivers."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
import msgspec

from vkprobe.cli.options import DriverChoice, select_device
from vkprobe.drivers.probe import DriverOutcome, exit_status, record
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import EXIT_DRIVER, EXIT_NO_DEVICE, EXIT_OK, UsageError
from vkprobe.facts import Gathered, gather
from vkprobe.records import AnyRecord, DeviceRecord


def gathered(choice: DriverChoice, run: str, specs: Sequence[DriverSpec] | None = None) -> Gathered:
    """The facts of the chosen drivers' chosen devices; raises UsageError where --device chooses none."""
    facts = gather(choice.specs() if specs is None else specs, run)
    return msgspec.structs.replace(facts, devices=_chosen(facts, choice.devices))


def records_of(facts: Gathered, run: str) -> list[AnyRecord]:
    """The driver, event and device records of the gathered facts."""
    return [*(record(driver, run) for driver in facts.drivers), *facts.events, *facts.devices]


def complain(facts: Gathered) -> None:
    """Report on stderr which drivers failed, why, and what to do about it."""
    for note in facts.notes:
        click.echo(f"vkprobe: {note}", err=True)
    for driver in facts.drivers:
        if driver.state != "ok":
            remedy = f"\n  -> {driver.remedy}" if driver.remedy else ""
            click.echo(f"vkprobe: driver {driver.spec.name}: {driver.state}: {driver.reason}{remedy}", err=True)


def status_of(facts: Gathered, *, asked: bool) -> int:
    """The exit status that the drivers' states ask for: 5 where there is no device at all, a file's included, else 4 or 0."""
    status = exit_status(facts.drivers, asked=asked)
    if status == EXIT_NO_DEVICE and facts.devices:
        status = EXIT_DRIVER if asked and any(driver.state == "error" for driver in facts.drivers) else EXIT_OK
    return max(status, EXIT_DRIVER) if facts.events and asked else status


def leave(status: int) -> None:
    """End with `status` where it is not 0."""
    if status:
        sys.exit(status)


def _chosen(facts: Gathered, wanted: Sequence[str]) -> list[DeviceRecord]:
    """The devices that --device's values choose; a driver may have none of them as long as another has."""
    if not wanted or not facts.devices:
        return facts.devices
    ids = {device for driver in facts.drivers for device in _chosen_of(driver, wanted)}
    if not ids:
        select_device([(d.index, d.name) for driver in facts.drivers for d in driver.devices], wanted)  # raises, and says what there is
    return [device for device in facts.devices if device.device in ids]


def _chosen_of(driver: DriverOutcome, wanted: Sequence[str]) -> list[str]:
    try:
        return [f"{driver.spec.name}/{index}" for index in select_device([(d.index, d.name) for d in driver.devices], wanted)]
    except UsageError:
        return []
