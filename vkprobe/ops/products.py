"""Shared code of the matrix products: the paths, accumulators and tuples that a request stands for, their sizes, and their work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vkprobe import kernels
from vkprobe.cell import Cell, cell
from vkprobe.device_facts import KhrTuple
from vkprobe.llama.device import Limits, limits
from vkprobe.llama.paths import accumulator
from vkprobe.llama.rows import MOST_COLUMNS
from vkprobe.ops.base import BRIEF_TYPES, PATHS, Arithmetic, Op, Request, software
from vkprobe.program import Program
from vkprobe.records import DeviceRecord
from vkprobe.weights import Q8_1_GROUP_BYTES, Q8_1_GROUP_ELEMENTS, WEIGHT_TYPES

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan

FLOAT_ACCUMULATORS = ("f16", "f32")
M, K = 4096, 14336
"""llama.cpp's test-backend-ops shape."""


def product_of(n: int) -> str:
    """The op that multiplies by `n` columns.

    >>> product_of(8), product_of(9)
    ('gemv', 'gemm')
    """
    return "gemv" if n <= MOST_COLUMNS else "gemm"


def f16_tuples(device: DeviceRecord, component: str = "f16") -> list[KhrTuple]:
    """The f16 (or bf16) tuples of subgroup scope that a GEMM can use, in the driver's order."""
    return [
        t
        for t in device.coopmat.khr or []
        if t.a == t.b == component and t.c == t.result and t.c in FLOAT_ACCUMULATORS and t.scope == "subgroup" and not t.saturating
    ]


def int8_tuples(device: DeviceRecord) -> list[KhrTuple]:
    """The s8,s8->s32 tuples of subgroup scope, in the driver's order."""
    return [
        t
        for t in device.coopmat.khr or []
        if t.a == t.b == "s8" and t.c == t.result == "s32" and t.scope == "subgroup" and not t.saturating
    ]


def tuple_name(t: KhrTuple) -> str:
    """A tuple's shape as records have it."""
    return f"{t.m}x{t.n}x{t.k}"


def tuple_names(device: DeviceRecord, weight_type: str, accumulator: str, wanted: Sequence[str]) -> list[str | None]:
    """The tuple shapes to measure with this accumulator; [None] if the device lists none, so that the cell says so.

    llama.cpp takes the shape of the first f16 tuple with an f16 or f32 accumulator, for bf16 too, and for s32 that of the first s8 one.
    """
    listed = int8_tuples(device) if accumulator == "s32" else f16_tuples(device)
    names: list[str | None] = []
    for name in wanted:
        if name == "all":
            own = listed if accumulator == "s32" else f16_tuples(device, WEIGHT_TYPES[weight_type].component)
            names += [tuple_name(t) for t in own if t.c == accumulator]
        elif name == "default":
            names += [tuple_name(listed[0])] if listed else []
        else:
            names.append(name)
    return list(dict.fromkeys(names)) or [None]


def default_accumulator(path: str, weight_type: str, facts: Limits) -> str:
    """The accumulator that llama.cpp takes on a device, but for dot2, whose kernels here sum in f32 only."""
    return "f32" if path == "dot2" else accumulator(weight_type, path, facts)


def exists(op: str, path: str, weight_type: str, accumulator: str) -> bool:
    """Whether there is a kernel of these."""
    return any(kernels.find(op, path, weight_type, accumulator, reduce=reduce) is not None for reduce in ("", "subgroup"))


def select(op: str, request: Request, device: DeviceRecord) -> list[Cell]:
    """The cells of a request for a matrix product, each once, shape by shape."""
    shapes = [(axes, request.types or tuple(WEIGHT_TYPES)) for axes in request.axes]
    wanted = [*((axes, (kind,)) for axes, kind in request.typed), *shapes]
    return list(dict.fromkeys(one for axes, types in wanted for one in _of_shape(op, axes, types, request, device)))


