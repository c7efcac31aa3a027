"""Shares of the roofline, and the copies and peaks that they take: pure, and through the engine with fake workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from tests.pure.planned import Sizes, cells, one
from tests.pure.recorded_devices import recorded
from tests.pure.sample_records import sample, timing
from tests.pure.test_engine import POLICY, Fakes, but, good
from vkprobe import ops
from vkprobe.builds import build_key
from vkprobe.cell import Cell
from vkprobe.drivers.probe import DriverOutcome
from vkprobe.drivers.spec import DriverSpec
from vkprobe.facts import Gathered
from vkprobe.ops.base import Request
from vkprobe.ops.plan import Plan, plans
from vkprobe.protocol import Compile, Open, Opened, Prepare, Sample
from vkprobe.records import AnyRecord, ResultRecord, RunRecord, Status
from vkprobe.results.keys import device_key
from vkprobe.results.store import Appender, Done, done, lately
from vkprobe.session import device as sessions
from vkprobe.session.campaign import measure
from vkprobe.session.ceilings import Ceilings, brief, needed
from vkprobe.session.policy import FULL, QUICK

H200 = recorded("nvidia-h200")
COPIES, PEAKS = (ops.find(op).cells(Request(), H200) for op in ("copy", "peak"))
(RUN,) = (r for r in sample() if isinstance(r, RunRecord))


def cell(op: str, path: str, weight_type: str = "f16", accumulator: str = "f32", *, hot: bool = False, tuple_: str = "default") -> Plan:
    """The plan of a cell of an H200."""
    sizes: Sizes = (4096, 512 if op == "gemm" else 1, 14336)
    plan = one(H200, op, sizes, types=[weight_type], paths=[path], accumulators=[accumulator], tuples=[tuple_], hot=hot)
    assert plan.reason is None
    return plan


def kernel_of(ceiling: Cell) -> str:
    """The kernel of a copy or a peak."""
    return plans([ceiling], H200)[0].kernel.name


def result(kernel: str, rate: float, *, tuple_: str | None = None, status: Status = "ok") -> ResultRecord:
    """The record of a copy (B/s) or a peak (FLOP/s)."""
    cell = next(c for c in (*COPIES, *PEAKS) if kernel_of(c) == kernel and tuple_ in (None, c.variant.tuple))
    rates: dict[str, Any] = {ops.find(cell.op).measure: rate} if status == "ok" else {}
    return ResultRecord(
        run="r", device="nvidia/0", op=cell.op, axes=dict(cell.axes), **asdict(cell.variant), kernel=kernel, status=status, **rates,
    )  # fmt: skip


BANDWIDTH = [result("copy_shader", 2e12), result("read_shader", 4e12), result("copy_device", 3e12), result("copy_from_host", 9e12)]
FLOP = 2.0 * 4096 * 512 * 14336
WEIGHTS = 4096 * 14336 * 2


def test_a_product_bound_by_arithmetic_is_compared_with_its_peak() -> None:
    """Half the peak's rate is a share of one half; what memory allows is far more."""
    ceilings = Ceilings([*BANDWIDTH, result("peak_scalar_f32", 60e12)])
    assert ceilings.share(cell("gemm", "scalar-f32"), FLOP / 30e12) == pytest.approx(0.5)
    assert ceilings.share(cell("gemm", "scalar-f32", hot=True), FLOP / 30e12) == pytest.approx(0.5)


def test_a_product_bound_by_memory_is_compared_with_the_best_copy_inside_the_device() -> None:
    """Weights, activations and results at 4 TB/s; a copy from the host counts for nothing, however fast."""
    ceilings = Ceilings([*BANDWIDTH, result("peak_scalar_f32", 60e12)])
    moved = WEIGHTS + 4 * 14336 + 4 * 4096
    assert ceilings.share(cell("gemv", "scalar-f32"), 2 * moved / 4e12) == pytest.approx(0.5)


def test_what_computes_nothing_is_compared_with_memory_alone() -> None:
    """Blocks read and f16 written; no peak is asked for."""
    plan = cell("dequant", "scalar-f32", "q4_0")
    moved = 4096 * 14336 * (18 / 32 + 2)
    assert Ceilings(BANDWIDTH).share(plan, moved / 1e12) == pytest.approx(0.25)
    assert Ceilings(BANDWIDTH).share(cell("dequant", "scalar-f32", "q4_0", hot=True), 1.0) is None


