"""Shaders that are not the suite's own: any compute shader with storage buffers in set 0, push constants and 32-bit constants.

Arrays travel as files that the parent names: a driver's crash leaves nothing half-written on a pipe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vkprobe.worker.failure import Failure
from vkprobe.worker.session import Progress, Session, current, finite
from vkprobe.worker.vk.commands import Commands, DescriptorSets, Dispatch
from vkprobe.worker.vk.core import VkError
from vkprobe.worker.vk.device import Buffer
from vkprobe.worker.vk.pipeline import Layout, Pipeline, PipelineOptions

_layouts: dict[tuple[int, int], tuple[Layout, Commands]] = {}
_shaders: dict[int, _Shader] = {}


def _layout(session: Session, bindings: int, push_bytes: int) -> tuple[Layout, Commands]:
    """The layout of so many bindings and push constants, and a command pool for it; made once in a worker's life."""
    key = bindings, push_bytes
    if key not in _layouts:
        layout = Layout(session.device, bindings, push_bytes)
        _layouts[key] = layout, Commands(session.device, layout)
    return _layouts[key]


class _Shader:
    """A pipeline with its buffers, and the recording that was dispatched last."""

    def __init__(self, session: Session, spirv: bytes, sizes: list[int], push: list[int], options: PipelineOptions) -> None:
        self.session, self.spirv, self.sizes, self.push, self.options = session, spirv, sizes, push, options
        self.layout, self.commands = _layout(session, len(sizes), 4 * len(push))
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
            self._recording = self.commands.record([Dispatch(self.pipeline, self.sets, self.push, groups)], repeat)
            self._recorded = groups, repeat
        return self._recording

    def _drop(self) -> None:
        if self._recorded is not None:
            self.commands.free(self._recording)
            self._recorded = None

    def destroy(self) -> None:
        """Give everything back."""
        if len(self.buffers) == len(self.sizes):
            self._drop()
            self.sets.destroy()
        for buffer in self.buffers:
            buffer.destroy()
        self.pipeline.destroy()


def build_shader(
    progress: Progress,
    shader: int,
    *,
    spirv: str,
    sizes: list[int],
    push: list[int],
    constants: list[tuple[int, int]],
    subgroup_size: int | None,
    full_subgroups: bool,
) -> dict[str, Any]:
    """Compile the module in the file `spirv` and allocate a buffer of each size (B), by binding; `push` are 32-bit words."""
    session = current()
    options = PipelineOptions(
        constants=[(number, value) for number, value in constants],
        subgroup_size=subgroup_size,
        full_subgroups=full_subgroups,
        disable_robustness=session.request.robustness,
    )
    _shaders[shader] = made = _Shader(session, Path(spirv).read_bytes(), sizes, push, options)
    return {"compile_s": made.pipeline.create_s}


def write_shader(progress: Progress, shader: int, *, files: dict[str, str]) -> dict[str, Any]:
    """Upload the files' bytes to the buffers of these bindings."""
    made = _shaders[shader]
    for binding, file in files.items():
        made.session.upload(made.buffers[int(binding)], np.fromfile(file, np.uint8))
    return {}


def dispatch_shader(progress: Progress, shader: int, *, groups: list[int], repeat: int, timeout_s: float) -> dict[str, Any]:
    """Dispatch `repeat` times, a memory barrier after each; the time (s) of one dispatch, by the GPU's clock where it has one."""
    made = _shaders[shader]
    x, y, z = groups
    sample = made.commands.time(made.recording((x, y, z), repeat), timeout_s)
    if sample.gpu_s == 0:
        raise Failure("timestamps", "the device's timestamps stood still: nothing ran, or less than one tick of its clock (raise `repeat`)")
    took = sample.wall_s if sample.gpu_s is None else sample.gpu_s
    return {"time_s": took / repeat, "wall_s": sample.wall_s / repeat, "clock": "wall" if sample.gpu_s is None else "gpu"}


def read_shader(progress: Progress, shader: int, *, files: dict[str, str]) -> dict[str, Any]:
    """Download the buffers of these bindings to files."""
    made = _shaders[shader]
    for binding, file in files.items():
        made.session.download(made.buffers[int(binding)], made.sizes[int(binding)]).tofile(file)
    return {}


def shader_statistics(progress: Progress, shader: int) -> dict[str, Any]:
    """What the driver's compiler tells, of a second pipeline: telling may change what is compiled."""
    made = _shaders[shader]
    o = made.options
    options = PipelineOptions(
        constants=o.constants,
        subgroup_size=o.subgroup_size,
        full_subgroups=o.full_subgroups,
        disable_robustness=o.disable_robustness,
        statistics=made.session.request.statistics,
    )
    pipeline = Pipeline(made.session.device, made.layout, made.spirv, options)
    told = pipeline.executables()
    pipeline.destroy()
    reply: dict[str, Any] = {"compile_s": pipeline.create_s, "statistics": {}, "subgroup_size": None}
    if told is not None:
        statistics = {name: finite(value) if isinstance(value, float) else value for name, value in told.statistics.items()}
        reply.update(statistics=statistics, subgroup_size=told.subgroup_size)
    return reply


def release_shader(progress: Progress, shader: int) -> dict[str, Any]:
    """Give a shader's pipeline and buffers back."""
    _shaders.pop(shader).destroy()
    return {}
