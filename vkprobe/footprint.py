"""What a job's op reads, writes and computes, in B and FLOP: for buffers, limits and rates alike."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec import Struct

from vkprobe.jobs import Job
from vkprobe.weights import Q8_1_ELEMENTS, WEIGHT_TYPES

_X4_ELEMENTS, _X4_BYTES = 4 * Q8_1_ELEMENTS, 144  # q8_1 activations come in groups of four blocks: 4 f16 pairs, then 128 int8


class Footprint(Struct, frozen=True, kw_only=True):
    """Sizes of a job's buffers (B).

    Attributes:
        source: what rotates: weights; what is converted or copied.
        activations: as they lie on the device; 0 where there are none.
        scratch: partial products of a split K.
    """

    source: int
    activations: int
    scratch: int
    output: int


def activation_bytes(form: str, rows: int, k: int) -> int:
    """Bytes of `rows` rows of `k` activations on the device; q8_1 comes in whole groups of four blocks.

    >>> activation_bytes("q8_1", 3, 32), activation_bytes("f16", 3, 32)
    (144, 192)
    """
    if form == "q8_1":
        return -(-rows * k // _X4_ELEMENTS) * _X4_BYTES
    return rows * k * {"f32": 4, "f16": 2, "bf16": 2}[form]


def footprint(job: Job) -> Footprint:
    """The sizes of the job's buffers."""
    if job.op in ("gemm", "gemv"):
        product = 4 * job.m * job.n
        return Footprint(
            source=job.m * WEIGHT_TYPES[job.type].row_bytes(job.k),
            activations=activation_bytes(job.activations, job.padded_n or job.n, job.k),
            scratch=job.parts * product if job.parts > 1 else 0,
            output=product,
        )
    if job.op == "dequant":
        return Footprint(source=job.m * WEIGHT_TYPES[job.type].row_bytes(job.k), activations=0, scratch=0, output=2 * job.m * job.k)
    if job.op == "convert":
        return Footprint(source=4 * job.n * job.k, activations=0, scratch=0, output=activation_bytes(job.type, job.n, job.k))
    if job.op == "copy":
        return Footprint(source=4 * job.k, activations=0, scratch=0, output=job.output_bytes or 4 * job.k)
    assert job.op == "peak", job.op
    return Footprint(source=job.source_bytes, activations=0, scratch=0, output=job.output_bytes)


def source_key(job: Job) -> tuple[Hashable, ...]:
    """What jobs that read the same data have in common: weights are shared by every op and N of their shape, a copy's data by its kinds."""
    if job.op in ("gemm", "gemv", "dequant"):
        return "weights", job.type, job.m, job.k
    if job.op == "copy":
        return job.op, job.k, job.source_memory
    return job.op, job.kernel, job.m, job.n, job.k, job.source_bytes


def workload_key(job: Job) -> tuple[Hashable, ...]:
    """What jobs that have all buffers in common have in common."""
    own = (job.op, job.type, job.m, job.n, job.k, job.activations, job.padded_n, job.parts, job.output_memory, job.output_bytes)
    return *own, *source_key(job)


def buffers(job: Job) -> dict[Hashable, int]:
    """The job's device buffers and their sizes (B); those of one name are shared."""
    sizes = footprint(job)
    return {source_key(job): sizes.source, workload_key(job): sizes.activations + sizes.scratch + sizes.output}


def traffic_bytes(job: Job) -> int:
    """The fewest bytes that the op moves: what it reads once, and what it writes once; of a copy to or from the host what crosses."""
    sizes = footprint(job)
    if job.op == "copy" and (job.output_bytes or job.source_memory != job.output_memory):
        return sizes.source  # a copy that only reads writes next to nothing
    if job.op in ("gemm", "gemv"):
        return sizes.source + activation_bytes(job.activations, job.n, job.k) + sizes.output
    return sizes.source + sizes.output


def flop(job: Job) -> float | None:
    """Floating-point or integer operations, two a multiply-add; None of ops that only move and convert."""
    return 2.0 * job.m * job.n * job.k if job.op in ("gemm", "gemv", "peak") else None
