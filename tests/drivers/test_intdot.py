"""Products with q8_1 activations, verified on lavapipe; and broken programs, which must be caught."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drivers.conftest import SharedWorker, doctored, first, selected, with_cores
from tests.drivers.test_kernels_on_lavapipe import Bench
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import Plan, plans
from vkprobe.session.opening import open_request

BLOCKS_OF_32 = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4")
SUPER_BLOCKS = ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs")
TYPES = BLOCKS_OF_32 + SUPER_BLOCKS
EVERYWHERE = ("q4_0", "q4_k")
"""A type of each kind, tested in full: lavapipe compiles for as long as a GEMV has rows times columns."""


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for both ops."""
    (device,) = gather([embedded["lvp"]], "run").devices
    wanted = [
        *selected(device, "gemm", (64, 64, 256), types=TYPES, paths=["intdot"]),
        *selected(device, "gemv", (64, 1, 256), types=TYPES, paths=["intdot"]),
    ]
    assert {c.variant.type for c in wanted} == set(TYPES)
    request = open_request(device, [p.requirement for p in plans(wanted, device)])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


def one(bench: Bench, op: str, weight_type: str, shape: tuple[int, int, int]) -> Plan:
    """The plan of a type and shape on intdot."""
    (plan,) = bench.plans(op, shape, types=[weight_type], paths=["intdot"])
    return plan


@pytest.mark.parametrize("weight_type", TYPES)
def test_gemm_of_small_and_medium_tiles(bench: Bench, weight_type: str) -> None:
    """M and N no multiples of any tile, one workgroup and several. Every type in the small tile, some in both."""
    medium = (("m", 67, 33, 256), ("m", 130, 67, 768)) if weight_type in (*EVERYWHERE, "mxfp4", "q6_k") else ()
    for size, m, n, k in (("s", 33, 9, 256), ("s", 31, 130, 512), *medium):
        plan = one(bench, "gemm", weight_type, (m, n, k))
        assert plan.tile.startswith(size)
        assert bench.wrong(plan.program) is None, plan.cell


@pytest.mark.parametrize("weight_type", BLOCKS_OF_32)
def test_gemm_of_rows_that_end_within_a_group(bench: Bench, weight_type: str) -> None:
    """K a multiple of 32 only: blocks of several rows share a group of activations, and the last step has fewer blocks."""
    for m, n, k in ((33, 9, 32), (65, 67, 96), (40, 34, 160)):
        plan = one(bench, "gemm", weight_type, (m, n, k))
        assert bench.wrong(plan.program) is None, plan.cell


@pytest.mark.parametrize("weight_type", ["q4_0", "q6_k"])
def test_gemm_of_a_split_k(bench: Bench, weight_type: str) -> None:
    """Parts of K of which the last is shorter, and their sum."""
    plan = with_cores(one(bench, "gemm", weight_type, (65, 70, 2304)).cell, bench.device, 64)
    assert plan.split_k > 1
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize("columns", range(1, 9))
def test_gemv_of_every_width(bench: Bench, columns: int) -> None:
    """Odd M; every type, whole groups of activations and, where the type allows, not."""
    for weight_type in TYPES if columns in (1, 8) else EVERYWHERE:
        for k in (256, 768) if weight_type in SUPER_BLOCKS else (32, 160, 1024):
            plan = one(bench, "gemv", weight_type, (37, columns, k))
            assert bench.wrong(plan.program) is None, plan.cell


@pytest.mark.parametrize("weight_type", TYPES)
def test_gemv_of_several_subgroups_and_rows(bench: Bench, weight_type: str) -> None:
    """NVIDIA, Intel and GCN run it like this, steps unrolled by four; M is no multiple of the rows, nor the steps of four."""
    columns, rows = (3, 4) if weight_type in EVERYWHERE else (1, 1)
    program = one(bench, "gemv", weight_type, (37, columns, 2304)).program
    constants = {"block": 32, "rows": rows, "unroll": 4}
    assert bench.wrong(doctored(program, constants=constants, groups=(-(-37 // rows), 1, 1))) is None


@pytest.mark.parametrize("weight_type", TYPES)
def test_gemv_through_shared_memory(bench: Bench, weight_type: str) -> None:
    """The reduction for devices without subgroup arithmetic."""
    program = one(bench, "gemv", weight_type, (37, 2, 256)).program
    assert bench.wrong(doctored(program, kernel=f"gemv_{weight_type}_intdot_shared")) is None


def test_a_block_too_few_is_caught(bench: Bench) -> None:
    """K cut, by a block, by the push constant that says how much a part covers."""
    program = one(bench, "gemm", "q4_0", (64, 64, 512)).program
    assert first(program).push == (64, 64, 512, 512)
    assert "exact pass" in (bench.wrong(doctored(program, push=(64, 64, 512, 480))) or "")
