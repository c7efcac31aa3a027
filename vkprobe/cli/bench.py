"""`vkprobe gemm`, `gemv`, `dequant`, `convert`: the microbenchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from vkprobe.bench.cells import ACCUMULATORS, CONVERTED, PATHS, TYPES, Cell, Selection, Shape, cells
from vkprobe.bench.plans import MOST_GEMV_COLUMNS, default_shapes, policy, software
from vkprobe.cli.devices import leave
from vkprobe.cli.measuring import limited, measure_all, measuring_options
from vkprobe.cli.options import DriverChoice
from vkprobe.cli.workload import model_of, model_option, model_shapes, skipped_note
from vkprobe.errors import UsageError
from vkprobe.kernels import kernels
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.report.results import as_text
from vkprobe.report.tables import terminal_width
from vkprobe.weights import Q8_1_ELEMENTS, WEIGHT_TYPES
from vkprobe.workloads.model import Op

F = TypeVar("F", bound=Callable[..., Any])
_SHAPES = {
    "gemm": "4096,512,14336; on CPU devices 256,32,256",
    "gemv": "4096,N,14336 with N = 1 to 8; on CPU devices 512,N,512",
    "dequant": "4096,1,14336; on CPU devices 512,1,512",
    "convert": "1,N,14336 with N = 1, 8 and 512; on CPU devices 1,N,512",
}
_DECODED_TOGETHER = 8  # elements, by an invocation of a dequant
_LARGEST = 1 << 31  # elements of one matrix: what 32-bit indexing of the kernels reaches


def words(option: str, values: Sequence[str], known: Sequence[str]) -> list[str]:
    """Values of a repeatable option that also takes comma lists.

    Raises:
        UsageError: one is not known.
    """
    words = [word.strip().lower() for value in values for word in value.split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise UsageError(f"{option} {word}: not known; there is {', '.join(known)}")
    return list(dict.fromkeys(words))


def parse_shape(op: str, text: str) -> Shape:
    """A --shape value as the op takes it.

    >>> parse_shape("gemm", "256,128,64")
    Shape(m=256, n=128, k=64)

    Raises:
        UsageError: it is none.
    """
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isdecimal() for p in parts):
        raise UsageError(f"--shape {text}: expected M,N,K, three whole numbers, as in --shape 4096,512,14336")
    m, n, k = (int(p) for p in parts)
    if min(m, n, k) < 1:
        raise UsageError(f"--shape {text}: M, N and K are 1 or more")
    if max(m * k, n * k, m * n) > _LARGEST:
        raise UsageError(f"--shape {text}: a matrix of more than {_LARGEST} elements is beyond the kernels' 32-bit indices")
    if op == "gemv" and n > MOST_GEMV_COLUMNS:
        raise UsageError(f"--shape {text}: gemv has N = 1 to {MOST_GEMV_COLUMNS}; use gemm for N = {n}")
    if op == "dequant" and n != 1:
        raise UsageError(f"--shape {text}: dequant has N = 1; M,1,K is M*K elements")
    if op == "convert" and m != 1:
        raise UsageError(f"--shape {text}: convert has M = 1; 1,N,K is N rows of K activations")
    return Shape(m, n, k)


def _of_op(op: str, field: str, order: Sequence[str]) -> list[str]:
    """The paths, types or accumulators that an op has kernels for."""
    there = {getattr(kernel, field) for kernel in kernels().values() if kernel.op == op}
    return [word for word in order if word in there]


def _block(op: str, weight_type: str) -> int:
    """Elements that K must be a multiple of."""
    if op == "convert":
        return Q8_1_ELEMENTS if weight_type == "q8_1" else 1
    return max(WEIGHT_TYPES[weight_type].elements, _DECODED_TOGETHER if op == "dequant" else 1)


def _some_kernel(op: str, types: Sequence[str], paths: Sequence[str], accumulators: Sequence[str]) -> None:
    """Raise UsageError where no kernel of the op has what was asked for together."""
    for kernel in kernels().values():
        asked = ((kernel.type, types), (kernel.path, paths), (kernel.accumulator, accumulators))
        if kernel.op == op and all(not wanted or value in wanted for value, wanted in asked):
            return
    parts = (("--type", types), ("--path", paths), ("--accumulator", accumulators))
    together = " ".join(f"{option} {','.join(wanted)}" for option, wanted in parts if wanted)
    raise UsageError(f"{op} {together}: there is no kernel for these together")


def _fits_blocks(op: str, shape: Shape, types: Sequence[str], asked: bool) -> list[str]:
    """The types whose blocks divide K.

    Raises:
        UsageError: one that was asked for doesn't, or none does.
    """
    fitting = [t for t in types if shape.k % _block(op, t) == 0]
    for weight_type in types:
        if weight_type not in fitting and (asked or not fitting):
            block = _block(op, weight_type)
            raise UsageError(
                f"--shape {shape.m},{shape.n},{shape.k}: {op} takes {weight_type} in blocks of {block} elements; "
                f"K must be a multiple of {block}"
            )
    return fitting


def bench_options(op: str) -> Callable[[F], F]:
    """The options of a microbenchmark verb."""

    def decorate(command: F) -> F:
        options = [
            click.option(
                "--type", "types", multiple=True, metavar="T", help=f"Weight type: {', '.join(_of_op(op, 'type', TYPES))}.  [default: all]"
            ),
            click.option(
                "--path", "paths", multiple=True, metavar="P", help=f"Path: {', '.join(_of_op(op, 'path', PATHS))}.  [default: all]"
            ),
            click.option(
                "--shape", "shapes", multiple=True, metavar="M,N,K", help=f"M weight rows, N tokens, K reduction.  [default: {_SHAPES[op]}]"
            ),
        ]
        if op == "gemm":
            accumulator_help = "f16, f32, or `default` for llama.cpp's.  [default: both]"
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
) -> Callable[[DeviceRecord], list[Cell]]:
    """What a microbenchmark's options ask for: the cells of a device.

    Raises:
        UsageError: one of them is none, or there is no kernel for them together.
    """
    known_types = _of_op(op, "type", CONVERTED if op == "convert" else TYPES)
    wanted_types = words("--type", types, known_types)
    wanted_paths = words("--path", paths, _of_op(op, "path", PATHS))
    wanted_accumulators = words("--accumulator", accumulators, (*ACCUMULATORS, "default"))
    wanted_tuples = _tuples(tuples)
    _some_kernel(op, wanted_types, wanted_paths, [] if "default" in wanted_accumulators else wanted_accumulators)
    asked = [parse_shape(op, text) for text in shapes]
    for shape in asked:
        _fits_blocks(op, shape, wanted_types or known_types, bool(wanted_types))
    of_models = _of_models(op, models, wanted_types)

    def cells_of(device: DeviceRecord) -> list[Cell]:
        plain = asked or ([] if models else default_shapes(op, device))
        typed = [(shape, _fits_blocks(op, shape, wanted_types or known_types, bool(wanted_types))) for shape in plain]
        return [
            cell
            for shape, fitting in [*of_models, *typed]
            for cell in cells(
                Selection(
                    op=op,
                    shapes=[shape],
                    types=fitting,
                    paths=wanted_paths,
                    accumulators=wanted_accumulators,
                    tuples=wanted_tuples or ("default",),
                    hot=hot,
                ),
                device,
            )
        ]

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
    measure_and_tell(
        choice,
        form,
        cells_for(op, **asked),
        time_limit=time_limit,
        compile_limit=compile_limit,
        rounds=rounds,
        output=output,
        as_records=as_records,
    )


def measure_and_tell(
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
        told = measured.ceilings if form in ("table", "md") else []  # a table has them in a line of its own, other forms as rows
        click.echo(as_text([*told, *measured.results], form, width=terminal_width(), pipelines=pipelines, software=cpus))
    leave(measured.status)


def _of_models(op: str, values: Sequence[str], types: Sequence[str]) -> list[tuple[Shape, tuple[str, ...]]]:
    """The shapes of models, each with its own weight type; what can't be measured of a file is told on stderr."""
    told = [model_of(value) for value in values]
    for note in filter(None, (skipped_note(one) for one in told)):
        click.echo(note, err=True)
    shapes = model_shapes(cast(Op, op), told, types) if told else []
    return list(dict.fromkeys((Shape(s.m, s.n, s.k), (s.type,)) for s in shapes))


