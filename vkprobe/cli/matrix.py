"""`vkprobe matrix`: the per-driver capability and performance matrix, from records alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vkprobe.cli.options import format_option
from vkprobe.cli.outputs import distinct, writable, write_report
from vkprobe.report.matrix import build
from vkprobe.report.tables import terminal_width
from vkprobe.report.text import as_text
from vkprobe.results.store import Store


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--html",
    "html_path",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.html",
    help="Also write one self-contained HTML file.",
)
@click.option("--baseline", metavar="DEVICE", help="Show every value also as a multiple of this device's (its id, or part of its name).")
@format_option
def matrix(files: tuple[str, ...], html_path: Path | None, baseline: str | None, form: str) -> None:
    """The per-driver capability and performance matrix, from records.

    Reads any number of record files (- is standard input); the newest record of a cell counts. Needs no driver and no GPU.
    """
    distinct([("--html", html_path)], [("the record file that it is made from", file) for file in files])
    writable(html_path)
    report = build(Store.load(files), baseline=baseline)
    try:
        click.echo(as_text(report, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))
    finally:  # also where nobody reads the table to its end
        if html_path is not None:
            from vkprobe.report.html import as_html  # jinja2 is not needed for the other formats

            write_report(html_path, as_html(report))
