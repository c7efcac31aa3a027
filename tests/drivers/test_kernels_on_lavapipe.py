"""Every kernel verified on lavapipe, on shapes whose tails are all ragged; and kernels made wrong, which must be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker
from vkprobe.bench.cells import Cell, Selection, Shape, cells
from vkprobe.bench.device import open_request
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.jobs import Job
from vkprobe.records import DeviceRecord
from vkprobe.weights import WEIGHT_TYPES


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker

    def jobs(self, op: str, shape: tuple[int, int, int], **chosen: Sequence[str]) -> list[Resolved]:
        """The cells of a selection, all of which lavapipe can run."""
        planned: list[Cell] = list(cells(Selection(op=op, shapes=[Shape(*shape)], **chosen), self.device))  # type: ignore[arg-type]
        resolved = resolve(planned, self.device)
        assert [r.reason for r in resolved] == [None] * len(resolved)
        assert resolved
        return resolved

    def wrong(self, job: Job) -> str | None:
        """What verification says of a job; None where it is right."""
        reply: dict[str, Any] = self._worker.verify(job)
        assert reply["check"]["method"]
        assert reply["wrong"] is not None or reply["check"]["nmse"] <= reply["check"]["bound"]
        wrong: str | None = reply["wrong"]
        return wrong


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """Open for every kernel at once."""
    (device,) = gather([embedded["lvp"]], "run").devices
    everything = [
        c for op, n in (("gemm", 16), ("gemv", 1), ("dequant", 1)) for c in cells(Selection(op=op, shapes=[Shape(64, n, 64)]), device)
    ]
    request = open_request(device, [r.requirement for r in resolve(everything, device)])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


TYPES = tuple(WEIGHT_TYPES)
QUANTISED = tuple(t for t in TYPES if WEIGHT_TYPES[t].elements > 1)


def three_blocks(weight_type: str) -> int:
    """K of three blocks, or three times the 32 that a step along K takes."""
    return 3 * max(32, WEIGHT_TYPES[weight_type].elements)


GEMM_PATHS = [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("scalar-f16", "f32"), ("coopmat", "f16"), ("coopmat", "f32")]


EVERYWHERE = ("f16", "q4_0", "q4_k")  # a float, a scale, a scale and an offset; lavapipe takes seconds to compile a kernel
RAGGED = [(t, *path) for t in ("f16", *QUANTISED) for path in GEMM_PATHS if t in EVERYWHERE or path == ("scalar-f32", "f32")]


COOPMAT = [(t, "coopmat", "f16") for t in ("q8_0", "q6_k", "iq4_xs", "mxfp4")]


@pytest.mark.parametrize(("weight_type", "path", "accumulator"), [*RAGGED, *COOPMAT])
def test_gemm_with_ragged_edges(bench: Bench, weight_type: str, path: str, accumulator: str) -> None:
    """M and N no multiples of any tile; K a multiple of the block only. Every type, and every path of some."""
    shape = (45, 21, three_blocks(weight_type))
    (job,) = (r.job for r in bench.jobs("gemm", shape, types=[weight_type], paths=[path], accumulators=[accumulator]))
    assert bench.wrong(job) is None


@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("coopmat", "f32")])
@pytest.mark.parametrize("shape", [(33, 9, 37), (7, 3, 5)])
def test_gemm_with_odd_k(bench: Bench, path: str, accumulator: str, shape: tuple[int, int, int]) -> None:
    """f16 weights, rows that end in the middle of a word."""
    (resolved,) = bench.jobs("gemm", shape, types=["f16"], paths=[path], accumulators=[accumulator])
    assert not resolved.aligned
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize("path", ["scalar-f32", "coopmat"])
def test_gemm_of_f32_weights(bench: Bench, path: str) -> None:
    """f32 sums on every path, as llama.cpp has it."""
    (resolved,) = bench.jobs("gemm", (45, 21, 33), types=["f32"], paths=[path])
    assert resolved.cell.accumulator == "f32"
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize("k", [96, 33])
def test_gemm_of_bf16_weights_widened_to_f32(bench: Bench, k: int) -> None:
    """No bf16 arithmetic asked for; rows that end in the middle of a word too."""
    (resolved,) = bench.jobs("gemm", (45, 21, k), types=["bf16"], paths=["scalar-f32"])
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f16", "f16"), ("coopmat", "f16")])
def test_gemm_of_medium_tiles(bench: Bench, path: str, accumulator: str) -> None:
    """More than one workgroup along M and N, both ragged, K beyond one step and its alignment."""
    (resolved,) = bench.jobs("gemm", (130, 70, 160), types=["q4_0"], paths=[path], accumulators=[accumulator])
    assert resolved.tile.startswith("m 64x64")
    assert not resolved.aligned
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize(("weight_type", "columns"), [(t, n) for t in TYPES for n in (range(1, 9) if t in EVERYWHERE else (1, 8))])
def test_gemv_of_every_width(bench: Bench, weight_type: str, columns: int) -> None:
    """Odd M, so that the last workgroup has rows to leave out; every type."""
    (resolved,) = bench.jobs("gemv", (37, columns, three_blocks(weight_type)), types=[weight_type], paths=["scalar-f32"])
    assert bench.wrong(resolved.job) is None


@pytest.mark.parametrize("shape", [(5, 1, 33), (1, 8, 1), (3, 2, 2049), (64, 1, 8), (5, 2, 226), (5, 1, 259)])
@pytest.mark.parametrize("unroll", [1, 4])
def test_gemv_with_odd_k(bench: Bench, shape: tuple[int, int, int], unroll: int) -> None:
    """Rows of floats that end anywhere, also in the last of several steps at a time; rows left over of a workgroup's."""
    for resolved in bench.jobs("gemv", shape, types=["f16", "bf16", "f32"]):
        constants = [(i, unroll if i == 4 else value) for i, value in resolved.job.constants]
        assert bench.wrong(replace(resolved.job, constants=constants)) is None, resolved.cell


