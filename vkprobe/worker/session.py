"""An opened device: its pipelines, and data to and from it. The state of a worker that compiles, climbs or measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vkprobe import kernels
from vkprobe.program import Dispatch
from vkprobe.protocol import Compile, Compiled, Fault, FaultReport, Open, Opened
from vkprobe.worker.failure import Failure
from vkprobe.worker.modules import load, with_float_controls
from vkprobe.worker.telemetry import Telemetry
from vkprobe.worker.vk.commands import Commands, DescriptorSets
from vkprobe.worker.vk.commands import Dispatch as RecordedDispatch
from vkprobe.worker.vk.device import Buffer, Device
from vkprobe.worker.vk.executables import Executables
from vkprobe.worker.vk.fault import fault_report
from vkprobe.worker.vk.pipeline import BINDINGS, PUSH_BYTES, Layout, Pipeline, PipelineOptions

Progress = Callable[[dict[str, Any]], None]
_CANARY_WORDS = 4096
_CANARY_PUSH = (_CANARY_WORDS, 77, 0x5EED, 0x5EED)
_STAGING_BYTES = 64 << 20


class Session:
    """An opened device and its queue, staging memory and telemetry."""

    def __init__(self, request: Open) -> None:
        self.request = request
        self.device = Device(request.index, request.extensions, request.features)
        self._layouts: dict[tuple[int, int], Layout] = {}
        self.commands = Commands(self.device)
        self.staging = Buffer(self.device, _STAGING_BYTES, "upload")
        self.readback = Buffer(self.device, _STAGING_BYTES, "readback")
        self.telemetry = Telemetry(self.device)

    def layout(self, bindings: int = BINDINGS, push_bytes: int = PUSH_BYTES) -> Layout:
        """The layout of so many storage buffers and push constants; each is created once. The ladder's kernels share the default."""
        key = bindings, push_bytes
        if key not in self._layouts:
            self._layouts[key] = Layout(self.device, bindings, push_bytes)
        return self._layouts[key]

    def pipeline(self, stage: Dispatch, *, statistics: bool = False) -> Pipeline:
        """The pipeline of a program's stage, compiled now."""
        ids = kernels.kernels()[stage.kernel].constants
        options = PipelineOptions(
            constants=[(ids[name], value) for name, value in stage.constants.items()],
            subgroup_size=stage.subgroup_size,
            full_subgroups=stage.full_subgroups,
            disable_robustness=self.request.robustness and not stage.robust,
            statistics=statistics and self.request.statistics,
        )
        spirv = with_float_controls(load(stage.kernel), stage.float_controls)
        return Pipeline(self.device, self.layout(len(stage.bindings), 4 * len(stage.push)), spirv, options)

    def ladder_pipeline(
        self, kernel: str, constants: Sequence[tuple[int, int]], *, subgroup_size: int | None = None, full_subgroups: bool = False
    ) -> Pipeline:
        """The pipeline of one of the ladder's kernels, compiled now, without bounds checks if the device can do without."""
        options = PipelineOptions(
            constants=list(constants),
            subgroup_size=subgroup_size,
            full_subgroups=full_subgroups,
            disable_robustness=self.request.robustness,
        )
        return Pipeline(self.device, self.layout(), load(kernel), options)

    def upload(self, target: Buffer, data: np.ndarray[Any, Any], fill_bytes: int = 0) -> None:
        """Copy an array to the beginning of a device buffer and wait; it is repeated up to `fill_bytes`."""
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
        pipeline = self.ladder_pipeline("canary", [])
        output = Buffer(self.device, 4 * _CANARY_WORDS, "device")
        sets = DescriptorSets(self.device, self.layout(), [[(output, 0, output.size)] * BINDINGS])
        self.commands.fill(output, 0)
        commands = self.commands.record([RecordedDispatch(pipeline, sets, _CANARY_PUSH, (_CANARY_WORDS // 64, 1, 1))], 1)
        self.commands.submit(commands, 20.0)  # its timestamps aren't read: on null devices they never become available
        index = np.arange(_CANARY_WORDS, dtype=np.uint32)
        wanted = (index + np.uint32(_CANARY_PUSH[1])) * np.uint32(2654435761) ^ np.uint32(_CANARY_PUSH[2])
        got = self.download(output, output.size).view(np.uint32)
        self.commands.free(commands)
        sets.destroy()
        output.destroy()
        pipeline.destroy()
        return bool(np.array_equal(got, wanted))


_opened: Session | None = None


def current() -> Session:
    """The opened device; raises Failure if none is open."""
    if _opened is None:
        raise Failure("internal", "no device is open")
    return _opened


def finite(value: float) -> float | str:
    """A float as replies carry it: non-finite ones as "inf", "-inf", "nan"."""
    return value if math.isfinite(value) else str(value)


def open_device(request: Open, progress: Progress) -> Opened:
    """Open a device for the rest of this worker's life, and see whether it executes anything."""
    global _opened
    _opened = Session(request)
    return Opened(executes=_opened.canary(), timestamps=_opened.commands.has_timestamps)


def compile_stage(request: Compile, progress: Progress) -> Compiled:
    """Create a stage's pipeline, ask the driver's compiler about it, and give it back."""
    pipeline = current().pipeline(request.stage, statistics=True)
    executables = pipeline.executables()
    pipeline.destroy()
    return compiled(pipeline.create_s, executables)


def compiled(create_s: float, executables: Executables | None) -> Compiled:
    """A reply with the compiler's statistics and texts, if the driver has any."""
    if executables is None:
        return Compiled(compile_s=create_s)
    statistics = {name: finite(value) if isinstance(value, float) else value for name, value in executables.statistics.items()}
    return Compiled(compile_s=create_s, statistics=statistics, subgroup_size=executables.subgroup_size, texts=executables.texts)


def fault(request: Fault, progress: Progress) -> FaultReport:
    """Ask the driver why it lost the device."""
    return FaultReport(report=fault_report(current().device))
