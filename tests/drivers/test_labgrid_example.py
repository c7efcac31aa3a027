"""examples/labgrid from start to end: a lab on this machine, a place for each driver, one matrix; a killed worker costs its cell."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vkprobe.drivers import embedded as embedded_set
from vkprobe.drivers.spec import DriverSpec

EXAMPLE = Path(__file__).parents[2] / "examples/labgrid"
PLACES = ("mesa-25.0", "mesa-26.1")
JOB = ("gemv", "--type", "f16,q4_0", "--shape", "256,1,256")
CELLS = 3  # f16; q4_0 by floats and by integers


def content(path: Path) -> bytes:
    """The content of a file of /proc; nothing if its process ended in between."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def processes(variable: str) -> dict[int, str]:
    """Command lines of the processes with `variable` (NAME=VALUE) in their environment, by process id."""
    folders = [f for f in Path("/proc").glob("[0-9]*") if variable.encode() in content(f / "environ").split(b"\0")]
    return {int(f.name): content(f / "cmdline").replace(b"\0", b" ").decode() for f in folders}


class Lab:
    """A running lab: its folder, and run.py in it."""

    def __init__(self, folder: Path, coordinator: str) -> None:
        self.folder = folder
        self.environment = environment() | {"LG_COORDINATOR": coordinator}

    def start(self, results: Path) -> subprocess.Popen[str]:
        """run.py with JOB, on both places at once."""
        command = [sys.executable, str(EXAMPLE / "run.py"), str(self.folder / "lab.yaml"), str(results), *JOB]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def workers(self, place: str) -> list[int]:
        """The workers of a place, once it measures."""
        end = time.monotonic() + 300
        while not any("round" in f.read_text() for f in self.folder.glob(f"homes/{place}/*/progress.txt")) and time.monotonic() < end:
            time.sleep(0.05)
        return [pid for pid, line in processes(f"LAB_HOST={place}").items() if "vkprobe.worker" in line]

    def held(self) -> str:
        """The places that somebody holds, and the reservations."""
        client = [sys.executable, "-m", "labgrid.remote.client"]
        asked = [subprocess.run([*client, verb], env=self.environment, capture_output=True, check=True) for verb in ("who", "reservations")]
        return "".join(answer.stdout.decode() for answer in asked)


def environment() -> dict[str, str]:
    """This process's, with vkprobe in PATH and no proxy for loopback."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "no_proxy": "127.0.0.1"}


@pytest.fixture(scope="module")
def lab(embedded: dict[str, DriverSpec], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The example's lab on this machine; when it goes, nothing of it still runs."""
    if "trixie" not in embedded_set.fetched_suites():
        pytest.skip("needs Mesa 25.0: vkprobe drivers fetch --suite trixie")
    if shutil.which("ssh") is None:
        pytest.skip("labgrid reaches its hosts by ssh: run `apt-get install openssh-client`")
    folder = tmp_path_factory.mktemp("lab")
    command = [sys.executable, str(EXAMPLE / "one_machine.py"), str(folder), "sh", "-c", "echo $LG_COORDINATOR; exec cat"]
    with subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address, "the lab did not come up"
            yield Lab(folder, address)
        finally:
            process.stdin.close()
            try:
                assert process.wait(timeout=600) == 0
            finally:
                process.kill()
    assert not processes(f"LG_COORDINATOR={address}")


def records(path: Path, kind: str) -> list[dict[str, Any]]:
    """A file's records of one kind."""
    return [r for r in map(json.loads, path.read_text().splitlines()) if r["kind"] == kind]


def test_one_matrix_comes_from_two_reserved_places(lab: Lab, tmp_path: Path) -> None:
    """Each place measures its own driver, both columns stand in the matrix, and both places are free again."""
    output, errors = lab.start(tmp_path).communicate(timeout=600)
    assert "exit status 0" in output, errors
    for place, driver in zip(PLACES, ("embedded@trixie:lvp", "embedded:lvp"), strict=True):
        assert f"{place}: acquired place {place}" in output
        measured = records(tmp_path / f"{place}.jsonl", "result")
        assert [(r["device"], r["status"]) for r in measured] == [(f"{driver}/0", "ok")] * CELLS
        assert f"{driver}/0" in output.partition("Requirements")[2]
    assert "2 devices, 6 cells: 6 ok" in output
    assert "</html>" in (tmp_path / "matrix.html").read_text()
    assert not any(place in lab.held() for place in PLACES), errors
    assert not list(lab.folder.glob("homes/*/*"))


def test_a_killed_worker_of_one_place_costs_its_cell(lab: Lab, tmp_path: Path) -> None:
    """`kill -9` in the middle of the rounds: that cell is a crash, the place's others and the other place's all are there."""
    process = lab.start(tmp_path)
    workers = lab.workers("mesa-25.0")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=600)
    assert workers, errors
    assert (process.returncode, "mesa-25.0: exit status 4" in output, "mesa-26.1: exit status 0" in output) == (4, True, True), errors
    assert [r["status"] for r in records(tmp_path / "mesa-26.1.jsonl", "result")] == ["ok"] * CELLS
    assert sorted(r["status"] for r in records(tmp_path / "mesa-25.0.jsonl", "result")) == ["crash", *["ok"] * (CELLS - 1)]
    assert [(e["what"], e["signal"]) for e in records(tmp_path / "mesa-25.0.jsonl", "event") if e["what"] != "restart"] == [
        ("crash", "SIGKILL")
    ]
    assert "2 devices, 6 cells" in output
    assert not any(place in lab.held() for place in PLACES), errors


def assert_free_and_idle(lab: Lab, errors: str) -> None:
    """No place is held or reserved, nothing of vkprobe runs on the hosts, and no folder is left there."""
    assert not any(place in lab.held() for place in PLACES), errors
    deadline = time.monotonic() + 300  # vkprobe has ended; its workers end with it, but not in the same instant
    while any("vkprobe" in line for place in PLACES for line in processes(f"LAB_HOST={place}").values()):
        assert time.monotonic() < deadline, {place: processes(f"LAB_HOST={place}") for place in PLACES}
        time.sleep(0.2)
    assert not list(lab.folder.glob("homes/*/*"))


def test_a_cancelled_job_leaves_its_places_free_and_idle(lab: Lab, tmp_path: Path) -> None:
    """SIGTERM, as a CI sends it: vkprobe ends on the hosts, nothing of it is left there, and the places are free."""
    process = lab.start(tmp_path)
    assert lab.workers("mesa-26.1")
    process.terminate()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert_free_and_idle(lab, errors)


@pytest.mark.parametrize(
    ("step", "delay"),  # s; labgrid-client asks the coordinator about half a second after its start
    [
        ("acquire", 0.4),
        ("ssh", 0),
        ("cancel-reservation", 0),
    ],
)
def test_a_job_cancelled_while_it_takes_or_frees_a_place_leaves_it_free(lab: Lab, tmp_path: Path, step: str, delay: float) -> None:
    """SIGTERM as this step of one place begins, or in the middle of it: what it takes is given back."""
    process = lab.start(tmp_path)
    deadline = time.monotonic() + 300
    while not any(step in line.split() for line in processes(f"LG_COORDINATOR={lab.environment['LG_COORDINATOR']}").values()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(delay)
    process.terminate()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert_free_and_idle(lab, errors)
