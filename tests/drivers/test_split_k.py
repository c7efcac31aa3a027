"""K split over workgroups, as llama.cpp splits it on devices with many shader cores: partial products and their sum, on lavapipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker
from vkprobe.bench.cells import Selection, Shape, cells
from vkprobe.bench.device import limits, open_request
from vkprobe.bench.resolve import Resolved, Target, resolve, split
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.jobs import Job
from vkprobe.records import DeviceRecord

CORES = 64  # as if lavapipe had them: it tells no count
SHAPES = [Shape(128, 64, 2048), Shape(65, 70, 2080), Shape(131, 67, 2304)]


class Bench:
    """lavapipe, open in one worker, and its GEMMs."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker
        self._target = Target(device=device, limits=limits(device), cores=CORES)

    def gemm(self, shape: Shape, path: str, accumulator: str) -> Job:
        """A GEMM of q4_0, its K split."""
        (resolved,) = self.resolved(shape, path, accumulator)
        bm, bn = (int(x) for x in resolved.tile.split()[1].split("x"))
        return split(resolved.job, bm, bn, self._target)

    def resolved(self, shape: Shape, path: str, accumulator: str) -> list[Resolved]:
        """The cell as lavapipe itself would have it."""
        chosen = Selection(op="gemm", shapes=[shape], types=["q4_0"], paths=[path], accumulators=[accumulator])
        return resolve(list(cells(chosen, self.device)), self.device)

    def wrong(self, job: Job) -> str | None:
        """What verification says."""
        reply = self._worker.verify(job)
        wrong: str | None = reply["wrong"]
        return wrong


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """Open for the GEMM paths."""
    (device,) = gather([embedded["lvp"]], "run").devices
    planned = list(cells(Selection(op="gemm", shapes=SHAPES, types=["q4_0"]), device))
    request = open_request(device, [r.requirement for r in resolve(planned, device) if r.reason is None])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("coopmat", "f32")])
def test_parts_sum_to_the_product(bench: Bench, shape: Shape, path: str, accumulator: str) -> None:
    """Ragged edges, a last part that is shorter, and a D whose parts begin within a vector."""
    job = bench.gemm(shape, path, accumulator)
    assert job.parts > 1
    assert job.groups[2] == job.parts
    assert (job.parts - 1) * job.part_k < shape.k <= job.parts * job.part_k
    assert bench.wrong(job) is None


def test_a_part_left_out_of_the_sum_is_told(bench: Bench) -> None:
    """One part fewer is summed than was computed."""
    job = bench.gemm(SHAPES[0], "scalar-f32", "f32")
    assert job.reduce is not None
    short = replace(job, reduce=replace(job.reduce, constants=[job.reduce.constants[0], (1, job.parts - 1)]))
    assert "exact pass" in (bench.wrong(short) or "")


def test_elements_that_no_invocation_sums_are_told(bench: Bench) -> None:
    """The reduction's grid is too small."""
    job = bench.gemm(Shape(128, 128, 2048), "scalar-f32", "f32")
    assert job.reduce is not None
    assert job.reduce.groups[0] > 1
    short = replace(job, reduce=replace(job.reduce, groups=(job.reduce.groups[0] - 1, 1, 1)))
    assert "never written" in (bench.wrong(short) or "")


def test_lavapipe_itself_splits_nothing(bench: Bench) -> None:
    """It tells no shader core count, and llama.cpp splits only where there is one."""
    (resolved,) = bench.resolved(SHAPES[0], "scalar-f32", "f32")
    assert (resolved.split_k, resolved.job.reduce) == (1, None)
