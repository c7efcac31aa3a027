"""Measuring several devices, one after the other, and what their records ask of the exit status."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vkprobe.bench.ceilings import needed
from vkprobe.bench.cells import Cell
from vkprobe.bench.compiling import Progress
from vkprobe.bench.device import open_request
from vkprobe.bench.engine import DeviceRun, Sink
from vkprobe.bench.ladder import Climb, LadderRun
from vkprobe.bench.plans import software
from vkprobe.bench.policy import Policy
from vkprobe.bench.resolve import Resolved, resolve
from vkprobe.errors import EXIT_DRIVER, EXIT_OK, EXIT_WRONG
from vkprobe.facts import Gathered
from vkprobe.records import DeviceRecord, LadderRecord, PipelineRecord, ResultRecord, made_of
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
) -> list[ResultRecord]:
    """Measure each device's cells, before them what their share of the roofline takes; what `done` holds is left out.

    Returns:
        The copies and peaks of `done` that cells were held against.
    """
    taken: list[ResultRecord] = []
    specs = {driver.spec.name: driver.spec for driver in found.drivers}
    for device in found.devices:
        key = device_key(device)
        resolved = resolve(cells_of(device), device)
        if done is not None:
            resolved = [r for r in resolved if (key, _cell_key(r), made_of(r)) not in done.cells]

        def known(record: PipelineRecord, key: object = key) -> bool:
            return done is not None and (key, pipeline_key(record), made_of(record)) in done.pipelines

        if not resolved:
            continue
        ceilings, known_ceilings = _ceilings(resolved, device, done)
        taken += known_ceilings
        DeviceRun(
            specs[device.device.rpartition("/")[0]],
            device,
            open_request(device, [r.requirement for r in (*ceilings, *resolved) if r.reason is None]),
            resolved,
            run=run,
            policy=policy_of(device),
            sink=sink,
            progress=progress,
            known_pipelines=known,
            ceilings=ceilings,
            known_ceilings=known_ceilings,
        ).measure()
    return taken


def _ceilings(resolved: Sequence[Resolved], device: DeviceRecord, done: Done | None) -> tuple[list[Resolved], list[ResultRecord]]:
    """The copies and peaks that are to be measured for these cells beside those among them, and the results that are there already."""
    if device.null or software(device):
        return [], []
    key, asked = device_key(device), {_cell_key(r) for r in resolved}
    missing, known = [], []
    for ceiling in needed(resolved, device):
        found = done.ceilings.get((key, _cell_key(ceiling), made_of(ceiling))) if done is not None else None
        if found is not None:
            known.append(found)
        elif _cell_key(ceiling) not in asked:
            missing.append(ceiling)
    return missing, known


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
