"""Measuring a device: compile everything, verify everything, then time all cells in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from vkprobe.bench.ahead import Ahead
from vkprobe.bench.ceilings import OPS, Ceilings, brief
from vkprobe.bench.compiling import Compiler, Progress, by_pipeline
from vkprobe.bench.device import memory_budget
from vkprobe.bench.lives import GivenUp, Lives, Lost
from vkprobe.bench.plans import software
from vkprobe.bench.policy import Policy
from vkprobe.bench.resolve import Resolved
from vkprobe.bench.states import CellState, in_phases
from vkprobe.bench.statistics import Judged, judge
from vkprobe.drivers.spec import DriverSpec
from vkprobe.errors import WorkerFailed
from vkprobe.footprint import flop, traffic_bytes
from vkprobe.jobs import OpenRequest
from vkprobe.records import AnyRecord, Check, DeviceRecord, PipelineRecord, ResultRecord, Status, Time

Sink = Callable[[AnyRecord], None]
_HOST_FLOPS_PER_S = 2e9  # of a slow machine's references, for time limits only
_HOST_ELEMENTS_PER_S = 5e6


class DeviceRun:
    """All cells of one device, from compile to record.

    Args:
        resolved: the cells to measure; copies and peaks among them first, as the others' shares of the roofline follow from them.
        ceilings: copies and peaks to measure before all others, briefly, for that alone.
        request: what to open the device with.
        sink: takes each record as soon as it is final.
        known_pipelines: whether a pipeline's record is there already, from the run that is being resumed.
        known_ceilings: copies and peaks of that run.
    """

    def __init__(
        self,
        spec: DriverSpec,
        device: DeviceRecord,
        request: OpenRequest,
        resolved: Sequence[Resolved],
        *,
        run: str,
        policy: Policy,
        sink: Sink,
        progress: Progress,
        known_pipelines: Callable[[PipelineRecord], bool] = lambda record: False,
        ceilings: Sequence[Resolved] = (),
        known_ceilings: Sequence[ResultRecord] = (),
    ) -> None:
        self._device, self._policy, self._sink, self._progress, self._run = device, policy, sink, progress, run
        self._compiler = Compiler(spec, device, request, run=run, limit_s=policy.compile_limit_s, sink=sink, known=known_pipelines)
        self._measuring = Lives(spec, request, run, device.device, sink, {})
        self._spec, self._request = spec, request
        self._ahead: Ahead | None = None
        self._at = 0
        # Cells of the same weights one after the other: they share references, buffers and the rotation's filling.
        asked = [r for r in resolved if r.cell.op in OPS]
        others = [r for r in resolved if r.cell.op not in OPS]
        ordered = sorted(others, key=lambda r: (r.cell.type, r.cell.shape.m, r.cell.shape.k, r.cell.shape.n, r.cell.op))
        with_policies = [*((r, brief(policy)) for r in ceilings), *((r, policy) for r in [*asked, *ordered])]
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
            if state.resolved.reason is not None:
                self._end(state, "unsupported", state.resolved.reason)
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
        self._compiler.lives.close()
        self._measuring.close()

    def _open(self) -> list[CellState]:
        return [state for state in self._states if not state.ended]

    def _end(self, state: CellState, status: Status, reason: str | None) -> None:
        partial = [r["samples_s"] for r in state.rounds] or UNSET
        self._record(state, status=status, reason=reason, partial_samples_s=partial)

    def _record(self, state: CellState, **ended: Any) -> ResultRecord:
        """End the cell with a record of it."""
        resolved = state.resolved
        cell = resolved.cell
        state.ended = True
        state.record = ResultRecord(
            run=self._run,
            device=self._device.device,
            op=cell.op,
            kernel=resolved.kernel.name,
            tier=cell.tier,
            residency=cell.residency,
            path=cell.path,
            type=cell.type,
            accumulator=cell.accumulator,
            tuple=cell.tuple,
            m=cell.shape.m,
            n=cell.shape.n,
            k=cell.shape.k,
            tile=resolved.tile,
            split_k=resolved.split_k,
            aligned=resolved.aligned,
            subgroup_size=resolved.subgroup_size,
            spirv_sha=resolved.spirv_sha,
            robust=resolved.robust,
            float_controls=resolved.float_controls,
            compile_s=state.compile_s,
            **ended,
        )
        self._sink(state.record)
        return state.record

    def _compile(self) -> None:
        """Create each pipeline once, caches off, in a worker of its own: a compiler's crash costs no measurement."""
        states = {id(state.resolved): state for state in self._open() if not state.resolved.job.transfer}
        groups = by_pipeline(state.resolved for state in states.values())
        for done, group in enumerate(groups):
            self._progress.step(self._device.device, f"compile {group[0].kernel.name}", done, len(groups))
            made = self._compiler.compile(group[0])
            for resolved in group:
                state = states[id(resolved)]
                state.pipeline = made
                if made.status == "ok":
                    state.compile_s = made.compile_s
                else:
                    self._end(state, made.status, f"compiling its pipeline: {made.reason}")
        if not self._device.null:
            self._compiler.lives.close()

    def _executes(self) -> bool:
        """Whether the device executes what it is given; ends all cells where it doesn't."""
        if not self._open():
            return False
        lives = self._compiler.lives if self._device.null else self._measuring
        while True:
            try:
                lives.open("opening the device")
            except Lost:
                continue  # an event is recorded; after three in a row open() gives up
            break
        if lives.opened["executes"]:
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
                requests = [{"cell": state.index, **self._preparation(state)} for state in states]
                self._ahead = Ahead(self._spec, self._request, self._device.device, requests, max(map(self._preparing_s, states)))
            for done, state in enumerate(states):
                self._progress.step(self._device.device, f"verify {state.resolved.cell}", done, len(states))
                self._at = done
                self._prepare(state)
        finally:
            if self._ahead is not None:
                self._ahead.close()
                self._ahead = None

    def _preparation(self, state: CellState) -> dict[str, Any]:
        limit = max(self._policy.time_limit_s, self._policy.compile_limit_s)
        return {"job": msgspec.to_builtins(state.resolved.job), "timeout_s": limit}

    def _preparing_s(self, state: CellState) -> float:
        """How long preparing a cell may take, the host's reckoning included."""
        job, host_s = state.resolved.job, 10.0
        if job.op != "peak":  # its numbers are few
            host_s += job.m * job.n * job.k / _HOST_FLOPS_PER_S + job.m * job.k / _HOST_ELEMENTS_PER_S
        return 2 * self._policy.time_limit_s + 2 * self._policy.compile_limit_s + host_s

    def _prepare(self, state: CellState) -> bool:
        """Make sure that the cell is verified and ready in the worker that lives now; False where that ended it."""
        if self._measuring.living(state.generation):
            return True
        try:
            reply = self._ask(state, "prepare", "verifying", self._preparing_s(state), **self._preparation(state))
        except _Ended:
            return False
        state.generation = self._measuring.generation
        state.check = msgspec.convert(reply["check"], Check)
        if reply["wrong"] is not None:
            self._wrong(state, reply["wrong"])
            return False
        return True

    def _ask(self, state: CellState, verb: str, doing: str, timeout: float, **arguments: Any) -> Any:
        """A request for one cell; a cell whose device was lost, maybe to somebody else's reset, is tried once more.

        Raises:
            _Ended: the request ended the cell; its record is written.
        """
        where = f"{doing} {state.resolved.cell}"
        try:
            if self._ahead is None:
                return self._measuring.ask(verb, where=where, timeout=timeout, cell=state.index, **arguments)
            self._measuring.begin(verb, where=where, timeout=timeout, cell=state.index, **arguments)
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
        if not self._measuring.living(state.generation):
            return
        try:
            self._measuring.ask("release", where="giving buffers back", timeout=self._policy.time_limit_s, cell=state.index)
        except (WorkerFailed, Lost):
            pass  # a lost worker has an event of its own, and the next cell starts another

    def _rounds(self, phase: Sequence[CellState]) -> None:
        """Rounds over the phase's open cells until each is steady and narrow, or out of rounds or time."""
        for number in range(self._policy.most_rounds):
            began = time.monotonic()
            states = [state for state in phase if not state.ended]
            for done, state in enumerate(states):
                self._progress.step(self._device.device, f"round {number + 1}: {state.resolved.cell}", done, len(states))
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
                "sample",
                "timing",
                3 * policy.time_limit_s,
                dispatches=state.rounds[-1]["dispatches"] if state.rounds else None,
                least_samples=policy.least_samples,
                least_s=policy.least_s,
                most_s=policy.time_limit_s / policy.least_rounds,
                settle_s=policy.settle_s,
                warm_s=policy.warm_s if warm else 0.0,
                timeout_s=policy.time_limit_s,
            )
        except _Ended:
            return False
        state.began.append(began)
        state.spent_s += time.monotonic() - began
        if reply["wrong"] is not None:
            self._wrong(state, reply["wrong"])
        else:
            state.rounds.append(reply)
        return True

    def _judged(self, state: CellState) -> Judged:
        last = state.rounds[-1]
        return judge([r["samples_s"] for r in state.rounds], [r["wall_samples_s"] for r in state.rounds], last["dispatches"], last["clock"])

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
        judged, job, last = self._judged(state), state.resolved.job, state.rounds[-1]
        if because is not None:
            judged = msgspec.structs.replace(judged, steady=False, because=because)
        computed = flop(job)
        measured = Time(
            median_s=judged.median_s,
            ci95_s=judged.ci95_s,
            samples_s=[s for r in state.rounds for s in r["samples_s"]],
            rounds=[i for i, r in enumerate(state.rounds) for _ in r["samples_s"]],
            settle_s=state.began[judged.first_settled] - state.began[0] + state.rounds[judged.first_settled]["settle_s"],
            settle_samples_s=[s for r in state.rounds for s in r["settle_samples_s"]],
            wall_samples_s=[s for r in state.rounds for s in r["wall_samples_s"]],
            dispatches_per_sample=last["dispatches"],
            clock=last["clock"],
            timestamp_period_ns=last["timestamp_period_ns"],
            steady=judged.steady,
            unsteady_because=judged.because,
            telemetry={"rounds": [r["telemetry"] for r in state.rounds]} if any(r["telemetry"] for r in state.rounds) else {},
        )
        record = self._record(
            state,
            status="ok",
            reason=None,
            interrupted=because is not None,
            time=measured,
            flops_per_s=UNSET if computed is None else computed / judged.median_s,
            bytes_per_s=UNSET if job.op == "peak" else traffic_bytes(job) / judged.median_s,
            peak_share=None if self._ceilings is None else self._ceilings.share(state.resolved, judged.median_s),
            working_set_bytes=last["working_set_bytes"],
            check=state.check,
        )
        if self._ceilings is not None:
            self._ceilings.add(record)


class _Ended(Exception):
    """The request at hand ended its cell."""
