"""`vkprobe compare` of what real compilers give: the same twice, other things from another Mesa."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.spec import DriverSpec


def vkprobe(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user runs it."""
    return subprocess.run([sys.executable, "-m", "vkprobe", *arguments], capture_output=True, text=True, timeout=600, check=False)


def compiled(path: Path, null: str) -> str:
    """A file of compile records: a plain type and one of super-blocks have every path between them."""
    done = vkprobe("compile", "--null", null, "--type", "f16,q4_k", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return str(path)


def pipelines(path: str) -> list[dict[str, Any]]:
    """A file's records of pipelines."""
    return [r for r in map(json.loads, Path(path).read_text().splitlines()) if r["kind"] == "pipeline"]


def test_compilers_are_deterministic(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Two runs of one driver: nothing differs, under every condition."""
    files = [compiled(tmp_path / name, "radv:navi31") for name in ("a.jsonl", "b.jsonl")]
    done = vkprobe("compare", *files, "--fail-on", "slower:5%,worse:0%,changed,missing,crash,wrong")
    assert done.returncode == 0, done.stdout
    records = pipelines(files[0])
    assert {p["path"] for p in records} == {"scalar-f32", "scalar-f16", "dot2", "intdot", "coopmat", "coopmat2"}
    assert re.fullmatch(rf"radv:navi31/0 \(radv [\d.]+\): {len(records)} same\n", done.stdout)


def test_two_mesa_versions_of_one_chip(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Paired by the chip: statistics moved, 25.0 lacks the mixed dot product, nothing is missing; the machine form names old and new."""
    if "trixie" not in embedded_set.fetched_suites():
        pytest.skip("needs Mesa 25.0: vkprobe drivers fetch --suite trixie")
    files = [compiled(tmp_path / "old.jsonl", "radv:navi31@trixie"), compiled(tmp_path / "new.jsonl", "radv:navi31")]
    done = vkprobe("compare", *files, "--fail-on", "missing", "--format", "json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    registers = [c for cell in cells for c in cell["changes"] if c["statistic"] == "registers"]
    assert registers
    assert all(c["old"] != c["new"] for c in registers)
    assert {cell["verdict"] for cell in cells} <= {"status", "worse", "mixed", "changed", "better", "same"}
    assert [(c["kernel"], c["old_status"], c["new_status"]) for c in cells if c["verdict"] == "status"] == [
        ("gemm_f16_dot2_acc_f32", "unsupported", "ok"), ("gemm_q4_k_dot2_acc_f32", "unsupported", "ok")
    ]  # fmt: skip
    assert vkprobe("compare", *files, "--fail-on", "changed").returncode == 1
