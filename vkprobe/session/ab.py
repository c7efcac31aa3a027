"""Two drivers of one device against each other: two live workers, each cell in blocks A B B A, and both started anew in between.

What drifts (clocks, heat, what else runs) meets both alike, so that it cancels within a block; what a process draws when it starts
(where its buffers lie, which of its speeds a kernel takes) differs from life to life, and so is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.drivers.spec import DriverSpec
from vkprobe.ops.base import software
from vkprobe.ops.plan import plans
from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord
from vkprobe.session.compiling import Progress
from vkprobe.session.device import GivenUp
from vkprobe.session.opening import memory_budget, open_request
from vkprobe.session.policy import QUICK, SOFTWARE, Policy
from vkprobe.session.run import DeviceRun, Sink
from vkprobe.session.selection import run_cells
from vkprobe.session.states import CellState, in_phases
from vkprobe.settling import FEWEST_BLOCKS, Block

_ORDERS = ((0, 1, 1, 0), (1, 0, 0, 1))  # in turn: what befalls whoever comes first after a pause befalls both


class Contestant(Struct, frozen=True, kw_only=True):
    """One of the two drivers, and the device as it reports it."""

    spec: DriverSpec
    device: DeviceRecord


class Pair(Struct, kw_only=True):
    """A cell on both drivers.

    Attributes:
        lives: its blocks by the life of the workers that they were measured in.
        states: the cell as each driver has it.
    """

    states: tuple[CellState, CellState]
    lives: list[list[Block]]

    @property
    def cell(self) -> Cell:
        """The cell that both run."""
        return self.states[0].plan.cell

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return sum(map(len, self.lives))

    @property
    def pipelines(self) -> tuple[PipelineRecord | None, PipelineRecord | None]:
        """Each side's compiled pipeline; None where it wasn't compiled, or there is no kernel."""
        return self.states[0].pipeline, self.states[1].pipeline

    @property
    def records(self) -> tuple[ResultRecord | None, ResultRecord | None]:
        """Each side's result; None where nothing was measured there."""
        return self.states[0].record, self.states[1].record

    @property
    def running(self) -> bool:
        """Whether it can still be measured on both."""
        return not any(state.ended for state in self.states)


def default_lives(device: DeviceRecord) -> int:
    """The default number of lives; on GPUs six: with three, a kernel with two speeds would draw the same one each time too often."""
    return 3 if software(device) else 6


def default_cells(device: DeviceRecord) -> list[Cell]:
    """The quick plan without copies and peaks; on software devices of the types that models are mostly made of, N = 1."""
    cells = [cell for cell in run_cells(device, full=False) if not ops.find(cell.op).ceiling]
    return [cell for cell in cells if ops.find(cell.op).brief(cell)] if software(device) else cells


def policy(device: DeviceRecord, blocks: int) -> Policy:
    """Short rounds, as there are many: two of each side in a block."""
    many = 2 * blocks
    if software(device):
        return msgspec.structs.replace(SOFTWARE, least_rounds=many, most_rounds=2 * many, least_samples=3, least_s=0.03, settle_s=0.03)
    return msgspec.structs.replace(QUICK, least_rounds=many, most_rounds=2 * many, least_samples=5, least_s=0.05, settle_s=0.25)


def same_cells(cells_of: Callable[[DeviceRecord], Sequence[Cell]], devices: Sequence[DeviceRecord]) -> list[Cell]:
    """The cells of either driver: those that one can't run are reported, so a cell without a tuple stays only where neither lists one."""
    union = list(dict.fromkeys(cell for device in devices for cell in cells_of(device)))
    with_tuple = {_without_tuple(cell) for cell in union if cell.variant.tuple is not None}
    return [cell for cell in union if cell.variant.tuple is not None or cell not in with_tuple]


def _without_tuple(cell: Cell) -> Cell:
    return msgspec.structs.replace(cell, variant=msgspec.structs.replace(cell.variant, tuple=None))


class _Side(DeviceRun):
    """One driver's cells, a round at a time."""

    def begin(self) -> None:
        """Create all pipelines."""
        self._unless_given_up(self._begin)

    def prepare(self, states: Sequence[CellState], *, ahead: bool) -> None:
        """Make the cells ready in the worker that lives now."""
        self._policy = msgspec.structs.replace(self._policy, ahead=self._policy.ahead and ahead)
        self._unless_given_up(lambda: self._prepare_all(states))

    def round(self, state: CellState, *, warm: bool) -> list[float] | None:
        """A round's samples (s); None where it ended the cell."""
        before = len(state.rounds)
        if not state.ended:
            self._unless_given_up(lambda: self._sample(state, warm=warm))
        return state.rounds[-1].samples_s if len(state.rounds) > before else None

    def finish(self, states: Sequence[CellState]) -> None:
        """Write the records of cells that were measured."""
        for state in states:
            if not state.ended and state.rounds:
                self._finish(state)

    def interrupted(self) -> None:
        """Finish everything that is open, as `finish` does."""
        self._stop("the run was interrupted", given_up=False)

    def _unless_given_up(self, act: Callable[[], object]) -> None:
        try:
            act()
        except GivenUp as error:
            self._stop(str(error), given_up=True)

    @property
    def states(self) -> list[CellState]:
        """All cells, in the order that both sides have."""
        return self._states


