"""Real losses on a real driver: what each costs, how it is reported, and that no process stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.drivers.conftest import BRIEF, FaultyLavapipe, gemvs, measured
from vkprobe.drivers.spec import DriverSpec
from vkprobe.session.campaign import exit_status
from vkprobe.session.device import DeviceSession

HASTY = replace(BRIEF, time_limit_s=3.0, compile_limit_s=8.0)


def workers(parent: int) -> list[int]:
    """Live worker processes of a process, those that it left behind too: they carry its id in their argv."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            argv = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if b"vkprobe.worker" in argv and argv[-2] == str(parent).encode():
            pids.append(int(folder.name))
    return pids


def wait_for(condition: object, timeout: float = 300.0) -> bool:
    """Whether `condition()` came true within `timeout` (s)."""
    assert callable(condition)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


SEVERAL = """
from msgspec.structs import replace
from vkprobe.cli import main, progress
from vkprobe.session import selection
selection.SOFTWARE = replace(selection.SOFTWARE, least_rounds=3, most_rounds=3, least_s=0.02, settle_s=0.02)
progress._LINE_EVERY_S = 0.0
main.main()
"""
"""The command, with three short rounds on software devices, of which one can be cut short, and a line of progress for each step."""


class Command:
    """A measuring command line that runs."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SEVERAL, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def until(self, phase: str) -> None:
        """Wait until its progress names a phase."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if phase in line:
                return
        raise AssertionError(f"it ended before {phase!r}")

    def end(self) -> tuple[int, str]:
        """Its exit status and the rest of its stderr."""
        _, errors = self.process.communicate(timeout=600)
        return self.process.returncode, errors


GEMV = ["gemv", "--driver", "embedded:lvp", "--type", "q4_0,f16", "--path", "scalar-f32", *(f"--shape=64,{n},64" for n in (1, 2, 3))]


@pytest.mark.parametrize("phase", ["compile", "verify", "round 2"])
def test_a_killed_worker_costs_one_cell(embedded: dict[str, DriverSpec], tmp_path: Path, phase: str) -> None:
    """kill -9 in the middle: one cell says crash, an event names the signal, the others are ok, exit status 4, no process is left."""
    command = Command([*GEMV, "-o", str(tmp_path / "r.jsonl")])
    command.until(phase)
    assert wait_for(lambda: workers(command.process.pid))
    for pid in workers(command.process.pid):
        os.kill(pid, signal.SIGKILL)
    status, errors = command.end()
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    results = [r for r in records if r["kind"] == "result"]
    assert sorted(r["status"] for r in results) == ["crash", *["ok"] * 5]
    (lost,) = (r for r in results if r["status"] == "crash")
    assert "SIGKILL" in lost["reason"]
    events = [r for r in records if r["kind"] == "event"]
    assert [(e["what"], e["signal"]) for e in events] == [("crash", "SIGKILL"), ("restart", None)]
    assert events[0]["where"].endswith(f"{'x'.join(map(str, lost['axes'].values()))}") or phase == "compile"
    assert status == 4
    assert "Traceback" not in errors
    assert workers(command.process.pid) == []


