"""The interface of an op: its axes, its variants, its words for tables, and the cells that a request selects on a device.

An op is one folder: `__init__` (an `Op`; light, no numpy), `plan` (cell and device -> Plan) and `reference` (inputs, expected
results, error bounds; only the worker imports it). The machinery knows no op by name: it asks `vkprobe.ops.find`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from msgspec import Struct

from vkprobe.cell import VARIANT_FIELDS, Cell
from vkprobe.errors import UsageError
from vkprobe.weights import WEIGHT_TYPES
from vkprobe.workloads.model import Part

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan, Target
    from vkprobe.ops.reference import Reference
    from vkprobe.program import Program
    from vkprobe.records import DeviceRecord

PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")
"""llama.cpp's ways to multiply, the plainest first."""
ACCUMULATORS = ("f16", "f32", "s32")
BRIEF_TYPES = ("f16", "q4_0", "q8_0", "q4_k")
"""Types that models are mostly made of."""
LARGEST_MATRIX = 1 << 31
"""Elements of one matrix that the kernels' 32-bit indices reach."""


class Axis(Struct, frozen=True, kw_only=True):
    """A named integer of an op: what it counts, and its unit (`B`; empty for a plain count)."""

    name: str
    meaning: str
    unit: str = ""


class Arithmetic(NamedTuple):
    """The operations that a peak measures: those of one path, type and accumulator; any matrix shape if `tuple` is None."""

    path: str
    type: str
    accumulator: str
    tuple: str | None = None

    def fits(self, cell: Cell) -> bool:
        """Whether a peak's cell is of this arithmetic."""
        v = cell.variant
        return (v.path, v.type, v.accumulator) == self[:3] and self.tuple in (None, v.tuple)


class Request(Struct, frozen=True, kw_only=True):
    """A command line's request to an op; an empty field leaves the choice to the op.

    Attributes:
        axes: one mapping per shape that was asked for.
        typed: shapes with a weight type of their own, as models have them: (axes, type).
        accumulators: names, or `default` for llama.cpp's.
        tuples: names (`16x8x16`), `all` that the device advertises, or `default` for the one that llama.cpp takes.
    """

    axes: Sequence[Mapping[str, int]] = ()
    typed: Sequence[tuple[Mapping[str, int], str]] = ()
    types: Sequence[str] = ()
    paths: Sequence[str] = ()
    accumulators: Sequence[str] = ()
    tuples: Sequence[str] = ()
    tiers: Sequence[str] = ("mimic",)
    hot: bool = False

    @property
    def residency(self) -> str:
        """The cells' residency."""
        return "hot" if self.hot else "cold"


Scope = Literal["run", "full", "verb", "compile", "compile-full"]
"""Where default cells are for: the main job, quick or full; the op's own verb; `compile`, representative or full."""


def rank(order: Iterable[str], value: str | None) -> tuple[int, str]:
    """Sort key that follows `order`; a value that isn't in it comes last, by name."""
    values = list(order)
    return (values.index(value) if value in values else len(values), value or "")


