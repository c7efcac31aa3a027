"""The cells of an opened device: prepared (compiled and verified), sampled in rounds, given back.

What is timed is what was verified: the buffers hold the random pass's inputs, the output is poisoned before a round's last
sample, and must then be, bit for bit, the one that passed.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import msgspec
import numpy as np

from vkprobe.jobs import Job
from vkprobe.weights import WEIGHT_TYPES
from vkprobe.worker.failure import Failure
from vkprobe.worker.session import Progress, Session, current, finite
from vkprobe.worker.verify import DequantReference, MatrixReference, Verdict, WeightsReference, nmse_bound
from vkprobe.worker.vk.commands import DescriptorSets, Sample
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Pipeline

_SEED = 20261121
_POISON = 0xFFFFFFFF
_SAMPLE_S = 0.012  # aimed at; a sample is to be 5 to 100 ms
_MOST_DISPATCHES = 4096
_MOST_COPIES = 4096
_MOST_RECORDINGS = 8
_OUT_OF_MEMORY = (-1, -2)  # VK_ERROR_OUT_OF_{HOST,DEVICE}_MEMORY

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Weights:
    """One copy of the weights of a (type, m, k) on the device; `ready` once it holds what is timed."""

    def __init__(self, session: Session, job: Job) -> None:
        self.bytes = job.m * WEIGHT_TYPES[job.type].row_bytes(job.k)
        self.buffer = Buffer(session.device, _padded(self.bytes), "device")
        self.ready = False


class Workload:
    """The device buffers of one (op, type, m, n, k): weights (shared with other ops and N), activations, output."""

    def __init__(self, session: Session, job: Job, weights: Weights) -> None:
        self.weights = weights
        self.output_bytes = (job.m * job.k * 2) if job.op == "dequant" else job.m * job.n * 4
        self.activations = Buffer(session.device, _padded(4 * job.n * job.k), "device")
        self.output = Buffer(session.device, _padded(self.output_bytes), "device")


class Cell:
    """A prepared cell: its pipeline, the digest that its timed output must have, and the recordings that its samples submit in turn."""

    def __init__(self, job: Job, pipeline: Pipeline, workload: Workload) -> None:
        self.job = job
        self.pipeline = pipeline
        self.workload = workload
        self.digest = b""
        self.dispatches = 0
        self.copies = 1
        self.recordings: list[Any] = []
        self.sets: list[DescriptorSets] = []
        self.turn = 0


def _padded(size: int) -> int:
    return -(-size // 16) * 16


class Cells:
    """All cells of the session, and what they share."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cells: dict[int, Cell] = {}
        self._workloads: dict[tuple[Any, ...], Workload] = {}
        self._weights: dict[tuple[Any, ...], Weights] = {}
        self._references: dict[tuple[Any, ...], Any] = {}
        self._rotation: Buffer | None = None
        self._rotation_bytes = session.request.rotation_bytes
        self._rotation_holds: Weights | None = None

    def reference(self, job: Job) -> MatrixReference | DequantReference:
        """What the job must give."""
        weights: WeightsReference = self._kept(("weights", job.type, job.m, job.k), lambda: WeightsReference(job.type, job.m, job.k, _SEED))
        if job.op == "dequant":
            return DequantReference(job.type, job.m, job.k, _SEED, weights)
        made: MatrixReference = self._kept(
            ("product", job.type, job.m, job.n, job.k, job.accumulator),
            lambda: MatrixReference(job.type, job.m, job.n, job.k, _SEED, weights, job.accumulator),
        )
        return made

    def _kept(self, key: tuple[Any, ...], make: Any) -> Any:
        """The last reference of each kind is kept: cells of one workload come one after the other."""
        if key not in self._references:
            for other in [k for k in self._references if k[0] == key[0]]:
                del self._references[other]
            self._references[key] = make()
        return self._references[key]

    def add(self, number: int, job: Job, timeout_s: float) -> tuple[Cell, Verdict]:
        """A new cell, compiled and verified; what a failure leaves behind is given back."""
        pipeline = self.session.pipeline(job, statistics=False)
        try:
            cell = Cell(job, pipeline, self._workload(job))
        except VkError:
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

    def _workload(self, job: Job) -> Workload:
        key = (job.op, job.type, job.m, job.n, job.k)
        if key not in self._workloads:
            shared = (job.type, job.m, job.k)
            if shared not in self._weights:
                self._weights[shared] = Weights(self.session, job)
            self._workloads[key] = Workload(self.session, job, self._weights[shared])
        return self._workloads[key]

    def remove(self, number: int) -> None:
        """Give a cell back, and all that no other cell has."""
        cell = self.cells.pop(number)
        self._drop_recordings(cell)
        cell.pipeline.destroy()
        self._sweep()

    def _sweep(self) -> None:
        """Destroy the buffers that no cell has any more."""
        for key, workload in list(self._workloads.items()):
            if all(cell.workload is not workload for cell in self.cells.values()):
                del self._workloads[key]
                workload.activations.destroy()
                workload.output.destroy()
        for key, weights in list(self._weights.items()):
            if all(workload.weights is not weights for workload in self._workloads.values()):
                del self._weights[key]
                weights.buffer.destroy()
                if self._rotation_holds is weights:
                    self._rotation_holds = None

    def _ranges(self, cell: Cell, weights: Buffer, offset: int) -> list[tuple[Buffer, int, int]]:
        """What a descriptor set of the cell binds."""
        w = cell.workload
        bound = (weights, offset, w.weights.bytes)
        return [bound, (w.activations, 0, w.activations.size), (w.output, 0, w.output.size), bound]

    def _dispatch_once(self, cell: Cell, timeout_s: float) -> Bytes:
        """Poison the output, dispatch on the workload's own weights, and read the output back."""
        session, job = self.session, cell.job
        sets = DescriptorSets(session.device, session.layout, [self._ranges(cell, cell.workload.weights.buffer, 0)])
        session.commands.fill(cell.workload.output, _POISON)
        commands = session.commands.record(cell.pipeline, sets, (job.m, job.n, job.k), job.groups, 1)
        session.commands.submit(commands, timeout_s)
        output: Bytes = session.download(cell.workload.output, cell.workload.output_bytes)
        session.commands.free(commands)
        sets.destroy()
        return output

    def _verify(self, cell: Cell, timeout_s: float) -> Verdict:
        """Both passes on the buffers that will be timed; they end up holding the random pass's inputs."""
        job, w = cell.job, cell.workload
        reference = self.reference(job)
        w.weights.ready = False  # until the random weights are in place again: another cell may be timed on them
        if self._rotation_holds is w.weights:
            self._rotation_holds = None
        wrong = None
        if isinstance(reference, MatrixReference):
            self.session.upload(w.weights.buffer, reference.exact.weights)
            for number, activations in enumerate(reference.exact_activations):
                self.session.upload(w.activations, activations)
                output = self._dispatch_once(cell, timeout_s)
                wrong = wrong or reference.check_exact(output.view(np.float32).reshape(job.n, job.m), number)
        self._make_ready(cell)
        output = self._dispatch_once(cell, timeout_s)
        if isinstance(reference, DequantReference):
            verdict = reference.check(output.view(np.float16).reshape(job.m, job.k), job.rounding_f16)
        else:
            bound = nmse_bound(job.path, job.accumulator, job.type, job.k)
            verdict = reference.check_random(output.view(np.float32).reshape(job.n, job.m), bound)
        cell.digest = _digest(output)
        return msgspec.structs.replace(verdict, wrong=wrong) if wrong else verdict

    def _make_ready(self, cell: Cell) -> None:
        """Put the random pass's inputs, which are what is timed, in place."""
        reference = self.reference(cell.job)
        weights = reference.weights if isinstance(reference, DequantReference) else reference.random.weights
        self.session.upload(cell.workload.weights.buffer, weights)
        if isinstance(reference, MatrixReference):
            self.session.upload(cell.workload.activations, reference.random.activations)
        cell.workload.weights.ready = True

    def _place(self, cell: Cell) -> tuple[Buffer, list[int]]:
        """The buffer and the offsets that the cell's weights rotate over, filled."""
        weights, alignment = cell.workload.weights, max(256, self.session.device.storage_alignment)
        if not weights.ready:  # another cell's verification ended half-way
            self._make_ready(cell)
        step = -(-weights.bytes // alignment) * alignment
        if cell.job.hot or self._rotation_bytes < 2 * step:
            return weights.buffer, [0]
        rotation = self._rotation or self._allocate_rotation()
        copies = min(_MOST_COPIES, rotation.size // step) if rotation is not None else 1
        if rotation is None or copies < 2:
            return weights.buffer, [0]
        offsets = [i * step for i in range(copies)]
        if self._rotation_holds is not weights:
            self.session.commands.copy(weights.buffer, rotation, [(0, offset, weights.bytes) for offset in offsets])
            self._rotation_holds = weights
        return rotation, offsets

    def _allocate_rotation(self) -> Buffer | None:
        """As much as was asked for, or as much as there is; None where there is nothing to speak of."""
        while self._rotation is None and self._rotation_bytes >= 1 << 20:
            self._rotation = self._try_buffer(self._rotation_bytes)
            if self._rotation is None:
                self._rotation_bytes = self._rotation_bytes // 2 // 16 * 16
        return self._rotation

    def _try_buffer(self, size: int) -> Buffer | None:
        try:
            return Buffer(self.session.device, size, "device")
        except VkError as error:
            if error.result not in _OUT_OF_MEMORY:
                raise
            return None

    def record(self, cell: Cell, dispatches: int) -> None:
        """The command buffers of samples of `dispatches`: as many as let them go on through the copies where one sample sees few."""
        self._drop_recordings(cell)
        buffer, offsets = self._place(cell)
        session, job = self.session, cell.job
        count = min(_MOST_RECORDINGS, -(-len(offsets) // dispatches))
        for i in range(count):
            mine = offsets[i * dispatches : (i + 1) * dispatches]
            sets = DescriptorSets(session.device, session.layout, [self._ranges(cell, buffer, offset) for offset in mine])
            cell.sets.append(sets)
            cell.recordings.append(session.commands.record(cell.pipeline, sets, (job.m, job.n, job.k), job.groups, dispatches))
        cell.dispatches, cell.copies, cell.turn = dispatches, min(len(offsets), count * dispatches), 0

    def place(self, cell: Cell) -> None:
        """Make sure that the weights that the cell's recordings bind are there."""
        self._place(cell)

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
    return {"check": check, "wrong": verdict.wrong, "create_s": made.pipeline.create_s, "verify_s": time.perf_counter() - began}


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
        settle.append(_per_dispatch(cells.time(made, timeout_s), made.dispatches))
        agree = len(settle) >= 3 and max(settle[-3:]) <= 1.01 * min(settle[-3:])
        if agree or time.perf_counter() - settle_began >= settle_s:
            break
    read = cells.time(made, timeout_s, during=lambda: telemetry.update(session.telemetry.read()))
    settle.append(_per_dispatch(read, made.dispatches))
    settled_after = time.perf_counter() - settle_began
    samples: list[Sample] = []
    began = time.perf_counter()
    took = 0.0
    while len(samples) < 2 or took < least_s or (len(samples) < least_samples and took < most_s):
        samples.append(cells.time(made, timeout_s))
        took = time.perf_counter() - began
    session.commands.fill(made.workload.output, _POISON)
    samples.append(cells.time(made, timeout_s))
    if any(s.gpu_s == 0 for s in samples):
        raise Failure("timestamps", "the device's timestamps stood still while it worked: no time can be told")
    unchanged = _digest(session.download(made.workload.output, made.workload.output_bytes)) == made.digest
    activations = 0 if made.job.op == "dequant" else 4 * made.job.n * made.job.k
    return {
        "dispatches": made.dispatches,
        "settle_s": settled_after,
        "settle_samples_s": settle,
        "samples_s": [_per_dispatch(s, made.dispatches) for s in samples],
        "wall_samples_s": [s.wall_s / made.dispatches for s in samples],
        "clock": "gpu" if session.commands.has_timestamps else "wall",
        "timestamp_period_ns": finite(session.device.timestamp_period_ns),
        "working_set_bytes": made.copies * made.workload.weights.bytes + activations + made.workload.output_bytes,
        "wrong": None if unchanged else "the output of the last timed sample is not the one that was verified",
        "telemetry": telemetry,
    }


def release(progress: Progress, cell: int) -> dict[str, Any]:
    """Give a cell's pipeline and recordings back, and the buffers that no other cell has."""
    _all().remove(cell)
    return {}
