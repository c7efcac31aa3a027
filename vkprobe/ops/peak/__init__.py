"""Peak arithmetic: multiply-adds from registers, by vectors and by each cooperative-matrix tuple."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from vkprobe import kernels
from vkprobe.cell import Cell, cell
from vkprobe.device_facts import KhrTuple
from vkprobe.errors import UsageError
from vkprobe.kernels import Kernel
from vkprobe.llama.device import limits, shader_cores
from vkprobe.ops.base import PATHS, Arithmetic, Axis, Op, Request, Scope, rank
from vkprobe.ops.peak.shapes import WIDTHS, WORDS, Matrices, has_workgroup_scope, looped, tile_matrices, workgroup_matrices
from vkprobe.ops.products import tuple_name
from vkprobe.ops.registers import REGISTER_BYTES
from vkprobe.records import DeviceRecord

if TYPE_CHECKING:
    from vkprobe.ops.plan import Plan

VECTOR_PEAKS = ("peak_scalar_f32", "peak_scalar_f16", "peak_dot2", "peak_intdot")

_LOCAL, _LOCAL_CPU = 256, 64
_CORES = 64  # if the device doesn't say
_WORKGROUP_SHAPES = ((128, 256, 16), (128, 256, 64), (128, 128, 64))  # M, N, K of matrices of workgroup scope

# A dispatch takes some ms: barriers and the last workgroups weigh little then, and a slow device stays far from its time-outs.
_VECTOR_GROUPS, _VECTOR_TURNS = 32, 125  # groups a shader core; no multiple of 3 turns, so that the rotation ends elsewhere than it began
_VECTOR_GROUPS_CPU, _VECTOR_TURNS_CPU = 16, 8
_MATRIX_GROUPS, _MATRIX_PAIRS = 16, 2048  # pairs of 16x16x16; other shapes get as many multiply-adds
_MATRIX_GROUPS_CPU, _MATRIX_PAIRS_CPU = 8, 32
_WORKGROUP_GROUPS, _WORKGROUP_PAIRS = 2, 2048  # pairs of 128x256x16


def types_of(kernel: Kernel) -> str:
    """The operands' types as cells have them: `s8`, or `s8,u8` where A's and B's differ."""
    return ",".join(dict.fromkeys(filter(None, (kernel.a, kernel.b)))) or kernel.type


def kernel_of(cell: Cell) -> Kernel:
    """The kernel that multiplies a cell's types."""
    v = cell.variant
    for kernel in kernels.kernels().values():
        if (kernel.op, kernel.path, types_of(kernel), kernel.accumulator) == (cell.op, v.path, v.type, v.accumulator):
            return kernel
    raise KeyError(f"no kernel for {cell}")


