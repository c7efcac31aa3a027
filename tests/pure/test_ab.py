"""Two drivers against each other, on fake workers: order, lives, losses, interrupts; the verdicts of blocks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tests.pure.planned import cells
from tests.pure.recorded_devices import recorded
from tests.pure.test_engine import Fake, Fakes, but, crash, good
from vkprobe.cell import Cell
from vkprobe.compare import ab as verdicts
from vkprobe.compare.conditions import met, parse
from vkprobe.compare.model import Comparison
from vkprobe.compare.timing import judge, paired, paired_lives
from vkprobe.drivers.probe import DriverOutcome
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import DriverError, NoDeviceError, UsageError
from vkprobe.facts import Gathered
from vkprobe.protocol import Prepare, Request, Sample
from vkprobe.records import AnyRecord, DeviceRecord, EventRecord, ResultRecord
from vkprobe.session import device as sessions
from vkprobe.session.ab import Contestant, Duel, Pair, same_cells
from vkprobe.session.ab_sides import contestants, distinct, varied
from vkprobe.session.policy import Policy

POLICY = Policy(gap_s=0.0, warm_s=0.5)
TIMES = {"A": 1e-4, "B": 2e-4}
Who = Callable[[str, Request], Any]
"""(side, request) -> reply."""


def gemvs(device: DeviceRecord, columns: int) -> list[Cell]:
    """One cell for each N."""
    return cells(device, "gemv", *((64, n, 64) for n in range(1, columns + 1)), types=["f16"])


def about(request: Request, kind: type[Request], number: int) -> bool:
    """Whether a request is of a kind, and about this cell."""
    return isinstance(request, kind) and getattr(request, "number", None) == number


def timed(side: str, request: Request) -> Any:
    """B takes twice as long, give or take."""
    reply = good(request)
    if isinstance(request, Sample):
        noise = np.random.default_rng(request.number).normal(0, 0.002, 3)
        reply = but(reply, samples_s=[TIMES[side] * (1 + float(x)) for x in noise])
    return reply


class Fight:
    """A duel of two fake drivers: which worker of which side was asked for what, in order."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        who: Who = timed,
        *,
        columns: int = 2,
        blocks: int = 6,
        lives_: int = 3,
        policy: Policy = POLICY,
    ) -> None:
        self.asked: list[tuple[str, Request]] = []
        self.records: list[AnyRecord] = []
        self.started = {"A": 0, "B": 0}
        self.open = {"A": 0, "B": 0}
        self.fakes: dict[str, Fakes] = {}
        for side in "AB":
            self.fakes[side] = Fakes(functools.partial(self._answer, who, side))
        monkeypatch.setattr(sessions, "Worker", self._start)
        device = recorded("lvp")
        sides = [Contestant(spec=DriverSpec(name=n, icd=None), device=replace(device, device=f"{n}/0")) for n in "AB"]
        self.duel = Duel(
            (sides[0], sides[1]), gemvs(device, columns), run="run", policy=policy, blocks=blocks, lives=lives_,
            sink=self.records.append, progress=self, unclear=self._unclear,
        )  # fmt: skip
        self.extended: Callable[[Sequence[Pair]], Sequence[Pair]] = lambda pairs: []

    def _unclear(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        return self.extended(pairs)

    def _start(self, spec: DriverSpec, environment: dict[str, str]) -> Fake:
        self.started[spec.name] += 1
        return self.fakes[spec.name].start(spec, environment)

    def _answer(self, who: Who, side: str, request: Request) -> Any:
        self.asked.append((side, request))
        return who(side, request)

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """Progress, which is not looked at."""

    def results(self, side: str) -> list[ResultRecord]:
        """A side's cells as they ended."""
        return [r for r in self.records if isinstance(r, ResultRecord) and r.device == f"{side}/0"]

    def rounds(self, cell: int) -> str:
        """Whose rounds of a cell were measured, in order."""
        return "".join(side for side, request in self.asked if about(request, Sample, cell))


def test_blocks_are_a_b_b_a_then_b_a_a_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first after a pause is the other one in the next block; all rounds are in the records."""
    fight = Fight(monkeypatch)
    fight.duel.run()
    assert fight.rounds(0) == fight.rounds(1) == "ABBABAAB" * 3
    assert [[len(life) for life in pair.lives] for pair in fight.duel.pairs] == [[2, 2, 2]] * 2
    for side in "AB":
        for record in fight.results(side):
            assert record.status == "ok"
            assert record.time
            assert max(record.time.rounds) == 11


def test_each_life_has_new_workers_and_verifies_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker to compile, three to measure, on each side; planned ends are no events, and nothing stays behind."""
    fight = Fight(monkeypatch)
    fight.duel.run()
    assert fight.started == {"A": 4, "B": 4}
    assert sum(isinstance(request, Prepare) for _, request in fight.asked) == 2 * 2 * 3
    assert not [r for r in fight.records if isinstance(r, EventRecord)]
    assert all(fakes.open == 0 for fakes in fight.fakes.values())


@pytest.mark.parametrize(("blocks", "count", "expected"), [(6, 3, [2, 2, 2]), (5, 3, [2, 2, 1]), (2, 3, [1, 1]), (3, 1, [3])])
def test_blocks_are_spread_over_lives(monkeypatch: pytest.MonkeyPatch, blocks: int, count: int, expected: list[int]) -> None:
    """Evenly; no life goes without one."""
    fight = Fight(monkeypatch, blocks=blocks, lives_=count)
    fight.duel.run()
    assert [len(life) for life in fight.duel.pairs[0].lives] == expected


def test_what_is_open_gets_as_many_blocks_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those cells get more, once, in further lives; the record has all blocks."""
    fight = Fight(monkeypatch)
    fight.extended = lambda pairs: pairs[1:]
    fight.duel.run()
    assert [pair.blocks for pair in fight.duel.pairs] == [6, 12]
    assert [len(pair.lives) for pair in fight.duel.pairs] == [3, 6]
    assert len(fight.results("A")) == len(fight.results("B")) == 2


def test_a_lost_worker_costs_one_cell_on_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """B crashes on its first round of one cell: the record shows the crash, the other cell is judged, and A's cell has its time."""
    crashed: list[int] = []

    def who(side: str, request: Request) -> Any:
        if side == "B" and about(request, Sample, 0) and not crashed:
            crashed.append(1)
            raise crash()
        return timed(side, request)

    fight = Fight(monkeypatch, who)
    fight.duel.run()
    assert sorted(r.status for r in fight.results("B")) == ["crash", "ok"]
    assert [r.status for r in fight.results("A")] == ["ok", "ok"]
    assert [(r.device, r.what) for r in fight.records if isinstance(r, EventRecord)] == [("B/0", "crash"), ("B/0", "restart")]
    assert [pair.blocks for pair in fight.duel.pairs] == [0, 6]
    comparison = verdicts.comparison([*_devices(), *fight.records], ("A/0", "B/0"), fight.duel.pairs, threshold=0.05)
    assert [c.verdict for c in comparison.cells if isinstance(c.record, ResultRecord)] == ["crash", "slower"]


def test_a_side_is_given_up_after_three_losses_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its third life B's workers die: what was measured until then is judged, A goes on to the end of the life."""
    rounds: list[int] = []

    def who(side: str, request: Request) -> Any:
        rounds.extend([1] * (side == "B" and isinstance(request, Sample)))
        if side == "B" and len(rounds) == 32 and isinstance(request, Prepare):
            raise crash()
        return timed(side, request)

    fight = Fight(monkeypatch, who, columns=4)
    fight.duel.run()
    assert [r.status for r in fight.results("B")] == ["crash", "crash", "crash", "ok"]
    assert [r.status for r in fight.results("A")] == ["ok"] * 4
    assert all(pair.blocks == 4 for pair in fight.duel.pairs)
    assert len(verdicts.judged(fight.duel.pairs)) == 4


def test_a_cell_that_one_side_gets_wrong_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A's is measured in one life, so that there is a time; no block counts."""

    def who(side: str, request: Request) -> Any:
        reply = timed(side, request)
        if side == "B" and about(request, Prepare, 0):
            reply = but(reply, wrong="1 of 64 elements differ")
        return reply

    fight = Fight(monkeypatch, who)
    fight.duel.run()
    assert {r.axes["n"]: r.status for r in fight.results("B")} == {1: "wrong", 2: "ok"}
    assert fight.rounds(0) == "AAAA"
    assert fight.results("A")[0].status == "ok"


def test_an_interrupt_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides' rounds are recorded, and blocks that are whole can be judged."""
    rounds: list[int] = []

    def who(side: str, request: Request) -> Any:
        rounds.extend([1] * isinstance(request, Sample))
        if len(rounds) > 19:
            raise KeyboardInterrupt
        return timed(side, request)

    fight = Fight(monkeypatch, who)
    with pytest.raises(KeyboardInterrupt):
        fight.duel.run()
    assert [pair.blocks for pair in fight.duel.pairs] == [2, 2]
    assert all(r.status == "ok" and r.interrupted for side in "AB" for r in fight.results(side))
    assert all(fakes.open == 0 for fakes in fight.fakes.values())


def interrupted(monkeypatch: pytest.MonkeyPatch, who: Who) -> Comparison:
    """The comparison after a duel that `who` interrupts."""
    fight = Fight(monkeypatch, who)
    with pytest.raises(KeyboardInterrupt):
        fight.duel.run()
    return verdicts.comparison([*_devices(), *fight.records], ("A/0", "B/0"), fight.duel.pairs, threshold=0.05)


def test_a_cell_that_one_side_had_not_reached_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt before B's first round of the second cell: nothing is said of it, and it meets no condition."""

    def who(side: str, request: Request) -> Any:
        if side == "B" and about(request, Sample, 1):
            raise KeyboardInterrupt
        return timed(side, request)

    comparison = interrupted(monkeypatch, who)
    assert {c.name: (c.verdict, c.because) for c in comparison.cells if isinstance(c.record, ResultRecord)} == {
        "gemv/f16/scalar-f32/f32/64x1x64/cold": ("unjudged", "fewer than 2 whole blocks were measured"),
        "gemv/f16/scalar-f32/f32/64x2x64/cold": ("unjudged", "the run ended before B had measured it"),
    }
    assert met(comparison, parse("missing")) == []


def test_a_crash_of_one_side_stays_one_where_the_other_was_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """B crashes on the second cell, and the run is interrupted before A has measured it: the verdict is still a crash."""

    def who(side: str, request: Request) -> Any:
        if side == "B" and about(request, Prepare, 1):
            raise crash()
        if side == "A" and about(request, Sample, 1):
            raise KeyboardInterrupt
        return timed(side, request)

    comparison = interrupted(monkeypatch, who)
    assert "crash" in {c.verdict for c in comparison.cells if c.name == "gemv/f16/scalar-f32/f32/64x2x64/cold"}


def test_a_cell_that_has_had_its_time_gets_no_more_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks are the least."""
    fight = Fight(monkeypatch, policy=replace(POLICY, time_limit_s=1e-9))
    fight.duel.run()
    assert [pair.blocks for pair in fight.duel.pairs] == [2, 2]


def test_a_cell_without_a_tuple_stands_only_where_neither_side_lists_one() -> None:
    """If one driver lacks a tuple, the reason goes with the other driver's cell, not with a cell of its own."""
    with_tuples = recorded("lvp")
    without = replace(with_tuples, coopmat=replace(with_tuples.coopmat, khr=[]))
    assert with_tuples.coopmat.khr

    def cells_of(device: DeviceRecord) -> list[Cell]:
        return cells(device, "gemm", (64, 32, 64), types=["f16"], paths=["coopmat"], accumulators=["f16"])

    assert [c.variant.tuple for c in same_cells(cells_of, [without, with_tuples])] == ["8x8x8"]
    assert [c.variant.tuple for c in same_cells(cells_of, [without, without])] == [None]


def _devices() -> list[AnyRecord]:
    return [replace(recorded("lvp"), device=f"{name}/0", run="run") for name in "AB"]


def gathered(*devices: DeviceRecord, state: Any = "ok") -> Gathered:
    """Drivers A and B, and what devices they have."""
    drivers = [DriverOutcome(spec=DriverSpec(name=n, icd=None), state="ok" if n == "A" else state, reason="it is broken") for n in "AB"]
    return Gathered(drivers=drivers, devices=list(devices))


SIDES = (DriverSpec(name="A", icd=None), DriverSpec(name="B", icd=None))


def test_other_hardware_is_refused() -> None:
    """Another chip is refused, and another PCI address if both devices report one; with several devices the user has to choose."""
    a, b = (replace(recorded("lvp"), device=f"{name}/0") for name in "AB")
    assert [c.device.device for c in contestants(gathered(a, b), SIDES)] == ["A/0", "B/0"]
    with pytest.raises(UsageError, match="no device in common"):
        contestants(gathered(a, replace(b, hardware=replace(b.hardware, device_id=7))), SIDES)
    placed = [replace(d, hardware=replace(d.hardware, pci=p)) for d, p in ((a, "0000:01:00.0"), (b, "0000:02:00.0"))]
    with pytest.raises(UsageError, match="no device in common"):
        contestants(gathered(*placed), SIDES)
    with pytest.raises(UsageError, match="--device"):
        contestants(gathered(a, replace(a, device="A/1"), b, replace(b, device="B/1")), SIDES)
    with pytest.raises(UsageError, match="null device"):
        contestants(gathered(a, replace(b, null=True)), SIDES)


def test_a_side_without_a_device_ends_as_its_driver_did() -> None:
    """The status is 4 if the driver failed, 5 if it has no device here; the message has the reason."""
    a = replace(recorded("lvp"), device="A/0")
    with pytest.raises(DriverError, match="--b B: it is broken"):
        contestants(gathered(a, state="error"), SIDES)
    with pytest.raises(NoDeviceError, match="--b B"):
        contestants(gathered(a, state="no-device"), SIDES)


def test_sides_are_distinguished_by_name() -> None:
    """The name has the variables that only one side sets, or else a number."""
    spec = DriverSpec(name="x", icd="/x.json", environment={"ONE": "1"})
    other = varied(spec, {"LP_NUM_THREADS": "1"})
    assert (other.name, other.environment) == ("x+LP_NUM_THREADS=1", {"ONE": "1", "LP_NUM_THREADS": "1"})
    assert [s.name for s in distinct(spec, spec)] == ["x", "x-2"]


def blocks(rng: np.random.Generator, ratio: float, noise: float, by_life: float) -> list[list[tuple[list[list[float]], list[list[float]]]]]:
    """Three lives of two blocks; B takes `ratio` as long, give or take what each life draws."""
    lives = []
    for _ in range(3):
        drawn = math.exp(rng.normal(0, by_life))
        scales = (1.0, ratio * drawn)
        rounds = [[[[1e-3 * scale * float(np.exp(rng.normal(0, noise)))] * 3 for _ in "12"] for scale in scales] for _ in "12"]
        lives.append([(a, b) for a, b in rounds])
    return lives


def test_lives_that_differ_are_the_unit() -> None:
    """Processes draw their speed at start: the variance of lives counts, with few degrees of freedom. Otherwise blocks are the unit."""
    rng = np.random.default_rng(3)
    alike, apart = blocks(rng, 1.0, 0.01, 0.0), blocks(rng, 1.0, 0.001, 0.2)
    assert paired_lives(alike) == paired([block for life in alike for block in life])
    estimate = paired_lives(apart)
    assert estimate.df == 2
    assert estimate.s2 > 2 * paired([block for life in apart for block in life]).s2


def test_a_table_whose_lives_draw_their_speeds_has_no_verdict() -> None:
    """5 % from life to life on every cell, blocks within 0.2 %: nothing is slower or faster; without the lives it would be."""
    rng = np.random.default_rng(4)
    tables = [[blocks(rng, 1.0, 0.002, 0.05) for _ in range(20)] for _ in range(20)]
    false = sum(any(j.verdict in ("slower", "faster") for j in judge([paired_lives(cell) for cell in table])) for table in tables)
    naive = [[paired([block for life in cell for block in life]) for cell in table] for table in tables]
    assert false <= 1
    assert sum(any(j.verdict in ("slower", "faster") for j in judge(table)) for table in naive) >= false


def test_a_slowdown_is_found_in_every_life() -> None:
    """5 % at 1 % noise, on one cell of twenty: that one and no other."""
    rng = np.random.default_rng(5)
    table = [paired_lives(blocks(rng, 1.05 if i == 7 else 1.0, 0.01, 0.0)) for i in range(20)]
    assert [i for i, j in enumerate(judge(table)) if j.verdict == "slower"] == [7]
