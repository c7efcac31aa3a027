"""The roofline's two ceilings as cells: copies between memories and multiply-adds from registers, sized for a device.

A peak's M is its workgroups, N the invocations of one, K the multiply-adds of an invocation; a copy's K is its f32 elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from vkprobe import kernels
from vkprobe.bench import coopmat2
from vkprobe.bench.cells import Cell, Shape, tuple_name
from vkprobe.bench.device import Limits, limits
from vkprobe.jobs import Job
from vkprobe.kernels import Kernel
from vkprobe.peak import PAIRS, WIDTHS, WORDS, Matrices, looped
from vkprobe.records import DeviceRecord, KhrTuple
from vkprobe.requirements.choice_vendor import shader_cores
from vkprobe.requirements.facts import has_extension, lookup
from vkprobe.requirements.model import Requirement

TRANSFERS = {"copy_device": ("device", "device"), "copy_to_host": ("device", "readback"), "copy_from_host": ("upload", "device")}
"""Copies that no shader does -> the memories of source and target."""
DEVICE_COPIES = ("copy_shader", "read_shader", "copy_device")
"""Those that never leave the device's memory."""
VECTOR_PEAKS = ("peak_scalar_f32", "peak_scalar_f16", "peak_dot2", "peak_intdot")

_MIB = 1 << 20
_COPIED_BYTES, _COPIED_BYTES_CPU = 256 * _MIB, 8 * _MIB
_UVEC4_BYTES = 16
_COPIED_AT_ONCE, _READ_AT_ONCE = 4, 8  # uvec4 of an invocation
_LOCAL, _LOCAL_CPU = 256, 64
_CORES = 64  # where the device does not tell
_TILES = 4  # of a workgroup at subgroup scope, one a subgroup
_WORKGROUP_LOCAL = 256
_WORKGROUP_SHAPES = ((128, 256, 16), (128, 256, 64), (128, 128, 64))
"""M, N, K of the matrices of workgroup scope."""

# A dispatch is to take some ms: barriers and the last workgroups then weigh little, and a slow device is far from its time-outs.
_VECTOR_GROUPS, _VECTOR_TURNS = 32, 125  # groups a shader core; no multiple of 3 turns, so that the rotation does not end where it began
_VECTOR_GROUPS_CPU, _VECTOR_TURNS_CPU = 16, 8
_MATRIX_GROUPS, _MATRIX_PAIRS = 16, 2048  # pairs of 16x16x16; as many multiply-adds of other shapes
_MATRIX_GROUPS_CPU, _MATRIX_PAIRS_CPU = 8, 32
_WORKGROUP_GROUPS, _WORKGROUP_PAIRS = 2, 2048  # pairs of 128x256x16


class Made(NamedTuple):
    """What resolving a cell of copy or peak gives."""

    kernel: Kernel
    job: Job
    requirement: Requirement
    tile: str
    subgroup_size: int


