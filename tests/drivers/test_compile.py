"""`vkprobe compile` on real drivers: statistics, ISA, matrix instructions and limits of null devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.spec import DriverSpec

Records = list[dict[str, Any]]


def compiled(*arguments: str, status: int = 0) -> Records:
    """The records of `vkprobe compile --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "vkprobe", "compile", *arguments, "--json"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def pipelines(records: Records) -> Records:
    """The records of pipelines."""
    return [r for r in records if r["kind"] == "pipeline"]


def paths(records: Records) -> dict[str, set[str]]:
    """The paths of each status."""
    return {status: {p["path"] for p in records if p["status"] == status} for status in {p["status"] for p in records}}


def needs(null: str) -> None:
    """Skip where the null device can't be had."""
    if null.startswith("anv") and not os.environ.get("VKPROBE_INTEL_SHIM"):
        pytest.skip("needs Intel's shim: make intel-shim, then VKPROBE_INTEL_SHIM=PATH make test")
    if "@trixie" in null and "trixie" not in embedded_set.fetched_suites():
        pytest.skip("needs Mesa 25.0: vkprobe drivers fetch --suite trixie")


@pytest.mark.parametrize(
    ("null", "instruction", "lacks"),
    [("radv:navi31", "v_wmma_", {"coopmat2"}), ("nvk:172", "hmma.", {"dot2", "coopmat2"}), ("anv:bmg", "dpas.", {"dot2"})],
)
def test_statistics_and_matrix_instructions(
    embedded: dict[str, DriverSpec], tmp_path: Path, null: str, instruction: str, lacks: set[str]
) -> None:
    """Registers, spills and matrix instructions of every pipeline, as many as the written ISA has lines of them."""
    needs(null)
    asked = {"scalar-f32", "dot2", "coopmat", "coopmat2"}
    every = pipelines(compiled("--null", null, "--type", "f16", "--path", ",".join(asked), "--isa", str(tmp_path)))
    successes = [p for p in every if p["status"] == "ok"]
    assert paths(every) == {"ok": asked - lacks, "unsupported": lacks}
    for p in successes:
        assert p["registers"] > 0
        assert p["instructions"] > 0
        assert p["spills"] is not None
        assert p["raw"]
        assert (p["matrix_instructions"] > 0) == (p["path"] in ("coopmat", "coopmat2")), p["kernel"]
        listings = [f for f in tmp_path.rglob("*ssembly.txt") if f.name.startswith(f"{p['kernel']}-{p['tile'].split()[0]}_")]
        assert len(listings) == 1
        assert listings[0].read_text().count(instruction) == p["matrix_instructions"]
    assert not list(tmp_path.rglob("*.part"))


def test_a_driver_without_matrices_says_so_for_each_kernel(embedded: dict[str, DriverSpec]) -> None:
    """Turnip: unsupported with the path's own reason, exit status 0."""
    records = pipelines(compiled("--null", "turnip:750", "--type", "q4_0"))
    lacks = {
        "dot2": "shaderMixedFloatDotProductFloat16AccFloat32",
        "coopmat": "VK_KHR_cooperative_matrix",
        "coopmat2": "VK_NV_cooperative_matrix2",
    }
    assert paths(records) == {"ok": {"scalar-f32", "scalar-f16", "intdot"}, "unsupported": set(lacks)}
    assert all(lacks[p["path"]] in p["reason"] for p in records if p["status"] == "unsupported")


def test_lavapipe_compiles_without_statistics(embedded: dict[str, DriverSpec]) -> None:
    """Unknown is null."""
    records = pipelines(compiled("--driver", "embedded:lvp", "--type", "q4_0"))
    assert paths(records) == {"ok": {"scalar-f32", "scalar-f16", "intdot", "coopmat", "coopmat2"}, "unsupported": {"dot2"}}
    assert {p["registers"] for p in records} == {p["matrix_instructions"] for p in records} == {None}


def test_emulated_matrices_are_found(embedded: dict[str, DriverSpec]) -> None:
    """ANV of Mesa 25.0 offers Tiger Lake, which has no matrix unit, cooperative matrices: ok, no dpas, and the reason says so."""
    needs("anv:tgl@trixie")
    records = pipelines(compiled("--null", "anv:tgl@trixie", "--type", "f16", "--path", "coopmat"))
    (pipeline,) = (p for p in records if p["status"] == "ok")
    assert pipeline["matrix_instructions"] == 0
    assert pipeline["reason"].startswith("compiled to no matrix instruction")


def test_a_pipeline_over_the_limit_costs_itself(embedded: dict[str, DriverSpec]) -> None:
    """NVK's GEMM takes over 0.3 s, its GEMV and dequant less: timeout, a new worker, the others go on; exit status 4."""
    records = compiled(
        "--null", "nvk:172", "--type", "f16", "--path", "coopmat", "--path", "scalar-f32", "--compile-limit", "0.3", status=4
    )
    statuses = {p["kernel"]: p["status"] for p in pipelines(records) if p["kernel"].startswith("gemm")}
    assert "timeout" in statuses.values()
    events = [r["what"] for r in records if r["kind"] == "event"]
    assert events.count("timeout") == sum(p["status"] == "timeout" for p in pipelines(records))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--type", "q9_9"], "--type q9_9: not known"),
        (["--path", "tensor"], "--path tensor: not known"),
        (["--type", "f32", "--path", "intdot"], "there is no kernel for these together"),
        (["--isa", "/proc/nowhere"], "--isa /proc/nowhere: can't be made"),
        (["--compile-limit", "0"], "--compile-limit"),
    ],
)
def test_bad_arguments_are_sentences(arguments: list[str], words: str, tmp_path: Path) -> None:
    """Exit status 2, before any driver is asked; no file is left."""
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "vkprobe", "compile", *arguments, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not output.exists()