@pytest.mark.parametrize("weight_type", TYPES)
def test_gemv_through_shared_memory(bench: Bench, weight_type: str) -> None:
    """The reduction for devices without subgroup arithmetic, or with subgroups narrower than a type wants."""
    (resolved,) = bench.jobs("gemv", (37, 2, three_blocks(weight_type)), types=[weight_type], paths=["scalar-f32"])
    assert bench.wrong(replace(resolved.job, kernel=f"gemv_{weight_type}_shared")) is None


@pytest.mark.parametrize(("weight_type", "k"), [("f16", 32), ("f16", 33), ("q4_0", 64)])
def test_gemv_of_one_invocation(bench: Bench, weight_type: str, k: int) -> None:
    """As a device whose subgroups are one invocation wide has it: nothing to reduce, all to store."""
    (resolved,) = bench.jobs("gemv", (5, 2, k), types=[weight_type], paths=["scalar-f32"])
    constants = [(i, 1 if i == 0 else value) for i, value in resolved.job.constants]
    assert bench.wrong(replace(resolved.job, kernel=f"gemv_{weight_type}_shared", constants=constants)) is None


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("k", [1280, 1792])
def test_gemv_of_several_subgroups(bench: Bench, weight_type: str, k: int) -> None:
    """As on NVIDIA and Intel: four subgroups to a workgroup, their sums added through shared memory; four steps along K at a time, then
    two, then one (quantised: 5 and 7 of 256; floats: 10 and 14 of 128)."""
    (resolved,) = bench.jobs("gemv", (37, 3, k), types=[weight_type], paths=["scalar-f32"])
    constants = [(i, {0: 32, 4: 4}.get(i, value)) for i, value in resolved.job.constants]
    assert bench.wrong(replace(resolved.job, kernel=f"gemv_{weight_type}_subgroup", constants=constants)) is None


@pytest.mark.parametrize("weight_type", ["q4_k", "q6_k", "iq4_xs", "mxfp4"])
def test_gemv_of_workgroups_wider_than_the_row(bench: Bench, weight_type: str) -> None:
    """One block to a row: most invocations add nothing."""
    (resolved,) = bench.jobs("gemv", (5, 1, WEIGHT_TYPES[weight_type].elements), types=[weight_type], paths=["scalar-f32"])
    constants = [(i, 128 if i == 0 else value) for i, value in resolved.job.constants]
    assert bench.wrong(replace(resolved.job, constants=constants)) is None


