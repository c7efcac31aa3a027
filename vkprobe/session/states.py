"""A cell between its pipeline and its record, and which cells are measured in turn."""

from __future__ import annotations

from collections.abc import Sequence

from vkprobe import ops
from vkprobe.ops.plan import Plan
from vkprobe.protocol import Sampled
from vkprobe.records import Check, PipelineRecord, ResultRecord
from vkprobe.session.policy import Policy


class CellState:
    """A cell in progress: its plan, its pipeline, its rounds so far, and how it ended."""

    def __init__(self, index: int, plan: Plan, policy: Policy) -> None:
        self.index = index
        self.plan = plan
        self.policy = policy
        self.compile_s: float | None = None
        self.pipeline: PipelineRecord | None = None
        self.generation = 0  # the worker that it is prepared in
        self.check: Check | None = None
        self.rounds: list[Sampled] = []
        self.began: list[float] = []
        self.spent_s = 0.0
        self.retried = False
        self.ended = False
        self.record: ResultRecord | None = None  # once it has ended


def in_phases(states: Sequence[CellState], budget: int) -> list[list[CellState]]:
    """The cells in groups of one policy whose buffers fit into `budget` (B) together; ceilings come before the rest."""
    phases: list[list[CellState]] = []
    held: dict[str, int] = {}
    for state in states:
        needs = {buffer.key: buffer.bytes for buffer in state.plan.program.buffers}
        if not phases or not _alike(phases[-1][-1], state) or sum({**held, **needs}.values()) > budget:
            phases.append([])
            held = {}
        phases[-1].append(state)
        held.update(needs)
    return phases


def _alike(one: CellState, other: CellState) -> bool:
    """Whether two cells may be measured in turn: a ceiling is known before anything is held against it."""
    ceilings = [ops.find(state.plan.cell.op).ceiling for state in (one, other)]
    return one.policy == other.policy and ceilings[0] == ceilings[1]
