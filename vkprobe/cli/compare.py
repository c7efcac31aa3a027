"""`vkprobe compare`: compare two record files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vkprobe.compare.compare import compare as held_against
from vkprobe.compare.conditions import DEFAULT_SHARE, met, parse
from vkprobe.compare.expectations import read
from vkprobe.errors import EXIT_CONDITION, UsageError
from vkprobe.records import PipelineRecord, ResultRecord
from vkprobe.report.compare import as_text
from vkprobe.report.compare_data import as_fails
from vkprobe.report.compare_times import reasons
from vkprobe.report.tables import FORMATS, terminal_width
from vkprobe.results.store import Store

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--fail-on",
    metavar="CONDITIONS",
    help="End with status 1 where one is met: slower:5%, worse:5%, changed, wrong, crash, missing, unexpected; a comma list.",
)
@click.option("--fails", type=_FILE, metavar="FILE", help="Known failures, a line CELL,VERDICT each: they meet no condition.")
@click.option("--flakes", type=_FILE, metavar="FILE", help="Regular expressions of cells that meet no condition, whatever becomes of them.")
@click.option("--skips", type=_FILE, metavar="FILE", help="Regular expressions of cells that are left out.")
@click.option(
    "--format",
    "form",
    type=click.Choice((*FORMATS, "fails")),
    default="table",
    show_default=True,
    help="How the table is printed; `fails`: the lines for --fails of what fails now.",
)
def compare(old: str, new: str, fail_on: str | None, fails: Path | None, flakes: Path | None, skips: Path | None, form: str) -> None:
    """Compare two record files; the worst changes come first.

    Pipelines and cells are paired by hardware (vendor, device id, chip) and their own fields, never by the driver. Compile
    statistics are compared exactly, hashes aside. `worse` is more spills, over 5 % more instructions (--fail-on worse:P% sets
    another share) or no matrix instructions any more.

    Times are judged as one table: slower, faster, same (within 2 %), or unclear where the samples don't decide, which fails
    nothing. Several runs of a driver in one file (`cat`) count as so many processes. Two campaigns are minutes or days apart:
    what drifts between them looks like a change; where both drivers are at hand, `vkprobe ab` interleaves them.
    """
    conditions = parse(fail_on) if fail_on is not None else []
    share = next((c.share for c in conditions if c.name == "worse"), DEFAULT_SHARE)
    expected = read(fails, flakes, skips)
    left, right = _with_cells(old), _with_cells(new)
    comparison = held_against(left, right, names=(old, new), threshold=share, expected=expected)
    if form == "fails":
        text = as_fails(comparison, conditions or None)
        click.echo(text, nl=bool(text))
    else:
        click.echo(as_text(comparison, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))
    for line in comparison.unlisted:
        click.echo(f"vkprobe: {line}", err=True)
    for condition, of in (("slower", ResultRecord), ("worse", PipelineRecord), ("changed", PipelineRecord)):
        if any(c.name == condition for c in conditions):
            for reason in reasons(cell for cell in comparison.cells if isinstance(cell.record, of)):
                click.echo(f"vkprobe: --fail-on {condition}: {reason}", err=True)
    hits = met(comparison, conditions)
    if hits:
        click.echo(f"vkprobe: --fail-on {', '.join(hits)}", err=True)
        sys.exit(EXIT_CONDITION)


def _with_cells(path: str) -> Store:
    """The records of a file; raises UsageError, with what its drivers said, where they had no device to compile or measure on."""
    store = Store.load([path])
    failed = "; ".join(f"{d.driver}: {d.reason}" for d in store.drivers.values() if d.state != "ok")
    if not store.results and not store.pipelines and failed:
        raise UsageError(f"{path}: nothing was compiled or measured in it: {failed}")
    return store