@pytest.mark.parametrize("weight_type", ["bf16", *QUANTISED])
@pytest.mark.parametrize(("m", "blocks"), [(1, 1), (37, 3), (129, 128)])
def test_dequant(bench: Bench, m: int, blocks: int, weight_type: str) -> None:
    """One block, a ragged last workgroup, many workgroups."""
    elements = max(32, WEIGHT_TYPES[weight_type].elements)
    (resolved,) = bench.jobs("dequant", (m, 1, min(blocks * elements, 4096)), types=[weight_type])
    assert bench.wrong(resolved.job) is None


def test_folded_grids_cover_every_row(bench: Bench) -> None:
    """A grid of two dimensions with workgroups to spare, as where M is beyond a dimension's limit."""
    (gemv,) = bench.jobs("gemv", (201, 1, 64), types=["q8_0"], paths=["scalar-f32"])
    assert bench.wrong(replace(gemv.job, groups=(20, -(-gemv.job.groups[0] // 20), 1))) is None
    dequant = bench.jobs("dequant", (129, 1, 4096))[0]
    assert bench.wrong(replace(dequant.job, groups=(10, -(-dequant.job.groups[0] // 10), 1))) is None


def test_a_workgroup_too_few_is_told(bench: Bench) -> None:
    """Its elements are never written."""
    (gemv,) = bench.jobs("gemv", (64, 2, 64), types=["f16"])
    assert gemv.job.groups == (32, 1, 1)
    assert bench.wrong(replace(gemv.job, groups=(31, 1, 1))) == "4 of 128 output elements were never written"
    (gemm,) = bench.jobs("gemm", (45, 21, 96), types=["q4_0"], paths=["scalar-f16"], accumulators=["f16"])
    assert bench.wrong(replace(gemm.job, groups=(1, 1, 1))) == f"{13 * 21} of {45 * 21} output elements were never written"
    dequant = bench.jobs("dequant", (64, 1, 512))[0]
    x, y, z = dequant.job.groups
    assert "2048 of 32768 output elements were never written" in (bench.wrong(replace(dequant.job, groups=(x - 1, y, z))) or "")


def test_a_column_too_few_is_told(bench: Bench) -> None:
    """A specialisation constant that says N = 2 where it is 3."""
    (gemv,) = bench.jobs("gemv", (64, 3, 64), types=["q4_0"], paths=["scalar-f32"])
    constants = [(i, 2 if i == 2 else value) for i, value in gemv.job.constants]
    assert bench.wrong(replace(gemv.job, constants=constants)) == "64 of 192 output elements were never written"


def test_a_kernel_of_another_type_is_told(bench: Bench) -> None:
    """Blocks taken for what they are not."""
    (gemv,) = bench.jobs("gemv", (64, 1, 64), types=["q8_0"], paths=["scalar-f32"])
    assert "exact pass" in (bench.wrong(replace(gemv.job, kernel="gemv_q4_0_subgroup")) or "")
    dequant = next(r for r in bench.jobs("dequant", (64, 1, 512)) if r.cell.type == "q8_0")
    assert "elements differ" in (bench.wrong(replace(dequant.job, kernel="dequant_q4_0")) or "")


@pytest.mark.parametrize("path", ["scalar-f16", "coopmat"])
def test_an_f16_accumulator_where_f32_is_claimed_is_told(bench: Bench, path: str) -> None:
    """Integers are exact in both: only the random pass can tell, and does."""
    (gemm,) = bench.jobs("gemm", (32, 16, 2048), types=["f16"], paths=[path], accumulators=["f16"])
    assert bench.wrong(gemm.job) is None
    assert "random pass" in (bench.wrong(replace(gemm.job, accumulator="f32")) or "")


def test_a_lost_part_of_the_reduction_is_told(bench: Bench) -> None:
    """Two subgroups under constants that say one: the second one's sums are dropped."""
    (gemv,) = bench.jobs("gemv", (64, 1, 512), types=["q4_0"], paths=["scalar-f32"])
    constants = [(i, 16 if i in (0, 3) else value) for i, value in gemv.job.constants]
    assert "exact pass" in (bench.wrong(replace(gemv.job, constants=constants)) or "")
