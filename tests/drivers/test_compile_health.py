"""Compile health on null devices: kernels compile, have enough registers for their tile, and spills are reported with their cause."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.drivers.test_compile import compiled, needs, pipelines
from vkprobe.drivers.select import resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.registers import cause
from vkprobe.records import AnyRecord, PipelineRecord
from vkprobe.session.compiling import Compiler
from vkprobe.session.opening import open_request
from vkprobe.session.selection import compile_plans


@pytest.mark.parametrize("null", ["radv:navi31", "nvk:172", "anv:bmg", "turnip:750"])
def test_every_path_of_a_k_quant_compiles_with_registers_and_spills_reported(embedded: dict[str, DriverSpec], null: str) -> None:
    """ok, or unsupported with a reason; on RADV and NVK, which count registers of 32 bits, what doesn't spill has room for its tile."""
    needs(null)
    records = pipelines(compiled("--null", null, "--type", "q4_k", "--path", "scalar-f32,intdot,coopmat"))
    assert {p["status"] for p in records} <= {"ok", "unsupported"}
    assert all(p["reason"] for p in records if p["status"] == "unsupported")
    successes = [p for p in records if p["status"] == "ok"]
    assert {p["path"] for p in successes} == {"scalar-f32", "intdot", *([] if null.startswith("turnip") else ["coopmat"])}
    for p in successes:
        assert p["registers"] > 0
        assert p["spills"] is not None
        assert p["register_budget"] > 0
        assert (p["tile_registers"] is None) == p["kernel"].startswith("dequant")
        if p["tile_registers"] is not None and not p["spills"]:
            assert p["tile_registers"] <= p["register_budget"]
            if null.startswith(("radv", "nvk")):
                assert p["tile_registers"] <= p["registers"], p["kernel"]


def test_spills_of_the_driver_s_own_are_reported(embedded: dict[str, DriverSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """NAK_DEBUG=spill leaves NVK some twenty registers: no tile forces that."""
    monkeypatch.setenv("NAK_DEBUG", "spill")
    arguments = ["compile", "--null", "nvk:172", "--type", "f16", "--path", "scalar-f32", "--format", "json"]
    done = subprocess.run([sys.executable, "-m", "vkprobe", *arguments], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (section,) = (s for s in report["sections"] if s["kind"] == "spills")
    spilling = [p for row in section["rows"] for cell in row["cells"].values() for p in cell["spilling"]]
    assert "gemm_f16_scalar_f32" in {p["kernel"] for p in spilling}
    for p in spilling:
        assert p["spills"] > 0
        assert p["registers"] < p["register_budget"]
        assert p["cause"] == cause(p["tile_registers"], p["register_budget"]) == "compiler"
    assert f"; {len(spilling)} spill" in report["headline"]


def test_kernels_of_no_type_compile_too(embedded: dict[str, DriverSpec]) -> None:
    """`--full` has copies, peaks, conversions and the sum of a split K."""
    (spec,) = resolve((), ["radv:navi31"])
    (device,) = gather([spec], "run").devices
    planned = compile_plans(device, full=True, paths=["scalar-f32"])
    planned = [p for p in planned if p.kernel.op not in ("gemm", "gemv", "dequant") or p.cell.variant.type == "q6_k"]
    records: list[AnyRecord] = []
    compiler = Compiler(spec, device, open_request(device, [p.requirement for p in planned]), run="run", limit_s=60.0, sink=records.append)
    try:
        for plan in planned:
            compiler.compile(plan)
    finally:
        compiler.session.close()
    results = [r for r in records if isinstance(r, PipelineRecord)]
    assert {p.status for p in results} == {"ok"}
    kernels = {p.kernel for p in results}
    assert {"copy_shader", "read_shader", "peak_scalar_f32", "gemm_reduce", "convert_f16", "convert_q8_1_shared"} <= kernels
    assert {"gemv_q6_k_shared", "gemv_q6_k_subgroup"} <= kernels
