"""coopmat2 on drivers: the reduced kernel and the decode functions verified on lavapipe, what null devices compile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, doctored, first, measured, selected
from tests.drivers.test_kernels_on_lavapipe import EVERYWHERE
from vkprobe import kernels
from vkprobe.cell import Cell
from vkprobe.cell import cell as any_cell
from vkprobe.drivers.select import resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.ops.plan import Plan, plans
from vkprobe.ops.products import REDUCED as REDUCED_TIER
from vkprobe.program import Buffer, Dispatch, Program
from vkprobe.protocol import Prepared
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.session.opening import open_request
from vkprobe.weights import WEIGHT_TYPES

TYPES = [t for t in WEIGHT_TYPES if t not in ("f32", "bf16")]
REDUCED = sorted((k.type, k.accumulator) for k in kernels.kernels().values() if k.tier == REDUCED_TIER)
QUANTISED = [t for t in TYPES if t != "f16"]
DECODED_IN_F16 = ("q6_k", "iq4_xs", "q4_1", "q5_1", "q2_k")
"""Types whose scales, or products before an offset is added, are rounded to f16: results may be off by more than the last place."""
ROWS = 32


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker

    def gemm(self, weight_type: str, accumulator: str, shape: tuple[int, int, int]) -> Plan:
        """The plan of a coopmat2 cell, which the reduced kernel runs."""
        (plan,) = plans([cell(weight_type, accumulator, shape)], self.device)
        assert plan.reason is None
        assert plan.kernel.name == f"gemm_{weight_type}_coopmat2_reduced_acc_{accumulator}"
        return plan

    def check(self, program: Program) -> Prepared:
        """The verdict on a program."""
        return self._worker.verify(program)


def cell(weight_type: str, accumulator: str, shape: tuple[int, int, int], path: str = "coopmat2") -> Cell:
    """A GEMM's cell."""
    axes = dict(zip("mnk", shape, strict=True))
    return any_cell("gemm", axes, path=path, type=weight_type, accumulator=accumulator, residency="cold", tier="mimic")


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """lavapipe, opened for every kernel of this file at once."""
    (device,) = gather([embedded["lvp"]], "run").devices
    everything = plans([cell(t, accumulator, (64, 16, 256)) for t, accumulator in REDUCED], device)
    decoding = [kernels.requirement(kernel) for kernel in kernels.kernels().values() if kernel.op == "decode"]
    request = open_request(device, [*(p.requirement for p in everything), *decoding])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


RAGGED = (45, 21)
"""M and N that every type gets, with the accumulator that llama.cpp takes; some get all."""
CASES = [(t, a, RAGGED) for t, a in REDUCED if a == WEIGHT_TYPES[t].accumulators[0]]
CASES += [(t, a, rows) for t in EVERYWHERE for a in ("f16", "f32") for rows in ((130, 70), RAGGED, (64, 32), (1, 9))]


@pytest.mark.parametrize(("weight_type", "accumulator", "rows"), sorted(set(CASES)))
def test_the_reduced_kernel_is_right_on_lavapipe(bench: Bench, weight_type: str, accumulator: str, rows: tuple[int, int]) -> None:
    """One tile and several, edges of M and N ragged or not; K of three blocks, or a whole multiple of the step."""
    m, n = rows
    k = 3 * max(32, WEIGHT_TYPES[weight_type].elements)
    assert bench.check(bench.gemm(weight_type, accumulator, (m, n, k)).program).wrong is None


@pytest.mark.parametrize("shape", [(33, 9, 37), (7, 3, 5), (70, 66, 161), (1, 1, 1)])
@pytest.mark.parametrize("accumulator", ["f16", "f32"])
def test_the_end_of_k_is_fetched_element_by_element(bench: Bench, accumulator: str, shape: tuple[int, int, int]) -> None:
    """f16 rows that begin at no multiple of 16 B and end in the middle of a matrix."""
    plan = bench.gemm("f16", accumulator, shape)
    assert not plan.aligned
    assert bench.check(plan.program).wrong is None


