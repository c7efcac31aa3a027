"""`vkprobe export`: records in the formats of other tools."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import click

from vkprobe.cli.outputs import distinct, write_report
from vkprobe.results.exports.cells import compiled, exported, left_out
from vkprobe.results.store import Store

FORMATS = ("pytest-benchmark", "google-benchmark", "bencher", "junit")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("-o", "output", metavar="OUT", required=True, help="The file to write, whole or not at all; `-` for standard output.")
def export(files: Sequence[str], form: str, output: str) -> None:
    """Records as pytest-benchmark's, Google Benchmark's, Bencher's or JUnit's files.

    The newest record of each cell counts. Cells are named by what they are, not by their driver, so that two drivers' files
    pair up: `pytest-benchmark compare`, Google Benchmark's compare.py. Only cells that are `ok` have numbers; JUnit tells the
    others as failure (wrong), error (crash, timeout, device-lost, error, noop of a device that is not null) or skipped, and has
    a case a pipeline as well; the rest counts them on stderr.
    """
    distinct([("-o", None if output == "-" else output)], [("FILE", file) for file in files])
    store = Store.load(files)
    pipelines = compiled(store) if form == "junit" else []
    cells = exported(store) if store.results or not pipelines else []
    module = importlib.import_module(f"vkprobe.results.exports.{form.replace('-', '_')}")
    data: bytes = module.encode(cells, pipelines) if pipelines else module.encode(cells)
    if output == "-":
        click.echo(data, nl=False)
    else:
        write_report(Path(output), data.decode())
    without = left_out(cells)
    if without and form != "junit":
        click.echo(f"vkprobe: of {len(cells)} cells these have no number and are not exported as times: {without}", err=True)
