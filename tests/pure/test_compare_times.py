"""Times of two files: which are judged, what else is said of them, what several runs and drivers in one file mean."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from tests.pure.sample_records import device, pipeline, result, timing
from vkprobe.compare.compare import compare
from vkprobe.compare.model import Change, Compared, Comparison
from vkprobe.compare.times import drafted, finished
from vkprobe.records import AnyRecord, Host, ResultRecord, RunRecord, Time
from vkprobe.results.store import Store

CARD = "nvidia/0"


def timed(
    median: float = 1e-3,
    *,
    seed: int = 1,
    count: int = 3,
    at: str = "2026-11-21T10:00:00.000Z",
    run: str = "r",
    noise: float = 0.01,
    **changed: Any,
) -> ResultRecord:
    """A cell with log-normal noise in rounds of 14 samples; `changed` are fields of its time, then of its record."""
    rng = random.Random(seed)
    base = result(CARD)
    time = base.time
    assert isinstance(time, Time)
    samples = [median * rng.lognormvariate(0, noise) for _ in range(14 * count)]
    fields: dict[str, Any] = {"samples_s": samples, "rounds": [i // 14 for i in range(14 * count)], "median_s": median}
    fields |= {name: changed.pop(name) for name in list(changed) if name in time.__struct_fields__}
    return msgspec.structs.replace(base, run=run, at=at, time=msgspec.structs.replace(time, **fields), **changed)


def against(old: Sequence[AnyRecord], new: Sequence[AnyRecord]) -> Comparison:
    """Files of one card under one driver."""
    card = device(CARD, run="r")
    return compare(Store([card, *old]), Store([card, *new]))


def one(old: Sequence[AnyRecord], new: Sequence[AnyRecord]) -> Compared:
    """The only cell of the comparison."""
    (cell,) = (c for c in against(old, new).cells if isinstance(c.record, ResultRecord))
    return cell


@pytest.mark.parametrize(("ratio", "verdict"), [(1.06, "slower"), (0.94, "faster"), (1.0, "same")])
def test_times_are_judged(ratio: float, verdict: str) -> None:
    """The ratio NEW over OLD decides, and its interval holds the truth."""
    cell = one([timed()], [timed(1e-3 * ratio, seed=2)])
    assert cell.verdict == verdict
    assert cell.judgement
    low, high = cell.judgement.ci95
    assert low < ratio < high
    assert cell.times == pytest.approx((1e-3, 1e-3 * ratio), rel=0.01)


def test_what_the_interval_leaves_open_is_unclear() -> None:
    """Rounds scatter by several percent, too much to see a change of 3 %."""
    scattered = [timed(noise=0.3, seed=1), timed(1.03e-3, noise=0.3, seed=2)]
    cell = one(scattered[:1], scattered[1:])
    assert (cell.verdict, cell.because) == ("unclear", "the interval holds both a change and none")


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"clock": "wall"}, "clocks differ: gpu in OLD, wall in NEW"),
        ({"spirv_sha": "other"}, "vkprobe's SPIR-V module changed"),
        ({"telemetry": {"rounds": [{"sm_clock_mhz": 1755}]}}, "core clocks differ: 1980 MHz against 1755 MHz"),
        ({"samples_s": [1e-3, 0.0], "rounds": [0, 1]}, "NEW has a sample that is no positive number"),
        ({"samples_s": [], "rounds": []}, "NEW has 0 samples in 0 places of rounds"),
        ({"median_s": 0.0}, "a median is no positive number"),
        ({"tile": "64x64x32", "spirv_sha": None}, "another tile was measured, and not both sides name their SPIR-V module"),
    ],
)
def test_what_is_not_comparable_is_not_judged(changed: dict[str, Any], because: str) -> None:
    """There is a reason instead; even twice the time isn't `slower` then."""
    old = timed(spirv_sha="one", telemetry={"rounds": [{"sm_clock_mhz": 1980}] * 3})
    new = timed(2e-3, seed=2, **{"spirv_sha": "one", "telemetry": {"rounds": [{"sm_clock_mhz": 1975}] * 3}} | changed)
    cell = one([old], [new])
    assert (cell.verdict, cell.because) == ("unjudged", because)