class Op(ABC):
    """One op.

    Attributes:
        name: as records and the command line have it.
        title: its line in the verb table.
        axes: in the order of records.
        variant: the fields of `vkprobe.cell.Variant` that it has.
        note: what a matrix cell of it shows.
        measure: the rate by which its cells are compared.
        ceiling: it measures the device itself, so that others can be held against it.
        shape_word: the heading of its sizes in tables.
        part: the part of a model's work that --model takes its shapes from; None if models have none for it.
        batch: the axis that differs between the bars of one chart; None where each size is a chart of its own.
    """

    name: str
    title: str
    axes: tuple[Axis, ...]
    variant: tuple[str, ...]
    note: str = ""
    measure: Literal["flops_per_s", "bytes_per_s"] = "bytes_per_s"
    ceiling: bool = False
    shape_word: str = "M x N x K"
    batch: str | None = None
    part: Part | None = None

    # Requests.

    @abstractmethod
    def axes_of(self, text: str) -> dict[str, int]:
        """The axes that a --shape value names; raises UsageError."""

    @abstractmethod
    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """The cells of a request on a device, each once; those that it can't run are among them and will say why."""

    @abstractmethod
    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """The cells that are measured or compiled where nobody names shapes; `types` and `paths` limit them if given."""

    def brief(self, cell: Cell) -> bool:
        """Whether a default cell is worth measuring twice on a software device, whose times mean little."""
        return cell.variant.type in BRIEF_TYPES

    # Words.

    def size(self, cell: Cell) -> str:
        """A cell's axes in a table."""
        return "x".join(str(value) for _, value in cell.axes)

    def kind(self, cell: Cell) -> str:
        """The type or mode of a cell in a table."""
        return cell.variant.type or cell.variant.mode or ""

    def how(self, cell: Cell) -> tuple[str, ...]:
        """The rest of a cell's variant in a table: path, tuple, accumulator."""
        v = cell.variant
        return tuple(filter(None, (v.path, v.tuple, v.accumulator and f"{v.accumulator}acc")))

    def cell_name(self, cell: Cell) -> str:
        """A cell as a path without spaces, the same under every driver and on every device: `gemm/q4_0/coopmat/f16/...`."""
        v = cell.variant
        tier = v.tier if v.tier != "mimic" else None
        return "/".join(filter(None, (cell.op, v.type, v.mode, v.path, v.accumulator, v.tuple, self.size(cell), v.residency, tier)))

    def sentence(self, cell: Cell) -> str:
        """A cell in progress lines and reasons."""
        v = cell.variant
        accumulator = f"acc {v.accumulator}" if v.accumulator and v.path != "scalar-f32" else None
        return " ".join(filter(None, (cell.op, v.type, v.mode, v.path, v.tuple, accumulator, self.size(cell))))

    def row(self, cell: Cell) -> tuple[Any, ...]:
        """Key of the matrix row that a cell belongs to: everything but the tuple, which devices differ in."""
        v = cell.variant
        return (cell.op, cell.axes, v.type, v.mode, v.path, v.accumulator, v.tier, v.residency)

    def order(self, cell: Cell) -> tuple[Any, ...]:
        """Sort key of a cell among those of its op: by workload, then from the plainest path to the best."""
        v = cell.variant
        axes = tuple(value for _, value in cell.axes)
        return (rank(WEIGHT_TYPES, v.type), axes, rank(PATHS, v.path), v.tuple or "", v.accumulator or "", v.tier or "", v.residency or "")

    def roof(self, cell: Cell) -> bool:
        """Whether the rate of a ceiling's cell is one that other cells are held against."""
        return self.ceiling

    def kernel_type(self, cell: Cell) -> str:
        """The type that the cell's pipelines are listed under."""
        return cell.variant.type or ""

    # Work.

    def block(self, weight_type: str) -> int:
        """Elements that K must be a multiple of with a type."""
        return WEIGHT_TYPES[weight_type].elements

    def ragged(self, cell: Cell) -> str | None:
        """Why K doesn't suit the type's blocks; None if it does."""
        k, kind = cell.axis("k"), cell.variant.type or ""
        block = self.block(kind)
        return f"K = {k} is not a multiple of {block}: {self.name} takes {kind} in blocks of {block} elements" if k % block else None

    def flop(self, cell: Cell) -> float | None:
        """Operations, two for a multiply-add; None if the op only moves or converts."""
        return None

    def traffic_bytes(self, program: Program) -> int:
        """The fewest bytes that the op moves: its inputs once, its output once."""
        return sum(b.bytes for b in program.buffers if b.role != "scratch")

    def largest_matrix(self, cell: Cell) -> int:
        """Elements of its largest matrix, which indices must reach; 0 if it has none."""
        return 0

    def arithmetics(self, plan: Plan) -> tuple[Arithmetic, ...]:
        """Arithmetic that a cell multiplies with; the first must have a peak, and the fastest counts. Empty if it multiplies nothing."""
        return ()

    def limits(self, cell: Cell, arithmetics: Collection[Arithmetic]) -> bool:
        """Whether a ceiling's cell limits cells that multiply with these: a copy inside the device limits them all."""
        return False

    def tile_registers(self, plan: Plan, subgroup_size: int | None) -> int | None:
        """Registers of 32 bits that an invocation's part of the tile takes at the least; None if the op has no tile."""
        return None

    # Planning and verifying.

    def also_compiled(self, plan: Plan, target: Target) -> list[Plan]:
        """Further plans that `compile --full` makes of a cell's: kernels that no cell leads to on this device."""
        return []

    def plan(self, cell: Cell, target: Target) -> Plan:
        """The plan to run a cell on a device, or the reason why it can't run there."""
        module = importlib.import_module(f"vkprobe.ops.{self.name}.plan")
        planned: Plan = module.plan(cell, target)
        return planned

    def reference(self, program: Program, shared: Any) -> Reference:
        """Inputs and expected results; `shared` keeps what several programs have in common."""
        module = importlib.import_module(f"vkprobe.ops.{self.name}.reference")
        reference: Reference = module.reference(program, shared)
        return reference


def software(device: DeviceRecord) -> bool:
    """Whether the device runs on the CPU: small shapes, and times that mean nothing absolute."""
    return device.type == "cpu"


def three_numbers(text: str) -> tuple[int, int, int]:
    """M, N and K of a --shape value; raises UsageError."""
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isdecimal() for p in parts):
        raise UsageError(f"--shape {text}: expected M,N,K, three whole numbers, as in --shape 4096,512,14336")
    m, n, k = (int(p) for p in parts)
    if min(m, n, k) < 1:
        raise UsageError(f"--shape {text}: M, N and K are 1 or more")
    if max(m * k, n * k, m * n) > LARGEST_MATRIX:
        raise UsageError(f"--shape {text}: a matrix of more than {LARGEST_MATRIX} elements is beyond the kernels' 32-bit indices")
    return m, n, k


__all__ = [
    "ACCUMULATORS",
    "Arithmetic",
    "Axis",
    "LARGEST_MATRIX",
    "Op",
    "PATHS",
    "Request",
    "Scope",
    "VARIANT_FIELDS",
    "rank",
    "software",
    "three_numbers",
]