def test_a_killed_parent_leaves_no_process(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """kill -9 of the command while it measures: its worker dies with it, what was written is readable."""
    command = Command([*GEMV, "-o", str(tmp_path / "r.jsonl")])
    command.until("verify")
    assert wait_for(lambda: workers(command.process.pid))
    before = workers(command.process.pid)
    command.process.kill()
    command.end()
    assert before
    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert {"run", "driver", "device", "pipeline"} <= {r["kind"] for r in records}


def test_an_interrupt_keeps_what_was_measured(embedded: dict[str, DriverSpec], tmp_path: Path) -> None:
    """Ctrl-C in the second of three rounds: every cell has samples and is recorded as unsteady, exit status 130, no process is left."""
    command = Command([*GEMV, "-o", str(tmp_path / "r.jsonl")])
    command.until("round 2")
    command.process.send_signal(signal.SIGINT)
    status, errors = command.end()
    assert status == 130
    assert errors.splitlines()[-1] == "vkprobe: interrupted"
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    results = [r for r in records if r["kind"] == "result"]
    assert {(r["type"], r["axes"]["n"]) for r in results} == {(weight_type, n) for weight_type in ("q4_0", "f16") for n in (1, 2, 3)}
    assert len(results) == 6
    assert {r["time"]["unsteady_because"] for r in results} == {"the run was interrupted"}
    assert all(set(r["time"]["rounds"]) <= {0, 1} for r in results)
    assert workers(command.process.pid) == []


def test_a_submit_that_hangs_is_a_timeout(faulty_lavapipe: FaultyLavapipe) -> None:
    """vkQueueSubmit never returns, once: its cell only."""
    outcome = measured(faulty_lavapipe("hang", after=30, once=True), gemvs(1, 2), HASTY)
    assert sorted(outcome.statuses) == ["ok", "timeout"]
    assert [e.what for e in outcome.events] == ["timeout", "restart"]
    assert exit_status(outcome.results, frozenset()) == 4
    assert workers(os.getpid()) == []


def test_a_device_that_hangs_is_a_timeout(faulty_lavapipe: FaultyLavapipe) -> None:
    """The fence is never signalled, once."""
    outcome = measured(faulty_lavapipe("unsignalled", after=6, once=True), gemvs(1, 2), HASTY)
    assert sorted(outcome.statuses) == ["ok", "timeout"]
    (lost,) = (r for r in outcome.results if r.status == "timeout")
    assert "did not finish a submit" in (lost.reason or "")


def test_a_device_that_is_lost_once_is_forgiven(faulty_lavapipe: FaultyLavapipe) -> None:
    """The cell is measured in the next worker; the event stays."""
    outcome = measured(faulty_lavapipe("lost", after=6, once=True), gemvs(1, 2))
    assert outcome.statuses == ["ok", "ok"]
    assert [e.what for e in outcome.events] == ["device-lost", "restart"]


def test_a_device_that_is_always_lost_ends_cells_and_then_the_run(faulty_lavapipe: FaultyLavapipe) -> None:
    """device-lost for cells that were tried twice, skipped after three losses in a row."""
    outcome = measured(faulty_lavapipe("lost", after=6), gemvs(1, 2, 3, 4))
    assert set(outcome.statuses) == {"device-lost", "skipped"} or set(outcome.statuses) == {"skipped"}
    assert [e.what for e in outcome.events].count("device-lost") == 3
    assert len(outcome.results) == 4


def test_a_driver_that_crashes_is_reported_with_its_signal(faulty_lavapipe: FaultyLavapipe) -> None:
    """SIGSEGV inside vkQueueSubmit, once."""
    outcome = measured(faulty_lavapipe("crash", after=6, once=True), gemvs(1, 2))
    assert sorted(outcome.statuses) == ["crash", "ok"]
    assert [(e.what, e.signal) for e in outcome.events] == [("crash", "SIGSEGV"), ("restart", None)]


def test_a_device_that_executes_nothing_is_noop(faulty_lavapipe: FaultyLavapipe) -> None:
    """The exit status is 4 and nothing is timed, because the device is no null device."""
    outcome = measured(faulty_lavapipe("nothing", after=0), gemvs(1, 2))
    assert outcome.statuses == ["noop", "noop"]
    assert "though it is no null device" in (outcome.results[0].reason or "")
    assert exit_status(outcome.results, frozenset()) == 4


def test_a_driver_that_stops_executing_is_wrong(faulty_lavapipe: FaultyLavapipe) -> None:
    """The driver stops after the canary, so buffers stay as they were."""
    outcome = measured(faulty_lavapipe("nothing", after=3), gemvs(1))
    assert outcome.statuses == ["wrong"]


def test_timestamps_that_stand_still_are_an_error(faulty_lavapipe: FaultyLavapipe) -> None:
    """No time without a clock."""
    outcome = measured(faulty_lavapipe("still"), gemvs(1))
    assert outcome.statuses == ["error"]
    assert "timestamps stood still" in (outcome.results[0].reason or "")


def test_a_driver_that_hangs_while_it_is_opened_is_a_timeout(faulty_lavapipe: FaultyLavapipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary's submit: three tries, then the rest is skipped."""
    assert DeviceSession.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(DeviceSession.__init__.__kwdefaults__, "open_timeout_s", 2.0)
    outcome = measured(faulty_lavapipe("hang", after=0), gemvs(1, 2, 3, 4))
    assert outcome.statuses == ["timeout", "timeout", "timeout", "skipped"]
    assert workers(os.getpid()) == []
