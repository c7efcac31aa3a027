"""The cells of an opened device: prepared (compiled and verified), sampled in rounds, given back.

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

from vkprobe.jobs import Job
from vkprobe.worker.buffers import Buffers, Workload
from vkprobe.worker.failure import Failure
from vkprobe.worker.references import Pass, References
from vkprobe.worker.session import Progress, Session, current, finite
from vkprobe.worker.verify import Verdict
from vkprobe.worker.vk.commands import DescriptorSets, Dispatch, Sample, Transfer
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Pipeline

_POISON = 0xFFFFFFFF
_SAMPLE_S = 0.012  # aimed at; a sample is to be 5 to 100 ms
_MOST_DISPATCHES = 4096
_MOST_RECORDINGS = 8

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Cell:
    """A prepared cell: its pipelines, the digest that its timed output must have, and the recordings that its samples submit in turn."""

    def __init__(self, job: Job, pipelines: list[Pipeline], workload: Workload) -> None:
        self.job = job
        self.pipelines = pipelines
        self.workload = workload
        self.digest = b""
        self.dispatches = 0
        self.copies = 1
        self.recordings: list[Any] = []
        self.sets: list[DescriptorSets] = []
        self.turn = 0

    @property
    def create_s(self) -> float:
        """What creating its pipelines took (s)."""
        return sum(pipeline.create_s for pipeline in self.pipelines)


class Cells:
    """All cells of the session, and what they share."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cells: dict[int, Cell] = {}
        self._buffers = Buffers(session)
        self._references = References()

    def add(self, number: int, job: Job, timeout_s: float) -> tuple[Cell, Verdict]:
        """A new cell, compiled and verified; what a failure leaves behind is given back."""
        pipelines: list[Pipeline] = []
        try:
            if not job.transfer:
                pipelines.append(self.session.pipeline(job, statistics=False))
            if job.reduce is not None:
                pipelines.append(self.session.stage(job, job.reduce))
            cell = Cell(job, pipelines, self._buffers.workload(job))
        except VkError:
            for pipeline in pipelines:
                pipeline.destroy()
            self._sweep()
            raise
        self.cells[number] = cell
        try:
            return cell, self._verify(cell, timeout_s)
        except Failure as failure:
            if failure.code not in ("timeout", "device-lost"):  # then nothing may be in flight, and the worker lives on
                self.remove(number)
            raise

    def remove(self, number: int) -> None:
        """Give a cell back, and all that no other cell has."""
        cell = self.cells.pop(number)
        self._drop_recordings(cell)
        for pipeline in cell.pipelines:
            pipeline.destroy()
        self._sweep()

    def _sweep(self) -> None:
        self._buffers.sweep(cell.workload for cell in self.cells.values())

    def _steps(self, cell: Cell, source: Buffer, offsets: Sequence[int]) -> tuple[list[Dispatch | Transfer], list[DescriptorSets]]:
        """What one dispatch of the cell does, on its source at each offset in turn; and the descriptor sets made for it."""
        session, job, w = self.session, cell.job, cell.workload
        if job.transfer:
            return [Transfer(source, w.output, [(offset, 0) for offset in offsets], w.source.bytes)], []
        written = w.scratch or w.output
        bound = [
            [(source, offset, w.source.bytes), _whole(w.activations), _whole(written), (source, offset, w.source.bytes)]
            for offset in offsets
        ]
        sets = [DescriptorSets(session.device, session.layout, bound)]
        steps: list[Dispatch | Transfer] = [Dispatch(cell.pipelines[0], sets[0], job.push, job.groups)]
        if job.reduce is not None:
            assert w.scratch is not None
            sets.append(
                DescriptorSets(
                    session.device, session.layout, [[_whole(w.scratch), _whole(w.scratch), _whole(w.output), _whole(w.scratch)]]
                )
            )
            steps.append(Dispatch(cell.pipelines[1], sets[1], job.push, job.reduce.groups))
        return steps, sets

    def _dispatch_once(self, cell: Cell, timeout_s: float) -> Bytes:
        """Poison the output, dispatch on the workload's own source, and read the output back."""
        session, w = self.session, cell.workload
        steps, sets = self._steps(cell, w.source.buffer, [0])
        self._poison(w)
        commands = session.commands.record(steps, 1)
        session.commands.submit(commands, timeout_s)
        output: Bytes = session.download(w.output, w.output_bytes)
        session.commands.free(commands)
        for made in sets:
            made.destroy()
        return output

    def _verify(self, cell: Cell, timeout_s: float) -> Verdict:
        """All passes on the buffers that will be timed; they end up holding the last one's inputs."""
        reference = self._references.of(cell.job)
        self._buffers.forget(cell.workload)  # until what is timed is in place again: another cell may be timed on it
        wrong = None
        for one in reference.exact:
            self._fill(cell, one)
            wrong = one.judge(self._dispatch_once(cell, timeout_s)) or wrong
        self._make_ready(cell)
        output = self._dispatch_once(cell, timeout_s)
        reference.timed.judge(output)
        cell.digest = _digest(output)
        return msgspec.structs.replace(reference.verdict, wrong=wrong) if wrong else reference.verdict

    def _fill(self, cell: Cell, one: Pass) -> None:
        self.session.upload(cell.workload.source.buffer, one.source, cell.workload.source.bytes)
        if one.activations is not None:
            self.session.upload(cell.workload.activations, one.activations)

    def _make_ready(self, cell: Cell) -> None:
        """Put the inputs that are timed in place."""
        self._fill(cell, self._references.of(cell.job).timed)
        cell.workload.ready = cell.workload.source.ready = True

    def record(self, cell: Cell, dispatches: int) -> None:
        """The command buffers of samples of `dispatches`: as many as let them go on through the copies where one sample sees few."""
        self._drop_recordings(cell)
        buffer, offsets = self._place(cell)
        count = min(_MOST_RECORDINGS, -(-len(offsets) // dispatches))
        for i in range(count):
            steps, sets = self._steps(cell, buffer, offsets[i * dispatches : (i + 1) * dispatches])
            cell.sets += sets
            cell.recordings.append(self.session.commands.record(steps, dispatches))
        cell.dispatches, cell.copies, cell.turn = dispatches, min(len(offsets), count * dispatches), 0

    def place(self, cell: Cell) -> None:
        """Make sure that the source that the cell's recordings bind is there."""
        self._place(cell)

    def _place(self, cell: Cell) -> tuple[Buffer, list[int]]:
        return self._buffers.place(cell.job, cell.workload, lambda: self._make_ready(cell))

    def _drop_recordings(self, cell: Cell) -> None:
        for recording in cell.recordings:
            self.session.commands.free(recording)
        for sets in cell.sets:
            sets.destroy()
        cell.recordings, cell.sets = [], []

    def time(self, cell: Cell, timeout_s: float, during: Any = None) -> Sample:
        """One sample."""
        cell.turn = (cell.turn + 1) % len(cell.recordings)
        return self.session.commands.time(cell.recordings[cell.turn], timeout_s, during)

    def time_anew(self, cell: Cell, timeout_s: float) -> Sample:
        """One sample on poisoned buffers.

        Some devices keep one of several speeds for as long as nothing comes between dispatches (what stays in their caches
        depends on where they began): so a round's median is the usual speed, and not the first one's.
        """
        self._poison(cell.workload)
        return self.time(cell, timeout_s)

    def _poison(self, workload: Workload) -> None:
        self.session.commands.fill(workload.output, _POISON)
        if workload.scratch is not None:
            self.session.commands.fill(workload.scratch, _POISON)

    def calibrate(self, cell: Cell, timeout_s: float) -> None:
        """Choose how many dispatches make a sample, from ever longer ones: the first are slow."""
        dispatches = 1
        while True:
            self.record(cell, dispatches)
            took = max(_per_dispatch(self.time(cell, timeout_s), 1), 1e-6)
            if took >= 0.6 * _SAMPLE_S or dispatches >= _MOST_DISPATCHES:
                return
            dispatches = min(_MOST_DISPATCHES, max(dispatches + 1, math.ceil(dispatches * min(8.0, _SAMPLE_S / took))))

    def keep_busy(self, cell: Cell, seconds: float, timeout_s: float) -> None:
        """Let the device work, so that its clocks are up."""
        if not cell.recordings:
            self.record(cell, cell.dispatches or 1)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            self.time(cell, timeout_s)


_cells: Cells | None = None


def _all() -> Cells:
    global _cells
    if _cells is None or _cells.session is not current():
        _cells = Cells(current())
    return _cells


def _whole(buffer: Buffer) -> tuple[Buffer, int, int]:
    return buffer, 0, buffer.size


def _digest(output: Bytes) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(output).data, digest_size=16).digest()


def _per_dispatch(sample: Sample, dispatches: int) -> float:
    return (sample.wall_s if sample.gpu_s is None else sample.gpu_s) / dispatches


def prepare(progress: Progress, cell: int, job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Create the cell's pipeline, verify it and dispatch it, so that it is ready to be timed.

    `timeout_s` of one dispatch allows for drivers that compile at the first one (lavapipe).
    """
    began = time.perf_counter()
    made, verdict = _all().add(cell, msgspec.convert(job, Job), timeout_s)
    check = {"method": verdict.method, "nmse": finite(verdict.nmse), "max_abs": finite(verdict.max_abs), "bound": verdict.bound}
    return {"check": check, "wrong": verdict.wrong, "create_s": made.create_s, "verify_s": time.perf_counter() - began}


def sample(
    progress: Progress,
    cell: int,
    *,
    dispatches: int | None,
    least_samples: int,
    least_s: float,
    most_s: float,
    settle_s: float,
    warm_s: float,
    timeout_s: float,
) -> dict[str, Any]:
    """One round of a prepared cell: settle, then sample, then check that the timed output is the verified one."""
    cells = _all()
    session, made = cells.session, cells.cells[cell]
    if warm_s:
        cells.keep_busy(made, warm_s, timeout_s)
    if dispatches is None:
        cells.calibrate(made, timeout_s)
    elif not made.recordings or made.dispatches != dispatches:
        cells.record(made, dispatches)
    else:
        cells.place(made)
    settle: list[float] = []
    telemetry: dict[str, Any] = {}
    settle_began = time.perf_counter()
    while True:
        settle.append(_per_dispatch(cells.time_anew(made, timeout_s), made.dispatches))
        agree = len(settle) >= 3 and max(settle[-3:]) <= 1.01 * min(settle[-3:])
        if agree or time.perf_counter() - settle_began >= settle_s:
            break
    read = cells.time(made, timeout_s, during=lambda: telemetry.update(session.telemetry.read()))
    settle.append(_per_dispatch(read, made.dispatches))
    settled_after = time.perf_counter() - settle_began
    samples: list[Sample] = []
    took = 0.0
    while len(samples) < 3 or took < least_s or (len(samples) < least_samples and took < most_s):
        samples.append(cells.time_anew(made, timeout_s))
        took += samples[-1].wall_s
    if any(s.gpu_s == 0 for s in samples):
        raise Failure("timestamps", "the device's timestamps stood still while it worked: no time can be told")
    unchanged = _digest(session.download(made.workload.output, made.workload.output_bytes)) == made.digest
    return {
        "dispatches": made.dispatches,
        "settle_s": settled_after,
        "settle_samples_s": settle,
        "samples_s": [_per_dispatch(s, made.dispatches) for s in samples],
        "wall_samples_s": [s.wall_s / made.dispatches for s in samples],
        "clock": "gpu" if session.commands.has_timestamps else "wall",
        "timestamp_period_ns": finite(session.device.timestamp_period_ns),
        "working_set_bytes": made.copies * made.workload.source.bytes + made.workload.working_set,
        "wrong": None if unchanged else "the output of the last timed sample is not the one that was verified",
        "telemetry": telemetry,
    }


def release(progress: Progress, cell: int) -> dict[str, Any]:
    """Give a cell's pipeline and recordings back, and the buffers that no other cell has."""
    _all().remove(cell)
    return {}
