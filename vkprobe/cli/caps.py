"""`vkprobe caps`: device facts, several drivers side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vkprobe.cli.options import DriverChoice, driver_options, format_option, select_device
from vkprobe.drivers.probe import Found, exit_status, record
from vkprobe.errors import EXIT_DRIVER, EXIT_OK, UsageError
from vkprobe.facts import Gathered, gather
from vkprobe.records import AnyRecord, DeviceRecord, encode
from vkprobe.report.caps import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.results.provenance import run_record
from vkprobe.results.store import Appender


@click.command()
@driver_options
@format_option
@click.option(
    "--all", "everything", is_flag=True, help="Every extension, feature and property: all of one device, of several those that differ."
)
@click.option("--json", "as_records", is_flag=True, help="Records on stdout: run, driver, device, one a line.")
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.jsonl", help="Append the records to a file.")
def caps(choice: DriverChoice, form: str, everything: bool, as_records: bool, output: Path | None) -> None:
    """Device facts, several drivers side by side.

    The table leads with what decides LLM inference; every cell is yes, no, partial, unknown, or the value.
    """
    run = run_record()
    gathered = gather(choice.specs(), run.run)
    devices = _chosen(gathered, choice.devices)
    records: list[AnyRecord] = [run, *(record(found, run.run) for found in gathered.drivers), *gathered.events, *devices]
    if output is not None:
        with Appender(output) as file:
            for one in records:
                file.append(one)
    if as_records:
        for one in records:
            click.echo(encode(one))
    elif devices:
        click.echo(as_text(devices, form, everything=everything, width=terminal_width()))
    _complain(gathered)
    status = exit_status(gathered.drivers, asked=choice.asked)
    if gathered.events and choice.asked:
        status = max(status, EXIT_DRIVER)
    if status != EXIT_OK:
        sys.exit(status)


def _chosen(gathered: Gathered, wanted: Sequence[str]) -> list[DeviceRecord]:
    """The devices that --device's values choose; a driver may have none of them as long as another has."""
    if not wanted or not gathered.devices:
        return gathered.devices
    ids = {device for found in gathered.drivers for device in _chosen_of(found, wanted)}
    if not ids:
        select_device([(d.index, d.name) for found in gathered.drivers for d in found.devices], wanted)  # raises, and says what there is
    return [device for device in gathered.devices if device.device in ids]


def _chosen_of(found: Found, wanted: Sequence[str]) -> list[str]:
    try:
        return [f"{found.spec.name}/{index}" for index in select_device([(d.index, d.name) for d in found.devices], wanted)]
    except UsageError:
        return []


def _complain(gathered: Gathered) -> None:
    for note in gathered.notes:
        click.echo(f"vkprobe: {note}", err=True)
    for found in gathered.drivers:
        if found.state != "ok":
            remedy = f"\n  -> {found.remedy}" if found.remedy else ""
            click.echo(f"vkprobe: driver {found.spec.name}: {found.state}: {found.reason}{remedy}", err=True)
