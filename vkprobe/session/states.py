"""A cell between its pipeline and its record, and which cells are measured in turn."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from vkprobe.bench.ceilings import OPS
from vkprobe.bench.policy import Policy
from vkprobe.bench.resolve import Resolved
from vkprobe.footprint import buffers
from vkprobe.records import Check, PipelineRecord, ResultRecord


class CellState:
    """A cell on its way: its pipeline, its rounds so far, and how it ended."""

    def __init__(self, index: int, resolved: Resolved, policy: Policy) -> None:
        self.index = index
        self.resolved = resolved
        self.policy = policy
        self.compile_s: float | None = None
        self.pipeline: PipelineRecord | None = None
        self.generation = 0  # of the worker that it is prepared in
        self.check: Check | None = None
        self.rounds: list[dict[str, Any]] = []
        self.began: list[float] = []
        self.spent_s = 0.0
        self.retried = False
        self.ended = False
        self.record: ResultRecord | None = None  # once it has ended


def in_phases(states: Sequence[CellState], budget: int) -> list[list[CellState]]:
    """The cells in groups of one policy whose buffers fit into `budget` (B) together; copies and peaks come before the rest."""
    phases: list[list[CellState]] = []
    held: dict[Hashable, int] = {}
    for state in states:
        needs = buffers(state.resolved.job)
        if not phases or not _alike(phases[-1][-1], state) or sum({**held, **needs}.values()) > budget:
            phases.append([])
            held = {}
        phases[-1].append(state)
        held.update(needs)
    return phases


def _alike(one: CellState, other: CellState) -> bool:
    """Whether two cells may be measured in turn: a ceiling is known before anything is held against it."""
    return one.policy == other.policy and (one.resolved.cell.op in OPS) == (other.resolved.cell.op in OPS)
