"""Measuring a device whose worker is a fake: losses, retries and interrupts cost what they must and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest

from tests.pure.planned import planned
from tests.pure.recorded_devices import recorded
from vkprobe import ops
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import DriverError, WorkerFailed, WorkerLost
from vkprobe.ops.plan import Plan
from vkprobe.protocol import (
    Compile,
    Compiled,
    Done,
    Fault,
    FaultReport,
    Open,
    Opened,
    Prepare,
    Prepared,
    Release,
    Request,
    Sample,
    Sampled,
)
from vkprobe.records import AnyRecord, Check, DeviceRecord, EventRecord, PipelineRecord, ResultRecord
from vkprobe.session import device as sessions
from vkprobe.session import run as running
from vkprobe.session.campaign import exit_status
from vkprobe.session.opening import open_request
from vkprobe.session.policy import Policy
from vkprobe.session.run import DeviceRun

Kind = TypeVar("Kind", bound=Request)
Handler = Callable[[Request], Any]
POLICY = Policy(least_rounds=3, most_rounds=5, gap_s=0.0)
CHECK = Check(method="all of it", nmse=1e-9, max_abs=1e-5, bound=1e-8)
SAMPLED = Sampled(
    dispatches=100, settle_s=0.01, settle_samples_s=[1.1e-4], samples_s=[1e-4, 1e-4, 1e-4], wall_samples_s=[1.1e-4] * 3, clock="gpu",
    timestamp_period_ns=1.0, working_set_bytes=1 << 20, wrong=None,
)  # fmt: skip
REPLIES: dict[type[Request], Any] = {
    Open: Opened(executes=True, timestamps=True),
    Compile: Compiled(compile_s=0.1),
    Prepare: Prepared(check=CHECK, wrong=None, create_s=0.1, verify_s=0.1),
    Sample: SAMPLED,
    Fault: FaultReport(report="page fault at 0xdead0000"),
    Release: Done(),
}


def good(request: Request) -> Any:
    """A healthy worker's reply."""
    return REPLIES[type(request)]


def but(reply: Any, **changed: Any) -> Any:
    """The reply with some fields changed."""
    return msgspec.structs.replace(reply, **changed)


class Fakes:
    """Fake workers: how many were started, and what each was asked."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[tuple[int, Request]] = []
        self.environments: list[dict[str, str]] = []
        self.open = 0

    def start(self, spec: DriverSpec, environment: dict[str, str]) -> Fake:
        """Start the fake worker instead of a Worker."""
        self.environments.append(environment)
        self.open += 1
        return Fake(self, len(self.environments))

    def requests(self, kind: type[Kind]) -> list[Kind]:
        """Every request of a kind."""
        return [request for _, request in self.asked if isinstance(request, kind)]

    def numbers(self, *kinds: type[Request]) -> list[tuple[type[Request], int]]:
        """Kind and cell of every request of these kinds, in order."""
        return [(type(request), request.number) for _, request in self.asked if isinstance(request, kinds)]  # type: ignore[attr-defined]


class Fake:
    """A worker that answers out of a handler."""

    def __init__(self, fakes: Fakes, number: int) -> None:
        self._fakes, self.number, self.alive = fakes, number, True
        self._prepared: set[int] = set()

    def request(self, request: Request, *, timeout: float, progress: Any = None) -> Any:
        """Handled by the test."""
        assert self.alive
        self._fakes.asked.append((self.number, request))
        if isinstance(request, Prepare):
            self._prepared.add(request.number)
        elif isinstance(request, Sample):
            assert request.number in self._prepared, "a worker knows only the cells that it prepared"
        return self._fakes.handler(request)

    def stderr_tail(self) -> str:
        """The driver's last words."""
        return "some output\ndriver: assertion failed\n"

    def kill(self) -> None:
        """End it, once."""
        assert self.alive
        self.alive = False
        self._fakes.open -= 1

    close = kill


def crash() -> WorkerLost:
    """A worker that died of a signal."""
    return WorkerLost("crash", "killed by SIGSEGV", signal="SIGSEGV", stderr_tail="driver: assertion failed")


def device_lost() -> WorkerFailed:
    """A worker whose device was lost."""
    return WorkerFailed("device-lost", "vkWaitForFences gave VK_ERROR_DEVICE_LOST")


