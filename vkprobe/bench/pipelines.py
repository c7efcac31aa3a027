"""What drivers' compilers tell of a pipeline, in one form: a table per driver, raw names kept beside it.

Source: Mesa src/util/shader_stats.xml and nvk_shader.c (26.1), and what the proprietary NVIDIA driver 580 returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class Normal(Struct, frozen=True, kw_only=True):
    """Registers per invocation, spills, instructions, code size (B), occupancy (subgroups per unit); None where not told."""

    registers: int | None = None
    spills: int | None = None
    instructions: int | None = None
    code_bytes: int | None = None
    occupancy: float | None = None


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


_INSTEAD = {"GRF registers": "Max live registers"}
"""ANV 26.1 names GRF registers but leaves it at 0 for most platforms."""


def normal(driver_id: str | None, raw: Mapping[str, Any]) -> Normal:
    """The normal form of a driver's statistics; a quantity of several parts is their sum over those that the driver names."""
    told: dict[str, Any] = {}
    for quantity, parts in _NAMES.get(driver_id or "", {}).items():
        values = [raw[part] or raw.get(_INSTEAD.get(part, part)) for part in parts if part in raw]
        if values:
            told[quantity] = sum(values)
    return Normal(**told)
