"""`vkprobe compare`: two record files held against each other."""

from __future__ import annotations

import sys

import click

from vkprobe.cli.options import format_option
from vkprobe.compare.compare import compare as held_against
from vkprobe.compare.conditions import DEFAULT_SHARE, met, parse
from vkprobe.errors import EXIT_CONDITION, UsageError
from vkprobe.report.compare import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.results.store import Store


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--fail-on",
    metavar="CONDITIONS",
    help="End with status 1 where one is met: slower:5%, worse:5%, changed, wrong, crash, missing; a comma list.",
)
@format_option
def compare(old: str, new: str, fail_on: str | None, form: str) -> None:
    """What changed from one record file to another, the worst first.

    Pipelines and cells are paired by hardware (vendor, device id, chip) and their own fields, never by the driver. Compile
    statistics are compared exactly, hashes aside. `worse` is more spills, over 5 % more instructions (--fail-on worse:P% sets
    another share) or no matrix instructions any more. Times are not judged yet: `slower` fails on nothing.
    """
    conditions = parse(fail_on) if fail_on is not None else []
    share = next((c.share for c in conditions if c.name == "worse"), DEFAULT_SHARE)
    left, right = _with_cells(old), _with_cells(new)
    comparison = held_against(left, right, names=(old, new), threshold=share)
    click.echo(as_text(comparison, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))
    unjudged = sum(cell.verdict == "unjudged" for cell in comparison.cells)
    if unjudged and any(c.name == "slower" for c in conditions):
        click.echo(f"vkprobe: --fail-on slower: {unjudged} cells are not judged: timing comparison comes with `ab`", err=True)
    found = met(comparison, conditions)
    if found:
        click.echo(f"vkprobe: --fail-on {', '.join(found)}", err=True)
        sys.exit(EXIT_CONDITION)


def _with_cells(path: str) -> Store:
    """The records of a file; raises UsageError, with what its drivers said, where they had no device to compile or measure on."""
    store = Store.load([path])
    failed = "; ".join(f"{d.driver}: {d.reason}" for d in store.drivers.values() if d.state != "ok")
    if not store.results and not store.pipelines and failed:
        raise UsageError(f"{path}: nothing was compiled or measured in it: {failed}")
    return store
