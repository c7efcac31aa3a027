"""Every kernel verified on lavapipe, on shapes whose tails are all ragged; and broken kernels, which must be caught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, doctored, first, selected
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import Plan, plans
from vkprobe.program import Program
from vkprobe.records import DeviceRecord
from vkprobe.session.opening import open_request
from vkprobe.weights import WEIGHT_TYPES


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker

    def plans(self, op: str, shape: tuple[int, int, int], **chosen: Sequence[str]) -> list[Plan]:
        """The plans of a selection, all of which lavapipe can run."""
        planned = plans(selected(self.device, op, shape, **chosen), self.device)
        assert [p.reason for p in planned] == [None] * len(planned)
        assert planned
        return planned

    def wrong(self, program: Program) -> str | None:
        """Why verification rejects a program; None if it is right."""
        reply = self._worker.verify(program)
        assert reply.check.method
        assert reply.wrong is not None or float(reply.check.nmse) <= float(reply.check.bound)
        return reply.wrong


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for every kernel at once."""
    (device,) = gather([embedded["lvp"]], "run").devices
    everything = [c for op, n in (("gemm", 16), ("gemv", 1), ("dequant", 1)) for c in selected(device, op, (64, n, 64))]
    request = open_request(device, [p.requirement for p in plans(everything, device)])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


TYPES = tuple(WEIGHT_TYPES)
QUANTISED = tuple(t for t in TYPES if WEIGHT_TYPES[t].elements > 1)


def three_blocks(weight_type: str) -> int:
    """K of three blocks, or three times the 32 that a step along K takes."""
    return 3 * max(32, WEIGHT_TYPES[weight_type].elements)


GEMM_PATHS = [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("scalar-f16", "f32"), ("coopmat", "f16"), ("coopmat", "f32")]


EVERYWHERE = ("f16", "q4_0", "q4_k")
"""A float, a scale, a scale and an offset: tested in full. lavapipe takes up to 15 s to compile a GEMV that holds four rows of eight
columns, so other types get one row where rows or columns aren't what is tested."""
RAGGED = [(t, *path) for t in ("f16", *QUANTISED) for path in GEMM_PATHS if t in EVERYWHERE or path == ("scalar-f32", "f32")]


COOPMAT = [(t, "coopmat", "f16") for t in ("q8_0", "q6_k", "iq4_xs", "mxfp4")]


@pytest.mark.parametrize(("weight_type", "path", "accumulator"), [*RAGGED, *COOPMAT])
def test_gemm_with_ragged_edges(bench: Bench, weight_type: str, path: str, accumulator: str) -> None:
    """M and N are no multiples of any tile, K of the block only. Every type, and every path of some."""
    shape = (45, 21, three_blocks(weight_type))
    (program,) = (p.program for p in bench.plans("gemm", shape, types=[weight_type], paths=[path], accumulators=[accumulator]))
    assert bench.wrong(program) is None


@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f32", "f32"), ("scalar-f16", "f16"), ("coopmat", "f32")])
@pytest.mark.parametrize("shape", [(33, 9, 37), (7, 3, 5)])
def test_gemm_with_odd_k(bench: Bench, path: str, accumulator: str, shape: tuple[int, int, int]) -> None:
    """f16 weights, rows that end in the middle of a word."""
    (plan,) = bench.plans("gemm", shape, types=["f16"], paths=[path], accumulators=[accumulator])
    assert not plan.aligned
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize("path", ["scalar-f32", "coopmat"])
def test_gemm_of_f32_weights(bench: Bench, path: str) -> None:
    """Sums are f32 on every path, as in llama.cpp."""
    (plan,) = bench.plans("gemm", (45, 21, 33), types=["f32"], paths=[path])
    assert plan.cell.variant.accumulator == "f32"
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize("k", [96, 33])
def test_gemm_of_bf16_weights_widened_to_f32(bench: Bench, k: int) -> None:
    """No bf16 arithmetic asked for; rows that end in the middle of a word too."""
    (plan,) = bench.plans("gemm", (45, 21, k), types=["bf16"], paths=["scalar-f32"])
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize(("path", "accumulator"), [("scalar-f16", "f16"), ("coopmat", "f16")])
def test_gemm_of_medium_tiles(bench: Bench, path: str, accumulator: str) -> None:
    """More than one workgroup along M and N, both ragged, K beyond one step and its alignment."""
    (plan,) = bench.plans("gemm", (130, 70, 160), types=["q4_0"], paths=[path], accumulators=[accumulator])
    assert plan.tile.startswith("m 64x64")
    assert not plan.aligned
    assert bench.wrong(plan.program) is None


