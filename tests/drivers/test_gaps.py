"""Gaps of real drivers: null devices and lavapipe of the embedded set, beside a recorded device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vkprobe.drivers.spec import DriverSpec

RECORDED = Path(__file__).parent.parent / "recorded"
OPEN = ("nvk:162", "nvk:172", "radv:navi21", "radv:navi31", "radv:gfx1201", "turnip:750")
INTEL = ("anv:dg2", "anv:bmg", "anv:lnl")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """vkprobe in a process of its own."""
    return subprocess.run([sys.executable, "-m", "vkprobe", *arguments], capture_output=True, text=True, timeout=600)


def nulls(*names: str) -> list[str]:
    """--null for each."""
    return [word for name in names for word in ("--null", name)]


def gaps(*arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The gap records by device and path."""
    done = run("gaps", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    return {(r["device"], r["path"]): r for r in records if r["kind"] == "gap"}


@pytest.mark.usefixtures("embedded")
def test_one_command_sets_all_open_drivers_beside_the_h200() -> None:
    """NVK, RADV, Turnip, lavapipe and a record: coopmat2 is missing everywhere but on the H200, and each says what."""
    records = gaps(*nulls(*OPEN), "--driver", "embedded:lvp", "--from", str(RECORDED / "caps-nvidia-h200.jsonl"))
    met = {device: gap["met"] for (device, path), gap in records.items() if path == "coopmat2"}
    assert met == {**{f"{name}/0": False for name in OPEN}, "embedded:lvp/0": False, "file:caps-nvidia-h200/0": True}
    for (_, path), gap in records.items():
        assert (gap["met"] is True) == (not gap["missing"]), path


@pytest.mark.usefixtures("embedded", "intel_shim")
def test_anv_lists_coopmat2_without_what_llama_cpp_needs_of_it() -> None:
    """The extension is there; features, the limit of 0 and the flexible entries are what is missing."""
    records = gaps(*nulls(*INTEL))
    for name in INTEL:
        missing = {m["name"].rpartition(".")[2]: m for m in records[f"{name}/0", "coopmat2"]["missing"]}
        assert "VK_NV_cooperative_matrix2" not in missing
        assert missing["cooperativeMatrixFlexibleDimensionsMaxDimension"]["have"] == 0
        assert sum(m["kind"] == "tuple" for m in missing.values()) == 4


@pytest.mark.usefixtures("embedded")
def test_require_works_in_a_drivers_ci() -> None:
    """0 where NVK meets it, 1 where it doesn't, with the reason; 2 for a path that is none."""
    assert run("gaps", "--null", "nvk:172", "--require", "coopmat").returncode == 0
    failed = run("gaps", "--null", "nvk:172", "--require", "coopmat", "--require", "coopmat2")
    assert failed.returncode == 1
    assert "--require coopmat2: nvk:172/0 does not meet it: VK_NV_cooperative_matrix2 not listed" in failed.stderr
    assert run("gaps", "--null", "nvk:172", "--require", "coopmat9").returncode == 2


def test_profile_of_a_null_device(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """`profile nvk:172 -o FILE`: the driver's extensions in the profile, its tuples beside it."""
    assert "nouveau" in embedded
    out = tmp_path / "nvk.json"
    assert run("profile", "nvk:172", "-o", str(out)).returncode == 0
    assert "VK_KHR_cooperative_matrix" in json.loads(out.read_text())["capabilities"]["device"]["extensions"]
    assert json.loads((tmp_path / "nvk.tuples.json").read_text())["coopmat"]["khr"]
