"""One opened device and the cells on it: compile, verify, time. The state of a measuring worker."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from vkprobe.jobs import Job, OpenRequest
from vkprobe.weights import WEIGHT_TYPES
from vkprobe.worker.failure import Failure
from vkprobe.worker.modules import load, with_f16_controls
from vkprobe.worker.telemetry import Telemetry
from vkprobe.worker.verify import DequantReference, MatrixReference, Verdict, WeightsReference, nmse_bound
from vkprobe.worker.vk.commands import Commands, DescriptorSets, Sample
from vkprobe.worker.vk.device import Buffer, Device
from vkprobe.worker.vk.fault import fault_report
from vkprobe.worker.vk.pipeline import BINDINGS, Layout, Pipeline, PipelineOptions

Progress = Callable[[dict[str, Any]], None]
_SEED = 20261121
_CANARY_WORDS = 4096
_STAGING_BYTES = 64 << 20
_POISON = 0xFFFFFFFF
_SAMPLE_S = 0.012  # aimed at; a sample is to be 5 to 100 ms
_MOST_DISPATCHES = 4096
_MOST_COPIES = 4096


class _Weights:
    """One copy of the weights of a (type, m, k) on the device on the device."""

    def __init__(self, device: Device, job: Job) -> None:
        self.bytes = job.m * WEIGHT_TYPES[job.type].row_bytes(job.k)
        self.buffer = Buffer(device, _padded(self.bytes), "device")


class _Workload:
    """The device buffers of one (op, type, m, n, k): weights (shared with other ops and N), activations, output."""

    def __init__(self, device: Device, job: Job, weights: _Weights) -> None:
        self.weights = weights
        self.output_bytes = (job.m * job.k * 2) if job.op == "dequant" else job.m * job.n * 4
        self.activations = Buffer(device, _padded(4 * job.n * job.k), "device")
        self.output = Buffer(device, _padded(self.output_bytes), "device")


class _Cell:
    """A prepared cell: its pipeline, and what its timed output must be."""

    def __init__(self, job: Job, pipeline: Pipeline, workload: _Workload) -> None:
        self.job = job
        self.pipeline = pipeline
        self.workload = workload
        self.digest = b""
        self.dispatches = 0
        self.copies = 1
        self.commands: Any = None
        self.sets: DescriptorSets | None = None


def _padded(size: int) -> int:
    return -(-size // 16) * 16


class Session:
    """An opened device: its pipelines, buffers, references and cells."""

    def __init__(self, request: OpenRequest) -> None:
        self.request = request
        self.device = Device(request.index, request.extensions, request.features)
        self.layout = Layout(self.device)
        self.commands = Commands(self.device, self.layout)
        self.staging = Buffer(self.device, _STAGING_BYTES, "upload")
        self.readback = Buffer(self.device, _STAGING_BYTES, "readback")
        self.telemetry = Telemetry(self.device)
        self.cells: dict[int, _Cell] = {}
        self.workloads: dict[tuple[Any, ...], _Workload] = {}
        self.weights: dict[tuple[Any, ...], _Weights] = {}
        self.references: dict[tuple[Any, ...], Any] = {}
        self.rotation: Buffer | None = None
        self.rotation_holds: _Weights | None = None

    def pipeline(self, job: Job, *, statistics: bool) -> Pipeline:
        """The job's pipeline, compiled now."""
        spirv = with_f16_controls(load(job.kernel), rounding=job.rounding_f16, denormals=job.denormals_f16)
        options = PipelineOptions(
            constants=job.constants,
            subgroup_size=job.subgroup_size,
            full_subgroups=job.full_subgroups,
            disable_robustness=self.request.robustness,
            statistics=statistics and self.request.statistics,
        )
        return Pipeline(self.device, self.layout, spirv, options)

    def upload(self, target: Buffer, data: np.ndarray[Any, Any]) -> None:
        """Copy an array to the beginning of a device buffer and wait."""
        flat = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        view = np.ctypeslib.as_array(self.staging.view)
        for start in range(0, flat.size, _STAGING_BYTES):
            part = flat[start : start + _STAGING_BYTES]
            view[: part.size] = part
            self.commands.copy(self.staging, target, [(0, start, part.size)])

    def download(self, source: Buffer, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The first `size` bytes of a device buffer."""
        out = np.empty(size, np.uint8)
        view = np.ctypeslib.as_array(self.readback.view)
        for start in range(0, size, _STAGING_BYTES):
            part = min(_STAGING_BYTES, size - start)
            self.commands.copy(source, self.readback, [(start, 0, part)])
            out[start : start + part] = view[:part]
        return out

    def canary(self) -> bool:
        """Whether the device executes what it is given."""
        job = Job(
            op="canary", kernel="canary", path="", type="f32", accumulator="", m=_CANARY_WORDS, n=77, k=0x5EED,
            hot=True, constants=[], groups=(_CANARY_WORDS // 64, 1, 1),
        )  # fmt: skip
        pipeline = self.pipeline(job, statistics=False)
        output = Buffer(self.device, 4 * _CANARY_WORDS, "device")
        sets = DescriptorSets(self.device, self.layout, [[(output, 0, output.size)] * BINDINGS])
        self.commands.fill(output, 0)
        commands = self.commands.record(pipeline, sets, (job.m, job.n, job.k), job.groups, 1)
        self.commands.submit(commands, 20.0)  # its timestamps are not read: on null devices they never become available
        index = np.arange(_CANARY_WORDS, dtype=np.uint32)
        wanted = (index + np.uint32(job.n)) * np.uint32(2654435761) ^ np.uint32(job.k)
        found = self.download(output, output.size).view(np.uint32)
        self.commands.free(commands)
        sets.destroy()
        output.destroy()
        pipeline.destroy()
        return bool(np.array_equal(found, wanted))

    def reference(self, job: Job) -> MatrixReference | DequantReference:
        """What the job must give."""
        weights: WeightsReference = self._kept(("weights", job.type, job.m, job.k), lambda: WeightsReference(job.type, job.m, job.k, _SEED))
        if job.op == "dequant":
            return DequantReference(job.type, job.m, job.k, _SEED, weights)
        made: MatrixReference = self._kept(
            ("product", job.type, job.m, job.n, job.k), lambda: MatrixReference(job.type, job.m, job.n, job.k, _SEED, weights)
        )
        return made

    def _kept(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """The last reference of each kind is kept: cells of one workload come one after the other."""
        if key not in self.references:
            for other in [k for k in self.references if k[0] == key[0]]:
                del self.references[other]
            self.references[key] = make()
        return self.references[key]

    def workload(self, job: Job) -> _Workload:
        """The job's device buffers."""
        key = (job.op, job.type, job.m, job.n, job.k)
        if key not in self.workloads:
            shared = (job.type, job.m, job.k)
            if shared not in self.weights:
                self.weights[shared] = _Weights(self.device, job)
            self.workloads[key] = _Workload(self.device, job, self.weights[shared])
        return self.workloads[key]

    def ranges(self, cell: _Cell, weights: Buffer, offset: int) -> list[tuple[Buffer, int, int]]:
        """What a descriptor set of the cell binds."""
        w = cell.workload
        return [
            (weights, offset, w.weights.bytes),
            (w.activations, 0, w.activations.size),
            (w.output, 0, w.output.size),
            (weights, offset, w.weights.bytes),
        ]

    def dispatch_once(self, cell: _Cell, timeout_s: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Poison the output, dispatch on the workload's own weights, and read the output back."""
        sets = DescriptorSets(self.device, self.layout, [self.ranges(cell, cell.workload.weights.buffer, 0)])
        self.commands.fill(cell.workload.output, _POISON)
        job = cell.job
        commands = self.commands.record(cell.pipeline, sets, (job.m, job.n, job.k), job.groups, 1)
        self.commands.submit(commands, timeout_s)
        output = self.download(cell.workload.output, cell.workload.output_bytes)
        self.commands.free(commands)
        sets.destroy()
        return output

    def verify(self, cell: _Cell, timeout_s: float) -> Verdict:
        """Both passes on the buffers that will be timed; they end up holding the random pass's inputs."""
        job, w = cell.job, cell.workload
        reference = self.reference(job)
        if isinstance(reference, DequantReference):
            self.upload(w.weights.buffer, reference.weights)
            output = self.dispatch_once(cell, timeout_s)
            verdict = reference.check(output.view(np.float16).reshape(job.m, job.k), job.rounding_f16)
        else:
            bound = nmse_bound(job.path, job.accumulator, job.type, job.k)
            self.upload(w.weights.buffer, reference.exact.weights)
            self.upload(w.activations, reference.exact.activations)
            output = self.dispatch_once(cell, timeout_s)
            wrong = reference.check_exact(output.view(np.float32).reshape(job.n, job.m))
            self.upload(w.weights.buffer, reference.random.weights)
            self.upload(w.activations, reference.random.activations)
            output = self.dispatch_once(cell, timeout_s)
            verdict = reference.check_random(output.view(np.float32).reshape(job.n, job.m), bound)
            if wrong:
                verdict = msgspec.structs.replace(verdict, wrong=wrong)
        cell.digest = _digest(output)
        if self.rotation_holds is w.weights:
            self.rotation_holds = None  # filled before with what the buffers held then
        return verdict

    def place_weights(self, cell: _Cell) -> tuple[Buffer, list[int]]:
        """The buffer and the offsets that the cell's weights rotate over, filled."""
        weights, alignment = cell.workload.weights, max(256, self.device.storage_alignment)
        step = -(-weights.bytes // alignment) * alignment
        copies = 1 if cell.job.hot else min(_MOST_COPIES, self.request.rotation_bytes // step)
        if copies <= 1:
            return weights.buffer, [0]
        if self.rotation is None:
            self.rotation = Buffer(self.device, self.request.rotation_bytes, "device")
        offsets = [i * step for i in range(copies)]
        if self.rotation_holds is not weights:
            self.commands.copy(weights.buffer, self.rotation, [(0, offset, weights.bytes) for offset in offsets])
            self.rotation_holds = weights
        return self.rotation, offsets

    def record(self, cell: _Cell, dispatches: int) -> None:
        """The command buffer of one sample."""
        self.release_commands(cell)
        buffer, offsets = self.place_weights(cell)
        cell.copies = min(len(offsets), dispatches)
        cell.dispatches = dispatches
        cell.sets = DescriptorSets(self.device, self.layout, [self.ranges(cell, buffer, offset) for offset in offsets[: cell.copies]])
        job = cell.job
        cell.commands = self.commands.record(cell.pipeline, cell.sets, (job.m, job.n, job.k), job.groups, dispatches)

    def release_commands(self, cell: _Cell) -> None:
        """Give a cell's command buffer and descriptor sets back."""
        if cell.commands is not None:
            self.commands.free(cell.commands)
            cell.commands = None
        if cell.sets is not None:
            cell.sets.destroy()
            cell.sets = None


_opened: Session | None = None


def current() -> Session:
    """The opened device; raises Failure where none is."""
    if _opened is None:
        raise Failure("internal", "no device is open")
    return _opened


def _digest(output: np.ndarray[Any, Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(output).data, digest_size=16).digest()


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def open_device(progress: Progress, **request: Any) -> dict[str, Any]:
    """Open a device for the rest of this worker's life, and see whether it executes anything."""
    global _opened
    _opened = Session(msgspec.convert(request, OpenRequest))
    return {"executes": _opened.canary(), "timestamps": _opened.commands.has_timestamps}


def compile_job(progress: Progress, job: dict[str, Any]) -> dict[str, Any]:
    """Create the job's pipeline, ask the driver's compiler about it, and give it back."""
    session = current()
    pipeline = session.pipeline(msgspec.convert(job, Job), statistics=True)
    told = pipeline.executables()
    pipeline.destroy()
    reply: dict[str, Any] = {"compile_s": pipeline.create_s, "statistics": {}, "subgroup_size": None, "texts": {}}
    if told is not None:
        statistics = {k: (_finite(v) if isinstance(v, float) else v) for k, v in told.statistics.items()}
        reply.update(statistics=statistics, subgroup_size=told.subgroup_size, texts=told.texts)
    return reply


def prepare(progress: Progress, cell: int, job: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Create the cell's pipeline, verify it and dispatch it, so that it is ready to be timed.

    `timeout_s` of one dispatch allows for drivers that compile at the first one (lavapipe).
    """
    session = current()
    converted = msgspec.convert(job, Job)
    made = _Cell(converted, session.pipeline(converted, statistics=False), session.workload(converted))
    began = time.perf_counter()
    verdict = session.verify(made, timeout_s)
    session.cells[cell] = made
    check = {"method": verdict.method, "nmse": _finite(verdict.nmse), "max_abs": _finite(verdict.max_abs), "bound": verdict.bound}
    return {"check": check, "wrong": verdict.wrong, "create_s": made.pipeline.create_s, "verify_s": time.perf_counter() - began}


def _per_dispatch(sample: Sample, dispatches: int) -> float:
    return (sample.wall_s if sample.gpu_s is None else sample.gpu_s) / dispatches


def _keep_busy(session: Session, cell: _Cell, seconds: float, timeout_s: float) -> None:
    began = time.perf_counter()
    if cell.commands is None:
        session.record(cell, cell.dispatches or 1)
    while time.perf_counter() - began < seconds:
        session.commands.time(cell.commands, timeout_s)


def _calibrate(session: Session, cell: _Cell, timeout_s: float) -> None:
    """Choose how many dispatches make a sample, from ever longer ones: the first are slow."""
    dispatches = 1
    while True:
        session.record(cell, dispatches)
        sample = session.commands.time(cell.commands, timeout_s)
        took = max(_per_dispatch(sample, dispatches) * dispatches, 1e-6)
        if took >= 0.6 * _SAMPLE_S or dispatches >= _MOST_DISPATCHES:
            return
        dispatches = min(_MOST_DISPATCHES, max(dispatches + 1, math.ceil(dispatches * min(8.0, _SAMPLE_S / took))))


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
    session = current()
    made = session.cells[cell]
    if warm_s:
        _keep_busy(session, made, warm_s, timeout_s)
    session.commands.fill(made.workload.output, _POISON)
    if dispatches is None:
        _calibrate(session, made, timeout_s)
    elif made.commands is None or made.dispatches != dispatches:
        session.record(made, dispatches)
    else:
        session.place_weights(made)
    settle: list[float] = []
    settle_began = time.perf_counter()
    while True:
        settle.append(_per_dispatch(session.commands.time(made.commands, timeout_s), made.dispatches))
        agree = len(settle) >= 3 and max(settle[-3:]) <= 1.01 * min(settle[-3:])
        if agree or time.perf_counter() - settle_began >= settle_s:
            break
    settled_after = time.perf_counter() - settle_began
    samples: list[Sample] = []
    began = time.perf_counter()
    took = 0.0
    while len(samples) < 2 or took < least_s or (len(samples) < least_samples and took < most_s):
        samples.append(session.commands.time(made.commands, timeout_s))
        took = time.perf_counter() - began
    if any(s.gpu_s == 0 for s in samples):
        raise Failure("timestamps", "the device's timestamps stood still while it worked: no time can be told")
    telemetry: dict[str, Any] = {}
    session.commands.time(made.commands, timeout_s, during=lambda: telemetry.update(session.telemetry.read()))
    unchanged = _digest(session.download(made.workload.output, made.workload.output_bytes)) == made.digest
    gpu = session.commands.has_timestamps
    return {
        "dispatches": made.dispatches,
        "settle_s": settled_after,
        "settle_samples_s": settle,
        "samples_s": [_per_dispatch(s, made.dispatches) for s in samples],
        "wall_samples_s": [s.wall_s / made.dispatches for s in samples],
        "clock": "gpu" if gpu else "wall",
        "timestamp_period_ns": _finite(session.device.timestamp_period_ns),
        "working_set_bytes": made.copies * made.workload.weights.bytes
        + 4 * made.job.n * made.job.k * (made.job.op != "dequant")
        + made.workload.output_bytes,
        "wrong": None if unchanged else "the output after timing is not the one that was verified before it",
        "telemetry": telemetry,
    }


def fault(progress: Progress) -> dict[str, Any]:
    """What the driver says of why the device was lost."""
    return {"report": fault_report(current().device)}


def release(progress: Progress, cell: int) -> dict[str, Any]:
    """Give a cell's pipeline and commands back, and its workload's buffers where no other cell has them."""
    session = current()
    made = session.cells.pop(cell)
    session.release_commands(made)
    made.pipeline.destroy()
    if any(other.workload is made.workload for other in session.cells.values()):
        return {}
    _forget(session.workloads, made.workload)
    buffers = [made.workload.activations, made.workload.output]
    weights = made.workload.weights
    if all(other.weights is not weights for other in session.workloads.values()):
        _forget(session.weights, weights)
        buffers.append(weights.buffer)
        if session.rotation_holds is weights:
            session.rotation_holds = None
    for buffer in buffers:
        buffer.destroy()
    return {}


def _forget(known: dict[tuple[Any, ...], Any], thing: Any) -> None:
    for key in [k for k, v in known.items() if v is thing]:
        del known[key]