class Peak(Op):
    """The roofline's arithmetic."""

    name = "peak"
    title = "What arithmetic delivers: multiply-adds from registers, of vectors and of each cooperative-matrix tuple."
    axes = (
        Axis(name="workgroups", meaning="dispatched"),
        Axis(name="invocations", meaning="of a workgroup"),
        Axis(name="multiply_adds", meaning="of an invocation"),
    )
    variant = ("path", "type", "accumulator", "tuple")
    note = "multiply-adds from registers, as this driver delivers them"
    measure = "flops_per_s"
    ceiling = True

    def axes_of(self, text: str) -> NoReturn:
        """A peak is as large as its device."""
        raise UsageError(f"--shape {text}: peak takes no shape")

    def cells(self, request: Request, device: DeviceRecord) -> list[Cell]:
        """A cell for each arithmetic of vectors, each tuple of subgroup scope, and matrices of workgroup scope.

        Tuples that saturate are left out: they are the same instructions as those that don't. A device without tuples, or
        without workgroup scope, has two cells that say so.
        """
        every = [*_vector_cells(device), *_tuple_cells(device), *_workgroup_cells(device)]
        return [
            one
            for one in dict.fromkeys(every)
            if (not request.paths or one.variant.path in request.paths)
            and (not request.types or (one.variant.type or "").partition(",")[0] in request.types)
        ]

    def defaults(self, device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
        """All of them; `compile` in full only."""
        return [] if scope == "compile" or types else self.cells(Request(paths=paths), device)

    def size(self, cell: Cell) -> str:
        """Nothing: its size follows from the device."""
        return ""

    def cell_name(self, cell: Cell) -> str:
        """Includes the size, which distinguishes two devices' cells."""
        v = cell.variant
        size = "x".join(str(value) for _, value in cell.axes)
        return "/".join(filter(None, (cell.op, v.type, v.path, v.accumulator, v.tuple, size)))

    def sentence(self, cell: Cell) -> str:
        """`peak f16 coopmat acc f32 16x16x16`."""
        v = cell.variant
        return " ".join(filter(None, (cell.op, v.type, v.path, f"acc {v.accumulator}", v.tuple)))

    def row(self, cell: Cell) -> tuple[Any, ...]:
        """The row's label without the size, which follows from the device."""
        v = cell.variant
        return (cell.op, v.type, v.path, v.accumulator)

    def order(self, cell: Cell) -> tuple[Any, ...]:
        """Sort key from the plainest arithmetic to the best."""
        v = cell.variant
        return (rank(PATHS, v.path), v.type or "", v.tuple or "", v.accumulator or "")

    def limits(self, cell: Cell, arithmetics: Collection[Arithmetic]) -> bool:
        """A peak limits cells that multiply with its arithmetic."""
        return any(one.fits(cell) for one in arithmetics)

    def flop(self, cell: Cell) -> float:
        """Two for each multiply-add."""
        return 2.0 * cell.axis("workgroups") * cell.axis("invocations") * cell.axis("multiply_adds")

    def tile_registers(self, plan: Plan, subgroup_size: int | None) -> int | None:
        """Registers for its numbers, the matrices that a subgroup keeps all along, or a workgroup's sums."""
        if plan.cell.variant.path in WIDTHS or plan.program.first is None:
            return WORDS
        c = plan.program.first.constants
        shape = c["m"], c["n"], c["k"]
        if plan.cell.variant.path == "coopmat2":
            return -(-workgroup_matrices(plan.kernel, shape).output_bytes // (REGISTER_BYTES * c["block"]))
        matrices = Matrices(
            a=plan.kernel.a, c=plan.kernel.c, m=shape[0], n=shape[1], k=shape[2], tiles=c["tiles"], side=2, local=c["block"]
        )
        return -(-matrices.source_bytes // c["tiles"] // (REGISTER_BYTES * subgroup_size)) if subgroup_size else None

    def kernel_type(self, cell: Cell) -> str:
        """A's type."""
        return (cell.variant.type or "").partition(",")[0]


def _vector_cells(device: DeviceRecord) -> Iterator[Cell]:
    cpu = device.type == "cpu"
    groups = _VECTOR_GROUPS_CPU if cpu else _VECTOR_GROUPS * _cores(device)
    local = min(_LOCAL_CPU if cpu else _LOCAL, limits(device).workgroup_invocations)
    for name in VECTOR_PEAKS:
        kernel = kernels.kernels()[name]
        turns = _VECTOR_TURNS_CPU if cpu else _VECTOR_TURNS
        yield _cell(kernel, groups, local, looped(WIDTHS[kernel.path]) * turns, None)


def _cores(device: DeviceRecord) -> int:
    return shader_cores(device) or _CORES


def _cell(kernel: Kernel, groups: int, local: int, multiply_adds: int, shape: str | None) -> Cell:
    axes = {"workgroups": groups, "invocations": local, "multiply_adds": multiply_adds}
    return cell("peak", axes, path=kernel.path, type=types_of(kernel), accumulator=kernel.accumulator, tuple=shape)


def _tuple_cells(device: DeviceRecord) -> Iterator[Cell]:
    listed = [t for t in device.coopmat.khr or [] if t.scope == "subgroup" and t.c == t.result and not t.saturating]
    usable = [one for t in listed if (one := _tuple_cell(device, t)) is not None]
    yield from usable
    if not usable:
        for accumulator in ("f16", "f32"):
            yield _cell(kernels.kernels()[f"peak_coopmat_f16_f16_{accumulator}"], 1, 1, 1, None)


def _tuple_cell(device: DeviceRecord, t: KhrTuple) -> Cell | None:
    """The tuple's cell; None if there is no kernel of these types."""
    kernel = kernels.kernels().get(f"peak_coopmat_{t.a}_{t.b}_{t.c}")
    if kernel is None:
        return None
    cpu = device.type == "cpu"
    matrices = tile_matrices(kernel, (t.m, t.n, t.k), limits(device))
    pairs = max(4, (_MATRIX_PAIRS_CPU if cpu else _MATRIX_PAIRS) * 16**3 // (t.m * t.n * t.k) // 4 * 4)
    groups = _MATRIX_GROUPS_CPU if cpu else _MATRIX_GROUPS * _cores(device)
    return _cell(kernel, groups, matrices.local, matrices.multiply_adds(pairs), tuple_name(t))


def _workgroup_cells(device: DeviceRecord) -> Iterator[Cell]:
    able = has_workgroup_scope(device)
    for types in ("f16_f16_f16", "f16_f16_f32", *(["bf16_bf16_f32"] if able else [])):
        kernel = kernels.kernels()[f"peak_coopmat2_{types}"]
        for m, n, k in _WORKGROUP_SHAPES if able else _WORKGROUP_SHAPES[:1]:
            matrices = workgroup_matrices(kernel, (m, n, k))
            pairs = _WORKGROUP_PAIRS * 128 * 256 * 16 // (m * n * k)
            groups = _WORKGROUP_GROUPS * _cores(device)
            yield _cell(kernel, groups, matrices.local, matrices.multiply_adds(pairs), f"{m}x{n}x{k}")


OP = Peak()
