"""Compiler statistics in one form, from real drivers' statistics of the same kernel."""

from __future__ import annotations

from typing import Any

import pytest

from vkprobe.compiler_statistics import Normal, normal

# gemm_q4_0_coopmat_acc_f32 (Turnip: scalar_f16_acc_f32), 4096x512x4096; Mesa 26.1 on null devices, NVIDIA 580.159 on an H200.
RADV = {
    "Driver pipeline hash": 5718336210809767861, "SGPRs": 108, "VGPRs": 132, "Spilled SGPRs": 0, "Spilled VGPRs": 0, "Code size": 16624,
    "LDS size": 24576, "Scratch size": 0, "Subgroups per SIMD": 8, "Combined inputs": 0, "Combined outputs": 0, "Hash": 500276698,
    "Instructions": 3132, "Copies": 386, "Branches": 128, "Latency": 11427, "Inverse Throughput": 7333, "VALU": 1432, "SALU": 535,
}  # fmt: skip
NVK = {
    "Instruction count": 8248, "Static cycle count": 128863, "Max warps/SM": 8, "Spills to memory": 0, "Fills from memory": 0,
    "Spills to reg": 60, "Fills from reg": 30, "Code size": 131968, "Number of GPRs": 200, "SLM size": 0,
}  # fmt: skip
TURNIP = {
    "Max Waves Per Core": 6, "Instruction Count": 2927, "Code size": 4640, "NOPs Count": 675, "Registers used": 32,
    "Half-registers used": 0, "Loops": 1, "STP Count": 0, "LDP Count": 0, "Early preamble": True, "Const file size": 16,
}  # fmt: skip
ANV = {
    "Instructions": 2696, "Code size": 42816, "SENDs": 239, "Loops": 1, "Cycles": 139080, "Spills": 51, "Fills": 141,
    "Scratch Memory Size": 0, "GRF registers": 0, "Max dispatch width": 32, "Max live registers": 350, "Source hash": 2295010902,
}  # fmt: skip
ANV_25 = {
    "Instruction Count": 2697, "SEND Count": 239, "Loop Count": 1, "Cycle Count": 139081, "Spill Count": 52, "Fill Count": 141,
    "Scratch Memory Size": 0, "Max dispatch width": 32, "Max live registers": 351, "Source hash": 2556635321,
}  # fmt: skip
HONEYKRISP = {
    "Instructions": 507, "ALU": 579, "FSCIB": 579, "IC": 212, "Code size": 3678, "GPRs": 127, "Uniforms": 112, "Scratch": 0,
    "Threads": 832, "Loops": 1, "Spills": 2, "Fills": 0, "Preamble instructions": 53,
}  # fmt: skip
NVIDIA = {"Register Count": 222, "Binary Size": 76544, "Stack Size": 0, "Local Memory Size": 68719476736, "Shared Memory Size": 24576}


@pytest.mark.parametrize(
    ("driver", "raw", "expected"),
    [
        ("MESA_RADV", RADV, Normal(registers=132, spills=0, instructions=3132, code_bytes=16624, occupancy=8)),
        ("MESA_NVK", NVK, Normal(registers=200, spills=0, instructions=8248, code_bytes=131968, occupancy=8)),
        ("MESA_TURNIP", TURNIP, Normal(registers=32, spills=0, instructions=2927, code_bytes=4640, occupancy=6)),
        ("INTEL_OPEN_SOURCE_MESA", ANV, Normal(registers=350, spills=51, instructions=2696, code_bytes=42816)),
        ("INTEL_OPEN_SOURCE_MESA", ANV_25, Normal(registers=351, spills=52, instructions=2697)),
        ("MESA_HONEYKRISP", HONEYKRISP, Normal(registers=127, spills=2, instructions=507, code_bytes=3678, occupancy=832)),
        ("NVIDIA_PROPRIETARY", NVIDIA, Normal(registers=222, code_bytes=76544)),
    ],
)
def test_each_driver_s_names_are_known(driver: str, raw: dict[str, Any], expected: Normal) -> None:
    """Registers, spills, instructions, code size and occupancy are read; a statistic that a driver doesn't report stays unknown."""
    assert normal(f"VK_DRIVER_ID_{driver}", raw) == expected


def test_spills_of_both_register_files_add_up() -> None:
    """RADV counts scalar and vector ones apart."""
    assert normal("VK_DRIVER_ID_MESA_RADV", {**RADV, "Spilled SGPRs": 3, "Spilled VGPRs": 442}).spills == 445


def test_a_reported_register_file_is_not_replaced() -> None:
    """ANV's GRF registers where it fills them in: from Xe3 on, where threads share the file."""
    assert normal("VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA", {**ANV, "GRF registers": 53}).registers == 53
    assert normal("VK_DRIVER_ID_INTEL_OPEN_SOURCE_MESA", {"GRF registers": 0}).registers == 0


@pytest.mark.parametrize("driver", [None, "VK_DRIVER_ID_SAMSUNG_PROPRIETARY", "VK_DRIVER_ID_MESA_LLVMPIPE"])
def test_other_drivers_statistics_are_left_raw(driver: str | None) -> None:
    """Unknown is unknown, whatever the names look like."""
    assert normal(driver, RADV) == Normal()


@pytest.mark.parametrize("driver", ["MESA_RADV", "MESA_NVK", "MESA_TURNIP", "INTEL_OPEN_SOURCE_MESA", "NVIDIA_PROPRIETARY"])
def test_a_driver_that_reports_nothing_is_unknown(driver: str) -> None:
    """No statistics at all, as when the extension is off."""
    assert normal(f"VK_DRIVER_ID_{driver}", {}) == Normal()