def copy_cells(device: DeviceRecord) -> list[Cell]:
    """A cell for each kind of copy; all of one size, beyond caches but on CPU devices."""
    shape = Shape(1, 1, _copied_bytes(device) // 4)
    paths = {**dict.fromkeys(DEVICE_COPIES, "scalar-f32"), **dict.fromkeys(TRANSFERS, "transfer")}
    return [Cell(op="copy", path=path, type="f32", accumulator="f32", shape=shape, kernel=name) for name, path in paths.items()]


def _copied_bytes(device: DeviceRecord) -> int:
    """256 MiB, less where the largest heap's eighth or a buffer has less; whole MiB."""
    heaps = [h.bytes // 8 for h in device.heaps or [] if h.device_local]
    range_bytes = lookup(device.properties, "VkPhysicalDeviceProperties", "limits.maxStorageBufferRange")
    allocation = lookup(device.properties, "VkPhysicalDeviceMaintenance3Properties", "maxMemoryAllocationSize")
    wanted = _COPIED_BYTES_CPU if device.type == "cpu" else _COPIED_BYTES
    most = [wanted, *([max(heaps)] if heaps else []), *(int(limit) for limit in (range_bytes, allocation) if limit)]
    return max(1, min(most) // _MIB) * _MIB


def peak_cells(device: DeviceRecord) -> list[Cell]:
    """A cell for each arithmetic of vectors, each cooperative-matrix tuple of subgroup scope, and matrices of workgroup scope.

    Tuples that saturate are left out: they are the same instructions as those that don't. A device without tuples, or without
    workgroup scope, has two cells that say so.
    """
    return [*_vector_cells(device), *_tuple_cells(device), *_workgroup_cells(device)]


def _vector_cells(device: DeviceRecord) -> Iterator[Cell]:
    cpu = device.type == "cpu"
    groups = _VECTOR_GROUPS_CPU if cpu else _VECTOR_GROUPS * _cores(device)
    local = min(_LOCAL_CPU if cpu else _LOCAL, limits(device).workgroup_invocations)
    for name in VECTOR_PEAKS:
        kernel = kernels.kernels()[name]
        k = looped(WIDTHS[kernel.path]) * (_VECTOR_TURNS_CPU if cpu else _VECTOR_TURNS)
        yield _cell(kernel, Shape(groups, local, k), None)


def _cores(device: DeviceRecord) -> int:
    return shader_cores(device) or _CORES


def _cell(kernel: Kernel, shape: Shape, tuple_: str | None) -> Cell:
    return Cell(
        op="peak", path=kernel.path, type=kernel.type, accumulator=kernel.accumulator, shape=shape, tuple=tuple_, kernel=kernel.name
    )


def _tuple_cells(device: DeviceRecord) -> Iterator[Cell]:
    listed = [t for t in device.coopmat.khr or [] if t.scope == "subgroup" and t.c == t.result and not t.saturating]
    found = [cell for t in listed for cell in [_tuple_cell(device, t)] if cell is not None]
    yield from dict.fromkeys(found)
    if not found:
        for accumulator in ("f16", "f32"):
            yield _cell(kernels.kernels()[f"peak_coopmat_f16_f16_{accumulator}"], Shape(1, 1, 1), None)


def _tuple_cell(device: DeviceRecord, t: KhrTuple) -> Cell | None:
    """None where there is no kernel of these types."""
    kernel = kernels.kernels().get(f"peak_coopmat_{t.a}_{t.b}_{t.c}")
    if kernel is None:
        return None
    cpu = device.type == "cpu"
    matrices = _tile_matrices(kernel, (t.m, t.n, t.k), limits(device))
    pairs = max(4, (_MATRIX_PAIRS_CPU if cpu else _MATRIX_PAIRS) * 16**3 // (t.m * t.n * t.k) // 4 * 4)
    groups = _MATRIX_GROUPS_CPU if cpu else _MATRIX_GROUPS * _cores(device)
    return _cell(kernel, Shape(groups, matrices.local, matrices.multiply_adds(pairs)), tuple_name(t))


def _tile_matrices(kernel: Kernel, shape: tuple[int, int, int], known: Limits) -> Matrices:
    m, n, k = shape
    subgroup = max(1, known.subgroup)
    local = max(1, min(_TILES, known.workgroup_invocations // subgroup)) * subgroup
    return Matrices(a=kernel.a, c=kernel.c, m=m, n=n, k=k, tiles=_TILES, side=2, local=local)


def _workgroup_cells(device: DeviceRecord) -> Iterator[Cell]:
    able = _has_workgroup_scope(device)
    for types in ("f16_f16_f16", "f16_f16_f32", *(["bf16_bf16_f32"] if able else [])):
        kernel = kernels.kernels()[f"peak_coopmat2_{types}"]
        for m, n, k in _WORKGROUP_SHAPES if able else _WORKGROUP_SHAPES[:1]:
            matrices = _workgroup_matrices(kernel, (m, n, k))
            pairs = _WORKGROUP_PAIRS * 128 * 256 * 16 // (m * n * k)
            shape = Shape(_WORKGROUP_GROUPS * _cores(device), matrices.local, matrices.multiply_adds(pairs))
            yield _cell(kernel, shape, f"{m}x{n}x{k}")


def _has_workgroup_scope(device: DeviceRecord) -> bool:
    scope = lookup(device.features, "VkPhysicalDeviceCooperativeMatrix2FeaturesNV", "cooperativeMatrixWorkgroupScope")
    return bool(has_extension(device, coopmat2.EXTENSION) and scope)


def _workgroup_matrices(kernel: Kernel, shape: tuple[int, int, int]) -> Matrices:
    m, n, k = shape
    return Matrices(a=kernel.a, c=kernel.c, m=m, n=n, k=k, tiles=1, side=1, local=_WORKGROUP_LOCAL)


def made(cell: Cell, device: DeviceRecord, known: Limits) -> Made:
    """The job of a cell of `copy_cells` or `peak_cells`."""
    assert cell.kernel is not None
    if cell.op == "copy":
        return _transfer(cell) if cell.kernel in TRANSFERS else _copy(cell, known)
    if cell.path in WIDTHS:
        return _vectors(cell, known)
    return _matrices(cell, device, known)


def _job(cell: Cell, kernel: Kernel, constants: tuple[int, ...], groups: int) -> Job:
    return Job(
        op=cell.op,
        kernel=kernel.name,
        path=cell.path,
        type=cell.type,
        accumulator=cell.accumulator,
        m=cell.shape.m,
        n=cell.shape.n,
        k=cell.shape.k,
        hot=cell.op != "copy",  # of a peak there is nothing to keep cold
        constants=list(enumerate(constants)),
        groups=(groups, 1, 1),
    )


def _transfer(cell: Cell) -> Made:
    assert cell.kernel is not None
    name, command = cell.kernel, "vkCmdCopyBuffer"
    kernel = Kernel(
        name=name, op="copy", path=cell.path, type=cell.type, source=command, target="vulkan1.2", capabilities=(), spirv_sha256=""
    )
    source, output = TRANSFERS[name]
    job = msgspec.structs.replace(_job(cell, kernel, (), 1), transfer=True, source_memory=source, output_memory=output)
    return Made(kernel, job, kernels.requirement(kernel), command, 0)


def _copy(cell: Cell, known: Limits) -> Made:
    assert cell.kernel is not None
    kernel, reads = kernels.kernels()[cell.kernel], cell.kernel == "read_shader"
    local = min(_LOCAL, known.workgroup_invocations)
    at_once = _READ_AT_ONCE if reads else _COPIED_AT_ONCE
    groups = 4 * cell.shape.k // (local * at_once * _UVEC4_BYTES)
    job = _job(cell, kernel, (local, at_once), groups)
    if reads:
        job = msgspec.structs.replace(job, output_bytes=4 * groups)
    requirement = kernels.requirement(kernel, workgroup_invocations=local)
    return Made(kernel, job, requirement, f"{local} invocations, {at_once * _UVEC4_BYTES} B each", known.subgroup)


def _vectors(cell: Cell, known: Limits) -> Made:
    assert cell.kernel is not None
    kernel, (groups, local) = kernels.kernels()[cell.kernel], (cell.shape.m, cell.shape.n)
    job = _with_half(_job(cell, kernel, (local,), groups), kernel, known)
    job = msgspec.structs.replace(job, source_bytes=4 * WORDS * local, output_bytes=4 * groups * local)
    requirement = kernels.requirement(kernel, workgroup_invocations=local)
    return Made(kernel, job, requirement, f"{local} invocations, {2 * PAIRS} numbers each", known.subgroup)


def _with_half(job: Job, kernel: Kernel, known: Limits) -> Job:
    half = "Float16" in kernel.capabilities
    return msgspec.structs.replace(job, rounding_f16=half and known.rounding_f16, denormals_f16=half and known.denormals_f16)


def _matrices(cell: Cell, device: DeviceRecord, known: Limits) -> Made:
    assert cell.kernel is not None
    kernel = kernels.kernels()[cell.kernel]
    m, n, k = (int(part) for part in (cell.tuple or "16x16x16").split("x"))  # without a tuple nothing is compiled: it ends unsupported
    workgroup = cell.path == "coopmat2"
    shape = _workgroup_matrices(kernel, (m, n, k)) if workgroup else _tile_matrices(kernel, (m, n, k), known)
    job = _with_half(_job(cell, kernel, (shape.local, m, n, k, shape.tiles), cell.shape.m), kernel, known)
    job = msgspec.structs.replace(
        job,
        activations=kernel.b,
        source_bytes=shape.source_bytes,
        output_bytes=cell.shape.m * shape.output_bytes,
        full_subgroups=not workgroup and known.full_subgroups and shape.local % max(1, known.subgroup) == 0,
    )
    if workgroup:
        tile = coopmat2.MatrixTile(size="", block=shape.local, bm=m, bn=n, bk=k, smaller=False)
        # Without the scope there is no more to tell.
        requirement = coopmat2.requirement(kernel, tile, device) if _has_workgroup_scope(device) else kernels.requirement(kernel)
        words = f"{m}x{n}x{k} {shape.local}"
    else:
        requirement = kernels.requirement(kernel, workgroup_invocations=shape.local)
        words = f"{m}x{n}x{k} 2x2 {shape.local}/{known.subgroup}"
    return Made(kernel, job, requirement, words, known.subgroup)
