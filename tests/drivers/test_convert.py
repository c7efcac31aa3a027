"""Activations converted to f16, bf16 and q8_1, verified on lavapipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.conftest import SharedWorker, doctored, selected
from tests.drivers.test_kernels_on_lavapipe import Bench
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import plans
from vkprobe.session.opening import open_request


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for conversions."""
    (device,) = gather([embedded["lvp"]], "run").devices
    planned = plans(selected(device, "convert", (1, 1, 256)), device)
    request = open_request(device, [p.requirement for p in planned])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


@pytest.mark.parametrize("shape", [(1, 1, 32), (1, 3, 32), (1, 5, 96), (1, 33, 4096)])
def test_conversions(bench: Bench, shape: tuple[int, int, int]) -> None:
    """Less than a group of blocks, a ragged last group, many workgroups."""
    planned = bench.plans("convert", shape)
    assert {p.cell.variant.type for p in planned} == {"f16", "bf16", "q8_1"}
    for plan in planned:
        assert bench.wrong(plan.program) is None, plan.cell


@pytest.mark.parametrize("weight_type", ["f16", "bf16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 5), (1, 2, 33)])
def test_conversion_to_16_bits_of_any_k(bench: Bench, shape: tuple[int, int, int], weight_type: str) -> None:
    """N * K no multiple of four."""
    (plan,) = bench.plans("convert", shape, types=[weight_type])
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize("shape", [(1, 3, 32), (1, 5, 4096)])
def test_conversion_to_q8_1_through_shared_memory(bench: Bench, shape: tuple[int, int, int]) -> None:
    """Devices without clustered subgroup operations take this kernel."""
    (plan,) = bench.plans("convert", shape, types=["q8_1"])
    assert bench.wrong(doctored(plan.program, kernel="convert_q8_1_shared")) is None
