"""`vkprobe matrix`: the per-driver capability and performance matrix, from records alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vkprobe.cli.options import format_option
from vkprobe.errors import UsageError
from vkprobe.report.matrix import build
from vkprobe.report.tables import terminal_width
from vkprobe.report.text import as_text
from vkprobe.results.store import Store


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--html", "html_path", metavar="OUT.html", help="Also write one self-contained HTML file.")
@click.option("--baseline", metavar="DEVICE", help="Show every value also as a multiple of this device's (its id, or part of its name).")
@format_option
def matrix(files: tuple[str, ...], html_path: str | None, baseline: str | None, form: str) -> None:
    """The per-driver capability and performance matrix, from records.

    Reads any number of record files (- is standard input); the newest record of a cell counts. Needs no driver and no GPU.
    """
    made = build(Store.load(files), baseline=baseline)
    if html_path is not None:
        from vkprobe.report.html import as_html  # jinja2 is not needed for the other formats

        write_report(Path(html_path), as_html(made))
    click.echo(as_text(made, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))


def write_report(path: Path, text: str) -> None:
    """Write a report whole or not at all.

    Raises:
        UsageError: the path can't be written.
    """
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: can't be written: {error.strerror}") from None
