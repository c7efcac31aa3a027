"""`vkprobe run`: the main job."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vkprobe.cli.devices import leave
from vkprobe.cli.measuring import limited, measure_all, measuring_options
from vkprobe.cli.options import DriverChoice
from vkprobe.cli.outputs import distinct, writable, write_report
from vkprobe.drivers.spec import DriverSpec
from vkprobe.ops.base import software
from vkprobe.records import DeviceRecord
from vkprobe.report.matrix import build
from vkprobe.report.tables import terminal_width
from vkprobe.report.text import as_text
from vkprobe.results.store import Store
from vkprobe.session.ladder import tuple_climbs
from vkprobe.session.ladder_features import feature_climbs
from vkprobe.session.selection import policy, run_cells

_NULLS = ("nvk:172", "radv:gfx1201", "turnip:750")
_INTEL_NULL = "anv:bmg"


@click.command()
@click.option("--quick/--full", default=None, help="Fewer shapes and rounds, or all.  [default: quick on software drivers, else full]")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.html", help="Also write the matrix as one HTML file.")
@measuring_options
def run(
    choice: DriverChoice,
    form: str,
    quick: bool | None,
    html: Path | None,
    time_limit: float | None,
    compile_limit: float | None,
    rounds: int | None,
    output: Path | None,
    as_records: bool,
) -> None:
    """The main job: facts, verified benchmarks and compile statistics of every chosen device.

    Before them it climbs the ladder with each advertised cooperative-matrix tuple, and with --full with features too. Prints the
    matrix. With the same -o it resumes: what is missing, and what ended in crash or timeout, is measured. Where no driver is
    chosen and the machine has none, it runs on the embedded lavapipe and on null devices of the open drivers.
    """

    distinct([("-o", output), ("--html", html)], choice.files())
    writable(html)

    def full(device: DeviceRecord) -> bool:
        return not quick if quick is not None else not (software(device) or device.null)

    measured = measure_all(
        choice,
        cells_of=lambda device: run_cells(device, full=full(device)),
        policy_of=lambda device: limited(policy(device, full=full(device)), time_limit, compile_limit, rounds),
        output=output,
        as_records=as_records,
        resume=True,
        specs=None if choice.asked else _default(choice),
        climbs_of=lambda device: tuple_climbs(device) + (feature_climbs(device) if full(device) else []),
    )
    store = Store.load([output]) if output is not None else Store(measured.records)
    matrix = build(store)
    try:
        if not as_records:
            click.echo(as_text(matrix, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))
    finally:  # also where nobody reads the table to its end
        if html is not None:
            from vkprobe.report.html import as_html

            write_report(html, as_html(matrix))
    leave(measured.status)


def _default(choice: DriverChoice) -> Sequence[DriverSpec]:
    """The system's drivers; on a machine that has none the embedded set's lavapipe and one null device of each open driver."""
    specs = choice.specs()
    if not all(spec.name.startswith("embedded") for spec in specs):
        return specs
    nulls = [*_NULLS, *([_INTEL_NULL] if choice.shim or os.environ.get("VKPROBE_INTEL_SHIM") else [])]
    return DriverChoice(drivers=tuple(spec.name for spec in specs), nulls=tuple(nulls), config=choice.config, shim=choice.shim).specs()
