"""Copies and peaks on lavapipe, every result checked; kernels made wrong, which must be told; null devices, which compile them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, measured
from vkprobe.bench.device import open_request
from vkprobe.bench.peaks import copy_cells, peak_cells
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.cli.options import DriverChoice
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.jobs import Job
from vkprobe.records import PipelineRecord

SMALL = 1 << 18
_MISSING = {"peak_dot2", "peak_coopmat2_f16_f16_f16", "peak_coopmat2_f16_f16_f32"}


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, resolved: list[Resolved], worker: SharedWorker) -> None:
        self.jobs = {r.kernel.name: r.job for r in resolved}
        self._worker = worker

    def wrong(self, job: Job) -> str | None:
        """What verification says of a job; None where it is right."""
        reply = self._worker.verify(job)
        wrong: str | None = reply["wrong"]
        return wrong


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """Open for every kernel at once; copies of 1 MiB."""
    (device,) = gather([embedded["lvp"]], "run").devices
    small = [replace(c, shape=replace(c.shape, k=SMALL)) for c in copy_cells(device)]
    resolved = resolve([*small, *peak_cells(device)], device)
    assert {r.kernel.name for r in resolved if r.reason is not None} == _MISSING
    able = [r for r in resolved if r.reason is None]
    request = open_request(device, [r.requirement for r in able])
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
    assert bench.wrong(bench.jobs[kernel]) is None


@pytest.mark.parametrize("kernel", PEAKS)
def test_workgroups_that_do_nothing_are_told(bench: Bench, kernel: str) -> None:
    """One less is dispatched than is counted."""
    job = bench.jobs[kernel]
    assert "differ" in str(bench.wrong(replace(job, groups=(job.groups[0] - 1, 1, 1)))).replace("have wrong sums", "differ")


@pytest.mark.parametrize("kernel", ["copy_shader", "read_shader"])
def test_bytes_that_are_left_out_are_told(bench: Bench, kernel: str) -> None:
    """The last workgroup's, or some of each invocation's."""
    job = bench.jobs[kernel]
    if kernel == "copy_shader":
        assert "B differ" in str(bench.wrong(replace(job, groups=(job.groups[0] - 1, 1, 1))))
    fewer = [(i, value // 2 if i == 1 else value) for i, value in job.constants]
    assert "differ" in str(bench.wrong(replace(job, constants=fewer)))


def test_another_kernel_s_numbers_are_told(bench: Bench) -> None:
    """Steps of another kind on the same words: what is checked is what was multiplied."""
    job = bench.jobs["peak_scalar_f32"]
    assert "have wrong sums" in str(bench.wrong(replace(job, kernel="peak_intdot")))


def test_matrix_peaks_do_not_depend_on_the_workgroup_s_subgroups(bench: Bench) -> None:
    """One subgroup does the tiles of four, eight have half of them idle: the result is the same."""
    job = bench.jobs["peak_coopmat_f16_f16_f32"]
    work = job.n * job.k
    for local in (8, 64):
        constants = [(i, local if i == 0 else value) for i, value in job.constants]
        assert bench.wrong(replace(job, n=local, k=work // local, constants=constants)) is None


def test_measured_copies_and_peaks_have_rates(embedded: dict[str, DriverSpec]) -> None:
    """Of copies bandwidth and no FLOP, of peaks FLOP and no bandwidth; no share of themselves."""
    outcome = measured(
        embedded["lvp"],
        lambda device: [*copy_cells(device)[2:4], *(c for c in peak_cells(device) if c.kernel in ("peak_scalar_f32", "peak_intdot"))],
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
    """As many instructions as steps at the least, and next to none besides: nothing was folded, nothing spilled."""
    (spec,) = DriverChoice(nulls=(name,)).specs()
    outcome = measured(spec, lambda device: [c for c in peak_cells(device) if c.path != "coopmat2"])
    assert set(outcome.statuses) <= {"noop", "unsupported"}
    made = {p.kernel: p for p in outcome.records if isinstance(p, PipelineRecord)}
    assert {"peak_scalar_f32", "peak_scalar_f16", "peak_intdot"} <= set(made)
    for kernel, pipeline in made.items():
        assert pipeline.status == "ok"
        assert not pipeline.spills
        if not kernel.startswith("peak_coopmat"):
            assert pipeline.instructions is not None
            halves = 2 if (name, kernel) == ("turnip:750", "peak_scalar_f16") else 1  # it has no packed f16
            assert 512 * halves <= pipeline.instructions < 1.3 * 512 * halves
        elif pipeline.matrix_instructions is not None:
            assert pipeline.matrix_instructions >= 36  # 2 x 2 sums, four pairs of additions and the last one
