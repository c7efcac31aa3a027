"""Compiler statistics of pipelines in one form for all drivers: a table per driver, raw names kept beside it.

Source: Mesa src/util/shader_stats.xml and nvk_shader.c (25.0 and 26.1), and what the proprietary NVIDIA driver 580 returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Normal(Struct, frozen=True, kw_only=True):
    """Registers per invocation, spills, instructions, code size (B), occupancy (subgroups per unit); None where not reported.

    Each as its driver counts it, so that only the same driver's can be compared: RADV's registers are vector ones; ANV's, before
    Xe3, where each thread has the whole register file, the most that are live at once, spilled ones included; Turnip's spills
    are all stores to private memory; Honeykrisp's occupancy counts invocations.
    """

    registers: int | None = None
    spills: int | None = None
    instructions: int | None = None
    code_bytes: int | None = None
    occupancy: float | None = None


# Quantity -> names whose values add up, of those that the driver gives.
_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "VK_DRIVER_ID_MESA_RADV": {
        "registers": ("VGPRs",),
        "spills": ("Spilled SGPRs", "Spilled VGPRs"),
        "instructions": ("Instructions",),
        "code_bytes": ("Code size",),
        "occupancy": ("Subgroups per SIMD",),
    },
    "VK_DRIVER_ID_MESA_NVK": {
        "registers": ("Number of GPRs",),
        "spills": ("Spills to memory",),
        "instructions": ("Instruction count",),
        "code_bytes": ("Code size",),
        "occupancy": ("Max warps/SM",),
    },
    # ANV and hasvk, which has ANV's id; Mesa before 26.0 has the longer names.
    "VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA": {
        "registers": ("GRF registers",),
        "spills": ("Spills", "Spill Count"),
        "instructions": ("Instructions", "Instruction Count"),
        "code_bytes": ("Code size",),
    },
    "VK_DRIVER_ID_MESA_TURNIP": {
        "registers": ("Registers used",),
        "spills": ("STP Count",),
        "instructions": ("Instruction Count",),
        "code_bytes": ("Code size",),
        "occupancy": ("Max Waves Per Core",),
    },
    "VK_DRIVER_ID_MESA_HONEYKRISP": {
        "registers": ("GPRs",),
        "spills": ("Spills",),
        "instructions": ("Instructions",),
        "code_bytes": ("Code size",),
        "occupancy": ("Threads",),
    },
    "VK_DRIVER_ID_NVIDIA_PROPRIETARY": {
        "registers": ("Register Count",),
        "code_bytes": ("Binary Size",),
    },
}

_DEMAND = "Max live registers"
_ALLOCATION = "GRF registers"
"""0 before Xe3, where threads don't share the register file; Mesa before 26.1 does not have it."""

HASHES = frozenset({"Hash", "Driver pipeline hash", "Source hash"})
"""Statistics that identify a shader and measure nothing."""


def names_of(quantity: str) -> frozenset[str]:
    """Every name under which a driver reports a quantity of the normal form.

    >>> sorted(names_of("registers"))[:3]
    ['GPRs', 'GRF registers', 'Max live registers']
    """
    names = {name for table in _NAMES.values() for name in table.get(quantity, ())}
    return frozenset(names | {_DEMAND} if quantity == "registers" else names)


def normal(driver_id: str | None, raw: Mapping[str, Any]) -> Normal:
    """The normal form of a driver's statistics; a quantity of several parts is their sum over those that the driver names."""
    quantities: dict[str, Any] = {}
    for quantity, parts in _NAMES.get(driver_id or "", {}).items():
        values = [raw[part] for part in parts if part in raw]
        if parts == (_ALLOCATION,) and not any(values):
            values = [raw[name] for name in (_DEMAND, _ALLOCATION) if name in raw][:1]
        if values:
            quantities[quantity] = sum(values)
    return Normal(**quantities)
