"""A cell on a device: the job that a worker runs, or why there can't be one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from vkprobe import kernels
from vkprobe.bench import coopmat2, intdot, peaks
from vkprobe.bench.cells import Cell, f16_tuples
from vkprobe.bench.device import Limits, limits, switches_bounds_checks
from vkprobe.bench.tiles import gemm_aligned, gemm_tile, gemv_rows, step_along_k
from vkprobe.footprint import footprint
from vkprobe.jobs import Job, Stage
from vkprobe.records import DeviceRecord
from vkprobe.requirements.choice_tiles import part_length, split_k
from vkprobe.requirements.choice_vendor import shader_cores
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.load import coopmat_tuple
from vkprobe.requirements.model import Missing, Requirement
from vkprobe.weights import WEIGHT_TYPES

_DEQUANT_BLOCK = 256
_CONVERT_BLOCK = 256
_REDUCE_BLOCK = 256
_REDUCED_AT_ONCE = 4  # elements that an invocation of the reduction sums
_INDICES = 1 << 31
_MIMICS = ("gemm", "gemv", "dequant", "convert")
"""Ops that stand for llama.cpp's; the others are the device's ceilings."""


class Resolved(Struct, frozen=True, kw_only=True):
    """A cell with all choices made.

    Attributes:
        tile: in words, as records have it: with the kernel's name and the subgroup size all that tells a device's pipelines apart.
        split_k: over how many workgroups K is split.
        robust: whether the pipeline's buffer accesses are bounds-checked; None where there is no pipeline.
        reason: why the device can't run it; None where it can.
    """

    cell: Cell
    kernel: kernels.Kernel
    job: Job
    requirement: Requirement
    tile: str
    aligned: bool
    subgroup_size: int
    split_k: int = 1
    robust: bool | None = None
    reason: str | None = None

    @property
    def spirv_sha(self) -> str | None:
        """The module's hash as records have it; None where there is no module."""
        return self.kernel.spirv_sha256 or None

    @property
    def float_controls(self) -> tuple[str, ...]:
        """The job's, as records have them."""
        return self.job.float_controls


def resolve(cells: Sequence[Cell], device: DeviceRecord, *, dispatched: bool = True) -> list[Resolved]:
    """Every cell's job on `device`, in order; one that is only compiled need not fit the device's buffers and grids."""
    target = Target(device=device, limits=limits(device), cores=shader_cores(device) or 0)
    return [_resolve(cell, target, dispatched) for cell in cells]


class Target(Struct, frozen=True, kw_only=True):
    """A device and what choices follow from; `cores` is the shader core count, 0 where it is not told."""

    device: DeviceRecord
    limits: Limits
    cores: int


def in_words(missing: Sequence[Missing]) -> str:
    """What is missing, for a cell's reason."""
    told = []
    for m in missing:
        if m.kind == "tuple":  # its name says all that is needed
            have = str(m.have)
            told.append(f"{m.name}; the device {'has' if have.startswith('no ') else 'lists'} {have}" if m.have else m.name)
        else:
            told.append(m.name if m.have in (None, False) else f"{m.name} (needs {m.need}, has {m.have})")
    return "needs " + "; ".join(told)


def _resolve(cell: Cell, target: Target, dispatched: bool) -> Resolved:
    device = target.device
    resolved = _RESOLVERS[cell.op](cell, target)
    reason = _without_tuple(cell, device)
    if reason is None and dispatched:
        reason = _unfit(resolved.job, device) or _too_wide(resolved.job, device)
    if reason is None:
        gap = evaluate(device, resolved.requirement)
        if gap.met is not True:
            reason = in_words(gap.missing)
    return msgspec.structs.replace(with_bounds_checks(resolved, device), reason=reason)


def with_bounds_checks(resolved: Resolved, device: DeviceRecord) -> Resolved:
    """The cell with bounds checks where llama.cpp has them, and where the device can't do without."""
    job = msgspec.structs.replace(resolved.job, robust=_robust(resolved, device))
    robust = None if job.transfer else job.robust or not switches_bounds_checks(device)
    return msgspec.structs.replace(resolved, job=job, robust=robust)


def _without_tuple(cell: Cell, device: DeviceRecord) -> str | None:
    """Why there is no cooperative matrix for a cell that needs one."""
    if cell.path == "coopmat2" and has_extension(device, coopmat2.EXTENSION) is False:
        return f"needs {coopmat2.EXTENSION}, which the device does not list"
    if cell.path != "coopmat":
        return None
    matrix, step = _matrix(cell), step_along_k(cell.type)
    if matrix is not None and matrix[2] > step:
        return f"has K = {matrix[2]}, longer than llama.cpp's step along K with {cell.type} weights, {step}"
    if cell.tuple is not None:
        return None
    if device.coopmat.khr is None:
        return "the device's cooperative-matrix tuples are unknown"
    return "needs VK_KHR_cooperative_matrix with an f16 tuple of subgroup scope; the device lists none"


