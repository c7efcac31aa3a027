"""A good commit's records: which of their cells a pattern chooses, and what was measured of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from vkprobe.cell import Cell
from vkprobe.compare.pairing import FileDevice, devices_in
from vkprobe.compare.timing import Side, pooled, side
from vkprobe.errors import UsageError
from vkprobe.records import DeviceRecord, DriverRecord, PipelineRecord, ResultRecord, Time
from vkprobe.results.names import cell_name
from vkprobe.results.store import Store, read_records

_SHOWN = 3


class GoodCell(Struct, frozen=True, kw_only=True):
    """A cell that was ok: its newest record, the times of every run of it under that record's driver, and their rounds."""

    name: str
    record: ResultRecord
    times: tuple[Time, ...]
    side: Side


class Good(Struct, frozen=True, kw_only=True):
    """The records of one device that the pattern chooses: cells, pipelines, and the host CPUs they were measured with."""

    device: DeviceRecord
    driver: DriverRecord | None
    cells: dict[Cell, GoodCell]
    pipelines: list[PipelineRecord]
    cpus: frozenset[str] = frozenset()

    @property
    def hardware(self) -> tuple[Any, ...]:
        """The device's hardware, as `hardware_of` returns it."""
        return hardware_of(self.device)


def hardware_of(device: DeviceRecord) -> tuple[Any, ...]:
    """The hardware by which cells are paired: it stays the same under another driver."""
    return device.hardware.vendor_id, device.hardware.device_id, device.hardware.chip


def matcher(pattern: str) -> Callable[[str], bool]:
    """A glob on the whole name where the pattern has a wildcard (`*`, `?`, `[...]`; `*` passes over `/`), else a part of the name.

    >>> matcher("gemv/q4_0/*")("gemv/q4_0/scalar-f32"), matcher("q4_0")("gemv/q4_0/scalar-f32"), matcher("q4_?")("gemv/q4_0")
    (True, True, False)
    """
    if any(c in pattern for c in "*?["):
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    return lambda name: pattern in name


def rounds_of(time: Time) -> list[list[float]]:
    """A cell's samples (s), round by round."""
    pairs = groupby(zip(time.rounds, time.samples_s, strict=True), key=lambda pair: pair[0])
    return [[sample for _, sample in pair] for _, pair in pairs]


def good_cells(path: Path, pattern: str, *, statistics: bool) -> list[Good]:
    """The cells of a file whose names match, by device; also matching pipelines, and those of matching cells, where `statistics` count
    or no cell matches.

    Raises:
        UsageError: it can't be read, or holds no ok cell that matches.
    """
    store = Store(read_records(path))
    matches = matcher(pattern)
    goods = [good for one in devices_in(store) if (good := _good(one, store, matches, statistics)) is not None]
    if not goods:
        raise UsageError(_none(path, pattern, store))
    return goods


def _good(one: FileDevice, store: Store, matches: Callable[[str], bool], statistics: bool) -> Good | None:
    devices = [store.devices[key] for key in one.keys if key in store.devices]
    if not devices:
        return None  # without its facts it can't be matched to this machine
    device = max(devices, key=lambda d: d.at)
    chosen = {key: r for key, r in one.results.items() if r.status == "ok" and matches(cell_name(r))}
    cells = {key: _cell(r, one.measured[key]) for key, r in chosen.items()}
    of_cells = {(r.kernel, r.path, r.type, r.tile) for r in chosen.values()}
    pipelines = [p for p in one.pipelines.values() if p.status == "ok" and (matches(cell_name(p)) or _kernel_key(p) in of_cells)]
    if cells and not statistics:
        pipelines = []
    if not cells and not pipelines:
        return None
    driver = store.drivers.get(device.driver_name)
    runs = {r.run for r in chain(pipelines, *(one.measured[key] for key in chosen))}
    cpus = frozenset(cpu for run in runs if run in store.runs and (cpu := store.runs[run].host.cpu))
    return Good(device=device, driver=driver, cells=cells, pipelines=pipelines, cpus=cpus)


def _kernel_key(p: PipelineRecord) -> tuple[Any, ...]:
    return p.kernel, p.path, p.type, p.tile


def _cell(record: ResultRecord, alike: Sequence[ResultRecord]) -> GoodCell:
    """The cell with all the runs that count beside its newest record."""
    times = tuple(r.time for r in alike if r.time is not UNSET)
    return GoodCell(name=cell_name(record), record=record, times=times, side=pooled([side(rounds_of(time)) for time in times]))


def _none(path: Path, pattern: str, store: Store) -> str:
    both: list[ResultRecord | PipelineRecord] = [*store.results.values(), *store.pipelines.values()]
    names = list(dict.fromkeys(cell_name(r) for r in both if r.status == "ok"))
    if not names:
        return (
            f"--good {path}: holds no result and no pipeline that is ok: `vkprobe run`, gemm or compile -o on the good commit writes such"
        )
    some = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    if any(matcher(pattern)(name) for name in names):
        return f"--good {path}: lacks the device records of the cells that match --cell {pattern}"
    return f"--cell {pattern}: no ok cell of {path} has such a name; it has {some}"