class Run:
    """A run of gemv cells, one for each N, on a fake worker."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, handler: Handler, *, columns: int = 3, device: str = "lvp", policy: Policy = POLICY
    ) -> None:
        self.fakes = Fakes(handler)
        monkeypatch.setattr(sessions, "Worker", self.fakes.start)
        self.device: DeviceRecord = recorded(device)
        shapes = [(64, n, 64) for n in range(1, columns + 1)]
        self.plans: list[Plan] = planned(self.device, "gemv", *shapes, types=["f16"])
        self.records: list[AnyRecord] = []
        self.steps: list[str] = []
        self.engine = DeviceRun(
            DriverSpec(name="lvp", icd=None),
            self.device,
            open_request(self.device, [p.requirement for p in self.plans]),
            self.plans,
            run="run",
            policy=policy,
            sink=self.records.append,
            progress=self,
        )

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """Progress is remembered."""
        assert 0 <= done < total
        self.steps.append(what)

    def measure(self) -> Run:
        """Measure all cells; no worker is left, and every cell has exactly one record."""
        self.engine.measure()
        assert self.fakes.open == 0
        assert sorted(r.axes["n"] for r in self.results) == list(range(1, len(self.plans) + 1))
        return self

    @property
    def results(self) -> list[ResultRecord]:
        """Cells as they ended."""
        return [r for r in self.records if isinstance(r, ResultRecord)]

    @property
    def statuses(self) -> dict[int, str]:
        """Status by N."""
        return {r.axes["n"]: r.status for r in self.results}

    @property
    def events(self) -> list[tuple[str, str, str | None]]:
        """(what, where, signal) of each event."""
        return [(r.what, r.where, r.signal) for r in self.records if isinstance(r, EventRecord)]

    def reason(self, n: int) -> str:
        """Why a cell ended so."""
        return next(r.reason or "" for r in self.results if r.axes["n"] == n)


def columns_of(request: Request) -> int | None:
    """N of the cell that a request is about."""
    if isinstance(request, Compile):
        return request.stage.constants["columns"]
    return request.number + 1 if isinstance(request, (Prepare, Sample, Release)) else None


def losing(kind: type[Request], n: int | None, errors: list[Exception]) -> Handler:
    """A handler that raises these errors, one each time, for a request of a kind on the cell with N = `n` (any for None)."""

    def handle(request: Request) -> Any:
        if isinstance(request, kind) and n in (None, columns_of(request)) and errors:
            raise errors.pop(0)
        return good(request)

    return handle


def test_healthy_cells_are_measured_in_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds over all cells, every sample with its round; caches off for compiling only."""
    run = Run(monkeypatch, good).measure()
    assert set(run.statuses.values()) == {"ok"}
    assert run.events == []
    assert [request.number for request in run.fakes.requests(Sample)] == [0, 1, 2] * 3
    assert run.fakes.environments == [sessions.CACHES_OFF, {}]
    for result in run.results:
        assert result.time
        assert result.time.rounds == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert len(result.time.samples_s) == len(result.time.wall_samples_s) == 9
        assert result.time.steady
        assert result.check
        assert result.compile_s == 0.1
        assert result.flops_per_s == pytest.approx(2 * 64 * 64 * result.axes["n"] / 1e-4)
        assert result.bytes_per_s == pytest.approx((64 * 64 * 2 + 4 * result.axes["n"] * 128) / 1e-4)
    assert [r.status for r in run.records if isinstance(r, PipelineRecord)] == ["ok"] * 3


@pytest.mark.parametrize("kind", [Prepare, Sample])
def test_a_crash_costs_the_one_cell_it_was_on(monkeypatch: pytest.MonkeyPatch, kind: type[Request]) -> None:
    """The event names cell and signal; the others are verified again in the next worker and end ok."""
    run = Run(monkeypatch, losing(kind, 2, [crash()])).measure()
    assert run.statuses == {1: "ok", 2: "crash", 3: "ok"}
    assert "killed by SIGSEGV" in run.reason(2)
    assert "driver: assertion failed" in run.reason(2)
    doing = "verifying" if kind is Prepare else "timing"
    assert run.events[0] == ("crash", f"{doing} gemv f16 scalar-f32 64x2x64", "SIGSEGV")
    assert [what for what, _, _ in run.events] == ["crash", "restart"]
    assert exit_status(run.results, frozenset()) == 4


