"""A copy's plan: a shader's, or the device's own copy command."""

from __future__ import annotations

from vkprobe import kernels
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.ops.copy import MODES
from vkprobe.ops.plan import Plan, Target
from vkprobe.program import Buffer, Dispatch, Memory, Program, Transfer

_UVEC4_BYTES = 16
_COPIED_AT_ONCE, _READ_AT_ONCE = 4, 8  # uvec4 of an invocation
_LOCAL = 256
_COMMAND = "vkCmdCopyBuffer"
_MEMORIES: dict[str, tuple[Memory, Memory]] = {
    "device": ("device", "device"),
    "to-host": ("device", "readback"),
    "from-host": ("upload", "device"),
}


def plan(cell: Cell, target: Target) -> Plan:
    """The cell's plan."""
    return _transfer(cell) if cell.variant.mode in _MEMORIES else _shader(cell, target)


def _buffers(cell: Cell, source: Memory, output: Memory, output_bytes: int) -> tuple[Buffer, Buffer]:
    size = cell.axis("bytes")
    return (
        Buffer(name="source", role="input", key=f"copy/{size}/{source}", bytes=size, memory=source, rotates=True),
        Buffer(name="output", role="output", key=f"copy/{size}/{source}/{output}/{output_bytes}", bytes=output_bytes, memory=output),
    )


def _transfer(cell: Cell) -> Plan:
    mode = cell.variant.mode or ""
    kernel = Kernel(
        name=MODES[mode],
        op=cell.op,
        source=_COMMAND,
        target="vulkan1.2",
        capabilities=(),
        constants={},
        push=(),
        bindings=(),
        spirv_sha256="",
    )
    buffers = _buffers(cell, *_MEMORIES[mode], cell.axis("bytes"))
    return Plan(
        cell=cell,
        kernel=kernel,
        program=Program(cell=cell, stages=(Transfer(source="source", target="output"),), buffers=buffers),
        requirement=kernels.requirement(kernel),
        tile=_COMMAND,
        aligned=True,
        subgroup_size=0,
    )


def _shader(cell: Cell, target: Target) -> Plan:
    kernel = kernels.kernels()[MODES[cell.variant.mode or ""]]
    reads, size = cell.variant.mode == "read", cell.axis("bytes")
    local = min(_LOCAL, target.limits.workgroup_invocations)
    at_once = _READ_AT_ONCE if reads else _COPIED_AT_ONCE
    groups = size // (local * at_once * _UVEC4_BYTES)
    stage = Dispatch(
        kernel=kernel.name,
        constants={"block": local, "each": at_once},
        bindings=("source", "output", "output"),
        groups=(groups, 1, 1),
    )
    return Plan(
        cell=cell,
        kernel=kernel,
        program=Program(cell=cell, stages=(stage,), buffers=_buffers(cell, "device", "device", 4 * groups if reads else size)),
        requirement=kernels.requirement(kernel, workgroup_invocations=local),
        tile=f"{local} invocations, {at_once * _UVEC4_BYTES} B each",
        aligned=True,
        subgroup_size=target.limits.subgroup,
    )