def test_another_tile_of_the_same_module_is_judged_and_reported() -> None:
    """The driver's facts made llama.cpp's rules choose it: the likely cause of the change."""
    cell = one([timed(spirv_sha="one")], [timed(2e-3, seed=2, spirv_sha="one", tile="64x64x32")])
    assert (cell.verdict, cell.changes) == ("slower", (Change("tile", "128x128x32", "64x64x32"),))


def test_a_cell_under_another_kernel_is_the_same_cell() -> None:
    """The kernel depends on what the driver offers: the whole of coopmat2 or a part of it."""
    whole, reduced = (
        timed(median, seed=seed, kernel=kernel, spirv_sha=kernel) for median, seed, kernel in ((1e-3, 1, "a"), (2e-3, 2, "b"))
    )
    cell = one([whole], [reduced])
    assert (cell.verdict, cell.changes[0]) == ("slower", Change("kernel", "a", "b"))


def test_records_that_do_not_name_their_module_are_judged_with_a_note() -> None:
    """Files from before it was recorded."""
    comparison = against([timed()], [timed(2e-3, spirv_sha="one")])
    assert [c.verdict for c in comparison.cells] == ["slower"]
    assert comparison.notes == ("1 records don't name their SPIR-V module: both files are taken to have measured the same one",)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        (False, True, "unsteady in OLD: it climbs"),
        (True, False, "unsteady in NEW: it climbs"),
        (False, False, "unsteady in OLD and NEW: it climbs"),
    ],
)
def test_unsteady_cells_are_unclear(old: bool, new: bool, because: str) -> None:
    """It doesn't matter which side is unsteady or how far apart the medians are; the ratio is still shown."""
    cell = one([timed(steady=old, unsteady_because="it climbs")], [timed(2e-3, steady=new, unsteady_because="it climbs")])
    assert (cell.verdict, cell.because, cell.judgement) == ("unclear", because, None)
    assert cell.ratio == pytest.approx(2)


def test_one_round_each_is_unclear() -> None:
    """The variation between rounds is unknown, so there is no interval."""
    cell = one([timed(count=1)], [timed(2e-3, count=1)])
    assert (cell.verdict, cell.because) == ("unclear", "one round on each side")


def test_runs_joined_in_one_file_are_processes() -> None:
    """A kernel with two speeds by process: one run of each looks slower, three of each do not."""
    speeds = ((1.0, 1.06, 1.03), (1.06, 1.0, 1.04))
    old, new = (
        [
            timed(1e-3 * speed, seed=10 * side + i, run="r", at=f"2026-11-2{side}T10:00:0{i}.000Z", noise=0.002)
            for i, speed in enumerate(some)
        ]
        for side, some in enumerate(speeds)
    )
    assert one(old[:1], new[:1]).verdict == "slower"
    comparison = against(old, new)
    assert [c.verdict for c in comparison.cells] == ["unclear"]
    assert "OLD holds several runs of 1 cells of nvidia/0: each run is a process of its own" in comparison.notes


def test_a_run_twice_in_a_file_is_one() -> None:
    """`cat a a` adds no evidence, and a file that holds OLD's run besides its own is judged by its own."""
    slow = timed(1.06e-3, seed=2, at="2026-11-22T10:00:00.000Z")
    assert one([timed()] * 5, [slow] * 5).judgement == one([timed()], [slow]).judgement == one([timed()], [timed(), slow]).judgement


def test_other_drivers_of_a_file_do_not_count() -> None:
    """Only runs of the newest record's driver count; a note has the number of the others."""
    older = device(CARD, run="before", version="0.9")
    slow_before = timed(5e-3, run="before", at="2026-11-20T10:00:00.000Z")
    comparison = against([older, slow_before, timed()], [timed(seed=2)])
    assert [c.verdict for c in comparison.cells] == ["same"]
    assert any(
        "1 results of nvidia/0 by another driver, SPIR-V module, tile or with other bounds checks than the newest: left out" in note
        for note in comparison.notes
    )


