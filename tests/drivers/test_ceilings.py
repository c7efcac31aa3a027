"""Copies and peaks on lavapipe, every result checked; broken kernels, which must be caught; null devices, which compile them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, doctored, first, measured
from vkprobe import ops
from vkprobe.cell import Cell, cell
from vkprobe.cli.options import DriverChoice
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Program
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.session.opening import open_request

SMALL_BYTES = 1 << 20
_MISSING = {"peak_dot2", "peak_coopmat2_f16_f16_f16", "peak_coopmat2_f16_f16_f32"}


def copies(device: DeviceRecord) -> list[Cell]:
    """The copies that `vkprobe copy` measures on a device."""
    return ops.find("copy").cells(Request(), device)


def peaks(device: DeviceRecord) -> list[Cell]:
    """The peaks that `vkprobe peak` measures on a device."""
    return ops.find("peak").cells(Request(), device)


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, planned: list[Plan], worker: SharedWorker) -> None:
        self.programs = {p.kernel.name: p.program for p in planned}
        self._worker = worker

    def wrong(self, program: Program) -> str | None:
        """Why verification rejects a program; None if it is right."""
        return self._worker.verify(program).wrong


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for every kernel at once; copies of 1 MiB."""
    (device,) = gather([embedded["lvp"]], "run").devices
    small = [cell("copy", {"bytes": SMALL_BYTES}, mode=c.variant.mode) for c in copies(device)]
    planned = plans([*small, *peaks(device)], device)
    assert {p.kernel.name for p in planned if p.reason is not None} == _MISSING
    able = [p for p in planned if p.reason is None]
    request = open_request(device, [p.requirement for p in able])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(able, worker)


PEAKS = [
    "peak_scalar_f32", "peak_scalar_f16", "peak_intdot", "peak_coopmat_f16_f16_f16", "peak_coopmat_f16_f16_f32",
    "peak_coopmat_s8_s8_s32", "peak_coopmat_u8_u8_u32",
]  # fmt: skip
COPIES = ["copy_shader", "read_shader", "copy_device", "copy_to_host", "copy_from_host"]


@pytest.mark.parametrize("kernel", [*COPIES, *PEAKS])
def test_what_lavapipe_copies_and_multiplies_is_right(bench: Bench, kernel: str) -> None:
    """Every byte, every sum."""
    assert bench.wrong(bench.programs[kernel]) is None


@pytest.mark.parametrize("kernel", PEAKS)
def test_workgroups_that_do_nothing_are_caught(bench: Bench, kernel: str) -> None:
    """One less is dispatched than is counted."""
    program = bench.programs[kernel]
    fewer = doctored(program, groups=(first(program).groups[0] - 1, 1, 1))
    assert "differ" in str(bench.wrong(fewer)).replace("have wrong sums", "differ")


@pytest.mark.parametrize("kernel", ["copy_shader", "read_shader"])
def test_bytes_that_are_left_out_are_caught(bench: Bench, kernel: str) -> None:
    """The last workgroup's, or some of each invocation's."""
    program = bench.programs[kernel]
    if kernel == "copy_shader":
        assert "B differ" in str(bench.wrong(doctored(program, groups=(first(program).groups[0] - 1, 1, 1))))
    half = first(program).constants["each"] // 2
    assert "differ" in str(bench.wrong(doctored(program, constants={"each": half})))


def test_another_kernel_s_numbers_are_caught(bench: Bench) -> None:
    """Steps of another kind on the same words: what is checked is what was multiplied."""
    program = bench.programs["peak_scalar_f32"]
    assert "have wrong sums" in str(bench.wrong(doctored(program, kernel="peak_intdot")))


def test_matrix_peaks_do_not_depend_on_the_workgroup_s_subgroups(bench: Bench) -> None:
    """One subgroup does the tiles of four, eight have half of them idle: the result is the same."""
    program = bench.programs["peak_coopmat_f16_f16_f32"]
    axes = dict(program.cell.axes)
    work = axes["invocations"] * axes["multiply_adds"]
    assert first(program).push == (0, 0, axes["multiply_adds"], 0)
    for local in (8, 64):
        each = work // local
        resized = replace(program.cell, axes=tuple({**axes, "invocations": local, "multiply_adds": each}.items()))
        other = doctored(replace(program, cell=resized), constants={"block": local}, push=(0, 0, each, 0))
        assert bench.wrong(other) is None


def test_measured_copies_and_peaks_have_rates(embedded: dict[str, DriverSpec]) -> None:
    """Copies have a bandwidth and no FLOP, peaks FLOP and no bandwidth; neither has a share of itself."""
    outcome = measured(
        embedded["lvp"],
        lambda device: [
            *(c for c in copies(device) if c.variant.mode in ("device", "to-host")),
            *(c for c in peaks(device) if c.variant.path in ("scalar-f32", "intdot")),
        ],
    )
    by_kernel = {r.kernel: r for r in outcome.results}
    assert set(outcome.statuses) == {"ok"}
    assert {name: (bool(r.bytes_per_s), bool(r.flops_per_s)) for name, r in by_kernel.items()} == {
        "copy_device": (True, False),
        "copy_to_host": (True, False),
        "peak_scalar_f32": (False, True),
        "peak_intdot": (False, True),
    }
    assert all(r.peak_share is None for r in outcome.results)
    assert [r.kernel for r in outcome.records if isinstance(r, PipelineRecord)] == ["peak_scalar_f32", "peak_intdot"]


@pytest.mark.parametrize("name", ["radv:navi31", "radv:gfx1201", "nvk:172", "turnip:750"])
def test_null_devices_compile_every_peak(embedded: dict[str, DriverSpec], name: str) -> None:
    """Kernels have at least one instruction for each step and hardly any others: nothing was folded, nothing spilled."""
    (spec,) = DriverChoice(nulls=(name,)).specs()
    outcome = measured(spec, lambda device: [c for c in peaks(device) if c.variant.path != "coopmat2"])
    assert set(outcome.statuses) <= {"noop", "unsupported"}
    pipelines = {p.kernel: p for p in outcome.records if isinstance(p, PipelineRecord)}
    assert {"peak_scalar_f32", "peak_scalar_f16", "peak_intdot"} <= set(pipelines)
    for kernel, pipeline in pipelines.items():
        assert pipeline.status == "ok"
        assert not pipeline.spills
        if not kernel.startswith("peak_coopmat"):
            assert pipeline.instructions is not None
            halves = 2 if (name, kernel) == ("turnip:750", "peak_scalar_f16") else 1  # it has no packed f16
            assert 512 * halves <= pipeline.instructions < 1.3 * 512 * halves
        elif pipeline.matrix_instructions is not None:
            assert pipeline.matrix_instructions >= 36  # 2 x 2 sums, four pairs of additions and the last one
