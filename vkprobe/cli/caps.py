"""`vkprobe caps`: device facts, several drivers and files side by side, or the difference of two."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from vkprobe.cli.devices import complain, leave, records_of, status_of
from vkprobe.cli.files import from_option, gathered_beside, gathered_pair
from vkprobe.cli.options import DriverChoice, driver_options, output_options
from vkprobe.cli.outputs import distinct, keep
from vkprobe.errors import EXIT_OK, UsageError
from vkprobe.report.caps import as_text
from vkprobe.report.caps_diff import difference
from vkprobe.report.caps_diff_text import as_text as difference_as_text
from vkprobe.report.tables import terminal_width
from vkprobe.results.provenance import run_record


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
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every extension, feature and property: all of one device, of several those that differ; with --diff, every change.",
)
@output_options
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
    distinct([("-o", output)], [*choice.files(), *(("--from", path) for path in files), *(("--diff", side) for side in pair or ())])
    run = run_record()
    if pair:
        if files or choice.asked:
            raise UsageError("--diff takes its two devices by itself: name drivers, null devices and files there, not with other options")
        facts, before, after = gathered_pair(*pair, choice, run.run)
        keep([run, *records_of(replace(facts, devices=[before, after]), run.run)], as_records, output)
        if not as_records:
            click.echo(difference_as_text(difference(before, after), form, everything=everything, width=terminal_width()))
        complain(facts)
        leave(status_of(facts, asked=True) if facts.drivers else EXIT_OK)
        return
    facts = gathered_beside(choice, files, run.run)
    keep([run, *records_of(facts, run.run)], as_records, output)
    if facts.devices and not as_records:
        click.echo(as_text(facts.devices, form, everything=everything, width=terminal_width()))
    complain(facts)
    leave(status_of(facts, asked=choice.asked) if facts.drivers else EXIT_OK)
