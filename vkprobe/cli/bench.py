"""`vkprobe gemm`, `gemv`, `dequant`, `convert`: the microbenchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.cli.devices import leave
from vkprobe.cli.measuring import limited, measure_all, measuring_options
from vkprobe.cli.options import DriverChoice
from vkprobe.cli.workload import model_of, model_option, model_shapes, skipped_note
from vkprobe.errors import UsageError
from vkprobe.kernels import kernels
from vkprobe.ops.base import ACCUMULATORS, PATHS, Request, software
from vkprobe.ops.convert import FORMS
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.report.results import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.session.selection import policy
from vkprobe.weights import WEIGHT_TYPES

F = TypeVar("F", bound=Callable[..., Any])
_SHAPES = {
    "gemm": "4096,512,14336; on CPU devices 256,32,256",
    "gemv": "4096,N,14336 with N = 1 to 8; on CPU devices 512,N,512",
    "dequant": "4096,1,14336; on CPU devices 512,1,512",
    "convert": "1,N,14336 with N = 1, 8 and 512; on CPU devices 1,N,512",
}
MEASURED = ("gemm", "gemv", "dequant", "convert")
"""Ops whose verbs take types and shapes."""


def words(option: str, values: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Values of a repeatable option that also takes comma lists.

    Raises:
        UsageError: a value is unknown.
    """
    words = [word.strip().lower() for value in values for word in value.split(",") if word.strip()]
    for word in words:
        if word not in choices:
            raise UsageError(f"{option} {word}: not known; there is {', '.join(choices)}")
    return list(dict.fromkeys(words))


def _of_op(op: str, field: str, order: Sequence[str]) -> list[str]:
    """The paths, types or accumulators that an op has kernels for."""
    there = {getattr(kernel, field) for kernel in kernels().values() if kernel.op == op}
    return [word for word in order if word in there]


def _some_kernel(op: str, types: Sequence[str], paths: Sequence[str], accumulators: Sequence[str]) -> None:
    """Raise UsageError where no kernel of the op has what was asked for together."""
    for kernel in kernels().values():
        asked = ((kernel.type, types), (kernel.path, paths), (kernel.accumulator, accumulators))
        if kernel.op == op and all(not wanted or value in wanted for value, wanted in asked):
            return
    parts = (("--type", types), ("--path", paths), ("--accumulator", accumulators))
    together = " ".join(f"{option} {','.join(wanted)}" for option, wanted in parts if wanted)
    raise UsageError(f"{op} {together}: there is no kernel for these together")


def _check_blocks(op: str, text: str, k: int, types: Sequence[str], asked: bool) -> None:
    """Check that K suits the types' blocks.

    Raises:
        UsageError: K suits no type, or not one that was asked for. Where nobody names types, the others' cells say so.
    """
    ragged = [kind for kind in types if k % ops.find(op).block(kind)]
    if ragged and (asked or len(ragged) == len(types)):
        block = ops.find(op).block(ragged[0])
        raise UsageError(f"--shape {text}: {op} takes {ragged[0]} in blocks of {block} elements; K must be a multiple of {block}")


def bench_options(op: str) -> Callable[[F], F]:
    """The options of a microbenchmark verb."""

    def decorate(command: F) -> F:
        options = [
            click.option("--type", "types", multiple=True, metavar="T", help=f"Weight type: {', '.join(_types(op))}.  [default: all]"),
            click.option(
                "--path", "paths", multiple=True, metavar="P", help=f"Path: {', '.join(_of_op(op, 'path', PATHS))}.  [default: all]"
            ),
            click.option(
                "--shape", "shapes", multiple=True, metavar="M,N,K", help=f"M weight rows, N tokens, K reduction.  [default: {_SHAPES[op]}]"
            ),
        ]
        if op == "gemm":
            accumulator_help = "f16, f32, s32 (int8 matrices), or `default` for llama.cpp's.  [default: all]"
            tuple_help = "A coopmat shape, or `all` that are advertised.  [default: llama.cpp's]"
            options += [
                click.option("--coopmat", is_flag=True, help="Short for --path coopmat."),
                click.option("--accumulator", "accumulators", multiple=True, metavar="A", help=accumulator_help),
                click.option("--tuple", "tuples", multiple=True, metavar="MxNxK", help=tuple_help),
            ]
            options.append(click.option("--coopmat2", is_flag=True, help="Short for --path coopmat2."))
        if op != "convert":
            options.append(model_option)
        options += [
            click.option("--hot", is_flag=True, help="One weight buffer, which may sit in a cache; cold buffers rotate."),
            click.option(
                "--tier", type=click.Choice(("mimic",)), default="mimic", show_default=True, help="llama.cpp's algorithm and tiles."
            ),
        ]
        decorated = measuring_options(command)
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _types(op: str) -> list[str]:
    return _of_op(op, "type", FORMS if op == "convert" else tuple(WEIGHT_TYPES))


