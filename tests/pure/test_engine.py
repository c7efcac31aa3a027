"""Measuring a device whose worker is a fake: losses, retries and interrupts cost what they must and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.pure.recorded_devices import recorded
from vkprobe.bench import engine, lives
from vkprobe.bench.campaign import exit_status
from vkprobe.bench.cells import Selection, Shape, cells
from vkprobe.bench.device import open_request
from vkprobe.bench.engine import DeviceRun
from vkprobe.bench.policy import Policy
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import DriverError, WorkerFailed, WorkerLost
from vkprobe.footprint import buffers, traffic_bytes
from vkprobe.records import AnyRecord, DeviceRecord, EventRecord, PipelineRecord, ResultRecord

Handler = Callable[[str, dict[str, Any]], Any]
POLICY = Policy(least_rounds=3, most_rounds=5, gap_s=0.0)
CHECK = {"method": "all of it", "nmse": 1e-9, "max_abs": 1e-5, "bound": 1e-8}


def good(verb: str, arguments: dict[str, Any]) -> Any:
    """What a healthy worker replies."""
    if verb == "open":
        return {"executes": True, "timestamps": True}
    if verb == "compile":
        return {"compile_s": 0.1, "statistics": {}, "subgroup_size": None, "texts": {}}
    if verb == "prepare":
        return {"check": CHECK, "wrong": None, "create_s": 0.1, "verify_s": 0.1}
    if verb == "sample":
        return {
            "dispatches": 100, "settle_s": 0.01, "settle_samples_s": [1.1e-4], "samples_s": [1e-4, 1e-4, 1e-4],
            "wall_samples_s": [1.1e-4] * 3, "clock": "gpu", "timestamp_period_ns": 1.0, "working_set_bytes": 1 << 20, "wrong": None,
            "telemetry": {},
        }  # fmt: skip
    if verb == "fault":
        return {"report": "page fault at 0xdead0000"}
    assert verb == "release"
    return {}


class Fakes:
    """Fake workers: how many were started, and what each was asked."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[tuple[int, str, dict[str, Any]]] = []
        self.environments: list[dict[str, str]] = []
        self.open = 0

    def start(self, spec: DriverSpec, environment: dict[str, str]) -> Fake:
        """In place of Worker's constructor."""
        self.environments.append(environment)
        self.open += 1
        return Fake(self, len(self.environments))

    def verbs(self, verb: str) -> list[dict[str, Any]]:
        """The arguments of every request of a kind."""
        return [arguments for _, asked, arguments in self.asked if asked == verb]


