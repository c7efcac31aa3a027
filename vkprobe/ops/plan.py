"""A plan: everything needed to run a cell on a device, or the reason why it can't run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from vkprobe import ops
from vkprobe.cell import Cell
from vkprobe.kernels import Kernel
from vkprobe.llama.device import Limits, limits
from vkprobe.program import Dispatch, Program
from vkprobe.records import DeviceRecord, Modes
from vkprobe.requirements.evaluate import evaluate
from vkprobe.requirements.facts import lookup
from vkprobe.requirements.model import Missing, Requirement
from vkprobe.requirements.promotions import carriers

BOUNDS_CHECK_SWITCH = ("VkPhysicalDevicePipelineRobustnessFeatures", "pipelineRobustness")
"""The feature with which a pipeline leaves out the checks of robustBufferAccess."""


class Target(Struct, frozen=True, kw_only=True):
    """A device, and the facts that choices follow from."""

    device: DeviceRecord
    limits: Limits


def target(device: DeviceRecord) -> Target:
    """The target that a device record stands for."""
    return Target(device=device, limits=limits(device))


class Plan(Struct, frozen=True, kw_only=True):
    """A cell with all choices made.

    Attributes:
        kernel: the module of its first stage.
        program: what the worker runs.
        requirement: what its kernels need.
        tile: in words, as records have it: with the kernel's name and the subgroup size it identifies a pipeline on a device.
        tile_name: the part of the tile that devices have in common: its size (`s m l`), or a GEMV's columns (`n4`); None if it has none.
        tuple: the shape of its cooperative matrices; None if it has none.
        subgroups: of a workgroup, where pipelines differ in it.
        aligned: the kernel has no tail along K.
        subgroup_size: that the kernel is compiled for.
        split_k: over how many workgroups K is split.
        robust: the pipeline's buffer accesses are bounds-checked; None if there is no pipeline.
        reason: why the device can't run it; None if it can.
    """

    cell: Cell
    kernel: Kernel
    program: Program
    requirement: Requirement
    tile: str
    tile_name: str | None = None
    tuple: str | None = None
    subgroups: int | None = None
    aligned: bool
    subgroup_size: int
    split_k: int = 1
    robust: bool | None = None
    reason: str | None = None

    @property
    def spirv_sha(self) -> str | None:
        """The module's hash as records have it; None if there is no module."""
        return self.kernel.spirv_sha256 or None

    @property
    def float_controls(self) -> Modes:
        """Execution modes that are added to the first stage's module."""
        return self.program.first.float_controls if self.program.first else ()

    @property
    def words(self) -> str:
        """The cell in progress lines and reasons."""
        return ops.find(self.cell.op).sentence(self.cell)


def plans(cells: Sequence[Cell], device: DeviceRecord, *, dispatched: bool = True) -> list[Plan]:
    """The plan of every cell on `device`, in order; a cell that is only compiled needn't fit the device's buffers and grids."""
    facts = target(device)
    return [finished(ops.find(cell.op).plan(cell, facts), facts, dispatched=dispatched) for cell in cells]


def finished(plan: Plan, facts: Target, *, dispatched: bool) -> Plan:
    """The plan with its bounds checks, and with the reason if the device can't run it."""
    device = facts.device
    first = plan.program.first
    robust = None if first is None else first.robust or not switches_bounds_checks(device)
    reason = plan.reason
    if reason is None and dispatched:
        reason = _unfit(plan, device)
    if reason is None:
        gap = evaluate(device, plan.requirement)
        if gap.met is not True:
            reason = in_words(gap.missing)
    return msgspec.structs.replace(plan, robust=robust, reason=reason)


def switches_bounds_checks(device: DeviceRecord) -> bool:
    """Whether a pipeline can leave out the bounds checks of robustBufferAccess."""
    return any(device.features.get(struct, {}).get(member) is True for struct, member in carriers(*BOUNDS_CHECK_SWITCH))


def in_words(missing: Sequence[Missing]) -> str:
    """The missing conditions as a cell's reason."""
    words = []
    for m in missing:
        if m.kind == "tuple":  # its name says everything
            have = str(m.have)
            words.append(f"{m.name}; the device {'has' if have.startswith('no ') else 'lists'} {have}" if m.have else m.name)
        else:
            words.append(m.name if m.have in (None, False) else f"{m.name} (needs {m.need}, has {m.have})")
    return "needs " + "; ".join(words)


def _unfit(plan: Plan, device: DeviceRecord) -> str | None:
    """Why the program's buffers or grids are too large for the device."""
    limits_ = device.properties.get("VkPhysicalDeviceProperties", {}).get("limits", {})
    biggest = max(buffer.bytes for buffer in plan.program.buffers)
    most = limits_.get("maxStorageBufferRange")
    if most is not None and biggest > most:
        return f"needs a storage buffer range of {biggest} B; maxStorageBufferRange is {most} B"
    allocation = lookup(device.properties, "VkPhysicalDeviceMaintenance3Properties", "maxMemoryAllocationSize")
    if allocation is not None and biggest > allocation:
        return f"needs a buffer of {biggest} B; maxMemoryAllocationSize is {allocation} B"
    elements = ops.find(plan.cell.op).largest_matrix(plan.cell)
    if elements > ops.LARGEST_MATRIX:
        return f"has a matrix of {elements} elements, beyond the kernels' 32-bit indices"
    counts = limits_.get("maxComputeWorkGroupCount")
    for stage in plan.program.stages:
        if counts is not None and isinstance(stage, Dispatch) and any(g > c for g, c in zip(stage.groups, counts, strict=True)):
            grid = "x".join(map(str, stage.groups))
            return f"needs a dispatch of {grid} workgroups; maxComputeWorkGroupCount is {'x'.join(map(str, counts))}"
    return None


def float_controls(device_limits: Limits) -> Modes:
    """The execution modes that llama.cpp adds to every module: compilers may treat f32 differently with them, too."""
    return (
        *(["DenormPreserve 16"] if device_limits.denormals_f16 else []),
        *(["RoundingModeRTE 16"] if device_limits.rounding_f16 else []),
    )


def push_words(kernel: Kernel, values: Mapping[str, int]) -> tuple[int, ...]:
    """Push constants in the kernel's order; words that it declares as unused are 0.

    Raises:
        KeyError: the kernel reads a word that `values` lacks.
    """
    return tuple(values.get(name, 0) if name.startswith("unused") else values[name] for name in kernel.push)
