"""Measuring several devices, one after the other, and what their records ask of the exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vkprobe.bench.cells import Cell
from vkprobe.bench.compiling import Progress
from vkprobe.bench.device import open_request
from vkprobe.bench.engine import DeviceRun, Sink
from vkprobe.bench.ladder import Climb, LadderRun
from vkprobe.bench.policy import Policy
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.errors import EXIT_DRIVER, EXIT_OK, EXIT_WRONG
from vkprobe.facts import Gathered
from vkprobe.records import DeviceRecord, LadderRecord, PipelineRecord, ResultRecord
from vkprobe.results.store import Done, climb_key, device_key, pipeline_key

_LOST = frozenset({"crash", "timeout", "device-lost", "error"})


def measure(
    found: Gathered,
    *,
    cells_of: Callable[[DeviceRecord], Sequence[Cell]],
    policy_of: Callable[[DeviceRecord], Policy],
    run: str,
    sink: Sink,
    progress: Progress,
    done: Done | None = None,
) -> None:
    """Measure each device's cells; those that `done` holds are left out."""
    specs = {driver.spec.name: driver.spec for driver in found.drivers}
    for device in found.devices:
        key = device_key(device)
        resolved = resolve(cells_of(device), device)
        if done is not None:
            resolved = [r for r in resolved if (key, _cell_key(r), _made_of(r)) not in done.cells]

        def known(record: PipelineRecord, key: object = key) -> bool:
            return done is not None and (key, pipeline_key(record), record.spirv_sha) in done.pipelines

        if not resolved:
            continue
        DeviceRun(
            specs[device.device.rpartition("/")[0]],
            device,
            open_request(device, [r.requirement for r in resolved if r.reason is None]),
            resolved,
            run=run,
            policy=policy_of(device),
            sink=sink,
            progress=progress,
            known_pipelines=known,
        ).measure()


def climb(
    found: Gathered,
    *,
    climbs_of: Callable[[DeviceRecord], Sequence[Climb]],
    policy_of: Callable[[DeviceRecord], Policy],
    run: str,
    sink: Sink,
    progress: Progress,
    done: Done | None = None,
) -> None:
    """Climb the ladder on each device; what `done` holds is left out."""
    specs = {driver.spec.name: driver.spec for driver in found.drivers}
    for device in found.devices:
        key = device_key(device)
        climbs = [c for c in climbs_of(device) if done is None or (key, climb_key(c)) not in done.climbs]
        spec = specs[device.device.rpartition("/")[0]]
        LadderRun(spec, device, climbs, run=run, policy=policy_of(device), sink=sink, progress=progress).climb()


def _made_of(resolved: Resolved) -> tuple[object, ...]:
    """As `records.made_of` makes it."""
    return resolved.kernel.spirv_sha256, resolved.tile, resolved.subgroup_size


def _cell_key(resolved: Resolved) -> tuple[object, ...]:
    """As `records.cell_key` makes it from the record that this cell will have."""
    cell = resolved.cell
    return (
        cell.op,
        resolved.kernel.name,
        cell.tier,
        cell.residency,
        cell.path,
        cell.type,
        cell.accumulator,
        cell.tuple,
        cell.shape.m,
        cell.shape.n,
        cell.shape.k,
    )


def exit_status(results: Sequence[ResultRecord | LadderRecord | PipelineRecord], null_devices: frozenset[str]) -> int:
    """The contract's exit status for measured cells, climbs and pipelines: 4 over 3 over 0."""
    if any(
        r.status in _LOST
        or (isinstance(r, ResultRecord) and r.status == "skipped")
        or (r.status == "noop" and r.device not in null_devices)
        for r in results
    ):
        return EXIT_DRIVER
    return EXIT_WRONG if any(r.status == "wrong" for r in results) else EXIT_OK