def _unfit(job: Job, device: DeviceRecord) -> str | None:
    """Why the job's buffers don't fit the device."""
    sizes = footprint(job)
    most = device.properties.get("VkPhysicalDeviceProperties", {}).get("limits", {}).get("maxStorageBufferRange")
    biggest = max(sizes.source, sizes.activations, sizes.scratch, sizes.output)
    if most is not None and biggest > most:
        return f"needs a storage buffer range of {biggest} B; maxStorageBufferRange is {most} B"
    allocation = lookup(device.properties, "VkPhysicalDeviceMaintenance3Properties", "maxMemoryAllocationSize")
    if allocation is not None and biggest > allocation:
        return f"needs a buffer of {biggest} B; maxMemoryAllocationSize is {allocation} B"
    if job.op in ("gemm", "gemv", "dequant", "convert"):
        elements = max(job.m * job.k, job.n * job.k, job.m * job.n)
        if elements > _INDICES:
            return f"has a matrix of {elements} elements, beyond the kernels' 32-bit indices"
    return None


def _too_wide(job: Job, device: DeviceRecord) -> str | None:
    """Why the job's grid is beyond what the device dispatches at once."""
    most = device.properties.get("VkPhysicalDeviceProperties", {}).get("limits", {}).get("maxComputeWorkGroupCount")
    if most is not None and any(groups > limit for groups, limit in zip(job.groups, most, strict=True)):
        grid = "x".join(map(str, job.groups))
        return f"needs a dispatch of {grid} workgroups; maxComputeWorkGroupCount is {'x'.join(map(str, most))}"
    return None


