"""`vkprobe caps`: device facts, several drivers and files side by side, or the difference of two."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from vkprobe.cli.devices import complain, leave, records_of, status_of
from vkprobe.cli.files import from_option, gathered_beside, gathered_pair
from vkprobe.cli.options import DriverChoice, driver_options, format_option
from vkprobe.errors import EXIT_OK, UsageError
from vkprobe.facts import Gathered
from vkprobe.records import AnyRecord, RunRecord, encode
from vkprobe.report.caps import as_text
from vkprobe.report.caps_diff import difference
from vkprobe.report.caps_diff_text import as_text as difference_as_text
from vkprobe.report.tables import terminal_width
from vkprobe.results.provenance import run_record
from vkprobe.results.store import Appender


@click.command()
@driver_options
@from_option
@click.option(
    "--diff",
    "pair",
    nargs=2,
    metavar="A B",
    help="What appeared, vanished and changed from A to B: each a driver, a null device or a file, with /N for one of several devices.",
)
@format_option
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every extension, feature and property: all of one device, of several those that differ; with --diff, every change.",
)
@click.option("--json", "as_records", is_flag=True, help="Records on stdout: run, driver, device, one a line.")
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.jsonl", help="Append the records to a file.")
def caps(
    choice: DriverChoice,
    files: tuple[Path, ...],
    pair: tuple[str, str] | None,
    form: str,
    everything: bool,
    as_records: bool,
    output: Path | None,
) -> None:
    """Device facts, several drivers and files side by side; the difference of two.

    The table leads with what decides LLM inference; every cell is yes, no, partial, unknown, or the value.

    \b
    vkprobe caps --null nvk:172 --from vulkaninfo.json
    vkprobe caps --diff radv:navi31@trixie radv:navi31
    """
    run = run_record()
    if pair:
        if files or choice.asked:
            raise UsageError("--diff takes its two devices by itself: name drivers, null devices and files there, not with other options")
        found, before, after = gathered_pair(*pair, choice, run.run)
        _keep(run, replace(found, devices=[before, after]), as_records, output)
        if not as_records:
            click.echo(difference_as_text(difference(before, after), form, everything=everything, width=terminal_width()))
        complain(found)
        leave(status_of(found, asked=True) if found.drivers else EXIT_OK)
        return
    found = gathered_beside(choice, files, run.run)
    _keep(run, found, as_records, output)
    if found.devices and not as_records:
        click.echo(as_text(found.devices, form, everything=everything, width=terminal_width()))
    complain(found)
    leave(status_of(found, asked=choice.asked) if found.drivers else EXIT_OK)


def _keep(run: RunRecord, found: Gathered, as_records: bool, output: Path | None) -> None:
    """Append the records to the file, or print them, where that was asked for."""
    records: list[AnyRecord] = [run, *records_of(found, run.run)]
    if output is not None:
        with Appender(output) as file:
            for one in records:
                file.append(one)
    if as_records:
        for one in records:
            click.echo(encode(one))
