"""How many registers a chip has for an invocation, and why a kernel spills. Pure.

A register is 32 bits of one invocation. A tile's least (`Op.tile_registers`) is what no compiler can do without: the accumulators,
which live all along K, and the operands of one step of the innermost loop along K: each read once, those of the tile's shorter side
held together, the other side's one at a time; packed where two f16 fit. Addresses, values on their way to shared memory and operands
fetched ahead aren't counted; nor what some matrix units need on top (RDNA3's read A and B twice over, in both halves of a subgroup).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from vkprobe.llama.device import Vendor
from vkprobe.records import DeviceRecord
from vkprobe.requirements.facts import lookup

Cause = Literal["tile", "tight", "compiler", "unknown"]

ROOM = 16
"""Registers that a step needs besides its tile: eight elements on their way to shared memory, their scale and offset, addresses."""
REGISTER_BYTES = 4

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


def least_operands(rows: int, columns: int, row: int, column: int) -> int:
    """Registers of one step's operands: all of one side and one of the other, whichever takes fewer."""
    return min(rows * row + column, columns * column + row)


def register_budget(device: DeviceRecord, block: int, subgroup_size: int | None, raw: Mapping[str, Any]) -> int | None:
    """Registers of 32 bits that an invocation can have on the device; None if its chip's aren't known.

    Args:
        block: invocations of a workgroup.
        subgroup_size: that the driver runs it with.
        raw: the driver's statistics of the pipeline; ANV's say whether a thread's register file is of one size.

    Source: Mesa src/amd/compiler/aco_ir.cpp (vgpr_limit), src/nouveau/compiler/nak/sm70.rs (num_regs) and ir.rs
    (gpr_limit_from_local_size), src/intel/compiler/brw/brw_reg_allocate.cpp (brw_alloc_reg_sets: 128 registers, of 64 B from Xe2 on;
    256 from Xe3 on), src/freedreno/ir3/ir3_ra.h (RA_FULL_SIZE).
    """
    vendor = device.hardware.vendor_id
    if vendor == Vendor.AMD:
        return _AMD_ADDRESSABLE
    if vendor == Vendor.NVIDIA:
        shared = _NVIDIA_FILE // max(block, 1) // _NVIDIA_GRANULE * _NVIDIA_GRANULE
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
    return grfs * grf_bytes // (REGISTER_BYTES * subgroup_size)