def _fold(groups: int, known: Limits) -> tuple[int, int, int]:
    """A one-dimensional grid, folded to y where it is wider than the device takes."""
    x = min(groups, known.max_groups_x)
    return x, -(-groups // x), 1


def _kernel(cell: Cell, reduce: str = "") -> kernels.Kernel:
    found = kernels.find(cell.op, cell.path, cell.type, cell.accumulator, tier=cell.tier, reduce=reduce)
    assert found is not None, cell
    return found


def _job(
    cell: Cell,
    kernel: kernels.Kernel,
    known: Limits,
    constants: list[tuple[int, int]],
    groups: tuple[int, int, int],
    *,
    subgroup_size: int | None = None,
    full_subgroups: bool = False,
) -> Job:
    return Job(
        op=cell.op,
        kernel=kernel.name,
        path=cell.path,
        type=cell.type,
        accumulator=cell.accumulator,
        m=cell.shape.m,
        n=cell.shape.n,
        k=cell.shape.k,
        hot=cell.residency == "hot",
        constants=constants,
        groups=groups,
        subgroup_size=subgroup_size,
        full_subgroups=full_subgroups,
        rounding_f16=known.rounding_f16,  # of every module, as llama.cpp does: compilers may treat f32 in another way then, too
        denormals_f16=known.denormals_f16,
    )


def _robust(resolved: Resolved, device: DeviceRecord) -> bool:
    """Whether llama.cpp leaves a pipeline's buffer accesses bounds-checked.

    It enables whatever feature there is, robustBufferAccess too, and switches it off, where the device lists the extension for that, for
    coopmat2, GEMVs of quantised weights and q8_1 made in subgroups. The reduced coopmat2 stages A as other GEMMs do, unchecked rows beyond
    M with it.

    Source: llama.cpp@0c1e570 ggml-vulkan.cpp:4472, 4765 (features), 4054, 747 (switch), 2287-2310 (coopmat2), 2394-2604 (other GEMMs),
    2927-3007 (GEMVs), 3237-3240 (q8_1).
    """
    cell = resolved.cell
    if cell.op not in _MIMICS:
        return False
    if not has_extension(device, "VK_EXT_pipeline_robustness"):
        return True
    if cell.op == "gemv":
        return not WEIGHT_TYPES[cell.type].quantised
    if cell.op == "convert" and cell.type == "q8_1":
        return resolved.kernel.reduce != "subgroup"
    return cell.path != "coopmat2" or resolved.kernel.tier == coopmat2.REDUCED


def _gemm(cell: Cell, target: Target) -> Resolved:
    """A GEMM: coopmat2 or intdot where that is asked for, else of matrices staged through shared memory."""
    if cell.path == "coopmat2":
        return _coopmat2(cell, target)
    if cell.path == "intdot":
        return _intdot(cell, target)
    return _staged(cell, target, _kernel(cell), _matrix(cell))


def _staged(cell: Cell, target: Target, kernel: kernels.Kernel, matrix: tuple[int, int, int] | None) -> Resolved:
    """A GEMM staged through shared memory: scalar paths, coopmat and what stands in for coopmat2."""
    shape, known = cell.shape, target.limits
    tile = gemm_tile(known, cell.path, cell.accumulator, shape.m, shape.n, matrix, bk=step_along_k(cell.type))
    aligned = gemm_aligned(tile, shape.m, shape.n, shape.k)
    tuples = []
    if matrix is not None:
        component = "bf16" if cell.type == "bf16" else "f16"
        tuples.append(
            coopmat_tuple(*matrix, component, cell.accumulator, source=f"the cell's tuple {cell.tuple or 'x'.join(map(str, matrix))}")
        )
    reduced = cell.path == "coopmat2"
    requirement = kernels.requirement(
        kernel,
        tuples=tuples,
        shared_memory_bytes=coopmat2.reduced_bytes(tile.bm) if reduced else tile.shared_bytes(cell.path, cell.accumulator),
        workgroup_invocations=tile.block,
    )
    groups = (-(-shape.m // tile.bm), -(-shape.n // tile.bn), 1)
    full = matrix is not None and known.full_subgroups
    job = _job(cell, kernel, known, tile.constants(aligned), groups, full_subgroups=full)
    if reduced or (cell.path == "coopmat" and WEIGHT_TYPES[cell.type].quantised):
        job = _with_converted(job, tile.bn)
    elif cell.type == "bf16":
        job = msgspec.structs.replace(job, activations="bf16")  # llama.cpp converts them before any GEMM of bf16 weights
    job = split(job, tile.bm, tile.bn, target)
    return Resolved(
        cell=cell,
        kernel=kernel,
        job=job,
        requirement=requirement,
        tile=_words(str(tile), aligned),
        aligned=aligned,
        subgroup_size=tile.warp,
        split_k=job.parts,
    )


def _intdot(cell: Cell, target: Target) -> Resolved:
    """A GEMM of q8_1 activations."""
    shape, kernel, known = cell.shape, _kernel(cell), target.limits
    tile = intdot.gemm_tile(known, cell.type, shape.m, shape.n)
    required = intdot.required_subgroup(known)
    requirement = kernels.requirement(kernel, shared_memory_bytes=intdot.shared_bytes(tile, cell.type), workgroup_invocations=tile.block)
    groups = (-(-shape.m // tile.bm), -(-shape.n // tile.bn), 1)
    job = _job(cell, kernel, known, tile.constants(True), groups, subgroup_size=required)
    job = split(msgspec.structs.replace(job, activations="q8_1"), tile.bm, tile.bn, target)
    return Resolved(
        cell=cell,
        kernel=kernel,
        job=job,
        requirement=requirement,
        tile=str(tile),
        aligned=True,
        subgroup_size=required or known.subgroup,
        split_k=job.parts,
    )


def _coopmat2(cell: Cell, target: Target) -> Resolved:
    """The kernel of the whole extension; where the device lacks some of it and has what the reduced kernel uses, that one."""
    full = _whole_coopmat2(cell, target)
    reduced = kernels.find(cell.op, cell.path, cell.type, cell.accumulator, tier=coopmat2.REDUCED)
    listed = f16_tuples(target.device)
    if reduced is None or not listed or evaluate(target.device, full.requirement).met is not False:
        return full
    instead = _staged(cell, target, reduced, (listed[0].m, listed[0].n, listed[0].k))
    return instead if evaluate(target.device, instead.requirement).met else full


def _whole_coopmat2(cell: Cell, target: Target) -> Resolved:
    shape, kernel = cell.shape, _kernel(cell)
    tile = coopmat2.matrix_tile(cell.type, shape.m, shape.n, target.cores)
    aligned = coopmat2.rows_aligned(shape.k)
    groups = (-(-shape.m // tile.bm), -(-shape.n // tile.bn), 1)
    job = _job(cell, kernel, target.limits, tile.constants(aligned), groups)
    job = split(_with_converted(job, tile.bn), tile.bm, tile.bn, target)
    return Resolved(
        cell=cell,
        kernel=kernel,
        job=job,
        requirement=coopmat2.requirement(kernel, tile, target.device),
        tile=_words(str(tile), aligned),
        aligned=aligned,
        subgroup_size=target.limits.subgroup,
        split_k=job.parts,
    )


def _with_converted(job: Job, bn: int) -> Job:
    """`job` with the activations that llama.cpp converts for coopmat2, and for coopmat where weights are quantised: of the matrices' own
    type, rows padded to whole tiles.

    Source: llama.cpp@0c1e570 ggml-vulkan.cpp:6322-6328, 6360. b10249 has f32 activations for coopmat.
    """
    return msgspec.structs.replace(job, activations="bf16" if job.type == "bf16" else "f16", padded_n=job.groups[1] * bn)


def split(job: Job, bm: int, bn: int, target: Target) -> Job:
    """`job` with K split as llama.cpp splits it where its tiles of `bm` x `bn` leave much of the device idle."""
    parts = split_k(bm, bn, job.m, job.n, job.k, target.cores)
    if parts == 1:
        return job
    invocations = -(-job.m * job.n // _REDUCED_AT_ONCE)
    groups = _fold(-(-invocations // _REDUCE_BLOCK), target.limits)
    return msgspec.structs.replace(
        job,
        parts=parts,
        part_k=part_length(job.k, parts),
        groups=(job.groups[0], job.groups[1], parts),
        reduce=Stage(kernel="gemm_reduce", constants=[(0, _REDUCE_BLOCK), (1, parts)], groups=groups),
    )


def _words(tile: str, aligned: bool) -> str:
    return tile if aligned else f"{tile} unaligned"


def _matrix(cell: Cell) -> tuple[int, int, int] | None:
    if cell.path != "coopmat":
        return None
    if cell.tuple is None:
        return 16, 16, 16  # nothing is compiled with it: the cell ends unsupported
    m, n, k = (int(part) for part in cell.tuple.split("x"))
    return m, n, k


def _gemv(cell: Cell, target: Target) -> Resolved:
    shape, known, of_q8_1 = cell.shape, target.limits, cell.path == "intdot"
    rows = (intdot.gemv_rows if of_q8_1 else gemv_rows)(known, cell.type, shape.m, shape.k)
    kernel = _kernel(cell, rows.reduce)
    aligned = of_q8_1 or shape.k % 4 == 0
    requirement = kernels.requirement(kernel, workgroup_invocations=rows.block, shared_memory_bytes=rows.shared_bytes(shape.n))
    groups = _fold(-(-shape.m // rows.rows), known)
    full = rows.reduce == "subgroup" and known.full_subgroups
    job = _job(cell, kernel, known, rows.constants(shape.n), groups, subgroup_size=rows.required, full_subgroups=full)
    if of_q8_1:
        job = msgspec.structs.replace(job, activations="q8_1")
    tile = f"n{shape.n} {rows}"  # one pipeline for any K
    return Resolved(cell=cell, kernel=kernel, job=job, requirement=requirement, tile=tile, aligned=aligned, subgroup_size=rows.subgroup)


def _flat(cell: Cell, kernel: kernels.Kernel, job: Job, block: int, known: Limits, *, aligned: bool) -> Resolved:
    """A cell without a tile: elements one after the other, in workgroups of `block` invocations."""
    return Resolved(
        cell=cell,
        kernel=kernel,
        job=job,
        requirement=kernels.requirement(kernel, workgroup_invocations=block),
        tile=f"{block} invocations",
        aligned=aligned,
        subgroup_size=known.subgroup,
    )


def _dequant(cell: Cell, target: Target) -> Resolved:
    kernel, known = _kernel(cell), target.limits
    chunks = cell.shape.m * (cell.shape.k // 8)
    job = _job(cell, kernel, known, [(0, _DEQUANT_BLOCK)], _fold(-(-chunks // _DEQUANT_BLOCK), known))
    return _flat(cell, kernel, job, _DEQUANT_BLOCK, known, aligned=True)


def _convert(cell: Cell, target: Target) -> Resolved:
    known, elements = target.limits, cell.shape.n * cell.shape.k
    # Eight neighbours share a block: they are neighbours in a subgroup only where its size is the one that the shader is told.
    sized = known.full_subgroups or known.required_sizes is not None
    clusters = cell.type == "q8_1" and known.clusters and sized
    kernel = _kernel(cell, ("subgroup" if clusters else "shared") if cell.type == "q8_1" else "")
    invocations = -(-elements // 128) * 32  # also for the blocks that fill q8_1's last group of four up
    job = _job(cell, kernel, known, [(0, _CONVERT_BLOCK)], _fold(-(-invocations // _CONVERT_BLOCK), known))
    if clusters:
        required = known.subgroup if known.required_sizes else None
        job = msgspec.structs.replace(job, subgroup_size=required, full_subgroups=known.full_subgroups)
    return _flat(cell, kernel, job, _CONVERT_BLOCK, known, aligned=elements % 4 == 0)


def _ceiling(cell: Cell, target: Target) -> Resolved:
    """A copy or a peak."""
    return Resolved(cell=cell, aligned=True, **peaks.made(cell, target.device, target.limits)._asdict())


_RESOLVERS: dict[str, Callable[[Cell, Target], Resolved]] = {
    "gemm": _gemm,
    "gemv": _gemv,
    "dequant": _dequant,
    "convert": _convert,
    "copy": _ceiling,
    "peak": _ceiling,
}
"""What makes the choices of each op."""