def _of_shape(op: str, axes: Mapping[str, int], types: Sequence[str], request: Request, device: DeviceRecord) -> Iterator[Cell]:
    for kind in types:
        for path in request.paths or PATHS:
            for acc in _accumulators(request, path, kind, device):
                if not exists(op, path, kind, acc):
                    continue
                names = tuple_names(device, kind, acc, request.tuples or ("default",)) if path == "coopmat" else [None]
                for name in names:
                    for tier in request.tiers:
                        yield cell(op, axes, path=path, type=kind, accumulator=acc, tuple=name, residency=request.residency, tier=tier)


def _accumulators(request: Request, path: str, kind: str, device: DeviceRecord) -> Sequence[str]:
    """The accumulators asked for; else all, s32 only where the device lists int8 matrices."""
    named = [default_accumulator(path, kind, limits(device)) if name == "default" else name for name in request.accumulators]
    if named:
        return list(dict.fromkeys(named))
    return (*FLOAT_ACCUMULATORS, "s32") if path == "coopmat" and int8_tuples(device) else FLOAT_ACCUMULATORS


def run_types(device: DeviceRecord, scope: str, types: Sequence[str]) -> Sequence[str]:
    """The types of a default selection: a few on real devices and for `compile`, all of them on software devices and in full."""
    if types or scope in ("verb", "full", "compile-full") or (scope == "run" and software(device)):
        return types
    return BRIEF_TYPES


def activation_bytes(form: str, rows: int, k: int) -> int:
    """Bytes of `rows` rows of `k` activations on the device; q8_1 comes in whole groups of four blocks.

    >>> activation_bytes("q8_1", 3, 32), activation_bytes("f16", 3, 32)
    (144, 192)
    """
    if form == "q8_1":
        return -(-rows * k // Q8_1_GROUP_ELEMENTS) * Q8_1_GROUP_BYTES
    return rows * k * {"f32": 4, "f16": 2, "bf16": 2}[form]


_F32 = Arithmetic("scalar-f32", "f32", "f32")
_VECTORS = {
    ("scalar-f32", "f32"): _F32,
    ("scalar-f16", "f16"): Arithmetic("scalar-f16", "f16", "f16"),
    ("scalar-f16", "f32"): _F32,  # f16 numbers become f32 before they are multiplied
    ("dot2", "f32"): Arithmetic("dot2", "f16", "f32"),
}
REDUCED = "reduced"
"""The tier of the kernels for devices that have VK_NV_cooperative_matrix2 in part."""


class Product(Op):
    """A matrix product D[n, m] = sum over k of A[m, k] * B[n, k]."""

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """Every path, accumulator and tuple that was asked for and has a kernel."""
        return select(self.name, request, device)

    def flop(self, cell: Cell) -> float:
        """2 M N K."""
        return 2.0 * cell.axis("m") * cell.axis("n") * cell.axis("k")

    def traffic_bytes(self, program: Program) -> int:
        """Weights and result, and the activations without the rows that fill tiles up."""
        cell, conversion = program.cell, program.conversions["activations"]
        activations = activation_bytes(conversion.form, cell.axis("n"), cell.axis("k"))
        return program.buffer("weights").bytes + activations + program.output.bytes

    def largest_matrix(self, cell: Cell) -> int:
        """The largest of A, B and D."""
        m, n, k = (cell.axis(name) for name in ("m", "n", "k"))
        return max(m * k, n * k, m * n)

    def arithmetics(self, plan: Plan) -> tuple[Arithmetic, ...]:
        """Arithmetics of a cell, by path; coopmat2's matrices span a workgroup, and the peak of a subgroup's may be higher."""
        v = plan.cell.variant
        path, accumulator = v.path or "", v.accumulator or ""
        if path == "intdot":
            return (Arithmetic("intdot", "s8", "s32"),)
        if accumulator == "s32":
            return (Arithmetic("coopmat", "s8", "s32", v.tuple),)
        component = WEIGHT_TYPES[v.type or ""].component
        if path == "coopmat":
            return (Arithmetic("coopmat", component, accumulator, v.tuple),)
        if path == "coopmat2":
            subgroup = Arithmetic("coopmat", component, accumulator)
            return (subgroup,) if plan.kernel.tier == REDUCED else (Arithmetic("coopmat2", component, accumulator), subgroup)
        vectors = _VECTORS.get((path, accumulator))
        return () if vectors is None else (vectors,)
