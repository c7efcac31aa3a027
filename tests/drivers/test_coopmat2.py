"""coopmat2 on drivers: the reduced kernel and the decode functions verified on lavapipe, what null devices compile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import SharedWorker, measured
from vkprobe import kernels
from vkprobe.bench import coopmat2
from vkprobe.bench.cells import Cell, Shape
from vkprobe.bench.device import open_request
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.drivers.select import resolve as select
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import gather
from vkprobe.jobs import Job, Stage
from vkprobe.records import DeviceRecord, PipelineRecord
from vkprobe.weights import WEIGHT_TYPES

TYPES = [t for t in WEIGHT_TYPES if t not in ("f32", "bf16")]
REDUCED = sorted((k.type, k.accumulator) for k in kernels.kernels().values() if k.tier == coopmat2.REDUCED)
QUANTISED = [t for t in TYPES if t != "f16"]
DECODED_IN_F16 = ("q6_k", "iq4_xs")
"""Types whose scales are products rounded to f16: results may be off by more than the last place."""
ROWS = 32


class Bench:
    """lavapipe, open in one worker for all tests of this file."""

    def __init__(self, device: DeviceRecord, worker: SharedWorker) -> None:
        self.device, self._worker = device, worker

    def gemm(self, weight_type: str, accumulator: str, shape: tuple[int, int, int]) -> Resolved:
        """A coopmat2 cell, which the reduced kernel runs."""
        (made,) = resolve([cell(weight_type, accumulator, shape)], self.device)
        assert made.reason is None
        assert made.kernel.name == f"gemm_{weight_type}_coopmat2_reduced_acc_{accumulator}"
        return made

    def check(self, job: Job) -> dict[str, Any]:
        """What verification says of a job."""
        reply: dict[str, Any] = self._worker.verify(job)
        return reply


def cell(weight_type: str, accumulator: str, shape: tuple[int, int, int]) -> Cell:
    """A GEMM's cell on coopmat2."""
    return Cell(op="gemm", path="coopmat2", type=weight_type, accumulator=accumulator, shape=Shape(*shape))


@pytest.fixture(scope="module")
def bench(embedded: dict[str, DriverSpec]) -> Iterator[Bench]:
    """Open for every kernel of this file at once."""
    (device,) = gather([embedded["lvp"]], "run").devices
    everything = resolve([cell(t, accumulator, (64, 16, 256)) for t, accumulator in REDUCED], device)
    decoding = [kernels.requirement(kernel) for kernel in kernels.kernels().values() if kernel.op == "decode"]
    request = open_request(device, [*(r.requirement for r in everything), *decoding])
    with SharedWorker(embedded["lvp"], request) as worker:
        yield Bench(device, worker)


@pytest.mark.parametrize(("weight_type", "accumulator"), REDUCED)
@pytest.mark.parametrize("rows", [(45, 21), (64, 32), (130, 70), (1, 9)])
def test_the_reduced_kernel_is_right_on_lavapipe(bench: Bench, weight_type: str, accumulator: str, rows: tuple[int, int]) -> None:
    """One tile and several, edges of M and N ragged or not; K of three blocks, or a whole multiple of the step."""
    m, n = rows
    k = 3 * max(32, WEIGHT_TYPES[weight_type].elements)
    assert bench.check(bench.gemm(weight_type, accumulator, (m, n, k)).job)["wrong"] is None


@pytest.mark.parametrize("shape", [(33, 9, 37), (7, 3, 5), (70, 66, 161), (1, 1, 1)])
@pytest.mark.parametrize("accumulator", ["f16", "f32"])
def test_the_end_of_k_is_fetched_element_by_element(bench: Bench, accumulator: str, shape: tuple[int, int, int]) -> None:
    """f16 rows that begin at no multiple of 16 B and end in the middle of a matrix."""
    made = bench.gemm("f16", accumulator, shape)
    assert not made.aligned
    assert bench.check(made.job)["wrong"] is None


def test_parts_of_k_have_a_d_each(bench: Bench) -> None:
    """K of 768 in three parts, summed by the reduction: as on devices that tell their shader cores."""
    made = bench.gemm("q8_0", "f32", (45, 21, 768)).job
    assert made.reduce is None
    reduction = Stage(kernel="gemm_reduce", constants=[(0, 256), (1, 3)], groups=(-(-made.m * made.n // 1024), 1, 1))
    assert bench.check(replace(made, parts=3, part_k=256, groups=(*made.groups[:2], 3), reduce=reduction))["wrong"] is None


def test_a_wrong_reduced_kernel_is_told(bench: Bench) -> None:
    """Half of K left out: the exact pass names an element."""
    made = bench.gemm("f16", "f32", (64, 32, 128)).job
    assert "the first at n=" in bench.check(replace(made, part_k=64))["wrong"]


@pytest.mark.parametrize("weight_type", QUANTISED)
@pytest.mark.parametrize("m", [ROWS, 45])
def test_block_loads_decode_what_the_formats_say(bench: Bench, weight_type: str, m: int) -> None:
    """The functions that loads call, called as ordinary ones: every element, to the last place or within two roundings."""
    elements = WEIGHT_TYPES[weight_type].elements
    job = Job(
        op="dequant",
        kernel=f"decode_{weight_type}",
        path="coopmat2",
        type=weight_type,
        accumulator="f32",
        m=m,
        n=1,
        k=3 * elements,
        hot=True,
        constants=[(0, 64), (1, ROWS)],
        groups=(-(-m // ROWS), 3, 1),
    )
    reply = bench.check(job)
    if weight_type in DECODED_IN_F16:
        assert reply["check"]["nmse"] < (2.0**-11) ** 2
        assert "never written" not in (reply["wrong"] or "")
    else:
        assert reply["wrong"] is None


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
    (spec,) = select((), [name])
    accumulator = kernel.rpartition("_")[2]
    told = measured(spec, lambda device: [replace(cell(t, accumulator, (64, 16, 256)), path=path) for t in TYPES])
    compiled = [r for r in told.records if isinstance(r, PipelineRecord)]
    assert {p.kernel for p in compiled} == {f"gemm_{t}_{kernel}" for t in TYPES}
    assert {p.status for p in compiled} == {"ok"}
    assert {bool(p.matrix_instructions) for p in compiled} == {matrix}
