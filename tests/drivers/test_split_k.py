"""K split over workgroups, as llama.cpp splits it on devices with many shader cores: partial products and their sum, on lavapipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, first, selected, with_cores
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Dispatch, Program
from vkprobe.records import DeviceRecord
from vkprobe.session.opening import open_request

Shape = tuple[int, int, int]

CORES = 64  # as if lavapipe had them: it reports no count
SHAPES: list[Shape] = [(128, 64, 2048), (65, 70, 2080), (131, 67, 2304)]


class Bench:
    """lavapipe, open in one worker, and its GEMMs."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker

    def gemm(self, shape: Shape, path: str, accumulator: str) -> Plan:
        """A GEMM of q4_0, its K split."""
        return with_cores(self.plan(shape, path, accumulator).cell, self.device, CORES)

    def plan(self, shape: Shape, path: str, accumulator: str) -> Plan:
        """The GEMM as lavapipe itself runs it."""
        (cell,) = selected(self.device, "gemm", shape, types=["q4_0"], paths=[path], accumulators=[accumulator])
        (plan,) = plans([cell], self.device)
        return plan

    def wrong(self, program: Program) -> str | None:
        """Why verification rejects a program; None if it is right."""
        return self._worker.verify(program).wrong


def reduction(plan: Plan) -> Dispatch:
    """The dispatch that sums the parts."""
    _, stage = plan.program.stages
    assert isinstance(stage, Dispatch)
    return stage


def with_reduction(plan: Plan, stage: Dispatch) -> Program:
    """The plan's program with another reduction."""
    return replace(plan.program, stages=(plan.program.stages[0], stage))


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for the GEMM paths."""
    (device,) = gather([embedded["lvp"]], "run").devices
    planned = plans(selected(device, "gemm", *SHAPES, types=["q4_0"]), device)
    request = open_request(device, [p.requirement for p in planned if p.reason is None])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("coopmat", "f32")])
def test_parts_sum_to_the_product(bench: Bench, shape: Shape, path: str, accumulator: str) -> None:
    """Ragged edges, a last part that is shorter, and a D whose parts begin within a vector."""
    plan = bench.gemm(shape, path, accumulator)
    parts, part_k = plan.split_k, first(plan.program).push[3]
    assert parts > 1
    assert first(plan.program).groups[2] == parts
    assert (parts - 1) * part_k < shape[2] <= parts * part_k
    assert bench.wrong(plan.program) is None


def test_a_part_left_out_of_the_sum_is_caught(bench: Bench) -> None:
    """One part fewer is summed than was computed."""
    plan = bench.gemm(SHAPES[0], "scalar-f32", "f32")
    stage = reduction(plan)
    assert stage.constants["parts"] == plan.split_k
    short = with_reduction(plan, replace(stage, constants={**stage.constants, "parts": plan.split_k - 1}))
    assert "exact pass" in (bench.wrong(short) or "")


def test_elements_that_no_invocation_sums_are_caught(bench: Bench) -> None:
    """The reduction's grid is too small."""
    plan = bench.gemm((128, 128, 2048), "scalar-f32", "f32")
    stage = reduction(plan)
    assert stage.groups[0] > 1
    short = with_reduction(plan, replace(stage, groups=(stage.groups[0] - 1, 1, 1)))
    assert "never written" in (bench.wrong(short) or "")


def test_lavapipe_itself_splits_nothing(bench: Bench) -> None:
    """It reports no shader core count, and llama.cpp splits only where there is one."""
    plan = bench.plan(SHAPES[0], "scalar-f32", "f32")
    assert (plan.split_k, len(plan.program.stages)) == (1, 1)
