"""SPIR-V patched with float controls stays a valid module."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.pure.spirv_interface import instructions
from vkprobe.kernels import kernels
from vkprobe.worker.modules import load, with_float_controls

CAPABILITY, ENTRY_POINT, EXECUTION_MODE, MEMORY_MODEL, FUNCTION = 17, 15, 16, 14, 54
CONTROLS = {"DenormPreserve 16": (4464, 4459), "RoundingModeRTE 16": (4467, 4462)}  # capability, execution mode
MODULES = sorted(k.name for k in kernels().values() if k.op in ("canary", "gemm", "gemv", "dequant", "convert"))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("controls", [("DenormPreserve 16", "RoundingModeRTE 16"), ("RoundingModeRTE 16",), ("DenormPreserve 16",)])
def test_controls_are_added_where_the_layout_wants_them(name: str, controls: tuple[str, ...]) -> None:
    """Capabilities come first and the entry point's modes right after it; the rest stays as it was."""
    plain, patched = list(instructions(load(name))), list(instructions(with_float_controls(load(name), controls)))
    wanted = [CONTROLS[control] for control in controls]
    entry = next(operands[1] for op, operands in plain if op == ENTRY_POINT)
    added = [(CAPABILITY, (capability,)) for capability, _ in wanted] + [(EXECUTION_MODE, (entry, mode, 16)) for _, mode in wanted]
    assert [i for i in patched if i in added] == added
    assert [i for i in patched if i not in added] == plain
    order = [op for op, _ in patched]
    last_capability = len(order) - 1 - order[::-1].index(CAPABILITY)
    assert set(order[: last_capability + 1]) == {CAPABILITY}
    modes = [i for i, op in enumerate(order) if op == EXECUTION_MODE]
    assert order.index(MEMORY_MODEL) < order.index(ENTRY_POINT) < min(modes)
    assert modes == list(range(modes[0], modes[-1] + 1))
    assert max(modes) < order.index(FUNCTION)


def test_nothing_is_patched_where_nothing_is_asked() -> None:
    """The bytes are those that are checked in."""
    assert with_float_controls(load("canary"), ()) == load("canary")


def test_spirv_val_accepts_patched_modules(tmp_path: Path) -> None:
    """All of them, with both modes."""
    validator = os.environ.get("VKPROBE_SPIRV_VAL") or shutil.which("spirv-val")
    if validator is None:
        pytest.skip("needs spirv-val: apt-get install spirv-tools, or VKPROBE_SPIRV_VAL=PATH make test")
    for name in MODULES:
        module = tmp_path / f"{name}.spv"
        module.write_bytes(with_float_controls(load(name), tuple(CONTROLS)))
        done = subprocess.run([validator, "--target-env", kernels()[name].target, str(module)], capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
