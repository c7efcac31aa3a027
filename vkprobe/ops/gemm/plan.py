"""A GEMM's plan: llama.cpp's layout for the path, the kernel that has it, and what that asks of a device."""

from __future__ import annotations

import msgspec

from vkprobe import kernels, ops
from vkprobe.cell import Cell, cell
from vkprobe.kernels import Kernel
from vkprobe.llama.device import Matrix, fold
from vkprobe.llama.layout import GemmLayout, gemm_layout
from vkprobe.llama.split import REDUCE_BLOCK
from vkprobe.llama.tiles import Tile
from vkprobe.ops.gemm.matrices import lacks_matrices, matrices_requirement
from vkprobe.ops.plan import Plan, Target, finished, float_controls, push_words
from vkprobe.ops.products import REDUCED, activation_bytes, f16_tuples
from vkprobe.program import Buffer, Dispatch, Program
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.load import coopmat_tuple
from vkprobe.requirements.model import Requirement, TupleMatch
from vkprobe.weights import Q8_1_ELEMENTS, WEIGHT_TYPES

_ANY_MATRIX = (16, 16, 16)  # nothing is compiled with it: the cell says that the device lists no tuple
_REDUCE = "gemm_reduce"
_REDUCE_PARTS = 4  # of the reduction that `compile --full` makes


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan; on coopmat2 the reduced kernel's if the device lacks part of the extension and has what that kernel uses."""
    v = cell.variant
    kernel = kernels.find(cell.op, v.path or "", v.type or "", v.accumulator or "", tier=v.tier or "mimic")
    if kernel is None:
        raise KeyError(f"no kernel for {cell}")
    full = _plan(cell, target, kernel, _matrix(cell))
    if v.path != "coopmat2":
        return full
    reduced = kernels.find(cell.op, v.path, v.type or "", v.accumulator or "", tier=REDUCED)
    listed = f16_tuples(target.device)
    if reduced is None or not listed or evaluate(target.device, full.requirement).met is not False:
        return full
    instead = _plan(cell, target, reduced, (listed[0].m, listed[0].n, listed[0].k))
    return instead if evaluate(target.device, instead.requirement).met else full


def _matrix(cell: Cell) -> Matrix | None:
    """The cooperative matrix's M, N and K; None on scalar paths."""
    if cell.variant.path != "coopmat":
        return None
    if cell.variant.tuple is None:
        return _ANY_MATRIX
    m, n, k = (int(part) for part in cell.variant.tuple.split("x"))
    return m, n, k


def _plan(cell: Cell, target: Target, kernel: Kernel, matrix: Matrix | None) -> Plan:
    v, m, n, k = cell.variant, *(cell.axis(name) for name in ("m", "n", "k"))
    reduced = kernel.tier == REDUCED
    layout = gemm_layout(target.limits, v.type or "", m, n, k, v.path or "", v.accumulator or "", matrix, reduced=reduced)
    return Plan(
        cell=cell,
        kernel=kernel,
        program=_program(cell, target, kernel, layout),
        requirement=_requirement(cell, target, kernel, layout, matrix),
        tile=str(layout),
        tile_name=layout.tile.size,
        tuple=layout.tile.tuple if isinstance(layout.tile, Tile) else None,
        aligned=layout.aligned,
        subgroup_size=layout.subgroup,
        split_k=layout.split.parts,
        reason=lacks_matrices(cell, target.device) or _longer_than_step(cell) or ops.find(cell.op).ragged(cell),
    )


def _requirement(cell: Cell, target: Target, kernel: Kernel, layout: GemmLayout, matrix: Matrix | None) -> Requirement:
    v = cell.variant
    if v.path == "coopmat2" and kernel.tier != REDUCED:
        return matrices_requirement(kernel, layout.tile, layout.shared_bytes, target.device)  # type: ignore[arg-type]
    tuples: list[TupleMatch] = []
    if matrix is not None:
        component = "s8" if v.accumulator == "s32" else WEIGHT_TYPES[v.type or ""].component
        source = f"the cell's tuple {v.tuple or 'x'.join(map(str, matrix))}"
        tuples.append(coopmat_tuple(*matrix, component, v.accumulator or "", source=source))
    return kernels.requirement(
        kernel, tuples=tuples, shared_memory_bytes=layout.shared_bytes, workgroup_invocations=layout.constants["block"]
    )


