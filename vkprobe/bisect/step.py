"""Measuring a good commit's cells on the driver at hand, again with more rounds where the samples leave it open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec import UNSET
from msgspec.structs import replace

from vkprobe.bisect.decide import CONFIRMED, OF_STATISTICS, Asked, Finding, by_statistics, by_status, by_times, not_measured, verdict_of
from vkprobe.bisect.good import Good, GoodCell, rounds_of
from vkprobe.builds import build_change
from vkprobe.cell import Cell
from vkprobe.compare.compare import compare
from vkprobe.compare.conditions import DEFAULT_SHARE
from vkprobe.compare.times import other_core_clock
from vkprobe.compare.timing import Side, side
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import UsageError
from vkprobe.ops.base import software
from vkprobe.ops.plan import Plan, plans
from vkprobe.records import AnyRecord, DeviceRecord, PipelineRecord, ResultRecord, Time
from vkprobe.results.keys import pipeline_key
from vkprobe.results.names import cell_name
from vkprobe.results.store import Store
from vkprobe.session.compiling import Compiler, Lane, Progress, compile_all
from vkprobe.session.opening import open_request
from vkprobe.session.policy import Policy
from vkprobe.session.run import DeviceRun
from vkprobe.session.selection import compile_plans, policy

_ROUNDS, _MORE_ROUNDS = 5, 3  # at the least, and with each further try
_SOFTWARE_ROUNDS = 10  # they share the processor with whatever else runs: many short ones
_SOFTWARE_GAP_S = 0.2


class Step:
    """One commit's driver, and the records that its cells are held against.

    Args:
        sink: takes each record as it comes.
        tries: how often what is unclear is measured, each time in new processes.
        time_limit, compile_limit: s, of a cell and of a pipeline; None for the policy's.
    """

    def __init__(
        self,
        spec: DriverSpec,
        device: DeviceRecord,
        good: Good,
        conditions: Asked,
        *,
        run: str,
        sink: Callable[[AnyRecord], None],
        progress: Progress,
        tries: int = 3,
        time_limit: float | None = None,
        compile_limit: float | None = None,
    ) -> None:
        self._spec, self._device, self._good, self._conditions = spec, device, good, conditions
        self._run, self._sink, self._progress, self._tries = run, sink, progress, tries
        self._limits = {"time_limit_s": time_limit, "compile_limit_s": compile_limit}

    def findings(self) -> list[Finding]:
        """A finding for each cell and pipeline; statistics come first, as a commit that is bad by them needn't be timed.

        Raises:
            UsageError: the records were made with other kernels than this vkprobe's.
        """
        planned = dict(zip(self._good.cells, plans(list(self._good.cells), self._device), strict=True))
        candidates = [*planned.values(), *compile_plans(self._device, full=True)] if self._good.pipelines else []
        pipelines = _of_records(self._good.pipelines, candidates)
        self._same_kernels(planned, pipelines)
        findings = self._statistics(pipelines)
        if not self._conditions.shares.keys() - OF_STATISTICS:
            return findings or [not_measured(c.name, "the good records lack its pipeline's statistics") for c in self._good.cells.values()]
        if findings and verdict_of(findings) == "bad":
            return findings
        return findings + (self._measured(planned) if planned else [])

    def _same_kernels(self, planned: dict[Cell, Plan], pipelines: Sequence[Plan]) -> None:
        """Raise UsageError where another vkprobe's kernels were measured: their times and statistics say nothing about the driver."""
        now = {p.kernel.name: p for p in (*planned.values(), *pipelines)}
        records: list[ResultRecord | PipelineRecord] = [*(c.record for c in self._good.cells.values()), *self._good.pipelines]
        for then in records:
            if (here := now.get(then.kernel)) is not None and build_change(then, here, same_kernel=True):
                raise UsageError(
                    f"--good: {then.kernel} of these records is not this vkprobe's {then.kernel}: measure the good commit with this one"
                )

    def _policy(self, number: int) -> Policy:
        """The number-th try's."""
        base, more = policy(self._device, full=False), number * _MORE_ROUNDS
        limits = {name: limit for name, limit in self._limits.items() if limit is not None}
        if software(self._device):
            rounds = _SOFTWARE_ROUNDS + more
            return replace(base, least_rounds=rounds, most_rounds=rounds, gap_s=_SOFTWARE_GAP_S, **limits)
        least = _ROUNDS + more
        return replace(base, least_rounds=least, most_rounds=max(least, base.most_rounds), **limits)

    def _measured(self, planned: dict[Cell, Plan]) -> list[Finding]:
        """Measure the cells; decided ones aren't measured again, and none once the commit is known to be bad."""
        cells = self._good.cells
        findings: dict[Cell, Finding] = {}
        sides: dict[Cell, list[Side]] = {}
        waiting = list(cells)
        for number in range(self._tries):
            records = self._campaign([planned[key] for key in waiting], self._policy(number))
            for key, record in records.items():
                if record.time is not UNSET and (other := other_clock(cells[key], record.time)):
                    findings[key] = Finding(name=cells[key].name, verdict="unclear", words=other)
                    sides.pop(key, None)
                elif record.status == "ok" and record.time is not UNSET:
                    sides.setdefault(key, []).append(side(rounds_of(record.time)))
                else:
                    findings[key] = by_status(cells[key].name, record.status, record.reason, self._conditions)
                    sides.pop(key, None)
            judged = self._times(sides)
            findings.update({key: judged[key] for key in waiting if key in judged})
            waiting = [key for key in waiting if key in judged and findings[key].verdict == "unclear"]
            if not waiting or verdict_of(list(findings.values())) == "bad":
                break
        return [findings.get(key) or not_measured(cell.name) for key, cell in cells.items()]

    def _times(self, sides: dict[Cell, list[Side]]) -> dict[Cell, Finding]:
        """Judge all cells that have times as one table; where times don't count, each is good."""
        named = {self._good.cells[key].name: key for key in sides}
        if "slower" not in self._conditions:
            return {key: Finding(name=name, verdict="good", words="ok", size=1.0) for name, key in named.items()}
        table = {name: (self._good.cells[key].side, sides[key]) for name, key in named.items()}
        findings = by_times(table, self._conditions.shares["slower"], least_processes=min(CONFIRMED, self._tries))
        return {named[finding.name]: finding for finding in findings}

    def _campaign(self, planned: Sequence[Plan], how: Policy) -> dict[Cell, ResultRecord]:
        """The cells' records of one worker's life."""
        ended: dict[Cell, ResultRecord] = {}

        def take(record: AnyRecord) -> None:
            if isinstance(record, ResultRecord):
                ended[record.cell] = record
            self._sink(record)

        request = open_request(self._device, [p.requirement for p in planned if p.reason is None])
        DeviceRun(self._spec, self._device, request, planned, run=self._run, policy=how, sink=take, progress=self._progress).measure()
        return ended

    def _statistics(self, pipelines: list[Plan]) -> list[Finding]:
        """Compile the pipelines and compare them with the good ones."""
        if not self._good.pipelines:
            return []
        records: list[AnyRecord] = []

        def take(record: AnyRecord) -> None:
            records.append(record)
            self._sink(record)

        if pipelines:
            request = open_request(self._device, [p.requirement for p in pipelines if p.reason is None])
            limit = self._policy(0).compile_limit_s
            compiler = Compiler(self._spec, self._device, request, run=self._run, limit_s=limit, sink=take)
            lane = Lane(device=self._device.device, compiler=compiler, waiting=list(pipelines))
            compile_all([lane], progress=self._progress, parallel=1)
        created = [r for r in records if isinstance(r, PipelineRecord)]
        if not created:
            return [_missing(p, self._conditions) for p in self._good.pipelines]
        return statistics_of(self._good, self._device, created, self._conditions)


