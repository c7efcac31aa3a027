"""Null devices compile every kernel, give statistics, and end as noop."""

from __future__ import annotations

import os

import pytest

from tests.drivers.conftest import Measured, measured, selected
from vkprobe.cell import Cell
from vkprobe.drivers.select import resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.session.campaign import exit_status
from vkprobe.weights import WEIGHT_TYPES

TYPES = tuple(WEIGHT_TYPES)

BLOCKS = {"q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs", "mxfp4"}
"""Types that have products with q8_1."""
PLANNED = {
    *((weight_type, path) for weight_type in TYPES for path in ("scalar-f32", "coopmat")),
    *((weight_type, "scalar-f16") for weight_type in TYPES if weight_type != "bf16"),
    *((weight_type, "intdot") for weight_type in BLOCKS),
}
NULLS = ("nvk:172", "radv:gfx1201", "turnip:750", "anv:bmg")


def null(name: str) -> DriverSpec:
    """A null device of the embedded set."""
    if name.startswith("anv") and not os.environ.get("VKPROBE_INTEL_SHIM"):
        pytest.skip("needs Intel's shim: make intel-shim, then VKPROBE_INTEL_SHIM=PATH make test")
    (spec,) = resolve((), [name])
    return spec


def planned(device: DeviceRecord) -> list[Cell]:
    """Every kernel that all these drivers but Turnip can run, once, on shapes of the small tile, which compile fast.

    NVK's compiler takes longest by far: it gets the accumulators that llama.cpp takes.
    """
    accumulators = ("default", "s32") if device.driver.id == "VK_DRIVER_ID_MESA_NVK" else ()
    return [
        cell
        for op, shape in (("gemm", (64, 16, 256)), ("gemv", (4096, 1, 4096)), ("dequant", (4096, 1, 4096)))
        for cell in selected(device, op, shape, accumulators=accumulators if op == "gemm" else ())
        if cell.variant.path not in ("coopmat2", "dot2")
    ]


@pytest.fixture(scope="module", params=NULLS)
def outcome(request: pytest.FixtureRequest, embedded: dict[str, DriverSpec]) -> tuple[str, Measured]:
    """A null device and its measurement."""
    return request.param, measured(null(request.param), planned)


def test_every_kernel_compiles_and_none_is_timed(outcome: tuple[str, Measured]) -> None:
    """noop with a reason; coopmat is unsupported on Turnip, and of bf16 on NVK; exit status 0.

    NVK's int8 tuples have K = 32, too long for types with a scale for each 16 elements.
    """
    name, measurement = outcome
    scaled_by_16 = {t for t, row in WEIGHT_TYPES.items() if row.q8_1 is not None and row.q8_1.int8_scales == 2}
    compiled = [r for r in measurement.records if isinstance(r, PipelineRecord)]
    assert {p.status for p in compiled} == {"ok"}
    assert all((p.compile_s or 0) > 0 for p in compiled)
    lacks = {"turnip:750": set(TYPES), "nvk:172": {"bf16"}}.get(name, set())
    unsupported = {(r.type, r.path, r.accumulator == "s32") for r in measurement.results if r.status == "unsupported"}
    int8 = scaled_by_16 if name == "nvk:172" else set()
    assert unsupported == {(t, "coopmat", False) for t in lacks} | {(t, "coopmat", True) for t in int8}
    assert {(r.type, r.path) for r in measurement.results if r.status == "noop"} == PLANNED - {(t, "coopmat") for t in lacks}
    assert {r.status for r in measurement.results} == {"noop", "unsupported"} if lacks else {"noop"}
    assert all(r.reason and not r.time and not r.check for r in measurement.results)
    assert measurement.events == []
    assert exit_status(measurement.results, frozenset({f"{name}/0"})) == 0


def test_statistics_are_reported_raw_and_normal(outcome: tuple[str, Measured]) -> None:
    """Registers, spills, instructions and code size of every pipeline; matrix instructions where there are any."""
    name, measurement = outcome
    for pipeline in (r for r in measurement.records if isinstance(r, PipelineRecord)):
        assert pipeline.raw
        assert (pipeline.registers or 0) > 0
        assert (pipeline.instructions or 0) > 0
        assert (pipeline.code_bytes or 0) > 0
        assert pipeline.spills is not None
        assert (pipeline.occupancy is not None) == (not name.startswith("anv"))
        assert pipeline.subgroup_size in (8, 16, 32, 64, 128)
        if pipeline.matrix_instructions is not None:
            assert (pipeline.matrix_instructions > 0) == (pipeline.path == "coopmat"), pipeline.kernel
    if name in ("nvk:172", "radv:gfx1201", "anv:bmg"):
        assert any(r.matrix_instructions for r in measurement.records if isinstance(r, PipelineRecord))
