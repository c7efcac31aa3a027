"""Measuring a device: compile everything, verify everything, then time all cells in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from vkprobe import ops
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.ops.base import software
from vkprobe.ops.plan import Plan
from vkprobe.protocol import Open, Prepare, Request, Sample
from vkprobe.records import AnyRecord, DeviceRecord, PipelineRecord, ResultRecord, Status, Time
from vkprobe.session.ahead import Ahead
from vkprobe.session.ceilings import Ceilings, brief
from vkprobe.session.compiling import Compiler, Progress
from vkprobe.session.device import DeviceSession, GivenUp, Lost
from vkprobe.session.opening import memory_budget
from vkprobe.session.policy import Policy
from vkprobe.session.selection import by_pipeline
from vkprobe.session.states import CellState, in_phases
from vkprobe.session.statistics import Judged, judge

Sink = Callable[[AnyRecord], None]
_HOST_FLOPS_PER_S = 2e9  # of a slow machine's references, for time limits only
_HOST_ELEMENTS_PER_S = 5e6


class DeviceRun:
    """All cells of one device, from compile to record.

    Args:
        planned: the cells to measure; ceilings among them come first, as the others' shares of the roofline follow from them.
        ceilings: those to measure before all others, briefly, for that alone.
        request: what to open the device with.
        sink: takes each record as soon as it is final.
        known_pipelines: whether a pipeline's record is there already, from the run that is being resumed.
        known_ceilings: that run's.
    """

    def __init__(
        self,
        spec: DriverSpec,
        device: DeviceRecord,
        request: Open,
        planned: Sequence[Plan],
        *,
        run: str,
        policy: Policy,
        sink: Sink,
        progress: Progress,
        known_pipelines: Callable[[PipelineRecord], bool] = lambda record: False,
        ceilings: Sequence[Plan] = (),
        known_ceilings: Sequence[ResultRecord] = (),
    ) -> None:
        self._device, self._policy, self._sink, self._progress, self._run = device, policy, sink, progress, run
        self._compiler = Compiler(spec, device, request, run=run, limit_s=policy.compile_limit_s, sink=sink, is_recorded=known_pipelines)
        self._measuring = DeviceSession(spec, request, run, device.device, sink)
        self._spec, self._request = spec, request
        self._ahead: Ahead | None = None
        self._at = 0
        # Cells of the same weights one after the other: they share references, buffers and the rotation's filling.
        asked = [p for p in planned if ops.find(p.cell.op).ceiling]
        others = [p for p in planned if not ops.find(p.cell.op).ceiling]
        ordered = sorted(others, key=lambda p: (p.cell.variant.type or "", p.program.source.key, p.cell.axes[1:], p.cell.op))
        with_policies = [*((p, brief(policy)) for p in ceilings), *((p, policy) for p in [*asked, *ordered])]
        self._states = [CellState(i, *one) for i, one in enumerate(with_policies)]
        self._ceilings = None if software(device) else Ceilings(known_ceilings)

    def measure(self) -> None:
        """Bring every cell to its end. An interrupt ends the run; what was measured until then is recorded first."""
        try:
            if self._begin():
                for phase in in_phases(self._open(), memory_budget(self._device)):
                    self._policy = phase[0].policy
                    self._prepare_all(phase)
                    self._rounds(phase)
        except GivenUp as error:
            self._stop(str(error), given_up=True)
        except BaseException:
            self._stop("the run was interrupted", given_up=False)
            raise
        finally:
            self.close()

    def _begin(self) -> bool:
        """Create all pipelines; False where nothing is left to measure."""
        for state in self._states:
            if state.plan.reason is not None:
                self._end(state, "unsupported", state.plan.reason)
        self._compile()
        return self._executes()

    def _stop(self, reason: str, *, given_up: bool) -> None:
        """Write what was measured of cells that are open; where no more workers will be started, the others are skipped."""
        for state in self._open():
            if state.rounds:
                self._finish(state, because=reason)
            elif given_up:
                self._end(state, "skipped", reason)

    def close(self) -> None:
        """End the workers."""
        self._compiler.session.close()
        self._measuring.close()

    def _open(self) -> list[CellState]:
        return [state for state in self._states if not state.ended]

    def _end(self, state: CellState, status: Status, reason: str | None) -> None:
        partial = [r.samples_s for r in state.rounds] or UNSET
        self._record(state, status=status, reason=reason, partial_samples_s=partial)

    def _record(self, state: CellState, **ended: Any) -> ResultRecord:
        """End the cell with a record of it."""
        plan = state.plan
        state.ended = True
        state.record = ResultRecord(
            run=self._run,
            device=self._device.device,
            op=plan.cell.op,
            axes=dict(plan.cell.axes),
            **msgspec.structs.asdict(plan.cell.variant),
            kernel=plan.kernel.name,
            tile=plan.tile,
            split_k=plan.split_k,
            aligned=plan.aligned,
            subgroup_size=plan.subgroup_size,
            spirv_sha=plan.spirv_sha,
            robust=plan.robust,
            float_controls=plan.float_controls,
            compile_s=state.compile_s,
            **ended,
        )
        self._sink(state.record)
        return state.record

    def _compile(self) -> None:
        """Create each pipeline once, caches off, in a worker of its own: a compiler's crash costs no measurement."""
        states = {id(state.plan): state for state in self._open() if state.plan.program.first is not None}
        groups = by_pipeline(state.plan for state in states.values())
        for done, group in enumerate(groups):
            self._progress.step(self._device.device, f"compile {group[0].kernel.name}", done, len(groups))
            pipeline = self._compiler.compile(group[0])
            for plan in group:
                state = states[id(plan)]
                state.pipeline = pipeline
                if pipeline.status == "ok":
                    state.compile_s = pipeline.compile_s
                else:
                    self._end(state, pipeline.status, f"compiling its pipeline: {pipeline.reason}")
        if not self._device.null:
            self._compiler.session.close()

    def _executes(self) -> bool:
        """Whether the device executes what it is given; ends all cells where it doesn't."""
        if not self._open():
            return False
        session = self._compiler.session if self._device.null else self._measuring
        while True:
            try:
                session.open("opening the device")
            except Lost:
                continue  # an event is recorded; after three in a row open() gives up
            break
        if session.opened.executes:
            return True
        kind = (
            "a null device compiles and executes nothing"
            if self._device.null
            else "the device executed nothing, though it is no null device"
        )
        for state in self._open():
            self._end(state, "noop", f"{kind} (a canary dispatch left its buffer untouched)")
        return False

    def _prepare_all(self, phase: Sequence[CellState]) -> None:
        states = [state for state in phase if not state.ended]
        try:
            if self._policy.ahead and len(states) > 1:
                requests = [self._preparation(state) for state in states]
                self._ahead = Ahead(self._spec, self._request, self._device.device, requests, max(map(self._preparing_s, states)))
            for done, state in enumerate(states):
                self._progress.step(self._device.device, f"verify {state.plan.words}", done, len(states))
                self._at = done
                self._prepare(state)
        finally:
            if self._ahead is not None:
                self._ahead.close()
                self._ahead = None

    def _preparation(self, state: CellState) -> Prepare:
        limit = max(self._policy.time_limit_s, self._policy.compile_limit_s)
        return Prepare(number=state.index, program=state.plan.program, timeout_s=limit)

    def _preparing_s(self, state: CellState) -> float:
        """How long preparing a cell may take, the host's references included."""
        plan, host_s = state.plan, 10.0
        op = ops.find(plan.cell.op)
        if not op.ceiling:  # a ceiling's numbers are few
            host_s += (op.flop(plan.cell) or 0.0) / 2 / _HOST_FLOPS_PER_S + op.largest_matrix(plan.cell) / _HOST_ELEMENTS_PER_S
        return 2 * self._policy.time_limit_s + 2 * self._policy.compile_limit_s + host_s

    def _prepare(self, state: CellState) -> bool:
        """Make sure that the cell is verified and ready in the worker that lives now; False where that ended it."""
        if self._measuring.holds(state.generation):
            return True
        try:
            reply = self._ask(state, self._preparation(state), "verifying", self._preparing_s(state))
        except _Ended:
            return False
        state.generation = self._measuring.generation
        state.check = reply.check
        if reply.wrong is not None:
            self._wrong(state, reply.wrong)
            return False
        return True

    def _ask(self, state: CellState, request: Request, doing: str, timeout: float) -> Any:
        """A request for one cell; a cell whose device was lost, maybe to somebody else's reset, is tried once more.

        Raises:
            _Ended: the request ended the cell; its record is written.
        """
        where = f"{doing} {state.plan.words}"
        try:
            if self._ahead is None:
                return self._measuring.ask(request, where=where, timeout=timeout)
            self._measuring.begin(request, where=where, timeout=timeout)
            self._ahead.attend(self._measuring, self._at)
            return self._measuring.end()
        except WorkerFailed as error:
            self._end(state, "error", f"{doing}: {error.reason}")
            self._release(state)
        except Lost as lost:
            if lost.end == "device-lost" and not state.retried:
                state.retried = True
                raise _Ended from None  # not ended at all: it is prepared anew
            self._end(state, lost.end, f"{doing}: {lost.reason}")
        raise _Ended

    def _wrong(self, state: CellState, reason: str) -> None:
        self._record(state, status="wrong", reason=reason, check=state.check)
        self._release(state)

    def _release(self, state: CellState) -> None:
        """Give the buffers of a cell that has its record back."""
        if not self._measuring.holds(state.generation):
            return
        try:
            self._measuring.release(state.index, timeout=self._policy.time_limit_s)
        except (WorkerFailed, Lost):
            pass  # a lost worker has an event of its own, and the next cell starts another

    def _rounds(self, phase: Sequence[CellState]) -> None:
        """Rounds over the phase's open cells until each is steady and narrow, or out of rounds or time."""
        for number in range(self._policy.most_rounds):
            began = time.monotonic()
            states = [state for state in phase if not state.ended]
            for done, state in enumerate(states):
                self._progress.step(self._device.device, f"round {number + 1}: {state.plan.words}", done, len(states))
                self._sample(state, warm=done == 0)
            for state in states:
                if not state.ended and self._is_done(state, number + 1):
                    self._finish(state)
                    self._release(state)
            if all(state.ended for state in states):
                return
            time.sleep(max(0.0, began + self._policy.gap_s - time.monotonic()))

    def _sample(self, state: CellState, *, warm: bool) -> None:
        """A round of the cell; once more where it lost its device for the first time."""
        if not self._sampled(state, warm=warm) and not state.ended:
            self._sampled(state, warm=warm)

    def _sampled(self, state: CellState, *, warm: bool) -> bool:
        policy = self._policy
        if not self._prepare(state):
            return False
        began = time.monotonic()
        try:
            reply = self._ask(
                state,
                Sample(
                    number=state.index,
                    dispatches=state.rounds[-1].dispatches if state.rounds else None,
                    least_samples=policy.least_samples,
                    least_s=policy.least_s,
                    most_s=policy.time_limit_s / policy.least_rounds,
                    settle_s=policy.settle_s,
                    warm_s=policy.warm_s if warm else 0.0,
                    timeout_s=policy.time_limit_s,
                ),
                "timing",
                3 * policy.time_limit_s,
            )
        except _Ended:
            return False
        state.began.append(began)
        state.spent_s += time.monotonic() - began
        if reply.wrong is not None:
            self._wrong(state, reply.wrong)
        else:
            state.rounds.append(reply)
        return True

    def _judged(self, state: CellState) -> Judged:
        last = state.rounds[-1]
        return judge([r.samples_s for r in state.rounds], [r.wall_samples_s for r in state.rounds], last.dispatches, last.clock)

    def _is_done(self, state: CellState, number: int) -> bool:
        if not state.rounds:
            return False
        if number >= self._policy.most_rounds or state.spent_s >= self._policy.time_limit_s:
            return True
        if len(state.rounds) < self._policy.least_rounds:
            return False
        return self._judged(state).steady

    def _finish(self, state: CellState, *, because: str | None = None) -> None:
        """Write the record of a measured cell; `because`: why it was ended before it was steady."""
        judged, plan, last = self._judged(state), state.plan, state.rounds[-1]
        op = ops.find(plan.cell.op)
        if because is not None:
            judged = msgspec.structs.replace(judged, steady=False, because=because, unsteady=None)
        flop = op.flop(plan.cell)
        measured = Time(
            median_s=judged.median_s,
            ci95_s=judged.ci95_s,
            samples_s=[s for r in state.rounds for s in r.samples_s],
            rounds=[i for i, r in enumerate(state.rounds) for _ in r.samples_s],
            settle_s=state.began[judged.first_settled] - state.began[0] + state.rounds[judged.first_settled].settle_s,
            settle_samples_s=[s for r in state.rounds for s in r.settle_samples_s],
            wall_samples_s=[s for r in state.rounds for s in r.wall_samples_s],
            dispatches_per_sample=last.dispatches,
            clock=last.clock,
            timestamp_period_ns=last.timestamp_period_ns,
            steady=judged.steady,
            unsteady_because=judged.because,
            unsteady=judged.unsteady,
            telemetry={"rounds": [r.telemetry for r in state.rounds]} if any(r.telemetry for r in state.rounds) else {},
        )
        record = self._record(
            state,
            status="ok",
            reason=None,
            interrupted=because is not None,
            time=measured,
            flops_per_s=UNSET if flop is None else flop / judged.median_s,
            bytes_per_s=UNSET if op.ceiling and flop is not None else op.traffic_bytes(plan.program) / judged.median_s,
            peak_share=None if self._ceilings is None else self._ceilings.share(plan, judged.median_s),
            working_set_bytes=last.working_set_bytes,
            check=state.check,
        )
        if self._ceilings is not None:
            self._ceilings.add(record)


class _Ended(Exception):
    """The request at hand ended its cell."""
