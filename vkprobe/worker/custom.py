"""Shaders that aren't the suite's own: any compute shader with storage buffers in set 0, push constants and 32-bit constants.

Arrays travel as files that the parent names: a driver's crash leaves nothing half-written on a pipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vkprobe.protocol import (
    BuildShader,
    Compiled,
    Dispatched,
    DispatchShader,
    Done,
    ReadShader,
    ReleaseShader,
    ShaderStatistics,
    WriteShader,
)
from vkprobe.worker.failure import Failure
from vkprobe.worker.session import Progress, Session, compiled, current
from vkprobe.worker.vk.commands import DescriptorSets, Dispatch
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Pipeline, PipelineOptions

_shaders: dict[int, _Shader] = {}


class _Shader:
    """A pipeline with its buffers, and the recording that was dispatched last."""

    def __init__(self, session: Session, spirv: bytes, sizes: list[int], push: list[int], options: PipelineOptions) -> None:
        self.session, self.spirv, self.sizes, self.push, self.options = session, spirv, sizes, push, options
        self.layout = session.layout(len(sizes), 4 * len(push))
        self.pipeline = Pipeline(session.device, self.layout, spirv, options)
        self.buffers: list[Buffer] = []
        try:
            for size in sizes:
                self.buffers.append(Buffer(session.device, -(-size // 16) * 16, "device"))
        except VkError:
            self.destroy()
            raise
        self.sets = DescriptorSets(session.device, self.layout, [[(b, 0, b.size) for b in self.buffers]])
        self._recorded: tuple[tuple[int, int, int], int] | None = None
        self._recording: Any = None

    def recording(self, groups: tuple[int, int, int], repeat: int) -> Any:
        """A command buffer of `repeat` dispatches between two timestamps."""
        if self._recorded != (groups, repeat):
            self._drop()
            self._recording = self.session.commands.record([Dispatch(self.pipeline, self.sets, self.push, groups)], repeat)
            self._recorded = groups, repeat
        return self._recording

    def _drop(self) -> None:
        if self._recorded is not None:
            self.session.commands.free(self._recording)
            self._recorded = None

    def destroy(self) -> None:
        """Give everything back."""
        if len(self.buffers) == len(self.sizes):
            self._drop()
            self.sets.destroy()
        for buffer in self.buffers:
            buffer.destroy()
        self.pipeline.destroy()


def build_shader(request: BuildShader, progress: Progress) -> Compiled:
    """Compile a module and allocate its buffers."""
    session = current()
    options = PipelineOptions(
        constants=request.constants,
        subgroup_size=request.subgroup_size,
        full_subgroups=request.full_subgroups,
        disable_robustness=session.request.robustness,
    )
    shader = _Shader(session, Path(request.spirv).read_bytes(), request.sizes, request.push, options)
    _shaders[request.shader] = shader
    return Compiled(compile_s=shader.pipeline.create_s)


def write_shader(request: WriteShader, progress: Progress) -> Done:
    """Upload files' bytes to buffers."""
    shader = _shaders[request.shader]
    for binding, file in request.files.items():
        shader.session.upload(shader.buffers[binding], np.fromfile(file, np.uint8))
    return Done()


def dispatch_shader(request: DispatchShader, progress: Progress) -> Dispatched:
    """Dispatch and time, by the GPU's clock if it has one."""
    shader = _shaders[request.shader]
    sample = shader.session.commands.time(shader.recording(request.groups, request.repeat), request.timeout_s)
    if sample.gpu_s == 0:
        raise Failure("timestamps", "the device's timestamps stood still: nothing ran, or less than one tick of its clock (raise `repeat`)")
    took = sample.wall_s if sample.gpu_s is None else sample.gpu_s
    clock = "wall" if sample.gpu_s is None else "gpu"
    return Dispatched(time_s=took / request.repeat, wall_s=sample.wall_s / request.repeat, clock=clock)  # type: ignore[arg-type]


def read_shader(request: ReadShader, progress: Progress) -> Done:
    """Download buffers to files."""
    shader = _shaders[request.shader]
    for binding, file in request.files.items():
        shader.session.download(shader.buffers[binding], shader.sizes[binding]).tofile(file)
    return Done()


def shader_statistics(request: ShaderStatistics, progress: Progress) -> Compiled:
    """Ask the driver's compiler, of a second pipeline: capturing statistics may change what is compiled."""
    shader = _shaders[request.shader]
    options = msgspec.structs.replace(shader.options, statistics=shader.session.request.statistics)
    pipeline = Pipeline(shader.session.device, shader.layout, shader.spirv, options)
    executables = pipeline.executables()
    pipeline.destroy()
    return compiled(pipeline.create_s, executables)


def release_shader(request: ReleaseShader, progress: Progress) -> Done:
    """Give a shader's pipeline and buffers back."""
    _shaders.pop(request.shader).destroy()
    return Done()