def test_a_hot_gemv_has_no_share() -> None:
    """Its weights come out of a cache, and arithmetic says nothing of it."""
    ceilings = Ceilings([*BANDWIDTH, result("peak_scalar_f32", 60e12)])
    assert ceilings.share(cell("gemv", "scalar-f32", hot=True), 1e-5) is None


@pytest.mark.parametrize(
    ("path", "weight_type", "accumulator", "kernel", "tuple_"),
    [
        ("scalar-f32", "q4_0", "f32", "peak_scalar_f32", None),
        ("scalar-f16", "q4_0", "f16", "peak_scalar_f16", None),
        ("scalar-f16", "f16", "f32", "peak_scalar_f32", None),
        ("intdot", "q8_0", "f32", "peak_intdot", None),
        ("coopmat", "q4_0", "f16", "peak_coopmat_f16_f16_f16", "16x16x16"),
        ("coopmat", "f16", "f32", "peak_coopmat_f16_f16_f32", "16x16x16"),
        ("coopmat2", "f16", "f16", "peak_coopmat2_f16_f16_f16", "128x256x64"),
    ],
)
def test_each_path_has_its_own_arithmetic(path: str, weight_type: str, accumulator: str, kernel: str, tuple_: str | None) -> None:
    """With that peak there is a share; with every other one there is none."""
    plan = cell("gemm", path, weight_type, accumulator)
    peaks = {(name, c.variant.tuple): result(name, 1e12, tuple_=c.variant.tuple) for c in PEAKS for name in [kernel_of(c)]}
    own = peaks.pop((kernel, tuple_))
    assert Ceilings([*BANDWIDTH, own]).share(plan, FLOP / 0.5e12) == pytest.approx(0.5)
    others = [p for (name, _), p in peaks.items() if not (path == "coopmat2" and name == kernel)]
    assert Ceilings([*BANDWIDTH, *others]).share(plan, FLOP / 0.5e12) is None


def test_coopmat2_takes_the_higher_of_both_scopes_but_never_the_lower_alone() -> None:
    """A peak of subgroup scope is no ceiling of a kernel of workgroup scope, unless it is above that one's."""
    plan = cell("gemm", "coopmat2", "q4_0", "f16")
    subgroup = [result("peak_coopmat_f16_f16_f16", rate, tuple_=shape) for shape, rate in (("16x16x16", 6e14), ("16x8x16", 5e14))]
    workgroup = [result("peak_coopmat2_f16_f16_f16", rate, tuple_=shape) for shape, rate in (("128x256x16", 3e14), ("128x256x64", 4e14))]
    assert Ceilings([*BANDWIDTH, *subgroup]).share(plan, FLOP / 2e14) is None
    assert Ceilings([*BANDWIDTH, *workgroup]).share(plan, FLOP / 2e14) == pytest.approx(0.5)
    assert Ceilings([*BANDWIDTH, *workgroup, *subgroup]).share(plan, FLOP / 2e14) == pytest.approx(1 / 3)


@pytest.mark.parametrize("status", ["wrong", "unsupported", "crash"])
def test_a_ceiling_that_could_not_be_had_leaves_no_share(status: Status) -> None:
    """If a peak or all copies are missing, nothing is guessed in their place."""
    peak, plan = result("peak_scalar_f32", 60e12), cell("gemm", "scalar-f32")
    assert Ceilings([*BANDWIDTH, result("peak_scalar_f32", 0, status=status)]).share(plan, 1.0) is None
    assert Ceilings([result("copy_shader", 0, status=status), peak]).share(plan, 1.0) is None


def test_copies_and_peaks_have_no_share_themselves() -> None:
    """They would be all of it."""
    ceilings = Ceilings([*BANDWIDTH, result("peak_scalar_f32", 60e12)])
    assert {ceilings.share(p, 1.0) for p in plans([*COPIES, *PEAKS], H200)} == {None}