def test_a_slowdown_comes_with_its_likely_cause() -> None:
    """The cause is the difference in the pipeline's statistics; cells that are the same have none."""
    templates = [pipeline(CARD, "gemm_f16_coopmat", "coopmat", "f16", registers=r, spills=s) for r, s in ((96, 0), (128, 40))]
    pipelines = [msgspec.structs.replace(p, run="r") for p in templates]
    assert one([pipelines[0], timed()], [pipelines[1], timed(1.1e-3, seed=2)]).changes == (
        Change("registers", 96, 128),
        Change("spills", 0, 40),
    )
    assert one([pipelines[0], timed()], [pipelines[1], timed(seed=2)]).changes == ()


def test_environment_and_host_are_noted_where_they_differ() -> None:
    """Variables that a driver reads; not those that name the driver or come with a container image."""

    def ran(environment: dict[str, str], cpu: str) -> RunRecord:
        return RunRecord(run="r", tool="vkprobe", argv=[], host=Host(cpu=cpu, os="Debian", kernel="6"), environment=environment)

    old = ran({"RADV_DEBUG": "nocache", "VK_DRIVER_FILES": "/a.json", "NV_CUDA_LIB_VERSION": "13"}, "EPYC")
    assert against([old, timed()], [ran({"VK_DRIVER_FILES": "/b.json"}, "Xeon"), timed()]).notes[:2] == (
        "$RADV_DEBUG differs: nocache in OLD, unset in NEW",
        "the host's CPU differs: EPYC in OLD, Xeon in NEW",
    )


def test_geometric_means_of_groups() -> None:
    """Groups are by op and path, and by type if there are several; groups of one cell have none."""
    cells = [(w, s) for w in ("f16", "q4_0") for s in ((64, 512, 256), (128, 512, 256))]
    old: list[AnyRecord] = [result(CARD, weights=w, shape=s) for w, s in cells]
    new: list[AnyRecord] = [result(CARD, weights=w, shape=s, median=1e-3 * (1.21 if w == "f16" else 1.0)) for w, s in cells]
    lonely = result(CARD, op="gemv", path="scalar-f32")
    groups = {(g.op, g.path, g.type): (g.ratio, g.cells) for g in against([*old, lonely], [*new, lonely]).groups}
    assert {key: cells for key, (_, cells) in groups.items()} == {
        ("gemm", "coopmat", None): 4,
        ("gemm", "coopmat", "f16"): 2,
        ("gemm", "coopmat", "q4_0"): 2,
    }
    assert [ratio for ratio, _ in groups.values()] == pytest.approx([1.1, 1.21, 1.0])


def test_a_record_without_its_time_is_not_judged() -> None:
    """It says ok and holds no samples."""
    cell = one([msgspec.structs.replace(timed(), time=UNSET)], [timed()])
    assert (cell.verdict, cell.because) == ("unjudged", "OLD holds no time of it")


def noisy(rng: random.Random, noise: float, rounds: int) -> ResultRecord:
    """A cell whose rounds scatter; steady where they happen to agree."""
    levels = [rng.gauss(0, noise) for _ in range(rounds)]
    samples = [1e-3 * math.exp(level + rng.gauss(0, 0.003)) for level in levels for _ in range(7)]
    steady = max(levels) - min(levels) <= 0.01
    time = replace(timing(1e-3), samples_s=samples, rounds=[r for r in range(rounds) for _ in range(7)], steady=steady)
    return replace(result(), time=replace(time, unsteady_because=None if steady else "the rounds differ"))


@pytest.mark.parametrize(("noise", "rounds"), [(0.01, 3), (0.01, 5), (0.03, 3)])
def test_tables_of_cells_that_are_mostly_unsteady_hold_no_false_verdict(noise: float, rounds: int) -> None:
    """Cells that happen to look steady or far apart are judged with their whole table."""
    rng = random.Random(rounds)
    false = 0
    for _ in range(30):
        cell = Compared(device="nvidia/0", verdict="unjudged", old=result(), new=result())
        drafts = [drafted(cell, [noisy(rng, noise, rounds)], [replace(noisy(rng, noise, rounds), run="other")]) for _ in range(150)]
        false += any(c.verdict in ("slower", "faster") for c in finished(drafts))
    assert false <= 1