@pytest.mark.parametrize(("weight_type", "columns"), [(t, n) for t in TYPES for n in (range(1, 9) if t in EVERYWHERE else (1, 8))])
def test_gemv_of_every_width(bench: Bench, weight_type: str, columns: int) -> None:
    """Odd M, so that the last workgroup has rows to leave out; every type."""
    (plan,) = bench.plans("gemv", (37, columns, three_blocks(weight_type)), types=[weight_type], paths=["scalar-f32"])
    narrow = columns > 1 and weight_type not in EVERYWHERE
    assert bench.wrong(one_row(plan.program) if narrow else plan.program) is None


def one_row(program: Program) -> Program:
    """The GEMV with a row to each workgroup."""
    return doctored(program, constants={"rows": 1}, groups=(program.cell.axis("m"), 1, 1))


SHAPES = [(5, 1, 33), (1, 3, 1), (3, 2, 2049), (64, 1, 8), (5, 2, 226), (5, 1, 259)]


@pytest.mark.parametrize(("shape", "unroll"), [*((shape, 1) for shape in SHAPES), *((shape, 4) for shape in SHAPES[2:])])
def test_gemv_with_odd_k(bench: Bench, shape: tuple[int, int, int], unroll: int) -> None:
    """Rows of floats that end anywhere, also in the last of several steps at a time; rows left over of a workgroup's."""
    for plan in bench.plans("gemv", shape, types=["f16", "bf16", "f32"]):
        assert bench.wrong(doctored(plan.program, constants={"unroll": unroll})) is None, plan.cell


@pytest.mark.parametrize("weight_type", TYPES)
def test_gemv_through_shared_memory(bench: Bench, weight_type: str) -> None:
    """The reduction for devices without subgroup arithmetic, or with subgroups narrower than a type wants."""
    (plan,) = bench.plans("gemv", (37, 2, three_blocks(weight_type)), types=[weight_type], paths=["scalar-f32"])
    program = plan.program if weight_type in EVERYWHERE else one_row(plan.program)
    assert bench.wrong(doctored(program, kernel=f"gemv_{weight_type}_shared")) is None


@pytest.mark.parametrize(("weight_type", "k"), [("f16", 32), ("f16", 33), ("q4_0", 64)])
def test_gemv_of_one_invocation(bench: Bench, weight_type: str, k: int) -> None:
    """If subgroups have only one invocation, there is nothing to reduce, and every invocation stores."""
    (plan,) = bench.plans("gemv", (5, 2, k), types=[weight_type], paths=["scalar-f32"])
    assert bench.wrong(doctored(plan.program, kernel=f"gemv_{weight_type}_shared", constants={"block": 1})) is None


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("k", [1280, 1792])
def test_gemv_of_several_subgroups(bench: Bench, weight_type: str, k: int) -> None:
    """A workgroup has four subgroups, as on NVIDIA and Intel, and adds their sums through shared memory.

    K goes in four steps at a time, then two, then one (quantised: 5 and 7 of 256; floats: 10 and 14 of 128)."""
    everything = weight_type in EVERYWHERE
    (plan,) = bench.plans("gemv", (37, 3 if everything else 2, k), types=[weight_type], paths=["scalar-f32"])
    program = plan.program if everything else one_row(plan.program)
    constants = {"block": 32, "unroll": 4}
    assert bench.wrong(doctored(program, kernel=f"gemv_{weight_type}_subgroup", constants=constants)) is None


@pytest.mark.parametrize("weight_type", ["q4_k", "q6_k", "iq4_xs", "mxfp4"])
def test_gemv_of_workgroups_wider_than_the_row(bench: Bench, weight_type: str) -> None:
    """One block to a row: most invocations add nothing."""
    (plan,) = bench.plans("gemv", (5, 1, WEIGHT_TYPES[weight_type].elements), types=[weight_type], paths=["scalar-f32"])
    assert bench.wrong(doctored(plan.program, constants={"block": 128})) is None