def test_only_what_the_cells_need_is_measured_for_them() -> None:
    """Copies inside the device, and the peak of each arithmetic among them; nothing for copies and peaks that were asked for."""

    def names(*planned: Plan) -> set[tuple[str, str | None]]:
        return {(p.kernel.name, p.cell.variant.tuple) for p in needed(planned, H200)}

    inside = {("copy_shader", None), ("read_shader", None), ("copy_device", None)}
    assert names(cell("dequant", "scalar-f32", "q4_0")) == inside
    assert names(cell("gemv", "scalar-f32"), cell("gemm", "scalar-f16")) == inside | {("peak_scalar_f32", None)}
    assert names(cell("gemm", "coopmat")) == inside | {("peak_coopmat_f16_f16_f32", "16x16x16")}
    assert names(*plans(PEAKS, H200)) == set()
    both = names(cell("gemm", "coopmat2", "f16", "f16"))
    assert len(both - inside) == 6
    refused = replace(cell("gemm", "scalar-f32"), reason="no such feature")
    assert names(refused) == set()


class Campaign:
    """Cells of an H200, measured by fake workers: each dispatch takes what `good` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wanted: Sequence[Cell], handler: Any = good, device: Any = H200) -> None:
        self.fakes, self.records, self._wanted, self._device = Fakes(handler), list[AnyRecord](), wanted, device
        monkeypatch.setattr(sessions, "Worker", self.fakes.start)

    def measure(self, earlier: Done | None = None) -> list[ResultRecord]:
        """Measure all cells."""
        name = self._device.device.rpartition("/")[0]
        driver = DriverOutcome(spec=DriverSpec(name=name, icd=None), state="ok")
        measure(
            Gathered(drivers=[driver], devices=[self._device]),
            cells_of=lambda _: self._wanted,
            policy_of=lambda _: POLICY,
            run=RUN,
            sink=self.records.append,
            progress=self,
            done=earlier,
        )
        return [r for r in self.records if isinstance(r, ResultRecord)]

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """Ignore progress."""


def gemvs() -> list[Cell]:
    """Two cells."""
    return cells(H200, "gemv", (4096, 1, 14336), (4096, 2, 14336), types=["f16"])


def test_ceilings_are_measured_before_what_is_compared_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of their own, first; every cell then has its share, they have none."""
    campaign = Campaign(monkeypatch, gemvs())
    results = campaign.measure()
    assert [r.op for r in results] == ["copy"] * 3 + ["peak"] + ["gemv"] * 2
    assert all(r.status == "ok" for r in results)
    assert [r.peak_share for r in results[:4]] == [None] * 4
    assert {(r.tier, r.residency) for r in results[:4]} == {(None, None)}
    assert [r.mode for r in results] == ["shader", "read", "device", None, None, None]
    assert [set(r.axes) for r in results[:4]] == [{"bytes"}] * 3 + [{"workgroups", "invocations", "multiply_adds"}]
    best = max(r.bytes_per_s for r in results[:3] if isinstance(r.bytes_per_s, float))
    for r in results[4:]:
        assert isinstance(r.bytes_per_s, float)
        assert r.peak_share == pytest.approx(r.bytes_per_s / best)
    sampled = [request.number for request in campaign.fakes.requests(Sample)]
    assert max(i for i, c in enumerate(sampled) if c < 4) < min(i for i, c in enumerate(sampled) if c >= 4)


def test_transfers_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No shader does them: they have no pipeline, no creation time and no SPIR-V."""
    campaign = Campaign(monkeypatch, COPIES)
    results = campaign.measure()
    compiled = [request.stage.kernel for request in campaign.fakes.requests(Compile)]
    assert compiled == ["copy_shader", "read_shader"]
    transfers = [r for r in results if r.mode in ("device", "to-host", "from-host")]
    assert {r.kernel: r.spirv_sha is None and r.compile_s is None for r in transfers} == dict.fromkeys(
        ("copy_device", "copy_to_host", "copy_from_host"), True
    )


def test_a_wrong_peak_leaves_its_cells_without_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record says `wrong` and has no number; the cells are measured all the same."""

    def handle(request: Any) -> Any:
        peak = isinstance(request, Prepare) and request.program.cell.op == "peak"
        return but(good(request), wrong="1 of 2 invocations differ") if peak else good(request)

    results = Campaign(monkeypatch, gemvs(), handle).measure()
    assert [(r.op, r.status) for r in results if r.op != "copy"] == [("peak", "wrong"), ("gemv", "ok"), ("gemv", "ok")]
    assert all(not r.flops_per_s for r in results if r.op == "peak")
    assert [r.peak_share for r in results if r.op == "gemv"] == [None, None]


