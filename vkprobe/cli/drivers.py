"""`vkprobe drivers`: what is installed, whether it works, what to do where it doesn't; the embedded set."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Sequence

import click
import msgspec

from vkprobe import records
from vkprobe.cli.options import DriverChoice, driver_options, format_option, select_device
from vkprobe.drivers import embedded, loader, select
from vkprobe.drivers.probe import DriverOutcome, exit_status, probe, record
from vkprobe.errors import EXIT_OK, NoDeviceError
from vkprobe.report.tables import folded, render, terminal_width

_NOTHING = "no Vulkan {what} on this machine: run `vkprobe drivers fetch` (no root needed), or install your distribution's Vulkan drivers"


@click.group(invoke_without_command=True)
@driver_options
@format_option
@click.option("--json", "as_records", is_flag=True, help="One `driver` record a line.")
@click.pass_context
def drivers(context: click.Context, choice: DriverChoice, form: str, as_records: bool) -> None:
    """Every Vulkan driver found, whether it works, and what to do where it doesn't."""
    if context.invoked_subcommand is not None:
        return
    outcomes = _find(choice)
    if as_records:
        run = str(uuid.uuid4())
        for one in outcomes:
            click.echo(records.encode(record(one, run)))
    elif form == "table":
        headers: tuple[str, ...] = ("driver", "state", "devices, or why there are none")
        click.echo(render(headers, [_row(f) for f in outcomes], width=terminal_width(), fold=2))
    else:
        headers = ("driver", "state", "devices", "reason", "remedy", "icd")
        rows = [(f.spec.name, f.state, _devices(f), f.reason or "", f.remedy or "", f.spec.icd or "") for f in outcomes]
        click.echo(render(headers, rows, form))
    _finish(outcomes, choice)


@drivers.command()
@click.option("--suite", type=click.Choice(list(embedded.SUITES)), default=embedded.DEFAULT_SUITE, show_default=True, help="Debian suite.")
@click.option("--layers", is_flag=True, help="Also unpack Vulkan's validation layer.")
@click.option("--again", is_flag=True, help="Fetch anew what is already there.")
@click.option("--if-needed", is_flag=True, help="Only where no driver of this machine has a device.")
def fetch(suite: str, layers: bool, again: bool, if_needed: bool) -> None:
    """Unpack Debian's Mesa drivers and null-device shims into your cache.

    About 10 s and 63 MB to download; no root, nothing is installed on the machine.
    """

    def progress(line: str) -> None:
        click.echo(f"drivers fetch: {line}", err=True)

    if if_needed:
        working = [one.spec.name for one in select.system() if one.state == "ok"]
        if working:
            progress(f"not needed: this machine has {', '.join(working)}")
            return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what is half-made is cleared away
    embedded.fetch(suite, progress, again=again)
    names = ", ".join(spec.name for spec in embedded.drivers(suite))
    click.echo(f"Mesa {embedded.versions(suite)['mesa-vulkan-drivers']}: {names}")
    if layers:
        click.echo(f"validation layer: VK_LAYER_PATH={embedded.fetch_layers(suite, progress, again=again)}")


@drivers.command()
@driver_options
def doctor(choice: DriverChoice) -> None:
    """Explain how to fix each driver that doesn't work."""
    outcomes = _find(choice)
    system = loader.system_loader()
    click.echo(f"Vulkan loader: {system or 'none of the system'}; embedded sets: {', '.join(embedded.fetched_suites()) or 'none'}")
    absent = [one for one in outcomes if one.state == "no-device" and not one.remedy and not choice.asked]
    for one in outcomes:
        if one.state != "ok" and one not in absent:
            click.echo(f"\n{one.spec.name}: {one.state}\n  why:  {one.reason}\n  file: {one.spec.icd}")
            click.echo(f"  do:   {one.remedy or 'nothing, unless this machine has its hardware'}")
    if absent:
        click.echo("\n" + folded(f"no hardware here, so nothing to do: {', '.join(one.spec.name for one in absent)}", terminal_width()))
    count = {state: sum(one.state == state for one in outcomes) for state in ("ok", "no-device", "error")}
    working, without = ("1 works" if count["ok"] == 1 else f"{count['ok']} work"), count["no-device"]
    click.echo(f"\n{working}, {without} {'has' if without == 1 else 'have'} no device here, {count['error']} in error.")
    _finish(outcomes, choice)


def _find(choice: DriverChoice) -> list[DriverOutcome]:
    specs = choice.specs() if choice.asked else [*select.listed(), *select.configured(choice.config)]
    return [_with_devices(one, choice.devices) if one.devices else one for one in probe(specs)]


def _with_devices(outcome: DriverOutcome, wanted: Sequence[str]) -> DriverOutcome:
    chosen = select_device([(d.index, d.name) for d in outcome.devices], wanted)
    return msgspec.structs.replace(outcome, devices=[d for d in outcome.devices if d.index in chosen])


def _devices(outcome: DriverOutcome) -> str:
    return "\n".join(f"{d.index}: {d.name}, {d.type}, Vulkan {d.api}" for d in outcome.devices)


def _row(outcome: DriverOutcome) -> tuple[str, str, str]:
    if outcome.state == "ok":
        return outcome.spec.name, outcome.state, _devices(outcome)
    return outcome.spec.name, outcome.state, (outcome.reason or "") + (f"\n-> {outcome.remedy}" if outcome.remedy else "")


def _finish(outcomes: Sequence[DriverOutcome], choice: DriverChoice) -> None:
    """Exit as the contract has it: a mere listing fails only where nothing on this machine could load a driver."""
    if choice.asked:
        status = exit_status(outcomes, asked=True)
        if status != EXIT_OK:
            sys.exit(status)
    elif not any(one.state == "ok" for one in outcomes):
        if not embedded.fetched_suites() and loader.system_loader() is None:
            raise NoDeviceError(_NOTHING.format(what="loader (libvulkan.so.1)"))
        if not outcomes:
            raise NoDeviceError(_NOTHING.format(what="driver"))
