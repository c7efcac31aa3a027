"""Kernels of cooperative-matrix features, in shapes that the device itself lists: flexible ones, else KHR tuples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from vkprobe import kernels
from vkprobe.device_facts import FlexibleTuple
from vkprobe.llama.device import limits
from vkprobe.ops.plan import in_words
from vkprobe.protocol import FeatureStep, TupleJob
from vkprobe.records import DeviceRecord
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import lookup
from vkprobe.requirements.model import Requirement
from vkprobe.session.ladder import Climb, flexible

_NV_PROPERTIES = "VkPhysicalDeviceCooperativeMatrix2PropertiesNV"


class Part(NamedTuple):
    """One kernel of a feature, what it asks of the device, and what its plain equivalent does."""

    step: FeatureStep
    requirement: Requirement
    plain: Requirement | None = None


def kernel_part(name: str, check: str, *, local: int, plain: str | None = None, constants: Sequence[int] = (), **more: Any) -> Part:
    """A kernel by name, its requirement from what the registry knows of it; `constants` follow the workgroup's size."""
    extra = {k: more.pop(k) for k in ("what", "subgroup_size", "full_subgroups") if k in more}
    requirement = kernels.requirement(
        kernels.kernels()[name],
        workgroup_invocations=local,
        shared_memory_bytes=more.pop("shared_memory_bytes", None),
        subgroup_size=extra.get("subgroup_size"),
    )
    step = FeatureStep(
        kernel=name,
        check=check,
        constants=list(enumerate((local, *constants))),
        parameters={"local": local, **more},
        plain_kernel=plain,
        **extra,
    )
    plain_requirement = kernels.requirement(kernels.kernels()[plain], workgroup_invocations=local) if plain else None
    return Part(step, requirement, plain_requirement)


class _Matrix(NamedTuple):
    """A shape in which matrices of f16 and some accumulators can be made on a device, all three uses of them.

    `side` is that of a square in which all three uses have one shape, `halved` the shape of an accumulator of which one half as
    high and wide can be made too; None where the device has no such.
    """

    scope: str
    m: int
    n: int
    k: int
    accumulators: tuple[str, ...]
    local: int
    full_subgroups: bool
    flexible: bool
    side: int | None
    halved: tuple[int, int] | None
    reserved: int


_SCOPES = ("subgroup", "workgroup")
_ONE, _SEVERAL = (1, 1, 1), (2, 3, 2)


def _matrices(device: DeviceRecord, several: bool) -> list[_Matrix]:
    """One shape for each scope that the device has: the smallest, or one that takes several of them."""
    if several:
        return [m for m in (_flexible(device, scope, _SEVERAL) for scope in _SCOPES) if m is not None]
    matrices = [_flexible(device, scope, _ONE) for scope in _SCOPES]
    return [m for m in (matrices[0] or _listed(device), matrices[1]) if m is not None]


def _of_f16(row: Any) -> bool:
    return (row.a, row.b, row.c, row.saturating) == ("f16", "f16", row.result, False) and row.c in ("f16", "f32")


def _flexible_rows(device: DeviceRecord, scope: str) -> list[FlexibleTuple]:
    """The f16 rows in a scope, of the largest workgroup that the device takes, all of one granularity."""
    most = lookup(device.properties, _NV_PROPERTIES, "cooperativeMatrixWorkgroupScopeMaxWorkgroupSize") or 0
    rows = [r for r in device.coopmat.nv_flexible or [] if r.scope == scope and _of_f16(r)]
    rows = [r for r in rows if scope == "subgroup" or r.workgroup_invocations <= most]
    largest = max((r.workgroup_invocations for r in rows), default=0)
    rows = [r for r in rows if r.workgroup_invocations == largest]
    return [r for r in rows if _granularity(r) == _granularity(rows[0])]


def _granularity(row: FlexibleTuple) -> tuple[int, int, int]:
    return row.m_granularity, row.n_granularity, row.k_granularity