def test_a_resumed_run_takes_the_ceilings_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not measured again; the cells that are missing have their shares."""
    first = Campaign(monkeypatch, gemvs())
    results = first.measure()
    key = device_key(H200, RUN)
    ceilings = {(key, r.cell, build_key(r)): r for r in results if r.op in ("copy", "peak")}
    again = Campaign(monkeypatch, gemvs()).measure(Done(frozenset(ceilings), frozenset(), ceilings=ceilings))
    assert [r.op for r in again] == ["gemv", "gemv"]
    assert [r.peak_share for r in again] == [r.peak_share for r in results if r.op == "gemv"]
    fewer = {k: r for k, r in ceilings.items() if r.op == "copy"}
    missing = Campaign(monkeypatch, gemvs()).measure(Done(frozenset(fewer), frozenset(), ceilings=fewer))
    assert [r.op for r in missing] == ["peak", "gemv", "gemv"]


def test_ceilings_that_were_asked_for_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main job too has them among its cells."""
    asked = [*gemvs(), *COPIES, *(c for c in PEAKS if kernel_of(c) == "peak_scalar_f32")]
    results = Campaign(monkeypatch, asked).measure()
    assert sorted(r.op for r in results) == ["copy"] * 5 + ["gemv"] * 2 + ["peak"]
    assert all(isinstance(r.peak_share, float) for r in results if r.op == "gemv")


@pytest.mark.parametrize("kind", ["cpu", "null"])
def test_processors_and_null_devices_have_no_roofline(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Nothing is measured that was not asked for, and no share is given, though copies and peaks are among the cells."""
    device = replace(H200, type="cpu") if kind == "cpu" else replace(H200, null=True)

    def handle(request: Any) -> Any:
        return Opened(executes=kind == "cpu", timestamps=True) if isinstance(request, Open) else good(request)

    assert [r.op for r in Campaign(monkeypatch, gemvs(), handle, device).measure()] == ["gemv", "gemv"]
    results = Campaign(monkeypatch, [*gemvs(), *COPIES, *PEAKS], handle, device).measure()
    assert {r.status for r in results} <= {"ok" if kind == "cpu" else "noop", "unsupported"}
    assert not any(isinstance(r.peak_share, float) for r in results)


def test_ceilings_that_nobody_asked_for_are_measured_briefly() -> None:
    """They take the quick policy's rounds, whatever the cells have; limits are the command line's."""
    assert brief(replace(FULL, time_limit_s=7.0)) == replace(QUICK, time_limit_s=7.0)


def test_a_file_shows_which_ceilings_are_done(tmp_path: Path) -> None:
    """Ceilings that ended ok count as done, by device, cell and build."""
    records = [
        *BANDWIDTH,
        result("peak_scalar_f32", 6e13),
        result("peak_intdot", 0, status="wrong"),
        result("peak_dot2", 0, status="crash"),
    ]
    with Appender(tmp_path / "run.jsonl") as file:
        file.append(H200)
        for record in records:
            file.append(replace(record, run=H200.run, device=H200.device))
    contents = done(tmp_path / "run.jsonl")
    assert {r.kernel for r in contents.ceilings.values()} == {r.kernel for r in records[:-2]}
    assert set(contents.ceilings) < contents.cells


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({}, True),
        ({"environment": {"RADV_PERFTEST": "cswave32"}}, False),
        ({"steady": False}, False),
        ({"later": True}, False),
    ],
)
def test_a_command_takes_only_fresh_ceilings_of_its_file(tmp_path: Path, change: dict[str, Any], taken: bool) -> None:
    """Steady, of the last day, of the same host and environment; no cell counts as done."""
    run = RUN
    time = timing(1e-4, steady=change.get("steady", True))
    path = tmp_path / "records.jsonl"
    with Appender(path) as file:
        file.append(run)
        file.append(replace(H200, run=run.run))
        file.append(replace(result("read_shader", 4e12), run=run.run, device=H200.device, at=run.at, time=time))
    now = replace(run, run="now", environment=change.get("environment", run.environment))
    if "later" in change:
        now = replace(now, at="2030-01-01T00:00:00.000Z")
    recent = lately(path, now)
    mine = [r.kernel for key, r in recent.ceilings.items() if key[0] == device_key(H200, now)]
    assert mine == (["read_shader"] if taken else [])
    assert (recent.cells, recent.pipelines) == (frozenset(), frozenset())
    assert lately(tmp_path / "none.jsonl", now).ceilings == {}
