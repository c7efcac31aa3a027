"""A peak's plan: multiply-adds from registers, as many as its axes say."""

from __future__ import annotations

from vkprobe import kernels
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.llama.matrix_tiles import MatrixTile
from vkprobe.ops.gemm.matrices import lacks_matrices, matrices_requirement
from vkprobe.ops.peak import kernel_of
from vkprobe.ops.peak.shapes import PAIRS, WIDTHS, WORDS, has_workgroup_scope, tile_matrices, workgroup_matrices
from vkprobe.ops.plan import Plan, Target, float_controls, push_words
from vkprobe.program import Buffer, Dispatch, Program


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan."""
    kernel = kernel_of(cell)
    return _vectors(cell, target, kernel) if kernel.path in WIDTHS else _matrices(cell, target, kernel)


def _program(
    cell: Cell, target: Target, kernel: Kernel, constants: dict[str, int], source_bytes: int, output_bytes: int, *, full: bool = False
) -> Program:
    groups, local, multiply_adds = (cell.axis(name) for name in ("workgroups", "invocations", "multiply_adds"))
    half = "Float16" in kernel.capabilities
    stage = Dispatch(
        kernel=kernel.name,
        constants=constants,
        push=push_words(kernel, {"m": groups, "n": local, "k": multiply_adds, "work": multiply_adds}),
        bindings=("source", "output", "output", "source"),
        groups=(groups, 1, 1),
        full_subgroups=full,
        float_controls=float_controls(target.limits) if half else (),
    )
    key = f"peak/{kernel.name}/{groups}x{local}x{multiply_adds}/{source_bytes}"
    buffers = (
        Buffer(name="source", role="input", key=f"{key}/source", bytes=source_bytes),  # there is nothing to keep cold
        Buffer(name="output", role="output", key=f"{key}/output", bytes=output_bytes),
    )
    return Program(cell=cell, stages=(stage,), buffers=buffers)


def _vectors(cell: Cell, target: Target, kernel: Kernel) -> Plan:
    groups, local = cell.axis("workgroups"), cell.axis("invocations")
    return Plan(
        cell=cell,
        kernel=kernel,
        program=_program(cell, target, kernel, {"block": local}, 4 * WORDS * local, 4 * groups * local),
        requirement=kernels.requirement(kernel, workgroup_invocations=local),
        tile=f"{local} invocations, {2 * PAIRS} numbers each",
        aligned=True,
        subgroup_size=target.limits.subgroup,
    )


def _matrices(cell: Cell, target: Target, kernel: Kernel) -> Plan:
    limits, groups = target.limits, cell.axis("workgroups")
    # Without a tuple nothing is compiled: the requirement says that the device lacks it.
    m, n, k = (int(part) for part in (cell.variant.tuple or "16x16x16").split("x"))
    workgroup = cell.variant.path == "coopmat2"
    shape = workgroup_matrices(kernel, (m, n, k)) if workgroup else tile_matrices(kernel, (m, n, k), limits)
    constants = {"block": shape.local, "m": m, "n": n, "k": k, "tiles": shape.tiles}
    full = not workgroup and limits.full_subgroups and shape.local % max(1, limits.subgroup) == 0
    requirement = kernels.requirement(kernel, workgroup_invocations=None if workgroup else shape.local)
    if workgroup and has_workgroup_scope(target.device):  # without the scope there is no more to say
        tile = MatrixTile(size="", block=shape.local, bm=m, bn=n, bk=k, smaller=False)
        requirement = matrices_requirement(kernel, tile, tile.shared_bytes(kernel.type), target.device)
    return Plan(
        cell=cell,
        kernel=kernel,
        program=_program(cell, target, kernel, constants, shape.source_bytes, groups * shape.output_bytes, full=full),
        requirement=requirement,
        tile=f"{m}x{n}x{k} {shape.local}" if workgroup else f"{m}x{n}x{k} 2x2 {shape.local}/{limits.subgroup}",
        tuple=f"{m}x{n}x{k}",
        aligned=True,
        subgroup_size=limits.subgroup,
        reason=lacks_matrices(cell, target.device),
    )
