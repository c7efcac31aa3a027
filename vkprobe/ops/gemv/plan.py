"""A GEMV's plan: llama.cpp's workgroup for the rows and columns, and the kernel that reduces its way."""

from __future__ import annotations

from msgspec.structs import replace

from vkprobe import kernels, ops
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.llama.device import fold
from vkprobe.llama.layout import GemvLayout, gemv_layout
from vkprobe.ops.gemm.plan import weights_buffer
from vkprobe.ops.plan import Plan, Target, finished, float_controls, push_words
from vkprobe.ops.products import activation_bytes
from vkprobe.program import Buffer, Dispatch, Program

_COLUMNS = (1, 8)  # enough of kernels that a device takes only if it has no better ones


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan."""
    layout = _layout(cell, target)
    kernel = _kernel(cell, layout.rows.reduce)
    if kernel is None:
        raise KeyError(f"no kernel for {cell}")
    return _plan(cell, target, kernel, layout, layout.rows.reduce)


def _layout(cell: Cell, target: Target) -> GemvLayout:
    v = cell.variant
    m, n, k = (cell.axis(name) for name in ("m", "n", "k"))
    return gemv_layout(target.limits, v.type or "", m, n, k, v.path or "")


def _kernel(cell: Cell, reduce: str) -> Kernel | None:
    v = cell.variant
    return kernels.find(cell.op, v.path or "", v.type or "", v.accumulator or "", tier=v.tier or "mimic", reduce=reduce)


def _plan(cell: Cell, target: Target, kernel: Kernel, layout: GemvLayout, reduce: str) -> Plan:
    v, m, n, k = cell.variant, *(cell.axis(name) for name in ("m", "n", "k"))
    form, rows = layout.activations.form, layout.activations.rows
    in_subgroups = reduce == layout.rows.reduce
    key = f"{cell.op}/{v.type}/{m}x{n}x{k}/{form}"
    stage = Dispatch(
        kernel=kernel.name,
        constants=layout.constants,
        push=push_words(kernel, {"m": m, "n": n, "k": k, "part_k": k, "stride_b": k}),
        bindings=("weights", "activations", "output"),
        groups=fold(layout.groups, target.limits),
        subgroup_size=layout.subgroups.required,
        full_subgroups=layout.subgroups.full and in_subgroups,
        robust=layout.robust,
        float_controls=float_controls(target.limits),
    )
    program = Program(
        cell=cell,
        stages=(stage,),
        buffers=(
            weights_buffer(cell),
            Buffer(name="activations", role="input", key=f"{key}/activations", bytes=activation_bytes(form, rows, k)),
            Buffer(name="output", role="output", key=f"{key}/output", bytes=4 * m * n),
        ),
        conversions={"activations": layout.activations},
        chain=k,
    )
    shared = layout.shared_bytes if in_subgroups else 4 * n * layout.rows.rows * layout.rows.block
    return Plan(
        cell=cell,
        kernel=kernel,
        program=program,
        requirement=kernels.requirement(kernel, workgroup_invocations=layout.rows.block, shared_memory_bytes=shared),
        tile=str(replace(layout, rows=replace(layout.rows, reduce=reduce))),
        tile_name=f"n{n}",
        subgroups=layout.rows.block // layout.rows.subgroup,
        aligned=layout.aligned,
        subgroup_size=layout.subgroup,
        reason=ops.find(cell.op).ragged(cell),
    )


def also_compiled(plan: Plan, target: Target) -> list[Plan]:
    """The plan with the kernel that needs no subgroup arithmetic, for one and for eight columns."""
    if plan.kernel.reduce != "subgroup" or plan.cell.axis("n") not in _COLUMNS:
        return []
    kernel = _kernel(plan.cell, "shared")
    if kernel is None:
        return []
    return [finished(_plan(plan.cell, target, kernel, _layout(plan.cell, target), "shared"), target, dispatched=False)]
