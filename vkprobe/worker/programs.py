"""The programs of an opened device: prepared (compiled and verified), sampled in rounds, given back.

What is timed is what was verified: the buffers hold the random pass's inputs, the output is poisoned before a round's last
sample, and must then be, bit for bit, the one that passed.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from vkprobe import ops, protocol
from vkprobe.errors import FATAL_CODES
from vkprobe.ops.reference import POISON, Pass, SharedReferences, Verdict
from vkprobe.program import Dispatch as DispatchStage
from vkprobe.program import Program
from vkprobe.program import Transfer as TransferStage
from vkprobe.protocol import Done, Prepare, Prepared, Release, Sampled
from vkprobe.records import Check
from vkprobe.worker.buffers import Bound, Buffers, Shared
from vkprobe.worker.failure import Failure
from vkprobe.worker.session import Progress, Session, current, finite
from vkprobe.worker.vk.commands import DescriptorSets, Dispatch, Sample, Transfer
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Pipeline

_SAMPLE_S = 0.012  # aimed at; a sample should take 5 to 100 ms
_MOST_DISPATCHES = 4096
_MOST_RECORDINGS = 8

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Ready:
    """A program on its way: its pipelines by stage, the digest that its timed output must have, and the recordings that samples submit."""

    def __init__(self, program: Program, pipelines: dict[int, Pipeline], bound: Bound) -> None:
        self.program = program
        self.pipelines = pipelines
        self.bound = bound
        self.digest = b""
        self.dispatches = 0
        self.copies = 1
        self.recordings: list[Any] = []
        self.sets: list[DescriptorSets] = []
        self.turn = 0

    @property
    def create_s(self) -> float:
        """How long creating its pipelines took (s)."""
        return sum(pipeline.create_s for pipeline in self.pipelines.values())


class Programs:
    """All programs of the session, and what they share."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ready: dict[int, Ready] = {}
        self._buffers = Buffers(session)
        self._references = SharedReferences()

    def add(self, number: int, program: Program, timeout_s: float) -> tuple[Ready, Verdict]:
        """Compile and verify a program; what a failure leaves behind is given back."""
        pipelines: dict[int, Pipeline] = {}
        try:
            for i, stage in enumerate(program.stages):
                if isinstance(stage, DispatchStage):
                    pipelines[i] = self.session.pipeline(stage)
            ready = Ready(program, pipelines, self._buffers.bind(program))
        except VkError:
            for pipeline in pipelines.values():
                pipeline.destroy()
            self._sweep()
            raise
        self.ready[number] = ready
        try:
            return ready, self._verify(ready, timeout_s)
        except Failure as failure:
            if failure.code not in FATAL_CODES:  # after those a submit may be in flight, and the worker is ended
                self.remove(number)
            raise

    def remove(self, number: int) -> None:
        """Give a program back, and everything that no other program uses."""
        ready = self.ready.pop(number)
        self._drop_recordings(ready)
        for pipeline in ready.pipelines.values():
            pipeline.destroy()
        self._sweep()

    def _sweep(self) -> None:
        self._buffers.sweep(ready.bound for ready in self.ready.values())

    def _steps(self, ready: Ready, source: Buffer, offsets: Sequence[int]) -> tuple[list[Dispatch | Transfer], list[DescriptorSets]]:
        """One dispatch of the program, on its source at each offset in turn; and the descriptor sets made for it."""
        bound, rotating = ready.bound, ready.program.source.name
        steps: list[Dispatch | Transfer] = []
        sets: list[DescriptorSets] = []
        for i, stage in enumerate(ready.program.stages):
            if isinstance(stage, TransferStage):
                steps.append(Transfer(source, bound[stage.target].buffer, [(o, 0) for o in offsets], bound[stage.source].bytes))
                continue
            places = offsets if rotating in stage.bindings else [0]
            ranges = [
                [(source, offset, bound.source.bytes) if name == rotating else _whole(bound[name]) for name in stage.bindings]
                for offset in places
            ]
            sets.append(DescriptorSets(self.session.device, ready.pipelines[i].layout, ranges))
            steps.append(Dispatch(ready.pipelines[i], sets[-1], stage.push, stage.groups))
        return steps, sets

    def _dispatch_once(self, ready: Ready, timeout_s: float) -> Bytes:
        """Poison the output, dispatch on the program's own source, and read the output back."""
        session, bound = self.session, ready.bound
        steps, sets = self._steps(ready, bound.source.buffer, [0])
        self._poison(bound)
        commands = session.commands.record(steps, 1)
        session.commands.submit(commands, timeout_s)
        output: Bytes = session.download(bound.output.buffer, bound.output.bytes)
        session.commands.free(commands)
        for one in sets:
            one.destroy()
        return output

    def _reference(self, ready: Ready) -> Any:
        return self._references.of(ready.program, ops.find(ready.program.cell.op))

    def _verify(self, ready: Ready, timeout_s: float) -> Verdict:
        """All passes on the buffers that will be timed; they end up holding the last one's inputs."""
        reference = self._reference(ready)
        self._buffers.forget(ready.bound)  # until what is timed is in place again: another program may be timed on it
        wrong = None
        for one in reference.exact:
            self._fill(ready, one)
            wrong = one.judge(self._dispatch_once(ready, timeout_s)) or wrong
        self._make_ready(ready)
        output = self._dispatch_once(ready, timeout_s)
        reference.timed.judge(output)
        ready.digest = _digest(output)
        verdict: Verdict = reference.verdict
        return msgspec.structs.replace(verdict, wrong=wrong) if wrong else verdict

    def _fill(self, ready: Ready, one: Pass) -> None:
        for name, data in one.inputs.items():
            shared = ready.bound[name]
            self.session.upload(shared.buffer, data, shared.bytes if shared is ready.bound.source else 0)

    def _make_ready(self, ready: Ready) -> None:
        """Put the inputs that are timed in place."""
        self._fill(ready, self._reference(ready).timed)
        for shared in ready.bound.inputs:
            shared.ready = True

    def record(self, ready: Ready, dispatches: int) -> None:
        """Record samples of `dispatches`: as many as it takes to go on through the copies if one sample sees few of them."""
        self._drop_recordings(ready)
        buffer, offsets = self.place(ready)
        count = min(_MOST_RECORDINGS, -(-len(offsets) // dispatches))
        for i in range(count):
            steps, sets = self._steps(ready, buffer, offsets[i * dispatches : (i + 1) * dispatches])
            ready.sets += sets
            ready.recordings.append(self.session.commands.record(steps, dispatches))
        ready.dispatches, ready.copies, ready.turn = dispatches, min(len(offsets), count * dispatches), 0

    def place(self, ready: Ready) -> tuple[Buffer, list[int]]:
        """The source that the program's recordings bind, filled."""
        return self._buffers.place(ready.program, ready.bound, lambda: self._make_ready(ready))

    def _drop_recordings(self, ready: Ready) -> None:
        for recording in ready.recordings:
            self.session.commands.free(recording)
        for sets in ready.sets:
            sets.destroy()
        ready.recordings, ready.sets = [], []

    def time(self, ready: Ready, timeout_s: float, during: Any = None) -> Sample:
        """One sample."""
        ready.turn = (ready.turn + 1) % len(ready.recordings)
        return self.session.commands.time(ready.recordings[ready.turn], timeout_s, during)

    def time_anew(self, ready: Ready, timeout_s: float) -> Sample:
        """One sample on poisoned buffers.

        Some devices keep one of several speeds for as long as nothing comes between dispatches (what stays in their caches
        depends on where they began): so a round's median is the usual speed, and not the first one's.
        """
        self._poison(ready.bound)
        return self.time(ready, timeout_s)

    def _poison(self, bound: Bound) -> None:
        for shared in bound.written:
            self.session.commands.fill(shared.buffer, POISON)

    def calibrate(self, ready: Ready, timeout_s: float) -> None:
        """Choose how many dispatches make a sample, from ever longer ones: the first are slow."""
        dispatches = 1
        while True:
            self.record(ready, dispatches)
            took = max(_per_dispatch(self.time(ready, timeout_s), 1), 1e-6)
            if took >= 0.6 * _SAMPLE_S or dispatches >= _MOST_DISPATCHES:
                return
            dispatches = min(_MOST_DISPATCHES, max(dispatches + 1, math.ceil(dispatches * min(8.0, _SAMPLE_S / took))))

    def keep_busy(self, ready: Ready, seconds: float, timeout_s: float) -> None:
        """Let the device work, so that its clocks are up."""
        if not ready.recordings:
            self.record(ready, ready.dispatches or 1)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            self.time(ready, timeout_s)


_programs: Programs | None = None


def _all() -> Programs:
    global _programs
    if _programs is None or _programs.session is not current():
        _programs = Programs(current())
    return _programs


def _whole(shared: Shared) -> tuple[Buffer, int, int]:
    return shared.buffer, 0, shared.buffer.size


def _digest(output: Bytes) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(output).data, digest_size=16).digest()


def _per_dispatch(sample: Sample, dispatches: int) -> float:
    return (sample.wall_s if sample.gpu_s is None else sample.gpu_s) / dispatches


def prepare(request: Prepare, progress: Progress) -> Prepared:
    """Create a program's pipelines, verify it and dispatch it, so that it is ready to be timed.

    `timeout_s` of one dispatch allows for drivers that compile at the first one (lavapipe).
    """
    began = time.perf_counter()
    ready, verdict = _all().add(request.number, request.program, request.timeout_s)
    check = Check(method=verdict.method, nmse=finite(verdict.nmse), max_abs=finite(verdict.max_abs), bound=verdict.bound)
    return Prepared(check=check, wrong=verdict.wrong, create_s=ready.create_s, verify_s=time.perf_counter() - began)


def sample(request: protocol.Sample, progress: Progress) -> Sampled:
    """One round of a prepared program: settle, then sample, then check that the timed output is the verified one."""
    programs = _all()
    session, ready = programs.session, programs.ready[request.number]
    if request.warm_s:
        programs.keep_busy(ready, request.warm_s, request.timeout_s)
    if request.dispatches is None:
        programs.calibrate(ready, request.timeout_s)
    elif not ready.recordings or ready.dispatches != request.dispatches:
        programs.record(ready, request.dispatches)
    else:
        programs.place(ready)
    settle: list[float] = []
    telemetry: dict[str, Any] = {}
    settle_began = time.perf_counter()
    while True:
        settle.append(_per_dispatch(programs.time_anew(ready, request.timeout_s), ready.dispatches))
        agree = len(settle) >= 3 and max(settle[-3:]) <= 1.01 * min(settle[-3:])
        if agree or time.perf_counter() - settle_began >= request.settle_s:
            break
    read = programs.time(ready, request.timeout_s, during=lambda: telemetry.update(session.telemetry.read()))
    settle.append(_per_dispatch(read, ready.dispatches))
    settled_after = time.perf_counter() - settle_began
    samples: list[Sample] = []
    took = 0.0
    while len(samples) < 3 or took < request.least_s or (len(samples) < request.least_samples and took < request.most_s):
        samples.append(programs.time_anew(ready, request.timeout_s))
        took += samples[-1].wall_s
    if any(s.gpu_s == 0 for s in samples):
        raise Failure("timestamps", "the device's timestamps stood still while it worked: there is no time to report")
    output = ready.bound.output
    unchanged = _digest(session.download(output.buffer, output.bytes)) == ready.digest
    return Sampled(
        dispatches=ready.dispatches,
        settle_s=settled_after,
        settle_samples_s=settle,
        samples_s=[_per_dispatch(s, ready.dispatches) for s in samples],
        wall_samples_s=[s.wall_s / ready.dispatches for s in samples],
        clock="gpu" if session.commands.has_timestamps else "wall",
        timestamp_period_ns=finite(session.device.timestamp_period_ns),
        working_set_bytes=ready.copies * ready.bound.source.bytes + ready.bound.beside_source,
        wrong=None if unchanged else "the output of the last timed sample is not the one that was verified",
        telemetry=telemetry,
    )


def release(request: Release, progress: Progress) -> Done:
    """Give a program's pipelines and recordings back, and the buffers that no other program uses."""
    _all().remove(request.number)
    return Done()