def cells_for(
    op: str,
    *,
    types: Sequence[str],
    paths: Sequence[str],
    shapes: Sequence[str],
    hot: bool,
    accumulators: Sequence[str] = (),
    tuples: Sequence[str] = (),
    models: Sequence[str] = (),
    tier: str = "mimic",
) -> Callable[[DeviceRecord], list[Cell]]:
    """The cells that a microbenchmark's options select on a device.

    Raises:
        UsageError: a value is unknown, or there is no kernel for the values together.
    """
    kinds = _types(op)
    wanted_types = words("--type", types, kinds)
    wanted_paths = words("--path", paths, _of_op(op, "path", PATHS))
    wanted_accumulators = words("--accumulator", accumulators, (*ACCUMULATORS, "default"))
    wanted_tuples = _tuples(tuples)
    _some_kernel(op, wanted_types, wanted_paths, [] if "default" in wanted_accumulators else wanted_accumulators)
    offered = ops.find(op)
    axes = []
    for text in shapes:
        axes.append(offered.axes_of(text))
        _check_blocks(op, text, axes[-1]["k"], wanted_types or kinds, bool(wanted_types))
    request = Request(
        axes=axes,
        typed=_of_models(op, models, wanted_types),
        types=wanted_types or kinds,
        paths=wanted_paths,
        accumulators=wanted_accumulators,
        tuples=wanted_tuples,
        tiers=(tier,),
        hot=hot,
    )

    def cells_of(device: DeviceRecord) -> list[Cell]:
        if axes or models:
            return offered.cells(request, device)
        shapes = list(dict.fromkeys(cell.axes for cell in offered.defaults(device, "verb")))
        return offered.cells(replace(request, axes=[dict(one) for one in shapes]), device)

    return cells_of


def _run(
    op: str,
    choice: DriverChoice,
    form: str,
    *,
    time_limit: float | None,
    compile_limit: float | None,
    rounds: int | None,
    output: Path | None,
    as_records: bool,
    **asked: Any,
) -> None:
    measure_and_show(
        choice,
        form,
        cells_for(op, **asked),
        time_limit=time_limit,
        compile_limit=compile_limit,
        rounds=rounds,
        output=output,
        as_records=as_records,
    )


def measure_and_show(
    choice: DriverChoice,
    form: str,
    cells_of: Callable[[DeviceRecord], list[Cell]],
    *,
    time_limit: float | None,
    compile_limit: float | None,
    rounds: int | None,
    output: Path | None,
    as_records: bool,
) -> None:
    """Measure the chosen devices' cells, print their table and leave with the status that they ask for."""
    measured = measure_all(
        choice,
        cells_of=cells_of,
        policy_of=lambda device: limited(policy(device, full=False), time_limit, compile_limit, rounds),
        output=output,
        as_records=as_records,
    )
    if not as_records and measured.results:
        pipelines = [r for r in measured.records if isinstance(r, PipelineRecord)]
        cpus = {device.device for device in measured.gathered.devices if software(device)}
        ceilings = measured.ceilings if form in ("table", "md") else []  # a table has them in a line of its own, other forms as rows
        click.echo(as_text([*ceilings, *measured.results], form, width=terminal_width(), pipelines=pipelines, software=cpus))
    leave(measured.status)


def _of_models(op: str, values: Sequence[str], types: Sequence[str]) -> list[tuple[dict[str, int], str]]:
    """The shapes of models, each with its own weight type; matrices of a file that aren't measured are named on stderr."""
    models = [model_of(value) for value in values]
    for note in filter(None, (skipped_note(one) for one in models)):
        click.echo(note, err=True)
    shapes = model_shapes(op, models, types) if models else []
    names = [axis.name for axis in ops.find(op).axes]
    return [({name: getattr(s, name) for name in names}, s.type) for s in shapes]


def _tuples(values: Sequence[str]) -> list[str]:
    words = [word.strip().lower() for value in values for word in value.split(",")]
    for word in words:
        parts = word.split("x")
        if word not in ("all", "default") and not (len(parts) == 3 and all(p.isdecimal() and int(p) for p in parts)):
            raise UsageError(f"--tuple {word}: expected a shape as 16x8x16, or `all`")
    return words


@click.command()
@bench_options("gemm")
def gemm(choice: DriverChoice, form: str, coopmat: bool, coopmat2: bool, paths: Sequence[str], **options: Any) -> None:
    """Matrix times matrix, as llama.cpp's prompt processing does it.

    C[N,M] = B[N,K] x A[M,K]^T: A weights, B activations. Every cell is verified; one that is not right has no number.
    """
    short = [path for path, given in (("coopmat", coopmat), ("coopmat2", coopmat2)) if given]
    _run("gemm", choice, form, paths=[*paths, *short], **options)


@click.command()
@bench_options("gemv")
def gemv(choice: DriverChoice, form: str, **options: Any) -> None:
    """Matrix times 1 to 8 vectors, as llama.cpp's token generation does it."""
    _run("gemv", choice, form, **options)


@click.command()
@bench_options("dequant")
def dequant(choice: DriverChoice, form: str, **options: Any) -> None:
    """Quantised blocks to f16."""
    _run("dequant", choice, form, **options)


@click.command()
@bench_options("convert")
def convert(choice: DriverChoice, form: str, **options: Any) -> None:
    """Activations from f32 to what products of bf16 weights, coopmat2 and intdot read.

    llama.cpp dispatches it before such a product, once for all products of the same activations.
    """
    _run("convert", choice, form, **options)