def statistics_of(good: Good, device: DeviceRecord, created: Sequence[PipelineRecord], conditions: Asked) -> list[Finding]:
    """Compare every good pipeline with those that the device created."""
    # Records find their device by its run: good pipelines of several runs belong to the newest one's device here.
    theirs = [replace(p, run=good.device.run) for p in good.pipelines]
    threshold = conditions.shares.get("worse", DEFAULT_SHARE)
    cells = compare(Store([good.device, *theirs]), Store([device, *created]), threshold=threshold).cells
    findings = {pipeline_key(c.old): by_statistics(cell_name(c.old), c, conditions) for c in cells if isinstance(c.old, PipelineRecord)}
    return [findings.get(pipeline_key(p)) or not_measured(cell_name(p)) for p in theirs]


def other_clock(good: GoodCell, time: Time) -> str | None:
    """Why a cell's times can't be held against the good ones: another clock that they were taken with, or that the chip ran at."""
    if good.times and good.times[-1].clock != time.clock:
        return f"clocks differ: {good.times[-1].clock} in the good records, {time.clock} now"
    return other_core_clock(good.times, [time])


def _missing(pipeline: PipelineRecord, conditions: Asked) -> Finding:
    return by_status(cell_name(pipeline), "unsupported", "this device's kernels have no such pipeline", conditions)


def _of_records(pipelines: Iterable[PipelineRecord], candidates: Sequence[Plan]) -> list[Plan]:
    """The plans to compile for these records, each once: the same kernel and tile, or all plans of the kernel where the driver chose
    another tile (another subgroup size)."""
    wanted: dict[int, Plan] = {}
    for pipeline in pipelines:
        mine = [p for p in candidates if p.kernel.name == pipeline.kernel]
        exact = [r for r in mine if r.tile == pipeline.tile]
        wanted.update({id(r): r for r in (exact[:1] or mine)})
    return list(wanted.values())
