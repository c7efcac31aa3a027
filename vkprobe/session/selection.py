"""Which cells the main job measures and `compile` compiles where the command line names none, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vkprobe import ops
from vkprobe.cell import MATRIX_PATHS, Cell
from vkprobe.ops.base import Scope, software
from vkprobe.ops.plan import Plan, plans, target
from vkprobe.program import Dispatch
from vkprobe.records import DeviceRecord
from vkprobe.session.policy import FULL, QUICK, SOFTWARE, Policy

"""Paths whose tile depends on a matrix that a device may not have."""


def policy(device: DeviceRecord, *, full: bool) -> Policy:
    """How long to measure on this device."""
    return SOFTWARE if software(device) else FULL if full else QUICK


def run_cells(device: DeviceRecord, *, full: bool) -> list[Cell]:
    """The main job's cells: the ceilings first, then every op's defaults."""
    return default_cells(device, "full" if full else "run")


def default_cells(device: DeviceRecord, scope: Scope, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Cell]:
    """The defaults of every op."""
    return [cell for op in ops.every() for cell in op.defaults(device, scope, types, paths)]


def compile_plans(device: DeviceRecord, *, full: bool, types: Sequence[str] = (), paths: Sequence[str] = ()) -> list[Plan]:
    """One plan of each pipeline: those of the main job, or in full those of every kernel, tile size and tuple.

    Plans that the device can't run are among them and say why. `full` adds kernels that no cell leads to on this device.
    """
    facts = target(device)
    planned = plans(default_cells(device, "compile-full" if full else "compile", types, paths), device, dispatched=False)
    if full:
        planned += [further for one in planned for further in ops.find(one.cell.op).also_compiled(one, facts)]
    return [group[0] for group in by_pipeline(planned)]


def by_pipeline(planned: Iterable[Plan]) -> list[list[Plan]]:
    """The plans in groups that share a pipeline, in order; those that the device can't run form one group per kernel and tile."""
    groups: dict[tuple[Any, ...], list[Plan]] = {}
    for one in planned:
        first = one.program.first
        if one.reason is None and first is not None:
            key: tuple[Any, ...] = _pipeline_key(first)
        else:
            key = (one.kernel.name, recorded_tile(one), one.reason)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _pipeline_key(stage: Dispatch) -> tuple[Any, ...]:
    return stage.kernel, tuple(stage.constants.items()), stage.subgroup_size, stage.full_subgroups, stage.float_controls, stage.robust


def recorded_tile(plan: Plan) -> str | None:
    """The tile in words; None for a matrix path on a device without a matrix."""
    v = plan.cell.variant
    if v.path == "coopmat2":
        return None if plan.reason else plan.tile
    return None if v.path in MATRIX_PATHS and v.tuple is None else plan.tile