def _flexible(device: DeviceRecord, scope: str, times: tuple[int, int, int]) -> _Matrix | None:
    rows = _flexible_rows(device, scope)
    most = lookup(device.properties, _NV_PROPERTIES, "cooperativeMatrixFlexibleDimensionsMaxDimension") or 0
    if not rows:
        return None
    granule = math.lcm(*_granularity(rows[0]))
    m, n, k = (granule * t for t in times)
    if max(m, n, k) > most:
        return None
    device_limits = limits(device)
    local = rows[0].workgroup_invocations or device_limits.subgroup
    return _Matrix(
        scope=scope,
        m=m,
        n=n,
        k=k,
        accumulators=tuple(dict.fromkeys(r.c for r in rows)),
        local=local,
        full_subgroups=device_limits.full_subgroups and local % device_limits.subgroup == 0,
        flexible=True,
        side=m,
        halved=(2 * m, 2 * n) if 2 * max(m, n) <= most else None,
        reserved=_reserved(device) if scope == "workgroup" else 0,
    )


def _reserved(device: DeviceRecord) -> int:
    """Shared memory that the driver keeps for itself in workgroup scope, in B."""
    return int(lookup(device.properties, _NV_PROPERTIES, "cooperativeMatrixWorkgroupScopeReservedSharedMemory") or 0)


