"""One opened device: its pipelines, and data to and from it. The state of a worker that compiles, climbs or measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from vkprobe.jobs import Job, OpenRequest, Stage
from vkprobe.worker.failure import Failure
from vkprobe.worker.modules import load, with_f16_controls
from vkprobe.worker.telemetry import Telemetry
from vkprobe.worker.vk.commands import Commands, DescriptorSets, Dispatch
from vkprobe.worker.vk.device import Buffer, Device
from vkprobe.worker.vk.fault import fault_report
from vkprobe.worker.vk.pipeline import BINDINGS, Layout, Pipeline, PipelineOptions

Progress = Callable[[dict[str, Any]], None]
_CANARY_WORDS = 4096
_STAGING_BYTES = 64 << 20


class Session:
    """An opened device and its queue, staging memory and telemetry."""

    def __init__(self, request: OpenRequest) -> None:
        self.request = request
        self.device = Device(request.index, request.extensions, request.features)
        self.layout = Layout(self.device)
        self.commands = Commands(self.device, self.layout)
        self.staging = Buffer(self.device, _STAGING_BYTES, "upload")
        self.readback = Buffer(self.device, _STAGING_BYTES, "readback")
        self.telemetry = Telemetry(self.device)

    def pipeline(self, job: Job, *, statistics: bool) -> Pipeline:
        """The pipeline of the job's own kernel, compiled now."""
        options = PipelineOptions(
            constants=job.constants,
            subgroup_size=job.subgroup_size,
            full_subgroups=job.full_subgroups,
            disable_robustness=self.request.robustness and not job.robust,
            statistics=statistics and self.request.statistics,
        )
        return Pipeline(self.device, self.layout, _spirv(job.kernel, job), options)

    def stage(self, job: Job, stage: Stage) -> Pipeline:
        """The pipeline of a later stage of the job, compiled now; bounds-checked, as llama.cpp's reduction of a split K is."""
        return Pipeline(self.device, self.layout, _spirv(stage.kernel, job), PipelineOptions(constants=stage.constants))

    def upload(self, target: Buffer, data: np.ndarray[Any, Any], fill_bytes: int = 0) -> None:
        """Copy an array to the beginning of a device buffer and wait; up to `fill_bytes` it is repeated."""
        flat = np.ascontiguousarray(data).view(np.uint8).reshape(-1)
        view = np.ctypeslib.as_array(self.staging.view)
        for start in range(0, flat.size, _STAGING_BYTES):
            part = flat[start : start + _STAGING_BYTES]
            view[: part.size] = part
            self.commands.copy(self.staging, target, [(0, start, part.size)])
        for start in range(flat.size, fill_bytes, flat.size):
            self.commands.copy(target, target, [(0, start, min(flat.size, fill_bytes - start))])

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
        commands = self.commands.record([Dispatch(pipeline, sets, job.push, job.groups)], 1)
        self.commands.submit(commands, 20.0)  # its timestamps are not read: on null devices they never become available
        index = np.arange(_CANARY_WORDS, dtype=np.uint32)
        wanted = (index + np.uint32(job.n)) * np.uint32(2654435761) ^ np.uint32(job.k)
        found = self.download(output, output.size).view(np.uint32)
        self.commands.free(commands)
        sets.destroy()
        output.destroy()
        pipeline.destroy()
        return bool(np.array_equal(found, wanted))


_opened: Session | None = None


def current() -> Session:
    """The opened device; raises Failure where none is."""
    if _opened is None:
        raise Failure("internal", "no device is open")
    return _opened


def finite(value: float) -> float | str:
    """A float as replies carry it: non-finite ones as "inf", "-inf", "nan"."""
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
        statistics = {k: (finite(v) if isinstance(v, float) else v) for k, v in told.statistics.items()}
        reply.update(statistics=statistics, subgroup_size=told.subgroup_size, texts=told.texts)
    return reply


def fault(progress: Progress) -> dict[str, Any]:
    """What the driver says of why the device was lost."""
    return {"report": fault_report(current().device)}


def _spirv(kernel: str, job: Job) -> bytes:
    return with_f16_controls(load(kernel), rounding=job.rounding_f16, denormals=job.denormals_f16)
