"""How many registers a job's tile takes of an invocation at the least, how many a chip has, and so what makes a kernel spill. Pure.

A register is 32 bits of one invocation. The least is what no compiler can do without: the accumulators, which live all along K,
and the operands of one step of the innermost loop along K: each read once, those of the tile's shorter side held together, the
other side's one at a time; packed where two f16 fit. Addresses, what is on its way to shared memory and operands that are
fetched ahead are not in it; nor what some matrix units ask for more (RDNA3's read A and B twice over, in both halves of a subgroup).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vkprobe.bench.device import Vendor
from vkprobe.jobs import Job
from vkprobe.peak import WIDTHS, WORDS, matrices
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import lookup

Cause = Literal["tile", "tight", "compiler", "unknown"]

ROOM = 16
"""Registers that a step needs besides its tile: eight elements on their way to shared memory, their scale and offset, addresses."""

_REGISTER_BYTES = 4
_TILE_CONSTANTS = 12  # of kernels/gemm/stage.glsl; coopmat2.comp has fewer
_CHUNK, _SUPER_CHUNK = 8, 16  # elements of a row that a GEMV takes at once, of K-quants those of a super-block
_BLOCK_WORDS = 8  # 32 integers of 8 bits
_GRANULE_K = 16  # the least K of the workgroup's matrices: VK_NV_cooperative_matrix2's granularity as llama.cpp asks for it

_AMD_ADDRESSABLE = 256
_NVIDIA_FILE, _NVIDIA_ADDRESSABLE, _NVIDIA_RESERVED, _NVIDIA_GRANULE = 65536, 255, 2, 8
_IR3_REGISTERS = 48 * 4
_INTEL_GRFS, _INTEL_MOST_GRFS = 128, 256
_XE2_CHIPS = ("BMG", "LNL")
_GRF_COUNT = "GRF registers"


def cause(tile_registers: int | None, budget: int | None) -> Cause:
    """Why a pipeline spills.

    `tile`: the tile alone is beyond the budget; `tight`: it leaves less than ROOM; `compiler`: it fits, with room.

    >>> cause(146, 128), cause(120, 128), cause(37, 128), cause(37, None)
    ('tile', 'tight', 'compiler', 'unknown')
    """
    if tile_registers is None or budget is None:
        return "unknown"
    if tile_registers > budget:
        return "tile"
    return "tight" if tile_registers > budget - ROOM else "compiler"


def tile_registers(job: Job, subgroup_size: int | None = None) -> int | None:
    """Registers of an invocation that `job`'s tile takes at the least; None for ops without a tile.

    Args:
        job: its specialisation constants are the tile.
        subgroup_size: what the driver runs it with, over which a cooperative matrix is spread; None for the tile's own.
    """
    values = [value for _, value in sorted(job.constants)]
    if job.op == "gemm" and len(values) == _TILE_CONSTANTS:
        if job.path in ("coopmat", "coopmat2"):
            return _subgroup_matrices(job, values, subgroup_size)
        return _invocation_tile(job, values)
    if job.op == "gemm" and job.path == "coopmat2":
        return _workgroup_matrices(job, values)
    if job.op == "gemv":
        return _rows(job, rows=values[1], columns=values[2])
    if job.op == "peak":
        return _peak(job, subgroup_size)
    return None


def _least(rows: int, columns: int, row: int, column: int) -> int:
    """Operands of one step: all of one side and one of the other."""
    return min(rows * row + column, columns * column + row)


def _packed(job: Job) -> bool:
    """Whether two accumulators fit a register."""
    return job.accumulator == "f16"


def _invocation_tile(job: Job, values: Sequence[int]) -> int:
    """Of a GEMM whose invocations have TM x TN results in WMITER x WNITER steps."""
    _, _, _, _, wm, wn, wmiter, tm, _, _, warp, _ = values
    rows = wmiter * tm
    columns = wm * wn // (warp * rows)
    if job.path == "intdot":
        row = _BLOCK_WORDS + _scales(job)
        return rows * columns + _least(rows, columns, row, _BLOCK_WORDS + 1)
    pair = 2 if job.path == "scalar-f32" else 1  # two neighbouring k
    sums = rows * columns
    return (-(-sums // 2) if _packed(job) else sums) + _least(rows, columns, pair, pair)


def _subgroup_matrices(job: Job, values: Sequence[int], subgroup_size: int | None) -> int:
    """Of a GEMM whose subgroups have WM x WN results in matrices of TM x TN."""
    _, _, _, _, wm, wn, _, tm, tn, tk, warp, _ = values
    rows, columns = wm // tm, wn // tn
    sums = wm * wn * (2 if _packed(job) else 4)
    operands = _least(rows, columns, tm * tk * 2, tk * tn * 2)
    return -(-(sums + operands) // (_REGISTER_BYTES * (subgroup_size or warp)))


def _workgroup_matrices(job: Job, values: Sequence[int]) -> int:
    """Of a GEMM whose workgroup has one matrix of BM x BN; its operands may lie in shared memory but for one granule of K."""
    block, bm, bn = values[:3]
    sums = bm * bn * (2 if _packed(job) else 4)
    return -(-(sums + (bm + bn) * _GRANULE_K * 2) // (_REGISTER_BYTES * block))


def _rows(job: Job, *, rows: int, columns: int) -> int:
    """Of a GEMV: a step is a chunk of elements in f32; of intdot the one dot product of four that it is made of."""
    if job.path == "intdot":
        return rows * columns + _least(rows, columns, 1 + _scales(job), 2)
    chunk = _SUPER_CHUNK if job.type.endswith("_k") else _CHUNK
    scales = 0 if job.type in ("f32", "f16", "bf16") else _scales(job)
    return rows * columns + _least(rows, columns, chunk + scales, chunk)


def _peak(job: Job, subgroup_size: int | None) -> int | None:
    """Of a peak: its numbers, or the matrices that a subgroup keeps all along, or a workgroup's sums."""
    if job.path in WIDTHS:
        return WORDS
    made = matrices(job)
    if job.path == "coopmat2":
        return -(-made.output_bytes // (_REGISTER_BYTES * made.local))
    return -(-made.source_bytes // made.tiles // (_REGISTER_BYTES * subgroup_size)) if subgroup_size else None


def _scales(job: Job) -> int:
    """A quantised block's scale; of K-quants with its offset, or two scales."""
    return 2 if job.type.endswith("_k") else 1


def register_budget(device: DeviceRecord, job: Job, subgroup_size: int | None, raw: Mapping[str, Any]) -> int | None:
    """Registers of 32 bits that an invocation can have on the device; None where its chip's are not known.

    Args:
        job: how many invocations its workgroup has.
        subgroup_size: what the driver runs it with.
        raw: the driver's statistics of the pipeline; ANV's tell whether a thread's register file is of one size.

    Source: Mesa src/amd/compiler/aco_ir.cpp (vgpr_limit), src/nouveau/compiler/nak/sm70.rs (num_regs) and ir.rs
    (gpr_limit_from_local_size), src/intel/compiler/brw/brw_reg_allocate.cpp (brw_alloc_reg_sets: 128 registers, of 64 B from Xe2 on;
    256 from Xe3 on), src/freedreno/ir3/ir3_ra.h (RA_FULL_SIZE).
    """
    vendor = device.hardware.vendor_id
    if vendor == Vendor.AMD:
        return _AMD_ADDRESSABLE
    if vendor == Vendor.NVIDIA:
        shared = _NVIDIA_FILE // max(job.constants[0][1], 1) // _NVIDIA_GRANULE * _NVIDIA_GRANULE
        return min(_NVIDIA_ADDRESSABLE, shared) - _NVIDIA_RESERVED
    if vendor == Vendor.QUALCOMM and device.driver.id == "VK_DRIVER_ID_MESA_TURNIP":
        return _IR3_REGISTERS
    if vendor == Vendor.INTEL:
        return _intel(device, subgroup_size, raw)
    return None


def _intel(device: DeviceRecord, subgroup_size: int | None, raw: Mapping[str, Any]) -> int | None:
    """A thread's register file over its invocations."""
    least = lookup(device.properties, "VkPhysicalDeviceSubgroupSizeControlProperties", "minSubgroupSize")
    if not subgroup_size or least is None:
        return None
    grf_bytes = 64 if least >= 16 else 32
    if raw.get(_GRF_COUNT):  # from Xe3 on threads take as many as they need
        grfs = _INTEL_MOST_GRFS
    elif least < 16 or _GRF_COUNT in raw or (device.hardware.chip or "").upper().startswith(_XE2_CHIPS):
        grfs = _INTEL_GRFS
    else:  # Xe2 or Xe3
        return None
    return grfs * grf_bytes // (_REGISTER_BYTES * subgroup_size)