def test_a_cell_lost_after_rounds_keeps_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are partial samples, never a time."""
    count = [0]

    def handle(request: Request) -> Any:
        if isinstance(request, Sample) and request.number == 1:
            count[0] += 1
            if count[0] == 3:
                raise crash()
        return good(request)

    run = Run(monkeypatch, handle).measure()
    (lost,) = (r for r in run.results if r.status == "crash")
    assert lost.partial_samples_s == [[1e-4] * 3] * 2
    assert not lost.time


@pytest.mark.parametrize(
    "error", [WorkerLost("timeout", "no answer within 60 s"), WorkerFailed("timeout", "did not finish a submit within 20 s")]
)
def test_a_hang_is_a_timeout(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The worker may hang or its device: either way it is ended, and the cell isn't tried again."""
    run = Run(monkeypatch, losing(Sample, 2, [error])).measure()
    assert run.statuses == {1: "ok", 2: "timeout", 3: "ok"}
    assert run.events[0][0] == "timeout"


@pytest.mark.parametrize("kind", [Prepare, Sample])
def test_a_lost_device_is_tried_once_more(monkeypatch: pytest.MonkeyPatch, kind: type[Request]) -> None:
    """It may have been somebody else's reset: all end ok, the event stays."""
    run = Run(monkeypatch, losing(kind, 2, [device_lost()])).measure()
    assert run.statuses == {1: "ok", 2: "ok", 3: "ok"}
    assert [what for what, _, _ in run.events] == ["device-lost", "restart"]
    assert [r.fault for r in run.records if isinstance(r, EventRecord)] == ["page fault at 0xdead0000", None]
    assert all(r.time and len(set(r.time.rounds)) >= 2 for r in run.results)


@pytest.mark.parametrize("kind", [Prepare, Sample])
def test_a_device_lost_twice_ends_its_cell(monkeypatch: pytest.MonkeyPatch, kind: type[Request]) -> None:
    """No other cell is lost."""
    run = Run(monkeypatch, losing(kind, 2, [device_lost(), device_lost()])).measure()
    assert run.statuses == {1: "ok", 2: "device-lost", 3: "ok"}
    assert exit_status(run.results, frozenset()) == 4


def test_three_losses_in_a_row_skip_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have that reason; the first three have their own."""
    run = Run(monkeypatch, losing(Prepare, None, [crash() for _ in range(9)]), columns=5).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "crash", 4: "skipped", 5: "skipped"}
    assert run.reason(5) == "the worker was lost 3 times in a row"
    assert len(run.fakes.environments) == 4


def test_a_success_between_losses_starts_the_count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four losses, never three in a row: nothing is skipped."""

    def handle(request: Request) -> Any:
        if isinstance(request, Prepare) and columns_of(request) in (1, 2, 4, 5):
            raise crash()
        return good(request)

    run = Run(monkeypatch, handle, columns=6).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "ok", 4: "crash", 5: "crash", 6: "ok"}


def test_measured_rounds_survive_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that have samples when the third loss comes are recorded, unsteady with that reason."""
    rounds = [0]

    def handle(request: Request) -> Any:
        if isinstance(request, Sample):
            rounds[0] += 1
            if rounds[0] > 5:
                raise crash()
        elif isinstance(request, Prepare) and rounds[0] > 5:
            raise crash()
        return good(request)

    run = Run(monkeypatch, handle, columns=5).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "crash", 4: "ok", 5: "ok"}
    (fifth,) = (r for r in run.results if r.axes["n"] == 5)
    assert fifth.time
    assert not fifth.time.steady
    assert fifth.time.unsteady_because == "the worker was lost 3 times in a row"


def test_a_compiler_s_crash_ends_its_cells_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's record and its cell's both say so; the cell is not tried in the measuring worker."""
    run = Run(monkeypatch, losing(Compile, 2, [crash()])).measure()
    assert run.statuses == {1: "ok", 2: "crash", 3: "ok"}
    assert run.reason(2).startswith("compiling its pipeline: killed by SIGSEGV")
    assert [r.status for r in run.records if isinstance(r, PipelineRecord)] == ["ok", "crash", "ok"]
    assert all(columns_of(request) != 2 for request in run.fakes.requests(Prepare))


