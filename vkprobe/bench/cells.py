"""Cells: what is to be measured on a device, before any choice that depends on the device's details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from vkprobe import kernels
from vkprobe.records import DeviceRecord, KhrTuple
from vkprobe.weights import WEIGHT_TYPES

OPS = ("gemm", "gemv", "dequant", "convert")
PATHS = ("scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2")
TYPES = tuple(WEIGHT_TYPES)
CONVERTED = ("f16", "bf16", "q8_1")
"""What activations are converted to."""
ACCUMULATORS = ("f16", "f32")


class Shape(Struct, frozen=True):
    """M weight rows, N tokens, K reduction; a dequant has N = 1, a convert M = 1."""

    m: int
    n: int
    k: int

    def __str__(self) -> str:
        return f"{self.m}x{self.n}x{self.k}"


class Cell(Struct, frozen=True, kw_only=True):
    """One op of one kernel path and shape; `tuple` names a cooperative-matrix shape as `16x16x16`, None where there is none.

    `kernel` is named for copy and peak, which path and types do not tell apart.
    """

    op: str
    path: str
    type: str
    accumulator: str
    shape: Shape
    tuple: str | None = None
    residency: Literal["cold", "hot"] = "cold"
    tier: str = "mimic"
    kernel: str | None = None

    def __str__(self) -> str:
        if self.kernel is not None:
            return " ".join(filter(None, [self.kernel, self.tuple]))
        parts = [self.op, self.type, self.path, str(self.shape)]
        if self.path != "scalar-f32":
            parts.insert(3, f"acc {self.accumulator}")
        if self.tuple:
            parts.insert(3, self.tuple)
        return " ".join(parts)


class Selection(Struct, frozen=True, kw_only=True):
    """What a command line asks for; empty means all that there is.

    Attributes:
        accumulators: `default` for llama.cpp's, or names.
        tuples: `default` for the one that llama.cpp would take, `all` for each advertised one, or names (`16x8x16`).
    """

    op: str
    shapes: Sequence[Shape]
    types: Sequence[str] = ()
    paths: Sequence[str] = ()
    accumulators: Sequence[str] = ()
    tuples: Sequence[str] = ("default",)
    hot: bool = False


def f16_tuples(device: DeviceRecord, component: str = "f16") -> list[KhrTuple]:
    """The f16 (or bf16) tuples of subgroup scope that a GEMM can use, in the driver's order."""
    return [
        t
        for t in device.coopmat.khr or []
        if t.a == t.b == component and t.c == t.result and t.c in ACCUMULATORS and t.scope == "subgroup" and not t.saturating
    ]


def tuple_name(t: KhrTuple) -> str:
    """A tuple's shape as records have it."""
    return f"{t.m}x{t.n}x{t.k}"


def _tuples(device: DeviceRecord, weight_type: str, accumulator: str, wanted: Sequence[str]) -> list[str | None]:
    """The shapes to measure with this accumulator; [None] where the device lists none, so that the cell says so.

    llama.cpp takes the shape of the first f16 tuple with an f16 or f32 accumulator, for bf16 too.
    Source: llama.cpp@b10249 ggml-vulkan.cpp:6644.
    """
    listed = f16_tuples(device)
    names: list[str | None] = []
    for name in wanted:
        if name == "all":
            own = f16_tuples(device, "bf16") if weight_type == "bf16" else listed
            names += [tuple_name(t) for t in own if t.c == accumulator]
        elif name == "default":
            names += [tuple_name(listed[0])] if listed else []
        else:
            names.append(name)
    return list(dict.fromkeys(names)) or [None]


def cells(selection: Selection, device: DeviceRecord) -> Iterable[Cell]:
    """The cells of a selection on a device, those that it can't run included: they will say why."""
    for shape in selection.shapes:
        for weight_type in selection.types or (CONVERTED if selection.op == "convert" else TYPES):
            for path in selection.paths or PATHS:
                for accumulator in _accumulators(selection, path, weight_type):
                    if not _exists(selection.op, path, weight_type, accumulator):
                        continue
                    for name in _tuples(device, weight_type, accumulator, selection.tuples) if path == "coopmat" else [None]:
                        yield Cell(
                            op=selection.op,
                            path=path,
                            type=weight_type,
                            accumulator=accumulator,
                            shape=shape,
                            tuple=name,
                            residency="hot" if selection.hot else "cold",
                        )


def default_accumulator(path: str, weight_type: str) -> str:
    """The one that llama.cpp takes: f16 for f16 and quantised weights on paths that have it.

    >>> default_accumulator("coopmat", "q4_0"), default_accumulator("coopmat2", "bf16"), default_accumulator("intdot", "q4_0")
    ('f16', 'f32', 'f32')
    """
    return "f16" if path in ("scalar-f16", "coopmat", "coopmat2") and weight_type not in ("f32", "bf16") else "f32"


def _accumulators(selection: Selection, path: str, weight_type: str) -> Sequence[str]:
    named = [default_accumulator(path, weight_type) if name == "default" else name for name in selection.accumulators]
    return list(dict.fromkeys(named)) or ACCUMULATORS


def _exists(op: str, path: str, weight_type: str, accumulator: str) -> bool:
    return any(kernels.find(op, path, weight_type, accumulator, reduce=reduce) is not None for reduce in ("", "subgroup"))