def _program(cell: Cell, target: Target, kernel: Kernel, layout: GemmLayout) -> Program:
    v, m, n, k = cell.variant, *(cell.axis(name) for name in ("m", "n", "k"))
    activations, parts = layout.activations, layout.split.parts
    controls, push = float_controls(target.limits), {"m": m, "n": n, "k": k, "part_k": layout.split.part_k}
    key = f"{cell.op}/{v.type}/{m}x{n}x{k}/{activations.form}/{activations.rows}/{parts}"
    product = 4 * m * n
    buffers = [
        weights_buffer(cell),
        Buffer(name="activations", role="input", key=f"{key}/activations", bytes=activation_bytes(activations.form, activations.rows, k)),
        Buffer(name="output", role="output", key=f"{key}/output", bytes=product),
    ]
    written = "output"
    if parts > 1:
        written = "scratch"
        buffers.append(Buffer(name="scratch", role="scratch", key=f"{key}/scratch", bytes=parts * product))
    stages = [
        Dispatch(
            kernel=kernel.name,
            constants=layout.constants,
            push=push_words(kernel, push),
            bindings=("weights", "activations", written),
            groups=layout.groups,
            subgroup_size=layout.subgroups.required,
            full_subgroups=layout.subgroups.full,
            robust=layout.robust,
            float_controls=controls,
        )
    ]
    if parts > 1:
        stages.append(
            Dispatch(
                kernel=_REDUCE,
                constants={"block": REDUCE_BLOCK, "parts": parts},
                push=push_words(kernels.kernels()[_REDUCE], push),
                bindings=("scratch", "scratch", "output"),
                groups=fold(layout.split.reduce_groups(m, n), target.limits),
                robust=True,
                float_controls=controls,
            )
        )
    return Program(
        cell=cell,
        stages=tuple(stages),
        buffers=tuple(buffers),
        conversions={"activations": activations},
        chain=layout.split.part_k,
        staged=True,
    )


def weights_buffer(cell: Cell) -> Buffer:
    """The weights of a product or a dequantisation, shared by every op and N of their shape."""
    v, m, k = cell.variant, cell.axis("m"), cell.axis("k")
    size = m * WEIGHT_TYPES[v.type or ""].row_bytes(k)
    return Buffer(name="weights", role="weights", key=f"weights/{v.type}/{m}x{k}", bytes=size, rotates=v.residency == "cold")


def _longer_than_step(cell: Cell) -> str | None:
    """Why the tuple's K doesn't suit the step along K."""
    matrix, kind = _matrix(cell), cell.variant.type or ""
    row = WEIGHT_TYPES[kind]
    if matrix and cell.variant.accumulator == "s32" and row.q8_1 is not None:
        scaled = Q8_1_ELEMENTS // row.q8_1.int8_scales
        needs = f"needs a tuple with K of at most {scaled}, as many elements as have a scale in {kind}; this one has {matrix[2]}"
        return needs if matrix[2] > scaled else None
    step = row.step_k
    return f"has K = {matrix[2]}, longer than llama.cpp's step along K with {kind} weights, {step}" if matrix and matrix[2] > step else None


def also_compiled(plan: Plan, target: Target) -> list[Plan]:
    """The kernel that sums the products of K's parts, as a pipeline of its own: once, beside the plainest GEMM of f32."""
    v = plan.cell.variant
    if (v.path, v.type) != ("scalar-f32", "f32"):
        return []
    kernel = kernels.kernels()[_REDUCE]
    of = cell(plan.cell.op, dict(plan.cell.axes), path="scalar-f32", type="f32", accumulator="f32")
    stage = Dispatch(
        kernel=kernel.name,
        constants={"block": REDUCE_BLOCK, "parts": _REDUCE_PARTS},
        push=push_words(kernel, dict.fromkeys(kernel.push, 1)),
        bindings=("scratch", "scratch", "output"),
        groups=(1, 1, 1),
        robust=True,
        float_controls=float_controls(target.limits),
    )
    buffers = (
        Buffer(name="scratch", role="scratch", key="reduce/scratch", bytes=16),
        Buffer(name="output", role="output", key="reduce/output", bytes=16),
    )
    reduction = Plan(
        cell=of,
        kernel=kernel,
        program=Program(cell=of, stages=(stage,), buffers=buffers),
        requirement=kernels.requirement(kernel, workgroup_invocations=REDUCE_BLOCK),
        tile=f"{_REDUCE_PARTS} parts",
        aligned=True,
        subgroup_size=target.limits.subgroup,
    )
    return [msgspec.structs.replace(finished(reduction, target, dispatched=False), split_k=1)]