def test_a_compiler_s_error_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker lives on; exit status 4."""
    run = Run(monkeypatch, losing(Compile, 2, [WorkerFailed("vk", "vkCreateComputePipelines gave VK_ERROR_UNKNOWN")])).measure()
    assert run.statuses == {1: "ok", 2: "error", 3: "ok"}
    assert run.events == []
    assert exit_status(run.results, frozenset()) == 4


def test_cells_of_one_pipeline_compile_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shapes with the same constants share the record and the time."""
    run = Run(monkeypatch, good, columns=1)
    two = planned(run.device, "gemv", (64, 1, 64), (128, 1, 64), types=["f16"])
    run.engine = DeviceRun(
        DriverSpec(name="lvp", icd=None), run.device, open_request(run.device, []), two,
        run="run", policy=POLICY, sink=run.records.append, progress=run,
    )  # fmt: skip
    run.engine.measure()
    assert len(run.fakes.requests(Compile)) == 1
    assert [r.compile_s for r in run.results] == [0.1, 0.1]


def test_wrong_cells_have_a_check_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 3; buffers are given back; a lost device's 4 is above it."""

    def handle(request: Request) -> Any:
        reply = good(request)
        broken = isinstance(request, Prepare) and columns_of(request) == 2
        return but(reply, wrong="exact pass: 1 of 64 elements differ") if broken else reply

    run = Run(monkeypatch, handle).measure()
    assert run.statuses == {1: "ok", 2: "wrong", 3: "ok"}
    (wrong,) = (r for r in run.results if r.status == "wrong")
    assert wrong.check
    assert not wrong.time
    assert wrong.reason == "exact pass: 1 of 64 elements differ"
    assert run.fakes.requests(Release) == [Release(number=1), Release(number=0), Release(number=2)]  # the others' when they are done
    assert exit_status(run.results, frozenset()) == 3
    lost = Run(monkeypatch, losing(Sample, 1, [crash()])).measure()
    assert exit_status([*run.results, *lost.results], frozenset()) == 4


def test_an_output_that_changed_while_timed_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change in any round."""
    count = [0]

    def handle(request: Request) -> Any:
        reply = good(request)
        if isinstance(request, Sample) and request.number == 0:
            count[0] += 1
            return but(reply, wrong="the output after timing is not the one that was verified before it" if count[0] == 2 else None)
        return reply

    assert Run(monkeypatch, handle).measure().statuses == {1: "wrong", 2: "ok", 3: "ok"}


def test_a_device_that_executes_nothing_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """noop, and exit status 4, for it is no null device; pipelines have been compiled."""

    def handle(request: Request) -> Any:
        return but(good(request), executes=False) if isinstance(request, Open) else good(request)

    run = Run(monkeypatch, handle).measure()
    assert set(run.statuses.values()) == {"noop"}
    assert "though it is no null device" in run.reason(1)
    assert run.fakes.numbers(Prepare, Sample) == []
    assert exit_status(run.results, frozenset()) == 4
    assert exit_status(run.results, frozenset({run.device.device})) == 0
    null = Run(monkeypatch, handle, device="nvk-172").measure()
    assert set(null.statuses.values()) == {"noop"}
    assert "a null device" in null.reason(1)
    assert len(null.fakes.environments) == 1


def test_a_device_that_can_t_be_opened_skips_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is a sentence; a worker that can't be started gives no traceback either."""
    run = Run(monkeypatch, losing(Open, None, [WorkerFailed("vk", "vkCreateDevice gave VK_ERROR_FEATURE_NOT_PRESENT")] * 9)).measure()
    assert set(run.statuses.values()) == {"skipped"}
    assert "vkCreateDevice gave VK_ERROR_FEATURE_NOT_PRESENT" in run.reason(1)
    run = Run(monkeypatch, good)

    def refuse(spec: DriverSpec, environment: dict[str, str]) -> Fake:
        raise DriverError("driver lvp: its worker could not be started with /nowhere")

    monkeypatch.setattr(sessions, "Worker", refuse)
    assert set(run.measure().statuses.values()) == {"skipped"}
    assert "/nowhere" in run.reason(1)