class Duel:
    """All cells of one device on two drivers.

    Args:
        sides: A and B; the devices' ids differ.
        cells: what both run.
        blocks: of each cell, over `lives` lives of the workers; cells that are unclear then get as many once more.
        unclear: of the pairs that have been measured, those whose verdict is still open.

    Attributes:
        pairs: every cell, with what was measured until now.
    """

    def __init__(
        self,
        sides: tuple[Contestant, Contestant],
        cells: Sequence[Cell],
        *,
        run: str,
        policy: Policy,
        blocks: int,
        lives: int,
        sink: Sink,
        progress: Progress,
        unclear: Callable[[Sequence[Pair]], Sequence[Pair]],
    ) -> None:
        runs = []
        for side in sides:
            planned = plans(cells, side.device)
            request = open_request(side.device, [p.requirement for p in planned if p.reason is None])
            runs.append(_Side(side.spec, side.device, request, planned, run=run, policy=policy, sink=sink, progress=progress))
        self._sides = (runs[0], runs[1])
        self._names = " against ".join(side.device.device for side in sides)
        self._budget = min(memory_budget(side.device) for side in sides) // 2
        self._policy, self._progress, self._unclear = policy, progress, unclear
        lives = min(lives, blocks)
        self._blocks = [blocks // lives + (i < blocks % lives) for i in range(lives)]
        self.pairs = [Pair(states=both, lives=[]) for both in zip(runs[0].states, runs[1].states, strict=True)]

    def run(self) -> None:
        """Bring every cell to its end on both. An interrupt ends the run; what was measured until then is recorded first."""
        try:
            for side in self._sides:
                side.begin()
            self._measure(self.pairs)
            self._measure([pair for pair in self._unclear(self.pairs) if pair.running and not self._spent(pair)])
            self._finish(self.pairs)
        except BaseException:
            for side in self._sides:
                side.interrupted()
            raise
        finally:
            for side in self._sides:
                side.close()

    def _measure(self, pairs: Sequence[Pair]) -> None:
        """The blocks of these cells, in groups whose buffers fit the device on both sides at once."""
        by_state = {id(state): pair for pair in pairs for state in pair.states}
        # A cell that only one driver runs is measured there, so that its time is known.
        leading = [next((s for s in pair.states if not s.ended), None) for pair in pairs]
        for phase in in_phases([state for state in leading if state is not None], self._budget):
            group = [by_state[id(state)] for state in phase]
            for blocks in self._blocks:
                self._life(group, blocks)

    def _life(self, pairs: Sequence[Pair], blocks: int) -> None:
        """Some blocks of each cell in two workers that end with it."""
        alive = [pair for pair in pairs if not all(state.ended for state in pair.states)]
        if not alive:
            return
        for which, side in enumerate(self._sides):
            side.prepare([pair.states[which] for pair in alive], ahead=not any(pair.lives for pair in alive))
        for pair in alive:
            pair.lives.append([])
        for _ in range(blocks):
            cold = [True, True]
            for done, pair in enumerate(alive):
                if not self._spent(pair):
                    self._progress.step(
                        self._names, f"block {pair.blocks + 1}: {ops.find(pair.cell.op).sentence(pair.cell)}", done, len(alive)
                    )
                    self._block(pair, _ORDERS[pair.blocks % 2], cold)
        for side in self._sides:
            side.close()
        self._finish([pair for pair in alive if not pair.running])

    def _spent(self, pair: Pair) -> bool:
        """Whether the cell has had its time."""
        return pair.blocks >= FEWEST_BLOCKS and max(state.spent_s for state in pair.states) >= self._policy.time_limit_s

    def _block(self, pair: Pair, order: Sequence[int], cold: list[bool]) -> None:
        """Two rounds of each side; a block that a loss cut short counts for nothing, its rounds are in the record."""
        taken: Block = ([], [])
        for which in order:
            samples = self._sides[which].round(pair.states[which], warm=cold[which])
            cold[which] = False
            if samples is not None:
                taken[which].append(samples)
        if len(taken[0]) == len(taken[1]) == 2:
            pair.lives[-1].append(taken)

    def _finish(self, pairs: Sequence[Pair]) -> None:
        for which, side in enumerate(self._sides):
            side.finish([pair.states[which] for pair in pairs])
