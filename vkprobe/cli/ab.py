"""`vkprobe ab`: two drivers of one device, interleaved in one run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from vkprobe.cell import Cell
from vkprobe.cli.bench import MEASURED, cells_for, words
from vkprobe.cli.compile import lane
from vkprobe.cli.devices import leave, status_of
from vkprobe.cli.measuring import Recording, limited, recording
from vkprobe.cli.options import DriverChoice, limit_option, output_options
from vkprobe.cli.outputs import distinct as different_files
from vkprobe.compare import ab as verdicts
from vkprobe.compare.conditions import DEFAULT_SHARE, met, parse
from vkprobe.compare.model import Comparison
from vkprobe.drivers.null import FAMILIES
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import EXIT_CONDITION, UsageError
from vkprobe.ops.base import PATHS
from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord
from vkprobe.report.ab import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.session import ab as duel
from vkprobe.session.ab_sides import contestants, distinct, varied
from vkprobe.session.campaign import exit_status
from vkprobe.session.compiling import compile_all
from vkprobe.weights import WEIGHT_TYPES

_TIME_LIMIT_S = 20.0
_COMPILE_LIMIT_S = 60.0
_DRIVER_HELP = "A driver as --driver takes it, or a null device as --null does (radv:navi31@trixie)."


@click.command()
@click.option("--a", "a", required=True, metavar="X", help=_DRIVER_HELP)
@click.option("--b", "b", required=True, metavar="Y", help="The other one: a verdict says how B compares with A.")
@click.option("--a-env", multiple=True, metavar="K=V", help="A variable for A alone; may be repeated.")
@click.option("--b-env", multiple=True, metavar="K=V", help="A variable for B alone.")
@click.option("--op", "ops", multiple=True, metavar="OP", help=f"{', '.join(MEASURED)}.  [default: the quick plan]")
@click.option("--type", "types", multiple=True, metavar="T", help="Only these weight types.")
@click.option("--path", "paths", multiple=True, metavar="P", help="Only these paths.")
@click.option("--shape", "shapes", multiple=True, metavar="M,N,K", help="As the op takes it; needs --op.")
@click.option("--hot", is_flag=True, help="One weight buffer, which may sit in a cache; cold buffers rotate. Needs --op.")
@click.option("--full", is_flag=True, help="Of null devices every kernel, tile size and tuple.")
@click.option("--blocks", type=click.IntRange(2, 1000), default=6, show_default=True, help="Of each cell: A B B A.")
@click.option(
    "--lives",
    type=click.IntRange(1, 100),
    metavar="N",
    help="Both workers are started anew so often.  [default: 6, and 3 on software devices]",
)
@click.option("--fail-on", metavar="CONDITIONS", help="As compare has it: slower:5%, worse:5%, changed, wrong, crash, missing.")
@click.option("--device", "devices", multiple=True, metavar="N|TEXT", help="The drivers' device N, or the one with TEXT in its name.")
@click.option("--drivers", "config", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.toml", help="In place of vkprobe.toml.")
@click.option("--shim", metavar="PATH", help="The shim library of null devices.")
@limit_option("--time-limit", "cell and driver", _TIME_LIMIT_S)
@limit_option("--compile-limit", "pipeline", _COMPILE_LIMIT_S)
@output_options
def ab(
    a: str,
    b: str,
    a_env: Sequence[str],
    b_env: Sequence[str],
    fail_on: str | None,
    devices: tuple[str, ...],
    config: Path | None,
    shim: str | None,
    form: str,
    output: Path | None,
    as_records: bool,
    **options: Any,
) -> None:
    """Two drivers of one device: the same cells on both, interleaved, a verdict for each.

    Two builds, two Mesa versions, or one driver with and without a variable. Both have a live worker; each cell is measured in
    blocks A B B A, and both workers are started anew between blocks. Beside the verdict stands what changed in registers, spills
    and instructions. Null devices are only compiled for: no times.

    \b
    vkprobe ab --a embedded@trixie:lvp --b embedded:lvp --op gemm --type q4_0
    vkprobe ab --a radeon --b radeon --b-env RADV_DEBUG=nocache
    vkprobe ab --a radv:navi31@trixie --b radv:navi31
    """
    conditions = parse(fail_on) if fail_on is not None else []
    threshold = next((c.share for c in conditions if c.name == "worse"), DEFAULT_SHARE)
    choice = DriverChoice(devices=devices, config=config, shim=shim)
    cells_of = _cells(options)
    specs = distinct(
        varied(_spec("--a", a, choice), _variables("--a-env", a_env)), varied(_spec("--b", b, choice), _variables("--b-env", b_env))
    )
    different_files([("-o", output)], [*choice.files(), ("--a", a), ("--b", b)])
    interrupted = False
    with recording(choice, output, as_records, specs) as journal:
        pair = contestants(journal.facts, specs)
        pairs: list[duel.Pair] = []
        if pair[0].device.null:
            _compile(journal, [side.device for side in pair], options)
        else:
            fight = _duel(journal, pair, cells_of, options)
            pairs = fight.pairs
            try:
                fight.run()
            except KeyboardInterrupt:
                interrupted = True
    ids = (pair[0].device.device, pair[1].device.device)
    ended = [r for r in journal.records if isinstance(r, (ResultRecord, PipelineRecord))]
    comparison: Comparison | None = None
    if {r.device for r in ended} == set(ids):  # an interrupt may come before anything has ended on both
        comparison = verdicts.comparison(journal.records, ids, pairs, threshold=threshold)
        if not as_records:
            color = sys.stdout.isatty() and form == "table"
            click.echo(as_text(comparison, form, width=terminal_width(), color=color, compiled=pair[0].device.null))
    if interrupted:
        raise click.Abort
    failed = met(comparison, conditions) if comparison is not None else []
    if failed:
        click.echo(f"vkprobe: --fail-on {', '.join(failed)}", err=True)
    judged = [r for r in ended if isinstance(r, ResultRecord) or pair[0].device.null]
    leave(max(status_of(journal.facts, asked=True), exit_status(judged, frozenset()), EXIT_CONDITION if failed else 0))


def _spec(option: str, text: str, choice: DriverChoice) -> DriverSpec:
    """The driver or null device that a side names."""
    null = text.partition(":")[0] in FAMILIES
    named = DriverChoice(drivers=() if null else (text,), nulls=(text,) if null else (), config=choice.config, shim=choice.shim)
    specs = named.specs()
    if len(specs) != 1:
        raise UsageError(f"{option} {text}: names {len(specs)} devices; a side is one")
    return specs[0]


def _variables(option: str, values: Sequence[str]) -> dict[str, str]:
    variables = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals:
            raise UsageError(f"{option} {value}: expected NAME=VALUE, as in {option} RADV_DEBUG=nocache")
        variables[name] = text
    return variables


def _cells(options: dict[str, Any]) -> Callable[[DeviceRecord], list[Cell]]:
    """Function that returns the cells that the options ask for on a device."""
    types, paths = options["types"], options["paths"]
    if options["ops"]:
        ops = words("--op", options["ops"], MEASURED)
        if options["shapes"] and len(ops) > 1:
            raise UsageError("--shape belongs to one op: give one --op with it")
        chosen = [
            cells_for(op, types=types, paths=paths, shapes=options["shapes"], hot=options["hot"], accumulators=("default",)) for op in ops
        ]
        return lambda device: [cell for cells_of in chosen for cell in cells_of(device)]
    if options["shapes"] or options["hot"]:
        raise UsageError("--shape and --hot belong to an op: name it with --op gemm, gemv, dequant or convert")
    wanted_types, wanted_paths = words("--type", types, tuple(WEIGHT_TYPES)), words("--path", paths, PATHS)

    def cells_of(device: DeviceRecord) -> list[Cell]:
        return [
            cell
            for cell in duel.default_cells(device)
            if (not wanted_types or cell.variant.type in wanted_types) and (not wanted_paths or cell.variant.path in wanted_paths)
        ]

    return cells_of


def _duel(
    journal: Recording,
    pair: tuple[duel.Contestant, duel.Contestant],
    cells_of: Callable[[DeviceRecord], list[Cell]],
    options: dict[str, Any],
) -> duel.Duel:
    cells = duel.same_cells(cells_of, [side.device for side in pair])
    if not cells:
        raise UsageError("ab: no cell has these types and paths together")
    policy = limited(duel.policy(pair[0].device, options["blocks"]), options["time_limit"], options["compile_limit"])
    return duel.Duel(
        pair,
        cells,
        run=journal.run.run,
        policy=policy,
        blocks=options["blocks"],
        lives=options["lives"] or duel.default_lives(pair[0].device),
        sink=journal.sink,
        progress=journal.progress,
        unclear=verdicts.unclear,
    )


def _compile(journal: Recording, devices: Sequence[DeviceRecord], options: dict[str, Any]) -> None:
    """The pipelines of two null devices."""
    refused = [f"--{name[:-1]}" for name in ("ops", "shapes") if options[name]] + ["--hot"] * options["hot"]
    if refused:
        raise UsageError(f"{refused[0]}: null devices compile and execute nothing: choose kernels with --type, --path and --full")
    types, paths = words("--type", options["types"], tuple(WEIGHT_TYPES)), words("--path", options["paths"], PATHS)
    limit_s = options["compile_limit"] or _COMPILE_LIMIT_S
    lanes = [lane(device, journal, options["full"], types, paths, limit_s, None) for device in devices]
    compile_all(lanes, progress=journal.progress, parallel=len(os.sched_getaffinity(0)))