def test_parts_of_k_have_a_d_each(bench: Bench) -> None:
    """K of 768 in three parts, summed by the reduction: as on devices that report their shader cores."""
    m, n, k = 45, 21, 768
    program = bench.gemm("q8_0", "f32", (m, n, k)).program
    (stage,) = program.stages
    assert isinstance(stage, Dispatch)
    assert stage.push == (m, n, k, k)
    parts = replace(stage, push=(m, n, k, 256), groups=(*stage.groups[:2], 3), bindings=("weights", "activations", "scratch"))
    reduction = Dispatch(
        kernel="gemm_reduce",
        constants={"block": 256, "parts": 3},
        push=parts.push,
        bindings=("scratch", "scratch", "output"),
        groups=(-(-m * n // 1024), 1, 1),
    )
    scratch = Buffer(name="scratch", role="scratch", key="parts", bytes=3 * 4 * m * n)
    split = replace(program, stages=(parts, reduction), buffers=(*program.buffers, scratch), chain=256)
    assert bench.check(split).wrong is None


def test_a_wrong_reduced_kernel_is_caught(bench: Bench) -> None:
    """Half of K left out: the exact pass names an element."""
    program = bench.gemm("f16", "f32", (64, 32, 128)).program
    assert first(program).push == (64, 32, 128, 128)
    assert "the first at n=" in (bench.check(doctored(program, push=(64, 32, 128, 64))).wrong or "")


@pytest.mark.parametrize("weight_type", QUANTISED)
@pytest.mark.parametrize("m", [ROWS, 45])
def test_block_loads_decode_what_the_formats_say(bench: Bench, weight_type: str, m: int) -> None:
    """The functions that loads call, called as ordinary ones: every element, to the last place or within two roundings."""
    elements = WEIGHT_TYPES[weight_type].elements
    (dequant,) = plans(selected(bench.device, "dequant", (m, 1, 3 * elements), types=[weight_type], hot=True), bench.device)
    stage = Dispatch(
        kernel=f"decode_{weight_type}",
        constants={"block": 64, "bm": ROWS},
        push=(m, 1, 3 * elements),
        bindings=first(dequant.program).bindings,
        groups=(-(-m // ROWS), 3, 1),
    )
    reply = bench.check(replace(dequant.program, stages=(stage,)))
    if weight_type in DECODED_IN_F16:
        assert float(reply.check.nmse) < (2.0**-11) ** 2
        assert "never written" not in (reply.wrong or "")
    else:
        assert reply.wrong is None


NULLS = [
    ("radv:navi31", "dot2", "dot2_acc_f32", False),
    ("anv:bmg", "coopmat2", "coopmat2_reduced_acc_f16", True),
    ("anv:bmg", "coopmat2", "coopmat2_reduced_acc_f32", True),
]


@pytest.mark.parametrize(("name", "path", "kernel", "matrix"), NULLS)
def test_null_devices_compile_what_they_have(embedded: dict[str, DriverSpec], name: str, path: str, kernel: str, matrix: bool) -> None:
    """RADV on RDNA3 has mixed dot products, ANV operations on each element; the reduced kernel has matrix instructions there."""
    if name.startswith("anv") and not os.environ.get("VKPROBE_INTEL_SHIM"):
        pytest.skip("needs Intel's shim: make intel-shim, then VKPROBE_INTEL_SHIM=PATH make test")
    (spec,) = resolve((), [name])
    accumulator = kernel.rpartition("_")[2]
    outcome = measured(spec, lambda device: [cell(t, accumulator, (64, 16, 256), path) for t in TYPES])
    compiled = [r for r in outcome.records if isinstance(r, PipelineRecord)]
    assert {p.kernel for p in compiled} == {f"gemm_{t}_{kernel}" for t in TYPES}
    assert {p.status for p in compiled} == {"ok"}
    assert {bool(p.matrix_instructions) for p in compiled} == {matrix}