def _tuples(values: Sequence[str]) -> list[str]:
    words = [word.strip().lower() for value in values for word in value.split(",")]
    for word in words:
        parts = word.split("x")
        if word not in ("all", "default") and not (len(parts) == 3 and all(p.isdecimal() and int(p) for p in parts)):
            raise UsageError(f"--tuple {word}: expected a shape as 16x8x16, or `all`")
    return words


@click.command()
@bench_options("gemm")
def gemm(choice: DriverChoice, form: str, coopmat: bool, coopmat2: bool, paths: Sequence[str], tier: str, **options: Any) -> None:
    """Matrix times matrix, as llama.cpp's prompt processing does it.

    C[N,M] = B[N,K] x A[M,K]^T: A weights, B activations. Every cell is verified; one that is not right has no number.
    """
    short = [path for path, given in (("coopmat", coopmat), ("coopmat2", coopmat2)) if given]
    _run("gemm", choice, form, paths=[*paths, *short], **options)


@click.command()
@bench_options("gemv")
def gemv(choice: DriverChoice, form: str, tier: str, **options: Any) -> None:
    """Matrix times 1 to 8 vectors, as llama.cpp's token generation does it."""
    _run("gemv", choice, form, **options)


@click.command()
@bench_options("dequant")
def dequant(choice: DriverChoice, form: str, tier: str, **options: Any) -> None:
    """Quantised blocks to f16."""
    _run("dequant", choice, form, **options)


@click.command()
@bench_options("convert")
def convert(choice: DriverChoice, form: str, tier: str, **options: Any) -> None:
    """Activations from f32 to what products of bf16 weights, coopmat2 and intdot read.

    llama.cpp dispatches it before such a product, once for all products of the same activations.
    """
    _run("convert", choice, form, **options)
