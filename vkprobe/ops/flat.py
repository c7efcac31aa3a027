"""Plans of ops without a tile: elements one after the other, in workgroups of one size."""

from __future__ import annotations

from vkprobe import kernels
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.ops.plan import Plan, Target
from vkprobe.program import Buffer, Dispatch, Program

BLOCK = 256
"""Invocations of a workgroup."""


def flat_plan(
    cell: Cell, target: Target, kernel: Kernel, stage: Dispatch, buffers: tuple[Buffer, ...], *, aligned: bool, reason: str | None = None
) -> Plan:
    """The plan of one dispatch of `kernel`."""
    return Plan(
        cell=cell,
        kernel=kernel,
        program=Program(cell=cell, stages=(stage,), buffers=buffers),
        requirement=kernels.requirement(kernel, workgroup_invocations=BLOCK),
        tile=f"{BLOCK} invocations",
        aligned=aligned,
        subgroup_size=target.limits.subgroup,
        reason=reason,
    )
