"""Activations converted to f16, bf16 and q8_1, verified on lavapipe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker
from tests.drivers.test_kernels_on_lavapipe import Bench
from vkprobe.bench.cells import Selection, Shape, cells
from vkprobe.bench.device import open_request
from vkprobe.bench.resolve import resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """Open for conversions."""
    (device,) = gather([embedded["lvp"]], "run").devices
    resolved = resolve(list(cells(Selection(op="convert", shapes=[Shape(1, 1, 256)]), device)), device)
    request = open_request(device, [r.requirement for r in resolved])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


@pytest.mark.parametrize("shape", [(1, 1, 32), (1, 3, 32), (1, 5, 96), (1, 33, 4096)])
def test_conversions(bench: Bench, shape: tuple[int, int, int]) -> None:
    """Less than a group of blocks, a ragged last group, many workgroups."""
    resolved = bench.jobs("convert", shape)
    assert {r.cell.type for r in resolved} == {"f16", "bf16", "q8_1"}
    for one_type in resolved:
        assert bench.wrong(one_type.job) is None, one_type.cell


@pytest.mark.parametrize("weight_type", ["f16", "bf16"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 5), (1, 2, 33)])
def test_conversion_to_16_bits_of_any_k(bench: Bench, shape: tuple[int, int, int], weight_type: str) -> None:
    """N * K no multiple of four."""
    (resolved,) = bench.jobs("convert", shape, types=[weight_type])
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize("shape", [(1, 3, 32), (1, 5, 4096)])
def test_conversion_to_q8_1_through_shared_memory(bench: Bench, shape: tuple[int, int, int]) -> None:
    """For devices without clustered subgroup operations."""
    (resolved,) = bench.jobs("convert", shape, types=["q8_1"])
    assert bench.wrong(replace(resolved.job, kernel="convert_q8_1_shared")) is None
