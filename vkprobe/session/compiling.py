"""Creating pipelines with the driver's caches off: one worker per device; every pipeline ends in a record."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from vkprobe import ops
from vkprobe.cell import MATRIX_PATHS
from vkprobe.compiler_statistics import normal
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.ops.plan import Plan
from vkprobe.ops.registers import register_budget
from vkprobe.protocol import Compile, Compiled, Open
from vkprobe.records import AnyRecord, DeviceRecord, PipelineRecord, Status
from vkprobe.session.device import CACHES_OFF, DeviceSession, GivenUp, Lost
from vkprobe.session.isa import IsaFolder, matrix_instructions
from vkprobe.session.selection import recorded_tile


class Progress(Protocol):
    """Takes progress reports while pipelines are created, climbs and cells run."""

    def step(self, device: str, what: str, done: int, total: int) -> None:
        """`what` has begun: number `done` of `total` in this phase."""


class Compiler:
    """Creates pipelines of one device in workers that may be lost; every one ends in a record.

    Args:
        known: whether a pipeline's record is there already, from the run that is being resumed.
        isa: where the compiler's texts go; None to drop them.
    """

    def __init__(
        self,
        spec: DriverSpec,
        device: DeviceRecord,
        request: Open,
        *,
        run: str,
        limit_s: float,
        sink: Callable[[AnyRecord], None],
        is_recorded: Callable[[PipelineRecord], bool] = lambda record: False,
        isa: IsaFolder | None = None,
    ) -> None:
        self.session = DeviceSession(spec, request, run, device.device, sink, CACHES_OFF)
        self._device, self._run, self._limit_s, self._sink, self._is_recorded, self._isa = device, run, limit_s, sink, is_recorded, isa

    def compile(self, plan: Plan) -> PipelineRecord:
        """Create one pipeline; raises GivenUp if no more workers will be started."""
        return self._ended(plan, lambda: self.session.ask(self._request(plan), where=_where(plan), timeout=self._limit_s))

    def begin(self, plan: Plan) -> PipelineRecord | None:
        """Begin to compile without waiting; returns a record if it has ended at once."""
        try:
            self.session.begin(self._request(plan), where=_where(plan), timeout=self._limit_s)
        except Lost as lost:
            return self._write(plan, lost.end, lost.reason)
        return None

    def end(self, plan: Plan) -> PipelineRecord:
        """Wait for the pipeline that was begun."""
        return self._ended(plan, self.session.end)

    def without(self, plan: Plan, status: Status, reason: str) -> PipelineRecord:
        """The record of a pipeline that isn't created."""
        return self._write(plan, status, reason)

    @staticmethod
    def _request(plan: Plan) -> Compile:
        assert plan.program.first is not None
        return Compile(stage=plan.program.first)

    def _ended(self, plan: Plan, reply: Callable[[], Compiled]) -> PipelineRecord:
        try:
            compiled = reply()
        except WorkerFailed as error:
            return self._write(plan, "error", error.reason)
        except Lost as lost:
            return self._write(plan, lost.end, lost.reason)
        if self._isa is not None:
            self._isa.write(self._device.device, f"{plan.kernel.name}-{plan.tile}", compiled.texts)
        return self._write(plan, "ok", None, compiled)

    def _write(self, plan: Plan, status: Status, reason: str | None, compiled: Compiled | None = None) -> PipelineRecord:
        raw, v, op = (compiled.statistics if compiled else {}), plan.cell.variant, ops.find(plan.cell.op)
        subgroup = (compiled.subgroup_size if compiled else None) or plan.subgroup_size
        matrix = matrix_instructions(compiled.texts if compiled else {})
        if v.path in MATRIX_PATHS and matrix == 0:
            reason = f"compiled to no matrix instruction: {v.path} {v.tuple or plan.tile} is emulated with ordinary ones"
        block = plan.program.first.constants.get("block", 1) if plan.program.first else 1
        tile = recorded_tile(plan)
        record = PipelineRecord(
            run=self._run,
            device=self._device.device,
            kernel=plan.kernel.name,
            path=v.path or plan.kernel.path,
            type=op.kernel_type(plan.cell) or plan.kernel.type,
            op=plan.kernel.op,
            family=plan.kernel.family,
            tile=tile,
            tile_name=plan.tile_name if tile else None,
            tuple=plan.tuple if tile else None,
            subgroups=plan.subgroups if tile else None,
            subgroup_size=subgroup,
            status=status,
            reason=reason,
            compile_s=compiled.compile_s if compiled else None,
            spirv_sha=plan.spirv_sha,
            robust=plan.robust,
            float_controls=plan.float_controls,
            raw=raw,
            matrix_instructions=matrix,
            tile_registers=op.tile_registers(plan, subgroup) if compiled else None,
            register_budget=register_budget(self._device, block, subgroup, raw) if compiled else None,
            **msgspec.structs.asdict(normal(self._device.driver.id, raw)),
        )
        if not self._is_recorded(record):
            self._sink(record)
        return record


def _where(plan: Plan) -> str:
    return f"compile {plan.kernel.name}"


class Lane(Struct, kw_only=True):
    """A device's pipelines on their way, one in its worker at a time."""

    device: str
    compiler: Compiler
    waiting: list[Plan]
    running: Plan | None = None


def compile_all(lanes: Sequence[Lane], *, progress: Progress, parallel: int) -> None:
    """Create every lane's pipelines, `parallel` devices at a time; ends all workers, also when interrupted."""
    if not lanes:
        return
    idle = list(lanes)[::-1]
    busy: list[Lane] = []
    counter = _Counter(progress, lanes)
    try:
        while idle or busy:
            while idle and len(busy) < parallel:
                lane = idle.pop()
                _next(lane, counter)
                busy.append(lane)
            running = [lane for lane in busy if lane.running is not None]
            soonest = min((lane.compiler.session.left_s for lane in running), default=0.0)
            ready = select.select([lane.compiler.session for lane in running], [], [], soonest)[0]
            for lane in running:
                session = lane.compiler.session
                if lane.running is not None and (session in ready or session.left_s == 0.0):
                    lane.compiler.end(lane.running)
                    _next(lane, counter)
            for lane in [lane for lane in busy if lane.running is None]:
                lane.compiler.session.close()
                busy.remove(lane)
    finally:
        for lane in busy:
            lane.compiler.session.close()


class _Counter:
    """Progress over all lanes together."""

    def __init__(self, progress: Progress, lanes: Sequence[Lane]) -> None:
        self._progress = progress
        self._who = lanes[0].device if len(lanes) == 1 else f"{len(lanes)} devices"
        self._where = len(lanes) > 1
        self._total = sum(r.reason is None for lane in lanes for r in lane.waiting)
        self._begun = 0

    def begun(self, lane: Lane, plan: Plan) -> None:
        where = f" on {lane.device}" if self._where else ""
        self._progress.step(self._who, f"compile {plan.kernel.name}{where}", self._begun, self._total)
        self._begun += 1


def _next(lane: Lane, counter: _Counter) -> None:
    """Begin the lane's next pipeline that the device can take; those before it end here."""
    lane.running = None
    while lane.waiting and lane.running is None:
        plan = lane.waiting.pop(0)
        if plan.reason is not None:
            lane.compiler.without(plan, "unsupported", plan.reason)
            continue
        counter.begun(lane, plan)
        try:
            if lane.compiler.begin(plan) is None:
                lane.running = plan
        except GivenUp as error:
            for left in (plan, *lane.waiting):
                status: Status = "skipped" if left.reason is None else "unsupported"
                lane.compiler.without(left, status, left.reason or str(error))
            lane.waiting.clear()
