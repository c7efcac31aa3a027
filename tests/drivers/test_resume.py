"""A run that is resumed measures what is missing, and what was lost, again; nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import BRIEF, FaultyLavapipe, gemvs
from vkprobe.cell import Cell
from vkprobe.cli.measuring import Measured, measure_all
from vkprobe.cli.options import DriverChoice
from vkprobe.drivers.spec import DriverSpec
from vkprobe.records import DeviceRecord, PipelineRecord, ResultRecord, RunRecord, Status, encode
from vkprobe.results.keys import pipeline_key
from vkprobe.results.store import Store, read_records


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Handlers that measuring sets are put back."""
    import signal

    before = [(s, signal.getsignal(s)) for s in (signal.SIGTERM, signal.SIGHUP)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def run(spec: DriverSpec, output: Path, cells_of: Callable[[DeviceRecord], Sequence[Cell]]) -> Measured:
    """Measure as `vkprobe run -o` does, with other cells."""
    return measure_all(
        DriverChoice(), cells_of=cells_of, policy_of=lambda device: BRIEF, output=output, as_records=False, resume=True, specs=[spec]
    )


def columns(measured: Measured) -> list[int]:
    """N of the cells that were measured now."""
    return sorted(r.axes["n"] for r in measured.results)


def rewritten(path: Path, n: int, status: Status) -> None:
    """The cell with N = `n` in the file as if it had ended so."""
    records = list(read_records(path))
    changed = [replace(r, status=status) if isinstance(r, ResultRecord) and r.axes["n"] == n else r for r in records]
    path.write_bytes(b"".join(encode(r) + b"\n" for r in changed))


def test_only_what_is_missing_is_measured(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """One cell, then three: two are new; then none, and its pipelines neither, though run and device are written again."""
    path = tmp_path / "r.jsonl"
    assert columns(run(embedded["lvp"], path, gemvs(1))) == [1]
    assert columns(run(embedded["lvp"], path, gemvs(1, 2, 3))) == [2, 3]
    third = run(embedded["lvp"], path, gemvs(1, 2, 3))
    assert columns(third) == []
    assert third.status == 0
    assert [type(r).__name__ for r in third.records] == ["RunRecord", "DriverRecord", "DeviceRecord"]
    records = list(read_records(path))
    assert sum(isinstance(r, RunRecord) for r in records) == 3
    pipelines = [pipeline_key(r) for r in records if isinstance(r, PipelineRecord)]
    assert len(pipelines) == len(set(pipelines)) >= 1
    assert len(Store(records).results) == 3


@pytest.mark.parametrize(
    ("status", "again"),
    [("crash", [2]), ("timeout", [2]), ("device-lost", [2]), ("skipped", [2]), ("wrong", []), ("error", []), ("unsupported", [])],
)
def test_lost_cells_are_measured_again(embedded: dict[str, DriverSpec], tmp_path: Path, status: Status, again: list[int]) -> None:
    """Crash, timeout, device-lost and what was given up after them; wrong and error are results."""
    path = tmp_path / "r.jsonl"
    run(embedded["lvp"], path, gemvs(1, 2))
    rewritten(path, 2, status)
    assert columns(run(embedded["lvp"], path, gemvs(1, 2))) == again
    (newest,) = (r for r in Store.load([path]).results.values() if r.axes["n"] == 2)
    assert newest.status == ("ok" if again else status)


def test_a_crash_is_made_good_by_the_next_run(faulty_lavapipe: FaultyLavapipe, tmp_path: Path) -> None:
    """Exit status 4 first, 0 then; the file says ok for both cells."""
    path, spec = tmp_path / "r.jsonl", faulty_lavapipe("crash", after=6, once=True)
    first = run(spec, path, gemvs(1, 2))
    assert sorted(r.status for r in first.results) == ["crash", "ok"]
    assert first.status == 4
    second = run(spec, path, gemvs(1, 2))
    assert [r.status for r in second.results] == ["ok"]
    assert second.status == 0
    assert {r.status for r in Store.load([path]).results.values()} == {"ok"}


def test_a_torn_line_is_measured_again(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """kill -9 while the last result was written."""
    path = tmp_path / "r.jsonl"
    run(embedded["lvp"], path, gemvs(1, 2))
    path.write_bytes(path.read_bytes()[:-100])
    assert len(columns(run(embedded["lvp"], path, gemvs(1, 2)))) == 1
    assert sorted(r.axes["n"] for r in Store.load([path]).results.values()) == [1, 2]


def test_another_driver_has_done_nothing_yet(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """The same cells under a changed name are cells of another device."""
    path = tmp_path / "r.jsonl"
    run(embedded["lvp"], path, gemvs(1))
    assert columns(run(replace(embedded["lvp"], name="mine"), path, gemvs(1))) == [1]