class Fake:
    """A worker that answers out of a handler."""

    def __init__(self, fakes: Fakes, number: int) -> None:
        self._fakes, self.number, self.alive = fakes, number, True
        self._prepared: set[int] = set()

    def request(self, verb: str, *, timeout: float, **arguments: Any) -> Any:
        """Handled by the test."""
        assert self.alive
        self._fakes.asked.append((self.number, verb, arguments))
        if verb == "prepare":
            self._prepared.add(arguments["cell"])
        elif verb == "sample":
            assert arguments["cell"] in self._prepared, "a worker knows only the cells that it prepared"
        return self._fakes.handler(verb, arguments)

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
        monkeypatch.setattr(lives, "Worker", self.fakes.start)
        self.device: DeviceRecord = recorded(device)
        shapes = [Shape(64, n, 64) for n in range(1, columns + 1)]
        self.resolved: list[Resolved] = resolve(list(cells(Selection(op="gemv", shapes=shapes, types=["f16"]), self.device)), self.device)
        self.records: list[AnyRecord] = []
        self.steps: list[str] = []
        self.engine = DeviceRun(
            DriverSpec(name="lvp", icd=None),
            self.device,
            open_request(self.device, [r.requirement for r in self.resolved]),
            self.resolved,
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
        """To the end; no worker is left, and every cell has exactly one record."""
        self.engine.measure()
        assert self.fakes.open == 0
        assert sorted(r.n for r in self.results) == list(range(1, len(self.resolved) + 1))
        return self

    @property
    def results(self) -> list[ResultRecord]:
        """Cells as they ended."""
        return [r for r in self.records if isinstance(r, ResultRecord)]

    @property
    def statuses(self) -> dict[int, str]:
        """Status by N."""
        return {r.n: r.status for r in self.results}

    @property
    def events(self) -> list[tuple[str, str, str | None]]:
        """(what, where, signal) of each event."""
        return [(r.what, r.where, r.signal) for r in self.records if isinstance(r, EventRecord)]

    def reason(self, n: int) -> str:
        """Why a cell ended so."""
        return next(r.reason or "" for r in self.results if r.n == n)


def losing(verb: str, n: int | None, errors: list[Exception]) -> Handler:
    """A handler that raises these errors, one each time, for a verb on the cell with N = `n` (any for None)."""

    def handle(asked: str, arguments: dict[str, Any]) -> Any:
        columns = arguments["job"]["n"] if "job" in arguments else arguments.get("cell", -1) + 1
        if asked == verb and n in (None, columns) and errors:
            raise errors.pop(0)
        return good(asked, arguments)

    return handle


def test_healthy_cells_are_measured_in_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds over all cells, every sample with its round; caches off for compiling only."""
    run = Run(monkeypatch, good).measure()
    assert set(run.statuses.values()) == {"ok"}
    assert run.events == []
    assert [a["cell"] for a in run.fakes.verbs("sample")] == [0, 1, 2] * 3
    assert run.fakes.environments == [lives.CACHES_OFF, {}]
    for result in run.results:
        assert result.time
        assert result.time.rounds == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        assert len(result.time.samples_s) == len(result.time.wall_samples_s) == 9
        assert result.time.steady
        assert result.check
        assert result.compile_s == 0.1
        assert result.flops_per_s == pytest.approx(2 * 64 * 64 * result.n / 1e-4)
        assert result.bytes_per_s == pytest.approx((64 * 64 * 2 + 4 * result.n * 128) / 1e-4)
    assert [r.status for r in run.records if isinstance(r, PipelineRecord)] == ["ok"] * 3


@pytest.mark.parametrize("verb", ["prepare", "sample"])
def test_a_crash_costs_the_one_cell_it_was_on(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The event names cell and signal; the others are verified again in the next worker and end ok."""
    run = Run(monkeypatch, losing(verb, 2, [crash()])).measure()
    assert run.statuses == {1: "ok", 2: "crash", 3: "ok"}
    assert "killed by SIGSEGV" in run.reason(2)
    assert "driver: assertion failed" in run.reason(2)
    doing = "verifying" if verb == "prepare" else "timing"
    assert run.events[0] == ("crash", f"{doing} gemv f16 scalar-f32 64x2x64", "SIGSEGV")
    assert [what for what, _, _ in run.events] == ["crash", "restart"]
    assert exit_status(run.results, frozenset()) == 4


def test_a_cell_lost_after_rounds_keeps_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """As partial samples, never as a time."""
    count = [0]

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "sample" and arguments["cell"] == 1:
            count[0] += 1
            if count[0] == 3:
                raise crash()
        return good(verb, arguments)

    run = Run(monkeypatch, handle).measure()
    (lost,) = (r for r in run.results if r.status == "crash")
    assert lost.partial_samples_s == [[1e-4] * 3] * 2
    assert not lost.time


@pytest.mark.parametrize(
    "error", [WorkerLost("timeout", "no answer within 60 s"), WorkerFailed("timeout", "did not finish a submit within 20 s")]
)
def test_a_hang_is_a_timeout(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whether the worker hangs or its device does: it is ended, and not tried again."""
    run = Run(monkeypatch, losing("sample", 2, [error])).measure()
    assert run.statuses == {1: "ok", 2: "timeout", 3: "ok"}
    assert run.events[0][0] == "timeout"


@pytest.mark.parametrize("verb", ["prepare", "sample"])
def test_a_lost_device_is_tried_once_more(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """It may have been somebody else's reset: all end ok, the event stays."""
    run = Run(monkeypatch, losing(verb, 2, [device_lost()])).measure()
    assert run.statuses == {1: "ok", 2: "ok", 3: "ok"}
    assert [what for what, _, _ in run.events] == ["device-lost", "restart"]
    assert [r.fault for r in run.records if isinstance(r, EventRecord)] == ["page fault at 0xdead0000", None]
    assert all(r.time and len(set(r.time.rounds)) >= 2 for r in run.results)


@pytest.mark.parametrize("verb", ["prepare", "sample"])
def test_a_device_lost_twice_ends_its_cell(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """And no other."""
    run = Run(monkeypatch, losing(verb, 2, [device_lost(), device_lost()])).measure()
    assert run.statuses == {1: "ok", 2: "device-lost", 3: "ok"}
    assert exit_status(run.results, frozenset()) == 4


def test_three_losses_in_a_row_skip_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With that reason; the first three have theirs."""
    run = Run(monkeypatch, losing("prepare", None, [crash() for _ in range(9)]), columns=5).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "crash", 4: "skipped", 5: "skipped"}
    assert run.reason(5) == "the worker was lost 3 times in a row"
    assert len(run.fakes.environments) == 4


def test_a_success_between_losses_starts_the_count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four losses, never three in a row: nothing is skipped."""

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "prepare" and arguments["job"]["n"] in (1, 2, 4, 5):
            raise crash()
        return good(verb, arguments)

    run = Run(monkeypatch, handle, columns=6).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "ok", 4: "crash", 5: "crash", 6: "ok"}


def test_measured_rounds_survive_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that have samples when the third loss comes are recorded, unsteady with that reason."""
    rounds = [0]

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "sample":
            rounds[0] += 1
            if rounds[0] > 5:
                raise crash()
        elif verb == "prepare" and rounds[0] > 5:
            raise crash()
        return good(verb, arguments)

    run = Run(monkeypatch, handle, columns=5).measure()
    assert run.statuses == {1: "crash", 2: "crash", 3: "crash", 4: "ok", 5: "ok"}
    (fifth,) = (r for r in run.results if r.n == 5)
    assert fifth.time
    assert not fifth.time.steady
    assert fifth.time.unsteady_because == "the worker was lost 3 times in a row"


def test_a_compiler_s_crash_ends_its_cells_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's record and its cell's both say so; the cell is not tried in the measuring worker."""
    run = Run(monkeypatch, losing("compile", 2, [crash()])).measure()
    assert run.statuses == {1: "ok", 2: "crash", 3: "ok"}
    assert run.reason(2).startswith("compiling its pipeline: killed by SIGSEGV")
    assert [r.status for r in run.records if isinstance(r, PipelineRecord)] == ["ok", "crash", "ok"]
    assert all(a["job"]["n"] != 2 for a in run.fakes.verbs("prepare"))


def test_a_compiler_s_error_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker lives on; exit status 4."""
    run = Run(monkeypatch, losing("compile", 2, [WorkerFailed("vk", "vkCreateComputePipelines gave VK_ERROR_UNKNOWN")])).measure()
    assert run.statuses == {1: "ok", 2: "error", 3: "ok"}
    assert run.events == []
    assert exit_status(run.results, frozenset()) == 4


def test_cells_of_one_pipeline_compile_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shapes with the same constants share the record and the time."""
    run = Run(monkeypatch, good, columns=1)
    shapes = [Shape(64, 1, 64), Shape(128, 1, 64)]
    resolved = resolve(list(cells(Selection(op="gemv", shapes=shapes, types=["f16"]), run.device)), run.device)
    run.engine = DeviceRun(
        DriverSpec(name="lvp", icd=None), run.device, open_request(run.device, []), resolved,
        run="run", policy=POLICY, sink=run.records.append, progress=run,
    )  # fmt: skip
    run.engine.measure()
    assert len(run.fakes.verbs("compile")) == 1
    assert [r.compile_s for r in run.results] == [0.1, 0.1]


def test_wrong_cells_have_a_check_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 3; buffers are given back; a lost device's 4 is above it."""

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        reply = good(verb, arguments)
        return {**reply, "wrong": "exact pass: 1 of 64 elements differ"} if verb == "prepare" and arguments["job"]["n"] == 2 else reply

    run = Run(monkeypatch, handle).measure()
    assert run.statuses == {1: "ok", 2: "wrong", 3: "ok"}
    (wrong,) = (r for r in run.results if r.status == "wrong")
    assert wrong.check
    assert not wrong.time
    assert wrong.reason == "exact pass: 1 of 64 elements differ"
    assert run.fakes.verbs("release") == [{"cell": 1}, {"cell": 0}, {"cell": 2}]  # the others' when they are done
    assert exit_status(run.results, frozenset()) == 3
    lost = Run(monkeypatch, losing("sample", 1, [crash()])).measure()
    assert exit_status([*run.results, *lost.results], frozenset()) == 4


def test_an_output_that_changed_while_timed_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever round."""
    count = [0]

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        reply = good(verb, arguments)
        if verb == "sample" and arguments["cell"] == 0:
            count[0] += 1
            return {**reply, "wrong": "the output after timing is not the one that was verified before it" if count[0] == 2 else None}
        return reply

    assert Run(monkeypatch, handle).measure().statuses == {1: "wrong", 2: "ok", 3: "ok"}


def test_a_device_that_executes_nothing_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """noop, and exit status 4, for it is no null device; pipelines have been compiled."""

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        return {**good(verb, arguments), "executes": False} if verb == "open" else good(verb, arguments)

    run = Run(monkeypatch, handle).measure()
    assert set(run.statuses.values()) == {"noop"}
    assert "though it is no null device" in run.reason(1)
    assert run.fakes.verbs("prepare") == run.fakes.verbs("sample") == []
    assert exit_status(run.results, frozenset()) == 4
    assert exit_status(run.results, frozenset({run.device.device})) == 0
    null = Run(monkeypatch, handle, device="nvk-172").measure()
    assert set(null.statuses.values()) == {"noop"}
    assert "a null device" in null.reason(1)
    assert len(null.fakes.environments) == 1


def test_a_device_that_can_t_be_opened_skips_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words; and a worker that can't even be started is no traceback."""
    run = Run(monkeypatch, losing("open", None, [WorkerFailed("vk", "vkCreateDevice gave VK_ERROR_FEATURE_NOT_PRESENT")] * 9)).measure()
    assert set(run.statuses.values()) == {"skipped"}
    assert "vkCreateDevice gave VK_ERROR_FEATURE_NOT_PRESENT" in run.reason(1)
    run = Run(monkeypatch, good)

    def refuse(spec: DriverSpec, environment: dict[str, str]) -> Fake:
        raise DriverError("driver lvp: its worker could not be started with /nowhere")

    monkeypatch.setattr(lives, "Worker", refuse)
    assert set(run.measure().statuses.values()) == {"skipped"}
    assert "/nowhere" in run.reason(1)


def test_an_interrupt_records_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells with samples, unsteady with that reason; it goes on to end the program, and no worker is left."""
    count = [0]

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "sample":
            count[0] += 1
            if count[0] == 3:
                raise KeyboardInterrupt
        return good(verb, arguments)

    run = Run(monkeypatch, handle)
    with pytest.raises(KeyboardInterrupt):
        run.engine.measure()
    assert run.fakes.open == 0
    assert run.statuses == {1: "ok", 2: "ok"}
    assert all(r.time and r.time.unsteady_because == "the run was interrupted" for r in run.results)


def test_unsteady_cells_get_more_rounds_until_they_are_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steady ones are done after three."""
    count = [0]

    def handle(verb: str, arguments: dict[str, Any]) -> Any:
        reply = good(verb, arguments)
        if verb == "sample" and arguments["cell"] == 0:
            count[0] += 1
            return {**reply, "samples_s": [1e-4 * (1 + 0.2 * (count[0] % 2))] * 3, "wall_samples_s": [1.4e-4] * 3}
        return reply

    run = Run(monkeypatch, handle).measure()
    by_n = {r.n: r.time for r in run.results}
    assert by_n[1]
    assert by_n[2]
    assert (max(by_n[1].rounds) + 1, max(by_n[2].rounds) + 1) == (5, 3)
    assert (by_n[1].steady, by_n[2].steady) == (False, True)


def test_an_unsupported_cell_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason is the record's."""
    run = Run(monkeypatch, good)
    device = run.device
    resolved = resolve(
        list(cells(Selection(op="gemm", shapes=[Shape(64, 64, 64)], types=["f16"], paths=["coopmat"], tuples=["16x16x16"]), device)), device
    )
    engine.DeviceRun(
        DriverSpec(name="lvp", icd=None), device, open_request(device, []), resolved, run="run", policy=POLICY,
        sink=run.records.append, progress=run,
    ).measure()  # fmt: skip
    assert {r.status for r in run.results} == {"unsupported"}
    assert run.fakes.environments == []
    assert exit_status(run.results, frozenset()) == 0


def test_traffic_is_the_fewest_bytes() -> None:
    """Weights and activations once, the output once."""
    device = recorded("lvp")

    def traffic(op: str, weight_type: str, n: int) -> int:
        selection = Selection(op=op, shapes=[Shape(64, n, 96)], types=[weight_type])
        return traffic_bytes(resolve(list(cells(selection, device)), device)[0].job)

    assert traffic("gemv", "q4_0", 3) == 64 * 3 * 18 + 4 * 3 * (96 + 64)
    assert traffic("dequant", "q8_0", 1) == 64 * 3 * 34 + 2 * 64 * 96


def test_cells_that_do_not_fit_together_are_measured_one_group_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first group's buffers are given back before the second's are made; weights that cells share count once."""
    run = Run(monkeypatch, good, columns=4)
    held = [sum(buffers(r.job).values()) for r in run.resolved]
    shared = 2 * 64 * 64
    monkeypatch.setattr(engine, "memory_budget", lambda device: sum(held[:3]) - 2 * shared)
    run.measure()
    verbs = [(verb, arguments["cell"]) for _, verb, arguments in run.fakes.asked if verb in ("prepare", "release")]
    assert verbs == [(verb, cell) for group in ((0, 1, 2), (3,)) for verb in ("prepare", "release") for cell in group]
    assert [r.status for r in run.records if isinstance(r, ResultRecord)] == ["ok"] * 4


def test_a_cell_beyond_the_budget_is_tried_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it fits is the driver's to say."""
    run = Run(monkeypatch, good)
    monkeypatch.setattr(engine, "memory_budget", lambda device: 0)
    run.measure()
    assert [r.status for r in run.records if isinstance(r, ResultRecord)] == ["ok"] * 3


def test_a_device_lost_in_the_only_round_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """No round follows: the cell is prepared anew at once, and ends in a record whether it is lost again or not."""
    for losses, statuses in ((1, ["ok", "ok"]), (2, ["device-lost", "ok"])):
        left = [losses]

        def handler(verb: str, arguments: dict[str, Any], left: list[int] = left) -> Any:
            if verb == "sample" and arguments["cell"] == 0 and left[0]:
                left[0] -= 1
                raise device_lost()
            return good(verb, arguments)

        run = Run(monkeypatch, handler, columns=2, policy=Policy(least_rounds=1, most_rounds=1, gap_s=0.0)).measure()
        assert [r.status for r in sorted(_results(run), key=lambda r: r.n)] == statuses


def test_a_cell_that_fails_while_sampled_gives_its_buffers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker lives on, and what comes after it needs the memory."""

    def handler(verb: str, arguments: dict[str, Any]) -> Any:
        if verb == "sample" and arguments["cell"] == 1:
            raise WorkerFailed("timestamps", "the device's timestamps stood still")
        return good(verb, arguments)

    run = Run(monkeypatch, handler).measure()
    assert {arguments["cell"] for arguments in run.fakes.verbs("release")} == {0, 1, 2}


def _results(run: Run) -> list[ResultRecord]:
    return [r for r in run.records if isinstance(r, ResultRecord)]
