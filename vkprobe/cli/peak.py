"""`vkprobe copy` and `vkprobe peak`: the roofline's two ceilings, as this driver delivers them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from vkprobe.bench.cells import Cell
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.plans import policy, software
from vkprobe.cli.bench import words
from vkprobe.cli.devices import leave
from vkprobe.cli.measuring import limited, measure_all, measuring_options
from vkprobe.cli.options import DriverChoice
from vkprobe.kernels import kernels
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.report.results import as_text
from vkprobe.report.tables import terminal_width

_COPY_PATHS = ("scalar-f32", "transfer")
_PEAK_PATHS = tuple(dict.fromkeys(k.path for k in kernels().values() if k.op == "peak"))
_PEAK_TYPES = tuple(dict.fromkeys(k.type for k in kernels().values() if k.op == "peak"))


def _run(
    choice: DriverChoice,
    form: str,
    cells_of: Callable[[DeviceRecord], list[Cell]],
    *,
    time_limit: float | None,
    compile_limit: float | None,
    output: Path | None,
    as_records: bool,
) -> None:
    measured = measure_all(
        choice,
        cells_of=cells_of,
        policy_of=lambda device: limited(policy(device, full=False), time_limit, compile_limit),
        output=output,
        as_records=as_records,
    )
    if not as_records and measured.results:
        pipelines = [r for r in measured.records if isinstance(r, PipelineRecord)]
        cpus = {device.device for device in measured.gathered.devices if software(device)}
        click.echo(as_text(measured.results, form, width=terminal_width(), pipelines=pipelines, software=cpus))
    leave(measured.status)


@click.command()
@click.option(
    "--path", "paths", multiple=True, metavar="P", help=f"By shader or by copy command: {', '.join(_COPY_PATHS)}.  [default: both]"
)
@measuring_options
def copy(choice: DriverChoice, form: str, paths: Sequence[str], **options: Any) -> None:
    """What memory delivers: copies inside the device, and to and from the host.

    256 MiB, less on small devices. Bytes read and written count, of a shader that only reads those read, to and from the host each once.
    """
    wanted = words("--path", paths, _COPY_PATHS)
    _run(choice, form, lambda device: [cell for cell in copy_cells(device) if not wanted or cell.path in wanted], **options)


@click.command()
@click.option("--path", "paths", multiple=True, metavar="P", help=f"Path: {', '.join(_PEAK_PATHS)}.  [default: all]")
@click.option("--type", "types", multiple=True, metavar="T", help=f"Type that is multiplied: {', '.join(_PEAK_TYPES)}.  [default: all]")
@measuring_options
def peak(choice: DriverChoice, form: str, paths: Sequence[str], types: Sequence[str], **options: Any) -> None:
    """What arithmetic delivers: multiply-adds from registers, of vectors and of each cooperative-matrix tuple.

    Every result is checked exactly.
    """
    wanted, kinds = words("--path", paths, _PEAK_PATHS), words("--type", types, _PEAK_TYPES)

    def chosen(cell: Cell) -> bool:
        return (not wanted or cell.path in wanted) and (not kinds or cell.type in kinds)

    _run(choice, form, lambda device: [cell for cell in peak_cells(device) if chosen(cell)], **options)