def test_an_interrupt_records_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells with samples, unsteady with that reason; it goes on to end the program, and no worker is left."""
    count = [0]

    def handle(request: Request) -> Any:
        if isinstance(request, Sample):
            count[0] += 1
            if count[0] == 3:
                raise KeyboardInterrupt
        return good(request)

    run = Run(monkeypatch, handle)
    with pytest.raises(KeyboardInterrupt):
        run.engine.measure()
    assert run.fakes.open == 0
    assert run.statuses == {1: "ok", 2: "ok"}
    assert all(r.time and r.time.unsteady_because == "the run was interrupted" for r in run.results)


def test_unsteady_cells_get_more_rounds_until_they_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steady ones are done after three."""
    count = [0]

    def handle(request: Request) -> Any:
        reply = good(request)
        if isinstance(request, Sample) and request.number == 0:
            count[0] += 1
            return but(reply, samples_s=[1e-4 * (1 + 0.2 * (count[0] % 2))] * 3, wall_samples_s=[1.4e-4] * 3)
        return reply

    run = Run(monkeypatch, handle).measure()
    by_n = {r.axes["n"]: r.time for r in run.results}
    assert by_n[1]
    assert by_n[2]
    assert (max(by_n[1].rounds) + 1, max(by_n[2].rounds) + 1) == (5, 3)
    assert (by_n[1].steady, by_n[2].steady) == (False, True)


def test_an_unsupported_cell_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is the record's."""
    run = Run(monkeypatch, good)
    device = run.device
    refused = planned(device, "gemm", (64, 64, 64), types=["f16"], paths=["coopmat"], tuples=["16x16x16"])
    DeviceRun(
        DriverSpec(name="lvp", icd=None), device, open_request(device, []), refused, run="run", policy=POLICY,
        sink=run.records.append, progress=run,
    ).measure()  # fmt: skip
    assert {r.status for r in run.results} == {"unsupported"}
    assert run.fakes.environments == []
    assert exit_status(run.results, frozenset()) == 0


def test_traffic_is_the_fewest_bytes() -> None:
    """Weights and activations once, the output once."""
    device = recorded("lvp")

    def traffic(op: str, weight_type: str, n: int) -> int:
        plan = planned(device, op, (64, n, 96), types=[weight_type])[0]
        return ops.find(op).traffic_bytes(plan.program)

    assert traffic("gemv", "q4_0", 3) == 64 * 3 * 18 + 4 * 3 * (96 + 64)
    assert traffic("dequant", "q8_0", 1) == 64 * 3 * 34 + 2 * 64 * 96


def test_cells_that_do_not_fit_together_are_measured_one_group_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first group's buffers are given back before the second's are made; weights that cells share count once."""
    run = Run(monkeypatch, good, columns=4)
    held = [sum(buffer.bytes for buffer in plan.program.buffers) for plan in run.plans]
    shared = 2 * 64 * 64
    monkeypatch.setattr(running, "memory_budget", lambda device: sum(held[:3]) - 2 * shared)
    run.measure()
    expected = [(kind, cell) for group in ((0, 1, 2), (3,)) for kind in (Prepare, Release) for cell in group]
    assert run.fakes.numbers(Prepare, Release) == expected
    assert [r.status for r in run.records if isinstance(r, ResultRecord)] == ["ok"] * 4


def test_a_cell_beyond_the_budget_is_tried_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver decides whether it fits."""
    run = Run(monkeypatch, good)
    monkeypatch.setattr(running, "memory_budget", lambda device: 0)
    run.measure()
    assert [r.status for r in run.records if isinstance(r, ResultRecord)] == ["ok"] * 3


def test_a_device_lost_in_the_only_round_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round follows: the cell is prepared anew at once, and ends in a record whether it is lost again or not."""
    for losses, statuses in ((1, ["ok", "ok"]), (2, ["device-lost", "ok"])):
        left = [losses]

        def handler(request: Request, left: list[int] = left) -> Any:
            if isinstance(request, Sample) and request.number == 0 and left[0]:
                left[0] -= 1
                raise device_lost()
            return good(request)

        run = Run(monkeypatch, handler, columns=2, policy=Policy(least_rounds=1, most_rounds=1, gap_s=0.0)).measure()
        assert [r.status for r in sorted(_results(run), key=lambda r: r.axes["n"])] == statuses


def test_a_cell_that_fails_while_sampled_gives_its_buffers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker lives on, and what comes after it needs the memory."""

    def handler(request: Request) -> Any:
        if isinstance(request, Sample) and request.number == 1:
            raise WorkerFailed("timestamps", "the device's timestamps stood still")
        return good(request)

    run = Run(monkeypatch, handler).measure()
    assert {request.number for request in run.fakes.requests(Release)} == {0, 1, 2}


def _results(run: Run) -> list[ResultRecord]:
    return [r for r in run.records if isinstance(r, ResultRecord)]
