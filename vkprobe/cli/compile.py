"""`vkprobe compile`: pipelines only, on any device."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from vkprobe.cli.bench import words
from vkprobe.cli.devices import leave, status_of
from vkprobe.cli.measuring import Recording, compiling_options, recording
from vkprobe.cli.options import DriverChoice
from vkprobe.cli.outputs import distinct
from vkprobe.errors import UsageError
from vkprobe.kernels import kernels
from vkprobe.ops.base import PATHS
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.report.compile import compile_matrix
from vkprobe.report.matrix import build
from vkprobe.report.tables import terminal_width
from vkprobe.report.text import as_text
from vkprobe.results.store import Store
from vkprobe.session.campaign import exit_status
from vkprobe.session.compiling import Compiler, Lane, compile_all
from vkprobe.session.isa import IsaFolder
from vkprobe.session.opening import open_request
from vkprobe.session.selection import compile_plans
from vkprobe.weights import WEIGHT_TYPES

_LIMIT_S = 60.0


@click.command("compile")
@click.option("--full", is_flag=True, help="Every kernel, tile size and tuple, N = 1 to 8.  [default: what pp512 and tg take]")
@click.option("--type", "types", multiple=True, metavar="T", help="Only these weight types.")
@click.option("--path", "paths", multiple=True, metavar="P", help="Only these paths.")
@click.option(
    "--isa", type=click.Path(path_type=Path), metavar="DIR", help="Write what the compiler says in text: DEVICE/KERNEL-TILE.NAME.txt."
)
@click.option("--times", is_flag=True, help="A second table, of creation times.")
@compiling_options(_LIMIT_S)
def compile_(
    choice: DriverChoice,
    form: str,
    full: bool,
    types: Sequence[str],
    paths: Sequence[str],
    isa: Path | None,
    times: bool,
    compile_limit: float | None,
    output: Path | None,
    as_records: bool,
) -> None:
    """Compile the kernels with each driver: registers, spills, instructions, ISA.

    Pipelines are created, none runs: null devices do, for chips that are not at hand. The driver's caches are off. Two files of
    records (-o) are held against each other by `vkprobe compare`.
    """
    wanted_types, wanted_paths = words("--type", types, tuple(WEIGHT_TYPES)), words("--path", paths, PATHS)
    _some_kernel(wanted_types, wanted_paths)
    distinct([("-o", output), ("--isa", isa)], choice.files())
    folder = IsaFolder(isa) if isa is not None else None
    with recording(choice, output, as_records) as journal:
        lanes = [
            lane(device, journal, full, wanted_types, wanted_paths, compile_limit or _LIMIT_S, folder) for device in journal.facts.devices
        ]
        compile_all(lanes, progress=journal.progress, parallel=len(os.sched_getaffinity(0)))
    pipelines = [r for r in journal.records if isinstance(r, PipelineRecord)]
    if not as_records and pipelines:
        matrix = compile_matrix(build(Store(journal.records)), times=times)
        click.echo(as_text(matrix, form, width=terminal_width(), color=sys.stdout.isatty() and form == "table"))
    leave(max(status_of(journal.facts, asked=choice.asked), exit_status(pipelines, frozenset())))


def _some_kernel(types: Sequence[str], paths: Sequence[str]) -> None:
    """Raise UsageError where no kernel has what was asked for together."""
    for kernel in kernels().values():
        if kernel.tier and (not types or kernel.type in types) and (not paths or kernel.path in paths):
            return
    together = " ".join(f"{option} {','.join(wanted)}" for option, wanted in (("--type", types), ("--path", paths)) if wanted)
    raise UsageError(f"compile {together}: there is no kernel for these together")


def lane(
    device: DeviceRecord,
    journal: Recording,
    full: bool,
    types: Sequence[str],
    paths: Sequence[str],
    limit_s: float,
    folder: IsaFolder | None,
) -> Lane:
    """A device's pipelines, each once."""
    waiting = compile_plans(device, full=full, types=types, paths=paths)
    request = open_request(device, [p.requirement for p in waiting if p.reason is None])
    spec = journal.specs()[device.driver_name]
    compiler = Compiler(spec, device, request, run=journal.run.run, limit_s=limit_s, sink=journal.sink, isa=folder)
    return Lane(device=device.device, compiler=compiler, waiting=waiting)
