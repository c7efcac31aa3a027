"""Which pipelines `compile` makes on a device: those of the main job, or of every kernel that the device could take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from vkprobe import kernels
from vkprobe.bench.cells import Cell, Shape
from vkprobe.bench.compiling import by_pipeline, compile_cells
from vkprobe.bench.device import limits
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.resolve import Resolved, resolve, with_bounds_checks
from vkprobe.jobs import Job
from vkprobe.records import DeviceRecord

_COLUMNS = (1, 8)  # enough of kernels that no device takes which has better ones
_PARTS = 4
_REDUCE = "gemm_reduce"
_REDUCE_BLOCK = 256


def compile_plan(device: DeviceRecord, *, full: bool, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Resolved]:
    """One cell of each pipeline, those that the device can't run included; arguments as `compile_cells` has them.

    `full` adds what no cell of a GEMM or GEMV leads to: copies and peaks, the sum of a split K, and the kernels that reduce
    through shared memory, for devices without subgroup arithmetic (of GEMVs those for N = 1 and 8).
    """
    resolved = resolve(compile_cells(device, full=full, types=types, paths=paths), device, dispatched=False)
    if full:
        resolved += [shared for one in resolved for shared in _through_shared_memory(one, device)]
        if not types:
            resolved += [one for one in resolve(_ceilings(device, paths), device, dispatched=False) if not one.job.transfer]
            resolved += _sum_of_parts(device) if not paths or "scalar-f32" in paths else []
    return [group[0] for group in by_pipeline(resolved)]


def _ceilings(device: DeviceRecord, paths: Sequence[str]) -> list[Cell]:
    return [cell for cell in (*copy_cells(device), *peak_cells(device)) if not paths or cell.path in paths]


def _through_shared_memory(one: Resolved, device: DeviceRecord) -> Iterator[Resolved]:
    """The cell with the kernel that needs no subgroup arithmetic, where there is one."""
    if one.kernel.reduce != "subgroup" or (one.cell.op == "gemv" and one.cell.shape.n not in _COLUMNS):
        return
    kernel = kernels.find(one.cell.op, one.cell.path, one.cell.type, one.cell.accumulator, tier=one.cell.tier, reduce="shared")
    if kernel is None:
        return
    words = [word for word in one.tile.split() if word not in ("subgroup", "hybrid")]
    block = one.job.constants[0][1]
    shared = msgspec.structs.replace(
        one,
        kernel=kernel,
        job=msgspec.structs.replace(one.job, kernel=kernel.name),
        requirement=kernels.requirement(kernel, workgroup_invocations=block),
        tile=" ".join([*words, "shared"]),
        reason=None,
    )
    yield with_bounds_checks(shared, device)


def _sum_of_parts(device: DeviceRecord) -> list[Resolved]:
    """The kernel that sums the products of K's parts, as a pipeline of its own."""
    kernel = kernels.kernels()[_REDUCE]
    known = limits(device)
    cell = Cell(op="reduce", path="scalar-f32", type="f32", accumulator="f32", shape=Shape(4096, 512, 14336))
    job = Job(
        op=cell.op,
        kernel=kernel.name,
        path=cell.path,
        type=cell.type,
        accumulator=cell.accumulator,
        m=cell.shape.m,
        n=cell.shape.n,
        k=cell.shape.k,
        hot=False,
        constants=[(0, _REDUCE_BLOCK), (1, _PARTS)],
        groups=(1, 1, 1),
        rounding_f16=known.rounding_f16,
        denormals_f16=known.denormals_f16,
        robust=True,
    )
    requirement = kernels.requirement(kernel, workgroup_invocations=_REDUCE_BLOCK)
    return [
        Resolved(
            cell=cell,
            kernel=kernel,
            job=job,
            requirement=requirement,
            tile=f"{_PARTS} parts",
            aligned=True,
            subgroup_size=known.subgroup,
            robust=True,
        )
    ]
