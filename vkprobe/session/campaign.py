"""Measuring several devices, one after the other, and the exit status that their records ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vkprobe.builds import build_key
from vkprobe.cell import Cell
from vkprobe.errors import EXIT_DRIVER, EXIT_OK, EXIT_WRONG
from vkprobe.facts import Gathered
from vkprobe.ops.base import software
from vkprobe.ops.plan import Plan, plans
from vkprobe.records import LOST_STATUSES, DeviceRecord, LadderRecord, PipelineRecord, ResultRecord, RunRecord
from vkprobe.results.keys import climb_key, device_key, pipeline_key
from vkprobe.results.store import Done
from vkprobe.session.ceilings import needed
from vkprobe.session.compiling import Progress
from vkprobe.session.ladder import Climb, LadderRun
from vkprobe.session.opening import open_request
from vkprobe.session.policy import Policy
from vkprobe.session.run import DeviceRun, Sink


def measure(
    facts: Gathered,
    *,
    cells_of: Callable[[DeviceRecord], Sequence[Cell]],
    policy_of: Callable[[DeviceRecord], Policy],
    run: RunRecord,
    sink: Sink,
    progress: Progress,
    done: Done | None = None,
) -> list[ResultRecord]:
    """Measure the roofline ceilings first, then each device's cells; what `done` holds is left out.

    Returns:
        The ceilings of `done` that cells were held against.
    """
    taken: list[ResultRecord] = []
    specs = {driver.spec.name: driver.spec for driver in facts.drivers}
    for device in facts.devices:
        key = device_key(device, run)
        planned = plans(cells_of(device), device)
        if done is not None:
            planned = [p for p in planned if (key, p.cell, build_key(p)) not in done.cells]

        def is_recorded(record: PipelineRecord, key: object = key) -> bool:
            return done is not None and (key, pipeline_key(record), build_key(record)) in done.pipelines

        if not planned:
            continue
        ceilings, known_ceilings = _ceilings(planned, device, run, done)
        taken += known_ceilings
        DeviceRun(
            specs[device.driver_name],
            device,
            open_request(device, [p.requirement for p in (*ceilings, *planned) if p.reason is None]),
            planned,
            run=run.run,
            policy=policy_of(device),
            sink=sink,
            progress=progress,
            known_pipelines=is_recorded,
            ceilings=ceilings,
            known_ceilings=known_ceilings,
        ).measure()
    return taken


def _ceilings(planned: Sequence[Plan], device: DeviceRecord, run: RunRecord, done: Done | None) -> tuple[list[Plan], list[ResultRecord]]:
    """The ceilings to measure for these cells besides those among them, and the results that are there already."""
    if device.null or software(device):
        return [], []
    key, asked = device_key(device, run), {p.cell for p in planned}
    missing, results = [], []
    for ceiling in needed(planned, device):
        result = done.ceilings.get((key, ceiling.cell, build_key(ceiling))) if done is not None else None
        if result is not None:
            results.append(result)
        elif ceiling.cell not in asked:
            missing.append(ceiling)
    return missing, results


def climb(
    facts: Gathered,
    *,
    climbs_of: Callable[[DeviceRecord], Sequence[Climb]],
    policy_of: Callable[[DeviceRecord], Policy],
    run: RunRecord,
    sink: Sink,
    progress: Progress,
    done: Done | None = None,
) -> None:
    """Climb the ladder on each device; what `done` holds is left out."""
    specs = {driver.spec.name: driver.spec for driver in facts.drivers}
    for device in facts.devices:
        key = device_key(device, run)
        climbs = [c for c in climbs_of(device) if done is None or (key, climb_key(c)) not in done.climbs]
        spec = specs[device.driver_name]
        LadderRun(spec, device, climbs, run=run.run, policy=policy_of(device), sink=sink, progress=progress).climb()


def exit_status(results: Sequence[ResultRecord | LadderRecord | PipelineRecord], null_devices: frozenset[str]) -> int:
    """The contract's exit status for measured cells, climbs and pipelines: 4 over 3 over 0."""
    if any(
        r.status in LOST_STATUSES
        or (isinstance(r, ResultRecord) and r.status == "skipped")
        or (r.status == "noop" and r.device not in null_devices)
        for r in results
    ):
        return EXIT_DRIVER
    return EXIT_WRONG if any(r.status == "wrong" for r in results) else EXIT_OK