@pytest.mark.parametrize("weight_type", ["bf16", *QUANTISED])
@pytest.mark.parametrize(("m", "blocks"), [(1, 1), (37, 3), (129, 128)])
def test_dequant(bench: Bench, m: int, blocks: int, weight_type: str) -> None:
    """One block, a ragged last workgroup, many workgroups."""
    elements = max(32, WEIGHT_TYPES[weight_type].elements)
    (plan,) = bench.plans("dequant", (m, 1, min(blocks * elements, 4096)), types=[weight_type])
    assert bench.wrong(plan.program) is None


def test_folded_grids_cover_every_row(bench: Bench) -> None:
    """A grid of two dimensions with workgroups to spare, as where M is beyond a dimension's limit."""
    (gemv,) = bench.plans("gemv", (201, 1, 64), types=["q8_0"], paths=["scalar-f32"])
    assert bench.wrong(doctored(gemv.program, groups=(20, -(-first(gemv.program).groups[0] // 20), 1))) is None
    dequant = bench.plans("dequant", (129, 1, 4096))[0]
    assert bench.wrong(doctored(dequant.program, groups=(10, -(-first(dequant.program).groups[0] // 10), 1))) is None


def test_a_workgroup_too_few_is_caught(bench: Bench) -> None:
    """Its elements are never written."""
    (gemv,) = bench.plans("gemv", (64, 2, 64), types=["f16"])
    assert first(gemv.program).groups == (32, 1, 1)
    assert bench.wrong(doctored(gemv.program, groups=(31, 1, 1))) == "4 of 128 output elements were never written"
    (gemm,) = bench.plans("gemm", (45, 21, 96), types=["q4_0"], paths=["scalar-f16"], accumulators=["f16"])
    assert bench.wrong(doctored(gemm.program, groups=(1, 1, 1))) == f"{13 * 21} of {45 * 21} output elements were never written"
    dequant = bench.plans("dequant", (64, 1, 512))[0]
    x, y, z = first(dequant.program).groups
    assert "2048 of 32768 output elements were never written" in (bench.wrong(doctored(dequant.program, groups=(x - 1, y, z))) or "")


def test_a_column_too_few_is_caught(bench: Bench) -> None:
    """A specialisation constant that says N = 2 where it is 3."""
    (gemv,) = bench.plans("gemv", (64, 3, 64), types=["q4_0"], paths=["scalar-f32"])
    assert bench.wrong(doctored(gemv.program, constants={"columns": 2})) == "64 of 192 output elements were never written"


def test_a_kernel_of_another_type_is_caught(bench: Bench) -> None:
    """Blocks read as another type's."""
    (gemv,) = bench.plans("gemv", (64, 1, 64), types=["q8_0"], paths=["scalar-f32"])
    assert "exact pass" in (bench.wrong(doctored(gemv.program, kernel="gemv_q4_0_subgroup")) or "")
    dequant = next(p for p in bench.plans("dequant", (64, 1, 512)) if p.cell.variant.type == "q8_0")
    assert "elements differ" in (bench.wrong(doctored(dequant.program, kernel="dequant_q4_0")) or "")


@pytest.mark.parametrize("path", ["scalar-f16", "coopmat"])
def test_an_f16_accumulator_where_f32_is_claimed_is_caught(bench: Bench, path: str) -> None:
    """Integers are exact in both, so only the random pass can catch it."""
    (gemm,) = bench.plans("gemm", (32, 16, 2048), types=["f16"], paths=[path], accumulators=["f16"])
    assert bench.wrong(gemm.program) is None
    claiming_f32 = replace(gemm.program, cell=replace(gemm.cell, variant=replace(gemm.cell.variant, accumulator="f32")))
    assert "random pass" in (bench.wrong(claiming_f32) or "")


def test_a_lost_part_of_the_reduction_is_caught(bench: Bench) -> None:
    """Two subgroups under constants that say one: the second one's sums are dropped."""
    (gemv,) = bench.plans("gemv", (64, 1, 512), types=["q4_0"], paths=["scalar-f32"])
    constants = {"block": 16, "subgroup": 16}
    assert "exact pass" in (bench.wrong(doctored(gemv.program, constants=constants)) or "")
