"""A conversion's plan."""

from __future__ import annotations

import msgspec

from vkprobe import kernels, ops
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.llama.bounds import (
    PLAIN_ROBUST,
    Subgroups,
    conversion_robust,
    conversion_subgroups,
    converts_in_subgroups,
    plain_subgroups,
)
from vkprobe.llama.device import fold
from vkprobe.ops.flat import BLOCK, flat_plan
from vkprobe.ops.plan import Plan, Target, finished, float_controls, push_words
from vkprobe.ops.products import activation_bytes
from vkprobe.program import Buffer, Dispatch
from vkprobe.weights import Q8_1_GROUP_ELEMENTS

_GROUP_INVOCATIONS = 32  # that convert a group of four q8_1 blocks


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan; q8_1's blocks are reduced in subgroups if the device can."""
    form, limits = cell.variant.type or "", target.limits
    reduce = "" if form != "q8_1" else "subgroup" if converts_in_subgroups(limits) else "shared"
    kernel = _kernel(cell, reduce)
    if kernel is None:
        raise KeyError(f"no kernel for {cell}")
    return _plan(cell, target, kernel, conversion_subgroups(limits, form), robust=conversion_robust(limits, form))


def also_compiled(plan: Plan, target: Target) -> list[Plan]:
    """The plan with the kernel that needs no subgroup arithmetic."""
    kernel = _kernel(plan.cell, "shared") if plan.kernel.reduce == "subgroup" else None
    if kernel is None:
        return []
    shared = _plan(plan.cell, target, kernel, plain_subgroups(target.limits, "quantize_q8_1_x4"), robust=PLAIN_ROBUST)
    return [finished(msgspec.structs.replace(shared, tile=f"{shared.tile} shared"), target, dispatched=False)]


def _kernel(cell: Cell, reduce: str) -> Kernel | None:
    v = cell.variant
    return kernels.find(cell.op, v.path or "", v.type or "", "f32", tier=v.tier or "mimic", reduce=reduce)


def _plan(cell: Cell, target: Target, kernel: Kernel, subgroups: Subgroups, *, robust: bool) -> Plan:
    v, n, k = cell.variant, cell.axis("n"), cell.axis("k")
    form, elements = v.type or "", n * k
    invocations = -(-elements // Q8_1_GROUP_ELEMENTS) * _GROUP_INVOCATIONS  # also for the blocks that fill q8_1's last group up
    stage = Dispatch(
        kernel=kernel.name,
        constants={"block": BLOCK},
        push=push_words(kernel, {"m": 1, "n": n, "k": k}),
        bindings=("source", "output", "output"),
        groups=fold(-(-invocations // BLOCK), target.limits),
        subgroup_size=subgroups.required,
        full_subgroups=subgroups.full,
        robust=robust,
        float_controls=float_controls(target.limits),
    )
    key = f"{cell.op}/{form}/{n}x{k}"
    buffers = (
        Buffer(name="source", role="input", key=f"{key}/{kernel.name}/source", bytes=4 * elements, rotates=v.residency == "cold"),
        Buffer(name="output", role="output", key=f"{key}/output", bytes=activation_bytes(form, n, k)),
    )
    return flat_plan(cell, target, kernel, stage, buffers, aligned=elements % 4 == 0, reason=ops.find(cell.op).ragged(cell))