def _listed(device: DeviceRecord) -> _Matrix | None:
    """The first shape of KHR tuples of f16; a cube where there is one."""
    rows = [r for r in device.coopmat.khr or [] if r.scope == "subgroup" and _of_f16(r)]
    if not rows:
        return None
    first = next((r for r in rows if r.m == r.n == r.k), rows[0])
    shape = (first.m, first.n, first.k)
    accumulators = tuple(dict.fromkeys(r.c for r in rows if (r.m, r.n, r.k) == shape))
    device_limits = limits(device)
    halves = all(any((r.m, r.n, r.c) == (first.m // 2, first.n // 2, c) for r in rows) for c in accumulators)
    return _Matrix(
        scope="subgroup",
        m=first.m,
        n=first.n,
        k=first.k,
        accumulators=accumulators,
        local=device_limits.subgroup,
        full_subgroups=device_limits.full_subgroups,
        flexible=False,
        side=first.m if first.m == first.n == first.k else None,
        halved=(first.m, first.n) if halves else None,
        reserved=0,
    )


_NO_SHAPE = "the device lists no f16 matrix in a shape that this kernel can take"

PartMaker = Callable[[_Matrix], Iterator[Part]]


def over_matrices(
    make: PartMaker, *, several: bool = False, scopes: Sequence[str] = _SCOPES
) -> Callable[[DeviceRecord], Sequence[Part] | str | None]:
    """The parts that `make` has for each of a device's matrices, of these scopes; or why there are none.

    With `several` matrices larger than the granularity; None for a device that has no such.
    """

    def climb(device: DeviceRecord) -> Sequence[Part] | str | None:
        parts = [part for matrix in _matrices(device, several) if matrix.scope in scopes for part in make(matrix)]
        return parts or (None if several else _NO_SHAPE)

    return climb


def _of(matrix: _Matrix, name: str, check: str, shape: tuple[int, int], kind: str, constants: Sequence[int] = (), **more: Any) -> Part:
    part = kernel_part(
        f"ladder_{name}_{matrix.scope}",
        check,
        local=matrix.local,
        full_subgroups=matrix.full_subgroups,
        shared_memory_bytes=matrix.reserved or None,
        what=f"{matrix.scope} scope, {'x'.join(map(str, shape))} {kind}",
        constants=(*shape, *constants),
        m=shape[0],
        n=shape[1],
        type=kind,
        **more,
    )
    return part._replace(requirement=flexible(part.requirement)) if matrix.flexible else part


def reductions(prefix: str) -> PartMaker:
    """Reductions of each accumulator; of 2x2 where one of half the size can be made. `prefix` distinguishes NV's modules from EXT's."""

    def make(matrix: _Matrix) -> Iterator[Part]:
        for c in matrix.accumulators:
            yield _of(matrix, f"{prefix}reduce_{c}", "reductions", (matrix.m, matrix.n), c)
            if matrix.halved:
                m, n = matrix.halved
                yield _of(matrix, f"{prefix}reduce_2x2_{c}", "reductions", (m, n), c, (m // 2, n // 2), half=True)

    return make


def conversions(prefix: str) -> PartMaker:
    """Conversions of each accumulator, where it has the shape of A and of B."""

    def make(matrix: _Matrix) -> Iterator[Part]:
        if matrix.side:
            for c in matrix.accumulators:
                yield _of(matrix, f"{prefix}convert_{c}", "conversions", (matrix.side, matrix.side), c)

    return make


def accumulators(name: str, check: str) -> PartMaker:
    """One kernel for each accumulator."""

    def make(matrix: _Matrix) -> Iterator[Part]:
        for c in matrix.accumulators:
            yield _of(matrix, f"{name}_{c}", check, (matrix.m, matrix.n), c)

    return make


def tensors(matrix: _Matrix) -> Iterator[Part]:
    """Tensor addressing of each use."""
    for use, kind, shape in (("a", "f16", (matrix.m, matrix.k)), ("b", "f16", (matrix.k, matrix.n)), ("c", "f32", (matrix.m, matrix.n))):
        if use != "c" or "f32" in matrix.accumulators:
            stride = max(shape) + 16
            yield _of(matrix, f"tensor_{use}_{kind}", "tensors", shape, kind, (stride,), stride=stride)


def blocks(name: str) -> PartMaker:
    """Block loads of A and of B."""

    def make(matrix: _Matrix) -> Iterator[Part]:
        for use, shape in (("a", (matrix.m, matrix.k)), ("b", (matrix.k, matrix.n))):
            yield _of(matrix, f"{name}_{use}", "blocks", shape, "f16")

    return make


def product(scope: str | None, times: tuple[int, int, int]) -> Callable[[DeviceRecord], Climb | str]:
    """Matrix products in a flexible shape, `times` its granularities, that no KHR tuple has; climbed with as a tuple."""

    def climb(device: DeviceRecord) -> Climb | str:
        rows = [r for s in ((scope,) if scope else ("subgroup", "workgroup")) for r in _flexible_rows(device, s)]
        if not rows:
            return _NO_SHAPE
        row = next((r for r in rows if r.c == "f32" and r.scope == rows[0].scope), rows[0])
        most = lookup(device.properties, _NV_PROPERTIES, "cooperativeMatrixFlexibleDimensionsMaxDimension") or 0
        m, n, k = (g * min(t, max(1, most // g)) for g, t in zip(_granularity(row), times, strict=True))
        if (m, n, k) in {(t.m, t.n, t.k) for t in device.coopmat.khr or []}:
            return f"every flexible shape up to {most} is a KHR tuple's too"
        device_limits = limits(device)
        local = row.workgroup_invocations or device_limits.subgroup
        kernel = kernels.kernels()[f"ladder_f16_f16_{row.c}_{row.scope}"]
        plain = f"ladder_f16_f16_{row.c}_scalar"
        padded = 2 * ((m + 8) * (k + 8) + (k + 8) * (n + 8))  # its operands in shared memory
        reserved = _reserved(device) if row.scope == "workgroup" else 0
        requirement = flexible(kernels.requirement(kernel, shared_memory_bytes=padded + reserved, workgroup_invocations=local))
        gap = evaluate(device, requirement)
        if gap.met is not True:
            return in_words(gap.missing)
        job = TupleJob(
            kernel=kernel.name, scalar_kernel=plain, m=m, n=n, k=k, a="f16", b="f16", c=row.c, saturating=False, local=local,
            full_subgroups=device_limits.full_subgroups and local % device_limits.subgroup == 0,
        )  # fmt: skip
        asked = [requirement, kernels.requirement(kernels.kernels()[plain])]
        return Climb(label="", job=job, requirements=asked)

    return climb
