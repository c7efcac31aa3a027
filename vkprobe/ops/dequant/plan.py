"""A dequantisation's plan."""

from __future__ import annotations

import msgspec

from vkprobe import kernels, ops
from vkprobe.cell import Cell
from vkprobe.llama.bounds import PLAIN_ROBUST, plain_subgroups
from vkprobe.llama.device import fold
from vkprobe.ops.dequant import DECODED_TOGETHER
from vkprobe.ops.flat import BLOCK, flat_plan
from vkprobe.ops.gemm.plan import weights_buffer
from vkprobe.ops.plan import Plan, Target, float_controls, push_words
from vkprobe.program import Buffer, Dispatch


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan: every invocation decodes eight elements."""
    v, m, k = cell.variant, cell.axis("m"), cell.axis("k")
    kernel = kernels.find(cell.op, v.path or "", v.type or "", "f32", tier=v.tier or "mimic")
    if kernel is None:
        raise KeyError(f"no kernel for {cell}")
    subgroups = plain_subgroups(target.limits, f"dequant_{v.type}")
    source = msgspec.structs.replace(weights_buffer(cell), name="source")
    stage = Dispatch(
        kernel=kernel.name,
        constants={"block": BLOCK},
        push=push_words(kernel, {"m": m, "n": 1, "k": k}),
        bindings=("source", "output", "output"),
        groups=fold(-(-m * (k // DECODED_TOGETHER) // BLOCK), target.limits),
        subgroup_size=subgroups.required,
        full_subgroups=subgroups.full,
        robust=PLAIN_ROBUST,
        float_controls=float_controls(target.limits),
    )
    output = Buffer(name="output", role="output", key=f"{cell.op}/{v.type}/{m}x{k}/output", bytes=2 * m * k)
    return flat_plan(cell, target, kernel, stage, (source, output), aligned=True, reason=ops.find(cell.op).ragged(cell))
