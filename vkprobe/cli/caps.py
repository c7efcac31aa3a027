"""`vkprobe caps`: device facts, several drivers side by side."""

from __future__ import annotations

from pathlib import Path

import click

from vkprobe.cli.devices import complain, gathered, leave, records_of, status_of
from vkprobe.cli.options import DriverChoice, driver_options, format_option
from vkprobe.records import AnyRecord, encode
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
    found = gathered(choice, run.run)
    records: list[AnyRecord] = [run, *records_of(found, run.run)]
    if output is not None:
        with Appender(output) as file:
            for one in records:
                file.append(one)
    if as_records:
        for one in records:
            click.echo(encode(one))
    elif found.devices:
        click.echo(as_text(found.devices, form, everything=everything, width=terminal_width()))
    complain(found)
    leave(status_of(found, asked=choice.asked))
